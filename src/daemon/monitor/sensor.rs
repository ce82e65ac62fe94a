//! What the API asks of the daemon.

use std::sync::Arc;
use std::sync::mpsc::SyncSender;

use futures_util::future::BoxFuture;

use super::active::ActiveCalls;
use super::listeners::Listeners;
use crate::api::{
    Action, ActiveCall, Hearing, LiveAudio, Sensor, Steered, Steering, Unheard, Unsteered,
};
use crate::base::TenantId;
use crate::daemon::steering::{Ask, request};
use crate::engine::control::{ControlAction, ControlRequest};
use crate::engine::plan::CallKey;

/// See [`Sensor`].
pub struct LiveSensor {
    calls: Arc<ActiveCalls>,
    listeners: Listeners,
    /// None where recordings cannot be steered.
    asks: Option<SyncSender<Ask>>,
}

impl LiveSensor {
    pub fn new(
        calls: Arc<ActiveCalls>,
        listeners: Listeners,
        asks: Option<SyncSender<Ask>>,
    ) -> LiveSensor {
        LiveSensor {
            calls,
            listeners,
            asks,
        }
    }
}

impl Sensor for LiveSensor {
    fn active_calls(&self, tenant: Option<TenantId>) -> Vec<ActiveCall> {
        self.calls.of(tenant)
    }

    fn control(&self, asked: Steering) -> BoxFuture<'_, Result<Steered, Unsteered>> {
        Box::pin(async move {
            let asks = self.asks.as_ref().ok_or(Unsteered)?;
            let seen = asked.seen;
            let action = match asked.action {
                Action::Pause => ControlAction::Pause,
                Action::Resume => ControlAction::Resume,
                Action::Keep => ControlAction::Keep,
                Action::Stop => ControlAction::Stop,
            };
            // What is kept or thrown away is of a call; what nobody is to hear is said on all legs of a conversation.
            let each_call = matches!(asked.action, Action::Keep | Action::Stop);
            let only = seen.as_ref().filter(|_| each_call);
            let outcome = request(
                asks,
                ControlRequest {
                    target: asked.interaction.to_string(),
                    action,
                    tenant: Some(asked.tenant),
                    only: only.map(|seen| seen.iter().copied().map(CallKey).collect()),
                    looks: false,
                    who: asked.who,
                    why: asked.why,
                },
            );
            let outcome = outcome.await.map_err(|_| Unsteered)?;
            let told = |call: CallKey| seen.as_ref().is_none_or(|seen| seen.contains(&call.0));
            let told = outcome.reached.iter().filter(|reached| told(reached.call));
            let changed = told.clone().filter(|reached| reached.changed);
            Ok(Steered {
                calls: told.count() as u32,
                changed: changed.count() as u32,
                at: outcome.at,
            })
        })
    }

    fn listen(&self, call: &ActiveCall, hearing: Hearing) -> Result<LiveAudio, Unheard> {
        let key = CallKey(call.key);
        if !self.calls.has(key) {
            return Err(Unheard::Over);
        }
        self.listeners.join(key, call.tenant, hearing)
    }
}
