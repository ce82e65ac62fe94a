//! Two phones that can say anything, an engine that hears them, and what it made of it.

mod heard;
mod phones;

use std::fs;
use std::path::Path;
use std::sync::Arc;

use callreel::base::Timestamp;
use callreel::capture::PcapWriter;
use callreel::directory::Directory;
use callreel::engine::event::EndReason;
use callreel::engine::{Engine, EngineSettings};
use callreel::wire::{LinkType, Packet};

pub use heard::Heard;
pub use phones::{Address, Phones, rtp_frame, stray_rtp, udp};

/// Time zero.
pub const START: Timestamp = Timestamp::from_secs_nanos(1_767_600_000, 0);

pub fn at(ms: i64) -> Timestamp {
    Timestamp::from_nanos(START.as_nanos() + ms * 1_000_000)
}

/// An Ethernet frame.
#[derive(Clone, Debug)]
pub struct Frame {
    pub time: Timestamp,
    pub bytes: Vec<u8>,
}

pub fn engine(settings: EngineSettings) -> Engine {
    Engine::new(settings, Arc::new(Directory::empty()))
}

pub fn feed(engine: &mut Engine, frame: &Frame, heard: &mut Heard) {
    let packet = Packet {
        time: frame.time,
        interface: 0,
        link: LinkType::Ethernet,
        data: &frame.bytes,
        original_len: frame.bytes.len() as u32,
    };
    engine.handle_packet(&packet, heard);
}

/// Feeds an engine in order of time, to the end.
pub fn run(frames: Vec<Frame>) -> (Engine, Heard) {
    run_with(EngineSettings::default(), frames)
}

pub fn run_with(settings: EngineSettings, mut frames: Vec<Frame>) -> (Engine, Heard) {
    frames.sort_by_key(|frame| frame.time);
    let (mut engine, mut heard) = (engine(settings), Heard::default());
    for frame in &frames {
        feed(&mut engine, frame, &mut heard);
    }
    engine.finish(EndReason::EndOfCapture, &mut heard);
    (engine, heard)
}

pub fn write_capture(path: &Path, frames: &[Frame]) {
    let mut writer = PcapWriter::new(Vec::new(), LinkType::Ethernet).unwrap();
    for frame in frames {
        writer
            .write(frame.time, &frame.bytes, frame.bytes.len() as u32)
            .unwrap();
    }
    fs::write(path, writer.into_inner()).unwrap();
}

/// Every file below a folder, relative to it.
pub fn paths(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.push(
                    path.strip_prefix(root)
                        .unwrap()
                        .to_str()
                        .unwrap()
                        .to_owned(),
                );
            }
        }
    }
    found
}

/// Chance, from a seed.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Dice {
        Dice(seed)
    }

    /// SplitMix64.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    pub fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.next() as u8).collect()
    }

    /// What becomes of a frame: most often it is damaged, `percent` being the chance; sometimes it comes twice or not.
    pub fn damage(&mut self, frame: Frame, percent: u32) -> Vec<Frame> {
        if self.below(100) >= u64::from(percent) {
            return vec![frame];
        }
        let mut bytes = frame.bytes.clone();
        match self.below(6) {
            0 => return Vec::new(),
            1 => {
                let later = Timestamp::from_nanos(frame.time.as_nanos() + 40_000_000);
                return vec![
                    frame.clone(),
                    Frame {
                        time: later,
                        ..frame
                    },
                ];
            }
            2 => bytes.truncate(self.below(bytes.len() as u64) as usize),
            3 => {
                let more = self.below(200) as usize;
                bytes.extend(self.bytes(more));
            }
            4 => {
                let place = self.below(bytes.len() as u64) as usize;
                let length = self.below(20) as usize;
                let inserted = self.bytes(length);
                bytes.splice(place..place, inserted);
            }
            _ => {
                for _ in 0..=self.below(8) {
                    let place = self.below(bytes.len() as u64) as usize;
                    bytes[place] = self.next() as u8;
                }
            }
        }
        vec![Frame { bytes, ..frame }]
    }

    /// Random bytes behind some valid beginning.
    pub fn junk(&mut self, time: Timestamp) -> Frame {
        let phones = Phones::new("junk@example", 200);
        let length = self.below(400) as usize;
        let random = self.bytes(length);
        let signalling = (
            Address([10, 0, 200, 1], 5060),
            Address([10, 0, 200, 2], 5060),
        );
        let sip = |head: &[u8]| udp(time, signalling.0, signalling.1, &[head, &random].concat());
        let valid = phones.invite(time);
        let header = |bytes: usize| [&valid.bytes[..bytes], &random].concat();
        match self.below(10) {
            0 => Frame {
                time,
                bytes: random,
            },
            1 => Frame {
                time,
                bytes: header(14),
            },
            2 => Frame {
                time,
                bytes: header(34),
            },
            3 => sip(b""),
            4 => sip(b"INVITE sip:a@b SIP/2.0\r\n"),
            5 => sip(b"SIP/2.0 200 OK\r\nCall-ID: x\r\nCSeq: 1 INVITE\r\n"),
            6 => sip(&[&[0x80, 0][..], &self.bytes(10)].concat()),
            7 => Frame {
                time,
                bytes: [&[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x81, 0][..], &random].concat(),
            },
            8 => Frame {
                time,
                bytes: [
                    &[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x86, 0xdd][..],
                    &random,
                ]
                .concat(),
            },
            // A valid INVITE with a description of random bytes.
            _ => phones.invite_with(time, &String::from_utf8_lossy(&random)),
        }
    }
}
