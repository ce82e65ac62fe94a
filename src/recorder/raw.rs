//! Audio that cannot be decoded here, kept as it came: packets with their places, in a file beside the recording.

use std::collections::HashMap;

use super::places::without_lost;
use super::recording::{Recording, Trouble};
use super::{RecorderCounters, Settings};
use crate::base::{Endpoint, Side, Timestamp};
use crate::codec::PayloadFormat;
use crate::engine::event::{Block, CallInfo, RawHeader};
use crate::storage::{
    Error, Kind, PartFile, RawPacket, RawReader, RawRecord, RawScale, RawState, RawStreamRecord,
    RecordingName, StoredFile,
};

/// Streams listed of one recording; packets of further ones are in the file all the same.
const MAX_STREAMS: usize = 256;

/// No packet of audio is longer: as much as Opus can have (RFC 7587 section 4.2).
const LONGEST_MS: i64 = 120;

/// What is kept raw of one recording.
#[derive(Debug, Default)]
pub struct Raw {
    pub record: RawRecord,
    /// Of the streams in `record`, in their order.
    keys: Vec<(RawKey, PayloadFormat)>,
    /// Records of the block at hand, and how many.
    buffer: Vec<u8>,
    packets: u64,
    /// How far the packets of the block at hand may reach.
    reach: i64,
    /// Streams that the interim sidecars name.
    told: usize,
}

/// What tells the packets of one stream and payload type from others in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RawKey {
    pub side: Side,
    pub source: Endpoint,
    pub destination: Endpoint,
    pub ssrc: u32,
    pub payload_type: u8,
}

impl Raw {
    /// Samples of the longest packet that there may be.
    pub fn longest(sample_rate_hz: u32) -> i64 {
        LONGEST_MS * i64::from(sample_rate_hz) / 1000
    }
}

impl RawKey {
    pub fn of(packet: &RawPacket<'_>) -> RawKey {
        RawKey {
            side: packet.side,
            source: packet.source,
            destination: packet.destination,
            ssrc: packet.ssrc,
            payload_type: packet.payload_type,
        }
    }

    fn record(&self, format: &PayloadFormat, fmtp: Option<&str>, at: u64) -> RawStreamRecord {
        RawStreamRecord {
            side: self.side,
            source: self.source.to_string(),
            destination: self.destination.to_string(),
            ssrc: format!("{:08x}", self.ssrc),
            payload_type: self.payload_type,
            encoding: format.codec.to_string(),
            clock_rate_hz: format.clock_rate_hz,
            fmtp: fmtp.map(str::to_owned),
            packets: 0,
            first: at,
            last: at,
            state: RawState::Kept,
            packets_failed: 0,
            error: None,
        }
    }

    /// Whether `record` is of the stream and payload type of this.
    pub fn is_of(&self, record: &RawStreamRecord) -> bool {
        self.side == record.side
            && self.payload_type == record.payload_type
            && record.ssrc == format!("{:08x}", self.ssrc)
            && record.source == self.source.to_string()
            && record.destination == self.destination.to_string()
    }
}

fn has_raw(block: &Block) -> bool {
    Side::BOTH
        .into_iter()
        .any(|side| !block.headers[side].is_empty())
}

impl Recording {
    /// Takes note of what has to be kept raw of a block, before its pieces are put in order.
    #[inline]
    pub(super) fn gather_raw(&mut self, block: &Block) {
        if has_raw(block) {
            self.encode_raw(block);
        }
    }

    #[cold]
    fn encode_raw(&mut self, block: &Block) {
        let scale = RawScale {
            start: self.start,
            sample_rate_hz: self.sample_rate_hz,
        };
        let longest = i64::from(self.sample_rate_hz) * LONGEST_MS / 1000;
        let raw = self.raw.get_or_insert_default();
        raw.reach = 0;
        for side in Side::BOTH {
            for (piece, format, header) in block.raw(side) {
                let packet = RawPacket {
                    position: piece.position,
                    side,
                    source: header.source,
                    destination: header.destination,
                    ssrc: header.ssrc,
                    payload_type: format.payload_type,
                    sequence: piece.number as u16,
                    timestamp: header.timestamp,
                    marker: header.marker,
                    payload: block.payload(piece),
                };
                if packet.encode(scale, &mut raw.buffer) {
                    raw.packets += 1;
                    raw.reach = raw.reach.max(piece.position + longest);
                    raw.note(&packet, format, header);
                } else {
                    raw.record.packets_dropped += 1;
                }
            }
        }
    }

    /// Writes what was gathered to every file that is open.
    #[inline]
    pub(super) fn write_raw(&mut self, info: &CallInfo, settings: &Settings) -> Trouble {
        match &self.raw {
            Some(raw) if raw.packets > 0 => self.append_raw(info, settings),
            _ => Trouble::default(),
        }
    }

