//! What one side said of its media in SDP, as far as the media half needs it.

use std::net::IpAddr;
use std::sync::Arc;

use smallvec::SmallVec;

use super::protection::Offered;
use crate::base::{Endpoint, PerSide, Side, Timestamp, Vantage};
use crate::codec::{Codec, PayloadFormat};
use crate::engine::plan::{CallKey, Fmtp, Formats, MediaPlan, OtherTypes, SidePlan, add_formats};
use crate::sip::{Direction, Media, MediaKind, Sdp};

/// The audio of one side (RFC 3264): its first audio stream that is not refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// Where it receives; `None` when there is no audio, or no address.
    pub endpoint: Option<Endpoint>,
    pub formats: Formats,
    pub direction: Direction,
    /// `c=0.0.0.0`: the way of RFC 2543 to put the other side on hold.
    pub silent_address: bool,
    /// Every medium has port 0: the other side is put on hold by refusing all it could send.
    pub refuses_all: bool,
    pub secure: Secure,
    /// The keys it tells, line by line.
    pub crypto: SmallVec<[Offered; 1]>,
    /// It names the certificate of a DTLS handshake.
    pub dtls: bool,
    /// It names the greeting of a ZRTP exchange.
    pub zrtp: bool,
    /// As [`SidePlan::fmtp`].
    pub fmtp: Fmtp,
    /// Further places that ICE may choose to receive at (RFC 8839).
    pub candidates: SmallVec<[Endpoint; 1]>,
    /// Where it receives RTCP, if that is neither RTP's port nor the one after.
    pub rtcp: Option<Endpoint>,
    /// As [`SidePlan::other_types`].
    pub other_types: OtherTypes,
    /// The host that sent it.
    pub told_by: Option<IpAddr>,
}

/// Whether media is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Secure {
    No,
    /// Keys beside a plain profile: encrypted only if the other side wants it too.
    Offered,
    /// A secure profile.
    Required,
}

impl Description {
    /// From the body of a message; `None` when it is no SDP or names no audio.
    pub fn parse(body: &[u8]) -> Option<Description> {
        let sdp = Sdp::parse(body).ok()?;
        let audio = || {
            sdp.media
                .iter()
                .filter(|media| media.kind == MediaKind::Audio)
        };
        audio()
            .find(|media| media.port != 0)
            .or_else(|| audio().next())
            .map(|media| Description {
                refuses_all: sdp.media.iter().all(|media| media.port == 0),
                other_types: other_types(&sdp, media),
                ..Description::of(media)
            })
    }

    fn of(media: &Media<'_>) -> Description {
        let formats: Formats = media
            .formats
            .iter()
            .map(|f| {
                PayloadFormat::with_fmtp(
                    f.payload_type,
                    f.encoding,
                    f.clock_rate_hz,
                    f.channels,
                    f.fmtp,
                )
            })
            .collect();
        let endpoint = media
            .address
            .filter(|_| media.port != 0)
            .map(|ip| Endpoint::new(ip, media.port));
        Description {
            endpoint: endpoint.filter(|endpoint| !endpoint.is_unspecified()),
            fmtp: fmtp(media, &formats),
            formats,
            direction: media.direction,
            silent_address: endpoint.is_some_and(|endpoint| endpoint.is_unspecified()),
            refuses_all: false,
            secure: secure(media),
            crypto: Offered::all(media),
            dtls: media.dtls,
            zrtp: media.zrtp,
            candidates: media
                .candidates
                .iter()
                .filter(|candidate| candidate.component == 1 && candidate.port != 0)
                .map(|candidate| Endpoint::new(candidate.address, candidate.port))
                .filter(|candidate| !candidate.is_unspecified())
                .collect(),
            rtcp: media.rtcp_endpoint().filter(|rtcp| {
                let usual = |rtp: Endpoint| {
                    *rtcp == rtp
                        || rtp.port.checked_add(1).map(|port| rtp.with_port(port)) == Some(*rtcp)
                };
                !endpoint.is_some_and(usual) && !rtcp.is_unspecified()
            }),
            other_types: OtherTypes::default(),
            told_by: None,
        }
    }

