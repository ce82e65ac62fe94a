//! Decoders outside the program: what they are kept from, what they may do wrong, and what they are good for.
//!
//! Shell scripts stand for a decoder that went mad; `ffmpeg` itself is used where it is installed.

#[path = "../common/mod.rs"]
mod common;
mod disturbed;
mod later;
mod references;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use callreel::base::{PerSide, Side};
use callreel::decoders::{Decoders, Error, FixedFrames, Frame, Framing, Settings};
use callreel::recorder::{self, WhenFull, recover};
use callreel::storage::{Cause, Layout, RawState, Sidecar};
use common::call::{Call, Packet, in_a_row};
use serde_json::Value;
use tempfile::TempDir;

const FFMPEG: &str = "/usr/bin/ffmpeg";

fn has_ffmpeg() -> bool {
    let there = Path::new(FFMPEG).exists();
    if !there {
        println!("no {FFMPEG}: nothing tested");
    }
    there
}

fn script(folder: &TempDir, text: &str) -> PathBuf {
    let path = folder.path().join("decoder");
    fs::write(&path, format!("#!/bin/bash\n{text}\n")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

fn decoders(program: &Path) -> Decoders {
    Decoders::new(Settings {
        program: program.to_owned(),
        own_program: env!("CARGO_BIN_EXE_callreel").into(),
        timeout: Duration::from_secs(2),
        memory_bytes: 512 << 20,
        formats: BTreeMap::new(),
    })
}

/// Frames of one byte, of which the decoder is to make four bytes each.
fn plain() -> Framing {
    Framing::Fixed(FixedFrames {
        demuxer: "plain".into(),
        frame_bytes: 1,
        frame_samples: 2,
        sample_rate_hz: 8000,
    })
}

fn frames(count: usize) -> Vec<Frame> {
    plain().split(&vec![1; count]).unwrap()
}

fn run(program: &Path, frames: &[Frame]) -> Result<String, Error> {
    let samples = decoders(program).decode(&plain(), frames, &AtomicBool::new(false))?;
    let bytes = samples.iter().flat_map(|sample| sample.to_le_bytes());
    Ok(bytes.map(char::from).collect())
}

/// What four letters a script says of something it tries.
fn says(attempt: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let attempt = attempt.replace("FOLDER", folder.path().to_str().unwrap());
    fs::write(folder.path().join("recording.wav"), "speech").unwrap();
    let text = format!("if {{ {attempt} ; }} 2>&-; then printf 'yes!'; else printf 'no!!'; fi");
    let said = run(&script(&folder, &text), &frames(1));
    let mut files: Vec<_> = fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    files.sort();
    assert_eq!(files, ["decoder", "recording.wav"], "nothing was written");
    said.unwrap_or_else(|error| error.code().to_owned())
}

#[test]
fn a_decoder_runs_and_that_is_all() {
    assert_eq!(says("true"), "yes!");
    assert_eq!(says("[ \"$PWD\" = / ] && [ \"$LC_ALL\" = C ]"), "yes!");
    for forbidden in [
        "read line < /etc/shadow",
        "read line < /etc/passwd",
        "read line < FOLDER/recording.wav",
        "read -N 1 line < /proc/self/environ",
        "echo x > FOLDER/written",
        "echo x > /tmp/callreel-sandbox-test",
        "echo x >> FOLDER/recording.wav",
        "echo x > /dev/tcp/127.0.0.1/9",
        "exec 9<> /dev/udp/127.0.0.1/9",
        "[ -n \"$PATH$HOME$USER\" ] && [ -n \"$HOME\" ]",
        "kill -0 1",
        "ulimit -v unlimited",
        "ulimit -c unlimited",
    ] {
        assert_eq!(says(forbidden), "no!!", "{forbidden}");
    }
    // A shell that cannot start another process gives up.
    for process in ["( : )", "/bin/true | /bin/true", ": &"] {
        let said = says(process);
        assert!(
            matches!(&*said, "no!!" | "died" | "wrong_length"),
            "{process}: {said}"
        );
    }
    assert!(!Path::new("/tmp/callreel-sandbox-test").exists());
}

#[test]
fn descriptors_that_are_left_open_are_not_inherited() {
    // As a library does it that does not close its sockets on exec.
    let secret = File::open("/etc/passwd").unwrap();
    let open = rustix::io::dup(&secret).unwrap();
    let flags = rustix::io::fcntl_getfd(&open).unwrap();
    assert!(!flags.contains(rustix::io::FdFlags::CLOEXEC));
    let attempt = format!("read -u {} line", open.as_raw_fd());
    assert_eq!(says(&attempt), "no!!");
}

/// What a decoder gets for what it does, and that it took no longer than it may.
fn fails(text: &str, input: &[Frame]) -> Error {
    let folder = tempfile::tempdir().unwrap();
    let begin = Instant::now();
    let error = run(&script(&folder, text), input).expect_err(text);
    assert!(
        begin.elapsed() < Duration::from_secs(8),
        "{text}: {:?}",
        begin.elapsed()
    );
    error
}

#[test]
fn whatever_it_does_wrong_is_an_error_in_time() {
    let code = |text: &str| fails(text, &frames(2)).code();
    assert_eq!(code("exit 3"), "died");
    assert_eq!(code("printf 'abcd'"), "wrong_length");
    assert_eq!(code("printf 'abcdefghi'"), "wrong_length");
    assert_eq!(code("while :; do printf '%65536s'; done"), "wrong_length");
    // More memory than there is to be had.
    let greedy = code("printf -v x '%1000000000s'; printf 'abcdefgh'; exit 1");
    assert!(matches!(greedy, "died" | "timeout"), "{greedy}");
    assert_eq!(code("exec >&- 2>&-; while :; do :; done"), "timeout");
    assert_eq!(code("while :; do :; done"), "timeout");
    let Error::Died { complaint, .. } = fails(
        "printf 'first\\nno \\033[31mway\\n' >&2; exit 1",
        &frames(1),
    ) else {
        panic!("it died");
    };
    assert_eq!(complaint, ": no [31mway");
    let missing = run(Path::new("/nowhere/decoder"), &frames(1)).unwrap_err();
    assert_eq!(missing.code(), "start");
    let stopped = decoders(Path::new("/bin/bash"));
    let stopped = stopped.decode(&plain(), &frames(1), &AtomicBool::new(true));
    assert_eq!(stopped, Err(Error::Stopped));
}

#[test]
fn input_that_nobody_reads_is_no_harm() {
    let folder = tempfile::tempdir().unwrap();
    // A megabyte, and the decoder looks at none of it.
    let many = frames(1 << 20);
    let fill = "printf -v x '%65536s'; for i in {1..64}; do printf '%s' \"$x\"; done";
    let said = run(&script(&folder, fill), &many).unwrap();
    assert_eq!(said.len(), 4 << 20);
}

/// Runs `ffmpeg` as anybody would.
fn ffmpeg(arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child = Command::new(FFMPEG)
        .args(["-nostdin", "-hide_banner", "-loglevel", "error"])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut stdin, input) = (child.stdin.take().unwrap(), input.to_vec());
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let mut output = Vec::new();
    child
        .stdout
        .take()
        .unwrap()
        .read_to_end(&mut output)
        .unwrap();
    // It may end before it has read all.
    let _ = writer.join().unwrap();
    assert!(child.wait().unwrap().success());
    output
}

fn samples(bytes: &[u8]) -> Vec<i16> {
    let two = bytes.chunks_exact(2);
    two.map(|two| i16::from_le_bytes([two[0], two[1]]))
        .collect()
}

/// Something like speech: tones that come and go, and noise.
fn voice(seconds: usize) -> Vec<u8> {
    let mut noise = 1u32;
    let sample = |n: usize| {
        noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let time = n as f64 / 8000.0;
        let loud = 0.5 + 0.5 * (time * 7.0).sin();
        let tone = (time * 900.0 * (1.0 + 0.2 * (time * 2.0).sin())).sin() + (time * 2300.0).sin();
        (loud * tone * 6000.0 + f64::from(noise >> 22) - 512.0) as i16
    };
    (0..seconds * 8000)
        .map(sample)
        .flat_map(i16::to_le_bytes)
        .collect()
}

fn correlation(a: &[i16], b: &[i16]) -> f64 {
    let pairs = || a.iter().zip(b).map(|(a, b)| (f64::from(*a), f64::from(*b)));
    let dot: f64 = pairs().map(|(a, b)| a * b).sum();
    let power = |of: fn((f64, f64)) -> f64| pairs().map(of).map(|x| x * x).sum::<f64>();
    dot / (power(|(a, _)| a) * power(|(_, b)| b)).sqrt()
}

/// A call in which only the callee is heard.
fn of_callee<'a>(rtpmap: &'a str, fmtp: &'a str, packets: Vec<Packet>, bye_ms: i64) -> Call<'a> {
    Call {
        rtpmap,
        fmtp,
        others: "",
        packets: PerSide {
            caller: Vec::new(),
            callee: packets,
        },
        bye_ms,
    }
}

/// What a replay made of a call.
struct Replayed {
    storage: TempDir,
    report: Value,
    sidecar: Sidecar,
    caller: Vec<i16>,
    callee: Vec<i16>,
}

fn replay(call: &Call<'_>, decoders: &str) -> Replayed {
    replay_while(call, decoders, |_| ())
}

/// The same; `meanwhile` is given the process that does it.
fn replay_while(call: &Call<'_>, decoders: &str, meanwhile: impl FnOnce(&mut Child)) -> Replayed {
    let storage = tempfile::tempdir().unwrap();
    let (config, pcap) = (
        storage.path().join("callreel.toml"),
        storage.path().join("call.pcap"),
    );
    fs::write(&config, format!("[decoders]\n{decoders}\n")).unwrap();
    call.write(&pcap);
    let mut replay = Command::new(env!("CARGO_BIN_EXE_callreel"))
        .args(["replay", "--json", "--config"])
        .arg(&config)
        .arg("--storage")
        .arg(storage.path().join("recordings"))
        .arg(&pcap)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    meanwhile(&mut replay);
    let output = replay.wait_with_output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let file = PathBuf::from(report["calls"][0]["file"].as_str().expect("it is recorded"));
    let sidecar = Sidecar::read(&file.with_extension("json")).unwrap();
    let mut wav = hound::WavReader::open(&file).unwrap();
    let all: Vec<i16> = wav.samples().map(Result::unwrap).collect();
    assert_eq!(all.len() as u64, 2 * sidecar.samples);
    let caller: Vec<i16> = all.iter().copied().step_by(2).collect();
    if call.packets.caller.is_empty() {
        assert!(caller.iter().all(|&sample| sample == 0));
    }
    let callee = all.into_iter().skip(1).step_by(2).collect();
    Replayed {
        storage,
        report,
        sidecar,
        caller,
        callee,
    }
}

impl Replayed {
    fn disposition(&self) -> &str {
        self.report["calls"][0]["disposition"].as_str().unwrap()
    }

    fn count(&self, name: &str) -> u64 {
        self.report["summary"][name].as_u64().unwrap()
    }

    fn raw_file(&self) -> Option<PathBuf> {
        let file = PathBuf::from(self.report["calls"][0]["file"].as_str().unwrap());
        let raw = file.with_extension("rtp.pcap");
        raw.exists().then_some(raw)
    }

    fn callee_segments(&self) -> Vec<(u64, u64, Cause)> {
        let segments = self.sidecar.segments.iter();
        let of_callee = segments.filter(|segment| segment.side == Side::Callee);
        of_callee.map(|s| (s.from, s.to, s.cause)).collect()
    }
}

#[test]
fn g7231_is_heard_at_its_place() {
    if !has_ffmpeg() {
        return;
    }
    let pcm = ["-f", "s16le", "-ar", "8000", "-ac", "1", "-i", "pipe:0"];
    let encoder = ["-c:a", "g723_1", "-b:a", "6300", "-f", "g723_1", "pipe:1"];
    let encoded = ffmpeg(
        &[
            pcm,
            [
                encoder[0], encoder[1], encoder[2], encoder[3], encoder[4], encoder[5], encoder[6],
                "-y",
            ],
        ]
        .concat(),
        &voice(6),
    );
    let straight = samples(&ffmpeg(
        &["-f", "g723_1", "-i", "pipe:0", "-f", "s16le", "pipe:1"],
        &encoded,
    ));
    // Two frames of 30 ms a packet, and one packet lost.
    let mut packets = in_a_row(encoded.chunks(48).map(<[u8]>::to_vec), 480, 8000);
    let count = packets.len();
    packets[count - 1].payload.truncate(24);
    let call = of_callee("G723/8000", "annexa=no", packets, 60 * count as i64);
    let found = replay(&call, "keep_raw = true");
    assert_eq!(found.disposition(), "recorded");
    let raw = found.sidecar.raw.as_ref().unwrap();
    assert_eq!(
        (raw.streams[0].state, raw.packets),
        (RawState::Decoded, count as u64)
    );
    assert!(found.raw_file().is_some(), "it was to be kept");
    assert_eq!(found.count("packets_decoded_later"), count as u64);
    // 7.5 ms that the encoder looked ahead are taken back.
    let n = straight.len() - 960;
    let likeness = correlation(&found.callee[..n], &straight[60..]);
    assert!(likeness > 0.99, "{likeness}");
    assert_eq!(found.callee[..n], straight[60..60 + n]);
    assert!(
        found
            .callee_segments()
            .iter()
            .all(|(from, to, _)| to - from <= 240),
        "{:?}",
        found.callee_segments()
    );
}

/// 200 payloads of iLBC, 20 ms each: any bits are a frame.
fn ilbc() -> Vec<Vec<u8>> {
    (0..200u8)
        .map(|n| {
            (0..38)
                .map(|b: u8| b.wrapping_mul(37) ^ n.wrapping_mul(11))
                .collect()
        })
        .collect()
}

/// Frames of iLBC as `ffmpeg` decodes them behind two of silence, without which it begins with a click.
fn ilbc_straight(frames: &[Vec<u8>]) -> Vec<i16> {
    let (mode, bytes, lit) = match frames[0].len() {
        38 => (20, 38, (2, 0x04)),
        _ => (30, 50, (5, 0x20)),
    };
    // All its bits are 0 but one: the first block with a state is block 1.
    let mut silence = vec![0; bytes];
    silence[lit.0] = lit.1;
    let file = [
        format!("#!iLBC{mode}\n").into_bytes(),
        silence.repeat(2),
        frames.concat(),
    ];
    let arguments = ["-f", "ilbc", "-i", "pipe:0", "-f", "s16le", "pipe:1"];
    let all = samples(&ffmpeg(&arguments, &file.concat()));
    all[2 * 8 * mode..].to_vec()
}

fn ilbc_call() -> Call<'static> {
    of_callee("iLBC/8000", "mode=20", in_a_row(ilbc(), 160, 8000), 4000)
}

