//! `callreel calls show`: everything that is known of a call.

mod conversation;

use serde::Serialize;
use serde_json::Value;
use uuid::Uuid;

use super::super::output::{self, Table, harmless, print_json};
use super::super::reasons;
use super::super::{Exit, selection::Store};
use super::heard;
use super::ladder::{self, Ladder};
use super::line::CallLine;
use crate::access::Scope;
use crate::base::TenantId;
use crate::catalog::{CallQuery, CallRecord, Catalog};
use crate::directory::Attribution;
use crate::storage::{
    ControlRecord, Kind, Layout, RecordingName, SegmentRecord, Sidecar, StoredFile, StreamRecord,
};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The call's id, as `callreel calls` lists it
    #[arg(value_name = "ID")]
    id: Uuid,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Print the messages of the call as a ladder, with its media and pauses
    #[arg(long)]
    ladder: bool,
    /// Draw the ladder with ASCII only
    #[arg(long, requires = "ladder")]
    ascii: bool,
}

/// A call with what lies beside its recording.
#[derive(Serialize)]
struct Shown {
    #[serde(flatten)]
    call: CallLine,
    participants: Vec<ParticipantLine>,
    /// The tenant's other calls of the same conversation.
    legs: Vec<LegLine>,
    attribution: Value,
    sidecar: Option<Sidecar>,
    /// Why there is no sidecar though there is a recording.
    #[serde(skip_serializing_if = "Option::is_none")]
    sidecar_error: Option<String>,
}

#[derive(Serialize)]
struct ParticipantLine {
    side: crate::base::Side,
    user: Option<String>,
    extension: Option<String>,
    number: String,
    name: String,
    from: Option<String>,
    to: Option<String>,
}

/// Another call of the interaction.
#[derive(Serialize)]
struct LegLine {
    id: Uuid,
    call_id: String,
    started_at: String,
    caller: String,
    callee: String,
    disposition: String,
    /// Why it is one: what the two calls have in common, or `through_another` where each belongs with a third.
    reason: String,
}

pub async fn run(args: &Args, store: &Store, catalog: &Catalog) -> anyhow::Result<Exit> {
    let calls = catalog.call(&Scope::root(), args.id).await?;
    if calls.is_empty() {
        eprintln!("callreel: there is no call {}", args.id);
        return Ok(Exit::Found);
    }
    // A call without a recording can be in the catalog for several tenants.
    let mut all = Vec::new();
    for call in &calls {
        let legs = other_legs(call, catalog).await?;
        all.push(shown(call, legs, &store.layout));
    }
    let shown = all;
    if args.ladder {
        return show_ladder(args, &shown, store);
    }
    if args.json {
        match shown.as_slice() {
            [only] => print_json(only)?,
            several => print_json(&several)?,
        }
        return Ok(Exit::Success);
    }
    let tenants = catalog.tenants(&Scope::root()).await?;
    let names = |id: TenantId| {
        let tenant = tenants.iter().find(|tenant| tenant.id == id)?;
        Some(tenant.name.clone())
    };
    for (at, one) in shown.iter().enumerate() {
        if at > 0 {
            output::print("\n");
        }
        print(one, &names);
    }
    Ok(Exit::Success)
}

/// Other calls listed of one interaction.
const MAX_LEGS: u32 = 100;

async fn other_legs(call: &CallRecord, catalog: &Catalog) -> anyhow::Result<Vec<LegLine>> {
    if call.interaction.is_none() {
        return Ok(Vec::new());
    }
    let query = CallQuery {
        tenant: Some(call.tenant),
        interaction: call.interaction,
        limit: MAX_LEGS,
        ..CallQuery::default()
    };
    let mut others = catalog.calls(&Scope::root(), &query).await?.calls;
    others.retain(|other| other.id != call.id);
    others.sort_by_key(|other| (other.started_at, other.id));
    Ok(others.iter().map(|other| leg_line(call, other)).collect())
}

fn leg_line(call: &CallRecord, other: &CallRecord) -> LegLine {
    // Each may know of the link, or only the one that was not over when it was found.
    let direct = call
        .links
        .iter()
        .find(|link| link.call_id == other.sip_call_id);
    let back = || {
        other
            .links
            .iter()
            .find(|link| link.call_id == call.sip_call_id)
    };
    LegLine {
        id: other.id,
        call_id: other.sip_call_id.clone(),
        started_at: other.started_at.to_string(),
        caller: other.parties.caller.number.clone(),
        callee: other.parties.callee.number.clone(),
        disposition: other.disposition.code().to_owned(),
        reason: direct
            .or_else(back)
            .map_or("through_another", |link| &link.reason)
            .to_owned(),
    }
}

