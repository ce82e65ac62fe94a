//! Session descriptions as devices send them.

use proptest::prelude::*;

use super::*;

fn sdp(text: &str) -> Sdp<'_> {
    Sdp::parse(text.as_bytes()).unwrap()
}

fn ip(text: &str) -> Option<IpAddr> {
    Some(text.parse().unwrap())
}

const OFFER: &str = "v=0\r\n\
    o=alice 2890844526 2890844527 IN IP4 10.0.0.1\r\n\
    s=A call\r\n\
    c=IN IP4 10.0.0.1\r\n\
    t=0 0\r\n\
    a=sendonly\r\n\
    m=audio 49170 RTP/AVP 0 8 97 101\r\n\
    a=rtpmap:97 opus/48000/2\r\n\
    a=fmtp:97 useinbandfec=1\r\n\
    a=RTPMAP:101 TELEPHONE-EVENT/8000\r\n\
    a=fmtp:101 0-16\r\n\
    a=ptime:20\r\n\
    a=rtcp:53020 IN IP4 10.0.0.9\r\n\
    m=video 51372 RTP/AVP 31 99\r\n\
    c=IN IP6 2001:db8::2\r\n\
    a=inactive\r\n\
    a=mid:v\r\n";

#[test]
fn a_usual_offer_is_read() {
    let sdp = sdp(OFFER);
    assert_eq!(
        (sdp.session_id, sdp.version),
        (Some("2890844526"), Some(2890844527))
    );
    assert_eq!(
        (sdp.origin_user, sdp.session_name),
        (Some("alice"), Some("A call"))
    );
    let [audio, video] = &sdp.media[..] else {
        panic!("two media")
    };
    assert_eq!(
        (audio.kind, audio.port, audio.transport),
        (MediaKind::Audio, 49170, "RTP/AVP")
    );
    assert_eq!(
        (audio.address, audio.direction),
        (ip("10.0.0.1"), Direction::SendOnly)
    );
    assert_eq!(
        (audio.ptime_ms, audio.rtcp),
        (Some(20), Some((ip("10.0.0.9"), 53020)))
    );
    let opus = audio.format(97).unwrap();
    assert_eq!(
        (opus.encoding, opus.clock_rate_hz, opus.channels),
        ("opus", 48000, 2)
    );
    assert_eq!(opus.fmtp, "useinbandfec=1");
    assert!(audio.format(101).unwrap().is("telephone-event"));
    assert_eq!((video.kind, video.mid), (MediaKind::Video, Some("v")));
    assert_eq!(
        (video.address, video.direction),
        (ip("2001:db8::2"), Direction::Inactive)
    );
    assert_eq!(video.format(99).unwrap().clock_rate_hz, 90000);
    assert_eq!(video.rtcp_endpoint().unwrap().port, 51373);
}

#[test]
fn bare_line_feeds_and_missing_lines_are_tolerated() {
    let bare = OFFER.replace('\r', "");
    assert_eq!(sdp(&bare), sdp(OFFER));
    let short = sdp("m=audio 4000 RTP/AVP 8\nc=IN IP4 10.0.0.1");
    assert_eq!(
        short.media[0].endpoint().unwrap().to_string(),
        "10.0.0.1:4000"
    );
}

#[test]
fn unknown_and_unreadable_lines_are_skipped() {
    let text = b"v=0\r\ns=caf\xe9\r\n\r\njunk\r\nq\r\nm =audio 4000 RTP/AVP 0\r\na=\xff\r\nz=0 0\r\nc=IN IP4 10.0.0.1\r\n";
    let sdp = Sdp::parse(text).unwrap();
    assert_eq!(sdp.session_name, None);
    assert_eq!(sdp.media[0].address, ip("10.0.0.1"));
}

#[test]
fn what_is_no_description_is_refused() {
    assert_eq!(Sdp::parse(b" \r\n"), Err(SdpError::Empty));
    assert_eq!(
        Sdp::parse(b"hello"),
        Err(SdpError::NoSdpLines { length: 5 })
    );
}

