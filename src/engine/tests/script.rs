//! Dialogs with any numbers and headers, for worlds with several legs and tenants.

use std::sync::Arc;

use super::world::{At, World, sdp};
use crate::base::TenantId;
use crate::directory::{
    Directory, ExtensionDefinition, ExtensionPattern, MatchRule, Place, TenantDefinition,
};

/// One dialog, with its headers.
#[derive(Clone)]
pub struct Leg {
    pub call_id: String,
    pub caller: At,
    pub callee: At,
    pub from: &'static str,
    pub to: &'static str,
    pub from_tag: String,
    pub to_tag: String,
    pub branch: &'static str,
    /// Header lines of the first INVITE.
    pub more: String,
}

impl Leg {
    pub fn new(
        call_id: &str,
        (from, caller): (&'static str, u8),
        (to, callee): (&'static str, u8),
    ) -> Leg {
        Leg {
            call_id: call_id.into(),
            caller: (caller, 5060),
            callee: (callee, 5060),
            from,
            to,
            from_tag: format!("f-{call_id}"),
            to_tag: format!("t-{call_id}"),
            branch: "z9hG4bKb",
            more: String::new(),
        }
    }

    pub fn with(mut self, header: &str) -> Leg {
        self.more += &format!("{header}\r\n");
        self
    }

    fn text(
        &self,
        start: &str,
        back: bool,
        tagged: bool,
        cseq: &str,
        more: &str,
        body: &str,
    ) -> String {
        let tag = |tag: &str, there: bool| {
            if there {
                format!(";tag={tag}")
            } else {
                String::new()
            }
        };
        let (caller, callee) = (
            format!("<sip:{}@a>{}", self.from, tag(&self.from_tag, true)),
            format!("<sip:{}@a>{}", self.to, tag(&self.to_tag, tagged)),
        );
        let (from, to) = if back {
            (callee, caller)
        } else {
            (caller, callee)
        };
        let number = cseq.split(' ').next().unwrap();
        let content = if body.is_empty() {
            ""
        } else {
            "Content-Type: application/sdp\r\n"
        };
        format!(
            "{start}\r\nVia: SIP/2.0/UDP x;branch={}{number}\r\nFrom: {from}\r\nTo: {to}\r\nCall-ID: {}\r\nCSeq: {cseq}\r\n{more}{content}Content-Length: {}\r\n\r\n{body}",
            self.branch,
            self.call_id,
            body.len(),
        )
    }

    pub fn invite(&self, world: &mut World, media: At) {
        let start = format!("INVITE sip:{}@a SIP/2.0", self.to);
        let text = self.text(
            &start,
            false,
            false,
            "1 INVITE",
            &self.more,
            &sdp(media, ""),
        );
        world.send(self.caller, self.callee, text.as_bytes());
    }

    pub fn answer(&self, world: &mut World, media: At, more: &str) {
        let text = self.text(
            "SIP/2.0 200 OK",
            false,
            true,
            "1 INVITE",
            more,
            &sdp(media, ""),
        );
        world.send(self.callee, self.caller, text.as_bytes());
        self.say(world, "ACK", 1, "", "");
    }

    pub fn set_up(&self, world: &mut World, caller_media: At, callee_media: At) {
        self.invite(world, caller_media);
        self.answer(world, callee_media, "");
    }

    /// A request of the caller within the dialog.
    pub fn say(&self, world: &mut World, method: &str, number: u32, more: &str, body: &str) {
        let start = format!("{method} sip:{}@a SIP/2.0", self.to);
        let text = self.text(
            &start,
            false,
            true,
            &format!("{number} {method}"),
            more,
            body,
        );
        world.send(self.caller, self.callee, text.as_bytes());
    }

    /// A request of the callee within the dialog.
    pub fn say_back(&self, world: &mut World, method: &str, number: u32, more: &str, body: &str) {
        let start = format!("{method} sip:{}@a SIP/2.0", self.from);
        let text = self.text(
            &start,
            true,
            true,
            &format!("{number} {method}"),
            more,
            body,
        );
        world.send(self.callee, self.caller, text.as_bytes());
    }

    /// A 200 of the callee to a request of the caller.
    pub fn accept(&self, world: &mut World, method: &str, number: u32, more: &str, body: &str) {
        let text = self.text(
            "SIP/2.0 200 OK",
            false,
            true,
            &format!("{number} {method}"),
            more,
            body,
        );
        world.send(self.callee, self.caller, text.as_bytes());
    }

    /// An answer of the caller to a request of the callee that is no 2xx.
    pub fn refuse_back(&self, world: &mut World, status: u16, method: &str, number: u32) {
        let start = format!("SIP/2.0 {status} No");
        let text = self.text(&start, true, true, &format!("{number} {method}"), "", "");
        world.send(self.caller, self.callee, text.as_bytes());
    }

    /// A 200 of the caller to a request of the callee.
    pub fn accept_back(
        &self,
        world: &mut World,
        method: &str,
        number: u32,
        more: &str,
        body: &str,
    ) {
        let text = self.text(
            "SIP/2.0 200 OK",
            true,
            true,
            &format!("{number} {method}"),
            more,
            body,
        );
        world.send(self.caller, self.callee, text.as_bytes());
    }

    pub fn bye(&self, world: &mut World) {
        self.say(world, "BYE", 9, "", "");
        self.accept(world, "BYE", 9, "", "");
        world.wait(1000);
    }
}

/// Tenant 1, 2, …
pub fn tenant(n: u8) -> TenantId {
    TenantId(uuid::Uuid::from_u128(0xacc0_0000 + u128::from(n)))
}

/// Tenant 1, whose calls are those of a VLAN.
pub fn directory_of_vlan(vlan: u16, extension: &str) -> Arc<Directory> {
    let place = |line| Place::new("t1.toml", line);
    let mut definition = TenantDefinition::new(tenant(1), "Tenant 1", place(1));
    let mut rule = MatchRule::new(place(2));
    rule.vlans = vec![vlan];
    definition.rules.push(rule);
    definition.extensions.push(ExtensionDefinition {
        pattern: ExtensionPattern::number(extension).unwrap(),
        aliases: Vec::new(),
        user: None,
        place: place(3),
        policy: None,
        allocated: false,
    });
    Arc::new(Directory::compile(vec![definition], None).unwrap())
}

/// Tenants by number, each with a network and its extensions, with users named like them.
pub fn directory(tenants: &[(u8, &str, &[&str])]) -> Arc<Directory> {
    let define = |&(n, network, extensions): &(u8, &str, &[&str])| {
        let place = |line| Place::new(format!("t{n}.toml"), line);
        let mut definition = TenantDefinition::new(tenant(n), format!("Tenant {n}"), place(1));
        let mut rule = MatchRule::new(place(2));
        rule.networks = vec![network.parse().unwrap()];
        definition.rules.push(rule);
        for (line, extension) in (3..).zip(extensions) {
            definition.extensions.push(ExtensionDefinition {
                pattern: ExtensionPattern::number(extension).unwrap(),
                aliases: Vec::new(),
                user: Some(format!("user{extension}").into()),
                place: place(line),
                policy: None,
                allocated: false,
            });
        }
        definition
    };
    Arc::new(Directory::compile(tenants.iter().map(define).collect(), None).unwrap())
}
