//! Encrypted media: opened with the keys that signalling tells, and never noise.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::world::{At, Dialog, Talk, World, sdp};
use crate::base::{Secret, Side};
use crate::engine::event::{CallEnd, Disposition, Hidden, StreamReport};
use crate::engine::plan::Keyless;
use crate::rtp::{KeyOptions, SrtpKey, SrtpSender, Suite};

const USUAL: Suite = Suite::AesCm128HmacSha1_80;
const CALLER: At = (1, 4000);
const CALLEE: At = (2, 4000);

/// A phone's key of `suite`: other seeds are other keys.
fn master(suite: Suite, seed: u8) -> Vec<u8> {
    (0..suite.key_len() + suite.salt_len())
        .map(|n| seed.wrapping_mul(31).wrapping_add(n as u8))
        .collect()
}

fn key(suite: Suite, seed: u8) -> SrtpKey {
    let master = Secret::new(master(suite, seed));
    SrtpKey::new(suite, master, KeyOptions::default()).unwrap()
}

fn crypto(tag: u32, suite: Suite, seed: u8) -> String {
    let key = STANDARD.encode(master(suite, seed));
    format!("a=crypto:{tag} {suite} inline:{key}\r\n")
}

fn savp(at: At, lines: &str) -> String {
    sdp(at, lines).replace("RTP/AVP", "RTP/SAVP")
}

/// A phone that sends SRTP.
struct Phone {
    talk: Talk,
    sender: SrtpSender,
}

impl Phone {
    fn new(from: At, to: At, fill: u8, key: SrtpKey) -> Phone {
        Phone {
            talk: Talk::new(from, to, fill),
            sender: SrtpSender::new(key, 0),
        }
    }

    fn caller(suite: Suite, seed: u8) -> Phone {
        Phone::new(CALLER, CALLEE, 0x11, key(suite, seed))
    }

    fn callee(suite: Suite, seed: u8) -> Phone {
        Phone::new(CALLEE, CALLER, 0x22, key(suite, seed))
    }

    fn seal(&mut self, packet: &[u8]) -> Vec<u8> {
        let mut sealed = Vec::new();
        self.sender.seal(packet, &mut sealed).unwrap();
        sealed
    }

    fn next(&mut self) -> Vec<u8> {
        let packet = self.talk.next();
        self.seal(&packet)
    }

    fn say(&mut self, world: &mut World, packets: u32) {
        for _ in 0..packets {
            let packet = self.next();
            world.send(self.talk.from, self.talk.to, &packet);
            world.pass(20);
        }
    }
}

fn set_up(world: &mut World, dialog: &Dialog, offer: &str, answer: &str) {
    dialog.request(world, "INVITE", 1, "", offer);
    dialog.answer(world, 200, "INVITE", 1, dialog.to_tag, answer);
    dialog.request(world, "ACK", 1, dialog.to_tag, "");
}

fn set_up_usual(world: &mut World, dialog: &Dialog) {
    let (offer, answer) = (crypto(1, USUAL, 1), crypto(1, USUAL, 2));
    set_up(world, dialog, &savp(CALLER, &offer), &savp(CALLEE, &answer));
}

fn stream(end: &CallEnd, side: Side) -> &StreamReport {
    let mut of_side = end.streams.iter().filter(|stream| stream.side == side);
    let only = of_side.next().expect("the side has a stream");
    assert!(of_side.next().is_none(), "one stream: {:?}", end.streams);
    only
}

fn why(end: &CallEnd, side: Side) -> Option<Keyless> {
    stream(end, side).hidden.map(|Hidden { why, .. }| why)
}

