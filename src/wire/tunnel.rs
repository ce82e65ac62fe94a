//! Tunnel headers: from what carries a packet to the packet inside.
//!
//! Each function takes one header off and says what follows. `None`: the bytes are no such header.

use etherparse::EtherType;

use super::ip::IpPacket;
use super::tunnel_ports::PortKind;
use crate::base::{Tunnel, TunnelKind};

const TRANSPARENT_ETHERNET: u16 = 0x6558;
const ERSPAN: u16 = 0x88be;
const ERSPAN_III: u16 = 0x22eb;
const PPP: u16 = 0x880b;

/// A header taken off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Opened<'a> {
    pub tunnel: Tunnel,
    pub inner: Inner<'a>,
    /// The VLAN that a mirrored frame was in, where a frame without a tag follows; 0 for none.
    pub vlan: u16,
    /// The header announces more bytes than there are.
    pub truncated: bool,
}

/// What lies in a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Inner<'a> {
    /// An Ethernet frame.
    Frame(&'a [u8]),
    /// A packet of the protocol that an EtherType names.
    Ether(EtherType, &'a [u8]),
    /// IP of either version.
    Ip(&'a [u8]),
    /// From the PPP protocol field on, address and control before it or not.
    Ppp(&'a [u8]),
    /// Something that carries no call: 802.11, IS-IS.
    Foreign,
    /// The tunnel's own: acknowledgments, keep-alives, echo.
    Control,
}

impl<'a> Opened<'a> {
    pub(super) fn new(kind: TunnelKind, id: Option<u32>, inner: Inner<'a>) -> Opened<'a> {
        Opened {
            tunnel: Tunnel { kind, id },
            inner,
            vlan: 0,
            truncated: false,
        }
    }
}

/// Opens a datagram to a port of tunnels.
pub(super) fn open_datagram(kind: PortKind, bytes: &[u8]) -> Option<Opened<'_>> {
    match kind {
        PortKind::Vxlan => vxlan(bytes),
        PortKind::Geneve => geneve(bytes),
        PortKind::GtpU => gtp_u(bytes),
        PortKind::L2tp => l2tp(bytes),
        PortKind::Tzsp => tzsp(bytes),
        PortKind::Hep => None,
    }
}

/// GRE (RFC 2784, RFC 2890), with what builds on it: NVGRE (RFC 7637), ERSPAN, PPTP (RFC 2637).
pub(super) fn gre(bytes: &[u8]) -> Option<Opened<'_>> {
    let (&[flags, version, high, low], mut rest) = bytes.split_first_chunk::<4>()?;
    let protocol = u16::from_be_bytes([high, low]);
    match version & 7 {
        // Source routing is RFC 1701's, and nobody's.
        0 if flags & 0x40 == 0 => {}
        1 if protocol == PPP => return pptp(flags, version, rest),
        _ => return None,
    }
    if flags & 0x80 != 0 {
        rest = skip(rest, 4)?;
    }
    let mut key = None;
    if flags & 0x20 != 0 {
        let (bytes, after) = rest.split_first_chunk::<4>()?;
        (key, rest) = (Some(u32::from_be_bytes(*bytes)), after);
    }
    let numbered = flags & 0x10 != 0;
    if numbered {
        rest = skip(rest, 4)?;
    }
    let gre = |inner| Opened::new(TunnelKind::Gre, key, inner);
    Some(match protocol {
        ERSPAN | ERSPAN_III => return erspan(protocol, numbered, rest),
        TRANSPARENT_ETHERNET => match key.filter(|&key| key >> 8 >= NVGRE_FIRST_SUBNET) {
            Some(key) if flags & 0xd0 == 0 => {
                Opened::new(TunnelKind::Nvgre, Some(key >> 8), Inner::Frame(rest))
            }
            _ => gre(Inner::Frame(rest)),
        },
        PPP => gre(Inner::Ppp(rest)),
        _ => gre(Inner::Ether(EtherType(protocol), rest)),
    })
}

/// Ethernet in GRE with a key is NVGRE or not; NVGRE's key is the number of a subnet and 8 bits that differ per flow.
/// Its numbers below this are reserved (RFC 7637 section 3.3), so a smaller key is one of plain GRE.
const NVGRE_FIRST_SUBNET: u32 = 0x1000;

/// Its key is the length of the payload, and a call id that each direction has its own of.
fn pptp(flags: u8, version: u8, rest: &[u8]) -> Option<Opened<'_>> {
    let (&[high, low, _, _], mut rest) = rest.split_first_chunk::<4>()?;
    let (keyed, numbered, acknowledges) = (flags & 0x20, flags & 0x10, version & 0x80);
    if keyed == 0 {
        return None;
    }
    if numbered != 0 {
        rest = skip(rest, 4)?;
    }
    if acknowledges != 0 {
        rest = skip(rest, 4)?;
    }
    if numbered == 0 {
        return Some(Opened::new(TunnelKind::Gre, None, Inner::Control));
    }
    let (payload, truncated) = limited(rest, usize::from(u16::from_be_bytes([high, low])));
    Some(Opened {
        truncated,
        ..Opened::new(TunnelKind::Gre, None, Inner::Ppp(payload))
    })
}

/// ERSPAN I to III (draft-foschiano-erspan). Type I has no header: it is known by GRE without sequence numbers.
fn erspan(protocol: u16, numbered: bool, bytes: &[u8]) -> Option<Opened<'_>> {
    let kind = TunnelKind::Erspan;
    if protocol == ERSPAN && !numbered {
        return Some(Opened::new(kind, None, Inner::Frame(bytes)));
    }
    let &[first, vlan, third, session] = bytes.first_chunk::<4>()?;
    let session = u32::from(third & 3) << 8 | u32::from(session);
    let vlan = u16::from(first & 0x0f) << 8 | u16::from(vlan);
    match first >> 4 {
        1 => {
            // The tag is in the frame, and the field says nothing.
            let in_frame = third >> 3 & 3 == 3;
            let frame = Inner::Frame(skip(bytes, 8)?);
            Some(Opened {
                vlan: if in_frame { 0 } else { vlan },
                ..Opened::new(kind, Some(session), frame)
            })
        }
        2 => {
            let &[.., frame_type, last] = bytes.first_chunk::<12>()?;
            let sub_header = if last & 1 == 1 { 8 } else { 0 };
            let rest = skip(bytes, 12 + sub_header)?;
            let inner = match frame_type >> 2 & 0x1f {
                0 => Inner::Frame(rest),
                2 => Inner::Ip(rest),
                _ => Inner::Foreign,
            };
            Some(Opened {
                vlan,
                ..Opened::new(kind, Some(session), inner)
            })
        }
        _ => None,
    }
}

