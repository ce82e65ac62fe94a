//! The framer against streams cut anywhere, garbage, gaps and messages that claim too much.

use proptest::prelude::*;

use super::*;

const MAX_MESSAGE: usize = 128 * 1024;

fn drain(framer: &mut Framer) -> Vec<Result<Vec<u8>, FrameError>> {
    std::iter::from_fn(|| framer.next_message()).collect()
}

fn frame_in_pieces<'a>(
    pieces: impl IntoIterator<Item = &'a [u8]>,
    max_message: usize,
) -> (Vec<Result<Vec<u8>, FrameError>>, Framer) {
    let mut framer = Framer::new(max_message);
    let mut found = Vec::new();
    for piece in pieces {
        framer.push(piece);
        found.extend(drain(&mut framer));
    }
    (found, framer)
}

fn frame(stream: &[u8]) -> Vec<Result<Vec<u8>, FrameError>> {
    frame_in_pieces([stream], MAX_MESSAGE).0
}

fn message(call: usize, body: &str) -> Vec<u8> {
    format!(
        "INVITE sip:a@b SIP/2.0\r\nCall-ID: {call}\r\nContent-Type: text/plain\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

const BYE: &[u8] = b"BYE sip:a@b SIP/2.0\r\nCall-ID: bye\r\n\r\n";
const OPEN: &[u8] =
    b"INVITE sip:a@b SIP/2.0\r\nCall-ID: open\r\nContent-Type: application/sdp\r\n\r\n";

#[test]
fn messages_are_cut_by_their_length() {
    let (one, two) = (message(1, "SIP/2.0 200 OK\r\n\r\n"), message(2, ""));
    let stream = [&one[..], b"\r\n\r\n", &two, BYE].concat();
    assert_eq!(frame(&stream), [Ok(one), Ok(two), Ok(BYE.to_vec())]);
}

#[test]
fn compact_and_folded_lengths_count() {
    for length in ["l:5", "L : 5", "CONTENT-length:\r\n 5"] {
        let stream = format!("SIP/2.0 200 OK\r\n{length}\r\n\r\nhello\r\n\r\n").into_bytes();
        let end = stream.len() - 4;
        assert_eq!(frame(&stream), [Ok(stream[..end].to_vec())], "{length}");
    }
}

#[test]
fn a_body_without_length_ends_at_the_next_start_line() {
    let body = b"v=0\r\nm=audio 1 RTP/AVP 0\r\n";
    let (found, mut framer) = frame_in_pieces([OPEN, body], MAX_MESSAGE);
    assert_eq!(found, []);
    framer.push(BYE);
    assert_eq!(
        drain(&mut framer),
        [Ok([OPEN, body].concat()), Ok(BYE.to_vec())]
    );
}

#[test]
fn a_body_without_length_ends_with_the_stream() {
    let (_, mut framer) = frame_in_pieces([OPEN, b"v=0\r\n"], MAX_MESSAGE);
    framer.finish();
    assert_eq!(drain(&mut framer), [Ok([OPEN, b"v=0\r\n"].concat())]);
    assert_eq!(framer.waiting_bytes(), 0);
}

#[test]
fn a_body_without_length_and_without_end_is_none() {
    let junk = b"no start line\r\n".repeat(100);
    let (found, framer) = frame_in_pieces([OPEN, &junk, BYE], 1000);
    assert_eq!(
        found,
        [
            Ok(OPEN.to_vec()),
            Err(FrameError::Garbage),
            Ok(BYE.to_vec())
        ]
    );
    assert_eq!(framer.skipped_bytes(), junk.len() as u64);
}

#[test]
fn garbage_is_told_once_and_skipped() {
    let stream = [b"\0\x01garbage\r\nmore: of it\r\n", BYE, b"\xff\xff\n", BYE].concat();
    assert_eq!(
        frame(&stream),
        [
            Err(FrameError::Garbage),
            Ok(BYE.to_vec()),
            Err(FrameError::Garbage),
            Ok(BYE.to_vec())
        ]
    );
}

#[test]
fn garbage_does_not_grow_memory() {
    let mut framer = Framer::new(MAX_MESSAGE);
    for piece in ["a".repeat(100), "INVITE ".repeat(20), "\0".repeat(50)] {
        for _ in 0..20_000 {
            framer.push(piece.as_bytes());
            drain(&mut framer);
            assert!(framer.waiting_bytes() <= MAX_START_LINE_BYTES + piece.len());
        }
    }
    assert!(framer.buffer.capacity() <= 4 * MAX_START_LINE_BYTES);
}

#[test]
fn a_head_without_end_is_given_up() {
    let mut framer = Framer::new(MAX_MESSAGE);
    framer.push(b"INVITE sip:a@b SIP/2.0\r\n");
    let mut errors = 0;
    for _ in 0..20_000 {
        framer.push(b"X-Header: value\r\n");
        errors += drain(&mut framer).len();
        assert!(framer.waiting_bytes() <= MAX_HEAD_BYTES + 32);
    }
    assert_eq!(errors, 1);
    framer.push(BYE);
    assert_eq!(drain(&mut framer), [Ok(BYE.to_vec())]);
}

#[test]
fn a_message_past_the_cap_is_skipped() {
    let long = message(1, &"x\r\n".repeat(1000));
    let (found, framer) = frame_in_pieces([&long[..], BYE], 1000);
    let length = long.len();
    let error = FrameError::MessageTooLong {
        length,
        limit: 1000,
    };
    assert_eq!(found, [Err(error), Ok(BYE.to_vec())]);
    assert_eq!(framer.skipped_bytes(), length as u64);
}

#[test]
fn absurd_lengths_are_no_trap() {
    for length in [
        "99999999999999999999999999",
        "-1",
        "18446744073709551615",
        "4294967295",
    ] {
        let stream =
            format!("BYE sip:a@b SIP/2.0\r\nContent-Length: {length}\r\n\r\n").into_bytes();
        let found = frame(&[&stream[..], BYE].concat());
        assert_eq!(found.last(), Some(&Ok(BYE.to_vec())), "{length}");
    }
}

#[test]
fn after_a_gap_the_next_start_line_counts() {
    let (_, mut framer) = frame_in_pieces([&b"INVITE sip:a@b SIP/2.0\r\nCall-"[..]], MAX_MESSAGE);
    framer.gap();
    framer.push(b" of a body\r\nSIP/2.0/UDP x\r\n");
    framer.push(BYE);
    assert_eq!(
        drain(&mut framer),
        [Err(FrameError::Cut { have: 29 }), Ok(BYE.to_vec())]
    );
}

#[test]
fn a_gap_in_a_body_leaves_the_head() {
    let whole = message(1, "v=0 and the rest");
    let head = whole.len() - 16;
    let (_, mut framer) = frame_in_pieces([&whole[..head + 3]], MAX_MESSAGE);
    framer.gap();
    assert_eq!(drain(&mut framer), [Ok(whole[..head].to_vec())]);
    assert_eq!(framer.skipped_bytes(), 3);
    let (_, mut framer) = frame_in_pieces([OPEN, b"v=0\r\no="], MAX_MESSAGE);
    framer.gap();
    framer.push(b"- 1 1\r\n");
    framer.push(BYE);
    assert_eq!(drain(&mut framer), [Ok(OPEN.to_vec()), Ok(BYE.to_vec())]);
}

#[test]
fn a_gap_between_messages_is_no_error() {
    let (_, mut framer) = frame_in_pieces([BYE], MAX_MESSAGE);
    framer.gap();
    framer.push(BYE);
    assert_eq!(drain(&mut framer), [Ok(BYE.to_vec())]);
}

#[test]
fn a_caller_that_never_asks_costs_bounded_memory() {
    let mut framer = Framer::new(10_000);
    for _ in 0..10_000 {
        framer.push(BYE);
    }
    assert!(framer.waiting_bytes() < 30_000);
}

#[test]
fn single_bytes_cost_no_more_than_their_number() {
    let stream = message(1, &"x".repeat(120_000));
    let (found, _) = frame_in_pieces(stream.chunks(1), MAX_MESSAGE);
    assert_eq!(found, [Ok(stream)]);
}

/// Pieces that make streams with whole messages, open bodies, garbage, and things that look like start lines.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => (0usize..9, "[a-z=\r\n]{0,40}").prop_map(|(call, body)| message(call, &body)),
        2 => Just(BYE.to_vec()),
        2 => Just(OPEN.to_vec()),
        1 => Just(b"\r\n\r\n".to_vec()),
        1 => Just(b"SIP/2.0 200 OK\r\n".to_vec()),
        1 => Just(b"v=0\r\no=- 1 1 IN IP4 10.0.0.1\r\n".to_vec()),
        1 => Just(b"INVITE sip:a@b SIP/2.0\n\r\n".to_vec()),
        1 => Just(vec![b'y'; 70]),
        1 => "(INVITE |SIP/2.0 |\r|\n|:|[ -~]){0,30}".prop_map(String::into_bytes),
        1 => proptest::collection::vec(any::<u8>(), 0..40),
    ];
    proptest::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

fn cut_at<'a>(stream: &'a [u8], cuts: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut places: Vec<_> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
    places.sort_unstable();
    places.insert(0, 0);
    places.push(stream.len());
    places
        .windows(2)
        .map(|pair| &stream[pair[0]..pair[1]])
        .collect()
}

