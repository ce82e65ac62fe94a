//! Real phones on a cable, in every codec that Debian's baresip has, with sipp, kamailio and rtpengine among them: recorded live,
//! and heard as they spoke.

use std::collections::BTreeMap;
use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;

use callreel::base::Side;
use callreel::capture::CaptureFiles;
use callreel::codec::ULAW_TO_LINEAR;
use callreel::rtp::RtpPacket;
use callreel::storage::Sidecar;

use crate::audio::{aligned, channels, correlation, lag, resampled, through_the_filters_of_amr};
use crate::house::{House, has};

/// Both voices of the script.
const SPEECH_HZ: u32 = 16_000;
/// What each second of a recording must be like.
const LIKE: f64 = 0.95;
/// Seconds that every call has.
const SECONDS: usize = 4;
/// A first packet that is later by more is found out while the call lasts, and what follows is moved.
const LATE_MS: i64 = 15;
/// By so much at most it is moved bit by bit, over as many seconds as these calls have: no second of it lies in one place.
const BIT_BY_BIT_MS: i64 = 25;

/// An RTP stream: address and port it comes from, SSRC.
type Stream = (String, u32);

#[test]
fn phones_of_every_codec_are_recorded_live_as_they_spoke() {
    let Some(house) = House::build() else { return };
    if !["baresip", "tcpdump", "sox"].into_iter().all(has) {
        return;
    }
    let ports: Vec<u16> = (5060..5090).collect();
    house.configure_capture(
        &format!("interfaces = [\"eth0\"]\nsip_ports = {ports:?}"),
        "",
    );
    let mut daemon = house.start();
    house.call_phones();
    // Of a module that is not there the script says so.
    let calls = fs::read_to_string(house.folder.path().join("calls")).unwrap();
    let calls: BTreeMap<&str, &str> = calls
        .lines()
        .filter_map(|line| line.split_once(' '))
        .collect();
    daemon.wait_until("all calls are over", |daemon| {
        daemon.metric("callreel_calls_total", "\"recorded\"") >= calls.len() as u64
    });
    assert_eq!(daemon.metric("callreel_dropped_packets_total", ""), 0);
    assert_eq!(daemon.stop().0.code(), Some(0));

    let behind_a_proxy = has("kamailio") && has("rtpengine");
    assert_eq!(calls.contains_key("4001"), behind_a_proxy);
    let wire = streams(&house.folder.path().join("wire.pcap"));
    let mut recordings = house.recordings();
    recordings.sort_by(|a, b| a.caller.number.cmp(&b.caller.number));
    let callers: Vec<&str> = recordings.iter().map(|s| &*s.caller.number).collect();
    assert_eq!(callers, calls.keys().copied().collect::<Vec<_>>());
    let (mut faults, mut in_time) = (Vec::new(), 0);
    for sidecar in &recordings {
        let codec = calls[&*sidecar.caller.number];
        let what = format!("{} {codec}", sidecar.caller.number);
        match judge(&house, sidecar, codec, &wire) {
            Ok(sides) => in_time += sides,
            Err(fault) => faults.push(format!("{what}: {fault}")),
        }
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
    assert!(
        in_time > recordings.len(),
        "this machine is too busy for phones"
    );
}

/// Whether both sides of a call are as they spoke, where the wire had them. Prints how they are; gives how many of them were heard
/// from a first packet that came in time.
fn judge(
    house: &House,
    sidecar: &Sidecar,
    codec: &str,
    wire: &BTreeMap<Stream, Vec<(i64, u32)>>,
) -> Result<usize, String> {
    let (rate_hz, channels) = channels(&house.audio(sidecar));
    let (mut faults, mut places, mut in_time) = (Vec::new(), Vec::new(), 0);
    print!("{} {codec}:", sidecar.caller.number);
    for (side, channel) in Side::BOTH.into_iter().zip(&channels) {
        let packets = as_on_the_wire(sidecar, side, wire)?;
        let (begin_ns, first_is_late_ns) = cadence(packets, clock_hz(codec));
        let begin = (begin_ns - sidecar.started_at_ns) * i64::from(rate_hz) / 1_000_000_000;
        let (alike, place) = compared(side, codec, rate_hz, channel, begin);
        let late_ms = first_is_late_ns / 1_000_000;
        print!(" {side} {alike:.3?} at {place} ms, the first packet {late_ms} ms late;");
        // A phone that stumbled when it began: what follows is moved to its place, and, where that is far, is there in the end.
        let stumbled = late_ms > LATE_MS;
        let is_far = late_ms > BIT_BY_BIT_MS;
        in_time += usize::from(!stumbled);
        for (n, like) in alike.iter().enumerate() {
            if *like < LIKE && (!stumbled || is_far && n + 1 == alike.len()) {
                faults.push(format!("{side}, second {n}: {like:.4}"));
            }
        }
        if alike.len() < SECONDS {
            faults.push(format!("{side}: {} seconds", alike.len()));
        }
        places.push(place);
    }
    println!();
    if places[0].abs_diff(places[1]) > 20 {
        faults.push(format!("the sides are apart: {places:?} ms"));
    }
    if faults.is_empty() {
        return Ok(in_time);
    }
    let faults = faults.join("; ");
    Err(format!(
        "{faults}: {:?} {:?}",
        sidecar.streams, sidecar.segments
    ))
}

/// For each second, how much what was heard is like what was said; and by how many milliseconds the last of them is behind `begin`,
/// its place on the wire: what the codec takes, and what the recording is wrong by.
fn compared(side: Side, codec: &str, rate_hz: u32, channel: &[i16], begin: i64) -> (Vec<f64>, i64) {
    let mut said = resampled(&speech(side), SPEECH_HZ, rate_hz);
    if codec == "AMR" {
        said = through_the_filters_of_amr(&said);
    }
    let (second, reach) = (rate_hz as usize, i64::from(rate_hz) / 20);
    let (said, heard) = aligned(&said, channel, begin);
    let from = (SECONDS - 1) * second - 4 * reach as usize;
    let lag = lag(&said[from..], &heard[from.min(heard.len())..], reach);
    let (said, heard) = aligned(said, heard, lag);
    let seconds = said.chunks_exact(second).zip(heard.chunks_exact(second));
    let alike = seconds.take(SECONDS).map(|(a, b)| correlation(a, b));
    (alike.collect(), lag * 1000 / i64::from(rate_hz))
}

/// When a stream began, by the earliest of its packets, each of which tells by its timestamp; and how late the first one was.
fn cadence(packets: &[(i64, u32)], clock_hz: i64) -> (i64, i64) {
    let (first_ns, first) = packets[0];
    let told = packets.iter().map(|(time_ns, timestamp)| {
        let ticks = timestamp.wrapping_sub(first) as i32;
        time_ns - i64::from(ticks) * 1_000_000_000 / clock_hz
    });
    let begin_ns = told.min().unwrap_or(first_ns);
    (begin_ns, first_ns - begin_ns)
}

/// Of RTP timestamps.
fn clock_hz(codec: &str) -> i64 {
    match codec {
        "AMR-WB" | "L16" => 16_000,
        "opus" => 48_000,
        _ => 8000,
    }
}

/// The one stream of a side; every packet that tcpdump saw of it is in the recording.
fn as_on_the_wire<'w>(
    sidecar: &Sidecar,
    side: Side,
    wire: &'w BTreeMap<Stream, Vec<(i64, u32)>>,
) -> Result<&'w [(i64, u32)], String> {
    let streams: Vec<_> = sidecar.streams.iter().filter(|s| s.side == side).collect();
    let [stream] = streams[..] else {
        return Err(format!("{} streams of the {side}", streams.len()));
    };
    let ssrc = u32::from_str_radix(&stream.ssrc, 16).map_err(|error| error.to_string())?;
    let seen = wire.get(&(stream.source.clone(), ssrc));
    let seen = seen.ok_or_else(|| format!("{stream:?} was not on the wire"))?;
    // A phone may send on for some packets when the call is over.
    if stream.lost + stream.not_placed > 0 || stream.packets + 10 < seen.len() as u64 {
        return Err(format!("{stream:?} is {} packets", seen.len()));
    }
    Ok(seen)
}