/// VXLAN (RFC 7348) with the policy of draft-smith-vxlan-group-policy, or the protocol field of
/// draft-ietf-nvo3-vxlan-gpe.
fn vxlan(bytes: &[u8]) -> Option<Opened<'_>> {
    let (&[flags, a, b, next, v0, v1, v2, last], rest) = bytes.split_first_chunk::<8>()?;
    let inner = match flags {
        0x08 if [a, b, next, last] == [0; 4] => Inner::Frame(rest),
        0x88 if a & !0x48 == 0 && last == 0 => Inner::Frame(rest),
        0x0c if [a, b, last] == [0; 3] => match next {
            1 | 2 => Inner::Ip(rest),
            3 => Inner::Frame(rest),
            5 => Inner::Ether(EtherType(0x8847), rest),
            _ => return None,
        },
        _ => return None,
    };
    let id = u32::from_be_bytes([0, v0, v1, v2]);
    has_room(inner).then(|| Opened::new(TunnelKind::Vxlan, Some(id), inner))
}

/// GENEVE (RFC 8926 section 3.4).
fn geneve(bytes: &[u8]) -> Option<Opened<'_>> {
    let (&[first, flags, high, low, v0, v1, v2, last], rest) = bytes.split_first_chunk::<8>()?;
    if first >> 6 != 0 || flags & 0x3f != 0 || last != 0 {
        return None;
    }
    let rest = skip(rest, usize::from(first & 0x3f) * 4)?;
    let inner = match u16::from_be_bytes([high, low]) {
        _ if flags & 0x80 != 0 => Inner::Control,
        TRANSPARENT_ETHERNET => Inner::Frame(rest),
        protocol @ (0x0800 | 0x86dd | 0x8847 | 0x8848) => Inner::Ether(EtherType(protocol), rest),
        0x0600.. => Inner::Foreign,
        _ => return None,
    };
    let id = u32::from_be_bytes([0, v0, v1, v2]);
    has_room(inner).then(|| Opened::new(TunnelKind::Geneve, Some(id), inner))
}

