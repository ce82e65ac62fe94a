//! `/me`: who one is; one's own password and authenticator.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::session::{CodeBody, Shown};
use crate::access::{
    Event, Password, RECOVERY_CODES, RecoveryCode, SessionToken, Stage, TotpSecret,
};
use crate::api::caller::Caller;
use crate::api::problem::{Problem, Result};
use crate::api::request::Body;
use crate::api::sign_in::{Client, Signed, accept_new, now, prove, too_many};
use crate::api::state::Api;
use crate::api::tenancy;

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(show))
        .routes(routes!(change_password))
        .routes(routes!(begin_totp, remove_totp))
        .routes(routes!(confirm_totp))
        .routes(routes!(renew_codes))
}

/// Who asks, and what they may do.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Me)]
struct MeView {
    /// `user` or `service_account`.
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<Uuid>,
    /// The login, or the service account's name.
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant_id: Option<Uuid>,
    /// The tenant that is supported with this request.
    #[serde(skip_serializing_if = "Option::is_none")]
    supported_tenant_id: Option<Uuid>,
    role: String,
    access_level: &'static str,
    /// Resource to operations.
    #[schema(value_type = std::collections::BTreeMap<String, Vec<String>>)]
    permissions: crate::access::Permissions,
    #[serde(skip_serializing_if = "Option::is_none")]
    sign_in: Option<SignInView>,
}

/// How one signs in.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = MySignIn)]
struct SignInView {
    #[serde(skip_serializing_if = "Option::is_none")]
    email: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    password_set_at: Option<String>,
    /// Whether there is an authenticator.
    totp: bool,
    totp_required: bool,
    recovery_codes_left: u32,
}

/// Who one is, and what one may do at this moment.
#[utoipa::path(get, path = "/me", tag = "signing in", operation_id = "show_me", responses((status = 200, body = MeView)))]
async fn show(
    State(api): State<Api>,
    caller: Caller,
    signed: Option<Signed>,
) -> Result<Json<MeView>> {
    let principal = &caller.principal;
    let sign_in = match signed {
        None => None,
        Some(signed) => {
            let identity = &signed.0.identity;
            Some(SignInView {
                email: identity.email.clone(),
                password_set_at: identity.password_set_at.map(|at| at.to_string()),
                totp: identity.authenticator().is_some(),
                totp_required: identity.rules.requires_totp(identity.role.role_id),
                recovery_codes_left: api.catalog()?.recovery_codes_left(identity.user).await?,
            })
        }
    };
    Ok(Json(MeView {
        kind: principal.actor().kind(),
        id: principal.actor().id(),
        name: principal.actor().name().to_owned(),
        tenant_id: tenancy::shown(&api, principal.home()),
        supported_tenant_id: principal.support().map(|support| support.tenant.0),
        role: principal.role_name().to_owned(),
        access_level: principal.level().name(),
        permissions: principal.permissions().clone(),
        sign_in,
    }))
}

/// One password for another.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PasswordBody {
    #[schema(value_type = String, format = Password)]
    current_password: Password,
    #[schema(value_type = String, format = Password)]
    password: Password,
}

/// Changes one's own password. Every other session ends, and this one gets another cookie.
#[utoipa::path(put, path = "/me/password", tag = "signing in", operation_id = "change_own_password",
    request_body = PasswordBody, responses((status = 200, body = super::session::SessionView)))]
async fn change_password(
    State(api): State<Api>,
    client: Client,
    signed: Signed,
    Body(body): Body<PasswordBody>,
) -> Result<Response> {
    signed.at(&[Stage::Complete, Stage::PasswordChangeNeeded])?;
    prove(
        &api,
        &client,
        &signed,
        &body.current_password,
        "passwords.change",
    )
    .await?;
    // Whatever is wrong with the new one, the current one was right.
    let attempts = &api.sign_in().attempts;
    attempts.succeeded(&signed.account(), client.address);
    let (identity, session) = (&signed.0.identity, &signed.0.session);
    let hash = accept_new(&api, identity, &body.password, "password").await?;
    let token = SessionToken::drawn();
    let mut change = api.catalog()?.change().await?;
    change
        .set_password(identity.user, &hash, false, Some(session.id))
        .await?;
    change
        .strengthen_session(session.id, &token.hash(), session.totp_shown)
        .await?;
    let event = Event::by(&signed.principal(), "passwords.change").on("user", identity.user.0);
    change.commit(client.event(event)).await?;
    let shown = Shown {
        token: &token,
        password_spent: false,
        stepped_up_at: Some(now()),
        ..Shown::of(&signed)
    };
    Ok(shown.answer(&api, StatusCode::OK))
}

/// A new authenticator's secret: shown once.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = NewAuthenticator)]
struct TotpView {
    /// Base32, for people to type.
    secret: String,
    /// `otpauth://totp/…`, to be shown as a picture.
    uri: String,
}

/// Codes that open once in place of the authenticator's: shown once.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RecoveryCodes)]
struct CodesView {
    recovery_codes: Vec<String>,
}

fn unseen(body: impl Serialize) -> Response {
    ([(header::CACHE_CONTROL, "no-store")], Json(body)).into_response()
}

/// That whoever asks has just shown who they are.
fn recently(api: &Api, signed: &Signed) -> Result<()> {
    let window = api.settings().sign_in.limits.step_up;
    let at = signed.0.session.stepped_up_at;
    match at.is_some_and(|at| now().since(at) < window) {
        true => Ok(()),
        false => Err(Problem::step_up_required()),
    }
}

