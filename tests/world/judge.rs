//! What must hold of every recording, whatever the network did: the invariants of a world.

use callreel::base::{Side, Timestamp};
use callreel::simulate::{Disposition, Score, TruthCall, TruthSide, score};
use callreel::storage::{Cause, Sidecar, StreamRecord};
use serde_json::Value;

use super::{Recording, World};

/// What was found wrong, all of it: one failing call alone says little.
#[derive(Default)]
struct Faults(Vec<String>);

impl Faults {
    fn check(&mut self, holds: bool, of: &str, fault: impl FnOnce() -> String) {
        if !holds {
            self.0.push(format!("{of}: {}", fault()));
        }
    }

    fn equal<T: PartialEq + std::fmt::Debug>(&mut self, of: &str, what: &str, is: T, due: T) {
        self.check(is == due, of, || format!("{what} is {is:?}, not {due:?}"));
    }
}

/// RTP packets that reached the wire, second copies included.
pub fn arrived(side: &TruthSide) -> u64 {
    side.packets_sent - side.packets_dropped + side.duplicates
}

impl World {
    /// Fails unless all that must hold of any world holds of this one.
    pub fn assert_sound(&self) {
        let mut faults = Faults::default();
        self.check_summary(&mut faults);
        for call in &self.truth.calls {
            self.check_line(call, &mut faults);
            let recording = self.recording(call);
            let is_due = call.disposition == Disposition::Recorded;
            let of = &call.sip_call_id;
            faults.equal(of, "whether it is recorded", recording.is_some(), is_due);
            if let Some(recording) = recording {
                check_ownership(call, recording, &mut faults);
                check_length(call, &recording.sidecar, self.slack_ms(), &mut faults);
                check_events(call, &recording.sidecar, self.slack_ms(), &mut faults);
                if recording.sidecar.format == callreel::storage::SampleFormat::Pcm16 {
                    check_audio(call, recording, &mut faults);
                }
                check_sums(call, &recording.sidecar, &mut faults);
            }
        }
        let count = faults.0.len();
        assert_eq!(count, 0, "{count} faults:\n{}", faults.0.join("\n"));
    }

    /// As [`World::assert_sound`], and every recording is what was sent, sample for sample, in its place.
    pub fn assert_exact(&self) {
        self.assert_sound();
        assert!(!self.recordings.is_empty());
        for (call, score) in self.scores() {
            assert!(score.is_perfect(1), "{}: {score:#?}", call.sip_call_id);
        }
    }

    /// Every recorded call with its score.
    pub fn scores(&self) -> Vec<(&TruthCall, Score)> {
        let calls = self.truth.calls.iter();
        calls
            .filter_map(|call| Some((call, judge(call, self.recording(call)?))))
            .collect()
    }

    /// A message over TCP is whole when its last segment came, up to a millisecond after its beginning was sent.
    fn slack_ms(&self) -> i64 {
        i64::from(self.scenario.features.tcp > 0)
    }

    /// What was sent is what the summary counts.
    fn check_summary(&self, faults: &mut Faults) {
        let summary = &self.report["summary"];
        let counted = |name: &str| summary[name].as_u64();
        let calls = &self.truth.calls;
        let sides = || {
            calls
                .iter()
                .flat_map(|call| call.sides.iter())
                .map(|(_, side)| side)
        };
        let recorded = calls
            .iter()
            .filter(|call| call.disposition == Disposition::Recorded)
            .count() as u64;
        for (name, due) in [
            ("packets", self.truth.frames),
            ("rtp_packets", sides().map(arrived).sum()),
            ("rtp_duplicates", sides().map(|side| side.duplicates).sum()),
            ("calls", calls.len() as u64),
            ("recordings", recorded),
            ("rtp_unclaimed", 0),
            ("sip_malformed", 0),
            ("out_of_order", 0),
            ("bytes_skipped", 0),
            ("calls_refused", 0),
            ("recordings_failed", 0),
            ("packets_not_stored", 0),
        ] {
            faults.equal("summary", name, counted(name), Some(due));
        }
        let not_placed = self.recordings.iter().flat_map(|r| &r.sidecar.streams);
        let not_placed: u64 = not_placed.map(|stream| stream.not_placed).sum();
        faults.equal(
            "summary",
            "rtp_not_placed",
            counted("rtp_not_placed"),
            Some(not_placed),
        );
    }

