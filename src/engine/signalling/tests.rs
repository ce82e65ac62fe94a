//! Dialogs, told in messages.

use super::*;
use crate::base::{Endpoint, Vantage};

const START: Timestamp = Timestamp::from_secs_nanos(1_700_000_000, 0);

/// Signalling, and how each call ended.
struct Line {
    signalling: Signalling,
    ends: Vec<(EndReason, Option<Timestamp>)>,
}

impl Line {
    fn new() -> Line {
        let sensor = Sensor {
            name: "test".into(),
            interfaces: Vec::new(),
            keep_unattributed: true,
        };
        let directory = Arc::new(Directory::empty());
        Line {
            signalling: Signalling::new(sensor, SignallingLimits::default(), directory),
            ends: Vec::new(),
        }
    }

    /// A message `seconds` after the start, between the tags `a` and `to_tag`.
    fn say(&mut self, seconds: u32, start_line: &str, cseq: &str, to_tag: &str) {
        let time = START + Duration::from_secs(1) * seconds;
        self.wait_until(time, None);
        let tag = match to_tag {
            "" => String::new(),
            tag => format!(";tag={tag}"),
        };
        let text = format!(
            "{start_line}\r\nVia: SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK{cseq}\r\nFrom: <sip:1@a>;tag=a\r\n\
             To: <sip:2@a>{tag}\r\nCall-ID: c\r\nCSeq: {cseq}\r\nContent-Length: 0\r\n\r\n",
        );
        let message = Message::parse(text.as_bytes()).expect("a whole message");
        let flow = Flow {
            vantage: Vantage::default(),
            source: Endpoint::v4([10, 0, 0, 1], 5060),
            destination: Endpoint::v4([10, 0, 0, 2], 5060),
        };
        let mut orders = Orders::new();
        self.signalling
            .handle_message(time, &flow, text.as_bytes(), &message, &mut orders);
        self.note(orders);
    }

    /// Lets deadlines pass, with media of every call last seen at `media`.
    fn wait_until(&mut self, time: Timestamp, media: Option<Timestamp>) {
        let mut orders = Orders::new();
        self.signalling
            .handle_timeout(time, |_| PerSide::of(|_| media), &mut orders);
        self.note(orders);
    }

    fn note(&mut self, orders: Orders) {
        for order in orders {
            if let Order::End(end) = order {
                self.ends.push((end.reason, end.info.answered_at));
            }
        }
    }

    fn answered() -> Line {
        let mut line = Line::new();
        line.say(0, "INVITE sip:2@a SIP/2.0", "1 INVITE", "");
        line.say(1, "SIP/2.0 200 OK", "1 INVITE", "b");
        line
    }
}

#[test]
fn the_answer_that_is_acknowledged_is_the_call() {
    // A proxy hands the answer on under the tag of a phone that rang before.
    let mut line = Line::answered();
    line.say(2, "SIP/2.0 200 OK", "1 INVITE", "proxy");
    line.say(2, "ACK sip:2@a SIP/2.0", "1 ACK", "proxy");
    line.say(9, "BYE sip:2@a SIP/2.0", "2 BYE", "proxy");
    line.wait_until(START + Duration::from_secs(20), None);
    let by_caller = EndReason::Bye { by: Side::Caller };
    let answered = Some(START + Duration::from_secs(1));
    assert_eq!(line.ends, [(by_caller, answered)]);
}

#[test]
fn a_second_phone_that_answered_too_late_ends_nothing() {
    let mut line = Line::answered();
    line.say(2, "ACK sip:2@a SIP/2.0", "1 ACK", "b");
    line.say(2, "SIP/2.0 200 OK", "1 INVITE", "late");
    line.say(2, "ACK sip:2@a SIP/2.0", "1 ACK", "late");
    line.say(3, "BYE sip:2@a SIP/2.0", "2 BYE", "late");
    line.wait_until(START + Duration::from_secs(20), None);
    assert_eq!(line.ends, []);
    line.say(30, "BYE sip:2@a SIP/2.0", "2 BYE", "b");
    line.wait_until(START + Duration::from_secs(40), None);
    assert_eq!(line.ends.len(), 1);
}

#[test]
fn an_answer_to_a_refused_hop_is_not_the_call() {
    let mut line = Line::answered();
    line.say(2, "ACK sip:2@a SIP/2.0", "1 ACK", "refused");
    line.say(9, "BYE sip:2@a SIP/2.0", "2 BYE", "b");
    line.wait_until(START + Duration::from_secs(20), None);
    assert_eq!(line.ends.len(), 1);
}

#[test]
fn only_media_that_was_there_can_stop() {
    let idle = SignallingLimits::default().idle;
    let mut line = Line::answered();
    line.wait_until(START + idle * 3, None);
    assert_eq!(line.ends, []);
    let media = Some(START + idle * 3);
    line.wait_until(START + idle * 5, media);
    assert_eq!(line.ends.len(), 1);
    assert_eq!(line.ends[0].0, EndReason::MediaTimeout);
}
