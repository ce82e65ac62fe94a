//! What a pcapng file says about an interface: link type, clock, name.

use super::file::MAX_FRAME_BYTES;
use super::interfaces::InterfaceNames;
use crate::base::Timestamp;
use crate::wire::LinkType;

const OPTION_NAME: u16 = 2;
const OPTION_RESOLUTION: u16 = 9;
const OPTION_OFFSET: u16 = 14;

/// One interface of a section.
pub(super) struct Interface {
    /// `Err` has the link type that is not supported.
    pub(super) link: Result<LinkType, u32>,
    /// Its number among all files' interfaces.
    pub(super) number: u16,
    /// Longest frame captured, in bytes.
    pub(super) snaplen: u32,
    /// Time of its last packet.
    pub(super) last: Option<Timestamp>,
    ticks: Ticks,
    offset_nanos: i64,
}

/// How many nanoseconds a tick is.
#[derive(Clone, Copy)]
enum Ticks {
    Of(i64),
    /// So many ticks in a nanosecond.
    PerNano(u64),
    /// A second has 2 to the power of this many ticks.
    Binary(u32),
}

impl Interface {
    /// From the body of an interface description block. `None`: too short for one.
    pub(super) fn parse(
        body: &[u8],
        swapped: bool,
        names: &mut InterfaceNames,
    ) -> Option<Interface> {
        let half = |at: usize| -> Option<u16> {
            let little = u16::from_le_bytes(*body.get(at..)?.first_chunk()?);
            Some(if swapped { little.swap_bytes() } else { little })
        };
        let dlt = u32::from(half(0)?);
        let snaplen = u32::from_le_bytes(*body.get(4..)?.first_chunk()?);
        let snaplen = if swapped {
            snaplen.swap_bytes()
        } else {
            snaplen
        };
        let mut interface = Interface {
            link: LinkType::from_dlt(dlt).ok_or(dlt),
            number: 0,
            snaplen: match snaplen {
                0 => MAX_FRAME_BYTES,
                _ => snaplen,
            },
            last: None,
            ticks: Ticks::Of(1000),
            offset_nanos: 0,
        };
        let mut at = 8;
        while let (Some(code), Some(len)) = (half(at), half(at + 2)) {
            let len = usize::from(len);
            let Some(value) = body.get(at + 4..at + 4 + len).filter(|_| code != 0) else {
                break;
            };
            interface.option(code, value, swapped, names);
            at += 4 + len.next_multiple_of(4);
        }
        Some(interface)
    }

    fn option(&mut self, code: u16, value: &[u8], swapped: bool, names: &mut InterfaceNames) {
        match (code, value) {
            (OPTION_NAME, name) => {
                let name = String::from_utf8_lossy(name);
                self.number = names.number(name.trim_end_matches('\0'));
            }
            (OPTION_RESOLUTION, [resolution, ..]) => {
                self.ticks = Ticks::from_resolution(*resolution)
            }
            (OPTION_OFFSET, value) => {
                if let Some(bytes) = value.first_chunk() {
                    let little = i64::from_le_bytes(*bytes);
                    let secs = if swapped { little.swap_bytes() } else { little };
                    self.offset_nanos = secs.saturating_mul(1_000_000_000);
                }
            }
            _ => {}
        }
    }

    /// The time that a packet's ticks mean; `None` when it is beyond what a [`Timestamp`] holds.
    #[inline]
    pub(super) fn time(&self, ticks: u64) -> Option<Timestamp> {
        let nanos = match self.ticks {
            Ticks::Of(nanos) => i64::try_from(ticks).ok()?.checked_mul(nanos)?,
            Ticks::PerNano(count) => i64::try_from(ticks / count).ok()?,
            Ticks::Binary(bits) => {
                let nanos = u128::from(ticks) * 1_000_000_000;
                i64::try_from(nanos.checked_shr(bits).unwrap_or(0)).ok()?
            }
        };
        Some(Timestamp::from_nanos(nanos.checked_add(self.offset_nanos)?))
    }
}

impl Ticks {
    /// From `if_tsresol`: a negative power of 10, or of 2 when the top bit is set.
    fn from_resolution(resolution: u8) -> Ticks {
        let exponent = u32::from(resolution & 0x7f);
        if resolution & 0x80 != 0 {
            return Ticks::Binary(exponent);
        }
        match exponent.checked_sub(9) {
            Some(finer) => Ticks::PerNano(10u64.checked_pow(finer).unwrap_or(u64::MAX)),
            None => Ticks::Of(10i64.pow(9 - exponent)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interface(options: &[u8]) -> Interface {
        let mut body = vec![1, 0, 0, 0, 0, 0, 4, 0];
        body.extend_from_slice(options);
        Interface::parse(&body, false, &mut InterfaceNames::new()).unwrap()
    }

    fn nanos(resolution: u8, ticks: u64) -> Option<i64> {
        interface(&[9, 0, 1, 0, resolution, 0, 0, 0])
            .time(ticks)
            .map(Timestamp::as_nanos)
    }

    #[test]
    fn every_resolution_gives_nanoseconds() {
        assert_eq!(interface(&[]).time(7).unwrap().as_nanos(), 7000);
        assert_eq!(nanos(0, 7), Some(7_000_000_000));
        assert_eq!(nanos(3, 7), Some(7_000_000));
        assert_eq!(nanos(9, 7), Some(7));
        assert_eq!(nanos(12, 7999), Some(7));
        assert_eq!(nanos(127, u64::MAX), Some(1));
        assert_eq!(nanos(0x80 | 10, 512), Some(500_000_000));
        assert_eq!(nanos(0x80 | 64, u64::MAX), Some(999_999_999));
        assert_eq!(nanos(0xff, u64::MAX), Some(0));
        assert_eq!(nanos(0, u64::MAX), None);
        assert_eq!(nanos(6, 1 << 62), None);
    }

    #[test]
    fn an_offset_moves_the_clock() {
        let mut option = vec![14, 0, 8, 0];
        option.extend_from_slice(&(-3i64).to_le_bytes());
        let nanos = interface(&option).time(1_000_000).unwrap().as_nanos();
        assert_eq!(nanos, -2_000_000_000);
    }

    #[test]
    fn half_an_option_is_no_option() {
        let interface = interface(&[2, 0, 200, 0, b'e', b't', b'h']);
        assert_eq!((interface.number, interface.snaplen), (0, 0x4_0000));
    }
}