/// Begins to set up an authenticator. It is none until it has shown a code.
#[utoipa::path(post, path = "/me/totp", tag = "signing in", operation_id = "begin_totp",
    responses((status = 200, body = TotpView)))]
async fn begin_totp(State(api): State<Api>, client: Client, signed: Signed) -> Result<Response> {
    signed.at(&[Stage::Complete, Stage::TotpSetupNeeded])?;
    recently(&api, &signed)?;
    let identity = &signed.0.identity;
    if identity.authenticator().is_some() {
        return Err(Problem::conflict(
            "totp",
            "remove the authenticator you have first",
        ));
    }
    let secret = TotpSecret::drawn();
    let sealed = api
        .sign_in()
        .key()?
        .seal(secret.bytes(), identity.user.0.as_bytes());
    let mut change = api.catalog()?.change().await?;
    change.begin_totp(identity.user, &sealed).await?;
    let event = Event::by(&signed.principal(), "totp.begin").on("user", identity.user.0);
    change.commit(client.event(event)).await?;
    let issuer = format!("Callreel {}", identity.tenant_name);
    Ok(unseen(TotpView {
        secret: secret.base32().to_string(),
        uri: secret.uri(&issuer, &identity.login).to_string(),
    }))
}

/// Shows the first code of an authenticator: from now on it is asked for. The answer has the recovery codes.
#[utoipa::path(post, path = "/me/totp/confirm", tag = "signing in", operation_id = "confirm_totp", request_body = CodeBody,
    responses((status = 200, body = CodesView)))]
async fn confirm_totp(
    State(api): State<Api>,
    client: Client,
    signed: Signed,
    Body(body): Body<CodeBody>,
) -> Result<Response> {
    signed.at(&[Stage::Complete, Stage::TotpSetupNeeded])?;
    recently(&api, &signed)?;
    let identity = &signed.0.identity;
    let pending = identity.totp.as_ref().filter(|totp| !totp.confirmed);
    let pending =
        pending.ok_or_else(|| Problem::conflict("totp", "begin with POST /api/v1/me/totp"))?;
    let (attempts, account) = (&api.sign_in().attempts, signed.account());
    attempts
        .begin(&account, client.address, now())
        .map_err(|refused| too_many(&refused, now()))?;
    let plain = api
        .sign_in()
        .key()?
        .open(&pending.sealed, identity.user.0.as_bytes());
    let secret = plain
        .and_then(|plain| TotpSecret::from_bytes(&plain))
        .ok_or_else(Problem::internal)?;
    let seconds = u64::try_from(now().as_millis() / 1000).unwrap_or(0);
    let step = secret.accept(&body.code, seconds, None);
    let step = step.ok_or_else(|| {
        Problem::invalid("code", "this is not the authenticator's code at this time")
    })?;
    attempts.succeeded(&account, client.address);
    let codes: Vec<RecoveryCode> = (0..RECOVERY_CODES).map(|_| RecoveryCode::drawn()).collect();
    let mut change = api.catalog()?.change().await?;
    change.confirm_totp(identity.user, step, &codes).await?;
    // Whoever is signed in elsewhere has not shown a code.
    change
        .end_sessions(identity.user, Some(signed.0.session.id))
        .await?;
    change.mark_totp_shown(signed.0.session.id).await?;
    let event = Event::by(&signed.principal(), "totp.add").on("user", identity.user.0);
    change.commit(client.event(event)).await?;
    Ok(unseen(view_of(&codes)))
}

fn view_of(codes: &[RecoveryCode]) -> CodesView {
    CodesView {
        recovery_codes: codes.iter().map(|code| code.reveal().to_owned()).collect(),
    }
}

/// Removes one's authenticator, where the tenant does not ask for one. Needs a step-up.
#[utoipa::path(delete, path = "/me/totp", tag = "signing in", operation_id = "remove_totp", responses((status = 204)))]
async fn remove_totp(State(api): State<Api>, client: Client, signed: Signed) -> Result<StatusCode> {
    signed.at(&[Stage::Complete])?;
    recently(&api, &signed)?;
    let identity = &signed.0.identity;
    if identity.rules.requires_totp(identity.role.role_id) {
        return Err(Problem::conflict(
            "totp",
            "your tenant asks for an authenticator",
        ));
    }
    let mut change = api.catalog()?.change().await?;
    change.remove_totp(identity.user).await?;
    let event = Event::by(&signed.principal(), "totp.remove").on("user", identity.user.0);
    change.commit(client.event(event)).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// New recovery codes in place of the old ones. Needs a step-up.
#[utoipa::path(post, path = "/me/totp/recovery-codes", tag = "signing in", operation_id = "renew_recovery_codes",
    responses((status = 200, body = CodesView)))]
async fn renew_codes(State(api): State<Api>, client: Client, signed: Signed) -> Result<Response> {
    signed.at(&[Stage::Complete])?;
    recently(&api, &signed)?;
    let identity = &signed.0.identity;
    if identity.authenticator().is_none() {
        return Err(Problem::conflict(
            "totp",
            "there is no authenticator to recover from",
        ));
    }
    let codes: Vec<RecoveryCode> = (0..RECOVERY_CODES).map(|_| RecoveryCode::drawn()).collect();
    let mut change = api.catalog()?.change().await?;
    change.replace_recovery_codes(identity.user, &codes).await?;
    let event =
        Event::by(&signed.principal(), "totp.renew_recovery_codes").on("user", identity.user.0);
    change.commit(client.event(event)).await?;
    Ok(unseen(view_of(&codes)))
}
