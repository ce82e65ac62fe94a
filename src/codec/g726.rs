//! ITU-T G.726: ADPCM at 16, 24, 32 and 40 kbit/s. 32 kbit/s is what G.721 was, 24 and 40 what G.723 was.
//!
//! Written from the block diagrams of the recommendation (clause 4): names in capitals are its blocks. The signal is
//! uniform PCM; the companding at both ends of the recommendation is left out, as RTP carries none of it.

use super::g726_packing::{Evidence, Packing};

/// What differs between the rates. Each table has one entry for each magnitude of a code.
#[derive(Debug)]
struct Rate {
    bits: u32,
    /// Log of the quantized difference, normalized (tables 7 to 10).
    dqln: &'static [i32],
    /// W(I), the scale factor multipliers (clause 4.2.4).
    w: &'static [i32],
    /// F(I), for the speed of adaptation (clause 4.2.5).
    f: &'static [i32],
}

static RATES: [Rate; 4] = [
    Rate {
        bits: 2,
        dqln: &[116, 365],
        w: &[-22, 439],
        f: &[0, 7],
    },
    Rate {
        bits: 3,
        dqln: &[-2048, 135, 273, 373],
        w: &[-4, 30, 137, 582],
        f: &[0, 1, 2, 7],
    },
    Rate {
        bits: 4,
        dqln: &[-2048, 4, 135, 213, 273, 323, 373, 425],
        w: &[-12, 18, 41, 64, 112, 198, 355, 1122],
        f: &[0, 0, 0, 1, 1, 1, 3, 7],
    },
    Rate {
        bits: 5,
        dqln: &[
            -2048, -66, 28, 104, 169, 224, 274, 318, 358, 395, 429, 459, 488, 514, 539, 566,
        ],
        w: &[
            14, 14, 24, 39, 40, 41, 58, 100, 141, 179, 219, 280, 358, 440, 529, 696,
        ],
        f: &[0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 2, 3, 4, 5, 6, 6],
    },
];

/// A number as the recommendation keeps signals of the predictor: sign, exponent of 4 bits, mantissa of 6.
#[derive(Clone, Copy, Debug)]
struct Float {
    negative: bool,
    exponent: i32,
    mantissa: i32,
}

impl Float {
    const ZERO: Float = Float {
        negative: false,
        exponent: 0,
        mantissa: 32,
    };

    /// FLOATA and FLOATB.
    fn of(negative: bool, magnitude: i32) -> Float {
        let exponent = bit_length(magnitude);
        let mantissa = if magnitude == 0 {
            32
        } else {
            (magnitude << 6) >> exponent
        };
        Float {
            negative,
            exponent,
            mantissa,
        }
    }

    /// FMULT: the product with a predictor coefficient.
    fn times(self, coefficient: i32) -> i32 {
        let coefficient = coefficient >> 2;
        let magnitude = if coefficient < 0 {
            -coefficient & 0x1fff
        } else {
            coefficient
        };
        let exponent = bit_length(magnitude);
        let mantissa = if magnitude == 0 {
            32
        } else {
            (magnitude << 6) >> exponent
        };
        let product = (self.mantissa * mantissa + 48) >> 4;
        let shift = self.exponent + exponent - 26;
        let product = if shift > 0 {
            (product << 7 << shift) & 0x7fff
        } else {
            (product << 7) >> -shift
        };
        if self.negative == (coefficient < 0) {
            product
        } else {
            -product
        }
    }
}

fn bit_length(magnitude: i32) -> i32 {
    (i32::BITS - magnitude.leading_zeros()) as i32
}

/// Decodes one stream.
///
/// The name of the format says how codes are packed, and some phones do it the other way: half of what was built before
/// RFC 3551 settled it, and some since. So the beginning of a stream is decoded both ways, until the codes themselves have said
/// which is right (`Evidence`). It may show only when something was given the other way: [`G726::doubt`] says so, and
/// [`G726::again`] decodes that once more. Memory: up to four times 200 bytes, and 8 KiB of evidence.
#[derive(Clone, Debug)]
pub struct G726 {
    packing: Packing,
    state: State,
    /// The other way, until it is known which is right.
    rival: Option<Box<Rival>>,
    /// Both ways, as they were before the first payload that was loud enough.
    begin: Option<Box<[State; 2]>>,
    has_turned: bool,
    rival_leads: bool,
    /// Samples of payloads that were loud enough to say something.
    heard: u32,
}