/// GTP-U (3GPP TS 29.281 section 5.1). Only G-PDUs carry packets.
fn gtp_u(bytes: &[u8]) -> Option<Opened<'_>> {
    const G_PDU: u8 = 255;
    let (&[flags, message, high, low, ..], rest) = bytes.split_first_chunk::<8>()?;
    // Version 1, protocol type GTP, the spare bit clear.
    if flags & 0xf8 != 0x30 {
        return None;
    }
    let length = usize::from(u16::from_be_bytes([high, low]));
    if message != G_PDU {
        let known = matches!(message, 1 | 2 | 26 | 31 | 253 | 254) && length == rest.len();
        return known.then(|| Opened::new(TunnelKind::GtpU, None, Inner::Control));
    }
    let (mut rest, truncated) = limited(rest, length);
    if flags & 0x07 != 0 {
        let (&[.., next], after) = rest.split_first_chunk::<4>()?;
        rest = gtp_extensions(next, after)?;
    }
    let inner = match rest.first()? >> 4 {
        4 | 6 => Inner::Ip(rest),
        _ if holds_frame(rest) => Inner::Frame(rest),
        _ => Inner::Foreign,
    };
    Some(Opened {
        truncated,
        ..Opened::new(TunnelKind::GtpU, None, inner)
    })
}

/// Skips extension headers: a length in units of four bytes, the content, the type of the next.
fn gtp_extensions(mut next: u8, mut bytes: &[u8]) -> Option<&[u8]> {
    while next != 0 {
        let length = usize::from(*bytes.first()?) * 4;
        next = *bytes.get(length.checked_sub(1)?)?;
        bytes = skip(bytes, length)?;
    }
    Some(bytes)
}

/// L2TP over UDP: version 2 (RFC 2661 section 3.1), version 3 (RFC 3931 section 4.1.2).
fn l2tp(bytes: &[u8]) -> Option<Opened<'_>> {
    let (&[flags, version], rest) = bytes.split_first_chunk::<2>()?;
    let (control, with_length) = (flags & 0x80 != 0, flags & 0x40 != 0);
    let kind = TunnelKind::L2tp;
    if flags & 0x34 != 0 || version & 0xf0 != 0 {
        return None;
    }
    if control {
        // Length and sequence numbers are obligatory.
        let length = rest.first_chunk::<2>().map(|two| u16::from_be_bytes(*two));
        let plausible = flags & 0xcb == 0xc8
            && matches!(version, 2 | 3)
            && length.map(usize::from) == Some(bytes.len());
        return plausible.then(|| Opened::new(kind, None, Inner::Control));
    }
    match version {
        2 => {
            let mut rest = rest;
            let mut truncated = false;
            if with_length {
                let (length, after) = rest.split_first_chunk::<2>()?;
                let length = usize::from(u16::from_be_bytes(*length)).checked_sub(4)?;
                (rest, truncated) = limited(after, length);
            }
            // Tunnel and session; then the sequence numbers; then the offset of the payload.
            rest = skip(rest, 4)?;
            if flags & 0x08 != 0 {
                rest = skip(rest, 4)?;
            }
            if flags & 0x02 != 0 {
                let (offset, after) = rest.split_first_chunk::<2>()?;
                rest = skip(after, usize::from(u16::from_be_bytes(*offset)))?;
            }
            Some(Opened {
                truncated,
                ..Opened::new(kind, None, Inner::Ppp(rest))
            })
        }
        3 if flags == 0 => {
            let rest = skip(rest, 2)?;
            let (session, rest) = rest.split_first_chunk::<4>()?;
            (*session != [0; 4]).then(|| Opened::new(kind, None, l2tp_v3_payload(rest)))
        }
        _ => None,
    }
}