    /// The call's line in the report.
    fn check_line(&self, call: &TruthCall, faults: &mut Faults) {
        let of = &call.sip_call_id;
        let calls = self.report["calls"].as_array().unwrap();
        let own: Vec<&Value> = calls
            .iter()
            .filter(|line| line["call_id"] == **of)
            .collect();
        let [line] = own[..] else {
            return faults.check(false, of, || format!("{} lines in the report", own.len()));
        };
        let text = |name: &str| line[name].as_str().unwrap_or("nothing");
        let (disposition, status) = match call.disposition {
            Disposition::Recorded => ("recorded", None),
            Disposition::NoMedia => ("no_media", None),
            Disposition::Cancelled => ("not_answered", None),
            Disposition::Rejected(status) => ("not_answered", Some(u64::from(status))),
        };
        let end_reason = match call.disposition {
            Disposition::Cancelled => "cancelled",
            Disposition::Rejected(_) => "rejected",
            _ if call.has_bye => "bye_",
            _ => "end_of_capture",
        };
        let users: Vec<&str> = call
            .users
            .iter()
            .filter_map(|(_, user)| user.as_deref())
            .collect();
        let named: Vec<&str> = line["users"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(Value::as_str)
            .collect();
        faults.equal(of, "disposition", text("disposition"), disposition);
        faults.check(text("end_reason").starts_with(end_reason), of, || {
            format!("end reason is {}, not {end_reason}", text("end_reason"))
        });
        faults.equal(of, "status", line["status"].as_u64(), status);
        faults.equal(of, "caller", text("caller"), &call.caller);
        faults.equal(of, "callee", text("callee"), &call.callee);
        faults.equal(of, "tenant", text("tenant_id"), &call.tenant.to_string());
        faults.equal(of, "users", named, users);
        faults.equal(
            of,
            "answered",
            line["answered_at"].is_string(),
            call.answered_ns.is_some(),
        );
    }
}

/// The score of a 16-bit recording.
pub fn judge(call: &TruthCall, recording: &Recording) -> Score {
    let (samples, sidecar) = (recording.samples(), &recording.sidecar);
    let start = Timestamp::from_nanos(sidecar.started_at_ns);
    score(
        &samples.caller,
        &samples.callee,
        sidecar.sample_rate_hz,
        start,
        call,
    )
}

/// It lies in the right partition, and names the right people.
fn check_ownership(call: &TruthCall, recording: &Recording, faults: &mut Faults) {
    let (of, sidecar) = (&call.sip_call_id, &recording.sidecar);
    let partition = recording.relative.split('/').next().unwrap_or_default();
    faults.equal(of, "partition", partition, &call.tenant.to_string());
    faults.equal(of, "tenant", sidecar.tenant_id, call.tenant);
    for (side, party, number) in [
        (Side::Caller, &sidecar.caller, &call.caller),
        (Side::Callee, &sidecar.callee, &call.callee),
    ] {
        let user = &call.users[side];
        faults.equal(of, "number", &party.number, number);
        faults.equal(of, "user", &party.user, user);
        faults.equal(of, "own", party.own, !number.starts_with('+'));
    }
}

/// The file is as long as the call: to the BYE where there was one, else to the last media.
fn check_length(call: &TruthCall, sidecar: &Sidecar, slack_ms: i64, faults: &mut Faults) {
    let rate = i64::from(sidecar.sample_rate_hz);
    let end = match call.has_bye {
        true => call.ended_ns,
        false => call.last_media().map_or(0, Timestamp::as_nanos),
    };
    let due = (end - sidecar.started_at_ns) * rate / 1_000_000_000;
    // Without a BYE the end is where the last packet was placed, which may be off by the jitter of its stream's first.
    let tolerance = match call.has_bye {
        true => 1 + slack_ms * rate / 1000,
        false => rate / 50,
    };
    let of = &call.sip_call_id;
    faults.check(
        (sidecar.samples as i64 - due).abs() <= tolerance,
        of,
        || format!("{} samples long, not {due}", sidecar.samples),
    );
}

/// Holds and digits are in the sidecar as they happened.
fn check_events(call: &TruthCall, sidecar: &Sidecar, slack_ms: i64, faults: &mut Faults) {
    let of = &call.sip_call_id;
    let rate = i64::from(sidecar.sample_rate_hz);
    let place = |ns: i64| ((ns - sidecar.started_at_ns) * rate).div_euclid(1_000_000_000) as u64;
    let is_at = |is: u64, ns: i64| is.abs_diff(place(ns)) as i64 <= slack_ms * rate / 1000;
    let held = || sidecar.segments.iter().filter(|s| s.cause == Cause::Hold);
    faults.equal(of, "number of holds", held().count(), call.holds.len());
    for (held, hold) in held().zip(&call.holds) {
        faults.equal(of, "who holds", held.side, hold.by);
        let is_in_place = is_at(held.from, hold.from_ns) && is_at(held.to, hold.to_ns);
        faults.check(is_in_place, of, || format!("the hold is not at {held:?}"));
    }
    for (side, sent) in call.sides.iter() {
        let keys: String = sidecar
            .digits
            .iter()
            .filter(|d| d.side == side)
            .map(|d| d.key)
            .collect();
        let sent_keys: String = sent
            .digits
            .iter()
            .map(|d| char::from(b"0123456789*#"[usize::from(d.event)]))
            .collect();
        // A key of which every packet was lost was not heard.
        if sent.packets_dropped == 0 {
            faults.equal(of, "digits", keys, sent_keys);
        } else {
            faults.check(keys.len() <= sent_keys.len(), of, || {
                format!("digits {keys} of {sent_keys}")
            });
        }
    }
}

/// Nothing that was not sent is heard; what was sent is heard, or counted as not placed; the sides keep together.
fn check_audio(call: &TruthCall, recording: &Recording, faults: &mut Faults) {
    let (of, score) = (&call.sip_call_id, judge(call, recording));
    let rate = u64::from(recording.sidecar.sample_rate_hz);
    for (side, found) in score.sides.iter() {
        let tell = || format!("{side} {found:?}");
        faults.check(found.wrong == 0, of, || {
            format!("wrong samples: {}", tell())
        });
        faults.check(found.extra == 0, of, || {
            format!("too many samples: {}", tell())
        });
        let own = recording
            .sidecar
            .streams
            .iter()
            .filter(|stream| stream.side == side);
        let not_placed: u64 = own.map(|stream| stream.not_placed).sum();
        // A packet of 60 ms is the longest there is.
        let excused = not_placed * rate * 60 / 1000;
        faults.check(found.missing <= excused, of, || {
            format!(
                "missing samples, {not_placed} packets not placed: {}",
                tell()
            )
        });
        if found.resampled > 0 {
            faults.check(found.correlation_min > Some(0.9), of, || {
                format!("unlike: {}", tell())
            });
        }
    }
    if let Some(skew) = score.skew_samples() {
        faults.check(skew <= rate / 50, of, || {
            format!("sides are {skew} samples apart: {score:?}")
        });
    }
}

/// Sent is recorded, lost, repeated or not placed: packet by packet.
fn check_sums(call: &TruthCall, sidecar: &Sidecar, faults: &mut Faults) {
    let of = &call.sip_call_id;
    faults.equal(of, "packets dropped", sidecar.packets_dropped, 0);
    for (side, sent) in call.sides.iter() {
        let own = || sidecar.streams.iter().filter(|stream| stream.side == side);
        let sum = |count: fn(&StreamRecord) -> u64| own().map(count).sum::<u64>();
        faults.equal(
            of,
            "packets seen",
            sum(|s| s.packets + s.duplicates),
            arrived(sent),
        );
        faults.equal(of, "duplicates", sum(|s| s.duplicates), sent.duplicates);
        faults.equal(
            of,
            "packets expected",
            sum(|s| s.expected),
            sum(|s| s.packets + s.lost),
        );
        // What was lost before the first or after the last packet of a stream leaves no gap in its numbers.
        let unseen = sent.packets_dropped.checked_sub(sum(|s| s.lost));
        faults.check(unseen.is_some(), of, || {
            format!("{side}: more lost than were dropped")
        });
        if sent.packets_dropped == 0 {
            faults.equal(of, "packets lost", sum(|s| s.lost), 0);
        }
        for stream in own() {
            faults.equal(of, "source", &stream.source, &sent.media_from);
        }
    }
}
