//! Listening to calls while they last.

use super::Engine;
use super::event::Sink;
use super::media::Overheard;
use super::plan::CallKey;

impl Engine {
    /// From now on [`Engine::overhear`] tells of `call`. `false`: it is over, or too many are listened to.
    pub fn listen(&mut self, call: CallKey) -> bool {
        self.core.media.tap(call)
    }

    /// Nobody listens to `call` any more.
    pub fn stop_listening(&mut self, call: CallKey) {
        self.core.media.untap(call);
    }

    /// Tells what has come of each call that is listened to since this was last asked; `None` where the call is over. What goes
    /// to `sink` is the same as if nobody had asked.
    pub fn overhear(
        &mut self,
        sink: &mut impl Sink,
        mut tell: impl FnMut(CallKey, Option<Overheard>),
    ) {
        let core = &mut self.core;
        if core.media.has_taps() {
            core.settle(core.now, sink);
            core.media.overhear(core.now, &mut tell);
        }
    }
}