/// L2TP version 3 directly over IP (RFC 3931 section 4.1.1).
pub(super) fn l2tp_v3(bytes: &[u8]) -> Option<Opened<'_>> {
    let (session, rest) = bytes.split_first_chunk::<4>()?;
    let inner = match session {
        [0, 0, 0, 0] => Inner::Control,
        _ => l2tp_v3_payload(rest),
    };
    Some(Opened::new(TunnelKind::L2tp, None, inner))
}

/// Cookie (none, 4 or 8 bytes), sublayer (none or 4 bytes) and kind of payload are agreed upon when a session begins, and
/// nothing in its packets says so: the first place at which a whole packet begins is taken.
fn l2tp_v3_payload(bytes: &[u8]) -> Inner<'_> {
    for at in [0, 4, 8, 12] {
        let rest = bytes.get(at..).unwrap_or_default();
        if holds_frame(rest) {
            return Inner::Frame(rest);
        }
        if holds_ip(rest) {
            return Inner::Ip(rest);
        }
        let ppp = rest.strip_prefix(&[0xff, 0x03]).unwrap_or(rest);
        if let [0x00, 0x21 | 0x57, ip @ ..] = ppp
            && holds_ip(ip)
        {
            return Inner::Ppp(rest);
        }
    }
    Inner::Foreign
}

/// TaZmen Sniffer Protocol: version 1, a type, the kind of frame, tagged fields, and the frame.
fn tzsp(bytes: &[u8]) -> Option<Opened<'_>> {
    let (&[version, message, high, low], mut rest) = bytes.split_first_chunk::<4>()?;
    let kind = TunnelKind::Tzsp;
    match (version, message, u16::from_be_bytes([high, low])) {
        // Keep-alive, port opener.
        (1, 4 | 5, _) => return Some(Opened::new(kind, None, Inner::Control)),
        // A packet received, or to be sent: Ethernet.
        (1, 0 | 1, 1) => {}
        // 802.11 and its variants.
        (1, 0 | 1, 18 | 119 | 127) => return Some(Opened::new(kind, None, Inner::Foreign)),
        _ => return None,
    }
    loop {
        let (&tag, after) = rest.split_first()?;
        rest = match tag {
            0 => after,
            1 => break Some(Opened::new(kind, None, Inner::Frame(after))),
            _ => {
                let (&length, after) = after.split_first()?;
                skip(after, usize::from(length))?
            }
        };
    }
}

/// MPLS (RFC 3032): labels to the bottom of the stack, then IP or a pseudowire (RFC 4448), which only its first bits tell.
pub(super) fn mpls(mut bytes: &[u8]) -> Option<Opened<'_>> {
    loop {
        let (&[_, _, third, _], rest) = bytes.split_first_chunk::<4>()?;
        bytes = rest;
        if third & 1 == 1 {
            break;
        }
    }
    let behind_word = bytes.get(4..).unwrap_or_default();
    let inner = match bytes.first()? >> 4 {
        // The address of a frame without control word may begin like that (RFC 4928 section 3).
        4 | 6 if holds_ip(bytes) || !holds_frame(bytes) => Inner::Ip(bytes),
        0 if holds_frame(behind_word) || !holds_frame(bytes) => Inner::Frame(behind_word),
        // An associated channel (RFC 4385 section 5).
        1 if !holds_frame(bytes) => Inner::Control,
        _ => Inner::Frame(bytes),
    };
    Some(Opened::new(TunnelKind::Mpls, None, inner))
}

