//! CANCELs, true and forged, none of which ends a call: the answer to its INVITE does. Other requests that come from elsewhere.

use super::world::{At, Dialog, Talk, World, sdp};
use crate::base::Side;
use crate::engine::event::EndReason;

const CALLER: At = (1, 5060);
const CALLEE: At = (2, 5060);

/// A CANCEL as the caller of [`ringing`] would send it.
#[derive(Clone, Copy)]
struct Cancel {
    from: At,
    to: At,
    branch: &'static str,
    number: u32,
    from_tag: &'static str,
    to_tag: &'static str,
}

const TRUE: Cancel = Cancel {
    from: CALLER,
    to: CALLEE,
    branch: "z9hG4bK1",
    number: 1,
    from_tag: ";tag=ft",
    to_tag: "",
};

impl Cancel {
    fn headers(&self) -> String {
        format!(
            "Via: SIP/2.0/UDP x;branch={}\r\nFrom: <sip:1001@a>{}\r\nTo: <sip:1002@a>{}\r\nCall-ID: cancel\r\n\
             CSeq: {} CANCEL\r\nContent-Length: 0\r\n\r\n",
            self.branch, self.from_tag, self.to_tag, self.number
        )
    }

    fn send(&self, world: &mut World) {
        let text = format!("CANCEL sip:1002@a SIP/2.0\r\n{}", self.headers());
        world.send(self.from, self.to, text.as_bytes());
    }

    fn answer(&self, world: &mut World, status: u16) {
        let text = format!("SIP/2.0 {status} X\r\n{}", self.headers());
        world.send(self.to, self.from, text.as_bytes());
    }
}

/// Whatever somebody gets wrong who does not see the INVITE's way.
const FORGED: [Cancel; 9] = [
    Cancel {
        branch: "z9hG4bK2",
        ..TRUE
    },
    Cancel { branch: "", ..TRUE },
    Cancel { number: 2, ..TRUE },
    Cancel {
        from_tag: ";tag=xx",
        ..TRUE
    },
    Cancel {
        from_tag: "",
        ..TRUE
    },
    Cancel {
        to_tag: ";tag=xx",
        ..TRUE
    },
    Cancel {
        from: (66, 5060),
        ..TRUE
    },
    Cancel {
        from: CALLEE,
        to: CALLER,
        ..TRUE
    },
    Cancel {
        from: CALLEE,
        to: CALLER,
        from_tag: ";tag=tt",
        to_tag: ";tag=ft",
        ..TRUE
    },
];

fn ringing() -> (World, Dialog) {
    let mut world = World::new();
    let dialog = Dialog::new("cancel", 1, 2);
    dialog.request(&mut world, "INVITE", 1, "", &sdp((1, 4000), ""));
    dialog.answer(&mut world, 180, "INVITE", 1, "tt", "");
    (world, dialog)
}

#[test]
fn a_call_that_is_cancelled_ends_so_whatever_its_answer_is() {
    for status in [487, 480, 401] {
        let (mut world, dialog) = ringing();
        TRUE.send(&mut world);
        TRUE.answer(&mut world, 200);
        dialog.answer(&mut world, status, "INVITE", 1, "tt", "");
        world.wait(1000);
        let end = world.end();
        assert_eq!(
            (end.reason, end.suspicious.requests),
            (EndReason::Cancelled, 0),
            "{status}"
        );
    }
}

/// The phone is asked for credentials just after, and the call that follows is the same one.
#[test]
fn a_forged_cancel_changes_nothing_of_a_call_that_rings() {
    for forged in FORGED {
        let (mut world, dialog) = ringing();
        forged.send(&mut world);
        forged.send(&mut world);
        forged.answer(&mut world, 481);
        dialog.answer(&mut world, 401, "INVITE", 1, "tt", "");
        let text = dialog
            .text("INVITE", 2, &sdp((1, 4000), ""))
            .replace(";tag=tt", "");
        world.send(CALLER, CALLEE, text.as_bytes());
        dialog.answer(&mut world, 200, "INVITE", 2, "tt", &sdp((2, 4000), ""));
        let mut out = Talk::new((1, 4000), (2, 4000), 0x11);
        world.talk(&mut out, 50);
        dialog.bye(&mut world);
        let end = world.end();
        assert_eq!(
            end.reason,
            EndReason::Bye { by: Side::Caller },
            "{}",
            forged.headers()
        );
        assert_eq!(world.heard("cancel", Side::Caller), [(0x11, 50 * 160)]);
        assert!(end.suspicious.requests >= 1, "{}", forged.headers());
    }
}

#[test]
fn a_forged_cancel_changes_nothing_of_a_call_that_talks() {
    for forged in FORGED {
        let mut world = World::new();
        let dialog = Dialog::new("cancel", 1, 2);
        dialog.set_up(&mut world, (1, 4000), (2, 4000));
        let mut out = Talk::new((1, 4000), (2, 4000), 0x11);
        world.talk(&mut out, 25);
        forged.send(&mut world);
        world.talk(&mut out, 25);
        dialog.bye(&mut world);
        let end = world.end();
        assert_eq!(end.reason, EndReason::Bye { by: Side::Caller });
        assert_eq!(world.heard("cancel", Side::Caller), [(0x11, 50 * 160)]);
        assert_eq!(end.suspicious.requests, 1, "{}", forged.headers());
    }
}