proptest! {
    #[test]
    fn cuts_change_nothing(
        stream in stream(),
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..20),
        max_message in prop_oneof![60usize..400, Just(MAX_MESSAGE)],
    ) {
        let whole = frame_in_pieces([&stream[..]], max_message);
        let cut = frame_in_pieces(cut_at(&stream, &cuts), max_message);
        let bytes = frame_in_pieces(stream.chunks(1), max_message);
        prop_assert_eq!(&whole.0, &cut.0);
        prop_assert_eq!(&whole.0, &bytes.0);
        prop_assert_eq!(whole.1.keep_alive_bytes(), bytes.1.keep_alive_bytes());
    }

    #[test]
    fn no_byte_goes_uncounted(
        stream in stream(),
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..20),
        gap_every in 1usize..9,
        max_message in prop_oneof![60usize..400, Just(MAX_MESSAGE)],
    ) {
        let mut framer = Framer::new(max_message);
        let mut given = 0;
        for (number, piece) in cut_at(&stream, &cuts).into_iter().enumerate() {
            framer.push(piece);
            given += drain(&mut framer).into_iter().flatten().map(|m| m.len()).sum::<usize>();
            prop_assert!(framer.waiting_bytes() <= max_message + MAX_START_LINE_BYTES + 2);
            if number % gap_every == 0 {
                framer.gap();
            }
        }
        framer.finish();
        given += drain(&mut framer).into_iter().flatten().map(|m| m.len()).sum::<usize>();
        let counted = framer.skipped_bytes() + framer.keep_alive_bytes();
        prop_assert_eq!(given + counted as usize + framer.waiting_bytes(), stream.len());
    }

    #[test]
    fn clean_streams_come_back_whole(
        bodies in proptest::collection::vec("[ -~\r\n]{0,60}", 0..9),
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..20),
    ) {
        let messages: Vec<_> = bodies.iter().enumerate().map(|(call, body)| message(call, body)).collect();
        let stream = messages.join(&b"\r\n\r\n"[..]);
        let (found, _) = frame_in_pieces(cut_at(&stream, &cuts), MAX_MESSAGE);
        prop_assert_eq!(found, messages.into_iter().map(Ok).collect::<Vec<_>>());
    }
}