#[test]
fn addresses_come_with_ttl_in_brackets_or_as_names() {
    let of = |connection: &str| {
        let text = format!("v=0\r\nc={connection}\r\nm=audio 4000 RTP/AVP 0\r\n");
        sdp(&text).media[0].address
    };
    assert_eq!(of("IN IP4 224.2.36.42/127"), ip("224.2.36.42"));
    assert_eq!(of("IN IP6 ff15::101/3"), ip("ff15::101"));
    assert_eq!(of("IN IP6 [2001:db8::1]"), ip("2001:db8::1"));
    assert_eq!(of("IN  IP4  0.0.0.0"), ip("0.0.0.0"));
    assert_eq!(of("IN IP4 media.example.com"), None);
    assert_eq!(of("IN IP4"), None);
}

#[test]
fn a_named_host_in_a_medium_hides_the_session_address() {
    let sdp =
        sdp("v=0\nc=IN IP4 10.0.0.1\nm=audio 1 RTP/AVP 0\nc=IN IP4 host\nm=audio 2 RTP/AVP 0\n");
    assert_eq!(sdp.address, ip("10.0.0.1"));
    assert_eq!(sdp.media[0].address, None);
    assert_eq!(sdp.media[1].address, ip("10.0.0.1"));
}

#[test]
fn refused_media_have_port_zero() {
    let sdp = sdp(
        "v=0\nc=IN IP4 10.0.0.1\nm=audio 0 RTP/AVP 0\nm=audio x RTP/AVP 0\nm=audio 49170/2 RTP/AVP 0\nm=audio 99999 RTP/AVP 0\n",
    );
    assert_eq!(sdp.media[0].endpoint(), None);
    assert_eq!(sdp.media[1].port, 0);
    assert_eq!((sdp.media[2].port, sdp.media[2].port_count), (49170, 2));
    assert_eq!(sdp.media[3].port, 0);
}

#[test]
fn every_profile_of_rtp_has_formats_and_nothing_else_does() {
    for (transport, rtp, srtp) in [
        ("RTP/AVP", true, false),
        ("RTP/SAVP", true, true),
        ("RTP/AVPF", true, false),
        ("rtp/savpf", true, true),
        ("UDP/TLS/RTP/SAVPF", true, true),
        ("udptl", false, false),
        ("UDPTL", false, false),
        ("TCP", false, false),
        ("TCP/TLS/BFCP", false, false),
    ] {
        let text = format!("v=0\nm=audio 4000 {transport} 8\na=rtpmap:8 PCMA/8000\n");
        let sdp = sdp(&text);
        let media = &sdp.media[0];
        assert_eq!(
            (media.is_rtp(), media.is_srtp()),
            (rtp, srtp),
            "{transport}"
        );
        assert_eq!(media.formats.len(), usize::from(rtp), "{transport}");
    }
    let fax = sdp("v=0\nm=image 4000 udptl t38\na=T38FaxVersion:0\n");
    assert_eq!(
        (fax.media[0].kind, fax.media[0].formats.len()),
        (MediaKind::Image, 0)
    );
    assert_eq!(
        sdp("v=0\nm=application 9 x y\n").media[0].kind,
        MediaKind::Other
    );
}

#[test]
fn payload_types_mean_what_the_rtpmap_says_else_what_the_tables_say() {
    let sdp = sdp(
        "v=0\nm=audio 1 RTP/AVP 0 8 9 10 18 18 13 3 4 2 97 98 128 x\n\
        a=rtpmap:8 pcma\na=rtpmap:3 iLBC/8000\na=rtpmap:97 L16/44100/2\na=rtpmap:18 G729/0/0\na=rtpmap:50 nobody/1\na=rtpmap:98\n",
    );
    let media = &sdp.media[0];
    let facts = |payload_type| {
        let format = media.format(payload_type).unwrap();
        (format.encoding, format.clock_rate_hz, format.channels)
    };
    assert_eq!(facts(0), ("PCMU", 8000, 1));
    assert_eq!(facts(8), ("pcma", 8000, 1));
    assert_eq!(facts(9), ("G722", 8000, 1));
    assert_eq!(facts(10), ("L16", 44100, 2));
    assert_eq!(facts(18), ("G729", 8000, 1));
    assert_eq!(facts(13), ("CN", 8000, 1));
    assert_eq!(facts(3), ("iLBC", 8000, 1));
    assert_eq!(facts(2), ("G726-32", 8000, 1));
    assert_eq!(facts(97), ("L16", 44100, 2));
    assert_eq!(facts(98), ("", 8000, 1));
    assert_eq!(media.format(50), None);
    assert_eq!((media.formats.len(), media.dropped_formats), (11, 2));
}

