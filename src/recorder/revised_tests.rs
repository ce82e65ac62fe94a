//! What a decoder was wrong about at first.

use std::path::Path;
use std::sync::Arc;

use smallvec::smallvec;

use super::tests::{block, events, frames, info, only_recording, record, settings};
use crate::base::{SYSTEM_TENANT, Side};
use crate::codec::g726_testing::{encoded_at_32, speech};
use crate::codec::{Codec, Packing, PayloadFormat};
use crate::engine::event::{Block, Event, Piece};
use crate::storage::LevelRecord;

/// Packets of the call.
const PACKETS: u32 = 150;
/// The first packet that there is.
const FIRST: u32 = 12;
/// Packets before this one lie a sample earlier: the sender's clock drifts.
const MOVES: u32 = 20;

/// Blocks of a caller who packs G.726 with the first code in the most significant bits, and calls it `named`.
fn blocks(named: Packing, sample_rate_hz: u32) -> Vec<Block> {
    let scale = i64::from(sample_rate_hz / 8000);
    let payloads = encoded_at_32(&speech(), Packing::MostFirst);
    let position = |number: u32| (i64::from(number) * 160 + i64::from(number >= MOVES)) * scale;
    let of = |index: u64| {
        let mut block = block(index, false, &[]);
        let mut bytes = Vec::new();
        for (number, payload) in (FIRST..PACKETS).zip(&payloads) {
            if position(number) / (4096 * scale) == index as i64 {
                block.sides.caller.push(Piece {
                    position: position(number),
                    number,
                    offset: bytes.len() as u32,
                    len: payload.len() as u16,
                    chunk: 0,
                    stream: 0,
                    format: 0,
                });
                bytes.extend(payload);
            }
        }
        block.chunks = smallvec![Arc::new(bytes)];
        block.formats = Arc::new(vec![PayloadFormat {
            payload_type: 96,
            codec: Codec::G726 {
                kbit_s: 32,
                packing: named,
            },
            clock_rate_hz: 8000,
        }]);
        block
    };
    (0..6).map(of).collect()
}

/// What the recording has of the caller, and how loud it is said to be.
fn recorded(folder: &Path, named: Packing, rate_hz: u32) -> (Vec<i16>, LevelRecord) {
    let info = info(&[SYSTEM_TENANT]);
    let packets = PACKETS * rate_hz / 8000;
    let mut events = events(&info, blocks(named, rate_hz), u64::from(packets));
    for event in &mut events {
        if let Event::Recording { sample_rate_hz, .. } = event {
            *sample_rate_hz = rate_hz;
        }
    }
    let outcome = record(&settings(folder), events);
    let (sidecar, path) = only_recording(&outcome);
    let frames = frames(&folder.join(path));
    let caller = frames.iter().map(|frame| frame.0).collect();
    (caller, sidecar.levels[Side::Caller].clone().unwrap())
}

/// It takes longer than the first block until it shows that the phone packs another way than it says: the recording and its level
/// are those of a phone that says it right.
#[test]
fn what_was_decoded_in_the_wrong_way_is_drawn_again() {
    for rate_hz in [8000, 16_000] {
        let folder = tempfile::tempdir().unwrap();
        let (said, said_level) = recorded(folder.path(), Packing::MostFirst, rate_hz);
        let (misnamed, misnamed_level) = recorded(folder.path(), Packing::LeastFirst, rate_hz);
        let speaks = said.iter().filter(|sample| sample.abs() > 1000).count();
        assert!(speaks > said.len() / 5, "{speaks} of {}", said.len());
        let differ = said.iter().zip(&misnamed).position(|(a, b)| a != b);
        assert_eq!((differ, said.len()), (None, misnamed.len()), "{rate_hz} Hz");
        assert_eq!(said_level.active_dbov, misnamed_level.active_dbov);
        assert_eq!(said_level.peak_dbov, misnamed_level.peak_dbov);
    }
}
