//! TCP streams, from segments in frames.

use proptest::prelude::*;

use super::*;

const CALLER: (u16, u16) = (40_000, 5060);

#[derive(Clone, Copy, Default)]
struct Flags {
    syn: bool,
    fin: bool,
    rst: bool,
    ack: Option<u32>,
}

const SYN: Flags = Flags {
    syn: true,
    fin: false,
    rst: false,
    ack: None,
};
const FIN: Flags = Flags {
    syn: false,
    fin: true,
    rst: false,
    ack: None,
};
const RST: Flags = Flags {
    syn: false,
    fin: false,
    rst: true,
    ack: None,
};
const NONE: Flags = Flags {
    syn: false,
    fin: false,
    rst: false,
    ack: None,
};

fn segment(ports: (u16, u16), sequence: u32, flags: Flags, payload: &[u8]) -> Vec<u8> {
    let (source, destination) = if ports.1 == 5060 || ports.0 != 5060 {
        (PHONE, PBX)
    } else {
        (PBX, PHONE)
    };
    let mut builder =
        PacketBuilder::ipv4(source, destination, 64).tcp(ports.0, ports.1, sequence, 1000);
    builder = if flags.syn { builder.syn() } else { builder };
    builder = if flags.fin { builder.fin() } else { builder };
    builder = if flags.rst { builder.rst() } else { builder };
    builder = if let Some(ack) = flags.ack {
        builder.ack(ack)
    } else {
        builder
    };
    let mut ip = Vec::new();
    builder.write(&mut ip, payload).unwrap();
    ethernet(&[], 0x0800, &ip)
}

impl Listener {
    fn segment(&mut self, millis: i64, sequence: u32, flags: Flags, payload: &[u8]) {
        self.hear_frame(
            at_millis(millis),
            &segment(CALLER, sequence, flags, payload),
        );
    }

    fn text(&self) -> (Vec<String>, bool) {
        let (runs, ended) = self.heard.runs(&flow_v4(CALLER));
        (
            runs.into_iter()
                .map(|run| String::from_utf8(run).unwrap())
                .collect(),
            ended,
        )
    }
}

fn runs(runs: &[&str], ended: bool) -> (Vec<String>, bool) {
    (runs.iter().map(|run| run.to_string()).collect(), ended)
}

#[test]
fn a_connection_from_syn_to_fin_arrives_in_order_over_the_wrap_of_sequence_numbers() {
    let mut listener = Listener::new();
    let isn = u32::MAX - 4;
    listener.segment(0, isn, SYN, b"");
    listener.segment(1, isn.wrapping_add(4), NONE, b"defgh");
    listener.segment(2, isn.wrapping_add(9), FIN, b"ij");
    listener.segment(3, isn.wrapping_add(1), NONE, b"abc");
    listener.segment(4, isn.wrapping_add(9), FIN, b"ij");
    assert_eq!(listener.text(), runs(&["abcdefghij"], true));
    let c = listener.counters();
    assert_eq!(
        (c.tcp_out_of_order, c.tcp_repeated, c.tcp_gaps, c.tcp_bytes),
        (2, 1, 0, 10)
    );
}

#[test]
fn what_came_first_wins_where_segments_overlap() {
    let mut listener = Listener::new();
    listener.segment(0, 99, SYN, b"");
    listener.segment(0, 104, NONE, b"EF");
    listener.segment(0, 100, NONE, b"ab");
    listener.segment(0, 101, NONE, b"xcdxxgh");
    listener.segment(0, 100, NONE, b"yyyyyyyyi");
    assert_eq!(listener.text(), runs(&["abcdEFghi"], false));
}

#[test]
fn a_stream_joined_at_a_message_begins_there_and_elsewhere_with_a_gap() {
    let mut listener = Listener::new();
    listener.segment(0, 500, NONE, b"INVITE sip:b");
    assert_eq!(listener.text(), runs(&["INVITE sip:b"], false));
    let mut listener = Listener::new();
    listener.segment(0, 500, NONE, b"");
    assert_eq!(
        (
            listener.counters().tcp_ignored,
            listener.counters().tcp_followed
        ),
        (1, 0)
    );
    listener.segment(0, 500, NONE, b"tent-Length: 0");
    assert_eq!(listener.text(), runs(&["", "tent-Length: 0"], false));
}

