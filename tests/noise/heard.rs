//! A sink that keeps what became of each call, and insists on the order of events.

use std::collections::{BTreeMap, HashMap};

use callreel::base::Side;
use callreel::codec::Codec;
use callreel::engine::event::{Block, Disposition, Event, Sink};
use callreel::engine::plan::CallKey;

/// Everything that was handed out of the calls with one Call-ID.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trace {
    /// By side and position: what it is and the payload as it came.
    pub pieces: BTreeMap<(Side, i64), (Codec, Vec<u8>)>,
    /// How many there were, those at one position too.
    pub placed: u64,
    pub disposition: Option<Disposition>,
    pub length_samples: u64,
    pub streams: Vec<StreamSums>,
    pub start_ns: Option<i64>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StreamSums {
    pub side: Side,
    pub ssrc: u32,
    pub packets: u64,
    pub lost: u64,
    pub duplicates: u64,
    pub not_placed: u64,
}

#[derive(Default)]
pub struct Heard {
    names: HashMap<CallKey, String>,
    traces: HashMap<CallKey, Trace>,
    ended: Vec<CallKey>,
}

impl Heard {
    /// Of the one call with this Call-ID.
    pub fn trace(&self, call_id: &str) -> Trace {
        let mut own = self.names.iter().filter(|(_, name)| *name == call_id);
        let (key, _) = own
            .next()
            .unwrap_or_else(|| panic!("{call_id} was never heard of"));
        assert!(own.next().is_none(), "{call_id} is two calls");
        assert!(self.ended.contains(key), "{call_id} has no end");
        self.traces[key].clone()
    }

    /// Calls that ended: each of them once.
    pub fn ended(&self) -> usize {
        assert_eq!(self.ended.len(), self.names.len(), "every call ends");
        self.ended.len()
    }

    fn take(&mut self, call: CallKey, block: &Block) {
        let trace = self
            .traces
            .get_mut(&call)
            .expect("news of a call come first");
        assert!(
            trace.start_ns.is_some(),
            "a recording begins before its blocks"
        );
        for (side, pieces) in block.sides.iter() {
            for piece in pieces {
                let codec = block.formats[usize::from(piece.format)].codec;
                let payload = block.payload(piece).to_vec();
                trace.placed += 1;
                assert_eq!(payload.len(), usize::from(piece.len));
                trace
                    .pieces
                    .insert((side, piece.position), (codec, payload));
            }
        }
    }
}

impl Sink for Heard {
    fn event(&mut self, event: Event) {
        let call = event.call();
        let is_of_recording = !matches!(event, Event::Standing { .. });
        assert!(
            !is_of_recording || self.ended.last() != Some(&call),
            "nothing follows the end"
        );
        match event {
            Event::Call { info, .. } => {
                self.names.insert(call, info.call_id.clone());
                self.traces.entry(call).or_default();
            }
            Event::Recording { start, .. } => {
                let trace = self
                    .traces
                    .get_mut(&call)
                    .expect("news of a call come first");
                assert!(trace.start_ns.is_none(), "a recording begins once");
                trace.start_ns = Some(start.as_nanos());
            }
            Event::Signalling { .. } | Event::Standing { .. } => {}
            Event::Block { block, .. } => self.take(call, &block),
            Event::Ended(end) => {
                let trace = self
                    .traces
                    .get_mut(&call)
                    .expect("news of a call come first");
                assert!(trace.disposition.is_none(), "a call ends once");
                trace.disposition = Some(end.disposition);
                trace.length_samples = end.length_samples;
                trace.streams = end
                    .streams
                    .iter()
                    .map(|s| StreamSums {
                        side: s.side,
                        ssrc: s.ssrc,
                        packets: s.packets,
                        lost: s.lost,
                        duplicates: s.duplicates,
                        not_placed: s.not_placed,
                    })
                    .collect();
                self.ended.push(call);
            }
        }
    }
}
