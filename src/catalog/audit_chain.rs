//! Whether the audit is as it was written.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::TryStreamExt;

use super::audit::Hash;
use super::audit_read::{AuditEntry, COLUMNS, entry_of};
use super::{Catalog, Error, Result};
use crate::base::TenantId;

/// A record that is known from elsewhere: its tenant, number and hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KnownRecord {
    pub tenant: TenantId,
    pub number: i64,
    pub hash: Hash,
}

impl KnownRecord {
    /// In hexadecimal.
    pub fn hash_text(hash: &Hash) -> String {
        hash.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The opposite of [`KnownRecord::hash_text`].
    pub fn parse_hash(text: &str) -> Option<Hash> {
        let digits = text.as_bytes();
        let mut hash = Hash::default();
        if digits.len() != 2 * hash.len() || !digits.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        for (byte, pair) in hash.iter_mut().zip(digits.chunks(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
        }
        Some(hash)
    }
}

/// One tenant's chain, read from end to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    pub tenant: TenantId,
    /// Records that are there.
    pub records: i64,
    /// The hash of the last one; all zero where there is none.
    pub head: Hash,
    /// The first record that is not as it was written, and how.
    pub broken: Option<(i64, Breach)>,
}

/// What can have been done to a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Breach {
    /// A field of the record, or its hash, or one before it, is not what was written.
    Changed,
    /// A record of this number is missing, and later ones are there.
    Missing,
    /// The chain once went on to this number.
    CutOff,
    /// The record is sound in its chain and is not the one that is known: all from some place on was written anew.
    Rewritten,
}

impl Breach {
    pub fn name(self) -> &'static str {
        match self {
            Breach::Changed => "changed",
            Breach::Missing => "missing",
            Breach::CutOff => "cut_off",
            Breach::Rewritten => "rewritten",
        }
    }
}

impl Catalog {
    /// Reads every chain of the audit and compares it with what is known from elsewhere. Takes seconds for a million records.
    pub async fn verify_audit(&self, known: &[KnownRecord]) -> Result<Vec<Chain>> {
        let mut reader = Reader::new(known);
        let text = format!("{COLUMNS} FROM audit a ORDER BY a.tenant_id, a.number");
        let mut rows = sqlx::query(sqlx::AssertSqlSafe(text)).fetch(&self.readers);
        let failed = |error| Error::from_sqlx("read the audit", &self.place, error);
        while let Some(row) = rows.try_next().await.map_err(failed)? {
            reader.read(&entry_of(&row).map_err(failed)?);
        }
        Ok(reader.finish())
    }
}

/// Chains as they are read, in the order of tenants and numbers.
struct Reader {
    /// By tenant and number. What is known twice, and differently, was written anew in between.
    known: BTreeMap<(TenantId, i64), BTreeSet<Hash>>,
    chains: Vec<Chain>,
}

impl Reader {
    fn new(known: &[KnownRecord]) -> Reader {
        let mut reader = Reader {
            known: BTreeMap::new(),
            chains: Vec::new(),
        };
        for one in known {
            let hashes = reader.known.entry((one.tenant, one.number)).or_default();
            hashes.insert(one.hash);
        }
        reader
    }

    fn read(&mut self, entry: &AuditEntry) {
        let record = &entry.record;
        if self
            .chains
            .last()
            .is_none_or(|chain| chain.tenant != record.tenant)
        {
            self.chains.push(Chain::empty(record.tenant));
        }
        let known = self.known.remove(&(record.tenant, record.number));
        let Some(chain) = self.chains.last_mut() else {
            return;
        };
        let expected = chain.records + 1;
        chain.records = record.number;
        let breach = if record.number != expected {
            Some((expected, Breach::Missing))
        } else if record.hash(&chain.head) != entry.hash {
            Some((record.number, Breach::Changed))
        } else if known.is_some_and(|known| known.iter().any(|known| *known != entry.hash)) {
            Some((record.number, Breach::Rewritten))
        } else {
            None
        };
        chain.broken = chain.broken.or(breach);
        chain.head = entry.hash;
    }

    /// What is known and was not there was cut off.
    fn finish(mut self) -> Vec<Chain> {
        for (tenant, number) in std::mem::take(&mut self.known).into_keys() {
            let at = self.chains.iter().position(|chain| chain.tenant == tenant);
            let at = at.unwrap_or_else(|| {
                self.chains.push(Chain::empty(tenant));
                self.chains.len() - 1
            });
            if let Some(chain) = self.chains.get_mut(at) {
                let first_lost = (chain.records + 1).min(number);
                chain.broken = chain.broken.or(Some((first_lost, Breach::CutOff)));
            }
        }
        self.chains
    }
}

