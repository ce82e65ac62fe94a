//! Other media at the audio's port (RFC 9143).

use super::world::{At, Dialog, Talk, World, sdp};
use crate::base::Side;
use crate::engine::event::Disposition;

/// SDP whose video, payload type 96, comes to the audio's port.
fn bundled(at: At) -> String {
    let video = format!("m=video {} RTP/AVP 96 0\r\na=rtpmap:96 VP8/90000\r\n", at.1);
    sdp(at, &video)
}

/// The next packet of a stream of video.
fn send_video(world: &mut World, video: &mut Talk) {
    let mut packet = video.next();
    packet[1] = 96;
    packet.extend([video.fill; 700]);
    world.send(video.from, video.to, &packet);
}

/// A call whose video begins `ahead` packets before its audio.
fn talk_with_video(world: &mut World, ahead: u32) {
    let (mut out, mut back) = (
        Talk::new((1, 4000), (2, 4000), 0x11),
        Talk::new((2, 4000), (1, 4000), 0x22),
    );
    let (mut seen, mut seen_back) = (
        Talk::new((1, 4000), (2, 4000), 0x91),
        Talk::new((2, 4000), (1, 4000), 0x92),
    );
    for turn in 0..ahead + 100 {
        send_video(world, &mut seen);
        send_video(world, &mut seen_back);
        match turn < ahead {
            true => world.pass(20),
            false => world.talk_both(&mut out, &mut back, 1),
        }
    }
}

fn assert_audio_only(world: &World) {
    assert_eq!(world.heard("video", Side::Caller), [(0x11, 100 * 160)]);
    assert_eq!(world.heard("video", Side::Callee), [(0x22, 100 * 160)]);
    let end = world.end();
    assert_eq!(end.suspicious.media_packets, 0);
    let listed = end.streams.iter().map(|s| (s.side, s.ssrc, s.not_placed));
    let mut listed: Vec<_> = listed.collect();
    listed.sort_by_key(|stream| stream.1);
    let expected = [(Side::Caller, 0x1011, 0), (Side::Callee, 0x1022, 0)];
    assert_eq!(listed, expected);
}

#[test]
fn video_at_the_audios_port_takes_nothing_from_it() {
    for ahead in [0, 3, 40] {
        let mut world = World::new();
        let dialog = Dialog::new("video", 1, 2);
        dialog.request(&mut world, "INVITE", 1, "", &bundled((1, 4000)));
        dialog.answer(&mut world, 200, "INVITE", 1, "tt", &bundled((2, 4000)));
        talk_with_video(&mut world, ahead);
        dialog.bye(&mut world);
        assert_audio_only(&world);
        let counted = world.media_counters().other_media;
        assert_eq!(counted, 2 * u64::from(ahead + 100));
        assert_eq!(world.end().length_samples, 100 * 160);
    }
}

/// Who offers other ports is told the shared one by the answer alone, which says the same of both ways.
#[test]
fn the_answer_alone_may_say_that_the_port_is_shared() {
    let mut world = World::new();
    let dialog = Dialog::new("video", 1, 2);
    let apart = "m=video 4002 RTP/AVP 96\r\na=rtpmap:96 VP8/90000\r\n";
    dialog.request(&mut world, "INVITE", 1, "", &sdp((1, 4000), apart));
    dialog.answer(&mut world, 200, "INVITE", 1, "tt", &bundled((2, 4000)));
    talk_with_video(&mut world, 3);
    dialog.bye(&mut world);
    assert_audio_only(&world);
}

/// What comes before the answer may be anything; when it is known to be video, the voice of the side is heard.
#[test]
fn video_from_before_the_answer_gives_way_to_the_voice() {
    let mut world = World::new();
    let dialog = Dialog::new("video", 1, 2);
    let mut seen = Talk::new((2, 4000), (1, 4000), 0x92);
    dialog.request(&mut world, "INVITE", 1, "", &sdp((1, 4000), ""));
    for _ in 0..5 {
        send_video(&mut world, &mut seen);
        world.pass(20);
    }
    dialog.answer(&mut world, 200, "INVITE", 1, "tt", &bundled((2, 4000)));
    let mut back = Talk::new((2, 4000), (1, 4000), 0x22);
    for _ in 0..50 {
        send_video(&mut world, &mut seen);
        world.talk(&mut back, 1);
    }
    dialog.bye(&mut world);
    let heard = world.heard("video", Side::Callee);
    assert!(heard.contains(&(0x22, 50 * 160)), "{heard:?}");
    assert_eq!(world.end().suspicious.media_packets, 0);
}

#[test]
fn a_call_with_video_alone_has_no_audio() {
    let mut world = World::new();
    let dialog = Dialog::new("video", 1, 2);
    dialog.request(&mut world, "INVITE", 1, "", &bundled((1, 4000)));
    dialog.answer(&mut world, 200, "INVITE", 1, "tt", &bundled((2, 4000)));
    let mut seen = Talk::new((1, 4000), (2, 4000), 0x91);
    for _ in 0..50 {
        send_video(&mut world, &mut seen);
        world.pass(20);
    }
    dialog.bye(&mut world);
    let end = world.end();
    assert_eq!(end.disposition, Disposition::NoAudio);
    assert!(end.streams.is_empty());
}
