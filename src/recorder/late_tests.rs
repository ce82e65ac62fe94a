//! Packets that come long after the blocks they belong to.

use super::Settings;
use super::tests::{block, events, frames, info, only_recording, record, settings};
use crate::base::{SYSTEM_TENANT, Side};
use crate::codec::ULAW_TO_LINEAR;
use crate::engine::event::Block;

/// Packets of 160 samples that begin in the block.
fn packets_of(index: u64) -> impl Iterator<Item = u32> {
    let begin = (index * 4096).div_ceil(160) as u32;
    let end = ((index + 1) * 4096).div_ceil(160) as u32;
    begin..end
}

fn fill(number: u32) -> u8 {
    (number % 100) as u8
}

fn on_time(index: u64) -> Block {
    let both =
        packets_of(index).flat_map(|number| Side::BOTH.map(|side| (side, number, fill(number))));
    block(index, false, &both.collect::<Vec<_>>())
}

/// Both ways were held up over several blocks, none of which was handed on in its time.
#[test]
fn what_came_late_for_blocks_that_were_skipped_is_in_its_place() {
    for skipped in [1u64, 2, 3, 4, 9] {
        for keep_g711 in [false, true] {
            let folder = tempfile::tempdir().unwrap();
            let info = info(&[SYSTEM_TENANT]);
            let mut blocks = vec![on_time(0)];
            for index in 1..=skipped {
                for number in packets_of(index) {
                    for side in Side::BOTH {
                        blocks.push(block(index, true, &[(side, number, fill(number))]));
                    }
                }
            }
            blocks.push(on_time(skipped + 1));
            let packets = packets_of(skipped + 2).next().unwrap();
            let settings = Settings {
                keep_g711,
                ..settings(folder.path())
            };
            let outcome = record(&settings, events(&info, blocks, u64::from(packets)));
            let (sidecar, path) = only_recording(&outcome);
            assert_eq!(sidecar.samples, u64::from(packets) * 160);
            assert!(sidecar.segments.is_empty(), "{:?}", sidecar.segments);
            if keep_g711 {
                let bytes = std::fs::read(folder.path().join(path)).unwrap();
                let audio = &bytes[bytes.len() - packets as usize * 320..];
                for (n, frame) in audio.chunks(2).enumerate() {
                    let said = fill(n as u32 / 160);
                    assert_eq!(frame, [said, said], "{skipped} blocks: frame {n}");
                }
                continue;
            }
            for (n, frame) in frames(&folder.path().join(path)).into_iter().enumerate() {
                let said = ULAW_TO_LINEAR[usize::from(fill(n as u32 / 160))];
                assert_eq!(frame, (said, said), "{skipped} blocks: frame {n}");
            }
        }
    }
}
