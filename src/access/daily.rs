//! How much of something there is in a day, such as letters, for whoever asks.
//!
//! As with [`Attempts`](super::Attempts) the table knows names, not people: who does not exist gets as much as who does.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::attempts::key_of;
use crate::base::Timestamp;

/// Names that are kept in mind. Past it goes whose day began first.
const MAX_KEPT: usize = 65_536;

/// From the first time on.
const DAY: Duration = Duration::from_secs(86_400);

/// Who asked within the last day, and how often. One for all tenants; shared by all requests.
#[derive(Debug, Default)]
pub struct Daily(Mutex<HashMap<[u8; 32], Tally>>);

#[derive(Clone, Copy, Debug)]
struct Tally {
    began_at: Timestamp,
    times: u32,
}

impl Daily {
    /// Counts one for each of these names, where none of them has had as much as it may.
    ///
    /// # Errors
    ///
    /// When there is more: one of them has had it all. Nothing is counted.
    pub fn take(&self, bounds: &[(&str, u32)], now: Timestamp) -> Result<(), Timestamp> {
        // Nothing between lock and unlock can leave a tally half written.
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_over = |tally: &Tally| now.since(tally.began_at) >= DAY || tally.began_at > now;
        let keys = bounds.iter().map(|(name, most)| (key_of(name), *most));
        let keys: Vec<([u8; 32], u32)> = keys.collect();
        let spent = keys.iter().filter_map(|(key, most)| {
            let tally = table.get(key).filter(|tally| !is_over(tally))?;
            (tally.times >= *most).then(|| tally.began_at + DAY)
        });
        if let Some(until) = spent.max() {
            return Err(until);
        }
        for (key, _) in keys {
            if table.len() >= MAX_KEPT && !table.contains_key(&key) {
                make_room(&mut table);
            }
            let begun = Tally {
                began_at: now,
                times: 0,
            };
            let tally = table.entry(key).or_insert(begun);
            if is_over(tally) {
                *tally = begun;
            }
            tally.times = tally.times.saturating_add(1);
        }
        Ok(())
    }

    /// What was taken last came to nothing.
    pub fn give_back(&self, bounds: &[(&str, u32)]) {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, _) in bounds {
            if let Some(tally) = table.get_mut(&key_of(name)) {
                tally.times = tally.times.saturating_sub(1);
            }
        }
    }
}

fn make_room(table: &mut HashMap<[u8; 32], Tally>) {
    let oldest = table.iter().min_by_key(|(_, tally)| tally.began_at);
    if let Some(key) = oldest.map(|(key, _)| *key) {
        table.remove(&key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_secs_nanos(1_800_000_000, 0);

    #[test]
    fn a_day_begins_with_the_first_time_and_all_bounds_hold() {
        let daily = Daily::default();
        let (first, second) = ([("ann", 3), ("here", 5)], [("bob", 3), ("here", 5)]);
        for _ in 0..3 {
            assert_eq!(daily.take(&first, START), Ok(()));
        }
        let later = START + Duration::from_secs(3600);
        assert_eq!(daily.take(&first, later), Err(START + DAY));
        // What was refused took nothing.
        for _ in 0..2 {
            assert_eq!(daily.take(&second, later), Ok(()));
        }
        assert_eq!(daily.take(&second, later), Err(START + DAY));
        assert_eq!(daily.take(&[("bob", 3)], later), Ok(()));
        assert_eq!(daily.take(&first, START + DAY), Ok(()));
        daily.give_back(&[("bob", 3)]);
        assert_eq!(daily.take(&[("bob", 3)], later), Ok(()));
        assert_eq!(daily.take(&[("bob", 3)], later), Err(later + DAY));
    }

    #[test]
    fn the_table_is_bounded() {
        let daily = Daily::default();
        for number in 0..MAX_KEPT + 3 {
            let now = START + Duration::from_nanos(number as u64);
            daily.take(&[(&number.to_string(), 1)], now).unwrap();
        }
        assert_eq!(daily.0.lock().unwrap().len(), MAX_KEPT);
        assert_eq!(
            daily.take(&[("0", 1)], START + Duration::from_secs(1)),
            Ok(())
        );
    }
}
