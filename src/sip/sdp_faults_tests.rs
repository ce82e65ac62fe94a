use super::*;
use crate::sip::Sdp;

const HEAD: &str = "v=0\r\no=- 1 1 IN IP4 10.1.0.5\r\ns=-\r\nc=IN IP4 10.1.0.5\r\nt=0 0\r\n";
const AUDIO: &str = "m=audio 4000 RTP/AVP 0\r\n";

fn told(body: &[u8]) -> Vec<&'static str> {
    SdpFaults::of(body).iter().map(SdpFault::name).collect()
}

fn with_media(media: &str) -> Vec<&'static str> {
    told(format!("{HEAD}{media}").as_bytes())
}

#[test]
fn the_table_is_in_the_order_of_the_faults_and_names_are_unlike() {
    for (place, (fault, name)) in TABLE.iter().enumerate() {
        assert_eq!(*fault as usize, place, "{name}");
        assert_eq!(TABLE.iter().filter(|(_, other)| other == name).count(), 1);
    }
}

#[test]
fn what_phones_send_every_day_has_no_fault() {
    let webrtc = "m=audio 9 UDP/TLS/RTP/SAVPF 111 0 101\r\na=rtpmap:111 opus/48000/2\r\na=fmtp:111 useinbandfec=1\r\n\
                  a=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=ptime:20\r\na=maxptime:120\r\na=sendrecv\r\n\
                  m=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\nm=image 4002 udptl t38\r\n";
    for body in [
        format!("{HEAD}{AUDIO}"),
        format!("{HEAD}{AUDIO}\r\n"),
        format!("{HEAD}{AUDIO}").replace("\r\n", "\n"),
        format!("{HEAD}{AUDIO}").trim_end().to_owned(),
        format!("{HEAD}{webrtc}"),
        HEAD.replace("c=IN IP4 10.1.0.5", "c=IN IP4 phone.example.com") + AUDIO,
        HEAD.replace("c=IN IP4 10.1.0.5", "c=IN IP6 2001:db8::1") + AUDIO,
        HEAD.replace("c=IN IP4 10.1.0.5", "c=IN IP4 224.2.1.1/127/3")
            + "m=audio 4000/2 RTP/AVP 0\r\n",
        HEAD.replace("c=IN IP4 10.1.0.5\r\n", "") + AUDIO + "c=IN IP4 10.1.0.5\r\n",
    ] {
        assert!(
            told(body.as_bytes()).is_empty(),
            "{body}: {:?}",
            told(body.as_bytes())
        );
    }
}

#[test]
fn each_fault_of_a_medium_has_its_name() {
    let many = "m=audio 0 RTP/AVP 0\r\n".repeat(17);
    let mapped = |map: &str| format!("m=audio 4000 RTP/AVP 96\r\na=rtpmap:96 {map}\r\n");
    for (media, name) in [
        ("m=audio 99999 RTP/AVP 0\r\n", "port_invalid"),
        ("m=audio -1 RTP/AVP 0\r\n", "port_invalid"),
        ("m=audio 4000 RTP/AVP\r\n", "media_malformed"),
        ("m=audio 4000 RTP/AVP 300 0\r\n", "payload_type_invalid"),
        ("m=audio 4000 RTP/AVP 128\r\n", "payload_type_invalid"),
        ("m=audio 4000 RTP/AVP pcmu 0\r\n", "payload_type_invalid"),
        ("m=audio 4000 RTP/AVP 0 8 0\r\n", "payload_type_invalid"),
        (&mapped("PCMU/0"), "rtpmap_invalid"),
        (&mapped("L16/4294967296/2"), "rtpmap_invalid"),
        (&mapped("L16/4000000000"), "rtpmap_invalid"),
        (&mapped("L16/8000/255"), "rtpmap_invalid"),
        (&mapped("L16/8000/0"), "rtpmap_invalid"),
        (&mapped("PCMU"), "rtpmap_invalid"),
        (&mapped(""), "rtpmap_invalid"),
        (
            &mapped("PCMA/8000\r\na=rtpmap:96 PCMU/8000"),
            "rtpmap_repeated",
        ),
        (
            "m=audio 4000 RTP/AVP 0\r\na=rtpmap:8 PCMA/8000\r\n",
            "format_not_in_media",
        ),
        (
            "m=audio 4000 RTP/AVP 0\r\na=fmtp:x y\r\n",
            "format_not_in_media",
        ),
        ("m=audio 4000 RTP/AVP 0\r\na=ptime:0\r\n", "ptime_invalid"),
        ("m=audio 4000 RTP/AVP 0\r\na=ptime:-20\r\n", "ptime_invalid"),
        (
            "m=audio 4000 RTP/AVP 0\r\nc=IN IP4 999.1.2.3\r\n",
            "address_invalid",
        ),
        (
            "m=audio 4000 RTP/AVP 0\r\nc=IN IP6 10.1.0.5\r\n",
            "address_invalid",
        ),
        (
            "m=audio 4000 RTP/AVP 0\r\nc=IN IPX a\r\n",
            "address_invalid",
        ),
        ("m=audio 4000 RTP/AVP 0\r\na", "line_malformed"),
        ("m=audio 4000 RTP/AVP 0\r\na=\0\r\n", "line_malformed"),
        ("\r\nm=audio 4000 RTP/AVP 0\r\n", "line_malformed"),
        (" m=audio 4000 RTP/AVP 0\r\n", "line_malformed"),
        ("s=x\r\n", "line_missing"),
        (&many, "too_much"),
    ] {
        assert_eq!(with_media(media), [name], "{media:?}");
    }
}

#[test]
fn faults_of_the_session_have_names_and_what_can_be_read_is_read() {
    let bare = "v=0\r\nm=audio 4000 RTP/AVP 0\r\n";
    assert_eq!(told(bare.as_bytes()), ["line_missing", "address_missing"]);
    let mut bytes = format!("{HEAD}{AUDIO}").into_bytes();
    bytes.extend(b"a=\xff\r\n");
    assert_eq!(told(&bytes), ["not_utf8"]);
    assert_eq!(Sdp::parse(&bytes).unwrap().media.len(), 1);
    let one_line = format!("{HEAD}{AUDIO}").replace("\r\n", "\r");
    assert_eq!(
        told(one_line.as_bytes()),
        ["line_malformed", "line_missing"]
    );
    assert_eq!(told(b""), ["line_missing"]);
}

#[test]
fn each_fault_counts_once_for_a_body() {
    let mut counts = SdpFaultCounts::default();
    let twice =
        format!("{HEAD}m=audio 70000 RTP/AVP 0\r\nm=audio 70000 RTP/AVP 0\r\na=ptime:0\r\n");
    counts.add(SdpFaults::of(twice.as_bytes()));
    counts.add(SdpFaults::of(format!("{HEAD}{AUDIO}").as_bytes()));
    let found: Vec<_> = counts.iter().filter(|(_, count)| *count > 0).collect();
    assert_eq!(
        found,
        [(SdpFault::PortInvalid, 1), (SdpFault::PtimeInvalid, 1)]
    );
}

proptest::proptest! {
    #[test]
    fn any_bytes_can_be_asked(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300)) {
        SdpFaults::of(&bytes);
    }
}
