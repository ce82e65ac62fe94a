//! How often somebody may try.
//!
//! Attempts are counted by account and by address, whether the account exists or not: the table knows names, not people,
//! so an account that does not exist is locked like one that does. An attempt counts as failed from its begin until
//! [`Attempts::succeeded`]: a thousand at the same time are a thousand, not one.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::base::Timestamp;

/// Accounts, and addresses, that are kept in mind, each. Past it goes whoever is not locked and tried longest ago, then
/// whoever tried longest ago.
const MAX_KEPT: usize = 65_536;

/// When somebody has tried too often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttemptRules {
    /// Failures in a row after which an account is locked, 1 and up.
    pub account_failures: u32,
    /// For how long, at first. Each further failure doubles it, up to `longest_lock`.
    pub first_lock: Duration,
    pub longest_lock: Duration,
    /// Failures from one address within `address_window`, whatever the accounts.
    pub address_failures: u32,
    pub address_window: Duration,
}

impl Default for AttemptRules {
    fn default() -> Self {
        AttemptRules {
            account_failures: 5,
            first_lock: Duration::from_secs(60),
            longest_lock: Duration::from_secs(15 * 60),
            address_failures: 50,
            address_window: Duration::from_secs(10 * 60),
        }
    }
}

/// Not before `until`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused {
    pub until: Timestamp,
    pub because: TooMany,
}

/// Of what there were too many attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TooMany {
    OfAccount,
    OfAddress,
}

/// What an attempt led to, should it fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IfFailed {
    /// There are more tries.
    Open,
    /// The account is locked from now until then.
    Locked { until: Timestamp },
}

/// Who tried, and how often. One for all tenants; shared by all requests.
#[derive(Debug)]
pub struct Attempts {
    rules: AttemptRules,
    tables: Mutex<Tables>,
}

#[derive(Debug, Default)]
struct Tables {
    accounts: HashMap<[u8; 32], Tally>,
    addresses: HashMap<IpAddr, Tally>,
}

#[derive(Clone, Copy, Debug)]
struct Tally {
    failures: u32,
    last: Timestamp,
    locked_until: Timestamp,
}

impl Attempts {
    pub fn new(rules: AttemptRules) -> Attempts {
        Attempts {
            rules,
            tables: Mutex::default(),
        }
    }

    /// Begins an attempt: it has failed until [`Attempts::succeeded`].
    ///
    /// `account` is whatever names it, tenant and login in lower case; the address is left out where there is none, on
    /// the machine itself.
    pub fn begin(
        &self,
        account: &str,
        address: Option<IpAddr>,
        now: Timestamp,
    ) -> Result<IfFailed, Refused> {
        let mut tables = self.tables();
        let (account, address) = (key_of(account), address.map(network_of));
        if let Some(until) = tables.locked(&account, address.as_ref(), now) {
            return Err(until);
        }
        if let Some(address) = address {
            let rules = &self.rules;
            let tally = entry(&mut tables.addresses, address, now);
            // A window that begins with the first failure, and is over as a whole.
            if now.since(tally.last) > rules.address_window {
                *tally = Tally::begun(now);
            }
            tally.failures = tally.failures.saturating_add(1);
            if tally.failures >= rules.address_failures {
                tally.locked_until = tally.last + rules.address_window;
            }
        }
        let tally = entry(&mut tables.accounts, account, now);
        // Who waited a day after the longest lock begins anew.
        if now.since(tally.last) > Duration::from_secs(86_400) {
            *tally = Tally::begun(now);
        }
        tally.failures = tally.failures.saturating_add(1);
        tally.last = now;
        Ok(
            match tally.failures.checked_sub(self.rules.account_failures) {
                None => IfFailed::Open,
                Some(beyond) => {
                    let lock = self.rules.first_lock.saturating_mul(1 << beyond.min(16));
                    tally.locked_until = now + lock.min(self.rules.longest_lock);
                    IfFailed::Locked {
                        until: tally.locked_until,
                    }
                }
            },
        )
    }

    /// The attempt was a good one: the account begins anew, and the address has one failure less.
    pub fn succeeded(&self, account: &str, address: Option<IpAddr>) {
        let mut tables = self.tables();
        tables.accounts.remove(&key_of(account));
        if let Some(tally) =
            address.and_then(|address| tables.addresses.get_mut(&network_of(address)))
        {
            tally.failures = tally.failures.saturating_sub(1);
            if tally.failures < self.rules.address_failures {
                tally.locked_until = Timestamp::MIN;
            }
        }
    }

