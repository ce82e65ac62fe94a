//! `/session`: signing in and out; `/sessions`: where else one is signed in.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::access::{
    Event, IfFailed, MAX_PASSWORD_BYTES, Password, Scope, SessionFacts, SessionToken, Stage,
    Verdict,
};
use crate::api::caller::Caller;
use crate::api::fields::Page;
use crate::api::problem::{Problem, Result};
use crate::api::request::{Body, Id};
use crate::api::sign_in::{self, Client, Signed, not_signed_in, now, prove, show_code, too_many};
use crate::api::state::Api;
use crate::api::tenancy;
use crate::base::{SYSTEM_TENANT, TenantId, Timestamp, UserId};
use crate::catalog::{Catalog, Change, Identity, NewSession, Session};

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(begin, show, end))
        .routes(routes!(show_totp))
        .routes(routes!(step_up))
        .routes(routes!(list))
        .routes(routes!(end_one))
}

/// Who signs in.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct SignInBody {
    /// The tenant's short name or id; the System tenant when absent.
    #[serde(default)]
    #[schema(max_length = 200)]
    tenant: Option<String>,
    #[schema(max_length = 200)]
    login: String,
    #[schema(value_type = String, format = Password)]
    password: Password,
    /// A code of the authenticator, or a recovery code; it may also be shown afterwards.
    #[serde(default)]
    #[schema(max_length = 64)]
    code: Option<String>,
}

/// A code of the authenticator, or a recovery code.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CodeBody {
    #[schema(max_length = 64)]
    pub code: String,
}

/// Who one is, once more.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct StepUpBody {
    #[schema(value_type = String, format = Password)]
    password: Password,
    /// Needed by who has an authenticator.
    #[serde(default)]
    #[schema(max_length = 64)]
    code: Option<String>,
}

/// The session, and what is left to do in it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Session)]
pub(super) struct SessionView {
    id: Uuid,
    user_id: Uuid,
    login: String,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant_id: Option<Uuid>,
    tenant_name: String,
    /// `complete`; or what has to be done before anything else: `totp_needed`, `totp_setup_needed`, `password_change_needed`.
    #[schema(value_type = String)]
    stage: Stage,
    /// To be sent as `X-CSRF-Token` with every request that changes something.
    csrf_token: String,
    began_at: String,
    /// When it ends, whatever happens.
    ends_at: String,
    /// Seconds without a request after which it ends.
    idle_seconds: u64,
    /// Until when what cannot be undone may be done without showing again who one is.
    #[serde(skip_serializing_if = "Option::is_none")]
    stepped_up_until: Option<String>,
}

/// What a session's answer is made of.
pub(super) struct Shown<'a> {
    pub id: Uuid,
    pub identity: &'a Identity,
    pub token: &'a SessionToken,
    pub totp_shown: bool,
    pub password_spent: bool,
    pub began_at: Timestamp,
    pub stepped_up_at: Option<Timestamp>,
}

impl Shown<'_> {
    pub fn stage(&self) -> Stage {
        Stage::of(SessionFacts {
            has_totp: self.identity.authenticator().is_some(),
            totp_shown: self.totp_shown,
            totp_required: self
                .identity
                .rules
                .requires_totp(self.identity.role.role_id),
            password_spent: self.password_spent,
        })
    }

    pub fn view(&self, api: &Api) -> SessionView {
        let identity = self.identity;
        let limits = identity.rules.limits(api.settings().sign_in.limits);
        let until = self.stepped_up_at.map(|at| at + limits.step_up);
        SessionView {
            id: self.id,
            user_id: identity.user.0,
            login: identity.login.to_string(),
            name: identity.name.clone(),
            tenant_id: tenancy::shown(api, identity.tenant),
            tenant_name: identity.tenant_name.clone(),
            stage: self.stage(),
            csrf_token: self.token.csrf().to_string(),
            began_at: self.began_at.to_string(),
            ends_at: (self.began_at + limits.absolute).to_string(),
            idle_seconds: limits.idle.as_secs(),
            stepped_up_until: until
                .filter(|until| *until > now())
                .map(|until| until.to_string()),
        }
    }

    /// With the cookie.
    pub fn answer(&self, api: &Api, status: StatusCode) -> Response {
        let cookie = [(header::SET_COOKIE, sign_in::setting(self.token))];
        (
            status,
            cookie,
            [(header::CACHE_CONTROL, "no-store")],
            Json(self.view(api)),
        )
            .into_response()
    }
}

