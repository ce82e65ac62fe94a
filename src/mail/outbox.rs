//! Letters that wait to be sent.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;

use super::{Error, Letter, Mailer};

/// Letters that wait; past it further ones are dropped, and counted.
const WAITING: usize = 256;

/// How long is waited before a letter is tried again that the server did not take for now.
const PAUSES: [Duration; 2] = [Duration::from_secs(5), Duration::from_secs(30)];

/// Where letters are put. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Outbox {
    queue: mpsc::Sender<Letter>,
    lost: Arc<AtomicU64>,
}

impl Outbox {
    /// An outbox, and the work of emptying it, which ends with the last clone.
    pub fn new(mailer: Mailer) -> (Outbox, impl Future<Output = ()> + Send + 'static) {
        let (queue, waiting) = mpsc::channel(WAITING);
        let lost = Arc::new(AtomicU64::new(0));
        let outbox = Outbox {
            queue,
            lost: lost.clone(),
        };
        (outbox, empty(mailer, waiting, lost))
    }

    /// Takes a letter, at once and whatever the mail server does.
    pub fn put(&self, letter: Letter) {
        if self.queue.try_send(letter).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
            tracing::warn!("a letter was dropped: {WAITING} wait for the mail server");
        }
    }

    /// Letters that were given up since the start.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

async fn empty(mailer: Mailer, mut waiting: mpsc::Receiver<Letter>, lost: Arc<AtomicU64>) {
    while let Some(letter) = waiting.recv().await {
        if let Err(error) = send(&mailer, &letter).await {
            lost.fetch_add(1, Ordering::Relaxed);
            tracing::error!(%error, "a letter was given up");
        }
    }
}

async fn send(mailer: &Mailer, letter: &Letter) -> Result<(), Error> {
    for pause in PAUSES {
        match mailer.send(letter).await {
            Err(Error::Send { passing: true, .. }) => tokio::time::sleep(pause).await,
            outcome => return outcome,
        }
    }
    mailer.send(letter).await
}
