//! The simulated world as its users see it: frames, truth and scores together.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use etherparse::{NetSlice, SlicedPacket, TransportSlice};
use proptest::prelude::*;

use super::*;
use crate::base::{PerSide, Side, Timestamp};

mod scores;

type Frames = Vec<(Timestamp, Vec<u8>)>;

fn simulate(scenario: &Scenario) -> (Frames, Truth) {
    let mut frames = Vec::new();
    let truth = generate(scenario, &mut frames).unwrap();
    (frames, truth)
}

/// Every feature in every call that allows it.
fn all_of(change: impl FnOnce(&mut Features)) -> Features {
    let mut features = Features::default();
    change(&mut features);
    features
}

fn short(features: Features) -> Scenario {
    Scenario {
        features,
        calls: 6,
        talk: Duration::from_secs(4),
        ring: Duration::from_millis(200),
        ..Scenario::default()
    }
}

/// Payloads of UDP datagrams with their ports, fragments put together.
fn datagrams(frames: &Frames) -> Vec<(u16, u16, Vec<u8>)> {
    let mut parts: HashMap<Vec<u8>, BTreeMap<u16, Vec<u8>>> = HashMap::new();
    let mut found = Vec::new();
    for (_, frame) in frames {
        let packet = SlicedPacket::from_ethernet(frame).unwrap();
        if let Some(TransportSlice::Udp(udp)) = &packet.transport {
            found.push((
                udp.source_port(),
                udp.destination_port(),
                udp.payload().to_vec(),
            ));
            continue;
        }
        let (key, offset) = match packet.net.as_ref().unwrap() {
            NetSlice::Ipv4(ip) if ip.payload().fragmented => {
                let header = ip.header();
                let key = [&header.source()[..], &header.identification().to_be_bytes()].concat();
                (key, header.fragments_offset().value() * 8)
            }
            NetSlice::Ipv6(ip) if ip.payload().fragmented => {
                let raw = &ip.extensions().slice()[..8];
                let word = u16::from_be_bytes([raw[2], raw[3]]);
                let key = [&ip.header().source()[..], &raw[4..8]].concat();
                (key, word & !7)
            }
            _ => continue,
        };
        parts
            .entry(key)
            .or_default()
            .insert(offset, packet.ip_payload().unwrap().payload.to_vec());
    }
    for pieces in parts.into_values() {
        let whole: Vec<u8> = pieces.into_values().flatten().collect();
        let port = |at: usize| u16::from_be_bytes([whole[at], whole[at + 1]]);
        assert_eq!(
            usize::from(port(4)),
            whole.len(),
            "a datagram of fragments is whole"
        );
        found.push((port(0), port(2), whole[8..].to_vec()));
    }
    found
}

/// Bytes of each direction of each TCP connection, in order of sequence numbers.
fn streams(frames: &Frames) -> Vec<Vec<u8>> {
    /// Addresses and ports; the first sequence number, and bytes by their place after it.
    type Connections = BTreeMap<(Vec<u8>, u16, u16), (u32, BTreeMap<u32, u8>)>;
    let mut found = Connections::new();
    for (_, frame) in frames {
        let packet = SlicedPacket::from_ethernet(frame).unwrap();
        let Some(TransportSlice::Tcp(tcp)) = &packet.transport else {
            continue;
        };
        let key = (
            frame[..12].to_vec(),
            tcp.source_port(),
            tcp.destination_port(),
        );
        let (first, bytes) = found.entry(key).or_default();
        if tcp.syn() {
            *first = tcp.sequence_number().wrapping_add(1);
        }
        for (i, byte) in tcp.payload().iter().enumerate() {
            let place = tcp
                .sequence_number()
                .wrapping_sub(*first)
                .wrapping_add(i as u32);
            assert!(
                bytes
                    .insert(place, *byte)
                    .is_none_or(|before| before == *byte)
            );
        }
    }
    found
        .into_values()
        .map(|(_, bytes)| {
            assert!(
                bytes.keys().copied().eq(0..bytes.len() as u32),
                "no byte is missing"
            );
            bytes.into_values().collect()
        })
        .collect()
}

/// rsip refuses IPv6 addresses in URIs: it is given a name instead.
fn parse_sip(bytes: &[u8]) -> rsip::SipMessage {
    let mut text = String::from_utf8(bytes.to_vec()).unwrap();
    while let Some(from) = text.find('[') {
        let to = from + text[from..].find(']').unwrap();
        text.replace_range(from..=to, "host.example");
    }
    let bytes = text.as_bytes();
    rsip::SipMessage::try_from(bytes)
        .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(bytes)))
}

