//! `[api]`: where HTTP is served, to whom, and how much of it.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use super::feeds::as_texts;
use super::reader::{Fields, Source};
use super::settings::{not_empty, set};
use crate::base::Network;

#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Api {
    /// Plain HTTP: for this machine, and for a proxy with TLS.
    pub listen: SocketAddr,
    /// Absent: TLS is not served.
    pub tls: Option<ApiTls>,
    /// Proxies whose word is taken for where a request comes from.
    #[serde(serialize_with = "as_texts")]
    pub trusted_proxies: Vec<Network>,
    pub max_connections: u32,
    pub max_connections_per_address: u32,
    /// Of a request's body.
    pub max_body_kib: u32,
    /// From a request to the beginning of its answer.
    pub timeout_seconds: u32,
    /// How many may listen to calls in progress at a time; of one tenant half as many.
    pub live_listeners: u32,
}

/// HTTPS.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct ApiTls {
    pub listen: SocketAddr,
    /// PEM: the certificate, then those that lead to its issuer. A relative path is relative to the configuration file.
    pub certificate: PathBuf,
    pub key: PathBuf,
}

impl Default for Api {
    fn default() -> Self {
        Api {
            listen: (Ipv4Addr::LOCALHOST, 8080).into(),
            tls: None,
            trusted_proxies: Vec::new(),
            max_connections: 1024,
            max_connections_per_address: 128,
            max_body_kib: 1024,
            timeout_seconds: 30,
            live_listeners: 32,
        }
    }
}

pub(super) fn read(source: &mut Source<'_>, fields: &mut Fields<'_>, api: &mut Api, folder: &Path) {
    set(&mut api.listen, address(source, fields));
    api.tls = read_tls(source, fields, folder);
    for network in fields
        .strings(source, "trusted_proxies")
        .unwrap_or_default()
    {
        match network.value.parse::<Network>() {
            Ok(everybody) if everybody.prefix_len() == 0 => {
                let why = "that is everybody: whoever asks could say to be somebody else";
                source.error(network.span, why);
            }
            Ok(proxies) => api.trusted_proxies.push(proxies),
            Err(error) => _ = source.error(network.span, error.to_string()),
        }
    }
    let mut bounded =
        |key, target: &mut u32, range| set(target, fields.integer(source, key, range));
    bounded("max_connections", &mut api.max_connections, 16..=65_536);
    bounded(
        "max_connections_per_address",
        &mut api.max_connections_per_address,
        1..=65_536,
    );
    bounded("max_body_kib", &mut api.max_body_kib, 16..=65_536);
    bounded("timeout_seconds", &mut api.timeout_seconds, 1..=600);
    bounded("live_listeners", &mut api.live_listeners, 0..=1000);
    if !api.listen.ip().is_loopback() && api.trusted_proxies.is_empty() {
        source.warn(
            fields.span_of("listen"),
            "without TLS, anybody on the way reads passwords and tokens: use [api.tls], or a proxy that is in `trusted_proxies`",
        );
    }
}

fn address(source: &mut Source<'_>, fields: &mut Fields<'_>) -> Option<SocketAddr> {
    fields.parsed(source, "listen", |text| {
        text.parse()
            .map_err(|_| format!("`{text}` is not an address and port such as \"127.0.0.1:8080\""))
    })
}

fn read_tls(source: &mut Source<'_>, api: &mut Fields<'_>, folder: &Path) -> Option<ApiTls> {
    let mut fields = api.table(source, "tls")?;
    let listen = address(source, &mut fields);
    let mut path = |key| {
        let path = fields.required(source, key)?;
        let checked = not_empty(path.value).map_err(|why| source.error(path.span, why));
        Some(folder.join(checked.ok()?))
    };
    let (certificate, key) = (path("certificate"), path("key"));
    fields.finish(source);
    Some(ApiTls {
        listen: listen.unwrap_or_else(|| (Ipv4Addr::UNSPECIFIED, 8443).into()),
        certificate: certificate?,
        key: key?,
    })
}
