//! The rights of a user, as they are at this moment.

use std::sync::Arc;

use sqlx::Row;
use sqlx::sqlite::SqliteRow;
use uuid::Uuid;

use crate::access::{AccessLevel, Actor, Principal, Role, preset};
use crate::base::{GroupId, RoleId, TenantId, Timestamp, UserId};
use crate::catalog::change::now;
use crate::catalog::{Catalog, Error, Result};

/// A user who may act: active, not expired, of a tenant that is active.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    pub id: UserId,
    pub tenant: TenantId,
    pub login: Arc<str>,
    pub role: Role,
    pub managed_groups: Arc<[GroupId]>,
    pub must_change_password: bool,
    pub valid_until: Option<Timestamp>,
}

impl Person {
    /// The user as who asks.
    pub fn principal(&self) -> Principal {
        let actor = Actor::User {
            id: self.id,
            login: self.login.clone(),
        };
        Principal::new(
            actor,
            self.tenant,
            self.login.clone(),
            &self.role,
            self.managed_groups.clone(),
        )
    }
}

const PERSON: &str = "SELECT u.tenant_id, u.login, u.role_id, u.must_change_password, u.valid_until, \
     r.name, r.access_level, r.permissions, \
     (SELECT group_concat(hex(m.group_id), '') FROM managed_groups m WHERE m.user_id = u.id) \
     FROM users u \
     JOIN registered_tenants t ON t.id = u.tenant_id AND t.status = 'active' \
     LEFT JOIN roles r ON r.id = u.role_id AND r.tenant_id = u.tenant_id \
     WHERE u.id = ? AND u.active AND u.removed_at IS NULL AND (u.valid_until IS NULL OR u.valid_until > ?)";

impl Catalog {
    /// What the user may do now. None when the user is inactive, expired or removed, when the tenant is not active, and when
    /// there is no such user. Asked for every request, so that a right that was taken away is gone at the next one,
    /// whichever program took it.
    pub async fn principal_of_user(&self, user: UserId) -> Result<Option<Person>> {
        let row = sqlx::query(PERSON)
            .bind(user.0)
            .bind(now().as_nanos())
            .fetch_optional(&self.readers)
            .await;
        row.and_then(|row| match row {
            Some(row) => person(user, &row),
            None => Ok(None),
        })
        .map_err(|error| Error::from_sqlx("look up a user's rights", &self.place, error))
    }

    /// What whoever left something behind may do now: a user, or a service account. None as with
    /// [`Catalog::principal_of_user`].
    pub async fn principal_of_maker(&self, id: Uuid) -> Result<Option<Principal>> {
        match self.principal_of_user(UserId(id)).await? {
            Some(person) => Ok(Some(person.principal())),
            None => self.principal_of_account(id).await,
        }
    }
}

/// None: the role is not there, which gives no rights.
fn person(id: UserId, row: &SqliteRow) -> sqlx::Result<Option<Person>> {
    let tenant = TenantId(row.try_get(0)?);
    let role = RoleId(row.try_get(2)?);
    let Some(role) = role_of(tenant, role, row, 5)? else {
        return Ok(None);
    };
    let login: &str = row.try_get(1)?;
    let valid_until: Option<i64> = row.try_get(4)?;
    Ok(Some(Person {
        id,
        tenant,
        login: login.into(),
        role,
        managed_groups: groups(row.try_get(8)?)?.into(),
        must_change_password: row.try_get(3)?,
        valid_until: valid_until.map(Timestamp::from_nanos),
    }))
}

/// A preset, or the role whose name, level and permissions begin at column `first`.
pub(super) fn role_of(
    tenant: TenantId,
    id: RoleId,
    row: &SqliteRow,
    first: usize,
) -> sqlx::Result<Option<Role>> {
    if let Some(preset) = preset(tenant, id) {
        return Ok(Some(preset.role(tenant)));
    }
    let Some(name) = row.try_get::<Option<String>, _>(first)? else {
        return Ok(None);
    };
    let level: &str = row.try_get(first + 1)?;
    let permissions: &str = row.try_get(first + 2)?;
    let access_level =
        AccessLevel::named(level).ok_or_else(|| unreadable("an access level of another kind"))?;
    Ok(Some(Role {
        role_id: id,
        name,
        access_level,
        tenant_id: Some(tenant),
        permissions: serde_json::from_str(permissions)
            .map_err(|error| sqlx::Error::Decode(error.into()))?,
    }))
}

/// Ids as hexadecimal digits, one behind the other.
pub(super) fn groups(hex: Option<&str>) -> sqlx::Result<Vec<GroupId>> {
    let digits = hex.unwrap_or_default().as_bytes();
    let ids = digits.chunks(32).map(|id| {
        let id = Uuid::try_parse_ascii(id);
        id.map(GroupId)
            .map_err(|_| unreadable("a group's id of another length"))
    });
    ids.collect()
}