#[test]
fn packets_that_are_lost_or_broken_cost_themselves() {
    if !has_ffmpeg() {
        return;
    }
    let mut call = ilbc_call();
    let packets = &mut call.packets.callee;
    packets[50].payload.truncate(17);
    packets[51].payload.clear();
    packets[60].payload.extend([1; 1000]);
    let found = replay(&call, "");
    assert_eq!(found.disposition(), "kept_raw");
    assert!(found.raw_file().is_some());
    let raw = &found.sidecar.raw.as_ref().unwrap().streams[0];
    assert_eq!((raw.state, raw.packets_failed), (RawState::Failed, 3));
    let failed: Vec<_> = found
        .callee_segments()
        .into_iter()
        .filter(|s| s.2 == Cause::DecoderFailed)
        .collect();
    assert_eq!(
        failed,
        [
            (8000, 8320, Cause::DecoderFailed),
            (9600, 9760, Cause::DecoderFailed)
        ]
    );
    assert_eq!(found.count("packets_decoder_failed"), 3);
    // Everything else is as if those had never been sent.
    let mut rest = ilbc();
    for broken in [60, 51, 50] {
        rest.remove(broken);
    }
    let straight = ilbc_straight(&rest);
    assert_eq!(found.callee[..8000], straight[..8000]);
    assert_eq!(found.callee[9760..32_000], straight[9280..31_520]);
}

