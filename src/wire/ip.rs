//! IPv4 and IPv6: addresses, extension headers, the place of a fragment.

use etherparse::{
    IpAuthHeaderSlice, IpNumber, Ipv4HeaderSlice, Ipv6FragmentHeaderSlice, Ipv6HeaderSlice,
    Ipv6RawExtHeaderSlice,
};

use crate::base::Endpoint;

/// One IP packet, its header taken off, and its extension headers as far as the fragment header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct IpPacket<'a> {
    /// Port 0.
    pub source: Endpoint,
    /// Port 0.
    pub destination: Endpoint,
    pub version: Version,
    /// Of `payload`.
    pub protocol: IpNumber,
    pub payload: &'a [u8],
    pub extent: Extent,
    /// Set when `payload` is one piece of a larger one.
    pub fragment: Option<Fragment>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Version {
    V4,
    V6,
}

/// What the length field says about the bytes that are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    Whole,
    /// The header announces more bytes than there are.
    Cut,
    /// The header does not know: 0 where segmentation was left to the network card, or an IPv6 jumbogram.
    Unknown,
}

/// Where a fragment lies in its datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fragment {
    pub id: u32,
    /// In bytes, a multiple of 8.
    pub offset: usize,
    /// Others follow.
    pub more: bool,
}

impl<'a> IpPacket<'a> {
    /// Reads either version, told by the first four bits. `None`: no IP, or it ends inside its headers.
    ///
    /// Header checksums are not looked at: a mirror shows packets of the capturing host before the network card has
    /// filled them in.
    pub(super) fn parse(bytes: &'a [u8]) -> Option<IpPacket<'a>> {
        match bytes.first()? >> 4 {
            4 => Self::v4(bytes),
            6 => Self::v6(bytes),
            _ => None,
        }
    }

    fn v4(bytes: &'a [u8]) -> Option<IpPacket<'a>> {
        let header = Ipv4HeaderSlice::from_slice(bytes).ok()?;
        let rest = bytes.get(header.slice().len()..)?;
        let announced = usize::from(header.total_len()).checked_sub(header.slice().len());
        let (payload, extent) = limit(rest, announced);
        let fragment = header.is_fragmenting_payload().then(|| Fragment {
            id: u32::from(header.identification()),
            offset: usize::from(header.fragments_offset().value()) * 8,
            more: header.more_fragments(),
        });
        let packet = IpPacket {
            source: Endpoint::v4(header.source(), 0),
            destination: Endpoint::v4(header.destination(), 0),
            version: Version::V4,
            protocol: header.protocol(),
            payload,
            extent,
            fragment,
        };
        if fragment.is_some() {
            Some(packet)
        } else {
            packet.without_extensions()
        }
    }

    fn v6(bytes: &'a [u8]) -> Option<IpPacket<'a>> {
        let header = Ipv6HeaderSlice::from_slice(bytes).ok()?;
        let rest = bytes.get(header.slice().len()..)?;
        let announced = Some(usize::from(header.payload_length())).filter(|&len| len != 0);
        let (payload, extent) = limit(rest, announced);
        IpPacket {
            source: Endpoint::v6(header.source(), 0),
            destination: Endpoint::v6(header.destination(), 0),
            version: Version::V6,
            protocol: header.next_header(),
            payload,
            extent,
            fragment: None,
        }
        .without_extensions()
    }

    /// This packet made whole: its payload put together from fragments. `None`: it ends inside its extension headers.
    pub(super) fn reassembled<'b>(
        &self,
        protocol: IpNumber,
        payload: &'b [u8],
    ) -> Option<IpPacket<'b>> {
        let (source, destination, version) = (self.source, self.destination, self.version);
        let extent = Extent::Whole;
        IpPacket {
            source,
            destination,
            version,
            protocol,
            payload,
            extent,
            fragment: None,
        }
        .without_extensions()
    }

    /// Skips extension headers (RFC 8200 section 4) up to a fragment header that is more than a formality, or the end
    /// of the chain. IPv4 knows one of them, the authentication header (RFC 4302).
    fn without_extensions(mut self) -> Option<IpPacket<'a>> {
        loop {
            let (next, length) = match (self.protocol, self.version) {
                (IpNumber::AUTHENTICATION_HEADER, _) => {
                    let header = IpAuthHeaderSlice::from_slice(self.payload).ok()?;
                    (header.next_header(), header.slice().len())
                }
                (IpNumber::IPV6_FRAGMENTATION_HEADER, Version::V6) => {
                    let header = Ipv6FragmentHeaderSlice::from_slice(self.payload).ok()?;
                    if header.is_fragmenting_payload() {
                        self.fragment = Some(Fragment {
                            id: header.identification(),
                            offset: usize::from(header.fragment_offset().value()) * 8,
                            more: header.more_fragments(),
                        });
                    }
                    (header.next_header(), header.slice().len())
                }
                (protocol, Version::V6) if is_options(protocol) => {
                    let header = Ipv6RawExtHeaderSlice::from_slice(self.payload).ok()?;
                    (header.next_header(), header.slice().len())
                }
                _ => return Some(self),
            };
            self.protocol = next;
            self.payload = self.payload.get(length..)?;
            if self.fragment.is_some() {
                return Some(self);
            }
        }
    }
}

/// Extension headers of the common form: next header, length in 8 bytes less one.
fn is_options(protocol: IpNumber) -> bool {
    matches!(
        protocol,
        IpNumber::IPV6_HEADER_HOP_BY_HOP
            | IpNumber::IPV6_ROUTE_HEADER
            | IpNumber::IPV6_DESTINATION_OPTIONS
            | IpNumber::MOBILITY_HEADER
            | IpNumber::HIP
            | IpNumber::SHIM6
    )
}

/// Cuts padding off behind the announced length.
fn limit(rest: &[u8], announced: Option<usize>) -> (&[u8], Extent) {
    match announced {
        None => (rest, Extent::Unknown),
        Some(len) => rest
            .get(..len)
            .map_or((rest, Extent::Cut), |payload| (payload, Extent::Whole)),
    }
}
