use flate2::{Compress, Compression, FlushCompress};
use proptest::prelude::*;

use super::*;

const MAX: usize = 64 << 10;
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];
const OPTIONS: &str = "OPTIONS sip:1002@example.com SIP/2.0\r\nCall-ID: a\r\n\r\n";
const RINGING: &str = "SIP/2.0 180 Ringing\r\nCall-ID: a\r\n\r\n";

/// A frame as RFC 6455 section 5.2 draws it.
fn frame(first: u8, mask: Option<[u8; 4]>, payload: &[u8]) -> Vec<u8> {
    let masked = if mask.is_some() { 0x80 } else { 0 };
    let mut frame = vec![first];
    match payload.len() {
        length @ 0..=125 => frame.push(masked | length as u8),
        length @ 126..=65_535 => {
            frame.push(masked | 126);
            frame.extend((length as u16).to_be_bytes());
        }
        length => {
            frame.push(masked | 127);
            frame.extend((length as u64).to_be_bytes());
        }
    }
    let mask = mask.inspect(|mask| frame.extend(mask)).unwrap_or_default();
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(a, b)| a ^ b));
    frame
}

fn text(payload: &str) -> Vec<u8> {
    frame(0x81, None, payload.as_bytes())
}

fn read_all(reader: &mut Reader, bytes: &[u8]) -> (Vec<String>, WebSocketCounters) {
    let (mut counters, mut messages) = (WebSocketCounters::default(), Vec::new());
    reader.push(bytes, &mut counters, &mut messages);
    let messages = messages.into_iter().map(|m| String::from_utf8(m).unwrap());
    (messages.collect(), counters)
}

/// What a sender with permessage-deflate makes of messages, one after the other.
struct Deflater {
    stream: Compress,
    takeover: bool,
}

impl Deflater {
    fn new(takeover: bool) -> Deflater {
        let stream = Compress::new(Compression::best(), false);
        Deflater { stream, takeover }
    }

    fn message(&mut self, payload: &str) -> Vec<u8> {
        let mut out = Vec::with_capacity(payload.len() + 1024);
        self.stream
            .compress_vec(payload.as_bytes(), &mut out, FlushCompress::Sync)
            .unwrap();
        assert_eq!(out.split_off(out.len() - 4), [0, 0, 0xff, 0xff]);
        if !self.takeover {
            self.stream.reset();
        }
        out
    }

    fn frame(&mut self, payload: &str) -> Vec<u8> {
        let message = self.message(payload);
        frame(0xc1, Some(MASK), &message)
    }
}

fn numbered(n: usize) -> String {
    format!(
        "MESSAGE sip:{n}@example.com SIP/2.0\r\nCall-ID: {n}\r\nSubject: the same words in each\r\n\r\n"
    )
}

#[test]
fn masked_and_unmasked_frames_are_one_message_each() {
    let bytes = [
        frame(0x81, Some(MASK), OPTIONS.as_bytes()),
        frame(0x82, None, RINGING.as_bytes()),
    ];
    let (messages, counters) = read_all(&mut Reader::new(MAX), &bytes.concat());
    assert_eq!(messages, [OPTIONS, RINGING]);
    assert_eq!((counters.messages, counters.bytes_skipped), (2, 0));
}

#[test]
fn control_frames_stand_between_fragments() {
    let (a, b) = OPTIONS.as_bytes().split_at(20);
    let bytes = [
        frame(0x01, Some(MASK), a),
        frame(0x89, Some([1, 2, 3, 4]), b"ping"),
        frame(0x00, Some([9; 4]), b""),
        frame(0x8a, None, b""),
        frame(0x80, Some([5, 6, 7, 8]), b),
    ];
    let (messages, counters) = read_all(&mut Reader::new(MAX), &bytes.concat());
    assert_eq!(messages, [OPTIONS]);
    assert_eq!(counters.lost, 0);
}

