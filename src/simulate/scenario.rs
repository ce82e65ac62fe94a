//! What is to be simulated, as plain data.

use std::time::Duration;

use super::{Codec, Error};
use crate::base::{PerSide, Timestamp};
use crate::rtp::Suite;

/// Everything that decides the packets: two equal scenarios give the same bytes.
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    pub seed: u64,
    /// When the first call's INVITE is sent.
    pub start: Timestamp,
    pub calls: u32,
    /// From one call's INVITE to the next one's.
    pub spacing: Duration,
    /// No more calls than this at a time: the next one waits for an end.
    pub concurrent: Option<u32>,
    /// From INVITE to answer. At least 50 ms are taken.
    pub ring: Duration,
    /// How long each side sends media after the answer.
    pub talk: Duration,
    /// Up to this much is added to a call's `talk`, evenly.
    pub talk_spread: Duration,
    /// 1 to 250: tenant t has the networks 10.t.0.0/16 and fd00:t::/32.
    pub tenants: u8,
    /// Extensions of each tenant from 1001 on, the same numbers in all: 2 to 50,000.
    pub extensions: u16,
    /// Calls take these in turn.
    pub codecs: Vec<Codec>,
    /// Milliseconds of audio in a packet, 10 to 60. L16 at 16 kHz takes 40 at most, which is what a frame holds.
    pub ptime_ms: u16,
    pub network: Network,
    pub features: Features,
    /// From hold to resume, shortened to two fifths of the talk.
    pub hold: Duration,
    /// The kind of every hold; none for each in turn.
    pub hold_kind: Option<HoldKind>,
    /// How long before the answer media starts in calls with [`Features::media_ahead`]: at most 2 s.
    pub media_ahead: Duration,
    /// VLAN tags of a frame in calls with [`Features::vlan`]: 1 or 2.
    pub vlan_depth: u8,
    /// First RTP sequence number of every stream, random if none.
    pub first_sequence: Option<u16>,
    /// First RTP timestamp of every stream, random if none.
    pub first_timestamp: Option<u32>,
    /// Media is SRTP of this suite, with keys in the SDP (RFC 4568).
    pub srtp: Option<Suite>,
}

/// What happens to media packets between sender and recorder.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Network {
    /// Packets that never arrive, percent.
    pub loss_percent: f64,
    /// Packets that arrive after later ones, percent.
    pub reorder_percent: f64,
    /// By how many packets a reordered one is late.
    pub reorder_by: u8,
    /// Packets that are seen twice, percent.
    pub duplicate_percent: f64,
    /// Each packet is late by 0 to this, evenly. At most 1 s.
    pub jitter: Duration,
    /// How much faster than true each side's clock runs, parts per million: -10,000 to 10,000.
    pub drift_ppm: PerSide<i32>,
}

/// Percent of the calls that have each feature, drawn call by call.
///
/// Some exclude others: a rejected call has no media, a fragmented INVITE is not sent over TCP, a call with media ahead of its
/// signalling has no early media, one whose answer is seen first neither, and a late offer has no early answer.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Features {
    /// One side's SDP shows a private address; its packets come from another address and port.
    pub nat: u8,
    /// A re-INVITE holds the call for a while.
    pub hold: u8,
    /// 183 with SDP, and media before the 200.
    pub early_media: u8,
    /// The offer comes in the 200, the answer in the ACK.
    pub late_offer: u8,
    /// SIP over TCP, cut into segments anywhere, some retransmitted or out of order.
    pub tcp: u8,
    /// An INVITE of several kilobytes in IP fragments.
    pub fragments: u8,
    pub vlan: u8,
    pub ipv6: u8,
    /// Digits as telephone-events (RFC 4733), during which no audio is sent.
    pub dtmf: u8,
    /// Gaps in which one comfort noise packet (RFC 3389) stands for silence.
    pub comfort_noise: u8,
    /// A new SSRC, sequence and timestamp in mid-call.
    pub ssrc_change: u8,
    /// Another codec by re-INVITE in mid-call.
    pub codec_change: u8,
    /// Sender reports (RFC 3550 section 6.4.1) every five seconds.
    pub rtcp: u8,
    /// Of the calls with RTCP, those that send it on the RTP port (RFC 5761).
    pub rtcp_mux: u8,
    /// Media is seen before the signalling that announces it.
    pub media_ahead: u8,
    /// The 200 is seen a millisecond before the INVITE, as a mirror may do.
    pub answer_first: u8,
    /// The call ends without a BYE.
    pub no_bye: u8,
    /// The BYE is sent again after half a second.
    pub bye_repeated: u8,
    /// The caller gives up before the answer.
    pub cancelled: u8,
    /// The callee refuses.
    pub rejected: u8,
}

/// How a call is held, and what is heard meanwhile.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize, clap::ValueEnum,
)]
#[serde(rename_all = "kebab-case")]
pub enum HoldKind {
    /// `sendonly`; the holder goes on sending (music), the other side does not.
    Music,
    /// `sendonly`, but nobody sends.
    Silent,
    /// `inactive`; nobody sends.
    Inactive,
    /// `c=0.0.0.0` (RFC 2543 section B.5); nobody sends.
    ZeroAddress,
}

impl HoldKind {
    pub const ALL: [HoldKind; 4] = [
        HoldKind::Music,
        HoldKind::Silent,
        HoldKind::Inactive,
        HoldKind::ZeroAddress,
    ];
}