#[test]
fn each_side_is_opened_with_its_own_key_whatever_the_suite() {
    for suite in Suite::ALL {
        let mut world = World::new();
        let dialog = Dialog::new("srtp", 1, 2);
        // The answer takes the last of several lines.
        let offer = crypto(1, Suite::AesCm128HmacSha1_32, 77)
            + &crypto(2, Suite::AeadAes128Gcm, 78)
            + &crypto(3, suite, 1);
        let (offer, answer) = (savp(CALLER, &offer), savp(CALLEE, &crypto(3, suite, 2)));
        set_up(&mut world, &dialog, &offer, &answer);
        let (mut a, mut b) = (Phone::caller(suite, 1), Phone::callee(suite, 2));
        for _ in 0..60 {
            a.say(&mut world, 1);
            b.say(&mut world, 1);
        }
        dialog.bye(&mut world);
        assert_eq!(
            world.heard("srtp", Side::Caller),
            [(0x11, 60 * 160)],
            "{suite}"
        );
        assert_eq!(
            world.heard("srtp", Side::Callee),
            [(0x22, 60 * 160)],
            "{suite}"
        );
        let end = world.end();
        assert_eq!(end.disposition, Disposition::Recorded);
        for side in Side::BOTH {
            let stream = stream(end, side);
            assert_eq!((stream.packets, stream.bytes), (60, 60 * 160));
            assert_eq!((stream.srtp, stream.hidden), (Some(suite), None));
            assert_eq!(stream.auth_failed, 0);
        }
    }
}

#[test]
fn phones_that_derive_192_bits_as_libsrtp_does_are_heard() {
    let suite = Suite::Aes192CmHmacSha1_80;
    let mut world = World::new();
    let dialog = Dialog::new("long", 1, 2);
    let (offer, answer) = (crypto(1, suite, 1), crypto(1, suite, 2));
    set_up(
        &mut world,
        &dialog,
        &savp(CALLER, &offer),
        &savp(CALLEE, &answer),
    );
    let options = KeyOptions {
        as_libsrtp: true,
        ..KeyOptions::default()
    };
    let key = SrtpKey::new(suite, Secret::new(master(suite, 1)), options).unwrap();
    Phone::new(CALLER, CALLEE, 0x11, key).say(&mut world, 30);
    dialog.bye(&mut world);
    assert_eq!(world.heard("long", Side::Caller), [(0x11, 30 * 160)]);
}

#[test]
fn packets_with_wrong_tags_change_nothing_and_are_counted() {
    let mut world = World::new();
    let dialog = Dialog::new("forged", 1, 2);
    set_up_usual(&mut world, &dialog);
    let mut phone = Phone::caller(USUAL, 1);
    phone.say(&mut world, 50);
    // From the very place and SSRC, with sequence numbers and timestamps far ahead; and plain ones.
    for n in 0..40u16 {
        let mut forged = Talk::new(CALLER, CALLEE, 0x11);
        forged.sequence = 9000 + n;
        forged.timestamp = 3_000_000;
        let mut packet = forged.next();
        if n % 2 == 0 {
            packet.extend([0; 10]);
        }
        world.send(CALLER, CALLEE, &packet);
        phone.say(&mut world, 1);
    }
    // A copy with one bit turned.
    let mut turned = phone.next();
    turned[40] ^= 4;
    world.send(CALLER, CALLEE, &turned);
    dialog.bye(&mut world);
    assert_eq!(world.heard("forged", Side::Caller), [(0x11, 90 * 160)]);
    let stream = stream(world.end(), Side::Caller);
    assert_eq!((stream.packets, stream.expected, stream.lost), (90, 90, 0));
    assert_eq!(
        (stream.auth_failed, stream.restarts, stream.hidden),
        (41, 0, None)
    );
    assert_eq!(
        stream.last_at,
        super::world::START + std::time::Duration::from_millis(89 * 20)
    );
    let counters = world.media_counters();
    assert_eq!((counters.srtp_opened, counters.srtp_auth_failed), (90, 41));
}