/// The service tag of IEEE 802.1ah; the customer's frame follows.
pub(super) fn pbb(bytes: &[u8]) -> Option<Opened<'_>> {
    let (&[_, i0, i1, i2], rest) = bytes.split_first_chunk::<4>()?;
    let id = u32::from_be_bytes([0, i0, i1, i2]);
    Some(Opened::new(TunnelKind::Pbb, Some(id), Inner::Frame(rest)))
}

/// EtherIP (RFC 3378): version 3, the rest zero.
pub(super) fn ether_ip<'a>(packet: &IpPacket<'a>) -> Option<Opened<'a>> {
    let frame = packet.payload.strip_prefix(&[0x30, 0])?;
    Some(between(TunnelKind::EtherIp, packet, Inner::Frame(frame)))
}

/// IP in IP (RFC 2003, RFC 2473, RFC 4213).
pub(super) fn ip_in_ip<'a>(packet: &IpPacket<'a>) -> Opened<'a> {
    between(TunnelKind::IpInIp, packet, Inner::Ip(packet.payload))
}

/// A tunnel that is known by the addresses of its ends.
fn between<'a>(kind: TunnelKind, packet: &IpPacket<'_>, inner: Inner<'a>) -> Opened<'a> {
    let tunnel = Tunnel::between(kind, packet.source.ip(), packet.destination.ip());
    Opened::new(kind, tunnel.id, inner)
}

/// A PPPoE session (RFC 2516 section 4). The length says nothing that IP does not.
pub(super) fn pppoe(bytes: &[u8]) -> Option<Opened<'_>> {
    let (&[_, _, high, low, _, _], ppp) = bytes.split_first_chunk::<6>()?;
    let session = u16::from_be_bytes([high, low]).into();
    Some(Opened::new(
        TunnelKind::Pppoe,
        Some(session),
        Inner::Ppp(ppp),
    ))
}

fn skip(bytes: &[u8], count: usize) -> Option<&[u8]> {
    bytes.get(count..)
}

/// As many bytes as announced, and whether there are fewer.
fn limited(bytes: &[u8], announced: usize) -> (&[u8], bool) {
    bytes
        .get(..announced)
        .map_or((bytes, true), |bytes| (bytes, false))
}

/// A frame has an Ethernet header.
fn has_room(inner: Inner<'_>) -> bool {
    match inner {
        Inner::Frame(bytes) => bytes.len() >= 14,
        _ => true,
    }
}

/// More than a frame is padded by, with its check sequence.
const MAX_PADDING: usize = 64;

/// Whether an IP packet begins here that is as long as it says, but for padding.
fn holds_ip(bytes: &[u8]) -> bool {
    let length = match bytes {
        [first @ 0x45..=0x4f, _, high, low, ..] => {
            let length = usize::from(u16::from_be_bytes([*high, *low]));
            (length >= usize::from(first & 0x0f) * 4).then_some(length)
        }
        [0x60..=0x6f, _, _, _, high, low, ..] => {
            Some(40 + usize::from(u16::from_be_bytes([*high, *low])))
        }
        _ => None,
    };
    length.is_some_and(|length| (length..=length + MAX_PADDING).contains(&bytes.len()))
}

/// Whether an Ethernet frame begins here with something known in it, whole or cut short. Not one with a length in place of
/// the type (IEEE 802.3): it carries no call, and two bytes of any address may look like its length.
fn holds_frame(bytes: &[u8]) -> bool {
    let Some((&[.., high, low], mut rest)) = bytes.split_first_chunk::<14>() else {
        return false;
    };
    let mut ether_type = u16::from_be_bytes([high, low]);
    while super::link::is_vlan_tag(ether_type) {
        let Some((&[_, _, high, low], after)) = rest.split_first_chunk::<4>() else {
            return false;
        };
        (ether_type, rest) = (u16::from_be_bytes([high, low]), after);
    }
    match ether_type {
        0x0800 => matches!(rest, [0x45..=0x4f, ..]),
        0x86dd => matches!(rest, [0x60..=0x6f, ..]),
        0x0806 | 0x8847 | 0x8848 | 0x8863 | 0x8864 | 0x88cc | 0x88e7 => true,
        _ => false,
    }
}