#[test]
fn a_gap_is_given_up_after_its_time_even_if_no_segment_follows() {
    let mut listener = Listener::new();
    listener.segment(0, 99, SYN, b"");
    listener.segment(10, 103, NONE, b"def");
    listener.segment(20, 109, NONE, b"jkl");
    assert_eq!(listener.wire.next_timeout(), Some(at_millis(2010)));
    listener.hear_frame(at_millis(2009), &ethernet(&[], 0x0806, &[]));
    assert_eq!(listener.text(), runs(&[""], false));
    listener.hear_frame(at_millis(2010), &ethernet(&[], 0x0806, &[]));
    assert_eq!(listener.text(), runs(&["", "def"], false));
    listener.hear_frame(at_millis(2020), &ethernet(&[], 0x0806, &[]));
    assert_eq!(listener.text(), runs(&["", "def", "jkl"], false));
    assert_eq!(listener.counters().tcp_gaps, 2);
}

#[test]
fn acknowledged_bytes_are_not_waited_for_long() {
    let mut listener = Listener::new();
    listener.segment(0, 99, SYN, b"");
    listener.segment(10, 103, NONE, b"def");
    let reply = segment(
        (5060, 40_000),
        1,
        Flags {
            ack: Some(106),
            ..NONE
        },
        b"SIP/2.0 100",
    );
    listener.hear_frame(at_millis(20), &reply);
    assert_eq!(listener.wire.next_timeout(), Some(at_millis(220)));
    listener.hear_frame(at_millis(220), &ethernet(&[], 0x0806, &[]));
    assert_eq!(listener.text(), runs(&["", "def"], false));
}

#[test]
fn too_many_bytes_behind_a_gap_end_the_waiting() {
    let limits = WireLimits {
        tcp_stream_buffer_bytes: 1000,
        ..WireLimits::default()
    };
    let mut listener = Listener::with(limits);
    listener.segment(0, 99, SYN, b"");
    for n in 0..4u32 {
        listener.segment(0, 200 + n * 200, NONE, &[b'a' + n as u8; 200]);
    }
    let (runs, _) = listener.text();
    assert_eq!((runs.len(), runs[1].len()), (2, 800));
}

#[test]
fn all_streams_together_stay_under_the_cap_on_bytes() {
    let limits = WireLimits {
        tcp_buffer_bytes: 5000,
        ..WireLimits::default()
    };
    let mut listener = Listener::with(limits);
    for port in 1000..1100 {
        listener.hear_frame(at_millis(0), &segment((port, 5060), 99, SYN, b""));
        listener.hear_frame(
            at_millis(0),
            &segment((port, 5060), 200, NONE, &[b'x'; 500]),
        );
    }
    let held_back = 5000 / 564;
    assert_eq!(listener.counters().tcp_bytes, (100 - held_back) * 500);
    assert_eq!(listener.counters().tcp_gaps, 100 - held_back);
}

#[test]
fn the_stream_idle_longest_makes_room() {
    let limits = WireLimits {
        tcp_streams: 2,
        ..WireLimits::default()
    };
    let mut listener = Listener::with(limits);
    for (millis, port) in [(0, 1), (1, 2), (2, 1), (3, 3)] {
        let sequence = 100 + 10 * millis as u32;
        let flags = if millis == 2 { NONE } else { SYN };
        listener.hear_frame(
            at_millis(millis),
            &segment((port, 5060), sequence, flags, b""),
        );
    }
    let ended: Vec<u16> = listener
        .heard
        .streams
        .keys()
        .map(|flow| flow.source.port)
        .collect();
    assert_eq!(
        (ended, listener.counters().tcp_streams_evicted),
        (vec![2], 1)
    );
}