/// The streams that tcpdump saw: time and timestamp of each packet. Ethernet, IPv4 and UDP are read by hand.
fn streams(capture: &Path) -> BTreeMap<Stream, Vec<(i64, u32)>> {
    let mut files = CaptureFiles::open(&[capture.to_owned()]).unwrap();
    let mut streams = BTreeMap::<Stream, Vec<(i64, u32)>>::new();
    while let Some(packet) = files.next_packet().unwrap() {
        let data = packet.data;
        if data.len() < 54 || data[12..15] != [8, 0, 0x45] || data[23] != 17 {
            continue;
        }
        let source = Ipv4Addr::new(data[26], data[27], data[28], data[29]);
        let port = u16::from_be_bytes([data[34], data[35]]);
        let Some(rtp) = RtpPacket::parse(&data[42..]) else {
            continue;
        };
        let packets = streams.entry((format!("{source}:{port}"), rtp.ssrc));
        packets
            .or_default()
            .push((packet.time.as_nanos(), rtp.timestamp));
    }
    streams
}

/// What a side says.
fn speech(side: Side) -> Vec<i16> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/baresip-codecs");
    let bytes = fs::read(folder.join(format!("{side}.wav"))).unwrap();
    let data = bytes.windows(4).position(|w| w == b"data").unwrap() + 8;
    let samples = bytes[data..].iter();
    samples
        .map(|&byte| ULAW_TO_LINEAR[usize::from(byte)])
        .collect()
}