#[test]
fn forged_packets_do_not_keep_a_call_alive_or_begin_a_recording() {
    let mut world = World::new();
    let dialog = Dialog::new("forged", 1, 2);
    set_up_usual(&mut world, &dialog);
    // Another SSRC that only somebody else sends.
    let mut forged = Talk::new((2, 4000), (1, 4000), 0x66);
    world.talk(&mut forged, 300);
    dialog.bye(&mut world);
    let end = world.end();
    assert_eq!(end.disposition, Disposition::Encrypted);
    assert_eq!(end.length_samples, 0);
    let stream = stream(end, Side::Callee);
    assert_eq!((stream.packets, stream.auth_failed), (0, 300));
    assert_eq!(stream.codec.to_string(), "PCMU");
    assert_eq!(why(end, Side::Callee), Some(Keyless::WrongKey));
}

#[test]
fn early_media_waits_for_the_key_of_the_answer() {
    let mut world = World::new();
    let dialog = Dialog::new("early", 1, 2);
    let offer = savp(CALLER, &crypto(1, USUAL, 1));
    dialog.request(&mut world, "INVITE", 1, "", &offer);
    let mut phone = Phone::callee(USUAL, 2);
    phone.say(&mut world, 90);
    let answer = savp(CALLEE, &crypto(1, USUAL, 2));
    dialog.answer(&mut world, 200, "INVITE", 1, dialog.to_tag, &answer);
    phone.say(&mut world, 10);
    dialog.bye(&mut world);
    assert_eq!(world.heard("early", Side::Callee), [(0x22, 100 * 160)]);
    let stream = stream(world.end(), Side::Callee);
    assert_eq!(
        (stream.packets, stream.lost, stream.not_placed),
        (100, 0, 0)
    );
}

#[test]
fn what_waits_longer_than_two_seconds_for_its_key_is_let_go() {
    let mut world = World::new();
    let dialog = Dialog::new("early", 1, 2);
    let offer = savp(CALLER, &crypto(1, USUAL, 1));
    dialog.request(&mut world, "INVITE", 1, "", &offer);
    let mut phone = Phone::callee(USUAL, 2);
    phone.say(&mut world, 200);
    let answer = savp(CALLEE, &crypto(1, USUAL, 2));
    dialog.answer(&mut world, 200, "INVITE", 1, dialog.to_tag, &answer);
    phone.say(&mut world, 50);
    dialog.bye(&mut world);
    let stream = stream(world.end(), Side::Callee);
    assert_eq!(stream.packets + stream.not_placed, 250);
    assert_eq!(stream.packets, 50 + 101);
    assert_eq!(stream.srtp, Some(USUAL));
    assert_eq!(world.media_counters().encrypted, 99);
}

#[test]
fn media_ahead_of_all_its_signalling_is_opened_too() {
    let mut world = World::new();
    let dialog = Dialog::new("ahead", 1, 2);
    let (mut a, mut b) = (Phone::caller(USUAL, 1), Phone::callee(USUAL, 2));
    // An extension in the header, of which a part of the packet only tells.
    for _ in 0..60 {
        for phone in [&mut a, &mut b] {
            let mut packet = phone.talk.next();
            packet[0] = 0x90;
            packet.splice(12..12, [0xbe, 0xde, 0, 1, 0x10, 0x55, 0, 0]);
            let sealed = phone.seal(&packet);
            world.send(phone.talk.from, phone.talk.to, &sealed);
            world.pass(10);
        }
    }
    set_up_usual(&mut world, &dialog);
    a.say(&mut world, 10);
    b.say(&mut world, 10);
    dialog.bye(&mut world);
    assert_eq!(world.heard("ahead", Side::Caller), [(0x11, 70 * 160)]);
    assert_eq!(world.heard("ahead", Side::Callee), [(0x22, 70 * 160)]);
    for side in Side::BOTH {
        let stream = stream(world.end(), side);
        assert_eq!(
            (stream.packets, stream.bytes, stream.lost),
            (70, 70 * 160, 0)
        );
    }
}