/// The messages of a recorded call. Of a call without a recording none are kept.
fn show_ladder(args: &Args, shown: &[Shown], store: &Store) -> anyhow::Result<Exit> {
    let Some((call, sidecar)) = shown
        .iter()
        .find_map(|one| Some((&one.call, one.sidecar.as_ref()?)))
    else {
        eprintln!(
            "callreel: there is no recording of {}, and nothing beside it",
            args.id
        );
        return Ok(Exit::Found);
    };
    let name = call
        .file
        .as_ref()
        .and_then(|file| file.path.strip_prefix(store.root()).ok())
        .and_then(RecordingName::parse);
    let capture = name
        .filter(|(name, _)| store.layout.path(name, Kind::Signalling).is_file())
        .map(|(name, _)| StoredFile::open(&store.layout, &name, Kind::Signalling))
        .transpose()?;
    if args.json {
        print_json(&Ladder::of(sidecar, capture.as_ref())?)?;
    } else {
        ladder::print(sidecar, capture.as_ref(), args.ascii)?;
    }
    Ok(Exit::Success)
}

fn shown(call: &CallRecord, legs: Vec<LegLine>, layout: &Layout) -> Shown {
    let (sidecar, sidecar_error) = match sidecar(call, layout) {
        Some(Ok(sidecar)) => (Some(sidecar), None),
        Some(Err(error)) => (None, Some(error)),
        None => (None, None),
    };
    let participants = call.participants.iter().map(|participant| ParticipantLine {
        side: participant.side,
        user: participant.user.clone(),
        extension: participant.extension.clone(),
        number: participant.number.clone(),
        name: participant.display.clone(),
        from: participant.from.map(|at| at.to_string()),
        to: participant.to.map(|at| at.to_string()),
    });
    Shown {
        call: CallLine::new(call, layout.root()),
        participants: participants.collect(),
        legs,
        attribution: call.attribution.clone(),
        sidecar,
        sidecar_error,
    }
}

fn sidecar(call: &CallRecord, layout: &Layout) -> Option<Result<Sidecar, String>> {
    let file = call.file.as_ref()?;
    // A path that is not a recording's own is not followed.
    let Some(name) = RecordingName::of_call(call.tenant, call.id, &file.path) else {
        return Some(Err("the path in the catalog is no recording's".into()));
    };
    Some(Sidecar::load(layout, &name, Kind::Sidecar).map_err(|error| error.to_string()))
}

fn print(shown: &Shown, names: &reasons::Names<'_>) {
    print_facts(&shown.call, shown.sidecar.as_ref());
    print_parties(shown);
    conversation::print_participants(shown);
    conversation::print_legs(&shown.legs);
    if let Some(sidecar) = &shown.sidecar {
        conversation::print_suspicions(&sidecar.suspicious);
        print_streams(&sidecar.streams);
        print_encryption(&sidecar.streams);
        heard::print(sidecar);
        print_segments(sidecar);
        print_digits(sidecar);
        print_control(&sidecar.control);
    }
    if let Some(error) = &shown.sidecar_error {
        output::print(&format!("\nsidecar: {}\n", harmless(error)));
    }
    if shown.sidecar.is_none()
        && let Some(control) = shown.attribution.get("control")
        && let Ok(control) = serde_json::from_value::<Vec<ControlRecord>>(control.clone())
    {
        print_control(&control);
    }
    print_policy(&shown.attribution);
    if let Ok(attribution) = serde_json::from_value::<Attribution>(shown.attribution.clone()) {
        output::print("\nattribution\n");
        reasons::print(&attribution, names);
    }
}

fn print_facts(call: &CallLine, sidecar: Option<&Sidecar>) {
    let mut facts = vec![
        ("call", call.id.to_string()),
        ("tenant", format!("{} ({})", call.tenant, call.tenant_id)),
        ("started", call.started_at.clone()),
        (
            "answered",
            call.answered_at.clone().unwrap_or_else(|| "-".into()),
        ),
        ("ended", call.ended_at.clone().unwrap_or_else(|| "-".into())),
        ("end reason", call.end_reason.clone()),
        ("disposition", call.disposition.clone()),
        ("length", format!("{:.3} s", call.length_s)),
        ("codec", call.codec.clone()),
        ("paused", format!("{:.3} s", call.paused_s)),
        (
            "loss",
            format!("{} of {} packets", call.packets_lost, call.packets_expected),
        ),
        ("seen by", format!("{}, {}", call.sensor, call.vantage)),
        ("Call-ID", call.call_id.clone()),
        (
            "interaction",
            call.interaction_id
                .map_or_else(|| "-".into(), |id| id.to_string()),
        ),
    ];
    match &call.file {
        Some(file) => facts.extend([
            ("file", file.path.display().to_string()),
            (
                "audio",
                format!(
                    "{}, {} Hz, {} bytes",
                    file.format, file.sample_rate_hz, file.size_bytes
                ),
            ),
        ]),
        None => facts.push(("file", "none".into())),
    }
    if sidecar.is_some_and(|sidecar| sidecar.encrypted_at_rest) {
        facts.push((
            "at rest",
            "encrypted: `callreel calls fetch` writes it as it was".into(),
        ));
    }
    for (name, value) in facts {
        let value = if value.is_empty() { "-" } else { &value };
        output::print(&format!("{name:12} {}\n", harmless(value)));
    }
}

