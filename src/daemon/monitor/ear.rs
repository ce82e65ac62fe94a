//! The end of the engine's thread for those who listen: what came of their calls is handed on in short steps.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender};
use std::time::{Duration, Instant};

use super::listeners::{LiveCounters, Whisper};
use crate::engine::Engine;
use crate::engine::event::{CallInfo, Sink};
use crate::engine::plan::CallKey;

/// How often what came is handed on.
const STEP: Duration = Duration::from_millis(40);

/// What listeners ask of the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attend {
    Begin(CallKey),
    End(CallKey),
}

/// See the [module](self).
pub struct Ear {
    asked: Receiver<Attend>,
    whispers: SyncSender<Whisper>,
    counters: Arc<LiveCounters>,
    next: Instant,
}

impl Ear {
    pub fn new(
        asked: Receiver<Attend>,
        whispers: SyncSender<Whisper>,
        counters: Arc<LiveCounters>,
    ) -> Ear {
        Ear {
            asked,
            whispers,
            counters,
            next: Instant::now(),
        }
    }

    /// To be called between two batches of packets. `info`: what is known of a call at this moment.
    pub fn attend<S: Sink>(
        &mut self,
        engine: &mut Engine,
        sink: &mut S,
        info: impl Fn(&S, CallKey) -> Option<Arc<CallInfo>>,
        now: Instant,
    ) {
        while let Ok(asked) = self.asked.try_recv() {
            match asked {
                Attend::Begin(call) => {
                    if !engine.listen(call) {
                        self.whisper(Whisper::Over(call));
                    }
                }
                Attend::End(call) => engine.stop_listening(call),
            }
        }
        if now < self.next {
            return;
        }
        self.next = now + STEP;
        let mut heard = Vec::new();
        engine.overhear(sink, |call, of| heard.push((call, of)));
        for (call, of) in heard {
            let whisper = match (of, info(sink, call)) {
                (Some(of), Some(info)) => Whisper::Heard(call, Box::new(of), info),
                _ => Whisper::Over(call),
            };
            self.whisper(whisper);
        }
    }

    fn whisper(&self, whisper: Whisper) {
        if self.whispers.try_send(whisper).is_err() {
            self.counters.steps_dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}
