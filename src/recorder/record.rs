//! What a sidecar says, from what the engine and the timeline know.

use std::sync::Arc;

use super::conversation;
use super::encrypted;
use super::pauses;
use super::segments::Spans;
use super::track::Track;
use crate::base::{PerSide, SYSTEM_TENANT, Side, TenantId, Timestamp, Vantage};
use crate::directory::Digits;
use crate::engine::event::{CallEnd, CallInfo, Party, StreamReport, Transfer};
use crate::rtp::samples_between;
use crate::storage::{
    AttributionRecord, Cause, DigitRecord, Error, Kind, Layout, PartFile, PartyRecord,
    RecordingName, SIDECAR_VERSION, SegmentRecord, Sidecar, StreamRecord, TransferRecord,
    WavFormat, write_fresh_sidecar,
};

/// What is the same for all files of a recording.
#[derive(Clone, Debug)]
pub struct Facts {
    pub start: Timestamp,
    pub format: WavFormat,
    pub sensor: Arc<str>,
    pub interfaces: Arc<[Arc<str>]>,
}

/// What is listed in place of a key: none of a telephone has this name.
const MASKED_KEY: char = 'x';

/// The sidecar of one tenant's file: while the call lasts (`end` is `None`), or of the whole call. Segments are added by
/// [`describe_timeline`].
pub fn sidecar(
    facts: &Facts,
    info: &CallInfo,
    tenant: TenantId,
    part: &PartFile,
    end: Option<&CallEnd>,
) -> Sidecar {
    let name = &part.name;
    let owner = info.owners.iter().find(|owner| owner.tenant == tenant);
    let own = |side: Side| owner.is_some_and(|owner| owner.sides[side]);
    let samples = end.map_or(0, |end| end.length_samples);
    let masked = owner.is_none_or(|owner| owner.recording.digits == Digits::Mask);
    let audio = name.relative(Kind::Audio);
    Sidecar {
        version: SIDECAR_VERSION,
        recording_id: name.id,
        tenant_id: tenant,
        tenant: owner.map_or_else(String::new, |owner| owner.tenant_name.to_string()),
        interaction_id: owner.map_or(info.interaction, |owner| owner.interaction),
        sensor: facts.sensor.to_string(),
        vantage: vantage_text(&info.vantage, &facts.interfaces),
        call_id: info.call_id.clone(),
        invite_at: info.invite_at.to_string(),
        invite_at_ns: info.invite_at.as_nanos(),
        answered_at: info.answered_at.map(|at| at.to_string()),
        answered_at_ns: info.answered_at.map(Timestamp::as_nanos),
        started_at: facts.start.to_string(),
        started_at_ns: facts.start.as_nanos(),
        ended_at: end.map(|end| end.ended_at.to_string()),
        ended_at_ns: end.map(|end| end.ended_at.as_nanos()),
        end_reason: end.map(|end| end.reason.code().to_owned()),
        replaces: info.replaces.clone(),
        transfers: info.transfers.iter().map(transfer_record).collect(),
        caller: party(&info.parties.caller, own(Side::Caller), tenant),
        callee: party(&info.parties.callee, own(Side::Callee), tenant),
        attribution: attribution(info, tenant),
        audio: audio.rsplit('/').next().unwrap_or_default().to_owned(),
        format: facts.format.sample_format,
        sample_rate_hz: facts.format.sample_rate_hz,
        channels: WavFormat::CHANNELS,
        samples,
        size_bytes: facts.format.offset_of(samples),
        segments: Vec::new(),
        segments_omitted: 0,
        streams: end.map_or_else(Vec::new, |end| {
            end.streams
                .iter()
                .map(|stream| stream_record(stream, facts.format.sample_rate_hz))
                .collect()
        }),
        digits: end.map_or_else(Vec::new, |end| {
            let record = |digit: &crate::engine::event::Digit| DigitRecord {
                side: digit.by,
                at: digit.at.to_string(),
                key: if masked { MASKED_KEY } else { digit.key },
            };
            end.digits.iter().map(record).collect()
        }),
        packets_dropped: 0,
        raw: None,
        links: conversation::links(info, tenant),
        participants: conversation::participants(info, tenant, end),
        suspicious: end.map_or_else(Vec::new, |end| conversation::suspicions(&end.suspicious)),
        control: pauses::control_records(info, tenant),
        paused_ms: 0,
        digits_masked: masked,
        pending: owner
            .and_then(|owner| owner.pending)
            .map(|reason| reason.code().to_owned()),
        signalling: None,
        encrypted_at_rest: part.is_encrypted(),
        quality: None,
        levels: PerSide::default(),
    }
}

