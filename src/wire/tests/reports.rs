//! HEP: what agents report.

use std::io::Write;

use proptest::prelude::*;

use super::*;

fn chunk(kind: u16, content: &[u8]) -> Vec<u8> {
    let length = content.len() as u16 + 6;
    [
        &[0, 0][..],
        &kind.to_be_bytes(),
        &length.to_be_bytes(),
        content,
    ]
    .concat()
}

fn hep(chunks: &[Vec<u8>]) -> Vec<u8> {
    let body = chunks.concat();
    let length = body.len() as u16 + 6;
    [&b"HEP3"[..], &length.to_be_bytes(), &body].concat()
}

/// From the phone to the PBX, seen by agent 2001 `seconds` after 1970.
fn report(content: u8, seconds: u32, payload: Vec<u8>) -> Vec<Vec<u8>> {
    vec![
        chunk(1, &[2]),
        chunk(2, &[17]),
        chunk(3, &PHONE),
        chunk(4, &PBX),
        chunk(7, &5060u16.to_be_bytes()),
        chunk(8, &5062u16.to_be_bytes()),
        chunk(9, &seconds.to_be_bytes()),
        chunk(10, &250_000u32.to_be_bytes()),
        chunk(11, &[content]),
        chunk(12, &2001u32.to_be_bytes()),
        payload,
    ]
}

fn hear(listener: &mut Listener, time: Timestamp, bytes: &[u8]) {
    listener.hear(packet(LinkType::Hep, time, bytes));
}

fn reported() -> Flow {
    let mut flow = flow_v4((5060, 5062));
    flow.vantage.tunnels = flow.vantage.tunnels.and_within("hep:2001".parse().unwrap());
    flow
}

#[test]
fn a_report_is_a_datagram_at_the_agents_own_vantage() {
    let mut listener = Listener::new();
    for content in [1, 4, 5] {
        let bytes = hep(&report(content, 100, chunk(15, b"payload")));
        hear(&mut listener, at_millis(100_500), &bytes);
    }
    let heard = (reported(), b"payload".to_vec(), false);
    assert_eq!(listener.heard.datagrams, vec![heard; 3]);
    assert_eq!(listener.counters().tunnels_hep, 3);
}

#[test]
fn version_6_addresses_and_chunks_of_vendors_are_read() {
    let mut chunks = report(1, 100, chunk(15, b"payload"));
    chunks[0] = chunk(1, &[10]);
    chunks[2] = chunk(5, &[0xfd; 16]);
    chunks[3] = chunk(6, &[0xfe; 16]);
    let mut foreign = chunk(3, b"not an address");
    foreign[1] = 7;
    chunks.insert(0, foreign);
    chunks.insert(0, chunk(0x777, b"unknown"));
    let bytes = hep(&chunks);
    let parsed = Hep::parse(&bytes).unwrap();
    assert_eq!(parsed.source, Endpoint::v6([0xfd; 16], 5060));
    assert_eq!(parsed.destination, Endpoint::v6([0xfe; 16], 5062));
    assert_eq!(parsed.payload(), Some(&b"payload"[..]));
}

#[test]
fn password_and_correlation_are_told() {
    let mut chunks = report(1, 100, chunk(15, b"payload"));
    chunks.push(chunk(14, b"secret"));
    chunks.push(chunk(17, b"call@host"));
    let bytes = hep(&chunks);
    let parsed = Hep::parse(&bytes).unwrap();
    assert_eq!(parsed.auth_key, Some(&b"secret"[..]));
    assert_eq!(parsed.correlation_id, Some(&b"call@host"[..]));
    assert_eq!((parsed.agent, parsed.content), (2001, HepContent::Sip));
}