    /// Whether the other side may answer as it likes: it is asked to send and to receive.
    pub fn leaves_choice(&self) -> bool {
        !self.silent_address && !self.refuses_all && self.direction == Direction::SendRecv
    }

    fn sends(&self) -> bool {
        self.endpoint.is_some() && self.direction.sends()
    }

    fn receives(&self) -> bool {
        self.endpoint.is_some() && self.direction.receives()
    }

    /// Whether the side that says this keeps the other waiting.
    pub fn holds(&self) -> bool {
        self.silent_address
            || self.refuses_all
            || matches!(self.direction, Direction::SendOnly | Direction::Inactive)
    }
}

/// Bytes kept of one `a=fmtp`.
const MAX_FMTP: usize = 256;
/// Payload types whose `a=fmtp` is kept.
const MAX_FMTPS: usize = 8;

/// The parameters of those of the medium's `formats` that are kept raw; what is no printable ASCII is left out.
fn fmtp(media: &Media<'_>, formats: &[PayloadFormat]) -> Fmtp {
    let printable = |text: &str| -> String {
        let graphic = |c: &char| c.is_ascii_graphic() || *c == ' ';
        text.chars().filter(graphic).take(MAX_FMTP).collect()
    };
    let with_parameters = media.formats.iter().zip(formats);
    let raw =
        with_parameters.filter(|(f, format)| !f.fmtp.is_empty() && format.codec.is_kept_raw());
    raw.map(|(f, _)| (f.payload_type, Arc::from(printable(f.fmtp))))
        .take(MAX_FMTPS)
        .collect()
}

/// The payload types of what is no audio and comes to the same place as `audio`.
fn other_types(sdp: &Sdp<'_>, audio: &Media<'_>) -> OtherTypes {
    let place = audio.endpoint();
    let shares = |media: &&Media<'_>| {
        media.kind != MediaKind::Audio && place.is_some() && media.endpoint() == place
    };
    let mut types = OtherTypes::default();
    for format in sdp.media.iter().filter(shares).flat_map(|m| &m.formats) {
        types.add(format.payload_type);
    }
    types
}

fn secure(media: &Media<'_>) -> Secure {
    if media.transport.to_ascii_uppercase().contains("SAVP") {
        Secure::Required
    } else if media.crypto.is_empty() && !media.dtls {
        Secure::No
    } else {
        Secure::Offered
    }
}

/// Everything both sides have said so far.
#[derive(Clone, Debug, Default)]
pub struct Descriptions {
    /// What is in force.
    pub agreed: PerSide<Option<Description>>,
    /// An offer in mid-call, until its answer: who made it, the CSeq number, and what it says.
    pub pending: Option<Box<(Side, u32, Description)>>,
    /// What the phones that ring have said, by tag; the one that answers becomes `agreed`.
    pub forks: Vec<(String, Description)>,
}

/// Places of one side at a time: those of its forks, and of their candidates.
const MAX_ENDPOINTS: usize = 64;
/// Phones that may ring with media of their own.
const MAX_FORKS: usize = 32;

impl Descriptions {
    pub fn set_fork(&mut self, tag: &str, description: Description) {
        if let Some((_, known)) = self.forks.iter_mut().find(|(known, _)| known == tag) {
            *known = description;
        } else if self.forks.len() < MAX_FORKS {
            self.forks.push((tag.to_owned(), description));
        }
    }

    /// The phone with `tag` answered: what it said while it rang is in force, unless its answer said more.
    pub fn choose_fork(&mut self, tag: &str, answer: Option<Description>) {
        let only = self.forks.len() == 1;
        let rang = self
            .forks
            .iter()
            .find(|(known, _)| only || known == tag)
            .map(|(_, d)| d.clone());
        if let Some(description) = answer.or(rang) {
            self.agreed.callee = Some(description);
        }
        self.forks = Vec::new();
    }