#[test]
fn keep_alives_and_what_is_not_sip_are_counted() {
    let bytes = [text("\r\n\r\n"), text("hello"), text(""), text(OPTIONS)].concat();
    let (messages, counters) = read_all(&mut Reader::new(MAX), &bytes);
    assert_eq!(messages, [OPTIONS]);
    assert_eq!((counters.keep_alives, counters.other_messages), (2, 1));
}

#[test]
fn long_messages_have_long_lengths_and_too_long_ones_are_skipped() {
    let long = |length: usize| format!("{OPTIONS}{}", "x".repeat(length));
    let bytes = [text(&long(200)), text(&long(66_000)), text(&long(300))].concat();
    let (messages, counters) = read_all(&mut Reader::new(MAX), &bytes);
    assert_eq!(messages, [long(200), long(300)]);
    assert_eq!((counters.too_long, counters.lost), (1, 0));
}

#[test]
fn compressed_messages_are_inflated_with_and_without_takeover() {
    for takeover in [true, false] {
        let mut deflater = Deflater::new(takeover);
        let sent: Vec<String> = (0..20).map(numbered).collect();
        let mut bytes: Vec<u8> = sent.iter().flat_map(|m| deflater.frame(m)).collect();
        // Uncompressed ones may stand between them.
        bytes.extend(text(RINGING));
        bytes.extend(deflater.frame(OPTIONS));
        let (messages, counters) = read_all(&mut Reader::new(MAX), &bytes);
        assert_eq!(messages[..20], sent);
        assert_eq!(messages[20..], [RINGING, OPTIONS], "takeover {takeover}");
        assert_eq!(counters.undecodable, 0);
    }
}

#[test]
fn a_compressed_message_in_fragments_says_so_once() {
    let message = Deflater::new(true).message(OPTIONS);
    let (a, b) = message.split_at(10);
    let bytes = [frame(0x41, Some(MASK), a), frame(0x80, Some(MASK), b)].concat();
    assert_eq!(read_all(&mut Reader::new(MAX), &bytes).0, [OPTIONS]);
}

#[test]
fn a_final_block_ends_what_may_be_referred_to() {
    let mut out = Vec::with_capacity(1024);
    let mut stream = Compress::new(Compression::best(), false);
    stream
        .compress_vec(OPTIONS.as_bytes(), &mut out, FlushCompress::Finish)
        .unwrap();
    let bytes = [frame(0xc1, None, &out), Deflater::new(true).frame(RINGING)].concat();
    assert_eq!(
        read_all(&mut Reader::new(MAX), &bytes).0,
        [OPTIONS, RINGING]
    );
}

#[test]
fn a_bomb_is_refused_and_what_follows_is_read() {
    let mut stream = Compress::new(Compression::best(), false);
    let mut out = Vec::with_capacity(1 << 20);
    let zeros = vec![b' '; 8 << 20];
    stream
        .compress_vec(&zeros, &mut out, FlushCompress::Sync)
        .unwrap();
    let bytes = [frame(0xc1, None, &out), Deflater::new(true).frame(RINGING)].concat();
    let (messages, counters) = read_all(&mut Reader::new(16 << 20), &bytes);
    assert_eq!((messages, counters.too_long), (vec![RINGING.to_owned()], 1));
}

#[test]
fn what_is_not_deflated_is_counted() {
    let bytes = [frame(0xc1, None, &[0xff; 40]), text(OPTIONS)].concat();
    let (messages, counters) = read_all(&mut Reader::new(MAX), &bytes);
    assert_eq!(
        (messages, counters.undecodable),
        (vec![OPTIONS.to_owned()], 1)
    );
}

#[test]
fn a_direction_that_is_joined_midway_is_read_from_its_next_message_on() {
    let bytes = [
        &text(RINGING)[10..],
        &text("\r\n"),
        &frame(0x81, Some(MASK), OPTIONS.as_bytes()),
    ]
    .concat();
    let (messages, counters) = read_all(&mut Reader::midway(MAX), &bytes);
    assert_eq!(messages, [OPTIONS]);
    assert_eq!(
        counters.bytes_skipped as usize,
        text(RINGING).len() - 10 + 4
    );
}

