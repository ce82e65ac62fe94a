//! From a call's script to frames: UDP, UDP in IP fragments, or a TCP connection cut anywhere.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::frame::{Path, TcpFlags, UdpTemplate, tcp_frame};
use super::message::write_message;
use super::plan::CallPlan;
use super::random::{Chance, Random};
use super::script::{Act, SipEvent, script};
use crate::base::{PerSide, Side};

const MICROSECOND: i64 = 1_000;

/// What of a call's signalling is still to be sent.
#[derive(Debug)]
pub(super) struct Signalling {
    events: std::iter::Peekable<std::vec::IntoIter<SipEvent>>,
    /// Frames of events that have begun: a message may be several.
    frames: BinaryHeap<Reverse<(i64, u32, Vec<u8>)>>,
    count: u32,
    random: Random,
    paths: PerSide<Path>,
    transport: Transport,
    identification: u16,
}

#[derive(Debug)]
enum Transport {
    Udp(Box<PerSide<UdpTemplate>>),
    /// The next sequence number of each side.
    Tcp(PerSide<u32>),
}

impl Signalling {
    pub fn new(plan: &CallPlan) -> Signalling {
        let mut random = Random::of(plan.seed, &[0x736967]);
        let paths = PerSide {
            caller: plan.signalling_path(Side::Caller),
            callee: plan.signalling_path(Side::Callee),
        };
        let transport = if plan.traits.tcp {
            Transport::Tcp(PerSide {
                caller: random.next_u32(),
                callee: random.next_u32(),
            })
        } else {
            Transport::Udp(Box::new(paths.clone().map(|path| UdpTemplate::new(&path))))
        };
        Signalling {
            events: script(plan).into_iter().peekable(),
            frames: BinaryHeap::new(),
            count: 0,
            identification: random.next_u32() as u16,
            random,
            paths,
            transport,
        }
    }

    /// When the next frame is due; none when all are sent.
    pub fn next_time(&mut self) -> Option<i64> {
        let frame = self.frames.peek().map(|Reverse((time, ..))| *time);
        let event = self.events.peek().map(|event| event.time);
        frame.into_iter().chain(event).min()
    }

    /// Takes the next frame.
    pub fn emit(&mut self, plan: &CallPlan, frame: &mut Vec<u8>) {
        while let Some(event) = self.next_due_event() {
            self.begin(plan, &event);
        }
        if let Some(Reverse((_, _, bytes))) = self.frames.pop() {
            *frame = bytes;
        }
    }

    fn next_due_event(&mut self) -> Option<SipEvent> {
        let ready = self
            .frames
            .peek()
            .map_or(i64::MAX, |Reverse((time, ..))| *time);
        self.events.next_if(|event| event.time < ready)
    }

    fn begin(&mut self, plan: &CallPlan, event: &SipEvent) {
        let (time, sender) = (event.time, event.sender);
        match &event.act {
            Act::Connect => self.connect(time, sender),
            Act::Disconnect => self.disconnect(time, sender),
            Act::Send(messages) => {
                let bytes: String = messages
                    .iter()
                    .map(|message| write_message(plan, sender, message))
                    .collect();
                match self.transport {
                    Transport::Udp(_) => self.send_datagram(time, sender, bytes.as_bytes()),
                    Transport::Tcp(_) => self.send_segments(time, sender, bytes.as_bytes()),
                }
            }
        }
    }

    fn push(&mut self, time: i64, frame: Vec<u8>) {
        self.count += 1;
        self.frames.push(Reverse((time, self.count, frame)));
    }

    fn send_datagram(&mut self, time: i64, sender: Side, bytes: &[u8]) {
        let Transport::Udp(templates) = &self.transport else {
            return;
        };
        self.identification = self.identification.wrapping_add(1);
        let mut frames = templates[sender].fragments(self.identification, bytes);
        // The last fragment often overtakes the first.
        if frames.len() > 1 && self.random.happens(Chance::percent(50.0)) {
            frames.reverse();
        }
        for (i, frame) in frames.into_iter().enumerate() {
            self.push(time + i as i64 * 10 * MICROSECOND, frame);
        }
    }

    fn segment(&mut self, time: i64, sender: Side, offset: u32, flags: TcpFlags, bytes: &[u8]) {
        let Transport::Tcp(next) = &self.transport else {
            return;
        };
        let (sequence, acknowledged) = (next[sender].wrapping_add(offset), next[sender.other()]);
        let frame = tcp_frame(&self.paths[sender], sequence, acknowledged, flags, bytes);
        self.push(time, frame);
    }

    fn advance(&mut self, sender: Side, by: usize) {
        if let Transport::Tcp(next) = &mut self.transport {
            next[sender] = next[sender].wrapping_add(by as u32);
        }
    }

    fn connect(&mut self, time: i64, by: Side) {
        self.segment(time, by, 0, TcpFlags::SYN, &[]);
        self.advance(by, 1);
        self.segment(
            time + 300 * MICROSECOND,
            by.other(),
            0,
            TcpFlags::SYN_ACK,
            &[],
        );
        self.advance(by.other(), 1);
        self.segment(time + 600 * MICROSECOND, by, 0, TcpFlags::ACK, &[]);
    }

    fn disconnect(&mut self, time: i64, by: Side) {
        for (i, side) in [by, by.other()].into_iter().enumerate() {
            self.segment(
                time + i as i64 * 400 * MICROSECOND,
                side,
                0,
                TcpFlags::FIN_ACK,
                &[],
            );
            self.advance(side, 1);
        }
        self.segment(time + 900 * MICROSECOND, by, 0, TcpFlags::ACK, &[]);
    }

    /// One write: up to five segments cut anywhere, now and then one twice, two in the wrong order, or a keep-alive before
    /// them (RFC 5626 section 4.4.1); and the other side's acknowledgement.
    fn send_segments(&mut self, time: i64, sender: Side, message: &[u8]) {
        let mut bytes = Vec::with_capacity(message.len() + 4);
        if self.random.happens(Chance::percent(20.0)) {
            bytes.extend_from_slice(b"\r\n\r\n");
        }
        bytes.extend_from_slice(message);
        let mut cuts: Vec<usize> = (0..self.random.below(5))
            .map(|_| self.random.below(bytes.len() as u64) as usize)
            .chain([0, bytes.len(), 1400.min(bytes.len())])
            .collect();
        cuts.sort_unstable();
        cuts.dedup();
        let mut parts: Vec<(usize, usize)> = cuts.windows(2).map(|w| (w[0], w[1])).collect();
        if parts.len() > 1 && self.random.happens(Chance::percent(25.0)) {
            let first = self.random.below(parts.len() as u64 - 1) as usize;
            parts.swap(first, first + 1);
        }
        if self.random.happens(Chance::percent(25.0)) {
            // A retransmission that begins inside what was already sent.
            let (from, to) = parts[self.random.below(parts.len() as u64) as usize];
            parts.push((from + (to - from) / 2, to));
        }
        for (i, (from, to)) in parts.into_iter().enumerate() {
            let at = time + i as i64 * 200 * MICROSECOND;
            self.segment(
                at,
                sender,
                from as u32,
                TcpFlags::PUSH_ACK,
                &bytes[from..to],
            );
        }
        self.advance(sender, bytes.len());
        self.segment(
            time + 2_500 * MICROSECOND,
            sender.other(),
            0,
            TcpFlags::ACK,
            &[],
        );
    }
}