#[test]
fn keys_stay_as_they_were_sent() {
    let sdp = sdp("v=0\nm=audio 1 RTP/SAVP 0\n\
        a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz|2^20|1:4\n\
        a=CRYPTO: 2 F8_128_HMAC_SHA1_80 inline:MTIz\n");
    assert_eq!(
        sdp.media[0].crypto[..],
        [
            "1 AES_CM_128_HMAC_SHA1_80 inline:WVNfX19zZW1jdGwgKCkgewkyMjA7fQp9CnVubGVz|2^20|1:4",
            "2 F8_128_HMAC_SHA1_80 inline:MTIz"
        ]
    );
}

#[test]
fn keying_out_of_reach_is_noticed_at_either_level() {
    let session =
        sdp("v=0\na=fingerprint:SHA-1 4A:AD\na=zrtp-hash:1.10 fe\nm=audio 1 UDP/TLS/RTP/SAVPF 0\n");
    assert!(session.media[0].dtls && session.media[0].zrtp);
    let media = sdp("v=0\nm=audio 1 RTP/AVP 0\nm=audio 1 RTP/AVP 0\na=fingerprint:SHA-1 4A:AD\n");
    assert_eq!((media.media[0].dtls, media.media[1].dtls), (false, true));
}

#[test]
fn rtcp_goes_where_the_description_says() {
    let sdp = sdp(
        "v=0\nc=IN IP4 10.0.0.1\nm=audio 4000 RTP/AVP 0\na=rtcp-mux\nm=audio 5000 RTP/AVP 0\na=rtcp:6000\nm=audio 65535 RTP/AVP 0\n",
    );
    let ports: Vec<_> = sdp
        .media
        .iter()
        .map(|media| media.rtcp_endpoint().map(|e| e.port))
        .collect();
    assert_eq!(ports, [Some(4000), Some(6000), None]);
    assert!(sdp.media[0].rtcp_mux);
}

#[test]
fn candidates_are_kept_up_to_the_cap() {
    let mut text = String::from(
        "v=0\nm=audio 1 RTP/AVP 0\n\
        a=candidate:1 1 UDP 2130706431 10.0.0.1 49170 typ host\n\
        a=candidate:2 2 udp 2130706430 fd01::1 49171 typ srflx raddr 10.0.0.1 rport 9\n\
        a=candidate:3 1 tcp 2130706431 10.0.0.1 9 typ host\n\
        a=candidate:4 1 udp 1 abcd.local 9 typ host\na=candidate:5\n",
    );
    let two = [
        IceCandidate {
            address: "10.0.0.1".parse().unwrap(),
            port: 49170,
            component: 1,
        },
        IceCandidate {
            address: "fd01::1".parse().unwrap(),
            port: 49171,
            component: 2,
        },
    ];
    assert_eq!(sdp(&text).media[0].candidates[..], two);
    text.push_str(&"a=candidate:1 1 UDP 2130706431 10.0.0.1 49170 typ host\n".repeat(20));
    assert_eq!(sdp(&text).media[0].candidates.len(), MAX_CANDIDATES);
}

