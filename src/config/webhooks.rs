//! `[webhooks]`: where webhooks of tenants may go.

use super::feeds::as_texts;
use super::reader::{Fields, Source};
use crate::base::Network;

#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Webhooks {
    /// Whether `http://` may be written: what is told can be read on its way then.
    pub allow_http: bool,
    /// Networks that are not public, and that webhooks may reach all the same.
    #[serde(serialize_with = "as_texts")]
    pub allowed_networks: Vec<Network>,
}

pub(super) fn read(source: &mut Source<'_>, fields: &mut Fields<'_>, webhooks: &mut Webhooks) {
    if let Some(allowed) = fields.flag(source, "allow_http") {
        webhooks.allow_http = allowed;
    }
    let networks = fields.strings(source, "allowed_networks");
    for network in networks.unwrap_or_default() {
        match network.value.parse() {
            Ok(network) => webhooks.allowed_networks.push(network),
            Err(error) => {
                source.error(network.span, format!("{error}"));
            }
        }
    }
}
