//! One request of the matrix: what its path and body name is made, whatever else it needs to succeed, and then it is asked.

use std::collections::BTreeMap;

use callreel::access::{AccessLevel, Preset};
use callreel::base::{SYSTEM_TENANT, TenantId};
use serde_json::{Value, json};
use uuid::Uuid;

use super::before::{self, prepare};
use super::document::{Form, Operation};
use super::kinds;
use super::sign_in;
use super::table::Row;
use super::world::{ACME, Answer, GLOBEX, Somebody, World};

/// Whose the id is that is asked with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    Own,
    Foreign,
    Nobodys,
}

/// What is sent.
#[derive(Debug)]
pub struct Sent {
    pub path: String,
    pub query: Vec<String>,
    pub headers: Vec<(String, String)>,
    pub body: Option<Value>,
    /// Ids in the path, by their names.
    pub ids: BTreeMap<String, Uuid>,
    /// The headers say who asks.
    pub in_session: bool,
}

impl Sent {
    pub fn body_mut(&mut self) -> &mut Value {
        self.body.get_or_insert_with(|| json!({}))
    }
}

/// Whether somebody reaches every tenant.
pub fn everywhere(who: &Somebody) -> bool {
    let level = who.principal.level();
    who.principal.home() == SYSTEM_TENANT && level.reaches(AccessLevel::System)
}

/// The tenant that the whole request is about: another one, where who reaches it asks for a thing of it.
fn about(
    operation: &Operation,
    who: Option<&Somebody>,
    chosen: Option<(&Form, Whose)>,
) -> TenantId {
    match chosen {
        Some((form, Whose::Foreign)) if who.is_some_and(everywhere) => {
            let is_thing = operation.ids.first() == Some(form) && matches!(form, Form::Path { .. });
            let is_tenant = form.kind() == "tenants" && !matches!(form, Form::Path { .. });
            if is_thing || is_tenant { GLOBEX } else { ACME }
        }
        _ => ACME,
    }
}

/// Asks the operation with one id chosen, all others being those of the tenant that it is asked for; and tells which id.
pub async fn ask(
    world: &World,
    operation: &Operation,
    row: Row,
    who: Option<&Somebody>,
    chosen: Option<(&Form, Whose)>,
) -> (Answer, Uuid) {
    let tenant = about(operation, who, chosen);
    let mut own = BTreeMap::new();
    for kind in kinds_in(row.body) {
        own.insert(kind.clone(), kinds::make(world, &kind, tenant).await);
    }
    let mut sent = Sent {
        path: operation.path.clone(),
        query: Vec::new(),
        headers: Vec::new(),
        body: match row.body {
            "" => operation.has_body.then(|| json!({})),
            body => Some(world.fill(body, tenant, &own)),
        },
        ids: BTreeMap::new(),
        in_session: false,
    };
    if operation.needs_version {
        sent.headers.push(("if-match".into(), "*".into()));
    }
    let asked_with = name(world, operation, who, chosen, tenant, &mut sent).await;
    prepare(world, row.before, who, &mut sent).await;
    let path = match sent.query.is_empty() {
        true => sent.path,
        false => format!("{}?{}", sent.path, sent.query.join("&")),
    };
    let headers: Vec<(&str, &str)> = sent
        .headers
        .iter()
        .map(|(name, value)| (&**name, &**value))
        .collect();
    let who = who.filter(|_| !sent.in_session);
    let body = sent.body.as_ref();
    let answer = world
        .ask(who, &operation.method, &path, &headers, body)
        .await;
    (answer, asked_with)
}

/// Ids that an operation can be asked with by somebody of the tenant, by the names of its parameters.
pub async fn ids_for(
    world: &World,
    operation: &Operation,
    who: &Somebody,
    tenant: TenantId,
) -> BTreeMap<String, Uuid> {
    let (mut ids, mut parent) = (BTreeMap::new(), None);
    for form in &operation.ids {
        let id = make(world, &form.kind(), tenant, Some(who), parent).await;
        let (Form::Path { name, .. } | Form::Query { name } | Form::Body { name, .. }) = form;
        ids.insert(name.clone(), id);
        if matches!(form, Form::Path { .. }) {
            parent = Some((tenant, id));
        }
    }
    ids
}