fn sip_messages(frames: &Frames) -> Vec<rsip::SipMessage> {
    let is_sip = |d: &(u16, u16, Vec<u8>)| d.0 == 5060 || d.1 == 5060;
    datagrams(frames)
        .iter()
        .filter(|d| is_sip(d))
        .map(|d| parse_sip(&d.2))
        .collect()
}

fn recording(call: &TruthCall, rate: u32) -> (Vec<i16>, Vec<i16>, Timestamp) {
    let start = call.first_media().unwrap();
    let PerSide { caller, callee } = synthesise(call, rate, start);
    (caller, callee, start)
}

fn assert_sound(frames: &Frames, truth: &Truth) {
    assert!(
        frames.windows(2).all(|pair| pair[0].0 <= pair[1].0),
        "times never go back"
    );
    assert_eq!(truth.frames, frames.len() as u64);
    assert_eq!(
        truth.bytes,
        frames.iter().map(|(_, f)| f.len() as u64).sum::<u64>()
    );
    assert_eq!(
        truth.frames,
        truth.calls.iter().map(TruthCall::frames).sum::<u64>()
    );
    for (_, frame) in frames {
        assert!(frame.len() <= 1522);
        SlicedPacket::from_ethernet(frame).unwrap();
    }
}

/// Every audio packet carries what the truth says, and all that the truth says arrived did.
fn assert_audio_is_as_told(frames: &Frames, truth: &Truth) {
    let mut heard: HashMap<(u32, Side), BTreeMap<u64, u64>> = HashMap::new();
    let spans: HashMap<u32, Vec<(&TruthCall, Side, MediaSpan)>> = truth
        .calls
        .iter()
        .flat_map(|call| Side::BOTH.map(|side| (call, side)))
        .flat_map(|(call, side)| {
            call.sides[side]
                .spans
                .iter()
                .map(move |span| (call, side, *span))
        })
        .fold(HashMap::new(), |mut map, entry| {
            map.entry(entry.2.ssrc).or_insert_with(Vec::new).push(entry);
            map
        });
    for (from, to, payload) in datagrams(frames) {
        let is_rtp =
            from >= 10_000 && to >= 10_000 && payload[1] & 0x7f < 64 || payload[1] & 0x7f >= 96;
        if from == 5060 || to == 5060 || !is_rtp || matches!(payload[1] & 0x7f, 13 | 101 | 105) {
            continue;
        }
        let word = |at: usize| u32::from_be_bytes(payload[at..at + 4].try_into().unwrap());
        let (timestamp, ssrc) = (word(4), word(8));
        let told = spans[&ssrc].iter().find(|(_, _, span)| {
            u64::from(timestamp.wrapping_sub(span.rtp_timestamp)) < span.samples
        });
        let (call, side, span) = told.expect("an audio packet belongs to a span");
        assert_eq!(payload[1] & 0x7f, span.codec.payload_type());
        let first = span.first_sample + u64::from(timestamp.wrapping_sub(span.rtp_timestamp));
        let samples = (payload.len() - 12) / span.codec.sample_bytes();
        let voice = Voice::new(call.sides[*side].voice);
        let mut expected = Vec::new();
        let values: Vec<i16> = (0..samples as u64)
            .map(|n| voice.sample(first + n))
            .collect();
        span.codec.encode(&values, &mut expected);
        assert_eq!(payload[12..], expected);
        heard
            .entry((call.index, *side))
            .or_default()
            .insert(first, samples as u64);
    }
    for call in &truth.calls {
        for (side, told) in call.sides.iter() {
            let heard = heard.remove(&(call.index, side)).unwrap_or_default();
            let delivered: u64 = told.delivered().iter().map(|piece| piece.samples).sum();
            assert_eq!(
                heard.values().sum::<u64>(),
                delivered,
                "call {} {side}",
                call.index
            );
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_seed_others() {
    let (one, truth) = simulate(&Scenario::rough(5, 12));
    let (again, truth_again) = simulate(&Scenario::rough(5, 12));
    assert!(one == again && truth == truth_again);
    assert!(one != simulate(&Scenario::rough(6, 12)).0);
}

#[test]
fn a_rough_world_is_as_its_truth_tells() {
    let (frames, truth) = simulate(&Scenario::rough(2, 40));
    assert_sound(&frames, &truth);
    assert_audio_is_as_told(&frames, &truth);
    assert_eq!(truth.calls.len(), 40);
    assert!(
        truth
            .calls
            .iter()
            .any(|call| call.sides.caller.described_as.is_some())
    );
    assert!(truth.calls.iter().any(|call| !call.holds.is_empty()));
    assert!(
        truth
            .calls
            .iter()
            .any(|call| !call.sides.callee.digits.is_empty())
    );
    assert!(
        truth
            .calls
            .iter()
            .any(|call| call.disposition == Disposition::Cancelled)
    );
}

#[test]
fn plain_calls_send_as_many_packets_as_they_talk() {
    let (frames, truth) = simulate(&Scenario::benchmark(7, Duration::from_secs(3)));
    assert_sound(&frames, &truth);
    for call in &truth.calls {
        assert_eq!(
            (
                call.sides.caller.packets_sent,
                call.sides.callee.packets_sent
            ),
            (150, 150)
        );
        assert_eq!(call.sides.caller.spans.len(), 1);
    }
    assert_eq!(
        frames
            .iter()
            .filter(|(_, frame)| frame.len() == 214)
            .count(),
        7 * 300
    );
}

#[test]
fn signalling_parses_with_another_parser_and_ends_every_call() {
    let (frames, truth) = simulate(&short(Features::default()));
    let messages = sip_messages(&frames);
    assert_eq!(
        messages.len() as u64,
        truth.calls.iter().map(|c| c.sip_frames).sum::<u64>()
    );
    let byes = messages
        .iter()
        .filter(|m| m.to_string().starts_with("BYE"))
        .count();
    assert_eq!(byes, truth.calls.len());
}

#[test]
fn fragments_and_tcp_carry_whole_messages() {
    let features = all_of(|f| (f.fragments, f.ipv6, f.vlan) = (100, 50, 50));
    let (frames, truth) = simulate(&short(features));
    assert_sound(&frames, &truth);
    assert!(
        sip_messages(&frames)
            .iter()
            .any(|message| message.to_string().len() > 3000)
    );

    let (frames, truth) = simulate(&short(all_of(|f| (f.tcp, f.hold) = (100, 100))));
    assert_sound(&frames, &truth);
    let streams = streams(&frames);
    assert_eq!(streams.len(), 2 * truth.calls.len());
    for stream in streams {
        let text = String::from_utf8(stream).unwrap();
        let mut rest = text.trim_start();
        while let Some((head, after)) = rest.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("Content-Length: "))
                .unwrap();
            let length: usize = length.parse().unwrap();
            parse_sip(format!("{head}\r\n\r\n{}", &after[..length]).as_bytes());
            rest = after[length..].trim_start();
        }
        assert_eq!(rest, "");
    }
}

#[test]
fn sdp_tells_where_media_comes_from_except_behind_nat() {
    for nat in [0, 100] {
        let (frames, truth) = simulate(&short(all_of(|f| f.nat = nat)));
        let texts: Vec<String> = sip_messages(&frames)
            .iter()
            .map(ToString::to_string)
            .collect();
        for call in &truth.calls {
            let own: Vec<_> = texts
                .iter()
                .filter(|text| text.contains(&call.sip_call_id))
                .collect();
            let described = |side: &TruthSide| {
                let (ip, port) = side.media_from.rsplit_once(':').unwrap();
                own.iter().any(|text| {
                    text.contains(&format!("c=IN IP4 {ip}\r\n"))
                        && text.contains(&format!("m=audio {port} "))
                })
            };
            let count = call
                .sides
                .iter()
                .filter(|(_, side)| described(side))
                .count();
            assert_eq!(count, if nat == 100 { 1 } else { 2 });
        }
    }
}

#[test]
fn holds_silence_who_they_say() {
    let (_, truth) = simulate(&short(all_of(|f| f.hold = 100)));
    for call in &truth.calls {
        let hold = call.holds[0];
        for (side, told) in call.sides.iter() {
            let sends_music = hold.kind == HoldKind::Music && side == hold.by;
            assert_eq!(
                told.spans.len(),
                if sends_music { 1 } else { 2 },
                "{:?}",
                hold.kind
            );
        }
    }
}

#[test]
fn media_comes_before_the_signalling_that_announces_it() {
    let (_, truth) = simulate(&short(all_of(|f| f.media_ahead = 100)));
    for call in &truth.calls {
        let first = call.first_media().unwrap().as_nanos();
        assert_eq!(call.answered_ns.unwrap() - first, 1_500_000_000);
        assert!(first < call.started_ns);
    }
    let (_, truth) = simulate(&short(all_of(|f| f.answer_first = 100)));
    assert!(
        truth
            .calls
            .iter()
            .all(|call| call.answered_ns.unwrap() < call.started_ns)
    );
    let (_, truth) = simulate(&short(all_of(|f| f.early_media = 100)));
    assert!(
        truth
            .calls
            .iter()
            .all(|call| call.first_media().unwrap().as_nanos() < call.answered_ns.unwrap())
    );
}

#[test]
fn calls_wait_for_room() {
    let scenario = Scenario {
        concurrent: Some(2),
        calls: 6,
        ..short(Features::default())
    };
    let (frames, truth) = simulate(&scenario);
    assert_sound(&frames, &truth);
    for three in truth.calls.windows(3) {
        assert!(three[2].started_ns > three[0].ended_ns);
    }
}

#[test]
fn given_first_values_wrap() {
    let scenario = Scenario {
        first_sequence: Some(65_530),
        first_timestamp: Some(u32::MAX - 300),
        ..short(Features::default())
    };
    let (frames, truth) = simulate(&scenario);
    assert_audio_is_as_told(&frames, &truth);
    assert!(
        truth
            .calls
            .iter()
            .all(|call| call.sides.caller.spans[0].rtp_timestamp == u32::MAX - 300)
    );
}

#[test]
fn truth_survives_its_file() {
    let (_, truth) = simulate(&Scenario::rough(9, 10));
    let file = tempfile::NamedTempFile::new().unwrap();
    truth.save(file.path()).unwrap();
    assert_eq!(Truth::load(file.path()).unwrap(), truth);
}

prop_compose! {
    fn any_features()(shares in prop::collection::vec(prop::sample::select(vec![0u8, 0, 30, 100]), 20)) -> Features {
        Features {
            nat: shares[0],
            hold: shares[1],
            early_media: shares[2],
            late_offer: shares[3],
            tcp: shares[4],
            fragments: shares[5],
            vlan: shares[6],
            ipv6: shares[7],
            dtmf: shares[8],
            comfort_noise: shares[9],
            ssrc_change: shares[10],
            codec_change: shares[11],
            rtcp: shares[12],
            rtcp_mux: shares[13],
            media_ahead: shares[14],
            answer_first: shares[15],
            no_bye: shares[16],
            bye_repeated: shares[17],
            // Not always all: there would be little left to see.
            cancelled: shares[18].min(30),
            rejected: shares[19].min(30),
        }
    }
}

prop_compose! {
    fn any_network()(
        loss in 0.0..30.0, reorder in 0.0..20.0, reorder_by in 0u8..5, duplicate in 0.0..10.0,
        jitter in 0u64..120, caller in -500i32..500, callee in -500i32..500, is_clean in any::<bool>(),
    ) -> Network {
        if is_clean {
            return Network::default();
        }
        Network {
            loss_percent: loss,
            reorder_percent: reorder,
            reorder_by,
            duplicate_percent: duplicate,
            jitter: Duration::from_millis(jitter),
            drift_ppm: PerSide { caller, callee },
        }
    }
}

prop_compose! {
    fn any_scenario()(
        seed in any::<u64>(), features in any_features(), network in any_network(),
        times in (0u64..2000, 0u64..2500, 0u64..500, 0u64..2000, 0u64..=2000),
        codecs in prop::collection::vec(prop::sample::select(Codec::ALL.to_vec()), 1..3),
        ptime_ms in 10u16..=60, calls in 0u32..5, concurrent in prop::option::of(1u32..3),
        tenants in 1u8..=250, extensions in 2u16..=50_000, vlan_depth in 1u8..=2,
    ) -> Scenario {
        let [spacing, talk, ring, hold, media_ahead] =
            [times.0, times.1, times.2, times.3, times.4].map(Duration::from_millis);
        Scenario {
            seed, features, network, spacing, talk, ring, hold, media_ahead, codecs, ptime_ms, calls, concurrent,
            tenants, extensions, vlan_depth, ..Scenario::default()
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_scenario_is_sound_and_as_its_truth_tells(scenario in any_scenario()) {
        let (frames, truth) = simulate(&scenario);
        assert_sound(&frames, &truth);
        assert_audio_is_as_told(&frames, &truth);
        prop_assert_eq!(truth.calls.len() as u32, scenario.calls);
        let is_true = scenario.network.drift_ppm == PerSide::default();
        for call in truth.calls.iter().filter(|call| call.disposition == Disposition::Recorded && is_true) {
            let (left, right, start) = recording(call, 8000);
            let found = score(&left, &right, 8000, start, call);
            for (side, score) in found.sides.iter() {
                let is_narrow = call.sides[side].spans.iter().all(|s| s.codec.clock_rate_hz() == 8000);
                prop_assert!(!is_narrow || score.is_exact(), "{:?}", score);
            }
        }
    }
}
