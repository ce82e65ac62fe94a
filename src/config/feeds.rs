//! `[capture.tunnels]` and `[capture.hep]`: where packets of others are looked for.

use std::net::{Ipv4Addr, SocketAddr};

use super::reader::{Fields, Source};
use super::settings::{not_empty, set};
use crate::base::Network;

/// UDP ports of tunnels; a kind with an empty list is not opened.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Tunnels {
    pub vxlan: Vec<u16>,
    pub geneve: Vec<u16>,
    pub gtp: Vec<u16>,
    pub l2tp: Vec<u16>,
    pub tzsp: Vec<u16>,
    /// HEP on its way to somebody else. Absent: a replay opens it at 9060, a daemon does not.
    pub hep: Option<Vec<u16>>,
}

impl Default for Tunnels {
    fn default() -> Self {
        Tunnels {
            vxlan: vec![4789, 4790, 8472],
            geneve: vec![6081],
            gtp: vec![2152],
            l2tp: vec![1701],
            tzsp: vec![37_008],
            hep: None,
        }
    }
}

/// What agents together are called where an interface is named: in match rules, vantages and metrics.
pub const HEP_SOURCE: &str = "hep";

/// A place where agents report to by HEP.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Hep {
    /// Over UDP and TCP.
    pub listen: SocketAddr,
    /// What agents have to send with each packet.
    pub password: Option<Secret>,
    /// Where agents may be; everywhere, when empty.
    #[serde(serialize_with = "as_texts")]
    pub networks: Vec<Network>,
}

impl Default for Hep {
    fn default() -> Self {
        Hep {
            listen: (Ipv4Addr::LOCALHOST, 9060).into(),
            password: None,
            networks: Vec::new(),
        }
    }
}

pub(super) fn as_texts<S: serde::Serializer>(
    networks: &[Network],
    out: S,
) -> Result<S::Ok, S::Error> {
    out.collect_seq(networks.iter().map(Network::to_string))
}

/// A password of the configuration: never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub(super) fn new(text: String) -> Secret {
        Secret(text)
    }

    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(hidden)")
    }
}

impl serde::Serialize for Secret {
    fn serialize<S: serde::Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.serialize_str("(hidden)")
    }
}

pub(super) fn read_tunnels(source: &mut Source<'_>, capture: &mut Fields<'_>) -> Tunnels {
    let mut tunnels = Tunnels::default();
    let Some(mut fields) = capture.table(source, "tunnels") else {
        return tunnels;
    };
    let span = fields.span.clone();
    let mut ports = |key| fields.integers(source, key, 1..=u16::MAX);
    set(&mut tunnels.vxlan, ports("vxlan"));
    set(&mut tunnels.geneve, ports("geneve"));
    set(&mut tunnels.gtp, ports("gtp"));
    set(&mut tunnels.l2tp, ports("l2tp"));
    set(&mut tunnels.tzsp, ports("tzsp"));
    tunnels.hep = ports("hep");
    fields.finish(source);
    let mut all: Vec<u16> = tunnels.lists().into_iter().flatten().copied().collect();
    all.sort_unstable();
    if let Some([port, _]) = all.array_windows().find(|[a, b]| a == b) {
        source.error(span, format!("port {port} is there twice"));
    }
    tunnels
}

impl Tunnels {
    fn lists(&self) -> [&[u16]; 6] {
        let hep = self.hep.as_deref().unwrap_or_default();
        [
            &self.vxlan,
            &self.geneve,
            &self.gtp,
            &self.l2tp,
            &self.tzsp,
            hep,
        ]
    }
}

pub(super) fn read_hep(source: &mut Source<'_>, capture: &mut Fields<'_>) -> Option<Hep> {
    let mut fields = capture.table(source, "hep")?;
    let mut hep = Hep::default();
    let place = fields.span_of("listen");
    let listen = fields.parsed(source, "listen", |text| {
        text.parse()
            .map_err(|_| format!("`{text}` is not an address and port such as \"127.0.0.1:9060\""))
    });
    set(&mut hep.listen, listen);
    hep.password = fields.parsed(source, "password", not_empty).map(Secret);
    let networks = fields.strings(source, "networks").unwrap_or_default();
    for network in networks {
        match network.value.parse() {
            Ok(network) => hep.networks.push(network),
            Err(error) => {
                source.error(network.span, format!("{error}"));
            }
        }
    }
    fields.finish(source);
    let open = hep.password.is_none() && hep.networks.is_empty();
    if open && !hep.listen.ip().is_loopback() {
        source.warn(
            place,
            "anybody who reaches this address can report calls of any tenant: name `networks` or a `password`",
        );
    }
    Some(hep)
}