#[test]
fn sequence_numbers_begin_anew_within_the_call() {
    let mut world = World::new();
    let dialog = Dialog::new("wrap", 1, 2);
    set_up_usual(&mut world, &dialog);
    let mut phone = Phone::caller(USUAL, 1);
    phone.talk.sequence = 65_500;
    phone.say(&mut world, 36);
    // The first packets of the new turn overtake the last ones of the old.
    let (old, new) = ([phone.next(), phone.next()], [phone.next(), phone.next()]);
    for packet in new.iter().chain(&old) {
        world.send(CALLER, CALLEE, packet);
    }
    phone.say(&mut world, 60);
    dialog.bye(&mut world);
    assert_eq!(world.heard("wrap", Side::Caller), [(0x11, 100 * 160)]);
    let stream = stream(world.end(), Side::Caller);
    assert_eq!(
        (stream.packets, stream.lost, stream.auth_failed),
        (100, 0, 0)
    );
}

#[test]
fn a_stream_joined_after_several_turns_is_opened_from_its_first_packet() {
    for suite in [USUAL, Suite::AeadAes256Gcm] {
        let mut world = World::new();
        let dialog = Dialog::new("joined", 1, 2);
        let mut phone = Phone::caller(suite, 1);
        phone.sender = SrtpSender::new(key(suite, 1), 41);
        phone.say(&mut world, 20);
        let (offer, answer) = (crypto(1, suite, 1), crypto(1, suite, 2));
        let dialog_offer = savp(CALLER, &offer);
        dialog.request(&mut world, "INVITE", 1, dialog.to_tag, &dialog_offer);
        dialog.answer(
            &mut world,
            200,
            "INVITE",
            1,
            dialog.to_tag,
            &savp(CALLEE, &answer),
        );
        phone.say(&mut world, 80);
        dialog.bye(&mut world);
        assert_eq!(
            world.heard("joined", Side::Caller),
            [(0x11, 100 * 160)],
            "{suite}"
        );
        assert_eq!(stream(world.end(), Side::Caller).auth_failed, 0);
    }
}

#[test]
fn a_new_key_by_re_invite_takes_over_and_the_old_one_overlaps() {
    let mut world = World::new();
    let dialog = Dialog::new("rekey", 1, 2);
    set_up_usual(&mut world, &dialog);
    let mut old = Phone::caller(USUAL, 1);
    let mut callee = Phone::callee(USUAL, 2);
    old.say(&mut world, 50);
    callee.say(&mut world, 50);
    dialog.request(
        &mut world,
        "INVITE",
        2,
        dialog.to_tag,
        &savp(CALLER, &crypto(1, USUAL, 3)),
    );
    // The callee answers, and its new key is used before the answer is seen.
    let mut renewed = Phone::callee(USUAL, 4);
    renewed.talk = callee.talk;
    renewed.say(&mut world, 5);
    dialog.answer(
        &mut world,
        200,
        "INVITE",
        2,
        dialog.to_tag,
        &savp(CALLEE, &crypto(1, USUAL, 4)),
    );
    renewed.say(&mut world, 45);
    // The caller goes on with the old key for a moment, and its packets overtake each other.
    let mut new = Phone::caller(USUAL, 3);
    let mut packets = vec![old.next(), old.next(), old.next()];
    new.talk = old.talk;
    packets.extend([new.next(), new.next(), new.next()]);
    for at in [0, 3, 1, 4, 2, 5] {
        world.send(CALLER, CALLEE, &packets[at]);
        world.pass(20);
    }
    new.say(&mut world, 44);
    dialog.bye(&mut world);
    assert_eq!(world.heard("rekey", Side::Caller), [(0x11, 100 * 160)]);
    assert_eq!(world.heard("rekey", Side::Callee), [(0x22, 100 * 160)]);
    for side in Side::BOTH {
        let stream = stream(world.end(), side);
        assert_eq!(
            (stream.packets, stream.lost, stream.auth_failed),
            (100, 0, 0)
        );
    }
}