    /// The offer of `side` with CSeq `number` was accepted.
    pub fn accept(&mut self, side: Side, number: u32) -> Option<&Description> {
        match self.pending.take() {
            Some(offer) if (offer.0, offer.1) == (side, number) => {
                Some(self.agreed[side].insert(offer.2))
            }
            other => {
                self.pending = other;
                None
            }
        }
    }

    /// The offer was refused (RFC 3261 section 14.1): what was agreed stays.
    pub fn refuse(&mut self, side: Side, number: u32) {
        if self
            .pending
            .as_ref()
            .is_some_and(|offer| (offer.0, offer.1) == (side, number))
        {
            self.pending = None;
        }
    }

    /// The plan that follows from all that was said.
    pub fn plan(
        &self,
        call: CallKey,
        vantages: &[Vantage],
        since: Timestamp,
        record: bool,
    ) -> MediaPlan {
        let sides = PerSide::of(|side| {
            let mut plan = SidePlan {
                protection: self.protection(side),
                may_send: self.may_send(side),
                ..SidePlan::default()
            };
            let pending = self
                .pending
                .iter()
                .filter(|offer| offer.0 == side)
                .map(|offer| &offer.2);
            let forks = self
                .forks
                .iter()
                .filter(|_| side == Side::Callee)
                .map(|(_, d)| d);
            for description in self.agreed[side].iter().chain(pending).chain(forks) {
                if let Some(host) = description.told_by {
                    plan.add_teller(host);
                }
                for &endpoint in description.endpoint.iter().chain(&description.candidates) {
                    if !plan.endpoints.contains(&endpoint) && plan.endpoints.len() < MAX_ENDPOINTS {
                        plan.endpoints.push(endpoint);
                    }
                }
                if let (Some(rtcp), Some(rtp)) = (description.rtcp, description.endpoint)
                    && !plan.rtcp.contains(&(rtcp, rtp))
                {
                    plan.rtcp.push((rtcp, rtp));
                }
                for (payload_type, text) in &description.fmtp {
                    if plan.fmtp.len() < MAX_FMTPS
                        && !plan.fmtp.iter().any(|(known, _)| known == payload_type)
                    {
                        plan.fmtp.push((*payload_type, text.clone()));
                    }
                }
                add_formats(&mut plan.formats, &description.formats);
                plan.other_types.add_all(&description.other_types);
            }
            plan
        });
        let wideband = self.wideband();
        MediaPlan {
            call,
            vantages: vantages.into(),
            sides,
            record,
            since,
            wideband,
            pauses: Vec::new(),
            kin: SmallVec::new(),
            audience: 0,
        }
    }

    fn may_send(&self, side: Side) -> bool {
        let (own, other) = (&self.agreed[side], &self.agreed[side.other()]);
        let sends = own.as_ref().is_some_and(Description::sends);
        sends && other.as_ref().is_some_and(Description::receives)
    }

    fn wideband(&self) -> bool {
        let (Some(caller), Some(callee)) = (&self.agreed.caller, &self.agreed.callee) else {
            return false;
        };
        let wide = |d: &Description, codec: Codec| d.formats.iter().any(|f| f.codec == codec);
        caller
            .formats
            .iter()
            .any(|f| f.codec.is_wideband() && wide(callee, f.codec))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_kept_of_every_format_that_is_kept_raw() {
        let description = Description::parse(
            b"v=0\r\no=- 1 1 IN IP4 10.0.0.1\r\ns=-\r\nc=IN IP4 10.0.0.1\r\nt=0 0\r\n\
              m=audio 4000 RTP/AVP 96 97 98 99\r\na=rtpmap:96 AMR/8000\r\na=fmtp:96 interleaving=6\r\n\
              a=rtpmap:97 AMR/8000\r\na=fmtp:97 octet-align=1\r\na=rtpmap:98 EVS/16000\r\n\
              a=fmtp:98 br=13.2\r\na=rtpmap:99 telephone-event/8000\r\na=fmtp:99 0-16\r\n",
        );
        let kept: Vec<(u8, Arc<str>)> = description.unwrap().fmtp.into_vec();
        assert_eq!(
            kept,
            [(96, "interleaving=6".into()), (98, "br=13.2".into())]
        );
    }
}
