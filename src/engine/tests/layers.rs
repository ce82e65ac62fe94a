//! Calls whose signalling is wrapped: WebSocket connections found, joined, broken, and what is none.

use super::world::{At, Dialog, Talk, World, sdp};
use crate::base::Side;
use crate::engine::event::Disposition;

const REQUEST: &str =
    "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nSec-WebSocket-Protocol: sip\r\n\r\n";
const GRANTED: &str =
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nSec-WebSocket-Protocol: sip\r\n\r\n";

/// A text frame, unmasked.
fn framed(text: &str) -> Vec<u8> {
    let length = text.len() as u16;
    let mut frame = vec![0x81, 126];
    match length {
        ..126 => frame[1] = length as u8,
        _ => frame.extend(length.to_be_bytes()),
    }
    frame.extend(text.as_bytes());
    frame
}

fn plain(text: &str) -> Vec<u8> {
    text.as_bytes().to_vec()
}

/// A dialog between these two over one connection.
fn dialog(call_id: &'static str, caller: At, callee: At) -> Dialog {
    Dialog {
        caller,
        callee,
        ..Dialog::new(call_id, 1, 2)
    }
}

fn upgrade(world: &mut World, client: At, server: At) {
    world.send_tcp(client, server, REQUEST.as_bytes());
    world.send_tcp(server, client, GRANTED.as_bytes());
}

/// Ten packets each way.
fn talk(world: &mut World) {
    let (mut out, mut back) = (
        Talk::new((1, 4000), (2, 4000), 0x11),
        Talk::new((2, 4000), (1, 4000), 0x22),
    );
    world.talk_both(&mut out, &mut back, 10);
}

fn assert_recorded(world: &World, call_id: &str) {
    assert_eq!(world.heard(call_id, Side::Caller), [(0x11, 1600)]);
    assert_eq!(world.heard(call_id, Side::Callee), [(0x22, 1600)]);
}

#[test]
fn a_websocket_on_a_port_that_nobody_named_is_found_by_its_upgrade() {
    let mut world = World::new();
    let dialog = dialog("ws", (1, 40_000), (2, 9999));
    upgrade(&mut world, dialog.caller, dialog.callee);
    world.wrapped = Some(framed);
    dialog.set_up(&mut world, (1, 4000), (2, 4000));
    talk(&mut world);
    dialog.bye(&mut world);
    assert_recorded(&world, "ws");
    let websocket = world.engine().stream_counters().websocket;
    assert_eq!((websocket.upgrades, websocket.messages), (1, 6));
}

#[test]
fn a_websocket_joined_in_mid_connection_is_found_by_its_frames() {
    for server in [(2, 9999), (2, 5060)] {
        let mut world = World::new();
        world.wrapped = Some(framed);
        let dialog = dialog("midway", (1, 40_000), server);
        dialog.set_up(&mut world, (1, 4000), (2, 4000));
        talk(&mut world);
        dialog.bye(&mut world);
        assert_recorded(&world, "midway");
        assert_eq!(world.engine().stream_counters().websocket.midway, 2);
    }
}

#[test]
fn a_websocket_goes_on_after_a_segment_that_was_not_captured() {
    let mut world = World::new();
    let dialog = dialog("gap", (1, 40_000), (2, 9999));
    upgrade(&mut world, dialog.caller, dialog.callee);
    world.lose_tcp(dialog.caller, dialog.callee, 700);
    world.wrapped = Some(framed);
    dialog.set_up(&mut world, (1, 4000), (2, 4000));
    world.wait(3000);
    talk(&mut world);
    dialog.bye(&mut world);
    assert_recorded(&world, "gap");
    assert_eq!(world.engine().stream_counters().websocket.lost, 1);
}

#[test]
fn what_a_browser_offers_parses_and_is_encrypted() {
    let mut world = World::new();
    let dialog = dialog("webrtc", (1, 40_000), (2, 8080));
    upgrade(&mut world, dialog.caller, dialog.callee);
    world.wrapped = Some(framed);
    let description = |host: u8, setup: &str| {
        let more = format!(
            "a=rtcp:9 IN IP4 0.0.0.0\r\na=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\na=ice-options:trickle\r\n\
             a=fingerprint:sha-256 {}00\r\na=setup:{setup}\r\na=mid:0\r\na=rtcp-mux\r\na=rtcp-rsize\r\n\
             a=candidate:1 1 udp 2113937151 10.0.0.{host} 4000 typ host generation 0\r\n\
             a=candidate:2 1 udp 2113937150 3f5a-11.local 4001 typ host\r\na=end-of-candidates\r\n",
            "AB:".repeat(31)
        );
        sdp((host, 4000), &more).replace("RTP/AVP 0 101", "UDP/TLS/RTP/SAVPF 111 0 101")
    };
    dialog.request(&mut world, "INVITE", 1, "", &description(1, "actpass"));
    dialog.answer(
        &mut world,
        200,
        "INVITE",
        1,
        "tt",
        &description(2, "active"),
    );
    talk(&mut world);
    dialog.bye(&mut world);
    assert_eq!(world.end().disposition, Disposition::Encrypted);
    assert!(world.heard("webrtc", Side::Caller).is_empty());
    assert_eq!(world.engine().counters().sip_malformed, 0);
}

