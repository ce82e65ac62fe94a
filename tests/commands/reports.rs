//! What commands say of their work: counters, subjects, names from the wire; and where they write it.

use std::fs::{self, File};
use std::io::BufWriter;
use std::path::Path;
use std::process::{Command, Stdio};

use callreel::base::Timestamp;
use callreel::capture::PcapWriter;
use callreel::wire::LinkType;
use etherparse::PacketBuilder;
use serde_json::Value;

use super::world::{World, callreel};

struct Capture {
    file: PcapWriter<BufWriter<File>>,
    ms: i64,
}

impl Capture {
    fn new(path: &Path) -> Capture {
        let file = BufWriter::new(File::create(path).unwrap());
        let file = PcapWriter::new(file, LinkType::Ethernet).unwrap();
        Capture { file, ms: 0 }
    }

    fn frame(&mut self, frame: &[u8]) {
        self.ms += 20;
        let time = Timestamp::from_secs_nanos(1_800_000_000, self.ms * 1_000_000);
        self.file.write(time, frame, frame.len() as u32).unwrap();
    }

    fn datagram(&mut self, (from, to): ((u8, u16), (u8, u16)), payload: &[u8]) {
        let builder = PacketBuilder::ethernet2([2; 6], [4; 6])
            .ipv4([10, 0, 0, from.0], [10, 0, 0, to.0], 64)
            .udp(from.1, to.1);
        let mut frame = Vec::new();
        builder.write(&mut frame, payload).unwrap();
        self.frame(&frame);
    }

    /// A call of half a second; `from` is the value of From without its tag.
    fn call(&mut self, id: u16, from: &str) {
        let (there, back) = (((1, 5060), (2, 5060)), ((2, 5060), (1, 5060)));
        let port = 20_000 + id * 10;
        let sdp = |host: u8| {
            format!(
                "v=0\r\no=- 1 1 IN IP4 10.0.0.{host}\r\ns=-\r\nc=IN IP4 10.0.0.{host}\r\nt=0 0\r\n\
                 m=audio {port} RTP/AVP 0\r\n"
            )
        };
        let message = |first: &str, cseq: &str, to_tag: &str, body: &str| {
            format!(
                "{first}\r\nVia: SIP/2.0/UDP 10.0.0.1;branch=z9hG4bK{id}{cseq}\r\nFrom: {from};tag=a{id}\r\n\
                 To: <sip:1002@x>{to_tag}\r\nCall-ID: {id}\r\nCSeq: {cseq}\r\nContact: <sip:c@10.0.0.1>\r\n\
                 Content-Type: application/sdp\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            )
        };
        let invite = message("INVITE sip:1002@x SIP/2.0", "1 INVITE", "", &sdp(1));
        self.datagram(there, invite.as_bytes());
        let answer = message("SIP/2.0 200 OK", "1 INVITE", ";tag=b", &sdp(2));
        self.datagram(back, answer.as_bytes());
        for n in 0..25u8 {
            let mut rtp = vec![0x80, 0, 0, n, 0, 0];
            rtp.extend((u16::from(n) * 160).to_be_bytes());
            rtp.extend([1, 2, 3, id as u8]);
            rtp.extend([0x21; 160]);
            self.datagram(((1, port), (2, port)), &rtp);
        }
        let bye = message("BYE sip:1002@x SIP/2.0", "2 BYE", ";tag=b", "");
        self.datagram(there, bye.as_bytes());
    }
}

#[test]
fn names_from_the_wire_are_read_as_meant_and_turn_no_text_around() {
    let folder = tempfile::tempdir().unwrap();
    let mut capture = Capture::new(&folder.path().join("names.pcap"));
    let names = [
        (r#""Joe \"JJ\" Doe" <sip:1001@x>"#, r#"Joe "JJ" Doe"#),
        (r#""back\\slash" <sip:1001@x>"#, r"back\slash"),
        ("\"Tab\tName\" <sip:1001@x>", "Tab Name"),
        ("\"\u{202e}gnp.exe\u{202c}\" <sip:1001@x>", "gnp.exe"),
        (
            "\"a\u{2066}b\u{2069}c\u{200e}d\u{200f}e\u{1b}[2J\" <sip:10%E2%80%AE01@x>",
            "abcde[2J",
        ),
        ("Zoë <sip:1001@x>", "Zoë"),
    ];
    for (id, (from, _)) in (1..).zip(names) {
        capture.call(id, from);
    }
    drop(capture);
    let replayed = callreel(folder.path(), &["replay", "names.pcap", "--json"], "").exits(0);
    let report = replayed.json();
    let calls = report["calls"].as_array().unwrap();
    assert_eq!(calls.len(), names.len(), "{}", replayed.out);
    for (call, (from, name)) in calls.iter().zip(names) {
        // The number was written with an override too.
        assert_eq!(call["caller"], "1001", "{from}");
        let audio = folder.path().join(call["file"].as_str().unwrap());
        let sidecar = fs::read_to_string(audio.with_extension("json")).unwrap();
        let sidecar: Value = serde_json::from_str(&sidecar).unwrap();
        assert_eq!(sidecar["caller"]["display"], *name, "{from}");
    }
    let listed = ["calls", "--json", "--storage", "recordings"];
    let listed = callreel(folder.path(), &listed, "").exits(0).json();
    let listed = listed["calls"].as_array().unwrap().iter().rev();
    let listed: Vec<&str> = listed
        .map(|call| call["caller"]["name"].as_str().unwrap())
        .collect();
    assert_eq!(listed, names.map(|(_, name)| name));
}

#[test]
fn a_replay_tells_what_it_could_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let mut capture = Capture::new(&folder.path().join("odd.pcap"));
    // HEP whose length lies, a fragment that stays alone, and more IP headers than are followed.
    capture.datagram(
        ((1, 9060), (2, 9060)),
        b"HEP3\xff\xff\0\x01\0\x01\0\x07\x02",
    );
    let mut fragment = Vec::new();
    let builder = PacketBuilder::ethernet2([2; 6], [4; 6]).ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64);
    builder
        .udp(5060, 5060)
        .write(&mut fragment, &[b'x'; 64])
        .unwrap();
    fragment[20] |= 0x20;
    fragment[24..26].fill(0);
    let header: Vec<u8> = fragment[14..34].to_vec();
    capture.frame(&fragment);
    let mut deep = fragment[..14].to_vec();
    for level in (1..=12u16).rev() {
        let mut outer = header.clone();
        outer[2..4].copy_from_slice(&(level * 20 + 8).to_be_bytes());
        outer[6..8].fill(0);
        outer[9] = if level == 1 { 17 } else { 4 };
        deep.extend(outer);
    }
    deep.extend([0x13, 0xc4, 0x13, 0xc4, 0, 8, 0, 0]);
    capture.frame(&deep);
    drop(capture);
    let report = callreel(folder.path(), &["replay", "odd.pcap", "--json"], "").exits(0);
    let report = report.json();
    let counters = report["summary"]["counters"].as_object().unwrap();
    for name in [
        "wire_malformed_hep",
        "wire_nested_too_deep",
        "wire_fragments_held",
        "wire_reassembly_timed_out",
    ] {
        let name = format!("callreel_{name}_total");
        assert_eq!(counters.get(&name), Some(&1.into()), "{name}: {counters:?}");
    }
    assert_eq!(counters.get("callreel_packets_total"), Some(&3.into()));
    assert!(counters.values().all(|count| *count != 0), "{counters:?}");
    let said = callreel(folder.path(), &["replay", "odd.pcap"], "").exits(0);
    let last = said.out.lines().last().unwrap();
    assert_eq!(
        last,
        "not read, or not whole: wire nested too deep 1, wire malformed hep 1, wire reassembly timed out 1"
    );
}

#[test]
fn of_a_capture_that_could_be_read_nothing_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let mut capture = Capture::new(&folder.path().join("good.pcap"));
    capture.call(1, "<sip:1001@x>");
    drop(capture);
    let said = callreel(folder.path(), &["replay", "good.pcap"], "").exits(0);
    assert_eq!(
        said.out.lines().last(),
        Some("28 packets, 1 calls, 1 recordings")
    );
}