    #[cold]
    fn append_raw(&mut self, info: &CallInfo, settings: &Settings) -> Trouble {
        let mut trouble = Trouble::default();
        let Some(raw) = &mut self.raw else {
            return trouble;
        };
        let (buffer, packets) = (std::mem::take(&mut raw.buffer), raw.packets);
        raw.packets = 0;
        let (listed, reach) = (raw.record.streams.len(), raw.reach);
        let mut kept = false;
        // Of a block in which the call passes to another tenant, the first one gets no packets.
        let owned = |until: Option<i64>| until.is_none_or(|until| reach <= until);
        let outputs = self.outputs.iter_mut().filter(|o| owned(o.until));
        let parts = outputs.filter_map(|o| o.part.as_mut());
        for part in parts {
            if part.raw_bytes() + buffer.len() as u64 > settings.raw_max_bytes {
                continue;
            }
            let appended = part.append_raw(&settings.layout, &buffer);
            kept |= appended.is_ok();
            trouble.note(appended);
        }
        let dropped = if kept { 0 } else { packets };
        raw.record.packets += packets - dropped;
        raw.record.packets_dropped += dropped;
        RecorderCounters::add(&settings.raw.packets_kept, packets - dropped);
        RecorderCounters::add(&settings.raw.packets_dropped, dropped);
        raw.buffer = buffer;
        raw.buffer.clear();
        if listed != raw.told {
            raw.told = listed;
            // Recovery learns from it what the payload types mean.
            let told = self.write_interims(info, settings);
            trouble.note(told);
        }
        trouble
    }

    /// Forgets what was gathered: the storage takes nothing.
    pub(super) fn drop_raw(&mut self) {
        if let Some(raw) = &mut self.raw {
            raw.record.packets_dropped += std::mem::take(&mut raw.packets);
            raw.buffer.clear();
        }
    }

    /// What the sidecar of `part` says of the packets beside it.
    /// `lost`: an earlier file was taken away.
    pub(super) fn raw_record(&self, part: &PartFile, lost: bool) -> Option<RawRecord> {
        let mut record = self.raw.as_ref()?.record.clone();
        if lost {
            let (start, rate_hz) = (self.start, self.sample_rate_hz);
            let known = || Some(record.clone());
            let found = part
                .raw()
                .and_then(|raw| survey(raw.file(), start, rate_hz, known()).ok());
            record = without_lost(record, found.map(|found| found.record));
        }
        if part.raw().is_some() {
            record.file = Some(file_name(&part.name));
            record.size_bytes = part.raw_bytes();
        }
        Some(record)
    }
}

/// The name of the file of packets of a recording, once it is finished.
fn file_name(name: &RecordingName) -> String {
    let path = name.relative(Kind::Raw);
    path.rsplit('/').next().unwrap_or_default().to_owned()
}

impl Raw {
    fn note(&mut self, packet: &RawPacket<'_>, format: &PayloadFormat, header: &RawHeader) {
        let key = RawKey::of(packet);
        let at = packet.position.max(0) as u64;
        let known = self
            .keys
            .iter()
            .rposition(|(known, meaning)| *known == key && meaning == format);
        let place = match known {
            Some(place) => place,
            None if self.keys.len() == MAX_STREAMS => return,
            None => {
                self.keys.push((key, *format));
                let record = key.record(format, header.fmtp.as_deref(), at);
                self.record.streams.push(record);
                self.keys.len() - 1
            }
        };
        if let Some(stream) = self.record.streams.get_mut(place) {
            count(stream, at);
        }
    }
}

fn count(stream: &mut RawStreamRecord, at: u64) {
    stream.packets += 1;
    stream.first = stream.first.min(at);
    stream.last = stream.last.max(at);
}

/// What is in a file of packets that a run left behind. `known` is what its interim sidecar says of it.
pub struct Survey {
    pub record: RawRecord,
    /// To the end of the last whole packet.
    pub whole_bytes: u64,
    /// One past the place of the last packet.
    pub end: u64,
}

impl Survey {
    /// What the sidecar of the recording with `name` says of it.
    pub fn named(self, name: &RecordingName) -> RawRecord {
        RawRecord {
            file: Some(file_name(name)),
            size_bytes: self.whole_bytes,
            ..self.record
        }
    }
}

/// Reads a file of packets from its beginning to the last whole one.
pub fn survey(
    file: &StoredFile,
    start: Timestamp,
    sample_rate_hz: u32,
    known: Option<RawRecord>,
) -> Result<Survey, Error> {
    let scale = RawScale {
        start,
        sample_rate_hz,
    };
    let mut reader = RawReader::of(file, scale)?;
    let mut record = RawRecord {
        packets: 0,
        ..known.unwrap_or_default()
    };
    record.streams.iter_mut().for_each(|stream| {
        (stream.packets, stream.first, stream.last) = (0, u64::MAX, 0);
    });
    let mut places: HashMap<RawKey, usize> = HashMap::new();
    let mut end = 0;
    while let Some(packet) = reader
        .next_packet()
        .map_err(Error::io("read", file.path()))?
    {
        let (key, at) = (RawKey::of(&packet), packet.position.max(0) as u64);
        record.packets += 1;
        end = end.max(at + 1);
        let place = *places.entry(key).or_insert_with(|| {
            let listed = record.streams.iter().position(|stream| key.is_of(stream));
            listed.unwrap_or_else(|| {
                if record.streams.len() < MAX_STREAMS {
                    let format = PayloadFormat::from_static(key.payload_type);
                    record.streams.push(key.record(&format, None, at));
                }
                record.streams.len() - 1
            })
        });
        if let Some(stream) = record.streams.get_mut(place) {
            count(stream, at);
        }
    }
    record.streams.retain(|stream| stream.packets > 0);
    Ok(Survey {
        whole_bytes: reader.whole_bytes(),
        end,
        record,
    })
}
