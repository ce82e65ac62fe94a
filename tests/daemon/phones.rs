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

use crate::audio::{
    aligned, channels, correlation, followed, lag, resampled, through_the_filters_of_amr,
};
use crate::house::{House, has};

/// Both voices of the script.
const SPEECH_HZ: u32 = 16_000;
/// What each second of a recording must be like.
const LIKE: f64 = 0.95;
/// Seconds that every call has.
const SECONDS: usize = 3;

/// An RTP stream as tcpdump has it: address and port it comes from, SSRC.
type Stream = (String, u32);

/// When its first packet of audio came, and how many there were.
#[derive(Debug)]
struct Seen {
    first_ns: i64,
    packets: u64,
}

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
    let mut faults = Vec::new();
    for sidecar in &recordings {
        let codec = calls[&*sidecar.caller.number];
        let what = format!("{} {codec}", sidecar.caller.number);
        judge(&house, sidecar, codec, &wire)
            .unwrap_or_else(|fault| faults.push(format!("{what}: {fault}")));
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

/// Whether both sides of a call are as they spoke, where the wire had them. Prints how they are.
fn judge(
    house: &House,
    sidecar: &Sidecar,
    codec: &str,
    wire: &BTreeMap<Stream, Seen>,
) -> Result<(), String> {
    let (rate_hz, channels) = channels(&house.audio(sidecar));
    let mut faults = Vec::new();
    let mut late = Vec::new();
    print!("{} {codec}:", sidecar.caller.number);
    for (side, channel) in Side::BOTH.into_iter().zip(&channels) {
        let seen = as_on_the_wire(sidecar, side, wire)?;
        let begin =
            (seen.first_ns - sidecar.started_at_ns).max(0) * i64::from(rate_hz) / 1_000_000_000;
        let heard = channel
            .get(begin as usize..)
            .ok_or("it is shorter than its media")?;
        let (alike, lags) = compared(side, codec, rate_hz, heard);
        print!(" {side} {alike:.3?}, {lags:?} ms late");
        for (n, like) in alike.iter().enumerate() {
            // As baresip names G.726 and as it packs it are two things: see tests/codecs.rs.
            let least = if n == 0 && codec == "G726-32" {
                0.6
            } else {
                LIKE
            };
            if *like < least {
                faults.push(format!("{side}, second {n}: {like:.4}"));
            }
        }
        if alike.len() < SECONDS {
            faults.push(format!("{side}: {} seconds", alike.len()));
        }
        late.push(lags);
    }
    println!();
    if late[0]
        .iter()
        .zip(&late[1])
        .any(|(a, b)| a.abs_diff(*b) > 20)
    {
        faults.push(format!("the sides are apart: {late:?} ms"));
    }
    if faults.is_empty() {
        return Ok(());
    }
    let faults = faults.join("; ");
    Err(format!(
        "{faults}: {:?} {:?}",
        sidecar.streams, sidecar.segments
    ))
}

/// For each second, how much what was heard is like what was said, and how many milliseconds later than its first packet, which is
/// what the codec takes and by how much that packet itself was late.
fn compared(side: Side, codec: &str, rate_hz: u32, heard: &[i16]) -> (Vec<f64>, Vec<i64>) {
    let mut said = resampled(&speech(side), SPEECH_HZ, rate_hz);
    if codec == "AMR" {
        said = through_the_filters_of_amr(&said);
    }
    let second = rate_hz as usize;
    let millis = |lag: i64| lag * 1000 / i64::from(rate_hz);
    let lag = lag(&said, heard, i64::from(rate_hz) / 20);
    let alike = |said: &[i16], heard: &[i16]| -> Vec<f64> {
        let seconds = said.chunks_exact(second).zip(heard.chunks_exact(second));
        seconds
            .take(SECONDS)
            .map(|(a, b)| correlation(a, b))
            .collect()
    };
    let (a, b) = aligned(&said, heard, lag);
    let as_it_is = alike(a, b);
    if as_it_is.iter().skip(1).all(|like| *like >= LIKE) {
        return (as_it_is, vec![millis(lag); SECONDS]);
    }
    // A first packet that was late moves what follows.
    let (moved, lags) = followed(&said, heard, lag, second / 50);
    let lags = lags.iter().skip(25).step_by(50).take(SECONDS);
    (alike(&moved, heard), lags.map(|lag| millis(*lag)).collect())
}

/// The one stream of a side; every packet that tcpdump saw of it is in the recording.
fn as_on_the_wire<'w>(
    sidecar: &Sidecar,
    side: Side,
    wire: &'w BTreeMap<Stream, Seen>,
) -> Result<&'w Seen, String> {
    let streams: Vec<_> = sidecar.streams.iter().filter(|s| s.side == side).collect();
    let [stream] = streams[..] else {
        return Err(format!("{} streams of the {side}", streams.len()));
    };
    let ssrc = u32::from_str_radix(&stream.ssrc, 16).map_err(|error| error.to_string())?;
    let seen = wire.get(&(stream.source.clone(), ssrc));
    let seen = seen.ok_or_else(|| format!("{stream:?} was not on the wire"))?;
    // A phone may send on for some packets when the call is over.
    if stream.lost + stream.not_placed > 0 || stream.packets + 10 < seen.packets {
        return Err(format!("{stream:?} is {seen:?}"));
    }
    Ok(seen)
}

/// Ethernet, IPv4 and UDP, read by hand.
fn streams(capture: &Path) -> BTreeMap<Stream, Seen> {
    let mut files = CaptureFiles::open(&[capture.to_owned()]).unwrap();
    let mut streams = BTreeMap::new();
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
        let seen: &mut Seen = streams
            .entry((format!("{source}:{port}"), rtp.ssrc))
            .or_insert(Seen {
                first_ns: packet.time.as_nanos(),
                packets: 0,
            });
        seen.packets += 1;
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
