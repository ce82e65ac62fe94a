//! The INVITE that is asked about: read from a file, or made of what was said of it.

use std::borrow::Cow;
use std::fmt::{self, Write};
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, bail, ensure};
use serde::Serialize;

use crate::base::{Endpoint, Flow, Tunnel, Tunnels, Vantage};
use crate::config::Settings;
use crate::daemon::pipeline::sensor_name;
use crate::engine::signalling::Sensor;
use crate::sip::{Message, Method, StartLine, decode_head};

/// Longest INVITE that is read from a file.
const MAX_INVITE_BYTES: u64 = 1 << 20;
/// VLAN tags that the engine tells apart.
const MAX_VLANS: usize = 3;

/// Stands where no host was given (RFC 2606 section 2): no rule names it.
pub const NO_HOST: &str = "invalid";

#[derive(Debug, clap::Args)]
pub struct Call {
    /// The caller as From names it
    #[arg(long, value_name = "NUMBER[@HOST]", required_unless_present = "invite")]
    caller: Option<String>,
    /// The callee as To and the Request-URI name it
    #[arg(long, value_name = "NUMBER[@HOST]", required_unless_present = "invite")]
    callee: Option<String>,
    /// Another header of the INVITE, such as 'P-Asserted-Identity: <sip:1001@pbx>'; may be repeated
    #[arg(long, value_name = "NAME: VALUE")]
    header: Vec<String>,
    /// Read the INVITE from a file instead; - is standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["caller", "callee", "header"])]
    invite: Option<PathBuf>,
    /// Who answered, as the Contact of the 200 names it
    #[arg(long, value_name = "NUMBER[@HOST]")]
    answered_by: Option<String>,
    /// Where the INVITE comes from
    #[arg(long, value_name = "IP", default_value_t = IpAddr::V4(Ipv4Addr::UNSPECIFIED), hide_default_value = true)]
    from_address: IpAddr,
    /// Where the INVITE goes to
    #[arg(long, value_name = "IP", default_value_t = IpAddr::V4(Ipv4Addr::UNSPECIFIED), hide_default_value = true)]
    to_address: IpAddr,
    /// VLAN id of the packet, from the outside in; may be repeated
    #[arg(long, value_name = "ID", value_parser = clap::value_parser!(u16).range(1..=4094))]
    vlan: Vec<u16>,
    /// Tunnel around the packet, such as vxlan:5001, from the outside in; may be repeated
    #[arg(long, value_name = "KIND[:ID]")]
    tunnel: Vec<Tunnel>,
    /// The interface that sees it [default: the configured one, where there is only one]
    #[arg(long, value_name = "NAME")]
    interface: Option<String>,
    /// The sensor that sees it [default: as configured, or this machine's name]
    #[arg(long, value_name = "NAME")]
    sensor: Option<String>,
}

/// An INVITE and where it was seen.
pub struct Question {
    pub sensor: Sensor,
    pub flow: Flow,
    invite: Vec<u8>,
    answer: Option<String>,
}

/// Facts of the network, for people to see what was asked.
#[derive(Debug, Serialize)]
pub struct FactLines {
    sensor: String,
    interface: String,
    vlans: Vec<u16>,
    from_address: IpAddr,
    to_address: IpAddr,
    tunnels: Vec<String>,
}

impl fmt::Display for FactLines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = |ip: IpAddr| match ip.is_unspecified() {
            true => "an unknown address".to_owned(),
            false => ip.to_string(),
        };
        write!(
            f,
            "asked for an INVITE from {} to {}, seen by sensor {}",
            address(self.from_address),
            address(self.to_address),
            self.sensor
        )?;
        if !self.interface.is_empty() {
            write!(f, ", interface {}", self.interface)?;
        }
        self.vlans
            .iter()
            .try_for_each(|vlan| write!(f, ", VLAN {vlan}"))?;
        self.tunnels
            .iter()
            .try_for_each(|tunnel| write!(f, ", tunnel {tunnel}"))
    }
}

impl Question {
    pub fn new(call: &Call, settings: &Settings) -> anyhow::Result<Question> {
        ensure!(
            call.vlan.len() <= MAX_VLANS,
            "at most {MAX_VLANS} VLAN tags tell packets apart"
        );
        let mut vlans = [0; MAX_VLANS];
        vlans
            .iter_mut()
            .zip(&call.vlan)
            .for_each(|(to, from)| *to = *from);
        let interface: Arc<str> = match (&call.interface, settings.capture.sources().as_slice()) {
            (Some(name), _) => name.as_str().into(),
            (None, [only]) => only.clone(),
            (None, _) => "".into(),
        };
        let sensor = call.sensor.as_deref().map(Into::into);
        let invite = match &call.invite {
            Some(path) => read(path)?,
            None => made_of(call)?.into_bytes(),
        };
        Ok(Question {
            sensor: Sensor {
                name: sensor.unwrap_or_else(|| sensor_name(settings)),
                interfaces: vec![interface],
                keep_unattributed: true,
            },
            flow: Flow {
                vantage: Vantage {
                    vlans,
                    tunnels: call
                        .tunnel
                        .iter()
                        .fold(Tunnels::NONE, |around, tunnel| around.and_within(*tunnel)),
                    ..Vantage::default()
                },
                source: Endpoint::new(call.from_address, 5060),
                destination: Endpoint::new(call.to_address, 5060),
            },
            invite,
            answer: call.answered_by.as_deref().map(answer_of).transpose()?,
        })
    }

