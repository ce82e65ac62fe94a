//! `callreel group`, `callreel role` and most of `callreel user`: people and their rights, by who sits at the machine.
//!
//! They ask the API from inside, as an operator who may do everything, on the catalog itself: the daemon may run or not, and
//! sees what was changed at the next request.

pub mod groups;
pub mod roles;
pub mod users;

use anyhow::{Context, bail};
use serde_json::Value;
use uuid::Uuid;

use super::installation::Installation;
use super::output::{self, Table, print_json};
use super::selection::Store;
use super::user::{operator, tenant};
use crate::api::{Answer, Api, ApiSettings, Inside};
use crate::base::TenantId;

/// How far the help of these commands goes alike.
const OUTCOMES: &str = "Works on the catalog itself, whether or not the daemon runs; whoever may write to it may do this. The audit \
keeps it.\n\nExit status: 0 done, 2 not done.";

/// In which tenant, and how it is shown.
#[derive(Debug, clap::Args)]
pub struct Place {
    /// The tenant's short name or id [default: the System tenant]
    #[arg(long, value_name = "TENANT")]
    tenant: Option<String>,
    /// Print JSON instead of a table
    #[arg(long)]
    json: bool,
}

/// One tenant's people, through the API.
pub struct Office {
    inside: Inside,
    tenant: TenantId,
    json: bool,
}

impl Office {
    /// In the tenant that was named.
    pub async fn open(
        installation: &Installation,
        store: &Store,
        place: &Place,
    ) -> anyhow::Result<Office> {
        let catalog = &installation.catalog;
        let configured = store.configured.as_ref();
        let api = Api::new(ApiSettings {
            storage: store.layout.clone(),
            multi_tenancy: configured.is_none_or(|configured| configured.multi),
            ..ApiSettings::default()
        });
        api.set_catalog(catalog.clone());
        api.set_installation(installation.tenancy.clone());
        Ok(Office {
            inside: Inside::new(api, operator()),
            tenant: tenant(catalog, place.tenant.as_deref()).await?,
            json: place.json,
        })
    }

    /// All items of a list, every page of it. `query` is further parameters, such as `&active=true`.
    async fn list(&self, resource: &str, query: &str) -> anyhow::Result<Vec<Value>> {
        let first = format!("/{resource}?limit=500&tenant_id={}{query}", self.tenant);
        let mut path = first.clone();
        let mut items = Vec::new();
        loop {
            let page = self.inside.get(&path).await?.body;
            items.extend(page["items"].as_array().into_iter().flatten().cloned());
            match page["next"].as_str() {
                Some(next) => path = format!("{first}&after={next}"),
                None => return Ok(items),
            }
        }
    }

    /// The one that is named: by its id, or by what `key` has.
    async fn find(&self, resource: &str, key: &str, name: &str) -> anyhow::Result<Value> {
        let is_named = |item: &Value| {
            let has = |key: &str| item[key].as_str().is_some_and(|text| same(text, name));
            has(key) || has(id_key(resource))
        };
        let query = match resource {
            "users" if name.parse::<Uuid>().is_err() => format!("&login={}", escaped(name)),
            _ => String::new(),
        };
        let items = self.list(resource, &query).await?;
        let kind = resource.trim_end_matches('s');
        let missing = || format!("the tenant has no {kind} `{}`", output::harmless(name));
        items.into_iter().find(is_named).with_context(missing)
    }

    /// The one that is named, with its version, and its path.
    async fn read(
        &self,
        resource: &str,
        key: &str,
        name: &str,
    ) -> anyhow::Result<(String, Answer)> {
        let found = self.find(resource, key, name).await?;
        let path = format!("/{resource}/{}", id_of(resource, &found)?);
        let read = self.inside.get(&path).await?;
        Ok((path, read))
    }