/// A decoder that says it can everything, and then does what `text` says.
fn mad(folder: &TempDir, text: &str) -> String {
    let path = script(
        folder,
        &format!(
            "case \"$*\" in *-version*) echo mad;; *-decoders*) printf ' ---\\n A ilbc x\\n';; \
             *-demuxers*) printf ' --\\n D ilbc x\\n';; *) {text};; esac"
        ),
    );
    format!("ffmpeg = {:?}\ntimeout_seconds = 1", path.to_str().unwrap())
}

#[test]
fn a_decoder_gone_mad_costs_a_segment_and_not_the_call() {
    for (text, failure) in [
        ("exit 1", "ended with"),
        ("while :; do printf '%4096s'; done", "samples for"),
        ("printf garbage", "samples for"),
        ("exec >&- 2>&-; while :; do :; done", "longer than"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let found = replay(&ilbc_call(), &mad(&folder, text));
        assert_eq!(found.disposition(), "kept_raw", "{text}");
        assert!(found.raw_file().is_some(), "{text}");
        assert!(found.callee.iter().all(|&sample| sample == 0), "{text}");
        let stream = &found.sidecar.raw.as_ref().unwrap().streams[0];
        let error = stream.error.as_deref().unwrap_or_default();
        assert!(error.contains(failure), "{text}: {error}");
        assert_eq!(
            (stream.state, stream.packets_failed),
            (RawState::Failed, 200),
            "{text}"
        );
        let [(0, _, Cause::DecoderFailed), ..] = found.callee_segments()[..] else {
            panic!("{text}: {:?}", found.callee_segments());
        };
        drop(found.storage);
    }
}

#[test]
fn one_poisoned_packet_does_not_silence_the_others() {
    // It gives a sample too few for every run that has a byte 0xfe in it.
    let folder = tempfile::tempdir().unwrap();
    let decoder = "LC_ALL=C; n=0; bad=; IFS= read -r -d '' -N 9 x; \
        while IFS= read -r -d '' -n 1 b || [ -n \"$b\" ]; do n=$((n+1)); [ \"$b\" = P ] && bad=1; done; \
        printf -v out '%*s' $((n/38*320)) ''; [ -n \"$bad\" ] && out=x; printf '%s' \"$out\"";
    let mut call = ilbc_call();
    let letters = |n: usize| vec![b'a' + (n % 20) as u8; 38];
    call.packets.callee = in_a_row((0..200).map(letters), 160, 8000);
    call.packets.callee[100].payload[5] = b'P';
    let found = replay(&call, &mad(&folder, decoder));
    let stream = &found.sidecar.raw.as_ref().unwrap().streams[0];
    assert_eq!(stream.state, RawState::Failed, "{stream:?}");
    assert!((1..=60).contains(&stream.packets_failed), "{stream:?}");
    let loud = found
        .callee
        .iter()
        .filter(|&&sample| sample == 0x2020)
        .count();
    assert!(loud >= 130 * 160, "{loud} samples");
}

#[test]
fn without_a_decoder_everything_waits_for_one() {
    let found = replay(&ilbc_call(), "ffmpeg = \"\"");
    assert_eq!(found.disposition(), "kept_raw");
    let stream = &found.sidecar.raw.as_ref().unwrap().streams[0];
    assert_eq!(
        (stream.state, stream.fmtp.as_deref()),
        (RawState::Kept, Some("mode=20"))
    );
    assert_eq!(
        found.callee_segments(),
        [(0, found.sidecar.samples, Cause::Undecoded)]
    );
    assert_eq!(found.count("packets_kept_raw"), 200);
}

#[test]
fn other_tools_read_the_packets() {
    let found = replay(&ilbc_call(), "ffmpeg = \"\"");
    let raw = found.raw_file().unwrap();
    let fields = [
        "ip.src",
        "udp.srcport",
        "rtp.ssrc",
        "rtp.seq",
        "rtp.timestamp",
        "rtp.p_type",
    ];
    let Ok(output) = Command::new("tshark")
        .args([
            "-d",
            "udp.port==4000,rtp",
            "-o",
            "ip.check_checksum:TRUE",
            "-o",
            "udp.check_checksum:TRUE",
            "-T",
            "fields",
        ])
        .args(fields.iter().flat_map(|field| ["-e", field]))
        .args([
            "-Y",
            "ip.checksum.status==1 && udp.checksum.status==1",
            "-r",
        ])
        .arg(&raw)
        .output()
    else {
        println!("no tshark: nothing tested");
        return;
    };
    let text = String::from_utf8_lossy(&output.stdout);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 200, "{text}");
    assert_eq!(lines[7], "10.0.0.2\t5000\t0x12345678\t7\t1120\t96");
}