impl Default for Scenario {
    /// Ten calls of ten seconds between the extensions of two tenants, G.711, nothing odd.
    fn default() -> Scenario {
        Scenario {
            seed: 1,
            start: Timestamp::from_secs_nanos(1_767_600_000, 0),
            calls: 10,
            spacing: Duration::from_millis(500),
            concurrent: None,
            ring: Duration::from_secs(1),
            talk: Duration::from_secs(10),
            talk_spread: Duration::ZERO,
            tenants: 2,
            extensions: 100,
            codecs: vec![Codec::Pcmu, Codec::Pcma],
            ptime_ms: 20,
            network: Network {
                reorder_by: 2,
                ..Network::default()
            },
            features: Features::default(),
            hold: Duration::from_secs(3),
            hold_kind: None,
            media_ahead: Duration::from_millis(1500),
            vlan_depth: 1,
            first_sequence: None,
            first_timestamp: None,
            srtp: None,
        }
    }
}

impl Scenario {
    /// `calls` concurrent calls in G.711 mu-law of `talk` each, all started within a second, 20 tenants, a clean network:
    /// 100 media packets a second and call.
    pub fn benchmark(calls: u32, talk: Duration) -> Scenario {
        Scenario {
            calls,
            talk,
            spacing: Duration::from_secs(1) / calls.max(1),
            ring: Duration::from_millis(100),
            tenants: 20,
            codecs: vec![Codec::Pcmu],
            ..Scenario::default()
        }
    }

    /// Calls with a bit of everything, on a network that is not clean.
    pub fn rough(seed: u64, calls: u32) -> Scenario {
        Scenario {
            seed,
            calls,
            tenants: 3,
            codecs: Codec::ALL.to_vec(),
            talk_spread: Duration::from_secs(4),
            network: Network {
                loss_percent: 1.0,
                reorder_percent: 1.0,
                reorder_by: 2,
                duplicate_percent: 1.0,
                jitter: Duration::from_millis(8),
                drift_ppm: PerSide {
                    caller: 40,
                    callee: -60,
                },
            },
            features: Features {
                nat: 20,
                hold: 20,
                early_media: 20,
                late_offer: 10,
                tcp: 15,
                fragments: 10,
                vlan: 15,
                ipv6: 15,
                dtmf: 25,
                comfort_noise: 15,
                ssrc_change: 15,
                codec_change: 15,
                rtcp: 50,
                rtcp_mux: 50,
                media_ahead: 10,
                answer_first: 5,
                no_bye: 5,
                bye_repeated: 10,
                cancelled: 8,
                rejected: 8,
            },
            ..Scenario::default()
        }
    }

    /// Media packets that the calls will send, about: for a progress bar.
    pub fn expected_packets(&self) -> u64 {
        let talk = self.talk + self.talk_spread / 2;
        let a_side = talk.as_millis() as u64 / u64::from(self.ptime_ms.max(1));
        u64::from(self.calls) * 2 * a_side
    }

    /// Whether the calls can be made.
    ///
    /// # Errors
    ///
    /// [`Error::Scenario`] names the first setting that lies outside its range.
    pub fn check(&self) -> Result<(), Error> {
        for (setting, value, low, high) in self.ranges() {
            if !(low..=high).contains(&value) {
                let (value, expected) = (value.to_string(), format!("{low} to {high}"));
                return Err(Error::Scenario {
                    setting,
                    value,
                    expected,
                });
            }
        }
        Ok(())
    }

    /// Each number with its bounds; times in seconds.
    fn ranges(&self) -> [(&'static str, f64, f64, f64); 17] {
        let (network, day) = (&self.network, 86_400.0);
        let drift = network.drift_ppm;
        let concurrent = self.concurrent.unwrap_or(1);
        [
            ("tenants", self.tenants.into(), 1.0, 250.0),
            ("extensions", self.extensions.into(), 2.0, 50_000.0),
            ("number of codecs", self.codecs.len() as f64, 1.0, 1000.0),
            ("ptime_ms", self.ptime_ms.into(), 10.0, 60.0),
            ("vlan_depth", self.vlan_depth.into(), 1.0, 2.0),
            ("talk", self.talk.as_secs_f64(), 0.0, day),
            ("talk_spread", self.talk_spread.as_secs_f64(), 0.0, day),
            ("ring", self.ring.as_secs_f64(), 0.0, 600.0),
            ("spacing", self.spacing.as_secs_f64(), 0.0, day),
            ("concurrent", concurrent.into(), 1.0, u32::MAX.into()),
            ("media_ahead", self.media_ahead.as_secs_f64(), 0.0, 2.0),
            ("jitter", network.jitter.as_secs_f64(), 0.0, 1.0),
            ("loss_percent", network.loss_percent, 0.0, 100.0),
            ("reorder_percent", network.reorder_percent, 0.0, 100.0),
            ("duplicate_percent", network.duplicate_percent, 0.0, 100.0),
            ("drift_ppm of callers", drift.caller.into(), -1e4, 1e4),
            ("drift_ppm of callees", drift.callee.into(), -1e4, 1e4),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_out_of_range_is_named() {
        assert!(Scenario::default().check().is_ok());
        assert!(Scenario::rough(1, 5).check().is_ok());
        let error = Scenario {
            ptime_ms: 5,
            ..Scenario::default()
        }
        .check()
        .unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot simulate with ptime_ms = 5: expected 10 to 60"
        );
        let error = Scenario {
            codecs: vec![],
            ..Scenario::default()
        }
        .check()
        .unwrap_err();
        assert!(error.to_string().contains("number of codecs = 0"));
    }
}