#[test]
fn standard_input_is_named_in_every_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let junk = callreel(folder.path(), &["replay", "-"], "junk\n").exits(2);
    assert!(
        junk.err
            .starts_with("callreel: standard input is neither a pcap nor a pcapng capture: "),
        "{}",
        junk.err
    );
    let empty = callreel(folder.path(), &["replay", "-"], "").exits(2);
    assert!(
        empty.err.contains("capture from standard input is empty"),
        "{}",
        empty.err
    );
}

#[test]
fn an_export_to_a_dash_goes_to_standard_output() {
    let world = World::new();
    let plain = world.run(&["calls", "export"]).exits(0);
    let dash = world.run(&["calls", "export", "-o", "-"]).exits(0);
    assert_eq!((&dash.out, &*dash.err), (&plain.out, ""));
    assert!(!world.path("-").exists());
}

#[test]
fn simulate_says_its_seed_and_what_it_made_also_as_json() {
    let folder = tempfile::tempdir().unwrap();
    let line = ["simulate", "calls.pcap", "--calls", "2", "--talk", "1"];
    let said = callreel(folder.path(), &line, "").exits(0);
    assert!(said.err.trim_end().ends_with("of seed 1"), "{}", said.err);
    let first = fs::read(folder.path().join("calls.pcap")).unwrap();
    let json = callreel(folder.path(), &[&line[..], &["--json"]].concat(), "").exits(0);
    assert_eq!(json.err, "");
    let report = json.json();
    assert_eq!((&report["seed"], &report["calls"]), (&1.into(), &2.into()));
    assert_eq!(report["file"], "calls.pcap");
    assert_eq!(report["truth"], "calls.truth.json");
    let bytes = report["bytes"].as_u64().unwrap() + 16 * report["frames"].as_u64().unwrap() + 24;
    assert_eq!(first.len() as u64, bytes);
    assert!(fs::read(folder.path().join("calls.pcap")).unwrap() == first);
    let both = ["simulate", "-", "--json"];
    callreel(folder.path(), &both, "").exits(2);
}

/// Two runs on a wire, where one may send there.
#[test]
fn runs_on_an_interface_have_seeds_of_their_own() {
    let seed = || {
        let mut line = Command::new(env!("CARGO_BIN_EXE_callreel"));
        line.args(["simulate", "--interface", "lo", "--calls", "1", "--json"]);
        line.args(["--ring", "0", "--talk", "0.1"]);
        let done = line.stdin(Stdio::null()).output().unwrap();
        let report: Result<Value, _> = serde_json::from_slice(&done.stdout);
        report.ok().map(|report| report["seed"].as_u64().unwrap())
    };
    let (Some(one), Some(other)) = (seed(), seed()) else {
        println!("nothing can be sent on lo: nothing tested");
        return;
    };
    assert_ne!(one, other);
}