fn transfer_record(transfer: &Transfer) -> TransferRecord {
    TransferRecord {
        by: transfer.by,
        at: transfer.at.to_string(),
        to: transfer.to.clone(),
        replaces: transfer.replaces.clone(),
        status: transfer.status,
    }
}

/// Why the call is whose it is, as far as `tenant` may know.
pub fn attribution(info: &CallInfo, tenant: TenantId) -> AttributionRecord {
    AttributionRecord {
        verdict: info.attribution.verdict.name().to_owned(),
        reasons: reasons(info, tenant),
    }
}

/// The directory's reasons, and beside them which policy decided, and what was asked about the recording.
fn reasons(info: &CallInfo, tenant: TenantId) -> serde_json::Value {
    let mut reasons = serde_json::to_value(info.attribution.seen_by(tenant)).unwrap_or_default();
    let Some(object) = reasons.as_object_mut() else {
        return reasons;
    };
    let owner = info.owners.iter().find(|owner| owner.tenant == tenant);
    if let Some(decision) = owner.and_then(|owner| owner.decision.as_ref()) {
        let extension = decision.extension.as_ref();
        let decided_by = extension.map_or_else(
            || "tenant".to_owned(),
            |(side, extension)| match &decision.user {
                Some(user) => format!("user {user}, extension {extension} of the {side}"),
                None => format!("extension {extension} of the {side}"),
            },
        );
        object.insert(
            "policy".into(),
            serde_json::json!({ "policy": decision.policy.text(), "of": decided_by }),
        );
    }
    let control = pauses::control_records(info, tenant);
    if !control.is_empty() {
        let control = serde_json::to_value(control).unwrap_or_default();
        object.insert("control".into(), control);
    }
    reasons
}

/// `span0`, `span0 vlan 10.20`, or `span0 vlan 10 tunnel erspan:7/vxlan:5001`.
pub fn vantage_text(vantage: &Vantage, interfaces: &[Arc<str>]) -> String {
    let mut text = match interfaces.get(usize::from(vantage.interface)) {
        Some(name) if !name.is_empty() => name.to_string(),
        _ => format!("interface {}", vantage.interface),
    };
    let vlans: Vec<String> = vantage
        .vlans
        .iter()
        .filter(|&&vlan| vlan != 0)
        .map(u16::to_string)
        .collect();
    if !vlans.is_empty() {
        text += &format!(" vlan {}", vlans.join("."));
    }
    if !vantage.tunnels.is_none() {
        text += &format!(" tunnel {}", vantage.tunnels);
    }
    text
}

/// A side as signalling names it; who it is in the directory only where that is the tenant's own (invariant I4).
fn party(party: &Party, own: bool, tenant: TenantId) -> PartyRecord {
    let known = own || tenant == SYSTEM_TENANT;
    let text =
        |text: &Option<Arc<str>>| text.as_ref().filter(|_| known).map(|text| text.to_string());
    PartyRecord {
        number: party.number.clone(),
        host: party.host.clone(),
        display: party.display.clone(),
        extension: text(&party.extension),
        user: text(&party.user),
        own,
    }
}