/// `callreel decode` on what a replay left.
fn decode(found: &Replayed, arguments: &[&str]) -> (Option<i32>, Value) {
    let output = Command::new(env!("CARGO_BIN_EXE_callreel"))
        .args(["decode", "--json", "--storage"])
        .arg(found.storage.path().join("recordings"))
        .args(arguments)
        .output()
        .unwrap();
    let report = serde_json::from_slice(&output.stdout).unwrap_or_default();
    (output.status.code(), report)
}

/// Audio and sidecar of the only call.
fn files(found: &Replayed) -> (Vec<u8>, Sidecar) {
    let file = PathBuf::from(found.report["calls"][0]["file"].as_str().unwrap());
    let sidecar = Sidecar::read(&file.with_extension("json")).unwrap();
    (fs::read(&file).unwrap(), sidecar)
}

#[test]
fn decoding_later_gives_what_decoding_at_once_gives() {
    if !has_ffmpeg() {
        return;
    }
    let mut call = ilbc_call();
    call.packets.callee.remove(70);
    let (at_once, later) = (replay(&call, ""), replay(&call, "ffmpeg = \"\""));
    assert_eq!(later.disposition(), "kept_raw");
    let (code, report) = decode(&later, &["--all"]);
    assert_eq!(
        (code, report[0]["state"].as_str()),
        (Some(0), Some("decoded")),
        "{report}"
    );
    assert_eq!(files(&later), files(&at_once));
    assert_eq!(later.raw_file(), None);
    let listed = Command::new(env!("CARGO_BIN_EXE_callreel"))
        .args(["calls", "search", "--json", "--storage"])
        .arg(later.storage.path().join("recordings"))
        .output()
        .unwrap();
    let listed = String::from_utf8_lossy(&listed.stdout);
    assert!(
        listed.contains("\"recorded\"") && !listed.contains("kept_raw"),
        "{listed}"
    );
    let verified = Command::new(env!("CARGO_BIN_EXE_callreel"))
        .args(["catalog", "verify", "--storage"])
        .arg(later.storage.path().join("recordings"))
        .output()
        .unwrap();
    assert_eq!(verified.status.code(), Some(0), "{verified:?}");
    // Once more there is nothing to do, and a recording that is not there is said.
    assert_eq!(decode(&later, &["--all"]).0, Some(0));
    let unknown = "01586f2b-0000-7000-8000-000000000000";
    assert_eq!(decode(&later, &[unknown]).0, Some(1));
}