impl<'a> Shown<'a> {
    /// A session as it is.
    pub fn of(signed: &'a Signed) -> Shown<'a> {
        let signed = &signed.0;
        Shown {
            id: signed.session.id,
            identity: &signed.identity,
            token: &signed.token,
            totp_shown: signed.session.totp_shown,
            password_spent: signed.identity.password_spent(now()),
            began_at: signed.session.began_at,
            stepped_up_at: signed.session.stepped_up_at,
        }
    }
}

/// Signs in. The answer sets the session's cookie; `stage` says what is left to do.
#[utoipa::path(post, path = "/session", tag = "signing in", operation_id = "sign_in", request_body = SignInBody,
    security(()), responses((status = 201, body = SessionView)))]
async fn begin(
    State(api): State<Api>,
    client: Client,
    Body(body): Body<SignInBody>,
) -> Result<Response> {
    if body.password.reveal().len() > MAX_PASSWORD_BYTES {
        return Err(Problem::invalid(
            "password",
            format!("at most {MAX_PASSWORD_BYTES} bytes"),
        ));
    }
    let (catalog, now) = (api.catalog()?, now());
    let tenant = tenant_of(&catalog, body.tenant.as_deref()).await?;
    let account = match (tenant, &body.tenant) {
        (None, Some(name)) => sign_in::account(None, &format!("{name}/{}", body.login)),
        _ => sign_in::account(tenant, &body.login),
    };
    let attempts = &api.sign_in().attempts;
    let if_failed = attempts.begin(&account, client.address, now);
    let if_failed = if_failed.map_err(|refused| too_many(&refused, now))?;
    let identity = match tenant {
        Some(tenant) => catalog.identity_by_login(tenant, body.login.trim()).await?,
        None => None,
    };
    let kept = identity
        .as_ref()
        .and_then(|identity| identity.password_hash.clone());
    let verdict = api.sign_in().verify(&body.password, kept).await?;
    let good = identity
        .as_ref()
        .filter(|identity| verdict != Verdict::Wrong && identity.standing.is_good(now));
    let Some(identity) = good else {
        return refuse(&api, &client, tenant, identity.as_ref(), if_failed).await;
    };
    let rehashed = match verdict {
        Verdict::RightAtOtherCost => Some(api.sign_in().hash(&body.password).await?),
        _ => None,
    };
    let mut change = catalog.change().await?;
    // A password that was changed while this one was tried, which takes time, opens nothing.
    let still = change.identity(&Scope::root(), identity.user).await?;
    let is_still_good = still.is_some_and(|still| {
        still.password_hash == identity.password_hash && still.standing.is_good(now)
    });
    if !is_still_good {
        drop(change);
        let (tenant, identity) = (Some(identity.tenant), Some(identity));
        return refuse(&api, &client, tenant, identity, if_failed).await;
    }
    let has_totp = identity.authenticator().is_some();
    let totp_shown = match &body.code {
        Some(code) if has_totp && !show_code(&api, &mut change, identity, code).await? => {
            drop(change);
            return refuse(
                &api,
                &client,
                Some(identity.tenant),
                Some(identity),
                if_failed,
            )
            .await;
        }
        Some(_) => has_totp,
        None => false,
    };
    if let (Some(hash), Some(before)) = (rehashed, &identity.password_hash) {
        change.rehash_password(identity.user, before, &hash).await?;
    }
    let token = SessionToken::drawn();
    // Who has an authenticator has not shown who they are until it has shown a code.
    let whole = !has_totp || totp_shown;
    let new = NewSession {
        user: identity.user,
        token: token.hash(),
        address: client.address,
        user_agent: client.user_agent.clone(),
        totp_shown,
        stepped_up: whole,
    };
    let id = change.begin_session(&new).await?;
    let event = Event::by(&identity.principal(), "sessions.create").on("session", id);
    change.commit(client.event(event)).await?;
    if whole {
        attempts.succeeded(&account, client.address);
    }
    let shown = Shown {
        id,
        identity,
        token: &token,
        totp_shown,
        password_spent: identity.password_spent(now),
        began_at: now,
        stepped_up_at: whole.then_some(now),
    };
    Ok(shown.answer(&api, StatusCode::CREATED))
}

