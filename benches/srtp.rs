//! What it costs to open one SRTP packet, by suite: `cargo bench --bench srtp`. 20 ms of G.711, one thread.

use std::hint::black_box;
use std::time::Instant;

use callreel::base::Secret;
use callreel::rtp::{KeyOptions, SrtpKey, SrtpReceiver, SrtpSender, Suite};

const PACKETS: u16 = 10_000;
const ROUNDS: usize = 20;

fn main() {
    println!("{:<26} {:>10} {:>12}", "suite", "ns/packet", "calls a core");
    for suite in Suite::ALL {
        let nanos = open(suite);
        // Two sides, fifty packets a second each.
        println!(
            "{:<26} {nanos:>10.0} {:>12.0}",
            suite.name(),
            1e9 / nanos / 100.0
        );
    }
}

/// Nanoseconds for a packet, of the quickest of several rounds.
fn open(suite: Suite) -> f64 {
    let master = Secret::new(vec![7; suite.key_len() + suite.salt_len()]);
    let key = SrtpKey::new(suite, master, KeyOptions::default()).expect("the key fits its suite");
    let mut sender = SrtpSender::new(key.clone(), 0);
    let packets: Vec<Vec<u8>> = (0..PACKETS)
        .map(|sequence| {
            let mut packet = vec![0x80, 0];
            packet.extend(sequence.to_be_bytes());
            packet.extend([0; 8]);
            packet.extend([0x55; 160]);
            let mut sealed = Vec::new();
            sender.seal(&packet, &mut sealed).expect("a whole packet");
            sealed
        })
        .collect();
    let rounds = (0..ROUNDS).map(|_| {
        let mut receiver = SrtpReceiver::new(key.clone());
        let mut out = Vec::new();
        let begin = Instant::now();
        for packet in &packets {
            receiver
                .open(black_box(packet), &mut out)
                .expect("it is of this key");
            black_box(&out);
        }
        begin.elapsed().as_nanos() as f64 / f64::from(PACKETS)
    });
    rounds.fold(f64::INFINITY, f64::min)
}
