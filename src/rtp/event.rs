//! Telephone events: DTMF digits inside RTP (RFC 4733 section 2.3).

/// The four bytes of a telephone-event payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TelephoneEvent {
    /// 0 to 15 are the DTMF digits; others are tones and line signals.
    pub event: u8,
    pub end: bool,
    /// Power below 0 dBm0, 0 to 63 dB.
    pub volume: u8,
    /// In ticks of the RTP clock.
    pub duration: u16,
}

impl TelephoneEvent {
    /// `None` when the payload is shorter than an event.
    pub fn parse(payload: &[u8]) -> Option<TelephoneEvent> {
        let &[event, flags, high, low, ..] = payload else {
            return None;
        };
        Some(TelephoneEvent {
            event,
            end: flags & 0x80 != 0,
            volume: flags & 0x3f,
            duration: u16::from_be_bytes([high, low]),
        })
    }
}

/// The key on the telephone for events 0 to 15 (RFC 4733 section 3.2).
pub fn digit_char(event: u8) -> Option<char> {
    b"0123456789*#ABCD"
        .get(usize::from(event))
        .map(|&c| char::from(c))
}

/// Tells when a stream's event packets are a digit that was not counted yet. All packets of one event carry the
/// timestamp of its start, so one digit is one timestamp, however often it is repeated and whichever part is lost.
#[derive(Clone, Copy, Debug, Default)]
pub struct DigitCollector {
    last: Option<(u32, u8)>,
}

impl DigitCollector {
    /// The digit, the first time that an event packet tells of it.
    pub fn collect(&mut self, timestamp: u32, payload: &[u8]) -> Option<char> {
        let event = TelephoneEvent::parse(payload)?;
        if self.last == Some((timestamp, event.event)) {
            return None;
        }
        self.last = Some((timestamp, event.event));
        digit_char(event.event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_digit_however_many_packets() {
        let mut digits = DigitCollector::default();
        let packets = [
            (160, 1, 0),
            (160, 1, 0x80),
            (160, 1, 0x80),
            (480, 1, 0),
            (900, 11, 0x80),
            (990, 32, 0),
        ];
        let found: String = packets
            .iter()
            .filter_map(|&(ts, event, flags)| digits.collect(ts, &[event, flags, 0, 80]))
            .collect();
        assert_eq!(found, "11#");
        assert_eq!(digits.collect(1, &[1, 2, 3]), None);
    }
}
