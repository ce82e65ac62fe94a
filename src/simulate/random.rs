//! Numbers that look random and are the same for the same seed: splitmix64 (Steele, Lea and Flood, "Fast splittable
//! pseudorandom number generators", 2014).

/// A sequence of numbers, wholly determined by what it was made from.
#[derive(Clone, Debug)]
pub struct Random {
    state: u64,
}

impl Random {
    /// The sequence for one purpose: other words, an unrelated sequence.
    pub fn of(seed: u64, words: &[u64]) -> Random {
        let state = words
            .iter()
            .fold(mix(seed), |state, word| mix(state ^ mix(*word)));
        Random { state }
    }

    pub fn next_u64(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.state)
    }

    pub fn next_u32(&mut self) -> u32 {
        (self.next_u64() >> 32) as u32
    }

    /// Evenly from 0 to `bound - 1`; 0 when `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next_u64()) * u128::from(bound)) >> 64) as u64
    }

    /// True in so many of a hundred cases. Always draws.
    pub fn has(&mut self, percent: u8) -> bool {
        self.below(100) < percent.into()
    }

    /// Draws nothing where the chance is none.
    pub fn happens(&mut self, chance: Chance) -> bool {
        chance.0 > 0 && u64::from(self.next_u32()) < chance.0
    }
}

/// How likely something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chance(u64);

impl Chance {
    /// From 0 to 100; what lies outside is taken for the nearer end.
    pub fn percent(percent: f64) -> Chance {
        Chance((percent.clamp(0.0, 100.0) / 100.0 * 4_294_967_296.0) as u64)
    }
}

fn mix(value: u64) -> u64 {
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_words_give_the_same_sequence_and_others_another() {
        let draw = |words: &[u64]| {
            let mut random = Random::of(7, words);
            [random.next_u64(), random.next_u64()]
        };
        assert_eq!(draw(&[1, 2]), draw(&[1, 2]));
        assert_ne!(draw(&[1, 2]), draw(&[2, 1]));
    }

    #[test]
    fn a_chance_comes_true_as_often_as_it_says() {
        let mut random = Random::of(1, &[]);
        let hits = (0..100_000)
            .filter(|_| random.happens(Chance::percent(3.0)))
            .count();
        assert!((2_700..3_300).contains(&hits), "{hits}");
        assert!(!(0..1000).any(|_| random.happens(Chance::percent(0.0))));
        assert!((0..1000).all(|_| random.happens(Chance::percent(100.0))));
    }
}