/// The other way to read a stream.
#[derive(Clone, Debug)]
struct Rival {
    state: State,
    evidence: Evidence,
    samples: Vec<i16>,
}

/// Evidence from which on the rival is heard. Of 144 beginnings of speech, tones and noise at each rate none that was named truly had
/// more than 42 against it; of those named wrongly half had this after 0.05 s (24 and 40 kbit/s), 0.5 s (16) and 0.4 s (32).
const LEADS: f64 = 80.0;
/// Evidence that settles it; and speech after which it is settled anyway: six seconds.
const CERTAIN: f64 = 200.0;
const SETTLED: u32 = 48_000;
/// Mean power of a payload, either way, below which it says nothing about its packing: -53 dBFS, the samples being of 14 bits.
const SOFT: f64 = 300.0;

impl G726 {
    /// `kbit_s` is 16, 24, 32 or 40; any other is taken for 32.
    pub fn new(kbit_s: u8, packing: Packing) -> G726 {
        let state = State::new(kbit_s);
        let rival = Rival {
            state: state.clone(),
            evidence: Evidence::new(state.rate.bits),
            samples: Vec::new(),
        };
        G726 {
            packing,
            rival: Some(Box::new(rival)),
            begin: None,
            has_turned: false,
            state,
            rival_leads: false,
            heard: 0,
        }
    }

    /// Appends the samples of `payload`; bits left over at its end are padding.
    pub fn decode(&mut self, payload: &[u8], out: &mut Vec<i16>) {
        let begin = out.len();
        self.has_turned = false;
        let Some(rival) = &mut self.rival else {
            self.begin = None;
            return self.state.decode(payload, self.packing, out);
        };
        if self.heard == 0 {
            self.begin = Some(Box::new([self.state.clone(), rival.state.clone()]));
        }
        self.state.decode(payload, self.packing, out);
        rival.samples.clear();
        let other = self.packing.other();
        rival.state.decode(payload, other, &mut rival.samples);
        let samples = rival.samples.len() as u32;
        if self.state.power(samples).max(rival.state.power(samples)) > SOFT {
            self.heard = self.heard.saturating_add(samples);
            rival.evidence.take(payload, self.packing);
        }
        let evidence = rival.evidence.for_other();
        let led = self.rival_leads;
        self.rival_leads = evidence > if led { 0.0 } else { LEADS };
        self.has_turned = self.rival_leads != led;
        if self.rival_leads {
            out.truncate(begin);
            out.append(&mut rival.samples);
        }
        if self.heard >= SETTLED || evidence.abs() >= CERTAIN {
            self.settle();
        }
    }

    /// How sure it is that the payloads so far were packed as they were decoded.
    pub fn doubt(&self) -> Doubt {
        match (self.has_turned, self.heard) {
            (true, _) => Doubt::Turned,
            _ if self.rival.is_none() => Doubt::None,
            (_, 0) => Doubt::Unheard,
            _ => Doubt::Open,
        }
    }

    /// What decodes the payloads since [`Doubt::Open`] began, the first one too, in the way that leads now.
    pub fn again(&self) -> Option<G726> {
        let [named, rival] = *self.begin.clone()?;
        let is_other = self.rival_leads && self.rival.is_some();
        Some(G726 {
            packing: if is_other {
                self.packing.other()
            } else {
                self.packing
            },
            state: if self.rival_leads { rival } else { named },
            rival: None,
            begin: None,
            has_turned: false,
            rival_leads: false,
            heard: 0,
        })
    }

    fn settle(&mut self) {
        let Some(rival) = self.rival.take() else {
            return;
        };
        if self.rival_leads {
            self.state = rival.state;
            self.packing = self.packing.other();
        }
    }
}