#[test]
fn the_old_key_is_no_key_any_more_once_the_new_one_is_in_use() {
    let mut world = World::new();
    let dialog = Dialog::new("rekey", 1, 2);
    set_up_usual(&mut world, &dialog);
    let mut old = Phone::caller(USUAL, 1);
    old.say(&mut world, 10);
    let (offer, answer) = (crypto(1, USUAL, 3), crypto(1, USUAL, 2));
    dialog.request(
        &mut world,
        "INVITE",
        2,
        dialog.to_tag,
        &savp(CALLER, &offer),
    );
    dialog.answer(
        &mut world,
        200,
        "INVITE",
        2,
        dialog.to_tag,
        &savp(CALLEE, &answer),
    );
    let mut new = Phone::caller(USUAL, 3);
    new.talk = Talk::new(CALLER, CALLEE, 0x11);
    (new.talk.sequence, new.talk.timestamp) = (old.talk.sequence, old.talk.timestamp);
    new.say(&mut world, 150);
    old.talk.sequence = new.talk.sequence;
    old.say(&mut world, 5);
    dialog.bye(&mut world);
    let stream = stream(world.end(), Side::Caller);
    assert_eq!((stream.packets, stream.auth_failed), (160, 5));
}

#[test]
fn another_ssrc_under_the_same_key_is_opened() {
    let mut world = World::new();
    let dialog = Dialog::new("ssrc", 1, 2);
    set_up_usual(&mut world, &dialog);
    let mut first = Phone::caller(USUAL, 1);
    first.say(&mut world, 30);
    let mut second = Phone::new(CALLER, CALLEE, 0x12, key(USUAL, 1));
    second.say(&mut world, 30);
    dialog.bye(&mut world);
    assert_eq!(
        world.heard("ssrc", Side::Caller),
        [(0x11, 30 * 160), (0x12, 30 * 160)]
    );
}

#[test]
fn a_call_turns_to_srtp_and_back_without_noise() {
    let mut world = World::new();
    let dialog = Dialog::new("turns", 1, 2);
    set_up(&mut world, &dialog, &sdp(CALLER, ""), &sdp(CALLEE, ""));
    let mut plain = Talk::new(CALLER, CALLEE, 0x11);
    world.talk(&mut plain, 40);
    let (offer, answer) = (crypto(1, USUAL, 1), crypto(1, USUAL, 2));
    dialog.request(
        &mut world,
        "INVITE",
        2,
        dialog.to_tag,
        &savp(CALLER, &offer),
    );
    world.talk(&mut plain, 5);
    dialog.answer(
        &mut world,
        200,
        "INVITE",
        2,
        dialog.to_tag,
        &savp(CALLEE, &answer),
    );
    // The caller has not seen the answer yet.
    world.talk(&mut plain, 5);
    let mut sealed = Phone::caller(USUAL, 1);
    sealed.talk = plain;
    sealed.say(&mut world, 40);
    dialog.request(&mut world, "INVITE", 3, dialog.to_tag, &sdp(CALLER, ""));
    sealed.say(&mut world, 5);
    dialog.answer(
        &mut world,
        200,
        "INVITE",
        3,
        dialog.to_tag,
        &sdp(CALLEE, ""),
    );
    sealed.say(&mut world, 5);
    let mut plain = sealed.talk;
    world.talk(&mut plain, 300);
    dialog.bye(&mut world);
    assert_eq!(world.heard("turns", Side::Caller), [(0x11, 400 * 160)]);
    let heard: Vec<usize> = world
        .blocks("turns")
        .iter()
        .flat_map(|block| &block.sides.caller)
        .map(|piece| usize::from(piece.len))
        .collect();
    assert!(
        heard.iter().all(|len| *len == 160),
        "a tag was taken for audio"
    );
    let stream = stream(world.end(), Side::Caller);
    assert_eq!(
        (stream.packets, stream.lost, stream.auth_failed),
        (400, 0, 0)
    );
}

#[test]
fn plain_media_after_srtp_waits_for_the_answer_that_allows_it() {
    let mut world = World::new();
    let dialog = Dialog::new("back", 1, 2);
    set_up_usual(&mut world, &dialog);
    let mut sealed = Phone::callee(USUAL, 2);
    sealed.say(&mut world, 20);
    dialog.request(&mut world, "INVITE", 2, dialog.to_tag, &sdp(CALLER, ""));
    let mut plain = sealed.talk;
    world.talk(&mut plain, 10);
    dialog.answer(
        &mut world,
        200,
        "INVITE",
        2,
        dialog.to_tag,
        &sdp(CALLEE, ""),
    );
    world.talk(&mut plain, 10);
    dialog.bye(&mut world);
    assert_eq!(world.heard("back", Side::Callee), [(0x22, 40 * 160)]);
}

