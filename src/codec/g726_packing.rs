//! How the codes of G.726 are packed, and how what was packed shows it.

/// How codes are put into octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Packing {
    /// The first code in the least significant bits (RFC 3551 section 4.5.4): `G726-32`.
    LeastFirst,
    /// The first code in the most significant bits (ITU-T I.366.2 annex E): `AAL2-G726-32`.
    MostFirst,
}

impl Packing {
    pub fn other(self) -> Packing {
        match self {
            Packing::LeastFirst => Packing::MostFirst,
            Packing::MostFirst => Packing::LeastFirst,
        }
    }

    /// The codes of `bits` (2 to 5) each in `payload`, the first first; bits left over at its end are padding.
    pub fn codes(self, payload: &[u8], bits: u32) -> impl Iterator<Item = u32> {
        let (mut buffer, mut held) = (0u32, 0);
        let mut octets = payload.iter();
        std::iter::from_fn(move || {
            while held < bits {
                let octet = u32::from(*octets.next()?);
                match self {
                    Packing::LeastFirst => buffer |= octet << held,
                    Packing::MostFirst => buffer = (buffer & 0xff) << 8 | octet,
                }
                held += 8;
            }
            held -= bits;
            let code = match self {
                Packing::LeastFirst => {
                    let code = buffer;
                    buffer >>= bits;
                    code
                }
                Packing::MostFirst => buffer >> held,
            };
            Some(code & ((1 << bits) - 1))
        })
    }
}

/// What payloads say of their packing.
///
/// Codes in the order in which they were made depend on each other more than in any other: each is coded by what it surprises
/// somebody who has seen those before it, once in either order. The order that takes fewer bits is the right one.
#[derive(Clone, Debug)]
pub struct Evidence {
    bits: u32,
    named: Expectation,
    other: Expectation,
    /// Nats by which the other order is the shorter one.
    for_other: f64,
}

impl Evidence {
    /// For codes of `bits` (2 to 5) each.
    pub fn new(bits: u32) -> Evidence {
        Evidence {
            bits,
            named: Expectation::new(bits),
            other: Expectation::new(bits),
            for_other: 0.0,
        }
    }

    /// Takes a payload that is named to be packed in one way.
    pub fn take(&mut self, payload: &[u8], named: Packing) {
        let ways = named
            .codes(payload, self.bits)
            .zip(named.other().codes(payload, self.bits));
        for (code, other) in ways {
            self.for_other += (self.other.expected(other) / self.named.expected(code)).ln();
        }
    }

    /// The logarithm of how much likelier the other packing is than the named one.
    pub fn for_other(&self) -> f64 {
        self.for_other
    }
}

/// Weights in one context beyond which the past counts half: speech changes.
const MEMORY: u16 = 256;

/// Which code follows which, learned from those before: by the magnitude of the last one, and by the signs of the last three
/// relative to each other. What holds of a signal holds of its negative.
#[derive(Clone, Debug)]
struct Expectation {
    bits: u32,
    /// Twice how often each code was seen in each context, and 1.
    weights: Vec<u16>,
    /// Their sums, by context.
    sums: Vec<u16>,
    /// The last three codes, the newest first.
    last: [u32; 3],
}

impl Expectation {
    fn new(bits: u32) -> Expectation {
        let (codes, contexts) = (1 << bits, 4 << (bits - 1));
        Expectation {
            bits,
            weights: vec![1; contexts * codes],
            sums: vec![codes as u16; contexts],
            last: [0; 3],
        }
    }

    /// How likely `code` was to come next, above 0 and below 1. It is learned from.
    fn expected(&mut self, code: u32) -> f64 {
        let [newest, second, third] = self.last;
        let sign = self.bits - 1;
        let mirror = match newest >> sign {
            0 => 0,
            _ => (1 << self.bits) - 1,
        };
        let context =
            (newest ^ mirror) << 2 | ((second ^ mirror) >> sign) << 1 | (third ^ mirror) >> sign;
        let (context, codes) = (context as usize, 1 << self.bits);
        self.last = [code, newest, second];
        let of_context = context * codes..(context + 1) * codes;
        let (Some(weights), Some(sum)) =
            (self.weights.get_mut(of_context), self.sums.get_mut(context))
        else {
            return 1.0;
        };
        let Some(weight) = weights.get_mut((code ^ mirror) as usize) else {
            return 1.0;
        };
        let likely = f64::from(*weight) / f64::from(*sum);
        *weight += 2;
        *sum += 2;
        if *sum > MEMORY {
            weights
                .iter_mut()
                .for_each(|weight| *weight = weight.div_ceil(2));
            *sum = weights.iter().sum();
        }
        likely
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_come_out_in_the_order_of_their_packing() {
        use Packing::{LeastFirst, MostFirst};
        let of = |packing: Packing, bits| -> Vec<u32> {
            packing
                .codes(&[0b1101_0010, 0b0110_1011, 0b1000_0001], bits)
                .collect()
        };
        assert_eq!(
            of(MostFirst, 4),
            [0b1101, 0b0010, 0b0110, 0b1011, 0b1000, 0b0001]
        );
        assert_eq!(
            of(LeastFirst, 4),
            [0b0010, 0b1101, 0b1011, 0b0110, 0b0001, 0b1000]
        );
        // Across octets.
        assert_eq!(of(MostFirst, 3), [6, 4, 4, 6, 5, 6, 0, 1]);
        assert_eq!(of(LeastFirst, 3), [2, 2, 7, 5, 6, 2, 0, 4]);
        assert_eq!(of(MostFirst, 5).len(), 4, "four bits are padding");
    }

    #[test]
    fn bytes_without_any_order_say_nothing() {
        for bits in [2, 4] {
            let mut evidence = Evidence::new(bits);
            let mut seed = 1u32;
            for _ in 0..300 {
                let payload: Vec<u8> = std::iter::repeat_with(|| {
                    seed = seed.wrapping_mul(1_103_515_245).wrapping_add(12_345);
                    (seed >> 24) as u8
                })
                .take(bits as usize * 20)
                .collect();
                evidence.take(&payload, Packing::LeastFirst);
            }
            assert!(
                evidence.for_other().abs() < 50.0,
                "{bits}: {}",
                evidence.for_other()
            );
        }
    }
}
