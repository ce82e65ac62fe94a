//! What came to the doors, counted.

use std::sync::atomic::{AtomicU64, Ordering};

/// Since the start of the daemon.
#[derive(Debug, Default)]
pub struct Counters {
    /// Answers, by the first digit of their status less one.
    answers: [AtomicU64; 5],
    pub connections: AtomicU64,
    /// At this moment.
    pub open_connections: AtomicU64,
    /// Closed at once: there were too many, or too many from one address.
    pub refused_connections: AtomicU64,
    /// Closed by us: nothing moved for too long.
    pub stalled_connections: AtomicU64,
    pub failed_handshakes: AtomicU64,
    /// Answered 503: too many at the same time.
    pub refused_requests: AtomicU64,
    /// Answered 408 or 503 because the time was over.
    pub timed_out_requests: AtomicU64,
    /// Answered 413.
    pub too_large_requests: AtomicU64,
    /// Answered 500. Each is a fault of this program.
    pub panics: AtomicU64,
    /// Certificates taken into use after the start.
    pub certificates_reloaded: AtomicU64,
    pub certificates_refused: AtomicU64,
}

impl Counters {
    pub(super) fn answered(&self, status: axum::http::StatusCode) {
        let class = usize::from(status.as_u16() / 100).wrapping_sub(1);
        if let Some(count) = self.answers.get(class) {
            add(count);
        }
    }

    /// Answers by class: `1xx` to `5xx`.
    pub fn answers(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let classes = ["1xx", "2xx", "3xx", "4xx", "5xx"];
        let counts = self.answers.iter();
        classes
            .into_iter()
            .zip(counts.map(|count| count.load(Ordering::Relaxed)))
    }
}

pub(super) fn add(count: &AtomicU64) {
    count.fetch_add(1, Ordering::Relaxed);
}