/// It crossed the answer on its way.
#[test]
fn a_cancel_that_comes_too_late_is_not_suspicious() {
    let mut world = World::new();
    let dialog = Dialog::new("cancel", 1, 2);
    dialog.set_up(&mut world, (1, 4000), (2, 4000));
    TRUE.send(&mut world);
    dialog.bye(&mut world);
    let end = world.end();
    assert_eq!(
        (end.reason, end.suspicious.requests),
        (EndReason::Bye { by: Side::Caller }, 0)
    );
}

/// Behind a proxy the INVITE has another branch and other ends, and a copy of it may be lost on the way to the sensor.
#[test]
fn a_cancel_is_believed_at_every_hop() {
    let behind = Cancel {
        from: (2, 5060),
        to: (3, 5060),
        branch: "z9hG4bKproxy",
        ..TRUE
    };
    for invite_was_seen in [true, false] {
        let (mut world, dialog) = ringing();
        if invite_was_seen {
            let invite = dialog.text("INVITE", 1, "").replace(";tag=tt", "");
            let invite = invite.replace("z9hG4bK1", behind.branch);
            world.send(behind.from, behind.to, invite.as_bytes());
        }
        behind.send(&mut world);
        behind.answer(&mut world, 200);
        world.pass(10);
        // To the INVITE of the other hop, when it was seen, as well.
        for branch in ["z9hG4bK1", behind.branch] {
            let refusal = format!("SIP/2.0 480 X\r\n{}", behind.headers());
            let refusal = refusal
                .replace(behind.branch, branch)
                .replace("1 CANCEL", "1 INVITE");
            world.send(behind.to, behind.from, refusal.as_bytes());
        }
        world.wait(1000);
        let end = world.end();
        assert_eq!(
            (end.reason, end.suspicious.requests),
            (EndReason::Cancelled, 0),
            "{invite_was_seen}"
        );
    }
}

/// The INVITE before and behind a NAT is one, and so is its CANCEL.
#[test]
fn a_cancel_through_a_nat_is_believed_on_both_sides() {
    let (mut world, dialog) = ringing();
    let outside = (9, 1024);
    let invite = dialog
        .text("INVITE", 1, &sdp((1, 4000), ""))
        .replace(";tag=tt", "");
    world.send(outside, CALLEE, invite.as_bytes());
    for from in [CALLER, outside] {
        Cancel { from, ..TRUE }.send(&mut world);
    }
    dialog.answer(&mut world, 487, "INVITE", 1, "tt", "");
    world.wait(1000);
    let end = world.end();
    assert_eq!(
        (end.reason, end.suspicious.requests),
        (EndReason::Cancelled, 0)
    );
}

#[test]
fn a_cancel_of_an_offer_in_mid_call_is_not_suspicious() {
    let mut world = World::new();
    let dialog = Dialog::new("cancel", 1, 2);
    dialog.set_up(&mut world, (1, 4000), (2, 4000));
    dialog.request(&mut world, "INVITE", 5, "tt", &sdp((1, 6000), ""));
    Cancel {
        number: 5,
        branch: "z9hG4bK5INVITE",
        to_tag: ";tag=tt",
        ..TRUE
    }
    .send(&mut world);
    dialog.answer(&mut world, 487, "INVITE", 5, "tt", "");
    let mut out = Talk::new((1, 4000), (2, 4000), 0x11);
    world.talk(&mut out, 50);
    dialog.bye(&mut world);
    assert_eq!(world.end().suspicious.requests, 0);
    assert_eq!(world.heard("cancel", Side::Caller), [(0x11, 50 * 160)]);
}

/// A phone that moved to another network asks for its media there: its request comes from elsewhere, and is answered.
#[test]
fn a_request_from_elsewhere_counts_once_it_is_answered() {
    for answered in [true, false] {
        let mut world = World::new();
        let dialog = Dialog::new("moved", 1, 2);
        dialog.set_up(&mut world, (1, 4000), (2, 4000));
        let mut before = Talk::new((1, 4000), (2, 4000), 0x11);
        world.talk(&mut before, 50);
        let moved = Dialog {
            caller: (7, 5060),
            ..dialog.clone()
        };
        moved.request(&mut world, "INVITE", 5, "tt", &sdp((7, 6000), ""));
        if answered {
            moved.answer(&mut world, 200, "INVITE", 5, "tt", &sdp((2, 4000), ""));
            moved.request(&mut world, "ACK", 5, "tt", "");
        }
        let mut there = Talk::new((7, 6000), (2, 4000), 0x77);
        world.talk_both(&mut before, &mut there, 50);
        if answered {
            world.talk(&mut there, 50);
        }
        dialog.bye(&mut world);
        let end = world.end();
        assert_eq!(end.suspicious.requests, u64::from(!answered));
        let heard = world.heard("moved", Side::Caller);
        let is_heard = heard.iter().any(|part| part.0 == 0x77);
        assert_eq!(is_heard, answered, "{heard:?}");
    }
}

/// Somebody begins a call that has an answer once more, to have its media come elsewhere.
#[test]
fn an_invite_without_a_tag_changes_nothing_of_a_call_that_talks() {
    let mut world = World::new();
    let dialog = Dialog::new("again", 1, 2);
    dialog.set_up(&mut world, (1, 4000), (2, 4000));
    dialog.request(&mut world, "INVITE", 5, "", &sdp((7, 6000), ""));
    let mut out = Talk::new((1, 4000), (2, 4000), 0x11);
    world.talk(&mut out, 50);
    // It is the first INVITE that comes late, by another way.
    dialog.request(&mut world, "INVITE", 1, "", &sdp((1, 4000), ""));
    dialog.bye(&mut world);
    assert_eq!(world.end().suspicious.requests, 1);
    assert_eq!(world.heard("again", Side::Caller), [(0x11, 50 * 160)]);
}