#[test]
fn a_decoder_that_fails_later_leaves_the_recording_as_it_was() {
    let later = replay(&ilbc_call(), "ffmpeg = \"\"");
    let before = files(&later);
    assert_eq!(
        decode(&later, &["--all", "--ffmpeg", "/nowhere"]).0,
        Some(2)
    );
    assert_eq!(files(&later), before);
    let folder = tempfile::tempdir().unwrap();
    let mad = mad(&folder, "exit 1");
    let program = mad.split('"').nth(1).unwrap();
    let id = before.1.recording_id.to_string();
    let (code, report) = decode(&later, &[&id, "--ffmpeg", program]);
    assert_eq!(
        (code, report[0]["state"].as_str()),
        (Some(1), Some("failed")),
        "{report}"
    );
    let after = files(&later);
    assert_eq!(after.0, before.0, "the audio is what it was");
    assert!(later.raw_file().is_some());
    let of_callee = after.1.segments.iter().find(|s| s.side == Side::Callee);
    assert_eq!(of_callee.unwrap().cause, Cause::DecoderFailed);
    if has_ffmpeg() {
        assert_eq!(decode(&later, &[&id]).0, Some(0));
        assert_eq!(files(&later), files(&replay(&ilbc_call(), "")));
    }
}

/// Files whose names end so, below `folder`.
fn find(folder: &Path, end: &str) -> Option<PathBuf> {
    fs::read_dir(folder)
        .into_iter()
        .flatten()
        .find_map(|entry| {
            let path = entry.ok()?.path();
            match path.is_dir() {
                true => find(&path, end),
                false => path.to_string_lossy().ends_with(end).then_some(path),
            }
        })
}

