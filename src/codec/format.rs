//! What SDP says a payload type is.

use std::fmt;

use super::resample::INPUT_RATES_HZ;

/// A payload format of RTP, as far as this program tells them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Codec {
    /// G.711 mu-law.
    Pcmu,
    /// G.711 A-law.
    Pcma,
    /// Linear 16 bit at the RTP clock rate.
    L16 { sample_rate_hz: u32, channels: u8 },
    /// RFC 3389.
    ComfortNoise,
    /// RFC 4733.
    TelephoneEvent,
    /// Named in SDP, or a payload type nobody named, and not decoded by this version.
    Other(CodecName),
}

impl Codec {
    /// From the encoding name of `a=rtpmap` (RFC 8866 section 6.6), any case.
    pub fn from_sdp(encoding: &str, clock_rate_hz: u32, channels: u8) -> Codec {
        let is = |name: &str| encoding.eq_ignore_ascii_case(name);
        if is("PCMU") && channels <= 1 && clock_rate_hz == 8000 {
            Codec::Pcmu
        } else if is("PCMA") && channels <= 1 && clock_rate_hz == 8000 {
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
        } else {
            Codec::Other(CodecName::new(encoding))
        }
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
            3 => Codec::Other(CodecName::new("GSM")),
            4 => Codec::Other(CodecName::new("G723")),
            9 => Codec::Other(CodecName::new("G722")),
            15 => Codec::Other(CodecName::new("G728")),
            18 => Codec::Other(CodecName::new("G729")),
            other => Codec::Other(CodecName::new(&format!("PT{other}"))),
        }
    }

    pub fn is_audio(self) -> bool {
        !matches!(self, Codec::ComfortNoise | Codec::TelephoneEvent)
    }

    /// Whether this version turns it into samples.
    pub fn is_decodable(self) -> bool {
        matches!(self, Codec::Pcmu | Codec::Pcma | Codec::L16 { .. })
    }

    /// Whether its payloads are kept as they came, for want of a decoder here.
    pub fn is_kept_raw(self) -> bool {
        self.is_audio() && !self.is_decodable()
    }

    /// Samples a second that decoding gives.
    pub fn sample_rate_hz(self) -> u32 {
        match self {
            Codec::L16 { sample_rate_hz, .. } => sample_rate_hz,
            _ => 8000,
        }
    }

    /// Whether the codec carries more than telephone band: the recording is then kept at 16 kHz.
    pub fn is_wideband(self) -> bool {
        match self {
            Codec::L16 { sample_rate_hz, .. } => sample_rate_hz > 8000,
            Codec::Other(name) => WIDEBAND
                .iter()
                .any(|wide| name.as_str().eq_ignore_ascii_case(wide)),
            _ => false,
        }
    }

    /// Duration of `payload_len` bytes in samples of [`Codec::sample_rate_hz`]; `None` where only decoding tells.
    pub fn samples_in(self, payload_len: usize) -> Option<u32> {
        let samples = match self {
            Codec::Pcmu | Codec::Pcma => payload_len,
            Codec::L16 { channels, .. } => payload_len / 2 / usize::from(channels.max(1)),
            _ => return None,
        };
        u32::try_from(samples).ok()
    }

    /// Duration of `payload_len` bytes in samples at `rate_hz`; 0 where only decoding tells.
    #[inline]
    pub fn samples_at(self, rate_hz: u32, payload_len: usize) -> i64 {
        let samples = i64::from(self.samples_in(payload_len).unwrap_or(0));
        match self.sample_rate_hz() {
            rate if rate == rate_hz => samples,
            rate => samples * i64::from(rate_hz) / i64::from(rate.max(1)),
        }
    }
}

const WIDEBAND: [&str; 8] = [
    "G722",
    "AMR-WB",
    "opus",
    "speex16",
    "EVS",
    "G7221",
    "SILK",
    "MP4A-LATM",
];

/// The name as in `a=rtpmap`.
impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Codec::Pcmu => f.write_str("PCMU"),
            Codec::Pcma => f.write_str("PCMA"),
            Codec::L16 { .. } => f.write_str("L16"),
            Codec::ComfortNoise => f.write_str("CN"),
            Codec::TelephoneEvent => f.write_str("telephone-event"),
            Codec::Other(name) => f.write_str(name.as_str()),
        }
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
    /// Ticks of the RTP timestamp a second; never 0.
    pub clock_rate_hz: u32,
}

impl PayloadFormat {
    pub fn new(payload_type: u8, encoding: &str, clock_rate_hz: u32, channels: u8) -> Self {
        let codec = Codec::from_sdp(encoding, clock_rate_hz, channels);
        PayloadFormat {
            payload_type,
            codec,
            clock_rate_hz: clock_rate_hz.max(1),
        }
    }

    /// What `payload_type` means where no SDP said.
    pub fn from_static(payload_type: u8) -> Self {
        let codec = Codec::from_static(payload_type);
        PayloadFormat {
            payload_type,
            codec,
            clock_rate_hz: codec.sample_rate_hz(),
        }
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