#[test]
fn what_is_past_the_caps_is_counted() {
    let formats: String = (0..128).map(|number| format!(" {number}")).collect();
    let mut text = format!("v=0\nc=IN IP4 10.0.0.1\nm=audio 1 RTP/AVP{formats}\n");
    text.push_str(&"m=audio 2 RTP/AVP 0\na=sendonly\n".repeat(MAX_MEDIA - 1));
    text.push_str(&"m=audio 3 RTP/AVP 0\nc=IN IP4 10.0.0.2\na=inactive\na=ptime:5\n".repeat(3));
    let sdp = sdp(&text);
    assert_eq!((sdp.media.len(), sdp.dropped_media), (MAX_MEDIA, 3));
    assert_eq!(
        (sdp.media[0].formats.len(), sdp.media[0].dropped_formats),
        (MAX_FORMATS, 64)
    );
    let last = sdp.media.last().unwrap();
    assert_eq!(
        (last.address, last.direction),
        (ip("10.0.0.1"), Direction::SendOnly)
    );
    assert_eq!(last.ptime_ms, None);
}

#[test]
fn directions_say_who_sends() {
    assert!(Direction::SendRecv.sends() && Direction::SendRecv.receives());
    assert!(Direction::SendOnly.sends() && !Direction::SendOnly.receives());
    assert!(!Direction::RecvOnly.sends() && Direction::RecvOnly.receives());
    assert!(!Direction::Inactive.sends() && !Direction::Inactive.receives());
}

fn check_bounds(body: &[u8]) -> Result<(), TestCaseError> {
    let Ok(sdp) = Sdp::parse(body) else {
        return Ok(());
    };
    prop_assert!(sdp.media.len() <= MAX_MEDIA);
    for media in &sdp.media {
        prop_assert!(media.formats.len() <= MAX_FORMATS);
        prop_assert!(media.crypto.len() <= MAX_CRYPTO && media.candidates.len() <= MAX_CANDIDATES);
        prop_assert!(
            media
                .formats
                .iter()
                .all(|f| f.clock_rate_hz > 0 && f.channels > 0 && f.payload_type < 128)
        );
        let _ = (media.endpoint(), media.rtcp_endpoint(), media.is_srtp());
    }
    Ok(())
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(body in proptest::collection::vec(any::<u8>(), 0..600)) {
        check_bounds(&body)?;
    }

    #[test]
    fn lines_of_the_right_shape_never_panic(
        lines in proptest::collection::vec("(v|o|c|m|a|s)=(IN|IP4|audio|RTP/AVP|rtpmap|fmtp|candidate|rtcp|crypto|[0-9]{1,6}|[ -~é]|:|/| ){0,12}\r?\n", 0..40),
    ) {
        check_bounds(lines.concat().as_bytes())?;
    }

    #[test]
    fn mutated_offers_never_panic(
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..20),
        length in any::<prop::sample::Index>(),
    ) {
        let mut body = OFFER.as_bytes().to_vec();
        for (place, byte) in changes {
            let place = place.index(body.len());
            body[place] = byte;
        }
        check_bounds(&body[..length.index(body.len() + 1)])?;
    }

    #[test]
    fn what_is_written_is_read(
        port in 1u16..,
        address in any::<[u8; 4]>(),
        types in proptest::collection::btree_set(96u8..128, 1..9),
        clock in 1u32..200_000,
        channels in 1u8..8,
        ptime in 1u16..200,
    ) {
        let address = IpAddr::from(address);
        let list: String = types.iter().map(|number| format!(" {number}")).collect();
        let maps: String = types.iter().map(|number| format!("a=rtpmap:{number} X-{number}/{clock}/{channels}\r\na=fmtp:{number} p={number}\r\n")).collect();
        let text = format!("v=0\r\nc=IN IP4 {address}\r\nm=audio {port} RTP/AVP{list}\r\n{maps}a=ptime:{ptime}\r\n");
        let sdp = sdp(&text);
        let media = &sdp.media[0];
        prop_assert_eq!(media.endpoint(), Some(Endpoint::new(address, port)));
        prop_assert_eq!(media.ptime_ms, Some(ptime));
        prop_assert_eq!(media.formats.len(), types.len());
        for number in types {
            let format = media.format(number).unwrap();
            prop_assert_eq!(format.encoding, format!("X-{number}"));
            prop_assert_eq!(format.fmtp, format!("p={number}"));
            prop_assert_eq!((format.clock_rate_hz, format.channels), (clock, channels));
        }
    }
}