#[test]
fn a_kill_costs_less_than_a_second_of_what_is_kept_raw() {
    let folder = tempfile::tempdir().unwrap();
    let (pcap, storage) = (
        folder.path().join("call.pcap"),
        folder.path().join("recordings"),
    );
    ilbc_call().write(&pcap);
    // Three seconds of the call: 24 bytes, two messages, 150 packets; then nothing more comes.
    let bytes = fs::read(&pcap).unwrap();
    let frame = 16 + 14 + 20 + 8 + 12 + 38;
    let until = head_len(&bytes) + 150 * frame;
    let mut replay = Command::new(env!("CARGO_BIN_EXE_callreel"))
        .args(["replay", "--quiet", "--storage"])
        .args([&storage, Path::new("-")])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = replay.stdin.take().unwrap();
    stdin.write_all(&bytes[..until]).unwrap();
    stdin.flush().unwrap();
    let begin = Instant::now();
    let written =
        || find(&storage, ".rtp.pcap.part").and_then(|part| Some(part.metadata().ok()?.len()));
    while written().unwrap_or(0) < 24 + 100 * frame as u64
        && begin.elapsed() < Duration::from_secs(20)
    {
        std::thread::sleep(Duration::from_millis(20));
    }
    replay.kill().unwrap();
    replay.wait().unwrap();
    drop(stdin);
    let recovered = recover(&recorder_settings(&storage));
    assert!(recovered.failed.is_empty(), "{:?}", recovered.failed);
    let [(sidecar, _)] = &recovered.recordings[..] else {
        panic!("{recovered:?}");
    };
    assert_eq!(sidecar.end_reason.as_deref(), Some("recovered"));
    let stream = &sidecar.raw.as_ref().unwrap().streams[0];
    assert_eq!(
        (&*stream.encoding, stream.fmtp.as_deref()),
        ("iLBC", Some("mode=20"))
    );
    assert!(
        stream.packets > 100 && stream.last >= 2 * 8000,
        "{stream:?}"
    );
    if has_ffmpeg() {
        let decoded = Command::new(env!("CARGO_BIN_EXE_callreel"))
            .args(["decode", "--all", "--storage"])
            .arg(&storage)
            .output()
            .unwrap();
        assert_eq!(decoded.status.code(), Some(0), "{decoded:?}");
        assert_eq!(find(&storage, ".rtp.pcap"), None);
    }
}

/// Bytes of the file's header and of the two messages before the first packet.
fn head_len(pcap: &[u8]) -> usize {
    let record =
        |at: usize| 16 + u32::from_le_bytes(pcap[at + 8..at + 12].try_into().unwrap()) as usize;
    let first = 24 + record(24);
    first + record(first)
}

fn recorder_settings(root: &Path) -> recorder::Settings {
    recorder::Settings {
        layout: Layout::new(root),
        keep_g711: false,
        encrypt_all: false,
        sensor: "test".into(),
        interfaces: Vec::new().into(),
        threads: 1,
        queue_events: 1,
        when_full: WhenFull::Wait,
        storage_low: Default::default(),
        raw_max_bytes: 0,
        raw: Default::default(),
        afterwards: None,
        signalling_bytes: Default::default(),
    }
}
