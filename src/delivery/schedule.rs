//! When a delivery that failed is tried again.

use std::time::Duration;

/// Pauses after the first failure, the second and so on, in seconds: together about 22 hours.
const PAUSES: [u64; 10] = [5, 30, 120, 600, 1800, 3600, 7200, 14_400, 21_600, 28_800];

/// How often a delivery is tried.
pub const ATTEMPTS: u32 = PAUSES.len() as u32 + 1;

/// The pause after so many failed attempts; `None`: it is given up. `random`: each value as likely as any other; a fifth more
/// or less, so that what failed together is not tried together.
pub fn next_attempt(failed: u32, random: u32) -> Option<Duration> {
    let pause = PAUSES.get(failed.checked_sub(1)? as usize)?;
    let share = f64::from(random) / f64::from(u32::MAX);
    Some(Duration::from_secs(*pause).mul_f64(0.8 + 0.4 * share))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_end_after_about_a_day() {
        let total = |random| {
            let pauses = (1..).map_while(|failed| next_attempt(failed, random));
            pauses.sum::<Duration>().as_secs() / 3600
        };
        assert_eq!(
            (total(0), total(u32::MAX / 2), total(u32::MAX)),
            (17, 21, 26)
        );
        assert_eq!(next_attempt(ATTEMPTS, 0), None);
        assert_eq!(next_attempt(0, 0), None);
        for failed in 1..ATTEMPTS - 1 {
            assert!(next_attempt(failed, 7) < next_attempt(failed + 1, 7));
        }
    }
}