/// The times of datagrams whose reports came at second 100.
fn time_of(seconds: u32) -> (Timestamp, u64) {
    let mut listener = Listener::new();
    let mut time = None;
    let bytes = hep(&report(4, seconds, chunk(15, b"payload")));
    let packet = packet(LinkType::Hep, at_millis(100_000), &bytes);
    listener.wire.handle_packet(&packet, &mut |unit| {
        if let Unit::Datagram(datagram) = unit {
            time = Some(datagram.time);
        }
    });
    (time.unwrap(), listener.counters().hep_clock_off)
}

#[test]
fn an_agents_clock_is_believed_for_two_seconds_back() {
    assert_eq!(time_of(99), (at_millis(99_250), 0));
    assert_eq!(time_of(98), (at_millis(98_250), 0));
    assert_eq!(time_of(97), (at_millis(100_000), 1));
    assert_eq!(time_of(0), (at_millis(100_000), 1));
    // Ahead: a little is nothing, more is a clock that is not set.
    assert_eq!(time_of(100), (at_millis(100_000), 0));
    assert_eq!(time_of(103), (at_millis(100_000), 1));
    assert_eq!(time_of(u32::MAX), (at_millis(100_000), 1));
}

#[test]
fn packed_payloads_are_unpacked_and_no_more_than_a_datagram() {
    let packed = |bytes: &[u8], gzip: bool| {
        let level = flate2::Compression::best();
        if gzip {
            let mut packer = flate2::write::GzEncoder::new(Vec::new(), level);
            packer.write_all(bytes).unwrap();
            return packer.finish().unwrap();
        }
        let mut packer = flate2::write::ZlibEncoder::new(Vec::new(), level);
        packer.write_all(bytes).unwrap();
        packer.finish().unwrap()
    };
    let mut listener = Listener::new();
    let payload = vec![b'x'; 60_000];
    for gzip in [false, true] {
        let bytes = hep(&report(1, 100, chunk(16, &packed(&payload, gzip))));
        hear(&mut listener, at_millis(100_500), &bytes);
        assert_eq!(
            listener.heard.datagrams.pop(),
            Some((reported(), payload.clone(), false))
        );
    }
    for content in [packed(&vec![0; 10_000_000], false), b"not packed".to_vec()] {
        hear(
            &mut listener,
            at_millis(100_500),
            &hep(&report(1, 100, chunk(16, &content))),
        );
    }
    assert_eq!(listener.counters().malformed_hep, 2);
}

#[test]
fn what_is_no_media_and_no_signalling_is_counted() {
    let mut listener = Listener::new();
    for (content, payload) in [
        (100, &b"a log line"[..]),
        (5, b"{\"type\":200}"),
        (34, b"{}"),
    ] {
        hear(
            &mut listener,
            at_millis(0),
            &hep(&report(content, 0, chunk(15, payload))),
        );
    }
    assert_eq!(listener.counters().hep_other, 3);
    assert!(listener.heard.datagrams.is_empty());
}

#[test]
fn lying_lengths_are_malformed() {
    let good = hep(&report(1, 100, chunk(15, b"payload")));
    let lying = |at: usize, value: u16| {
        let mut bytes = good.clone();
        bytes[at..at + 2].copy_from_slice(&value.to_be_bytes());
        bytes
    };
    let length = good.len() as u16;
    let mut listener = Listener::new();
    let bad = [
        lying(4, length + 1),
        lying(4, 5),
        lying(4, 0),
        lying(4, u16::MAX),
        lying(4, length - 3),
        lying(10, 0),
        lying(10, 5),
        lying(10, 8),
        lying(10, u16::MAX),
        good[..good.len() - 1].to_vec(),
        b"HEP3".to_vec(),
        b"HEP2 of a kind".to_vec(),
        Vec::new(),
        // No payload; no ports.
        hep(&report(1, 100, Vec::new())),
        hep(&report(1, 100, chunk(15, b"payload"))[..5]),
    ];
    for bytes in &bad {
        hear(&mut listener, at_millis(0), bytes);
    }
    assert_eq!(listener.counters().malformed_hep, bad.len() as u64);
    assert!(listener.heard.datagrams.is_empty());
}