#[test]
fn after_a_loss_nothing_of_the_broken_message_is_told() {
    let mut reader = Reader::new(MAX);
    let (mut counters, mut messages) = (WebSocketCounters::default(), Vec::new());
    let frames: Vec<Vec<u8>> = (0..3).map(|n| text(&numbered(n))).collect();
    reader.push(&frames[0], &mut counters, &mut messages);
    reader.push(&frames[1][..30], &mut counters, &mut messages);
    reader.gap(&mut counters);
    reader.push(&frames[1][60..], &mut counters, &mut messages);
    reader.push(&frames[2], &mut counters, &mut messages);
    assert_eq!(
        messages,
        [numbered(0).into_bytes(), numbered(2).into_bytes()]
    );
    assert_eq!(counters.lost, 1);
}

#[test]
fn compressed_messages_after_a_loss_are_never_invented() {
    for takeover in [true, false] {
        let mut deflater = Deflater::new(takeover);
        let sent: Vec<String> = (0..200).map(numbered).collect();
        let frames: Vec<Vec<u8>> = sent.iter().map(|m| deflater.frame(m)).collect();
        let mut reader = Reader::new(MAX);
        let (mut counters, mut messages) = (WebSocketCounters::default(), Vec::new());
        for (n, frame) in frames.iter().enumerate() {
            match n {
                1 => reader.gap(&mut counters),
                _ => reader.push(frame, &mut counters, &mut messages),
            }
        }
        let sent: Vec<_> = sent.into_iter().map(String::into_bytes).collect();
        assert!(
            messages.iter().all(|message| sent.contains(message)),
            "takeover {takeover}"
        );
        if !takeover {
            assert_eq!(messages.len(), 199);
        }
    }
}

#[test]
fn frames_that_break_the_rules_lose_the_framing() {
    let bad = [
        frame(0x83, None, b"reserved opcode"),
        frame(0xa1, None, b"reserved bit"),
        frame(0x09, None, b"a ping in fragments"),
        frame(0x89, None, &[0; 126]),
        frame(0x80, None, b"nothing to continue"),
        vec![0x81, 126, 0, 100],
        vec![0x81, 127, 0x80, 0, 0, 0, 0, 0, 0, 0],
        vec![0x81, 127, 0, 0, 0, 0, 0x7f, 0, 0, 0],
    ];
    for bad in bad {
        let bytes = [bad.clone(), text(OPTIONS)].concat();
        let (messages, counters) = read_all(&mut Reader::new(MAX), &bytes);
        assert_eq!(messages, [OPTIONS], "{bad:02x?}");
        assert_eq!(
            (counters.lost, counters.bytes_skipped as usize),
            (1, bad.len()),
            "{bad:02x?}"
        );
    }
}

#[test]
fn frames_with_sip_are_known_by_their_first_bytes() {
    assert!(frame_with_sip(&frame(0x81, Some(MASK), OPTIONS.as_bytes())));
    assert!(frame_with_sip(&text(RINGING)[..20]));
    assert!(!frame_with_sip(&text("{\"json\": true, \"a\": 1}")));
    assert!(!frame_with_sip(OPTIONS.as_bytes()));
    assert!(whole_frame_with_sip(&Deflater::new(true).frame(OPTIONS)));
    assert!(!whole_frame_with_sip(&Deflater::new(true).frame("hello")));
}

const REQUEST: &str = "GET /ws HTTP/1.1\r\nHost: example.com\r\nupgrade: WebSocket\r\nConnection: keep-alive, Upgrade\r\n\
    Sec-WebSocket-Key: x\r\nSec-WebSocket-Protocol: chat, sip\r\nSec-WebSocket-Version: 13\r\n\r\n";
const GRANTED: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Protocol: sip\r\n\r\n";