/// How sure a decoder is of what it gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// It is.
    None,
    /// Nothing came yet that would tell.
    Unheard,
    /// It may turn out to be wrong, from the payload on that ended [`Doubt::Unheard`].
    Open,
    /// It turned out just now: [`Doubt::Open`] payloads were wrong, the last one is right.
    Turned,
}

/// The state of the recommendation's decoder.
#[derive(Clone, Debug)]
struct State {
    rate: &'static Rate,
    /// Slow and fast scale factor.
    yl: i32,
    yu: i32,
    /// Short and long term average of F(I).
    dms: i32,
    dml: i32,
    /// Unlimited speed control.
    ap: i32,
    /// Coefficients of the poles and the zeros.
    a: [i32; 2],
    b: [i32; 6],
    /// Quantized differences and reconstructed signals, newest first.
    dq: [Float; 6],
    sr: [Float; 2],
    /// Signs of difference plus partial estimate, newest first.
    pk: [bool; 2],
    /// A tone was detected.
    td: bool,
    /// Energy of the samples of the last payload.
    energy: f64,
}

impl State {
    /// That of a reset (clause 4.2.8).
    fn new(kbit_s: u8) -> State {
        let rate = RATES
            .iter()
            .find(|rate| rate.bits * 8 == u32::from(kbit_s))
            .unwrap_or(&RATES[2]);
        State {
            rate,
            yl: 34_816,
            yu: 544,
            dms: 0,
            dml: 0,
            ap: 0,
            a: [0; 2],
            b: [0; 6],
            dq: [Float::ZERO; 6],
            sr: [Float::ZERO; 2],
            pk: [false; 2],
            td: false,
            energy: 0.0,
        }
    }

    /// Mean power of the last payload.
    fn power(&self, samples: u32) -> f64 {
        self.energy / f64::from(samples.max(1))
    }

    fn decode(&mut self, payload: &[u8], packing: Packing, out: &mut Vec<i16>) {
        self.energy = 0.0;
        out.extend(
            packing
                .codes(payload, self.rate.bits)
                .map(|code| self.sample(code)),
        );
    }

    fn sample(&mut self, code: u32) -> i16 {
        let negative = code >> (self.rate.bits - 1) != 0;
        let levels = self.rate.dqln.len();
        let index = code as usize & (levels - 1);
        let level = if negative { levels - 1 - index } else { index };
        let (dqln, w, f) = (
            self.rate.dqln[level],
            self.rate.w[level] << 5,
            self.rate.f[level] << 9,
        );

        let zeros: i32 = self.b.iter().zip(self.dq).map(|(&b, dq)| dq.times(b)).sum();
        let poles = self.sr[0].times(self.a[0]) + self.sr[1].times(self.a[1]);
        let (sez, se) = (wrap(zeros) >> 1, wrap(zeros + poles) >> 1);
        let y = self.scale_factor();
        let magnitude = dequantize(dqln, y);
        let signed = if negative { -magnitude } else { magnitude };
        let sr = wrap(se + signed);
        self.adapt(y, w, f, negative, magnitude, sr, wrap(signed + sez));
        self.energy += f64::from(sr).powi(2);
        (sr << 2).clamp(-32_768, 32_767) as i16
    }

    /// LIMA and MIX.
    fn scale_factor(&self) -> i32 {
        if self.ap >= 256 {
            return self.yu;
        }
        let (slow, al) = (self.yl >> 6, self.ap >> 2);
        let product = (self.yu - slow) * al;
        slow + if product < 0 {
            -(-product >> 6)
        } else {
            product >> 6
        }
    }

