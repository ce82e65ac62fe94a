//! What stands between the network and the routes.
//!
//! In: connections, and the routes that answer. Out: the same answers, and none to what is too large, too slow, too much or
//! malformed; requests that know who sent them ([`ClientAddress`](super::ClientAddress)), whether nobody could read along ([`Secure`]), and what
//! they are called ([`RequestId`](super::RequestId)).
//!
//! A door is one address that is listened on, plain or with TLS. What is asked at any door passes, from outside: counting
//! and its name, whose address it comes from, what may be too much or take too long, panics, and answers that are no problem
//! documents yet.

mod compress;
mod connection;
mod counters;
mod headers;
mod limits;
mod proxy;
mod request_id;
mod server;
mod tls;
mod trouble;
mod under_way;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use tokio::sync::Semaphore;

use crate::base::Network;

pub use compress::HoldsSecret;
pub use counters::Counters;
pub use proxy::{Secure, is_forwarded};
pub use server::{Door, serve};
pub use tls::{Tls, TlsFiles};

/// Bounds of what is taken in.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Whose word is taken for where a request comes from.
    pub trusted_proxies: Vec<Network>,
    /// At all doors together; and answers that are being sent at a time.
    pub max_connections: usize,
    /// From one address, or one /64 of IPv6. Trusted proxies have as many as they like; answers are counted by the clients that
    /// they name.
    pub max_connections_per_address: usize,
    /// Bytes of a request's body.
    pub max_body: usize,
    /// From a request's head to the head of its answer.
    pub patience: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            trusted_proxies: Vec::new(),
            max_connections: 1024,
            max_connections_per_address: 128,
            max_body: 1 << 20,
            patience: Duration::from_secs(30),
        }
    }
}

/// Requests that are worked on at the same time, at all doors, until the heads of their answers are there.
const MAX_REQUESTS: usize = 512;

/// What all doors share.
#[derive(Debug)]
pub struct Front {
    pub(super) settings: Settings,
    pub counters: Arc<Counters>,
    places: Semaphore,
    under_way: Arc<under_way::UnderWay>,
}

impl Front {
    pub fn new(settings: Settings) -> Arc<Front> {
        Arc::new(Front {
            settings,
            counters: Arc::default(),
            places: Semaphore::new(MAX_REQUESTS),
            under_way: Arc::default(),
        })
    }

    /// The routes with all that stands before them.
    pub fn around(self: &Arc<Front>, routes: Router) -> Router {
        let of = |front: &Arc<Front>| front.clone();
        // The last is the outermost.
        routes
            .layer(from_fn(compress::only_to_get))
            .layer(compress::layer())
            .layer(from_fn(trouble::as_problems))
            .layer(from_fn_with_state(of(self), limits::in_bounds))
            .layer(from_fn_with_state(of(self), proxy::find_client))
            .layer(from_fn_with_state(of(self), request_id::name))
            .layer(from_fn(headers::secure))
    }
}

#[cfg(test)]
mod tests;
