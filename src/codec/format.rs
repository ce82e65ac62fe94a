//! What SDP says a payload type is.

use std::fmt;

use super::amr::AmrLayout;
use super::duration::{self, Extent};
use super::g726_packing::Packing;
use super::opus;
use super::resample::INPUT_RATES_HZ;

/// A payload format of RTP, as far as this program tells them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Codec {
    /// G.711 mu-law.
    Pcmu,
    /// G.711 A-law.
    Pcma,
    /// Linear 16 bit at the RTP clock rate.
    L16 {
        sample_rate_hz: u32,
        channels: u8,
    },
    /// RFC 3389.
    ComfortNoise,
    /// RFC 4733.
    TelephoneEvent,
    /// Named in SDP, or a payload type nobody named, and not decoded by this version.
    Other(CodecName),
    /// Wideband, 64 kbit/s.
    G722,
    /// `kbit_s` is 16, 24, 32 or 40.
    G726 {
        kbit_s: u8,
        packing: Packing,
    },
    /// Annex A and B too: their payloads are read alike.
    G729,
    /// GSM full rate.
    Gsm,
    /// RFC 7587.
    Opus,
    /// AMR or AMR-WB, RFC 4867.
    Amr(AmrLayout),
    /// RFC 2198: payloads of other types, the earlier ones repeated.
    Redundancy,
    /// RFC 5574.
    Speex {
        sample_rate_hz: u32,
    },
    /// RFC 3952.
    Ilbc,
    G7231,
}

impl Codec {
    /// From the encoding name of `a=rtpmap` (RFC 8866 section 6.6), any case.
    pub fn from_sdp(encoding: &str, clock_rate_hz: u32, channels: u8) -> Codec {
        Codec::from_sdp_with(encoding, clock_rate_hz, channels, "")
    }

    /// The same with what `a=fmtp` adds.
    pub fn from_sdp_with(encoding: &str, clock_rate_hz: u32, channels: u8, fmtp: &str) -> Codec {
        let is = |name: &str| encoding.eq_ignore_ascii_case(name);
        let narrow = channels <= 1 && clock_rate_hz == 8000;
        if is("PCMU") && narrow {
            Codec::Pcmu
        } else if is("PCMA") && narrow {
            Codec::Pcma
        } else if is("L16")
            && INPUT_RATES_HZ.contains(&clock_rate_hz)
            && (1..=8).contains(&channels.max(1))
        {
            Codec::L16 {
                sample_rate_hz: clock_rate_hz,
                channels: channels.max(1),
            }
        } else if is("CN") {
            Codec::ComfortNoise
        } else if is("telephone-event") {
            Codec::TelephoneEvent
        } else if is("red") {
            Codec::Redundancy
        } else {
            Codec::speech(encoding, clock_rate_hz, channels, fmtp)
                .unwrap_or_else(|| Codec::Other(CodecName::new(encoding)))
        }
    }

    /// A codec with a model of speech or hearing.
    fn speech(encoding: &str, clock_rate_hz: u32, channels: u8, fmtp: &str) -> Option<Codec> {
        let is = |name: &str| encoding.eq_ignore_ascii_case(name);
        if is("opus") {
            return Some(Codec::Opus);
        }
        if channels > 1 {
            return None;
        }
        if let Some(codec) = g726(encoding) {
            return Some(codec);
        }
        let wideband = is("AMR-WB");
        Some(match () {
            () if is("G722") => Codec::G722,
            () if is("G729") || is("G729A") || is("G729B") || is("G729AB") => Codec::G729,
            () if is("GSM") => Codec::Gsm,
            () if is("AMR") || wideband => Codec::Amr(AmrLayout::from_fmtp(wideband, fmtp)),
            () if is("iLBC") => Codec::Ilbc,
            () if is("G723") => Codec::G7231,
            () if is("speex") && matches!(clock_rate_hz, 8000 | 16_000 | 32_000) => Codec::Speex {
                sample_rate_hz: clock_rate_hz,
            },
            () => return None,
        })
    }

    /// From a static payload type nobody described (RFC 3551 tables 4 and 5).
    pub fn from_static(payload_type: u8) -> Codec {
        match payload_type {
            0 => Codec::Pcmu,
            8 => Codec::Pcma,
            10 => Codec::L16 {
                sample_rate_hz: 44_100,
                channels: 2,
            },
            11 => Codec::L16 {
                sample_rate_hz: 44_100,
                channels: 1,
            },
            13 | 19 => Codec::ComfortNoise,
            // Reserved since RFC 3551; G721 in RFC 1890, and what old gateways send.
            2 => Codec::G726 {
                kbit_s: 32,
                packing: Packing::LeastFirst,
            },
            3 => Codec::Gsm,
            4 => Codec::G7231,
            9 => Codec::G722,
            G728 => Codec::Other(CodecName::new("G728")),
            18 => Codec::G729,
            other => Codec::Other(CodecName::new(&format!("PT{other}"))),
        }
    }

