//! From what became of calls to rows of the catalog.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::base::{PerSide, SYSTEM_TENANT, Side, Timestamp};
use crate::catalog::{
    CallQuality, CallRecord, Catalog, Direction, Disposition, FileRecord, Home, LinkRecord,
    ParticipantRecord, PartyRecord,
};
use crate::engine::event::{CallInfo, StreamReport};
use crate::recorder::{
    CallOutcome, RecordingOutcome, attribution_record, call_quality, conversation, vantage_text,
};
use crate::storage::{Layout, QualityRecord, SampleFormat, Sidecar};

/// Rows written together.
const BATCH: usize = 1000;
/// Rows that wait while the catalog is away; what has a recording is found from its sidecar later, the rest is lost, and
/// counted.
const WAITING: usize = 20_000;
/// Between attempts to reach a catalog that is away.
const RETRY: Duration = Duration::from_secs(2);

/// Writes rows on a thread of its own, so that nothing waits for a database.
pub struct Cataloguer {
    rows: SyncSender<Vec<CallRecord>>,
    thread: JoinHandle<()>,
    pub state: Arc<CatalogState>,
}

/// How the catalog is.
#[derive(Debug, Default)]
pub struct CatalogState {
    pub away: AtomicBool,
    pub written: AtomicU64,
    /// Rows that could not be written in time.
    pub dropped: AtomicU64,
}

impl Cataloguer {
    /// Starts the thread; the catalog is opened by it, and again and again while it cannot be.
    pub fn start(home: Arc<Home>) -> std::io::Result<Cataloguer> {
        let (rows, receiver) = sync_channel(WAITING);
        let state = Arc::new(CatalogState::default());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let of_thread = state.clone();
        let run = move || {
            runtime.block_on(
                Writer {
                    home,
                    catalog: None,
                    waiting: Vec::new(),
                    state: of_thread,
                }
                .run(&receiver),
            )
        };
        let thread = std::thread::Builder::new()
            .name("cataloguer".into())
            .spawn(run)?;
        Ok(Cataloguer {
            rows,
            thread,
            state,
        })
    }

    /// Hands rows over; never waits.
    pub fn record(&self, rows: Vec<CallRecord>) {
        self.sender()(rows);
    }

    /// What does the same on another thread.
    pub fn sender(&self) -> impl Fn(Vec<CallRecord>) + Send + 'static {
        let (rows, state) = (self.rows.clone(), self.state.clone());
        move |batch| {
            let count = batch.len() as u64;
            if rows.try_send(batch).is_err() {
                state.dropped.fetch_add(count, Ordering::Relaxed);
            }
        }
    }

    /// Writes what waits, if the catalog is there, and ends. All senders must be gone.
    pub fn finish(self) -> Arc<CatalogState> {
        drop(self.rows);
        // A panic there was reported there.
        let _ = self.thread.join();
        self.state
    }
}

struct Writer {
    home: Arc<Home>,
    catalog: Option<Catalog>,
    waiting: Vec<CallRecord>,
    state: Arc<CatalogState>,
}

