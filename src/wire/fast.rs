//! The common frame read by hand: Ethernet, any VLAN tags, IP without options or fragments, UDP or TCP.
//!
//! Nearly all packets of a recorder's interface are of this kind, and are read in a few nanoseconds. Anything out of
//! the ordinary is left to [`super::layers`], which reads these frames too and gives the same.

use super::link::{Vlans, is_vlan_tag};
use super::tunnel_ports::PortTable;
use super::{Datagram, Packet};
use crate::base::{Endpoint, Flow, Vantage};

pub(super) enum Fast<'a> {
    Datagram(Datagram<'a>),
    /// A TCP segment: as much as is needed to see that nobody wants it.
    Segment {
        source_port: u16,
        destination_port: u16,
        payload: &'a [u8],
    },
    Unusual,
}

/// Reads an Ethernet frame, if it is of the common kind.
#[inline]
pub(super) fn read<'a>(packet: &Packet<'a>, tunnels: &PortTable) -> Fast<'a> {
    let Some((&[.., high, low], bytes)) = packet.data.split_first_chunk::<14>() else {
        return Fast::Unusual;
    };
    let mut vantage = Vantage {
        interface: packet.interface,
        ..Vantage::default()
    };
    let mut ether_type = u16::from_be_bytes([high, low]);
    let mut bytes = bytes;
    if is_vlan_tag(ether_type) {
        let mut vlans = Vlans::new();
        while is_vlan_tag(ether_type) {
            let Some((&[control_high, control_low, high, low], rest)) =
                bytes.split_first_chunk::<4>()
            else {
                return Fast::Unusual;
            };
            vlans.push(u16::from_be_bytes([control_high, control_low]));
            ether_type = u16::from_be_bytes([high, low]);
            bytes = rest;
        }
        vantage.vlans = vlans.ids();
    }
    match ether_type {
        0x0800 => v4(packet, tunnels, vantage, bytes),
        0x86dd => v6(packet, tunnels, vantage, bytes),
        _ => Fast::Unusual,
    }
}

#[inline(always)]
fn v4<'a>(packet: &Packet<'a>, tunnels: &PortTable, vantage: Vantage, bytes: &'a [u8]) -> Fast<'a> {
    let Some(header) = bytes.first_chunk::<20>() else {
        return Fast::Unusual;
    };
    let &[
        first,
        _,
        len0,
        len1,
        _,
        _,
        frag0,
        frag1,
        _,
        protocol,
        _,
        _,
        s0,
        s1,
        s2,
        s3,
        d0,
        d1,
        d2,
        d3,
    ] = header;
    let length = usize::from(u16::from_be_bytes([len0, len1]));
    let fragmented = (frag0 & 0x3f) | frag1 != 0;
    let Some(payload) = bytes
        .get(20..length)
        .filter(|_| first == 0x45 && !fragmented)
    else {
        return Fast::Unusual;
    };
    transport(
        packet,
        tunnels,
        vantage,
        protocol,
        payload,
        |source_port, destination_port| {
            (
                Endpoint::v4([s0, s1, s2, s3], source_port),
                Endpoint::v4([d0, d1, d2, d3], destination_port),
            )
        },
    )
}

#[inline(always)]
fn v6<'a>(packet: &Packet<'a>, tunnels: &PortTable, vantage: Vantage, bytes: &'a [u8]) -> Fast<'a> {
    let Some((header, rest)) = bytes.split_first_chunk::<40>() else {
        return Fast::Unusual;
    };
    let &[first, _, _, _, len0, len1, next_header, _, ..] = header;
    let (Some(source), Some(destination)) = (header.get(8..24), header.last_chunk::<16>()) else {
        return Fast::Unusual;
    };
    let Some(source) = source.first_chunk::<16>() else {
        return Fast::Unusual;
    };
    // Length 0 is a jumbogram or an empty packet: not common.
    let length = usize::from(u16::from_be_bytes([len0, len1]));
    let Some(payload) = rest
        .get(..length)
        .filter(|_| first >> 4 == 6 && length != 0)
    else {
        return Fast::Unusual;
    };
    transport(
        packet,
        tunnels,
        vantage,
        next_header,
        payload,
        |source_port, destination_port| {
            (
                Endpoint::v6(*source, source_port),
                Endpoint::v6(*destination, destination_port),
            )
        },
    )
}

#[inline(always)]
fn transport<'a>(
    packet: &Packet<'a>,
    tunnels: &PortTable,
    vantage: Vantage,
    protocol: u8,
    payload: &'a [u8],
    endpoints: impl FnOnce(u16, u16) -> (Endpoint, Endpoint),
) -> Fast<'a> {
    let Some(&[s0, s1, d0, d1, len0, len1, _, _]) = payload.first_chunk::<8>() else {
        return Fast::Unusual;
    };
    let (source_port, destination_port) =
        (u16::from_be_bytes([s0, s1]), u16::from_be_bytes([d0, d1]));
    match protocol {
        17 => {
            let length = usize::from(u16::from_be_bytes([len0, len1]));
            let Some(payload) = payload
                .get(8..length)
                .filter(|payload| !tunnels.may_carry(destination_port, payload))
            else {
                return Fast::Unusual;
            };
            let (source, destination) = endpoints(source_port, destination_port);
            let flow = Flow {
                vantage,
                source,
                destination,
            };
            Fast::Datagram(Datagram {
                time: packet.time,
                flow,
                payload,
                truncated: false,
            })
        }
        6 => {
            let offset = payload.get(12).map_or(0, |byte| usize::from(byte >> 4) * 4);
            match payload.get(offset..) {
                Some(payload) if offset >= 20 => Fast::Segment {
                    source_port,
                    destination_port,
                    payload,
                },
                _ => Fast::Unusual,
            }
        }
        _ => Fast::Unusual,
    }
}