/// Puts ids where they belong, and tells the chosen one.
async fn name(
    world: &World,
    operation: &Operation,
    who: Option<&Somebody>,
    chosen: Option<(&Form, Whose)>,
    tenant: TenantId,
    sent: &mut Sent,
) -> Uuid {
    let mut asked_with = Uuid::nil();
    // A part of another tenant's thing is that tenant's.
    let mut parts_of = tenant;
    let mut parent = None;
    for form in &operation.ids {
        let of = match (chosen, form) {
            (Some((one, whose)), _) if one == form => match whose {
                Whose::Own => Some(ACME),
                Whose::Foreign => Some(GLOBEX),
                Whose::Nobodys => None,
            },
            (_, Form::Path { .. }) => Some(parts_of),
            // Whoever reaches every tenant says which one is meant.
            (_, Form::Body { .. }) if operation.method == "POST" && form.kind() == "tenants" => {
                Some(tenant)
            }
            _ => continue,
        };
        let id = match of {
            Some(of) => {
                make(
                    world,
                    &form.kind(),
                    of,
                    who,
                    parent.filter(|(owner, _)| *owner == of),
                )
                .await
            }
            None => Uuid::from_u128(0x0dea_0000 + u128::from(world.number())),
        };
        if chosen.is_some_and(|(one, _)| one == form) {
            asked_with = id;
        }
        match form {
            Form::Path { name, .. } => {
                sent.path = sent.path.replace(&format!("{{{name}}}"), &id.to_string());
                sent.ids.insert(name.clone(), id);
                if let Some(of) = of {
                    (parts_of, parent) = (of, Some((of, id)));
                }
            }
            Form::Query { name } => sent.query.push(format!("{name}={id}")),
            Form::Body { name, list } => {
                sent.body_mut()[name] = if *list { json!([id]) } else { json!(id) };
            }
        }
    }
    asked_with
}

/// A thing of the tenant: a part of `parent`, where it is a part of something; the asker's own, where things are a person's.
async fn make(
    world: &World,
    kind: &str,
    tenant: TenantId,
    who: Option<&Somebody>,
    parent: Option<(TenantId, Uuid)>,
) -> Uuid {
    match (kind, parent) {
        ("allocations", Some((_, extension))) => kinds::allocate(world, extension, tenant).await,
        ("tokens", Some((_, account))) => sign_in::token(world, account).await,
        ("sessions", _) => {
            let own = who
                .filter(|_| tenant == ACME)
                .and_then(|who| who.principal.user());
            let user = match own {
                Some(user) => user.0,
                None => sign_in::user(world, tenant).await,
            };
            before::session_of(world, user).await
        }
        ("support-access", _) => {
            // Another's than the asker's is as foreign as another tenant's.
            let own = who.filter(|who| tenant == ACME && everywhere(who)).cloned();
            let other = match who {
                Some(who) if who.preset == Preset::RootAdministrator => Preset::Administrator,
                _ => Preset::RootAdministrator,
            };
            let by = own.unwrap_or_else(|| world.somebody(SYSTEM_TENANT, other));
            kinds::support(world, &by, tenant).await
        }
        _ => kinds::make(world, kind, tenant).await,
    }
}

/// `{roles}` and its like in a body.
fn kinds_in(body: &str) -> Vec<String> {
    let words = body.split('{').filter_map(|part| part.split_once('}'));
    let is_kind = |word: &&str| {
        word.ends_with('s')
            && word
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte == b'-')
    };
    words
        .map(|(word, _)| word)
        .filter(is_kind)
        .map(str::to_owned)
        .collect()
}