fn stream_record(stream: &StreamReport, sample_rate_hz: u32) -> StreamRecord {
    let rounded = |ms: f64| (ms * 1000.0).round() / 1000.0;
    StreamRecord {
        side: stream.side,
        source: stream.flow.source.to_string(),
        destination: stream.flow.destination.to_string(),
        ssrc: format!("{:08x}", stream.ssrc),
        codec: stream.codec.to_string(),
        first_at: stream.first_at.to_string(),
        last_at: stream.last_at.to_string(),
        packets: stream.packets,
        bytes: stream.bytes,
        expected: stream.expected,
        lost: stream.lost,
        duplicates: stream.duplicates,
        late: stream.late,
        not_placed: stream.not_placed,
        restarts: stream.restarts,
        jitter_ms: rounded(stream.jitter.as_secs_f64() * 1000.0),
        drift_ms: rounded(stream.drift_samples as f64 * 1000.0 / f64::from(sample_rate_hz)),
        srtp: stream.srtp.map(|suite| suite.name().to_owned()),
        encrypted: stream.hidden.map(|hidden| hidden.why.code().to_owned()),
        auth_failed: stream.auth_failed,
        paused: stream.paused,
        clock_rate_hz: stream.other_clock.map(|other| other.clock_hz),
        said_clock_rate_hz: stream.other_clock.map(|other| other.said_hz),
        quality: Some(super::quality::stream_quality(stream)),
    }
}

/// Adds the segments: silence by its causes, holds by who held.
pub fn describe_timeline(
    sidecar: &mut Sidecar,
    tracks: &PerSide<Track>,
    outages: &Spans,
    end: &CallEnd,
    facts: &Facts,
) {
    let mut segments: Vec<SegmentRecord> = Vec::new();
    for (side, track) in tracks.iter() {
        segments.extend(track.spans.records(side));
        segments.extend(outages.records(side));
        sidecar.segments_omitted += track.spans.omitted();
    }
    let rate = facts.format.sample_rate_hz;
    let place = |at: Timestamp| {
        samples_between(facts.start, at, rate).clamp(0, end.length_samples as i64) as u64
    };
    for stream in &end.streams {
        if let Some(hidden) = stream.hidden {
            let span = place(hidden.from)..place(hidden.to);
            segments = encrypted::mark(segments, stream.side, span);
        }
    }
    segments.extend(
        end.holds
            .iter()
            .map(|hold| SegmentRecord::new(hold.by, place(hold.from), place(hold.to), Cause::Hold)),
    );
    segments.retain(|segment| segment.from < segment.to);
    segments.sort_by_key(|segment| (segment.from, segment.side));
    sidecar.segments = segments;
}

/// Says from where on the file is silent because the call was another tenant's; what was heard there is not told.
pub fn withhold(sidecar: &mut Sidecar, until: Option<i64>, length_samples: u64) {
    let Some(until) = until.map(|until| (until.max(0) as u64).min(length_samples)) else {
        return;
    };
    for segment in &mut sidecar.segments {
        segment.to = segment.to.min(until);
    }
    sidecar.segments.retain(|segment| segment.from < segment.to);
    for side in Side::BOTH {
        let not_owned = SegmentRecord::new(side, until, length_samples, Cause::NotOwned);
        sidecar.segments.push(not_owned);
    }
    let start = Timestamp::from_nanos(sidecar.started_at_ns);
    let rate = u64::from(sidecar.sample_rate_hz.max(1));
    let seconds = std::time::Duration::from_secs(until / rate);
    let rest = std::time::Duration::from_nanos(until % rate * 1_000_000_000 / rate);
    let end = (start + seconds + rest).to_string();
    sidecar.digits.retain(|digit| digit.at < end);
    sidecar.transfers.retain(|transfer| transfer.at < end);
    sidecar.streams.retain(|stream| stream.first_at < end);
}

/// Writes what is known of a call while it lasts. Not synced: it only helps recovery, which does without it too.
pub fn write_interim(
    layout: &Layout,
    name: &RecordingName,
    sidecar: &Sidecar,
) -> Result<(), Error> {
    let path = layout.path(name, Kind::SidecarPart);
    let bytes = sidecar.to_bytes();
    let fresh = write_fresh_sidecar(layout, name, &bytes, sidecar.encrypted_at_rest)?;
    std::fs::rename(fresh.path(), &path).map_err(Error::io("rename", fresh.path()))
}

/// Takes away the unfinished files of a tenant whose call it turned out not to be.
pub fn remove(layout: &Layout, name: &RecordingName) {
    for kind in [
        Kind::AudioPart,
        Kind::AudioHeld,
        Kind::SidecarPart,
        Kind::RawPart,
    ] {
        // What cannot be removed is found by the next start's recovery.
        let _ = std::fs::remove_file(layout.path(name, kind));
    }
}