    pub fn is_audio(self) -> bool {
        !matches!(
            self,
            Codec::ComfortNoise | Codec::TelephoneEvent | Codec::Redundancy
        )
    }

    /// Whether this version turns it into samples.
    pub fn is_decodable(self) -> bool {
        match self {
            Codec::Pcmu
            | Codec::Pcma
            | Codec::L16 { .. }
            | Codec::G722
            | Codec::G726 { .. }
            | Codec::G729
            | Codec::Gsm
            | Codec::Opus => true,
            Codec::Amr(layout) => !layout.interleaved,
            Codec::ComfortNoise
            | Codec::TelephoneEvent
            | Codec::Other(_)
            | Codec::Redundancy
            | Codec::Speex { .. }
            | Codec::Ilbc
            | Codec::G7231 => false,
        }
    }

    /// Whether its payloads are kept as they came, for want of a decoder here.
    pub fn is_kept_raw(self) -> bool {
        self.is_audio() && !self.is_decodable()
    }

    /// Samples a second that decoding gives.
    pub fn sample_rate_hz(self) -> u32 {
        match self {
            Codec::L16 { sample_rate_hz, .. } | Codec::Speex { sample_rate_hz } => sample_rate_hz,
            Codec::G722 => 16_000,
            Codec::Opus => opus::SAMPLE_RATE_HZ,
            Codec::Amr(layout) if layout.wideband => 16_000,
            _ => 8000,
        }
    }

    /// Ticks of the RTP clock a second where no SDP says. That of G.722 is half its sample rate, by an old mistake
    /// (RFC 3551 section 4.5.2).
    fn clock_rate_hz(self) -> u32 {
        match self {
            Codec::G722 => 8000,
            other => other.sample_rate_hz(),
        }
    }

    /// Whether the codec carries more than telephone band: the recording is then kept at 16 kHz.
    pub fn is_wideband(self) -> bool {
        match self {
            Codec::Other(name) => WIDEBAND
                .iter()
                .any(|wide| name.as_str().eq_ignore_ascii_case(wide)),
            other => other.sample_rate_hz() > 8000,
        }
    }

    /// What `payload` holds, in samples of [`Codec::sample_rate_hz`], without decoding it; nothing where it is broken, or
    /// where only decoding would tell.
    pub fn extent(self, payload: &[u8]) -> Extent {
        let samples = |samples: usize| Extent::audio(u32::try_from(samples).unwrap_or(u32::MAX));
        let extent = match self {
            Codec::Pcmu | Codec::Pcma => return samples(payload.len()),
            Codec::L16 { channels, .. } => {
                return samples(payload.len() / 2 / usize::from(channels.max(1)));
            }
            Codec::G722 => samples(payload.len() * 2),
            Codec::G726 { kbit_s, .. } => samples(payload.len() * 64 / usize::from(kbit_s.max(1))),
            Codec::G729 => duration::g729(payload),
            Codec::Gsm => duration::gsm(payload),
            Codec::Opus => duration::opus(payload),
            Codec::Amr(layout) => duration::amr(payload, layout),
            Codec::Speex { sample_rate_hz } => duration::speex(payload, sample_rate_hz),
            Codec::Ilbc => duration::ilbc(payload),
            Codec::G7231 => duration::g7231(payload),
            Codec::ComfortNoise | Codec::TelephoneEvent | Codec::Redundancy | Codec::Other(_) => {
                return Extent::default();
            }
        };
        if extent.samples > self.sample_rate_hz() / 1000 * duration::MAX_PAYLOAD_MS {
            return Extent::default();
        }
        extent
    }

    /// Duration of `payload` in samples at `rate_hz`; 0 where only decoding tells.
    #[inline]
    pub fn samples_at(self, rate_hz: u32, payload: &[u8]) -> i64 {
        if matches!(self, Codec::Pcmu | Codec::Pcma) && rate_hz == 8000 {
            return payload.len() as i64;
        }
        self.to_rate(self.extent(payload).samples, rate_hz)
    }

    /// `samples` of the codec's rate in samples at `rate_hz`.
    pub fn to_rate(self, samples: u32, rate_hz: u32) -> i64 {
        i64::from(samples) * i64::from(rate_hz) / i64::from(self.sample_rate_hz().max(1))
    }
}

/// `G726-16` to `G726-40`, with `AAL2-` before it or not, and the name that 32 kbit/s had before it was G.726.
fn g726(encoding: &str) -> Option<Codec> {
    let upper = encoding.to_ascii_uppercase();
    let (packing, name) = match upper.strip_prefix("AAL2-") {
        Some(name) => (Packing::MostFirst, name),
        None => (Packing::LeastFirst, upper.as_str()),
    };
    let kbit_s = match name {
        "G726-16" => 16,
        "G726-24" => 24,
        "G726-32" | "G721" => 32,
        "G726-40" => 40,
        _ => return None,
    };
    Some(Codec::G726 { kbit_s, packing })
}

