//! A daemon with calls in progress, for the world of these tests.

use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use callreel::api::{
    ActiveCall, ActiveParty, Hearing, LiveAudio, Sensor, Steered, Steering, Unheard, Unsteered,
};
use callreel::base::{PerSide, TenantId, Timestamp};
use futures_util::future::BoxFuture;
use uuid::Uuid;

use super::world::canary;

/// Its calls. Nobody of the tenant has part in them.
#[derive(Default)]
pub struct Present(Mutex<Vec<ActiveCall>>);

impl Present {
    /// A new call of the tenant.
    pub fn begin(&self, tenant: TenantId, number: u64) -> Uuid {
        let call = call(tenant, number);
        let id = call.id;
        self.0.lock().unwrap().push(call);
        id
    }
}

/// A call of the tenant, with its canary wherever there is text.
pub fn call(tenant: TenantId, number: u64) -> ActiveCall {
    let id = Uuid::from_u128(0xca11 << 64 | u128::from(number));
    let party = || ActiveParty {
        number: "1001".into(),
        display: canary(tenant).into(),
        extension: None,
        user: None,
    };
    ActiveCall {
        id,
        key: number,
        tenant,
        tenant_name: canary(tenant).into(),
        interaction: Uuid::from_u128(0x1e9 << 64 | u128::from(number)),
        sip_call_id: format!("{number}@{}", canary(tenant)),
        invited_at: Timestamp::from_secs_nanos(1_800_000_000, 0),
        answered_at: None,
        heard_since: None,
        recording: None,
        not_recorded: None,
        is_pending: false,
        is_paused: false,
        held_by: PerSide::default(),
        parties: PerSide::of(|_| party()),
        participants: Vec::new(),
    }
}

/// What the API asks.
pub struct Asked(pub Arc<Present>);

impl Sensor for Asked {
    fn active_calls(&self, tenant: Option<TenantId>) -> Vec<ActiveCall> {
        let calls = self.0.0.lock().unwrap();
        let own = calls
            .iter()
            .filter(|call| tenant.is_none_or(|one| one == call.tenant));
        own.cloned().collect()
    }

    fn control(&self, _: Steering) -> BoxFuture<'_, Result<Steered, Unsteered>> {
        Box::pin(async {
            Ok(Steered {
                calls: 1,
                changed: 1,
                at: Timestamp::default(),
            })
        })
    }

    fn listen(&self, _: &ActiveCall, _: Hearing) -> Result<LiveAudio, Unheard> {
        let (sender, chunks) = tokio::sync::mpsc::channel(1);
        sender.try_send(Bytes::from_static(b"audio")).unwrap();
        Ok(LiveAudio { chunks })
    }
}