impl Writer {
    async fn run(mut self, rows: &Receiver<Vec<CallRecord>>) {
        loop {
            let patience = if self.waiting.is_empty() {
                Duration::from_secs(3600)
            } else {
                RETRY
            };
            match rows.recv_timeout(patience) {
                Ok(batch) => self.take(batch, rows),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            self.write().await;
        }
        self.write().await;
        self.state
            .dropped
            .fetch_add(self.waiting.len() as u64, Ordering::Relaxed);
        if let Some(catalog) = self.catalog {
            catalog.close().await;
        }
    }

    fn take(&mut self, batch: Vec<CallRecord>, rows: &Receiver<Vec<CallRecord>>) {
        self.waiting.extend(batch);
        while self.waiting.len() < BATCH
            && let Ok(more) = rows.try_recv()
        {
            self.waiting.extend(more);
        }
        let excess = self.waiting.len().saturating_sub(WAITING);
        self.state
            .dropped
            .fetch_add(excess as u64, Ordering::Relaxed);
        self.waiting.drain(..excess);
    }

    async fn write(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        match self.try_write().await {
            Ok(()) => {
                if self.state.away.swap(false, Ordering::Relaxed) {
                    tracing::warn!("the catalog takes calls again");
                }
            }
            Err(error) => {
                self.catalog = None;
                if !self.state.away.swap(true, Ordering::Relaxed) {
                    tracing::error!(%error, "the catalog cannot be written: recordings go on, and are entered when it is back");
                }
            }
        }
    }

    async fn try_write(&mut self) -> crate::catalog::Result<()> {
        if self.catalog.is_none() {
            self.catalog = Some(self.home.open().await?);
        }
        let catalog = self.catalog.as_ref().expect("it was opened above");
        while !self.waiting.is_empty() {
            let count = self.waiting.len().min(BATCH);
            catalog.record(&self.waiting[..count]).await?;
            self.waiting.drain(..count);
            self.state
                .written
                .fetch_add(count as u64, Ordering::Relaxed);
        }
        Ok(())
    }
}

/// The rows of a call that is over: one for each tenant that owns it.
pub fn rows_of(outcome: &CallOutcome, sensor: &str, interfaces: &[Arc<str>]) -> Vec<CallRecord> {
    outcome
        .recordings
        .iter()
        .map(|recording| row_of(outcome, recording, sensor, interfaces))
        .collect()
}

fn row_of(
    outcome: &CallOutcome,
    of: &RecordingOutcome,
    sensor: &str,
    interfaces: &[Arc<str>],
) -> CallRecord {
    if let Some((sidecar, path)) = &of.recording {
        let mut row = row_of_sidecar(sidecar, path);
        row.sensor = sensor.to_owned();
        return row;
    }
    let (end, info) = (&outcome.end, &outcome.end.info);
    let owner = info.owners.iter().find(|owner| owner.tenant == of.tenant);
    let start = outcome.start.unwrap_or(info.invite_at);
    let own = PerSide::of(|side| owner.is_some_and(|owner| owner.sides[side]));
    let heard = call_quality(end, None);
    CallRecord {
        id: info.recording_id(of.tenant, start).0,
        tenant: of.tenant,
        tenant_name: owner.map_or_else(String::new, |owner| owner.tenant_name.to_string()),
        interaction: Some(owner.map_or(info.interaction, |owner| owner.interaction)),
        sip_call_id: info.call_id.clone(),
        sensor: sensor.to_owned(),
        vantage: vantage_text(&info.vantage, interfaces),
        started_at: start,
        answered_at: info.answered_at,
        ended_at: Some(end.ended_at),
        end_reason: end.reason.code().to_owned(),
        disposition: Disposition::from(of.disposition.code()),
        parties: PerSide::of(|side| party(info, side, own[side] || of.tenant == SYSTEM_TENANT)),
        direction: Direction::of(&own),
        codec: codecs(&end.streams),
        length_ms: 0,
        packets_lost: heard.lost,
        packets_expected: heard.expected,
        paused_ms: 0,
        file: None,
        attribution: attribution_record(info, of.tenant).reasons,
        participants: conversation::participants(info, of.tenant, Some(end))
            .iter()
            .filter(|participant| participant.own)
            .map(participant_row)
            .collect(),
        links: conversation::links(info, of.tenant)
            .iter()
            .map(link_row)
            .chain(of.kept_leg.iter().map(|call_id| LinkRecord {
                call_id: call_id.clone(),
                reason: "kept_instead".to_owned(),
            }))
            .collect(),
        quality: quality(&heard),
        deleted_at: None,
    }
}

fn participant_row(record: &crate::storage::ParticipantRecord) -> ParticipantRecord {
    ParticipantRecord {
        side: record.side,
        user: record.user.clone(),
        extension: record.extension.clone(),
        number: record.number.clone(),
        display: record.display.clone(),
        from: Some(Timestamp::from_nanos(record.from_ns)),
        to: record.to_ns.map(Timestamp::from_nanos),
    }
}

fn link_row(record: &crate::storage::LinkRecord) -> LinkRecord {
    LinkRecord {
        call_id: record.call_id.clone(),
        reason: record.reason.clone(),
    }
}

/// Sides that are the tenant's own, of a sidecar that does not list who took part.
fn own_parties(sidecar: &Sidecar) -> Vec<ParticipantRecord> {
    [
        (Side::Caller, &sidecar.caller),
        (Side::Callee, &sidecar.callee),
    ]
    .into_iter()
    .filter(|(_, party)| party.own)
    .map(|(side, party)| ParticipantRecord {
        side,
        user: party.user.clone(),
        extension: party.extension.clone(),
        number: party.number.clone(),
        display: party.display.clone(),
        from: None,
        to: None,
    })
    .collect()
}

/// The row that a sidecar stands for: what the catalog is rebuilt from.
pub fn row_of_sidecar(sidecar: &Sidecar, path: &str) -> CallRecord {
    let party = |record: &crate::storage::PartyRecord| PartyRecord {
        number: record.number.clone(),
        normalised: record.extension.clone().unwrap_or_default(),
        display: record.display.clone(),
    };
    let participants = match sidecar.participants.is_empty() {
        true => own_parties(sidecar),
        false => (sidecar.participants.iter())
            .filter(|participant| participant.own)
            .map(participant_row)
            .collect(),
    };
    let mut codecs: Vec<String> = sidecar
        .streams
        .iter()
        .map(|stream| {
            let hidden = stream
                .encrypted
                .as_deref()
                .filter(|_| stream.srtp.is_none());
            codec_text(&stream.codec, hidden)
        })
        .collect();
    codecs.sort_unstable();
    codecs.dedup();
    let heard = sidecar.quality.clone();
    let heard = heard.unwrap_or_else(|| counts_of(sidecar));
    CallRecord {
        id: sidecar.recording_id.0,
        tenant: sidecar.tenant_id,
        tenant_name: sidecar.tenant.clone(),
        interaction: Some(sidecar.interaction_id),
        sip_call_id: sidecar.call_id.clone(),
        sensor: sidecar.sensor.clone(),
        vantage: sidecar.vantage.clone(),
        started_at: Timestamp::from_nanos(sidecar.started_at_ns),
        answered_at: sidecar.answered_at_ns.map(Timestamp::from_nanos),
        ended_at: sidecar.ended_at_ns.map(Timestamp::from_nanos),
        end_reason: sidecar.end_reason.clone().unwrap_or_default(),
        disposition: match sidecar.is_kept_raw() {
            true => Disposition::KeptRaw,
            false => Disposition::Recorded,
        },
        parties: PerSide {
            caller: party(&sidecar.caller),
            callee: party(&sidecar.callee),
        },
        direction: Direction::of(&PerSide {
            caller: sidecar.caller.own,
            callee: sidecar.callee.own,
        }),
        codec: codecs.join(" "),
        length_ms: sidecar.length_ms(),
        packets_lost: heard.lost,
        packets_expected: heard.expected,
        paused_ms: sidecar.paused_ms,
        file: Some(FileRecord {
            path: path.to_owned(),
            size_bytes: sidecar.size_bytes,
            format: format_name(sidecar.format).to_owned(),
            sample_rate_hz: sidecar.sample_rate_hz,
            blake3: None,
        }),
        attribution: sidecar.attribution.reasons.clone(),
        participants,
        links: sidecar.links.iter().map(link_row).collect(),
        quality: quality(&heard),
        deleted_at: None,
    }
}

fn quality(heard: &QualityRecord) -> CallQuality {
    CallQuality {
        mos: heard.mos,
        jitter_ms: heard.jitter_ms,
        round_trip_ms: heard.round_trip_ms,
        mirror_lost: heard.mirror_lost,
        packets_discarded: heard.discarded,
        unheard: heard.unheard,
    }
}

/// Counts of a call whose sidecar says nothing of quality: an earlier version wrote it.
fn counts_of(sidecar: &Sidecar) -> QualityRecord {
    QualityRecord {
        lost: sidecar.streams.iter().map(|stream| stream.lost).sum(),
        expected: sidecar.streams.iter().map(|stream| stream.expected).sum(),
        ..QualityRecord::default()
    }
}

/// Every finished recording of a storage that the catalog does not have, entered; how many there were.
pub async fn enter_missing(catalog: &Catalog, layout: &Layout) -> anyhow::Result<u64> {
    let (known, files) = (
        super::storekeeping::catalogued(catalog).await?,
        super::storekeeping::on_disk(layout),
    );
    let missing: Vec<_> = files
        .into_iter()
        .filter(|file| !known.contains(&(file.name.tenant, file.name.id.0)))
        .collect();
    let mut entered = 0;
    for chunk in missing.chunks(BATCH) {
        let rows: Vec<CallRecord> = chunk.iter().filter_map(|file| file.row().ok()).collect();
        catalog.record(&rows).await?;
        entered += rows.len() as u64;
    }
    Ok(entered)
}

fn format_name(format: SampleFormat) -> &'static str {
    match format {
        SampleFormat::Pcm16 => "pcm16",
        SampleFormat::Alaw => "alaw",
        SampleFormat::Ulaw => "ulaw",
    }
}

/// `known`: whether the tenant may know who the side is in the directory.
fn party(info: &CallInfo, side: Side, known: bool) -> PartyRecord {
    let party = &info.parties[side];
    PartyRecord {
        number: party.number.clone(),
        normalised: party
            .extension
            .as_ref()
            .filter(|_| known)
            .map_or_else(String::new, |text| text.to_string()),
        display: party.display.clone(),
    }
}

/// `PCMU`, or `PCMU (dtls_srtp)` where packets were encrypted and could not be opened: and why.
fn codec_text(codec: &str, encrypted: Option<&str>) -> String {
    encrypted.map_or_else(|| codec.to_owned(), |why| format!("{codec} ({why})"))
}

/// The codecs of a call, each once.
pub fn codecs(streams: &[StreamReport]) -> String {
    let why = |stream: &StreamReport| {
        let hidden = stream.hidden.filter(|_| stream.srtp.is_none())?;
        Some(hidden.why.code())
    };
    let mut names: Vec<String> = streams
        .iter()
        .map(|stream| codec_text(&stream.codec.to_string(), why(stream)))
        .collect();
    names.sort_unstable();
    names.dedup();
    names.join(" ")
}
