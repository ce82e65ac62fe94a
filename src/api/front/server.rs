//! Doors: addresses that are listened on, and the connections that come in.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;

use super::connection::{Moving, Patience};
use super::counters::{Counters, add};
use super::{Front, Tls};
use crate::api::Error;
use crate::base::Network;

/// An address that is listened on, and what is answered there.
pub struct Door {
    pub listener: TcpListener,
    /// None: plain HTTP.
    pub tls: Option<Arc<Tls>>,
    /// Within [`Front::around`].
    pub routes: Router,
}

/// In the extensions of requests that came over TLS to this program.
#[derive(Clone, Copy, Debug)]
pub(super) struct OverTls;

/// From the first byte of a request's head to its last, and from one request to the next.
const HEAD_PATIENCE: Duration = Duration::from_secs(30);
const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(15);
/// Bytes of a request's head.
const MAX_HEAD: usize = 32 * 1024;
const MAX_HEADERS: usize = 64;
/// Requests of one HTTP/2 connection at the same time.
const MAX_STREAMS: u32 = 64;
/// Bytes of one answer over HTTP/2 that wait for a client that does not read.
const MAX_UNREAD: usize = 64 * 1024;
/// Between probes of an HTTP/2 connection, and how long it may take to answer one.
const PROBE: Duration = Duration::from_secs(20);
/// When no connection can be taken: no file descriptor is left, most likely.
const BREATHER: Duration = Duration::from_millis(500);

/// Answers at all doors, for ever. To be called within a tokio runtime.
///
/// # Errors
///
/// [`Error::Serve`] when a listener cannot be used.
pub async fn serve(doors: Vec<Door>, front: Arc<Front>) -> Result<(), Error> {
    let places = Arc::new(Places::default());
    let mut at_work = tokio::task::JoinSet::new();
    for door in doors {
        let listener = tokio::net::TcpListener::from_std(door.listener).map_err(Error::Serve)?;
        if let Some(tls) = door.tls.clone() {
            let counters = front.counters.clone();
            at_work.spawn(async move { tls.follow(&counters).await });
        }
        let host = Host {
            tls: door.tls,
            routes: door.routes,
            front: front.clone(),
            places: places.clone(),
        };
        at_work.spawn(host.receive(listener));
    }
    // None of them ends; when this is dropped, all do.
    at_work.join_next().await;
    Ok(())
}

/// Who opens at a door.
#[derive(Clone)]
struct Host {
    tls: Option<Arc<Tls>>,
    routes: Router,
    front: Arc<Front>,
    places: Arc<Places>,
}

impl Host {
    async fn receive(self, listener: tokio::net::TcpListener) {
        loop {
            let (stream, peer) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::debug!(%error, "a connection could not be taken");
                    tokio::time::sleep(BREATHER).await;
                    continue;
                }
            };
            let counters = &self.front.counters;
            let Some(place) = self.place(peer.ip().to_canonical()) else {
                add(&counters.refused_connections);
                continue;
            };
            add(&counters.connections);
            let host = self.clone();
            tokio::spawn(async move {
                host.attend(stream, peer).await;
                drop(place);
            });
        }
    }

    fn place(&self, peer: IpAddr) -> Option<Place> {
        let settings = &self.front.settings;
        let trusted = |network: &Network| network.holds(peer);
        let per_address = match settings.trusted_proxies.iter().any(trusted) {
            true => settings.max_connections,
            false => settings.max_connections_per_address,
        };
        let counters = self.front.counters.clone();
        let most = (settings.max_connections, per_address);
        Places::take(&self.places, peer, most, counters)
    }

    async fn attend(&self, stream: TcpStream, peer: SocketAddr) {
        // An answer is small and waited for.
        let _ = stream.set_nodelay(true);
        let stream = Moving::new(stream, Patience::default(), self.front.counters.clone());
        let Some(tls) = &self.tls else {
            return self.converse(stream, peer, http()).await;
        };
        let handshake = TlsAcceptor::from(tls.config()).accept(stream);
        let Ok(Ok(stream)) = tokio::time::timeout(HANDSHAKE_PATIENCE, handshake).await else {
            return add(&self.front.counters.failed_handshakes);
        };
        // Both ends have agreed on what they speak: nothing is left to guess.
        let http = match stream.get_ref().1.alpn_protocol() {
            Some(b"h2") => http().http2_only(),
            _ => http().http1_only(),
        };
        self.converse(stream, peer, http).await;
    }

    async fn converse<S>(&self, stream: S, peer: SocketAddr, http: auto::Builder<TokioExecutor>)
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    {
        let over_tls = self.tls.is_some();
        let routes = self.routes.clone();
        let service = routes.map_request(move |request: Request<Incoming>| {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(ConnectInfo(peer));
            if over_tls {
                request.extensions_mut().insert(OverTls);
            }
            request
        });
        let service = TowerToHyperService::new(service);
        let connection = http.serve_connection(TokioIo::new(stream), service);
        if let Err(error) = connection.await {
            tracing::trace!(error, "a connection broke off");
        }
    }
}

/// HTTP of either version, within bounds.
fn http() -> auto::Builder<TokioExecutor> {
    let mut http = auto::Builder::new(TokioExecutor::new());
    http.http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_PATIENCE)
        .max_headers(MAX_HEADERS)
        .max_buf_size(MAX_HEAD);
    http.http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(PROBE)
        .keep_alive_timeout(PROBE)
        .max_concurrent_streams(MAX_STREAMS)
        .max_send_buf_size(MAX_UNREAD)
        .max_header_list_size(u32::try_from(MAX_HEAD).unwrap_or(u32::MAX));
    http
}

/// Connections that are open, by where they come from.
#[derive(Debug, Default)]
struct Places(Mutex<HashMap<IpAddr, usize>>);

/// Given back when it is dropped.
struct Place {
    places: Arc<Places>,
    of: IpAddr,
    counters: Arc<Counters>,
}

impl Places {
    fn take(
        places: &Arc<Places>,
        peer: IpAddr,
        (in_all, per_address): (usize, usize),
        counters: Arc<Counters>,
    ) -> Option<Place> {
        let of = household(peer);
        let mut taken = places.0.lock().unwrap_or_else(PoisonError::into_inner);
        if counters.open_connections.load(Ordering::Relaxed) >= in_all as u64
            || taken.get(&of).is_some_and(|count| *count >= per_address)
        {
            return None;
        }
        *taken.entry(of).or_default() += 1;
        add(&counters.open_connections);
        drop(taken);
        let places = places.clone();
        Some(Place {
            places,
            of,
            counters,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let taken = &self.places.0;
        let mut taken = taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(&self.of) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.of);
            }
        }
        subtract(&self.counters.open_connections);
    }
}

fn subtract(count: &AtomicU64) {
    count.fetch_sub(1, Ordering::Relaxed);
}

/// One customer has a whole /64 of IPv6.
pub(super) fn household(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(_) => address,
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64).into(),
    }
}