#[test]
fn best_effort_srtp_is_what_the_answer_makes_it() {
    let line = crypto(1, USUAL, 1);
    for (answer, is_srtp) in [(crypto(1, USUAL, 2), true), (String::new(), false)] {
        let mut world = World::new();
        let dialog = Dialog::new("effort", 1, 2);
        dialog.request(&mut world, "INVITE", 1, "", &sdp(CALLER, &line));
        let (mut a, mut b) = (Phone::caller(USUAL, 1), Phone::callee(USUAL, 2));
        let mut speak = |world: &mut World, packets| match is_srtp {
            true => {
                a.say(world, packets);
                b.say(world, packets);
            }
            false => world.talk_both(&mut a.talk, &mut b.talk, packets),
        };
        speak(&mut world, 20);
        dialog.answer(
            &mut world,
            200,
            "INVITE",
            1,
            dialog.to_tag,
            &sdp(CALLEE, &answer),
        );
        speak(&mut world, 20);
        dialog.bye(&mut world);
        assert_eq!(
            world.heard("effort", Side::Caller),
            [(0x11, 40 * 160)],
            "{is_srtp}"
        );
        assert_eq!(
            world.heard("effort", Side::Callee),
            [(0x22, 40 * 160)],
            "{is_srtp}"
        );
    }
}

#[test]
fn one_side_that_cannot_be_opened_does_not_silence_the_other() {
    let mut world = World::new();
    let dialog = Dialog::new("half", 1, 2);
    let broken =
        "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:d0RmdmcmVCspeEc3QGZiNWpVLFJhQX1cfHAwJSo\r\n";
    let offer = savp(CALLER, &crypto(1, USUAL, 1));
    set_up(&mut world, &dialog, &offer, &savp(CALLEE, broken));
    let (mut a, mut b) = (Phone::caller(USUAL, 1), Phone::callee(USUAL, 2));
    for _ in 0..30 {
        a.say(&mut world, 1);
        b.say(&mut world, 1);
    }
    dialog.bye(&mut world);
    let end = world.end();
    assert_eq!(end.disposition, Disposition::Recorded);
    assert_eq!(world.heard("half", Side::Caller), [(0x11, 30 * 160)]);
    assert!(world.heard("half", Side::Callee).is_empty());
    assert_eq!(why(end, Side::Callee), Some(Keyless::BadKey));
    assert_eq!(stream(end, Side::Callee).packets, 30);
}

