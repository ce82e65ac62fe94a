//! Letters that wait to be sent.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::{Error, Letter, Mailer};

/// Letters that wait; past it further ones are dropped, and counted.
const WAITING: usize = 256;

/// How long is waited before a letter is tried again that the server did not take for now.
const PAUSES: [Duration; 2] = [Duration::from_secs(5), Duration::from_secs(30)];

/// What became of letters. Monotonic.
#[derive(Debug, Default)]
pub struct LetterCounters {
    /// The mail server has taken them.
    pub sent: AtomicU64,
    /// Given up, or dropped because too many waited.
    pub lost: AtomicU64,
}

/// Where letters are put. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Outbox {
    queue: mpsc::Sender<Letter>,
    counters: Arc<LetterCounters>,
}

impl Outbox {
    /// An outbox, and the work of emptying it, which ends with the last clone.
    pub fn new(mailer: Mailer) -> (Outbox, impl Future<Output = ()> + Send + 'static) {
        Outbox::counted(mailer, Arc::default())
    }

    /// The same, with counters that are there already.
    pub fn counted(
        mailer: Mailer,
        counters: Arc<LetterCounters>,
    ) -> (Outbox, impl Future<Output = ()> + Send + 'static) {
        Outbox::with_pauses(mailer, counters, PAUSES)
    }

    pub(super) fn with_pauses(
        mailer: Mailer,
        counters: Arc<LetterCounters>,
        pauses: [Duration; 2],
    ) -> (Outbox, impl Future<Output = ()> + Send + 'static) {
        let (queue, waiting) = mpsc::channel(WAITING);
        let outbox = Outbox {
            queue,
            counters: counters.clone(),
        };
        (outbox, empty(mailer, waiting, counters, pauses))
    }

    /// Takes a letter, at once and whatever the mail server does.
    pub fn put(&self, letter: Letter) {
        if self.queue.try_send(letter).is_err() {
            self.counters.lost.fetch_add(1, Ordering::Relaxed);
            tracing::warn!("a letter was dropped: {WAITING} wait for the mail server");
        }
    }
}

async fn empty(
    mailer: Mailer,
    mut waiting: mpsc::Receiver<Letter>,
    counters: Arc<LetterCounters>,
    pauses: [Duration; 2],
) {
    while let Some(letter) = waiting.recv().await {
        match send(&mailer, &letter, &pauses).await {
            Ok(()) => counters.sent.fetch_add(1, Ordering::Relaxed),
            Err(error) => {
                tracing::error!(%error, "a letter was given up");
                counters.lost.fetch_add(1, Ordering::Relaxed)
            }
        };
    }
}

/// A server that does not answer holds up the letters behind, so what nobody can use any more is not tried.
async fn send(mailer: &Mailer, letter: &Letter, pauses: &[Duration]) -> Result<(), Error> {
    for pause in pauses {
        if letter.until <= Instant::now() {
            return Err(Error::TooLate);
        }
        match mailer.send(letter).await {
            Err(error @ Error::Send { passing: true, .. }) => {
                tracing::warn!(%error, "a letter waits");
                tokio::time::sleep(*pause).await;
            }
            outcome => return outcome,
        }
    }
    match letter.until <= Instant::now() {
        true => Err(Error::TooLate),
        false => mailer.send(letter).await,
    }
}
