//! From a cookie or a token to who asks.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::signed::SignedIn;
use super::{Signed, Unfinished, cookie, now};
use crate::access::{Feature, Principal, ServiceToken, SessionFacts, SessionToken, Stage, Support};
use crate::api::caller::{ClientAddress, address};
use crate::api::problem::{Problem, Result};
use crate::api::refusals::Asked;
use crate::api::state::Api;
use crate::base::Timestamp;
use crate::catalog::{Catalog, TokenInUse};

/// How old the note of a last use may become: not every read is to write.
const TOUCHED_EACH: Duration = Duration::from_secs(60);

/// How long a request waits for that note; the next one tries again.
const NOTED_WITHIN: Duration = Duration::from_millis(50);

/// Names the tenant that a user of the System tenant supports with this request.
const TENANT_HEADER: &str = "callreel-tenant";

/// Puts who asks into the request. Rights are read anew each time: one that was taken away is gone at the next request.
pub async fn authenticate(State(api): State<Api>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    // Whoever is there already was put there by this program.
    let known = match parts.extensions.get::<Principal>() {
        Some(_) => Ok(()),
        None => identify(&api, &mut parts).await,
    };
    let asked = Asked::of(&parts);
    let answer = match known {
        Ok(()) => next.run(Request::from_parts(parts, body)).await,
        Err(problem) => problem.into_response(),
    };
    if let Some(asked) = asked {
        asked.answered(&api, &answer);
    }
    answer
}

/// Of a request that was let in before: whether it still would be is asked, and not noted as a use.
#[derive(Clone, Copy, Debug)]
struct Glance;

/// Who a request with these headers would be from at this moment; none: nobody who is signed in. An open stream asks again and
/// again: that keeps no session alive.
///
/// # Errors
///
/// As the request would be refused.
pub async fn glance(
    api: &Api,
    headers: &HeaderMap,
    address: Option<IpAddr>,
) -> Result<Option<Principal>> {
    let (mut parts, ()) = axum::http::Request::new(()).into_parts();
    parts.headers = headers.clone();
    parts.extensions.insert(Glance);
    if let Some(address) = address {
        parts.extensions.insert(ClientAddress(address));
    }
    identify(api, &mut parts).await?;
    Ok(parts.extensions.get::<Principal>().cloned())
}

/// The headers that say who asks.
pub fn credentials(headers: &HeaderMap) -> HeaderMap {
    let mut kept = HeaderMap::new();
    for name in ["authorization", "cookie", TENANT_HEADER] {
        for value in headers.get_all(name) {
            kept.append(name, value.clone());
        }
    }
    kept
}

async fn identify(api: &Api, parts: &mut Parts) -> Result<()> {
    let principal = match bearer(&parts.headers)? {
        Some(token) => Some(service(api, parts, &token).await?),
        None => {
            let safe = cookie::is_safe(&parts.method);
            if !safe {
                let base_url = api.settings().sign_in.base_url.as_deref();
                cookie::of_this_origin(&parts.headers, base_url)?;
            }
            match cookie::sent(&parts.headers) {
                Some(token) => browser(api, parts, token, safe).await?,
                None => None,
            }
        }
    };
    if let Some(principal) = principal {
        // Who it is is known also where they may not go where they want to.
        parts.extensions.insert(principal.clone());
        let principal = in_tenant(api, &parts.headers, principal).await?;
        parts.extensions.insert(principal);
    }
    Ok(())
}

/// The token behind `Authorization: Bearer`; a text that cannot be one is refused without asking the catalog.
fn bearer(headers: &HeaderMap) -> Result<Option<ServiceToken>> {
    let Some(value) = headers.get(header::AUTHORIZATION) else {
        return Ok(None);
    };
    let (scheme, token) = value
        .to_str()
        .ok()
        .and_then(|text| text.split_once(' '))
        .unwrap_or_default();
    let token = ServiceToken::parse(token.trim()).filter(|_| scheme.eq_ignore_ascii_case("bearer"));
    token.map(Some).ok_or_else(refused)
}

fn refused() -> Problem {
    Problem::unauthenticated().detail("this token opens nothing")
}