#[test]
fn idle_streams_are_forgotten_with_what_they_hold() {
    let mut listener = Listener::new();
    listener.segment(0, 99, SYN, b"");
    listener.segment(0, 100, NONE, b"abc");
    listener.hear_frame(at_millis(3_600_000), &segment((7, 5060), 99, SYN, b""));
    assert_eq!(listener.text(), runs(&["abc"], true));
    assert_eq!(listener.counters().tcp_streams_idle, 1);
}

#[test]
fn ports_used_again_begin_a_stream_anew() {
    let mut listener = Listener::new();
    listener.segment(0, 99, SYN, b"");
    listener.segment(0, 100, NONE, b"old ");
    listener.segment(0, 99, SYN, b"");
    listener.segment(0, 104, NONE, b"connection ");
    listener.segment(1, 5_000_000, SYN, b"");
    listener.segment(1, 5_000_001, NONE, b"new");
    assert_eq!(listener.text(), runs(&["old connection new"], true));
    assert_eq!(listener.counters().tcp_streams, 2);
    let events = &listener.heard.streams[&flow_v4(CALLER)];
    assert_eq!(events[2].0, StreamEvent::End);
}

#[test]
fn ports_used_again_without_a_syn_are_found_after_a_few_segments() {
    let mut listener = Listener::new();
    listener.segment(0, 99, SYN, b"");
    listener.segment(0, 100, NONE, b"old");
    for n in 0..4u32 {
        listener.segment(1, 2_000_000_000 + n * 5, NONE, b"INV12");
    }
    assert_eq!(listener.text(), runs(&["old", "INV12INV12"], false));
    assert_eq!(listener.counters().tcp_out_of_window, 2);
}

#[test]
fn a_reset_gives_out_what_was_held_back_and_ends() {
    let mut listener = Listener::new();
    listener.segment(0, 99, SYN, b"");
    listener.segment(0, 103, NONE, b"def");
    listener.segment(0, 106, RST, b"");
    listener.segment(0, 106, RST, b"");
    assert_eq!(listener.text(), runs(&["", "def"], true));
    assert_eq!(listener.counters().tcp_ignored, 1);
}

#[test]
fn streams_on_other_ports_are_followed_once_they_speak_sip() {
    let ports = (40_000, 443);
    let mut listener = Listener::new();
    for (sequence, flags, payload) in [
        (99, SYN, b"".as_slice()),
        (100, NONE, b"GET / "),
        (106, NONE, b"INVITE "),
        (113, NONE, b"sip:b"),
    ] {
        listener.hear_frame(at_millis(0), &segment(ports, sequence, flags, payload));
    }
    listener.hear_frame(at_millis(0), &segment((40_001, 443), 113, NONE, b"sip:b"));
    assert_eq!(
        listener.heard.runs(&flow_v4(ports)).0,
        [b"INVITE sip:b".to_vec()]
    );
    assert_eq!(
        (
            listener.counters().tcp_ignored,
            listener.counters().tcp_followed
        ),
        (3, 2)
    );
}

#[test]
fn a_segment_cut_by_the_snapshot_length_leaves_a_gap() {
    let mut listener = Listener::new();
    listener.segment(0, 99, SYN, b"");
    let frame = segment(CALLER, 100, NONE, b"abcdef");
    let data = &frame[..frame.len() - 3];
    listener.hear(Packet {
        original_len: frame.len() as u32,
        ..packet(LinkType::Ethernet, at_millis(0), data)
    });
    listener.segment(0, 106, NONE, b"ghi");
    listener.finish(at_millis(1));
    assert_eq!(listener.text(), runs(&["abc", "ghi"], true));
}

