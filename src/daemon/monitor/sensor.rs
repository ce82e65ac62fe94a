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
            let outcome = request(
                asks,
                ControlRequest {
                    target: asked.interaction.to_string(),
                    action: match asked.action {
                        Action::Pause => ControlAction::Pause,
                        Action::Resume => ControlAction::Resume,
                        Action::Keep => ControlAction::Keep,
                        Action::Stop => ControlAction::Stop,
                    },
                    tenant: Some(asked.tenant),
                    who: asked.who,
                    why: asked.why,
                },
            );
            let outcome = outcome.await.map_err(|_| Unsteered)?;
            Ok(Steered {
                calls: outcome.calls,
                changed: outcome.changed,
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
