//! The audit: who did what to what, one chain of records for each tenant.
//!
//! Each record's hash is made of all its fields and of the hash before it, so that nobody can change, take out or put in
//! one without making all that follow anew.

use sqlx::{Row, SqliteConnection};

use super::text::{LINE_BYTES, NAME_BYTES, fit};
use crate::access::Event;
use crate::base::{TenantId, Timestamp};

/// Bytes of an object's state as JSON. A longer one is left out, and its place says so.
const STATE_BYTES: usize = 64 * 1024;

/// A hash of the chain. That of an empty chain is all zero.
pub type Hash = [u8; 32];

/// Where a chain ends.
struct Head {
    number: i64,
    hash: Hash,
}

/// A record in the form it is stored in: what is hashed is what is there to be read again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    pub tenant: TenantId,
    pub number: i64,
    pub at: Timestamp,
    pub actor_kind: String,
    pub actor_id: Option<uuid::Uuid>,
    pub actor_name: String,
    pub actor_tenant: Option<uuid::Uuid>,
    pub role: String,
    pub address: Option<String>,
    pub request_id: Option<String>,
    pub action: String,
    pub object_kind: String,
    pub object_id: Option<uuid::Uuid>,
    pub before: Option<String>,
    pub after: Option<String>,
    pub reason: Option<String>,
    pub outcome: String,
}