    async fn remove(&self, resource: &str, key: &str, name: &str) -> anyhow::Result<()> {
        let (path, read) = self.read(resource, key, name).await?;
        self.inside.remove(&path, &read).await?;
        let name = read.body[key].as_str().unwrap_or(name);
        self.tell(&Value::Null, &format!("{name} is removed"))
    }

    /// The id of the group that is named.
    async fn group(&self, name: &str) -> anyhow::Result<Value> {
        Ok(self.find("groups", "name", name).await?["id"].clone())
    }

    /// What came of it: the object as JSON, or a line.
    fn tell(&self, object: &Value, line: &str) -> anyhow::Result<()> {
        if self.json {
            return print_json(object);
        }
        output::print(&format!("{}\n", output::harmless(line)));
        Ok(())
    }

    /// One object: as JSON, or its fields one below the other.
    fn show(&self, object: &Value) -> anyhow::Result<()> {
        if self.json {
            return print_json(object);
        }
        let mut table = Table::new(&["FIELD", "VALUE"]);
        for (field, value) in object.as_object().into_iter().flatten() {
            table.row(vec![field.clone(), shown(value)]);
        }
        table.print();
        Ok(())
    }

    /// Several objects: as a JSON array, or as a table of these fields.
    fn show_all(&self, items: &[Value], columns: &[(&'static str, &str)]) -> anyhow::Result<()> {
        if self.json {
            return print_json(&items);
        }
        let header: Vec<&'static str> = columns.iter().map(|(title, _)| *title).collect();
        let mut table = Table::new(&header);
        for item in items {
            let cell = |(_, field): &(&str, &str)| shown(&item[*field]);
            table.row(columns.iter().map(cell).collect());
        }
        table.print();
        Ok(())
    }
}

fn same(one: &str, other: &str) -> bool {
    one.to_lowercase() == other.trim().to_lowercase()
}

fn id_key(resource: &str) -> &'static str {
    match resource {
        "roles" => "role_id",
        _ => "id",
    }
}

fn id_of<'v>(resource: &str, object: &'v Value) -> anyhow::Result<&'v str> {
    object[id_key(resource)].as_str().context("it has no id")
}

/// A value of JSON as people read it.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::Bool(yes) => if *yes { "yes" } else { "no" }.to_owned(),
        Value::String(text) if text.is_empty() => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) if items.is_empty() => "-".to_owned(),
        Value::Array(items) => items.iter().map(shown).collect::<Vec<_>>().join(", "),
        Value::Object(fields) => {
            let each = |(key, value): (&String, &Value)| format!("{key}: {}", shown(value));
            fields.iter().map(each).collect::<Vec<_>>().join("; ")
        }
        number => number.to_string(),
    }
}

/// Text as a value in a query (RFC 3986 section 2.1).
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                escaped.push(char::from(byte));
            }
            _ => escaped += &format!("%{byte:02X}"),
        }
    }
    escaped
}

/// `all`, `none`, `on-demand`, or a share such as `25%`, as the API has it.
fn policy(text: &str) -> anyhow::Result<Value> {
    if ["all", "none", "on-demand"].contains(&text) {
        return Ok(text.into());
    }
    let percent = text
        .strip_suffix('%')
        .and_then(|share| share.parse::<u8>().ok());
    match percent.filter(|percent| (1..=100).contains(percent)) {
        Some(percent) => Ok(serde_json::json!({ "sample": percent })),
        None => bail!("a policy is all, none, on-demand or a share such as 25%"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_query_carries_any_text() {
        assert_eq!(escaped("zoë&x=1 %"), "zo%C3%AB%26x%3D1%20%25");
    }

    #[test]
    fn a_policy_is_written_as_in_the_configuration() {
        assert_eq!(policy("on-demand").unwrap(), json!("on-demand"));
        assert_eq!(policy("25%").unwrap(), json!({ "sample": 25 }));
        for wrong in ["", "some", "0%", "101%", "25"] {
            assert!(policy(wrong).is_err(), "{wrong}");
        }
    }
}