#[test]
fn what_has_no_key_is_encrypted_and_says_why() {
    let fingerprint = "a=fingerprint:sha-256 AB:CD\r\na=setup:actpass\r\n";
    let crypto_line = |rest: &str| format!("a=crypto:1 {rest}\r\n");
    let inline = STANDARD.encode(master(USUAL, 1));
    for (lines, profile, expected) in [
        (fingerprint.to_owned(), "UDP/TLS/RTP/SAVPF", Keyless::Dtls),
        (fingerprint.to_owned(), "RTP/AVP", Keyless::Dtls),
        ("a=zrtp-hash:1.10 abcd\r\n".into(), "RTP/AVP", Keyless::Zrtp),
        (
            "a=key-mgmt:mikey AAAA\r\n".into(),
            "RTP/SAVP",
            Keyless::NoKey,
        ),
        (
            crypto_line(&format!("F8_128_HMAC_SHA1_80 inline:{inline}")),
            "RTP/SAVP",
            Keyless::Suite,
        ),
        (
            crypto_line(&format!("NULL_HMAC_SHA1_80 inline:{inline}")),
            "RTP/AVP",
            Keyless::Suite,
        ),
        (
            crypto_line(&format!("{USUAL} inline:{inline} UNAUTHENTICATED_SRTP")),
            "RTP/SAVP",
            Keyless::Unauthenticated,
        ),
        (
            crypto_line(&format!("{USUAL} inline:AAAA")),
            "RTP/SAVP",
            Keyless::BadKey,
        ),
        (
            crypto_line("AEAD_AES_128_GCM inline:!!!"),
            "RTP/SAVP",
            Keyless::BadKey,
        ),
        (crypto(1, USUAL, 99), "RTP/SAVP", Keyless::WrongKey),
    ] {
        let mut world = World::new();
        let dialog = Dialog::new("closed", 1, 2);
        let describe = |at| sdp(at, &lines).replace("RTP/AVP", profile);
        set_up(&mut world, &dialog, &describe(CALLER), &describe(CALLEE));
        Phone::caller(USUAL, 1).say(&mut world, 150);
        dialog.bye(&mut world);
        let end = world.end();
        assert_eq!(end.disposition, Disposition::Encrypted, "{expected:?}");
        assert_eq!(why(end, Side::Caller), Some(expected));
        assert!(world.heard("closed", Side::Caller).is_empty());
        assert_eq!(end.length_samples, 0);
    }
}

#[test]
fn media_that_turns_to_srtp_by_zrtp_is_heard_until_then() {
    let mut world = World::new();
    let dialog = Dialog::new("zrtp", 1, 2);
    dialog.set_up(&mut world, CALLER, CALLEE);
    let mut plain = Talk::new(CALLER, CALLEE, 0x11);
    world.talk(&mut plain, 30);
    for kind in [b"Hello   ", b"Commit  ", b"Confirm1", b"Confirm2"] {
        let packet = [b"\x10\0\0\x01ZRTP\xca\xfe\xba\xbe\x50\x5a\0\x03", &kind[..]].concat();
        world.send(CALLEE, CALLER, &packet);
    }
    let mut sealed = Phone::caller(USUAL, 1);
    sealed.talk = plain;
    sealed.say(&mut world, 30);
    dialog.bye(&mut world);
    assert_eq!(world.heard("zrtp", Side::Caller), [(0x11, 30 * 160)]);
    let end = world.end();
    assert_eq!(end.disposition, Disposition::Recorded);
    assert_eq!(why(end, Side::Caller), Some(Keyless::Zrtp));
}

#[test]
fn digits_inside_srtp_are_collected() {
    let mut world = World::new();
    let dialog = Dialog::new("dtmf", 1, 2);
    set_up_usual(&mut world, &dialog);
    let mut phone = Phone::caller(USUAL, 1);
    phone.say(&mut world, 10);
    for (event, ends) in [(4u8, false), (4, true), (4, true)] {
        let mut packet = phone.talk.next();
        packet.truncate(12);
        packet[1] = 101;
        packet[4..8].copy_from_slice(&77_000_u32.to_be_bytes());
        packet.extend([event, if ends { 0x8a } else { 0x0a }, 0, 160]);
        let sealed = phone.seal(&packet);
        world.send(CALLER, CALLEE, &sealed);
        world.pass(20);
    }
    dialog.bye(&mut world);
    let keys: String = world.end().digits.iter().map(|digit| digit.key).collect();
    assert_eq!(keys, "4");
}