/// The value of a parameter of `a=fmtp`, any case; parameters are told apart by semicolons.
pub(super) fn parameter<'f>(fmtp: &'f str, name: &str) -> Option<&'f str> {
    fmtp.split(';').find_map(|parameter| {
        let (key, value) = parameter.split_once('=').unwrap_or((parameter, "1"));
        key.trim().eq_ignore_ascii_case(name).then_some(value)
    })
}

const WIDEBAND: [&str; 4] = ["EVS", "G7221", "SILK", "MP4A-LATM"];

/// The name as in `a=rtpmap`.
impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self {
            Codec::Pcmu => "PCMU",
            Codec::Pcma => "PCMA",
            Codec::L16 { .. } => "L16",
            Codec::ComfortNoise => "CN",
            Codec::TelephoneEvent => "telephone-event",
            Codec::Other(name) => name.as_str(),
            Codec::G722 => "G722",
            Codec::G726 { kbit_s, packing } => {
                let prefix = match packing {
                    Packing::LeastFirst => "",
                    Packing::MostFirst => "AAL2-",
                };
                return write!(f, "{prefix}G726-{kbit_s}");
            }
            Codec::G729 => "G729",
            Codec::Gsm => "GSM",
            Codec::Opus => "opus",
            Codec::Amr(layout) if layout.wideband => "AMR-WB",
            Codec::Amr(_) => "AMR",
            Codec::Redundancy => "red",
            Codec::Speex { .. } => "speex",
            Codec::Ilbc => "iLBC",
            Codec::G7231 => "G723",
        };
        f.write_str(name)
    }
}

/// An encoding name: at most 23 characters, letters, digits, `-`, `_`, `.` and `+` only, whatever the wire said.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct CodecName {
    len: u8,
    text: [u8; 23],
}

impl CodecName {
    pub fn new(name: &str) -> Self {
        let mut text = [0; 23];
        let kept = name
            .bytes()
            .filter(|b| b.is_ascii_alphanumeric() || b"-_.+".contains(b));
        let len = text
            .iter_mut()
            .zip(kept)
            .map(|(to, from)| *to = from)
            .count();
        CodecName {
            len: len as u8,
            text,
        }
    }

    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.text[..usize::from(self.len)]).expect("only ASCII was kept")
    }
}

impl fmt::Debug for CodecName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A payload type with its meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PayloadFormat {
    /// 0 to 127.
    pub payload_type: u8,
    pub codec: Codec,
    /// Ticks of the RTP timestamp a second; 0 where nobody said.
    pub clock_rate_hz: u32,
}

const UNKNOWN_CLOCK: u32 = 0;
/// The one static payload type of audio at 8 kHz that has a name and is not decoded.
const G728: u8 = 15;

impl PayloadFormat {
    pub fn new(payload_type: u8, encoding: &str, clock_rate_hz: u32, channels: u8) -> Self {
        PayloadFormat::with_fmtp(payload_type, encoding, clock_rate_hz, channels, "")
    }

    /// The same with the parameters of `a=fmtp`.
    pub fn with_fmtp(
        payload_type: u8,
        encoding: &str,
        clock_rate_hz: u32,
        channels: u8,
        fmtp: &str,
    ) -> Self {
        let codec = Codec::from_sdp_with(encoding, clock_rate_hz, channels, fmtp);
        PayloadFormat {
            payload_type,
            codec,
            clock_rate_hz: clock_rate_hz.max(1),
        }
    }

    /// What `payload_type` means where no SDP said.
    pub fn from_static(payload_type: u8) -> Self {
        let codec = Codec::from_static(payload_type);
        let clock_rate_hz = match (codec, payload_type) {
            (Codec::Other(_), G728) => 8000,
            (Codec::Other(_), _) => UNKNOWN_CLOCK,
            (known, _) => known.clock_rate_hz(),
        };
        PayloadFormat {
            payload_type,
            codec,
            clock_rate_hz,
        }
    }

    /// Ticks a second by which its packets are placed: those of its RTP timestamps, or, without a known clock, eight a millisecond.
    #[inline]
    pub fn ticks_hz(&self) -> u32 {
        match self.has_clock() {
            true => self.clock_rate_hz,
            false => 8000,
        }
    }

    /// Whether anybody said how fast its RTP clock runs.
    #[inline]
    pub fn has_clock(&self) -> bool {
        self.clock_rate_hz != UNKNOWN_CLOCK
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_from_the_wire_are_harmless() {
        assert_eq!(CodecName::new("=cmd|'<b>\n\u{1b}x").as_str(), "cmdbx");
        assert_eq!(CodecName::new(&"A".repeat(99)).as_str().len(), 23);
    }

    #[test]
    fn sdp_names_any_case() {
        assert_eq!(Codec::from_sdp("pcma", 8000, 1), Codec::Pcma);
        assert_eq!(
            Codec::from_sdp("l16", 16_000, 2),
            Codec::L16 {
                sample_rate_hz: 16_000,
                channels: 2
            }
        );
        assert!(!Codec::from_sdp("L16", 0, 1).is_decodable());
        assert!(Codec::from_sdp("G722", 8000, 1).is_wideband());
    }
}