fn print_parties(shown: &Shown) {
    output::print("\n");
    let mut table = Table::new(&["SIDE", "NUMBER", "HOST", "NAME", "EXTENSION", "USER", "OWN"]);
    let of_sidecar = |side: fn(&Sidecar) -> &crate::storage::PartyRecord| {
        let party = shown.sidecar.as_ref().map(side);
        party.map_or_else(|| "-".into(), |party| party.host.clone())
    };
    let sides = [
        (
            "caller",
            &shown.call.caller,
            of_sidecar(|sidecar| &sidecar.caller),
        ),
        (
            "callee",
            &shown.call.callee,
            of_sidecar(|sidecar| &sidecar.callee),
        ),
    ];
    let dash = |text: Option<&String>| text.map_or("-", |text| text).to_owned();
    for (side, party, host) in sides {
        table.row(vec![
            side.into(),
            party.number.clone(),
            host,
            party.name.clone(),
            dash(party.extension.as_ref()),
            dash(party.user.as_ref()),
            if party.own { "yes" } else { "no" }.into(),
        ]);
    }
    table.print();
}

fn print_streams(streams: &[StreamRecord]) {
    if streams.is_empty() {
        return;
    }
    output::print("\n");
    let mut table = Table::new(&[
        "STREAM OF",
        "SOURCE",
        "DESTINATION",
        "SSRC",
        "CODEC",
        "PACKETS",
        "LOST",
        "LATE",
        "TWICE",
        "JITTER",
        "DRIFT",
    ]);
    for stream in streams {
        table.row(vec![
            stream.side.to_string(),
            stream.source.clone(),
            stream.destination.clone(),
            stream.ssrc.clone(),
            stream.codec.clone(),
            stream.packets.to_string(),
            stream.lost.to_string(),
            stream.late.to_string(),
            stream.duplicates.to_string(),
            format!("{:.1} ms", stream.jitter_ms),
            format!("{:.1} ms", stream.drift_ms),
        ]);
    }
    table.print();
}

/// Streams that were encrypted: by what, or why they are not heard.
fn print_encryption(streams: &[StreamRecord]) {
    let told = |stream: &&StreamRecord| {
        stream.srtp.is_some() || stream.encrypted.is_some() || stream.auth_failed > 0
    };
    if !streams.iter().any(|stream| told(&stream)) {
        return;
    }
    output::print("\n");
    let mut table = Table::new(&["SRTP OF", "SSRC", "SUITE", "NOT OPENED", "WRONG TAGS"]);
    let dash = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".into());
    for stream in streams.iter().filter(told) {
        table.row(vec![
            stream.side.to_string(),
            stream.ssrc.clone(),
            dash(&stream.srtp),
            dash(&stream.encrypted),
            stream.auth_failed.to_string(),
        ]);
    }
    table.print();
}

fn print_segments(sidecar: &Sidecar) {
    if sidecar.segments.is_empty() {
        return;
    }
    output::print("\n");
    let rate = f64::from(sidecar.sample_rate_hz.max(1));
    let seconds = |samples: u64| format!("{:.3} s", samples as f64 / rate);
    let mut table = Table::new(&["SEGMENT OF", "FROM", "TO", "LENGTH", "CAUSE"]);
    for SegmentRecord {
        side,
        from,
        to,
        cause,
        ..
    } in &sidecar.segments
    {
        let cause = serde_json::to_value(cause).unwrap_or_default();
        table.row(vec![
            side.to_string(),
            seconds(*from),
            seconds(*to),
            seconds(to.saturating_sub(*from)),
            cause.as_str().unwrap_or_default().to_owned(),
        ]);
    }
    table.print();
    if sidecar.segments_omitted > 0 {
        output::print(&format!("and {} more\n", sidecar.segments_omitted));
    }
}

/// What was asked about the recording.
fn print_control(control: &[ControlRecord]) {
    if control.is_empty() {
        return;
    }
    output::print("\n");
    let mut table = Table::new(&["ASKED", "AT", "BY", "SIDE", "WHO", "WHY"]);
    for asked in control {
        table.row(vec![
            asked.action.clone(),
            asked.at.clone(),
            asked.by.clone(),
            asked
                .side
                .map_or_else(|| "-".into(), |side| side.to_string()),
            asked.who.clone(),
            asked.why.clone(),
        ]);
    }
    table.print();
}

/// Which policy decided.
fn print_policy(attribution: &Value) {
    let text = |key: &str| attribution.get("policy")?.get(key)?.as_str();
    if let (Some(policy), Some(of)) = (text("policy"), text("of")) {
        let line = format!("\npolicy: {policy}, that of the {of}\n");
        output::print(&line.replace("that of the extension", "that of extension"));
    }
}

fn print_digits(sidecar: &Sidecar) {
    if sidecar.digits.is_empty() {
        return;
    }
    output::print("\n");
    let mut table = Table::new(&["KEY OF", "AT", "KEY"]);
    for digit in &sidecar.digits {
        table.row(vec![
            digit.side.to_string(),
            digit.at.clone(),
            digit.key.to_string(),
        ]);
    }
    table.print();
}