impl Chain {
    fn empty(tenant: TenantId) -> Chain {
        Chain {
            tenant,
            records: 0,
            head: Hash::default(),
            broken: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::in_memory;
    use super::*;
    use crate::access::{Event, Principal};
    use crate::base::SYSTEM_TENANT;

    const ACME: TenantId = TenantId(uuid::Uuid::from_u128(7));

    /// Three records each of two tenants.
    async fn written() -> (Catalog, Vec<KnownRecord>) {
        let catalog = in_memory().await;
        catalog.register_for_tests(ACME, "acme").await;
        for number in 0..6 {
            let tenant = if number % 2 == 0 { ACME } else { SYSTEM_TENANT };
            let event = Event::by(&Principal::operator("ops"), "calls.playback").of_tenant(tenant);
            catalog.audit(event).await.unwrap();
        }
        let all = catalog.audit_since(0, 100).await.unwrap();
        let known = all.iter().map(|(_, entry)| KnownRecord {
            tenant: entry.record.tenant,
            number: entry.record.number,
            hash: entry.hash,
        });
        let known = known.collect();
        (catalog, known)
    }

    /// With the triggers out of the way, as whoever has the file can do it.
    async fn tamper(catalog: &Catalog, statement: &'static str) {
        for statement in [
            "DROP TRIGGER audit_is_not_changed",
            "DROP TRIGGER audit_is_not_removed",
            statement,
        ] {
            sqlx::query(statement)
                .execute(&catalog.writer)
                .await
                .unwrap();
        }
    }

    async fn breach_of_acme(statement: &'static str) -> Option<(i64, Breach)> {
        let (catalog, known) = written().await;
        tamper(&catalog, statement).await;
        let heads: Vec<_> = known.into_iter().filter(|one| one.number == 3).collect();
        let chains = catalog.verify_audit(&heads).await.unwrap();
        let of = |tenant| chains.iter().find(|chain| chain.tenant == tenant).unwrap();
        assert_eq!(of(SYSTEM_TENANT).broken, None);
        of(ACME).broken
    }

    #[tokio::test]
    async fn what_was_not_touched_is_sound() {
        let (catalog, known) = written().await;
        let chains = catalog.verify_audit(&known).await.unwrap();
        assert_eq!(chains.len(), 2);
        for chain in chains {
            assert_eq!((chain.records, chain.broken), (3, None));
        }
    }

    #[tokio::test]
    async fn a_record_that_was_changed_is_the_first_broken_one() {
        let changed = breach_of_acme("UPDATE audit SET actor_name = 'nobody' WHERE tenant_id = X'00000000000000000000000000000007' AND number = 2").await;
        assert_eq!(changed, Some((2, Breach::Changed)));
        // A field that had no value.
        let changed = breach_of_acme("UPDATE audit SET reason = '' WHERE tenant_id = X'00000000000000000000000000000007' AND number = 1").await;
        assert_eq!(changed, Some((1, Breach::Changed)));
    }

    #[tokio::test]
    async fn records_that_were_taken_out_are_missed() {
        let within = breach_of_acme("DELETE FROM audit WHERE tenant_id = X'00000000000000000000000000000007' AND number = 2").await;
        assert_eq!(within, Some((2, Breach::Missing)));
        let at_the_end = breach_of_acme("DELETE FROM audit WHERE tenant_id = X'00000000000000000000000000000007' AND number >= 2").await;
        assert_eq!(at_the_end, Some((2, Breach::CutOff)));
        let all = breach_of_acme(
            "DELETE FROM audit WHERE tenant_id = X'00000000000000000000000000000007'",
        )
        .await;
        assert_eq!(all, Some((1, Breach::CutOff)));
    }

    #[tokio::test]
    async fn a_chain_that_was_written_anew_is_not_the_one_that_is_known() {
        let (catalog, known) = written().await;
        let other = in_memory().await;
        other.register_for_tests(ACME, "acme").await;
        for _ in 0..3 {
            let event = Event::by(&Principal::operator("mallory"), "calls.view").of_tenant(ACME);
            other.audit(event).await.unwrap();
        }
        let heads: Vec<_> = known
            .into_iter()
            .filter(|one| one.tenant == ACME && one.number == 3)
            .collect();
        drop(catalog);
        let chains = other.verify_audit(&heads).await.unwrap();
        assert_eq!(chains[0].broken, Some((3, Breach::Rewritten)));
    }
}