#[test]
fn versions_1_and_2_are_read() {
    let ends = [&PHONE[..], &PBX].concat();
    let ports = [0x13, 0xc4, 0x13, 0xc6];
    let first = [&[1, 16, 2, 17][..], &ports, &ends, b"payload"].concat();
    let time = [1, 2, 3, 4, 5, 6, 7, 8, 0x07, 0xd1, 0, 0];
    let second = |length| [&[2, length, 2, 17][..], &ports, &ends, &time, b"payload"].concat();
    let v6 = [
        &[1, 40, 10, 6][..],
        &ports,
        &[0xfd; 16],
        &[0xfe; 16],
        b"payload",
    ]
    .concat();
    let agents = [&first, &second(16), &second(28), &v6].map(|bytes| {
        let parsed = Hep::parse(bytes).unwrap();
        assert_eq!(parsed.payload(), Some(&b"payload"[..]));
        assert_eq!((parsed.source.port, parsed.destination.port), (5060, 5062));
        parsed.agent
    });
    assert_eq!(agents, [0, 2001, 2001, 0]);
}

#[test]
fn reports_on_their_way_are_opened_where_it_is_asked_for() {
    let bytes = hep(&report(1, 100, chunk(15, b"payload")));
    let frame = ethernet(&[], 0x0800, &udp_v4((40_000, 9060), &bytes));
    let mut listener = Listener::new();
    listener.hear_frame(at_millis(100_500), &frame);
    assert_eq!(listener.heard.datagrams.pop().unwrap().1, bytes);
    let ports = TunnelPorts {
        hep: vec![TunnelPorts::HEP],
        ..TunnelPorts::default()
    };
    listener.wire = listener.wire.with_tunnel_ports(&ports);
    listener.hear_frame(at_millis(100_500), &frame);
    assert_eq!(
        listener.heard.datagrams.pop(),
        Some((reported(), b"payload".to_vec(), false))
    );
    let noise = ethernet(&[], 0x0800, &udp_v4((40_000, 9060), b"\x80 no report"));
    listener.hear_frame(at_millis(100_500), &noise);
    assert_eq!(listener.heard.datagrams.pop().unwrap().1, b"\x80 no report");
}

#[test]
fn a_stream_tells_how_long_its_next_packet_is() {
    assert_eq!(hep_length(b""), Ok(None));
    assert_eq!(hep_length(b"HEP3\x01"), Ok(None));
    assert_eq!(hep_length(b"HEP3\x01\x02..."), Ok(Some(0x102)));
    assert_eq!(hep_length(b"HEP3\x00\x05"), Err(HepError::Chunk));
    assert_eq!(hep_length(b"GET / "), Err(HepError::Unknown));
    assert_eq!(hep_length(b"HET"), Err(HepError::Unknown));
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_panic(
        head in prop::sample::select(vec![&b"HEP3"[..], b"", &[1, 16, 2, 17], &[2, 28, 10, 6]]),
        bytes in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let mut listener = Listener::new();
        hear(&mut listener, at_millis(0), &[head, &bytes].concat());
    }

    /// What is read of a damaged packet lies within it.
    #[test]
    fn damage_gives_an_error_or_less(
        payload in prop::collection::vec(any::<u8>(), 0..300),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
    ) {
        let mut bytes = hep(&report(1, 100, chunk(15, &payload)));
        prop_assert_eq!(Hep::parse(&bytes).unwrap().payload(), Some(&payload[..]));
        for (at, byte) in changes {
            let place = at.index(bytes.len());
            bytes[place] = byte;
        }
        if let Ok(parsed) = Hep::parse(&bytes) {
            prop_assert!(parsed.payload().is_none_or(|payload| payload.len() < bytes.len()));
        }
        let mut listener = Listener::new();
        hear(&mut listener, at_millis(0), &bytes);
    }
}