#[test]
fn plain_sip_on_a_tls_port_is_read() {
    let mut world = World::new();
    world.wrapped = Some(plain);
    let dialog = dialog("plain", (1, 40_000), (2, 5061));
    dialog.set_up(&mut world, (1, 4000), (2, 4000));
    talk(&mut world);
    dialog.bye(&mut world);
    assert_recorded(&world, "plain");
    assert_eq!(world.engine().stream_counters().tls.connections, 0);
}

#[test]
fn the_same_ports_carry_another_kind_of_connection_next() {
    let mut world = World::new();
    let (client, server) = ((1, 40_000), (2, 5060));
    for (call_id, wrapped) in [
        ("first", plain as fn(&str) -> Vec<u8>),
        ("second", framed),
        ("third", plain),
    ] {
        if call_id == "second" {
            upgrade(&mut world, client, server);
        }
        world.wrapped = Some(wrapped);
        let dialog = dialog(call_id, client, server);
        dialog.set_up(&mut world, (1, 4000), (2, 4000));
        talk(&mut world);
        dialog.bye(&mut world);
        world.end_tcp(client, server);
        world.end_tcp(server, client);
    }
    for call_id in ["first", "second", "third"] {
        assert_recorded(&world, call_id);
    }
}

#[test]
fn other_connections_of_http_are_left_alone() {
    let mut world = World::new();
    let (client, server) = ((1, 40_000), (2, 5060));
    world.send_tcp(client, server, b"GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    world.send_tcp(
        server,
        client,
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
    );
    let (client, server) = ((1, 40_001), (2, 9999));
    let chat = |text: &str| text.replace(": sip", ": chat").into_bytes();
    world.send_tcp(client, server, &chat(REQUEST));
    world.send_tcp(server, client, &chat(GRANTED));
    world.send_tcp(server, client, &framed("hello, this is a chat"));
    world.finish();
    assert!(world.ends().is_empty());
    let counters = world.engine().stream_counters().websocket;
    assert_eq!(
        (
            counters.upgrades,
            counters.upgrades_other,
            counters.messages
        ),
        (0, 1, 0)
    );
}

#[test]
fn a_first_segment_of_one_byte_decides_nothing() {
    let mut world = World::new();
    let dialog = dialog("slow", (1, 40_000), (2, 5060));
    for byte in REQUEST.as_bytes() {
        world.send_tcp(dialog.caller, dialog.callee, &[*byte]);
    }
    for byte in GRANTED.as_bytes() {
        world.send_tcp(dialog.callee, dialog.caller, &[*byte]);
    }
    world.wrapped = Some(framed);
    dialog.set_up(&mut world, (1, 4000), (2, 4000));
    talk(&mut world);
    dialog.bye(&mut world);
    assert_recorded(&world, "slow");
}

#[test]
fn impossible_descriptions_are_counted_and_read_as_far_as_they_go() {
    let mut world = World::new();
    let dialog = dialog("odd", (1, 40_000), (2, 5060));
    let odd = sdp(
        (1, 4000),
        "a=ptime:-20\r\na=ptime:0\r\na=rtpmap:99 X/8000\r\n",
    );
    dialog.request(&mut world, "INVITE", 1, "", &odd);
    dialog.answer(&mut world, 200, "INVITE", 1, "tt", &sdp((2, 4000), ""));
    talk(&mut world);
    dialog.bye(&mut world);
    assert_recorded(&world, "odd");
    let counts = world.engine().counters().sdp_faults;
    let told: Vec<_> = counts
        .iter()
        .filter(|(_, count)| *count > 0)
        .map(|(fault, count)| (fault.name(), count))
        .collect();
    assert_eq!(told, [("format_not_in_media", 1), ("ptime_invalid", 1)]);
}