    /// The INVITE, and the answer to it where somebody answered.
    pub fn messages(&self) -> anyhow::Result<(Message<'_>, Option<Message<'_>>)> {
        let invite = Message::parse(&self.invite).context("cannot read the INVITE")?;
        match invite.start {
            StartLine::Request {
                method: Method::Invite,
                ..
            } => {}
            StartLine::Request { .. } => {
                bail!("the message is {}, not INVITE", invite.method_token())
            }
            StartLine::Response { .. } => bail!("the message is a response, not INVITE"),
        }
        let answer = self
            .answer
            .as_deref()
            .map(|text| Message::parse(text.as_bytes()));
        Ok((
            invite,
            answer.transpose().context("cannot read the answer")?,
        ))
    }

    pub fn fact_lines(&self) -> FactLines {
        FactLines {
            sensor: self.sensor.name.to_string(),
            interface: self.sensor.interfaces.concat(),
            vlans: self
                .flow
                .vantage
                .vlans
                .into_iter()
                .filter(|&vlan| vlan != 0)
                .collect(),
            from_address: self.flow.source.ip(),
            to_address: self.flow.destination.ip(),
            tunnels: self
                .flow
                .vantage
                .tunnels
                .iter()
                .map(|tunnel| tunnel.to_string())
                .collect(),
        }
    }
}

fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    let place = path.display();
    let mut bytes = Vec::new();
    let input: Box<dyn Read> = match path.as_os_str() == "-" {
        true => Box::new(std::io::stdin()),
        false => {
            Box::new(std::fs::File::open(path).with_context(|| format!("cannot open {place}"))?)
        }
    };
    input
        .take(MAX_INVITE_BYTES + 1)
        .read_to_end(&mut bytes)
        .with_context(|| format!("cannot read {place}"))?;
    ensure!(
        bytes.len() as u64 <= MAX_INVITE_BYTES,
        "{place} is too long for an INVITE"
    );
    Ok(match decode_head(&bytes) {
        Cow::Borrowed(_) => bytes,
        Cow::Owned(decoded) => decoded,
    })
}

fn made_of(call: &Call) -> anyhow::Result<String> {
    let uri = |given: &Option<String>| sip_uri(given.as_deref().unwrap_or_default());
    let (caller, callee) = (uri(&call.caller)?, uri(&call.callee)?);
    let mut text = format!(
        "INVITE {callee} SIP/2.0\r\nCall-ID: match\r\nCSeq: 1 INVITE\r\n\
         From: <{caller}>;tag=1\r\nTo: <{callee}>\r\n"
    );
    for header in &call.header {
        let Some((name, value)) = header.split_once(':') else {
            bail!("header {header:?} has no colon: 'Name: value' is expected");
        };
        let is_token = |c: char| c.is_ascii_alphanumeric() || "-.!%*_+`'~".contains(c);
        ensure!(
            !name.trim().is_empty() && name.trim().chars().all(is_token),
            "{:?} is no name of a header",
            name
        );
        ensure!(
            !value.contains(['\r', '\n']),
            "the value of header {name} has a line break"
        );
        // Writing to a String does not fail.
        let _ = write!(text, "{}: {}\r\n", name.trim(), value.trim());
    }
    Ok(text + "\r\n")
}

fn answer_of(given: &str) -> anyhow::Result<String> {
    let uri = sip_uri(given)?;
    Ok(format!(
        "SIP/2.0 200 OK\r\nCall-ID: match\r\nCSeq: 1 INVITE\r\nContact: <{uri}>\r\n\r\n"
    ))
}

/// `1001`, `1001@host`, `sip:1001@host` or `tel:+44…` as a URI.
fn sip_uri(given: &str) -> anyhow::Result<String> {
    let given = given.trim();
    if let Some(number) = given.strip_prefix("tel:") {
        return Ok(format!("tel:{}", escaped(number)));
    }
    let rest = ["sip:", "sips:"]
        .iter()
        .find_map(|scheme| given.strip_prefix(scheme));
    let rest = rest.unwrap_or(given);
    let (user, host) = rest.rsplit_once('@').unwrap_or((rest, NO_HOST));
    ensure!(!user.is_empty(), "{given:?} names no number");
    let is_host = |c: char| c.is_ascii_alphanumeric() || ".-:[]_".contains(c);
    ensure!(
        !host.is_empty() && host.chars().all(is_host),
        "{host:?} is no host"
    );
    Ok(format!("sip:{}@{host}", escaped(user)))
}

/// The user part of a URI (RFC 3261 section 25.1), `%` left as it is: it may be escaped already.
fn escaped(user: &str) -> String {
    let mut text = String::new();
    for byte in user.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.!~*'()&=+$,?/%#".contains(&byte) {
            text.push(char::from(byte));
        } else {
            // Writing to a String does not fail.
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_given_in_any_of_the_usual_ways() {
        for (given, uri) in [
            ("1001", "sip:1001@invalid"),
            ("1001@10.0.0.1", "sip:1001@10.0.0.1"),
            ("sip:alice@example.com:5070", "sip:alice@example.com:5070"),
            ("tel:+44 20", "tel:+44%2020"),
            ("a>b;c", "sip:a%3Eb%3Bc@invalid"),
        ] {
            assert_eq!(sip_uri(given).unwrap(), uri);
        }
        for given in ["", "@host", "1001@", "1001@a b", "1@x\r\nTo: y"] {
            assert!(sip_uri(given).is_err(), "{given:?}");
        }
    }
}