    #[allow(clippy::too_many_arguments, reason = "signals of one block diagram")]
    fn adapt(&mut self, y: i32, w: i32, f: i32, negative: bool, dq: i32, sr: i32, dqsez: i32) {
        let transition = self.td && dq > self.threshold();
        // FUNCTW, FILTD, LIMB, FILTE.
        self.yu = (y + ((w - y) >> 5)).clamp(544, 5120);
        self.yl += self.yu + (-self.yl >> 6);
        let pk = dqsez < 0;
        if transition {
            (self.a, self.b) = ([0; 2], [0; 6]);
        } else {
            self.adapt_poles(pk, dqsez == 0);
            self.adapt_zeros(negative, dq);
        }
        self.dq.rotate_right(1);
        self.dq[0] = Float::of(negative, dq);
        self.sr = [Float::of(sr < 0, sr.abs().min(0x7fff)), self.sr[0]];
        self.pk = [pk, self.pk[0]];
        // TONE.
        self.td = !transition && self.a[1] < -11_776;
        // FILTA, FILTB, SUBTC, FILTC, TRIGA.
        self.dms += (f - self.dms) >> 5;
        self.dml += ((f << 2) - self.dml) >> 7;
        let unsteady = ((self.dms << 2) - self.dml).abs() >= self.dml >> 3;
        self.ap = if transition {
            256
        } else if y < 1536 || self.td || unsteady {
            self.ap + ((512 - self.ap) >> 4)
        } else {
            self.ap + (-self.ap >> 4)
        };
    }

    /// TRANS: the difference above which a tone is taken to have changed.
    fn threshold(&self) -> i32 {
        let (whole, fraction) = (self.yl >> 15, (self.yl >> 10) & 0x1f);
        let threshold = if whole > 9 {
            31 << 10
        } else {
            (32 + fraction) << whole
        };
        (threshold + (threshold >> 1)) >> 1
    }

    /// UPA1, UPA2, LIMC, LIMD.
    fn adapt_poles(&mut self, pk: bool, is_zero: bool) {
        let mut a2 = self.a[1] - (self.a[1] >> 7);
        let mut a1 = self.a[0] - (self.a[0] >> 8);
        if !is_zero {
            let differs = pk != self.pk[0];
            let fa1 = if differs { self.a[0] } else { -self.a[0] };
            a2 += match fa1 {
                ..-8191 => -256,
                8192.. => 255,
                _ => fa1 >> 5,
            };
            a2 += if pk == self.pk[1] { 128 } else { -128 };
            a1 += if differs { -192 } else { 192 };
        }
        let a2 = a2.clamp(-12_288, 12_288);
        let limit = 15_360 - a2;
        self.a = [a1.clamp(-limit, limit), a2];
    }

    /// UPB, XOR.
    fn adapt_zeros(&mut self, negative: bool, dq: i32) {
        let leak = if self.rate.bits == 5 { 9 } else { 8 };
        for (b, old) in self.b.iter_mut().zip(self.dq) {
            *b -= *b >> leak;
            if dq != 0 {
                *b += if negative == old.negative { 128 } else { -128 };
            }
        }
    }
}

/// RECONST and ADDA, ANTILOG: the magnitude of the quantized difference.
fn dequantize(dqln: i32, y: i32) -> i32 {
    let log = dqln + (y >> 2);
    if log < 0 {
        return 0;
    }
    let (exponent, mantissa) = ((log >> 7) & 15, 128 + (log & 127));
    (mantissa << 7) >> (14 - exponent)
}

/// To 16 bits, as the recommendation adds.
fn wrap(sum: i32) -> i32 {
    i32::from(sum as i16)
}

#[cfg(test)]
pub mod testing {
    use super::*;

    /// Samples as payloads of 20 ms at 32 kbit/s: each code is the one that its decoder comes nearest to the sample with.
    pub fn encoded_at_32(samples: &[i16], packing: Packing) -> Vec<Vec<u8>> {
        let mut state = State::new(32);
        let mut code = |sample: i16| {
            let far = |code: &u32| i32::from(state.clone().sample(*code)).abs_diff(sample.into());
            let best = (0..16).min_by_key(far).expect("there are codes");
            state.sample(best);
            best as u8
        };
        let codes: Vec<u8> = samples.iter().map(|&sample| code(sample)).collect();
        let octet = |pair: &[u8]| match packing {
            Packing::LeastFirst => pair[0] | pair[1] << 4,
            Packing::MostFirst => pair[0] << 4 | pair[1],
        };
        let payload = |codes: &[u8]| codes.chunks_exact(2).map(octet).collect();
        codes.chunks_exact(160).map(payload).collect()
    }