async fn service(api: &Api, parts: &Parts, token: &ServiceToken) -> Result<Principal> {
    let (catalog, now, from) = (api.catalog()?, now(), address(parts));
    let used = catalog
        .token_in_use(&token.hash())
        .await?
        .ok_or_else(refused)?;
    if let Err(why) = is_usable(&used, from, now) {
        tracing::warn!(token = %used.token.id, account = %used.account.id, why, "a token was refused");
        return Err(refused());
    }
    // It is the right token, so that its owner is told why.
    api.needs_feature(used.account.tenant, Feature::ApiAccess)?;
    let is_glance = parts.extensions.get::<Glance>().is_some();
    let touched = used.token.used_at;
    if !is_glance && touched.is_none_or(|at| now.since(at) >= TOUCHED_EACH) {
        noted(catalog.touch_token(used.token.id, from, now)).await;
    }
    let principal = used.account.principal(&used.responsible);
    Ok(match used.token.unattended {
        true => principal.stepped_up(now),
        false => principal,
    })
}

/// Whether a token opens at this moment; the reason is for the log only.
fn is_usable(
    used: &TokenInUse,
    from: Option<IpAddr>,
    now: Timestamp,
) -> std::result::Result<(), &'static str> {
    let (token, account) = (&used.token, &used.account);
    let inside = token.networks.is_empty()
        || from.is_some_and(|from| token.networks.iter().any(|network| network.holds(from)));
    match () {
        () if token.revoked_at.is_some() => Err("revoked"),
        () if token.expires_at <= now => Err("expired"),
        () if !account.active => Err("its account is not active"),
        () if !used.responsible.standing.is_good(now) => Err("who answers for it is not active"),
        () if !inside => Err("not from there"),
        () => Ok(()),
    }
}

/// Who a session belongs to, if it lives and nothing is left to do. A cookie of a session that is over is as good as none:
/// with it one can still sign in.
async fn browser(
    api: &Api,
    parts: &mut Parts,
    token: SessionToken,
    safe: bool,
) -> Result<Option<Principal>> {
    let (catalog, now) = (api.catalog()?, now());
    let Some((session, identity)) = catalog.session(&token.hash()).await? else {
        return Ok(None);
    };
    let limits = identity.rules.limits(api.settings().sign_in.limits);
    let lives = limits.alive(session.began_at, session.used_at, now);
    if !lives || !identity.standing.is_good(now) {
        return Ok(None);
    }
    if !safe {
        cookie::has_csrf(&parts.headers, &token)?;
    }
    let is_glance = parts.extensions.get::<Glance>().is_some();
    if !is_glance && now.since(session.used_at) >= TOUCHED_EACH {
        noted(catalog.touch_session(session.id, now)).await;
    }
    let stage = Stage::of(SessionFacts {
        has_totp: identity.authenticator().is_some(),
        totp_shown: session.totp_shown,
        totp_required: identity.rules.requires_totp(identity.role.role_id),
        password_spent: identity.password_spent(now),
    });
    let principal = identity.principal();
    let principal = match session.stepped_up_at {
        Some(at) => principal.stepped_up(at),
        None => principal,
    };
    let signed = SignedIn {
        token,
        session,
        identity,
        stage,
    };
    parts.extensions.insert(Signed(Arc::new(signed)));
    if stage != Stage::Complete {
        parts.extensions.insert(Unfinished(stage));
        return Ok(None);
    }
    Ok(Some(principal))
}

/// A last use that cannot be noted at once, because somebody else writes, keeps nobody from reading.
async fn noted(note: impl Future<Output = crate::catalog::Result<()>>) {
    if let Ok(Err(error)) = tokio::time::timeout(NOTED_WITHIN, note).await {
        tracing::warn!(%error, "a last use was not noted");
    }
}

/// The principal in the tenant that the request names: its own, or one that it supports at this time.
async fn in_tenant(api: &Api, headers: &HeaderMap, principal: Principal) -> Result<Principal> {
    let Some(name) = headers.get(TENANT_HEADER) else {
        return Ok(principal);
    };
    let name = name.to_str().unwrap_or("").trim();
    let catalog = api.catalog()?;
    match supported(&catalog, &principal, name).await? {
        Some(support) => Ok(principal.supporting(support)),
        None if name == principal.home().to_string() => Ok(principal),
        None => {
            let title = "You do not support this tenant at the moment";
            Err(
                Problem::new(StatusCode::FORBIDDEN, "no_support_access", title)
                    .detail("POST /api/v1/support-access"),
            )
        }
    }
}

async fn supported(
    catalog: &Catalog,
    principal: &Principal,
    name: &str,
) -> Result<Option<Support>> {
    let (Some(user), true) = (principal.user(), principal.may_support()) else {
        return Ok(None);
    };
    let Some(tenant) = catalog.tenant_named(name).await? else {
        return Ok(None);
    };
    let access = catalog.support_access(user, tenant, now()).await?;
    Ok(access.map(|access| Support {
        id: access.id,
        tenant,
        reason: access.reason.into(),
    }))
}
