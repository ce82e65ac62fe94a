//! What was asked over HTTP.

use std::sync::Arc;

use super::*;
use crate::api::front::Counters;
use crate::daemon::auditing::{FollowerState, WaitingCounters};
use crate::mail::LetterCounters;

/// What the doors counted.
pub fn api(counters: &Counters) -> String {
    let mut page = Page::default();
    let help = "Answers over HTTP.";
    let mut family = page.family("callreel_api_answers_total", "counter", help);
    for (class, answers) in counters.answers() {
        family.value(&[("status", class)], answers);
    }
    page.gauge(
        "callreel_api_open_connections",
        "Connections of HTTP that are open.",
        count(&counters.open_connections),
    );
    for (name, help, counter) in [
        (
            "connections",
            "Connections of HTTP taken.",
            &counters.connections,
        ),
        (
            "refused_connections",
            "Connections closed at once: too many, or too many from one address.",
            &counters.refused_connections,
        ),
        (
            "stalled_connections",
            "Connections closed because nothing moved on them.",
            &counters.stalled_connections,
        ),
        (
            "failed_handshakes",
            "TLS handshakes that failed.",
            &counters.failed_handshakes,
        ),
        (
            "refused_requests",
            "Requests answered 503: too many at the same time.",
            &counters.refused_requests,
        ),
        (
            "timed_out_requests",
            "Requests answered 408 or 503: they took too long.",
            &counters.timed_out_requests,
        ),
        (
            "too_large_requests",
            "Requests answered 413: their body was too large.",
            &counters.too_large_requests,
        ),
        (
            "panics",
            "Requests that met a fault of this program; to be reported.",
            &counters.panics,
        ),
        (
            "certificate_reloads",
            "Times that another certificate was taken into use.",
            &counters.certificates_reloaded,
        ),
        (
            "certificate_refusals",
            "Times that the certificate or key on the disk was not good, and the old pair stayed.",
            &counters.certificates_refused,
        ),
    ] {
        page.counter(&format!("callreel_api_{name}_total"), help, count(counter));
    }
    page.0
}

/// Whether the audit comes to where it is told, and what operators did into the audit.
pub fn audit(followers: &[Arc<FollowerState>], waiting: &WaitingCounters) -> String {
    let mut page = Page::default();
    let told = "Records of the audit that were told.";
    let mut family = page.family("callreel_audit_told_total", "counter", told);
    for one in followers {
        family.value(&[("target", one.name)], count(&one.told));
    }
    let failures = "Failed attempts to tell the audit.";
    let mut family = page.family("callreel_audit_failures_total", "counter", failures);
    for one in followers {
        family.value(&[("target", one.name)], count(&one.failures));
    }
    let behind = "Records of the audit that were not told yet.";
    let mut family = page.family("callreel_audit_behind_records", "gauge", behind);
    for one in followers {
        let behind = one.behind.load(Ordering::Relaxed);
        family.value(&[("target", one.name)], behind.max(0).unsigned_abs());
    }
    page.counter(
        "callreel_audit_gaps_total",
        "How often records of the audit, or the file of its heads, were found missing.",
        followers.iter().map(|one| count(&one.gaps)).sum(),
    );
    page.gauge(
        "callreel_audit_waiting_records",
        "Records of what operators did to recordings that wait for the catalog.",
        count(&waiting.waiting),
    );
    page.counter(
        "callreel_audit_dropped_records_total",
        "Records of what operators did to recordings that are in no audit.",
        count(&waiting.dropped),
    );
    page.0
}

/// What became of letters.
pub fn letters(counters: &LetterCounters) -> String {
    let mut page = Page::default();
    let sent = "Letters that the mail server took.";
    page.counter("callreel_letters_sent_total", sent, count(&counters.sent));
    let lost = "Letters that were given up.";
    page.counter("callreel_letters_lost_total", lost, count(&counters.lost));
    page.0
}