    /// An administrator has set the account right.
    pub fn forget_account(&self, account: &str) {
        self.tables().accounts.remove(&key_of(account));
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        // Nothing between lock and unlock can leave a tally half written.
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tally {
    fn begun(now: Timestamp) -> Tally {
        Tally {
            failures: 0,
            last: now,
            locked_until: Timestamp::MIN,
        }
    }
}

impl Tables {
    fn locked(
        &self,
        account: &[u8; 32],
        address: Option<&IpAddr>,
        now: Timestamp,
    ) -> Option<Refused> {
        let of = |tally: Option<&Tally>, because| {
            let until = tally?.locked_until;
            (until > now).then_some(Refused { until, because })
        };
        let by_address = address.and_then(|address| self.addresses.get(address));
        let by_address = of(by_address, TooMany::OfAddress);
        by_address.or_else(|| of(self.accounts.get(account), TooMany::OfAccount))
    }
}

/// The tally of `key`, in whose favour another goes when there are too many.
fn entry<K: Copy + Eq + std::hash::Hash>(
    table: &mut HashMap<K, Tally>,
    key: K,
    now: Timestamp,
) -> &mut Tally {
    if table.len() >= MAX_KEPT && !table.contains_key(&key) {
        let oldest = table
            .iter()
            .min_by_key(|(_, tally)| (tally.locked_until > now, tally.last));
        if let Some(key) = oldest.map(|(key, _)| *key) {
            table.remove(&key);
        }
    }
    table.entry(key).or_insert_with(|| Tally::begun(now))
}

/// Names of accounts are kept by a hash: what was typed may be a password in the wrong field.
pub(super) fn key_of(name: &str) -> [u8; 32] {
    *blake3::hash(name.as_bytes()).as_bytes()
}

/// What one customer of a provider has: an IPv4 address, a /64 of IPv6.
pub fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(ip) => IpAddr::V6(((ip.to_bits() >> 64) << 64).into()),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_secs_nanos(1_800_000_000, 0);

    fn after(seconds: u64) -> Timestamp {
        START + Duration::from_secs(seconds)
    }

    fn attempts() -> Attempts {
        Attempts::new(AttemptRules::default())
    }

    fn ip(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn the_fifth_failure_locks_and_each_further_one_for_twice_as_long() {
        let attempts = attempts();
        for second in 0..4 {
            assert_eq!(
                attempts.begin("a/alice", None, after(second)),
                Ok(IfFailed::Open)
            );
        }
        let mut now = after(4);
        for minutes in [1, 2, 4, 8, 15, 15] {
            let until = now + Duration::from_secs(60 * minutes);
            assert_eq!(
                attempts.begin("a/alice", None, now),
                Ok(IfFailed::Locked { until })
            );
            let refused = Refused {
                until,
                because: TooMany::OfAccount,
            };
            assert_eq!(attempts.begin("a/alice", None, now), Err(refused));
            assert_eq!(attempts.begin("a/bob", None, now), Ok(IfFailed::Open));
            attempts.forget_account("a/bob");
            now = until;
        }
    }

    #[test]
    fn a_good_attempt_begins_anew() {
        let attempts = attempts();
        for _ in 0..100 {
            for _ in 0..4 {
                let begun = attempts.begin("alice", None, START);
                assert_eq!(begun, Ok(IfFailed::Open));
            }
            attempts.succeeded("alice", None);
        }
    }

    #[test]
    fn who_signs_in_does_not_make_their_address_good() {
        let attempts = attempts();
        for account in 0..49 {
            let begun = attempts.begin(&account.to_string(), ip("10.0.0.1"), START);
            assert!(begun.is_ok());
            attempts.begin("insider", ip("10.0.0.1"), START).unwrap();
            attempts.succeeded("insider", ip("10.0.0.1"));
        }
        assert!(attempts.begin("last", ip("10.0.0.1"), START).is_ok());
        assert!(attempts.begin("insider", ip("10.0.0.1"), START).is_err());
    }

    #[test]
    fn attempts_that_are_not_over_count() {
        let attempts = attempts();
        let begun = (0..100).filter(|_| attempts.begin("alice", None, START).is_ok());
        assert_eq!(begun.count(), 5);
    }

    #[test]
    fn an_address_that_tries_many_accounts_waits_for_its_window() {
        let attempts = attempts();
        let from =
            |address, account: u32, now| attempts.begin(&account.to_string(), ip(address), now);
        for account in 0..50 {
            from("2001:db8::1", account, after(account.into())).unwrap();
        }
        let refused = from("2001:db8::2", 99, after(50)).unwrap_err();
        assert_eq!(
            refused,
            Refused {
                until: after(600),
                because: TooMany::OfAddress
            }
        );
        assert!(from("2001:db8:0:1::1", 99, after(50)).is_ok());
        assert!(from("2001:db8::3", 98, after(601)).is_ok());
    }

    #[test]
    fn mapped_addresses_are_those_they_map() {
        assert_eq!(
            network_of("::ffff:10.0.0.1".parse().unwrap()),
            "10.0.0.1".parse::<IpAddr>().unwrap()
        );
        assert_eq!(
            network_of("2001:db8::1:2:3:4".parse().unwrap()),
            "2001:db8::".parse::<IpAddr>().unwrap()
        );
    }

    #[test]
    fn the_table_is_bounded_and_keeps_who_is_locked() {
        let attempts = attempts();
        for _ in 0..5 {
            attempts.begin("locked", None, START).unwrap();
        }
        // Few turns past the cap: each looks at the whole table.
        for account in 0..MAX_KEPT + 3 {
            attempts
                .begin(&account.to_string(), None, after(1))
                .unwrap();
        }
        assert_eq!(attempts.tables().accounts.len(), MAX_KEPT);
        assert!(attempts.begin("locked", None, after(2)).is_err());
    }
}