async fn tenant_of(catalog: &Catalog, name: Option<&str>) -> Result<Option<TenantId>> {
    match name {
        None => Ok(Some(SYSTEM_TENANT)),
        Some(name) => Ok(catalog.tenant_named(name.trim()).await?),
    }
}

/// One answer, whatever was wrong. The audit of the tenant keeps whose account it was; of one that does not exist it keeps
/// no name, for that may be a password in the wrong field.
async fn refuse<T>(
    api: &Api,
    client: &Client,
    tenant: Option<TenantId>,
    identity: Option<&Identity>,
    if_failed: IfFailed,
) -> Result<T> {
    let mut event = Event::anonymous(tenant.unwrap_or(SYSTEM_TENANT), "sessions.create");
    if let Some(identity) = identity {
        event = event.on("user", identity.user.0);
    }
    sign_in::failed(api, client, event, if_failed).await?;
    Err(not_signed_in())
}

/// The session one is in.
#[utoipa::path(get, path = "/session", tag = "signing in", operation_id = "show_session",
    responses((status = 200, body = SessionView)))]
async fn show(State(api): State<Api>, signed: Signed) -> Response {
    let view = Shown::of(&signed).view(&api);
    ([(header::CACHE_CONTROL, "no-store")], Json(view)).into_response()
}

/// Signs out.
#[utoipa::path(delete, path = "/session", tag = "signing in", operation_id = "sign_out", responses((status = 204)))]
async fn end(State(api): State<Api>, client: Client, signed: Signed) -> Result<Response> {
    let session = &signed.0.session;
    let mut change = api.catalog()?.change().await?;
    change.end_session(session.user, session.id).await?;
    let event = Event::by(&signed.principal(), "sessions.delete").on("session", session.id);
    change.commit(client.event(event)).await?;
    let cookie = [(header::SET_COOKIE, sign_in::clearing())];
    Ok((StatusCode::NO_CONTENT, cookie).into_response())
}

/// Shows a code of the authenticator, or a recovery code, after signing in with a password. The session gets another cookie.
#[utoipa::path(post, path = "/session/totp", tag = "signing in", operation_id = "show_totp_code", request_body = CodeBody,
    responses((status = 200, body = SessionView)))]
async fn show_totp(
    State(api): State<Api>,
    client: Client,
    signed: Signed,
    Body(body): Body<CodeBody>,
) -> Result<Response> {
    signed.at(&[Stage::TotpNeeded])?;
    let (attempts, account) = (&api.sign_in().attempts, signed.account());
    let if_failed = attempts.begin(&account, client.address, now());
    let if_failed = if_failed.map_err(|refused| too_many(&refused, now()))?;
    let identity = &signed.0.identity;
    let mut change = api.catalog()?.change().await?;
    if !show_code(&api, &mut change, identity, &body.code).await? {
        drop(change);
        return refuse(
            &api,
            &client,
            Some(identity.tenant),
            Some(identity),
            if_failed,
        )
        .await;
    }
    strengthen(&api, &client, &signed, change, "sessions.totp", true).await
}

/// What was asked for was shown: the session gets another cookie.
async fn strengthen(
    api: &Api,
    client: &Client,
    signed: &Signed,
    mut change: Change,
    action: &'static str,
    by_code: bool,
) -> Result<Response> {
    let (session, token) = (&signed.0.session, SessionToken::drawn());
    change
        .strengthen_session(session.id, &token.hash(), by_code)
        .await?;
    let event = Event::by(&signed.principal(), action).on("session", session.id);
    change.commit(client.event(event)).await?;
    let attempts = &api.sign_in().attempts;
    attempts.succeeded(&signed.account(), client.address);
    let before = Shown::of(signed);
    let shown = Shown {
        token: &token,
        totp_shown: before.totp_shown || by_code,
        stepped_up_at: Some(now()),
        ..before
    };
    Ok(shown.answer(api, StatusCode::OK))
}

