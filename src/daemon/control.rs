//! The thread that listens to the outside: signals and HTTP. What concerns the daemon comes out as an [`Order`].

use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{oneshot, watch};

use super::auditing::{Follower, Waiting};
use super::serving;
use super::signing_in;
use super::state::Front;
use super::steering::Steering;
use super::webhooks::Webhooks;
use crate::api::front::Tls;
use crate::api::{self, Api, Doors};
use crate::catalog::Home;
use crate::config::Mail;
use crate::mail::LetterCounters;

/// How long a stop waits for the audit: for what is to be entered into it, and for those who are told of it.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// What the daemon is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    Stop,
    Reload,
    /// A file of the configuration may have changed.
    FilesChanged,
    /// A thread between wire and recorder is gone.
    CaptureEnded,
}

pub struct Control {
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

/// What is answered over HTTP, and where.
pub struct Http {
    pub doors: Doors,
    pub bounds: Arc<api::front::Front>,
    pub front: Arc<Front>,
    pub api: Api,
    /// Who is told the audit.
    pub followers: Vec<Follower>,
    /// What operators did, for the audit.
    pub waiting: Arc<Waiting>,
    /// The catalog that the API asks.
    pub catalog: Arc<Home>,
    pub webhooks: Webhooks,
    /// Who takes the API's letters.
    pub mail: Option<Mail>,
    pub letters: Arc<LetterCounters>,
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Control {
    /// Hears signals from now on, and answers.
    pub fn start(
        http: Http,
        orders: SyncSender<Order>,
        steering: Option<Steering>,
    ) -> anyhow::Result<Control> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let signals = {
            let _guard = runtime.enter();
            Signals {
                terminate: signal(SignalKind::terminate())?,
                interrupt: signal(SignalKind::interrupt())?,
                hang_up: signal(SignalKind::hangup())?,
            }
        };
        let (stop, stopped) = oneshot::channel();
        let run = move || serve(&runtime, http, signals, orders, steering, stopped);
        let thread = std::thread::Builder::new().name("control".into());
        let thread = thread.spawn(run)?;
        Ok(Control { stop, thread })
    }

    /// Ends HTTP.
    pub fn finish(self) {
        let _ = self.stop.send(());
        let _ = self.thread.join();
    }
}

fn serve(
    runtime: &Runtime,
    http: Http,
    signals: Signals,
    orders: SyncSender<Order>,
    steering: Option<Steering>,
    stopped: oneshot::Receiver<()>,
) {
    let tls = http.doors.tls.as_ref().map(|(_, tls)| tls.clone());
    runtime.spawn(hear(signals, http.front.clone(), orders, tls));
    if let Some(steering) = steering {
        runtime.spawn(steering.serve(http.waiting.clone()));
    }
    runtime.spawn(http.waiting.enter(http.api.clone()));
    let (last, is_last) = watch::channel(false);
    let followers = http.followers.into_iter();
    let followers: Vec<_> = followers
        .map(|follower| runtime.spawn(follower.follow(http.api.clone(), is_last.clone())))
        .collect();
    runtime.spawn(serving::open_catalog(http.api.clone(), http.catalog));
    runtime.spawn(http.webhooks.run(http.api.clone()));
    runtime.spawn(signing_in::send_letters(
        http.api.clone(),
        http.mail,
        http.letters,
    ));
    runtime.spawn(api::housekeeping(http.api.clone()));
    runtime.spawn(api::record_refusals(http.api.clone()));
    let api = http.api.clone();
    // Who is told that all is well can sign in at once.
    runtime.block_on(serving::wait_for_catalog(&http.api));
    let served = runtime.block_on(async {
        tokio::select! {
            served = api::serve(http.doors, http.front, http.api, http.bounds) => served,
            // Nobody waits for a client that reads slowly.
            _ = stopped => Ok(()),
        }
    });
    if let Err(error) = served {
        tracing::error!(%error, "metrics and health are not served any more");
    }
    let said = runtime.block_on(async {
        let words = async {
            api::record_last_refusals(&api).await;
            last.send_replace(true);
            futures_util::future::join_all(followers).await;
        };
        // A timer is made within the runtime.
        tokio::time::timeout(LAST_WORDS, words).await
    });
    if said.is_err() {
        tracing::warn!("the audit is told to its end after the next start");
    }
}

/// The first signal to stop is an order, the second the end.
async fn hear(
    mut signals: Signals,
    front: Arc<Front>,
    orders: SyncSender<Order>,
    tls: Option<Arc<Tls>>,
) {
    let mut stopping = false;
    loop {
        let (name, status) = tokio::select! {
            _ = signals.terminate.recv() => ("SIGTERM", 143),
            _ = signals.interrupt.recv() => ("SIGINT", 130),
            _ = signals.hang_up.recv() => {
                // A full queue holds what leads to a reload already.
                let _ = orders.try_send(Order::Reload);
                tls.iter().for_each(|tls| tls.reload());
                continue;
            }
        };
        if !front.is_open() {
            // There is nothing to lose: what is not recovered yet is recovered by the next start.
            tracing::info!(signal = name, "stopped before recording began");
            leave(0);
        }
        if stopping {
            tracing::error!(
                signal = name,
                "told to stop twice: calls in progress are recovered by the next start"
            );
            leave(status);
        }
        stopping = true;
        tracing::info!(signal = name, "stopping");
        // The queue is emptied all the time; one that is full has the daemon in a bad way.
        if orders.try_send(Order::Stop).is_err() {
            leave(status);
        }
    }
}

/// Ends the process at this moment.
#[expect(
    clippy::exit,
    reason = "whoever insists is not to wait for threads that may be stuck"
)]
fn leave(status: i32) -> ! {
    std::process::exit(status)
}