impl Record {
    fn new(event: &Event, number: i64, at: Timestamp) -> Record {
        let name = |text: &str| fit(text, NAME_BYTES).into_owned();
        let state = |state: &Option<serde_json::Value>| {
            let text = state.as_ref()?.to_string();
            match text.len() > STATE_BYTES {
                true => Some(format!(r#"{{"left_out_bytes":{}}}"#, text.len())),
                false => Some(fit(&text, STATE_BYTES).into_owned()),
            }
        };
        Record {
            tenant: event.tenant,
            number,
            at,
            actor_kind: event.actor_kind.into(),
            actor_id: event.actor_id,
            actor_name: name(&event.actor_name),
            actor_tenant: event.actor_tenant.map(|tenant| tenant.0),
            role: name(&event.role),
            address: event.address.map(|address| address.to_string()),
            request_id: event.request_id.as_deref().map(name),
            action: event.action.to_string(),
            object_kind: event.object_kind.into(),
            object_id: event.object_id,
            before: state(&event.before),
            after: state(&event.after),
            reason: event
                .reason
                .as_deref()
                .map(|reason| fit(reason, LINE_BYTES).into_owned()),
            outcome: event.outcome.name().into(),
        }
    }

    /// BLAKE3 of the hash before it and of every field, each with its length, so that no two records look alike.
    pub(super) fn hash(&self, previous: &Hash) -> Hash {
        let mut hasher = blake3::Hasher::new_derive_key("callreel audit record v1");
        let mut field = |bytes: Option<&[u8]>| match bytes {
            None => {
                hasher.update(&u64::MAX.to_le_bytes());
            }
            Some(bytes) => {
                hasher.update(&(bytes.len() as u64).to_le_bytes());
                hasher.update(bytes);
            }
        };
        let id = |id: &Option<uuid::Uuid>| id.map(uuid::Uuid::into_bytes);
        let text = |text: &'_ Option<String>| text.clone().map(String::into_bytes);
        field(Some(previous));
        field(Some(self.tenant.0.as_bytes()));
        field(Some(&self.number.to_le_bytes()));
        field(Some(&self.at.as_nanos().to_le_bytes()));
        field(Some(self.actor_kind.as_bytes()));
        field(id(&self.actor_id).as_ref().map(|id| &id[..]));
        field(Some(self.actor_name.as_bytes()));
        field(id(&self.actor_tenant).as_ref().map(|id| &id[..]));
        field(Some(self.role.as_bytes()));
        field(text(&self.address).as_deref());
        field(text(&self.request_id).as_deref());
        field(Some(self.action.as_bytes()));
        field(Some(self.object_kind.as_bytes()));
        field(id(&self.object_id).as_ref().map(|id| &id[..]));
        field(text(&self.before).as_deref());
        field(text(&self.after).as_deref());
        field(text(&self.reason).as_deref());
        field(Some(self.outcome.as_bytes()));
        *hasher.finalize().as_bytes()
    }
}

/// Puts records at the ends of their tenants' chains.
pub(super) async fn append(
    connection: &mut SqliteConnection,
    at: Timestamp,
    events: &[Event],
) -> sqlx::Result<()> {
    for event in events {
        let head = head(connection, event.tenant).await?;
        let record = Record::new(event, head.number + 1, at);
        let hash = record.hash(&head.hash);
        insert(connection, record, hash).await?;
    }
    Ok(())
}

async fn head(connection: &mut SqliteConnection, tenant: TenantId) -> sqlx::Result<Head> {
    let row = sqlx::query(
        "SELECT number, hash FROM audit WHERE tenant_id = ? ORDER BY number DESC LIMIT 1",
    )
    .bind(tenant.0)
    .fetch_optional(connection)
    .await?;
    let Some(row) = row else {
        return Ok(Head {
            number: 0,
            hash: Hash::default(),
        });
    };
    let hash: Vec<u8> = row.try_get(1)?;
    Ok(Head {
        number: row.try_get(0)?,
        hash: hash
            .try_into()
            .map_err(|_| sqlx::Error::Decode("a hash of another length".into()))?,
    })
}

async fn insert(connection: &mut SqliteConnection, record: Record, hash: Hash) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO audit (tenant_id, number, at, actor_kind, actor_id, actor_name, actor_tenant, role, address, \
         request_id, action, object_kind, object_id, before, after, reason, outcome, hash) \
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(record.tenant.0)
    .bind(record.number)
    .bind(record.at.as_nanos())
    .bind(record.actor_kind)
    .bind(record.actor_id)
    .bind(record.actor_name)
    .bind(record.actor_tenant)
    .bind(record.role)
    .bind(record.address)
    .bind(record.request_id)
    .bind(record.action)
    .bind(record.object_kind)
    .bind(record.object_id)
    .bind(record.before)
    .bind(record.after)
    .bind(record.reason)
    .bind(record.outcome)
    .bind(&hash[..])
    .execute(connection)
    .await
    .map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::super::testing::in_memory;
    use super::*;
    use crate::access::Principal;
    use crate::base::SYSTEM_TENANT;

    async fn written(catalog: &super::super::Catalog) -> Vec<(i64, Vec<u8>)> {
        sqlx::query_as("SELECT number, hash FROM audit ORDER BY tenant_id, number")
            .fetch_all(&catalog.readers)
            .await
            .unwrap()
    }

    #[tokio::test]
    async fn records_of_a_tenant_are_numbered_and_none_can_be_changed_or_removed() {
        let catalog = in_memory().await;
        let root = Principal::operator("ops");
        for _ in 0..3 {
            let event = Event::by(&root, "calls.playback").of_tenant(SYSTEM_TENANT);
            catalog.audit(event).await.unwrap();
        }
        let records = written(&catalog).await;
        assert_eq!(
            records
                .iter()
                .map(|(number, _)| *number)
                .collect::<Vec<_>>(),
            [1, 2, 3]
        );
        assert_ne!(records[0].1, records[1].1);
        for statement in ["UPDATE audit SET role = 'x'", "DELETE FROM audit"] {
            let error = sqlx::query(statement)
                .execute(&catalog.writer)
                .await
                .unwrap_err();
            assert!(error.to_string().contains("append-only"), "{error}");
        }
        assert_eq!(written(&catalog).await, records);
    }

    #[tokio::test]
    async fn a_change_that_is_dropped_leaves_neither_row_nor_record() {
        let catalog = in_memory().await;
        let mut change = catalog.change().await.unwrap();
        change.also(Event::by(&Principal::operator("ops"), "groups.create"));
        drop(change);
        assert_eq!(written(&catalog).await, []);
    }

    #[test]
    fn a_hash_depends_on_every_field_and_on_the_hash_before() {
        let root = Principal::operator("ops");
        let event = Event::by(&root, "users.edit").because("x");
        let hash = |event: &Event, number, previous: &Hash| {
            Record::new(event, number, Timestamp::from_nanos(5)).hash(previous)
        };
        let first = hash(&event, 1, &Hash::default());
        assert_eq!(first, hash(&event, 1, &Hash::default()));
        assert_ne!(first, hash(&event, 2, &Hash::default()));
        assert_ne!(first, hash(&event, 1, &[1; 32]));
        let moved = Event {
            actor_name: String::new(),
            role: "opsRoot Administrator".into(),
            ..event.clone()
        };
        assert_ne!(first, hash(&moved, 1, &Hash::default()));
        let without = Event {
            reason: None,
            ..event
        };
        assert_ne!(first, hash(&without, 1, &Hash::default()));
    }
}