/// Shows again who one is: needed within the last minutes by what cannot be undone. The session gets another cookie.
#[utoipa::path(post, path = "/session/step-up", tag = "signing in", operation_id = "step_up", request_body = StepUpBody,
    responses((status = 200, body = SessionView)))]
async fn step_up(
    State(api): State<Api>,
    client: Client,
    signed: Signed,
    Body(body): Body<StepUpBody>,
) -> Result<Response> {
    // Whoever is to set up an authenticator needs it for that.
    signed.at(&[Stage::Complete, Stage::TotpSetupNeeded])?;
    let identity = &signed.0.identity;
    let has_totp = identity.authenticator().is_some();
    if has_totp && body.code.is_none() {
        return Err(Problem::invalid(
            "code",
            "show a code of your authenticator too",
        ));
    }
    let action = "sessions.step_up";
    let if_failed = prove(&api, &client, &signed, &body.password, action).await?;
    let mut change = api.catalog()?.change().await?;
    let code = body.code.as_deref().unwrap_or_default();
    if has_totp && !show_code(&api, &mut change, identity, code).await? {
        drop(change);
        return refuse(
            &api,
            &client,
            Some(identity.tenant),
            Some(identity),
            if_failed,
        )
        .await;
    }
    strengthen(&api, &client, &signed, change, action, has_totp).await
}

/// One place where one is signed in.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = SignedInPlace)]
struct PlaceView {
    id: Uuid,
    /// The one that this request came in.
    current: bool,
    began_at: String,
    /// Within a minute.
    used_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user_agent: Option<String>,
}

/// Where one is signed in.
#[utoipa::path(get, path = "/sessions", tag = "signing in", operation_id = "list_sessions",
    responses((status = 200, body = Page<PlaceView>)))]
async fn list(
    State(api): State<Api>,
    caller: Caller,
    signed: Option<Signed>,
) -> Result<Json<Page<PlaceView>>> {
    let catalog = api.catalog()?;
    let user = person(&caller)?;
    let sessions = catalog.sessions_of(user).await?;
    let configured = api.settings().sign_in.limits;
    let limits = signed
        .as_ref()
        .map(|signed| signed.0.identity.rules.limits(configured));
    let (now, limits) = (now(), limits.unwrap_or(configured));
    let live = |session: &Session| limits.alive(session.began_at, session.used_at, now);
    let view = |session: Session| PlaceView {
        id: session.id,
        current: (signed.as_ref()).is_some_and(|signed| signed.0.session.id == session.id),
        began_at: session.began_at.to_string(),
        used_at: session.used_at.to_string(),
        address: session.address,
        user_agent: session.user_agent,
    };
    Ok(Json(Page {
        items: sessions.into_iter().filter(live).map(view).collect(),
        next: None,
    }))
}

/// Programs have tokens, not sessions.
fn person(caller: &Caller) -> Result<UserId> {
    caller.principal.user().ok_or_else(|| {
        let title = "Only a person has sessions";
        Problem::new(StatusCode::FORBIDDEN, "person_required", title)
    })
}

/// Signs out somewhere else.
#[utoipa::path(delete, path = "/sessions/{id}", tag = "signing in", operation_id = "end_session",
    params(("id" = Uuid, Path)), responses((status = 204)))]
async fn end_one(State(api): State<Api>, caller: Caller, Id(id): Id) -> Result<StatusCode> {
    let user = person(&caller)?;
    let mut change = api.catalog()?.change().await?;
    if !change.end_session(user, id).await? {
        return Err(Problem::not_found());
    }
    let event = caller
        .event("sessions.delete")
        .of_tenant(caller.principal.home());
    change.commit(event.on("session", id)).await?;
    Ok(StatusCode::NO_CONTENT)
}