#[test]
fn upgrades_to_sip_are_told_from_others() {
    let step = |text: &str| Upgrade::default().push(text.as_bytes());
    assert_eq!(step(REQUEST), UpgradeStep::Sip(REQUEST.len()));
    assert_eq!(step(GRANTED), UpgradeStep::Sip(GRANTED.len()));
    let other = REQUEST.replace("chat, sip", "chat");
    assert_eq!(step(&other), UpgradeStep::Other(other.len()));
    assert_eq!(step("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), UpgradeStep::More);
    assert_eq!(
        step(&"GET / HTTP/1.1\r\nCookie: a\r\n".repeat(2000)),
        UpgradeStep::Nothing
    );
    assert!(looks_like_upgrade(REQUEST.as_bytes()) && looks_like_upgrade(GRANTED.as_bytes()));
    assert!(!looks_like_upgrade(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
}

#[test]
fn a_client_that_is_refused_may_ask_again() {
    let refused = "HTTP/1.1 401 Unauthorized\r\nContent-Length: 9\r\n\r\nno entry\n";
    let answers = format!("{refused}{GRANTED}");
    assert_eq!(
        Upgrade::default().push(answers.as_bytes()),
        UpgradeStep::Sip(answers.len())
    );
}

fn payloads() -> impl Strategy<Value = Vec<(String, bool, Vec<usize>)>> {
    let message = (
        0usize..3000,
        any::<bool>(),
        prop::collection::vec(0usize..400, 0..3),
    );
    prop::collection::vec(
        message.prop_map(|(n, compressed, cuts)| {
            (
                format!("{}{}", numbered(n), "words ".repeat(n)),
                compressed,
                cuts,
            )
        }),
        0..8,
    )
}

/// Messages as frames: fragmented at `cuts`, a ping between the fragments.
fn frames(sent: &[(String, bool, Vec<usize>)], takeover: bool) -> Vec<u8> {
    let mut deflater = Deflater::new(takeover);
    let mut bytes = Vec::new();
    for (payload, compressed, cuts) in sent {
        let message = match compressed {
            true => deflater.message(payload),
            false => payload.clone().into_bytes(),
        };
        let mut first = if *compressed { 0x41 } else { 0x01 };
        let mut rest = &message[..];
        for &cut in cuts {
            let (part, after) = rest.split_at(cut.min(rest.len()));
            bytes.extend(frame(first, Some(MASK), part));
            bytes.extend(frame(0x89, Some(MASK), b"still there?"));
            (first, rest) = (0, after);
        }
        bytes.extend(frame(first | 0x80, Some(MASK), rest));
    }
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_framed_comes_out_wherever_the_stream_is_cut(
        sent in payloads(), takeover: bool, pieces in prop::collection::vec(1usize..700, 1..60),
    ) {
        let bytes = frames(&sent, takeover);
        let mut reader = Reader::new(MAX);
        let (mut counters, mut messages) = (WebSocketCounters::default(), Vec::new());
        let mut rest = &bytes[..];
        for &size in pieces.iter().cycle() {
            let (piece, after) = rest.split_at(size.min(rest.len()));
            reader.push(piece, &mut counters, &mut messages);
            rest = after;
            if rest.is_empty() {
                break;
            }
        }
        let sent: Vec<Vec<u8>> = sent.into_iter().map(|(payload, ..)| payload.into_bytes()).collect();
        prop_assert_eq!(messages, sent);
        prop_assert_eq!(counters.lost, 0);
    }

    #[test]
    fn no_bytes_are_invented_or_lost_count_of(
        bytes in prop::collection::vec(prop_oneof![any::<u8>(), Just(0x81), Just(0xc1), Just(0x02)], 0..2000),
        gaps in prop::collection::vec(any::<bool>(), 8),
    ) {
        let mut reader = Reader::midway(MAX);
        let (mut counters, mut messages) = (WebSocketCounters::default(), Vec::new());
        for (piece, gap) in bytes.chunks(251).zip(gaps) {
            if gap {
                reader.gap(&mut counters);
            }
            reader.push(piece, &mut counters, &mut messages);
        }
        prop_assert!(counters.bytes_skipped <= bytes.len() as u64);
        prop_assert!(reader.held_bytes() <= 2 * MAX + (64 << 10));
    }
}