#[test]
fn keys_that_packets_name_are_told_apart() {
    let mut world = World::new();
    let dialog = Dialog::new("mki", 1, 2);
    let text = |seed| STANDARD.encode(master(USUAL, seed));
    let line = format!(
        "a=crypto:1 {USUAL} inline:{}|2^20|1:2;inline:{}|2^20|2:2\r\n",
        text(1),
        text(5)
    );
    let answer = savp(CALLEE, &crypto(1, USUAL, 2));
    set_up(&mut world, &dialog, &savp(CALLER, &line), &answer);
    let named = |seed, mki: u8| {
        let options = KeyOptions {
            mki: [0, mki][..].into(),
            ..KeyOptions::default()
        };
        SrtpKey::new(USUAL, Secret::new(master(USUAL, seed)), options).unwrap()
    };
    let mut phone = Phone::new(CALLER, CALLEE, 0x11, named(1, 1));
    phone.say(&mut world, 20);
    phone.sender = SrtpSender::new(named(5, 2), 0);
    phone.say(&mut world, 20);
    phone.sender = SrtpSender::new(named(5, 3), 0);
    phone.say(&mut world, 20);
    dialog.bye(&mut world);
    assert_eq!(world.heard("mki", Side::Caller), [(0x11, 40 * 160)]);
    assert_eq!(stream(world.end(), Side::Caller).auth_failed, 20);
}

#[test]
fn encrypted_padding_does_not_lose_a_packet() {
    // The last octet of a tag says how long the padding would be: of some of the first packets more than there is.
    for first in 0..16 {
        let mut world = World::new();
        let dialog = Dialog::new("padded", 1, 2);
        set_up_usual(&mut world, &dialog);
        let mut phone = Phone::caller(USUAL, 1);
        phone.talk.sequence = 100 + first;
        for _ in 0..100 {
            let mut packet = phone.talk.next();
            packet[0] |= 0x20;
            packet.extend([0, 0, 0, 4]);
            let sealed = phone.seal(&packet);
            world.send(CALLER, CALLEE, &sealed);
            world.pass(20);
        }
        dialog.bye(&mut world);
        let heard = world.heard("padded", Side::Caller);
        assert_eq!(heard, [(0x11, 100 * 160)], "from {first}");
        let stream = stream(world.end(), Side::Caller);
        assert_eq!((stream.packets, stream.lost), (100, 0));
    }
}

/// A report of the caller, without blocks, and its name.
const REPORT: [u8; 20] = [
    0x80, 201, 0, 1, 0, 0, 0x10, 0x11, 0x81, 202, 0, 2, 0, 0, 0x10, 0x11, 1, 1, b'x', 0,
];

#[test]
fn srtcp_on_the_ports_that_sdp_names_is_opened() {
    let mut world = World::new();
    let dialog = Dialog::new("named", 1, 2);
    let named = |at: At, port: u16, seed| {
        savp(
            at,
            &(crypto(1, USUAL, seed) + &format!("a=rtcp:{port}\r\n")),
        )
    };
    let (offer, answer) = (named(CALLER, 7770, 1), named(CALLEE, 8880, 2));
    set_up(&mut world, &dialog, &offer, &answer);
    let mut phone = Phone::caller(USUAL, 1);
    let mut sealed = Vec::new();
    phone.sender.seal_rtcp(&REPORT, &mut sealed).unwrap();
    world.send((1, 7770), (2, 8880), &sealed);
    sealed[10] ^= 1;
    world.send((1, 7770), (2, 8880), &sealed);
    let counters = world.media_counters();
    assert_eq!((counters.srtcp_opened, counters.srtcp_auth_failed), (1, 1));
    dialog.bye(&mut world);
}

#[test]
fn srtcp_is_opened_with_the_keys_of_its_rtp() {
    let report = REPORT;
    let mut world = World::new();
    let dialog = Dialog::new("rtcp", 1, 2);
    set_up_usual(&mut world, &dialog);
    let mut phone = Phone::caller(USUAL, 1);
    let (mut sealed, mut shared) = (Vec::new(), Vec::new());
    phone.sender.seal_rtcp(&report, &mut sealed).unwrap();
    phone.sender.seal_rtcp(&report, &mut shared).unwrap();
    world.send((1, 4001), (2, 4001), &sealed);
    world.send(CALLER, CALLEE, &shared);
    shared[10] ^= 1;
    world.send(CALLER, CALLEE, &shared);
    // Of another host.
    world.send((7, 4001), (8, 4001), &report);
    let counters = world.media_counters();
    assert_eq!((counters.srtcp_opened, counters.srtcp_auth_failed), (2, 1));
    dialog.bye(&mut world);
}