    /// Somebody who speaks, at 8 kHz.
    pub fn speech() -> Vec<i16> {
        let bytes = include_bytes!("../../fixtures/baresip-codecs/caller.wav");
        let data = bytes
            .windows(4)
            .position(|four| four == b"data")
            .expect("it is a WAV")
            + 8;
        // Mu-law at 16 kHz.
        let linear = |byte: u8| i32::from(crate::codec::ULAW_TO_LINEAR[usize::from(byte)]);
        let (pairs, _) = bytes[data..].as_chunks::<2>();
        let mean = |[a, b]: &[u8; 2]| ((linear(*a) + linear(*b)) / 2) as i16;
        pairs.iter().map(mean).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::testing::{encoded_at_32, speech};
    use super::*;

    #[test]
    fn what_was_decoded_in_the_wrong_way_is_decoded_again() {
        let soft = vec![0i16; 480];
        let said = [soft, speech()].concat();
        let payloads = encoded_at_32(&said, Packing::MostFirst);
        let (mut misnamed, mut named) = (
            G726::new(32, Packing::LeastFirst),
            G726::new(32, Packing::MostFirst),
        );
        let (mut ours, mut theirs, mut kept, mut turned) = (vec![], vec![], vec![], 0);
        for (n, payload) in payloads.iter().enumerate() {
            misnamed.decode(payload, &mut ours);
            named.decode(payload, &mut theirs);
            assert_ne!(named.doubt(), Doubt::Turned);
            match misnamed.doubt() {
                Doubt::Unheard => assert!(n < 3, "payload {n}"),
                Doubt::Open => kept.push(n),
                Doubt::Turned => {
                    kept.push(n);
                    turned += 1;
                    let mut again = misnamed.again().unwrap();
                    ours.truncate(kept[0] * 160);
                    for &n in &kept {
                        again.decode(&payloads[n], &mut ours);
                    }
                }
                Doubt::None => assert!(turned == 1 && misnamed.again().is_none() || n < 150),
            }
        }
        assert_eq!((turned, kept[0]), (1, 3));
        assert_eq!(ours[480..], theirs[480..]);
        assert_ne!(ours.len(), 0);
    }

    /// Rate, bytes of no meaning, so few that nothing is as loud as to be cut off, and FNV-1a of the samples that spandsp 0.0.6
    /// gives for them, with both packings.
    const VECTORS: [(u8, usize, u64, u64); 4] = [
        (16, 6, 0x933c_9e6b_71cf_f820, 0x00df_bca9_4099_da3f),
        (24, 20, 0xb5d1_8488_3630_69f4, 0xe785_01fe_3228_2090),
        (32, 20, 0x4766_8047_a5d8_9c82, 0xe75d_a103_b977_4432),
        (40, 20, 0x6475_7219_ffab_1860, 0x7b82_778e_bd0c_02e5),
    ];

    #[test]
    fn samples_are_those_of_another_program() {
        let mut seed = 1u32;
        let bytes: Vec<u8> = std::iter::repeat_with(|| {
            seed = seed.wrapping_mul(1_103_515_245).wrapping_add(12_345);
            (seed >> 24) as u8
        })
        .take(20)
        .collect();
        for (kbit_s, count, least_first, most_first) in VECTORS {
            for (packing, expected) in [
                (Packing::LeastFirst, least_first),
                (Packing::MostFirst, most_first),
            ] {
                let mut samples = Vec::new();
                State::new(kbit_s).decode(&bytes[..count], packing, &mut samples);
                let hash = samples
                    .iter()
                    .flat_map(|s| s.to_le_bytes())
                    .fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
                        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
                    });
                assert_eq!(hash, expected, "{kbit_s} kbit/s, {packing:?}");
            }
        }
    }
}