fn unreadable(why: &'static str) -> sqlx::Error {
    sqlx::Error::Decode(why.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::access::{Operation, Permissions, Preset, Reach, Resource};
    use crate::base::SYSTEM_TENANT;
    use crate::catalog::testing::{in_memory, tenant};

    const ANN: UserId = UserId(Uuid::from_u128(0xa11));

    async fn run(catalog: &Catalog, statement: &'static str) {
        sqlx::query(statement)
            .execute(&catalog.writer)
            .await
            .unwrap();
    }

    /// A catalog with the user `ann` of tenant 1.
    async fn with_ann(role: RoleId) -> Catalog {
        let catalog = in_memory().await;
        catalog.register_for_tests(tenant(1), "acme").await;
        sqlx::query(
            "INSERT INTO users (id, tenant_id, login, name, role_id, created_at, changed_at) VALUES (?, ?, 'ann', '', ?, 0, 0)",
        )
        .bind(ANN.0)
        .bind(tenant(1).0)
        .bind(role.0)
        .execute(&catalog.writer)
        .await
        .unwrap();
        catalog
    }

    async fn reach(catalog: &Catalog) -> Option<Reach> {
        let person = catalog.principal_of_user(ANN).await.unwrap();
        person.map(|person| person.principal().scope().reach().clone())
    }

    #[tokio::test]
    async fn a_user_has_the_rights_of_the_role_at_once() {
        let catalog = with_ann(Preset::TenantAdministrator.role_id(tenant(1))).await;
        assert_eq!(reach(&catalog).await, Some(Reach::Tenant(tenant(1))));
        let agent = Preset::Agent.role_id(tenant(1));
        sqlx::query("UPDATE users SET role_id = ?")
            .bind(agent.0)
            .execute(&catalog.writer)
            .await
            .unwrap();
        let person = catalog.principal_of_user(ANN).await.unwrap().unwrap();
        assert_eq!(person.role, Preset::Agent.role(tenant(1)));
        assert!(
            !person
                .principal()
                .may(Resource::Users, crate::access::Operation::View)
        );
    }

    #[tokio::test]
    async fn who_may_not_act_has_no_rights() {
        for taken in [
            "UPDATE users SET active = 0",
            "UPDATE users SET removed_at = 1",
            "UPDATE users SET valid_until = 1",
            "UPDATE registered_tenants SET status = 'suspended' WHERE slug = 'acme'",
            "UPDATE registered_tenants SET status = 'gone' WHERE slug = 'acme'",
            "UPDATE users SET role_id = zeroblob(16)",
        ] {
            let catalog = with_ann(Preset::Reader.role_id(tenant(1))).await;
            assert!(reach(&catalog).await.is_some());
            run(&catalog, taken).await;
            assert_eq!(reach(&catalog).await, None, "{taken}");
        }
        let catalog = with_ann(Preset::Reader.role_id(tenant(1))).await;
        run(
            &catalog,
            "UPDATE users SET valid_until = 9000000000000000000",
        )
        .await;
        assert!(reach(&catalog).await.is_some());
        let stranger = catalog.principal_of_user(UserId(Uuid::nil())).await;
        assert_eq!(stranger.unwrap(), None);
    }

    #[tokio::test]
    async fn a_role_of_another_tenant_gives_nothing() {
        let administrator = Preset::Administrator.role_id(SYSTEM_TENANT);
        let catalog = with_ann(administrator).await;
        assert_eq!(reach(&catalog).await, None);
    }

    #[tokio::test]
    async fn a_role_that_was_made_and_the_groups_that_are_managed_are_read() {
        let role = RoleId(Uuid::from_u128(5));
        let catalog = with_ann(role).await;
        let mut may = Permissions::default();
        may.allow(Resource::Calls, &[Operation::View]);
        sqlx::query("INSERT INTO roles VALUES (?, ?, 'Lead', 'managed_groups', ?, 1, 0, 0)")
            .bind(role.0)
            .bind(tenant(1).0)
            .bind(serde_json::to_string(&may).unwrap())
            .execute(&catalog.writer)
            .await
            .unwrap();
        let managed = [1, 2].map(|number| GroupId(Uuid::from_u128(number)));
        for group in managed {
            sqlx::query("INSERT INTO groups VALUES (?1, ?2, hex(?1), '', 1, 0, 0)")
                .bind(group.0)
                .bind(tenant(1).0)
                .execute(&catalog.writer)
                .await
                .unwrap();
            sqlx::query("INSERT INTO managed_groups VALUES (?, ?)")
                .bind(ANN.0)
                .bind(group.0)
                .execute(&catalog.writer)
                .await
                .unwrap();
        }
        let person = catalog.principal_of_user(ANN).await.unwrap().unwrap();
        assert_eq!(person.role.permissions, may);
        let groups = Arc::new(managed);
        let tenant = tenant(1);
        assert_eq!(
            person.principal().scope().reach(),
            &Reach::Groups { tenant, groups }
        );
    }
}