/// Segments of `data`, those of `cuts` and, if `complete`, enough to cover it; in random order.
fn shuffled(
    length: usize,
    cuts: &[(usize, usize)],
    step: Option<usize>,
    mut state: u64,
) -> Vec<(usize, usize)> {
    let mut segments: Vec<_> = cuts
        .iter()
        .map(|(start, len)| (start % length, (start % length + len).min(length)))
        .collect();
    if let Some(step) = step {
        segments.extend(
            (0..length)
                .step_by(step)
                .map(|start| (start, (start + step).min(length))),
        );
    }
    for index in (1..segments.len()).rev() {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        segments.swap(index, (state >> 33) as usize % (index + 1));
    }
    segments
}

proptest! {
    #[test]
    fn a_stream_cut_and_shuffled_at_will_arrives_whole(
        data in prop::collection::vec(any::<u8>(), 1..5000),
        cuts in prop::collection::vec((any::<usize>(), 1usize..700), 0..20),
        step in 1usize..600,
        isn in prop_oneof![any::<u32>(), (u32::MAX - 5000)..=u32::MAX],
        seed in any::<u64>(),
    ) {
        let mut listener = Listener::with(WireLimits { tcp_stream_buffer_bytes: 1 << 20, ..WireLimits::default() });
        listener.segment(0, isn, SYN, b"");
        let first = isn.wrapping_add(1);
        listener.segment(0, first.wrapping_add(data.len() as u32), FIN, b"");
        for (start, end) in shuffled(data.len(), &cuts, Some(step), seed) {
            listener.segment(0, first.wrapping_add(start as u32), NONE, &data[start..end]);
        }
        let (runs, ended) = listener.heard.runs(&flow_v4(CALLER));
        prop_assert_eq!(runs, vec![data]);
        prop_assert!(ended);
        prop_assert_eq!(listener.counters().tcp_gaps, 0);
    }

    #[test]
    fn with_losses_the_rest_arrives_in_its_place(
        data in prop::collection::vec(any::<u8>(), 1..5000),
        cuts in prop::collection::vec((any::<usize>(), 1usize..700), 1..20),
        isn in prop_oneof![any::<u32>(), (u32::MAX - 5000)..=u32::MAX],
        seed in any::<u64>(),
    ) {
        let mut listener = Listener::new();
        listener.segment(0, isn, SYN, b"");
        let mut covered = vec![false; data.len()];
        for (start, end) in shuffled(data.len(), &cuts, None, seed) {
            listener.segment(0, isn.wrapping_add(1 + start as u32), NONE, &data[start..end]);
            covered[start..end].fill(true);
        }
        listener.finish(at_millis(1));
        let mut expected: Vec<Vec<u8>> = vec![vec![]];
        for (place, byte) in data.iter().enumerate().filter(|(place, _)| covered[*place]) {
            if place.checked_sub(1).is_some_and(|before| !covered[before]) {
                expected.push(vec![]);
            }
            expected.last_mut().unwrap().push(*byte);
        }
        prop_assert_eq!(listener.heard.runs(&flow_v4(CALLER)), (expected, true));
    }

    #[test]
    fn hostile_segments_never_panic_and_stay_under_the_caps(
        segments in prop::collection::vec(
            (0u16..6, any::<u32>(), 0usize..300, 0u8..16, prop::option::of(any::<u32>()), 0i64..500),
            0..200,
        ),
        spread in 1u32..u32::MAX,
    ) {
        let limits = WireLimits {
            tcp_streams: 3,
            tcp_stream_buffer_bytes: 2000,
            tcp_buffer_bytes: 3000,
            ..WireLimits::default()
        };
        let mut listener = Listener::with(limits);
        let mut millis = 0;
        for (port, sequence, length, flags, ack, step) in segments {
            millis += step;
            let flags = Flags { syn: flags == 1, fin: flags == 2, rst: flags == 3, ack };
            let ports = if port % 2 == 0 { (port, 5060) } else { (5060, port - 1) };
            let frame = segment(ports, sequence % spread, flags, &vec![b'x'; length]);
            listener.hear_frame(at_millis(millis), &frame);
            listener.wire.streams.assert_consistent();
        }
        listener.finish(at_millis(millis));
        listener.wire.streams.assert_consistent();
        prop_assert_eq!(listener.wire.next_timeout(), None);
    }
}
