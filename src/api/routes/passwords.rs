//! `/password-resets`: a letter to who has forgotten a password; `/users/{id}/password`: an administrator's help.

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Json, Response};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::time::Duration;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::access::{
    Event, Operation, Password, Refused, ResetToken, Resource, TooMany, network_of,
};
use crate::api::caller::Caller;
use crate::api::problem::{Details, Problem, Result};
use crate::api::request::{Body, Id};
use crate::api::sign_in::{self, Client, accept_new, now, too_many};
use crate::api::state::Api;
use crate::base::{SYSTEM_TENANT, TenantId, UserId};
use crate::catalog::Identity;
use crate::mail::Letter;

/// How long a letter opens.
const OPENS_FOR: Duration = sign_in::LETTER_OPENS_FOR;

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(ask, redeem))
        .routes(routes!(reset))
        .routes(routes!(sign_out))
}

/// Who has forgotten a password.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct AskBody {
    /// The tenant's short name or id; the System tenant when absent.
    #[serde(default)]
    #[schema(max_length = 200)]
    tenant: Option<String>,
    /// The login, or the e-mail address.
    #[schema(max_length = 254)]
    login: String,
}

/// Sends a letter with a link that opens once, within ten minutes. The answer is the same whether there is such a user.
#[utoipa::path(post, path = "/password-resets", tag = "signing in", operation_id = "ask_for_password_reset",
    request_body = AskBody, security(()), responses((status = 202)))]
async fn ask(
    State(api): State<Api>,
    client: Client,
    Body(body): Body<AskBody>,
) -> Result<StatusCode> {
    if body.login.len() > 254
        || body
            .tenant
            .as_ref()
            .is_some_and(|tenant| tenant.len() > 200)
    {
        return Err(Problem::invalid("login", "too long"));
    }
    if api.sign_in().outbox().is_none() || api.settings().sign_in.reset_url.is_none() {
        let title = "Letters cannot be sent from here";
        let problem = Problem::new(StatusCode::CONFLICT, "no_mail", title);
        return Err(problem.detail("ask an administrator to reset your password"));
    }
    let tenant = match &body.tenant {
        None => Some(SYSTEM_TENANT),
        Some(name) => api.catalog()?.tenant_named(name.trim()).await?,
    };
    // As it is named, whether it exists or not: that the account itself has had its letters is told to nobody.
    let name = match (tenant, &body.tenant) {
        (None, Some(unknown)) => {
            sign_in::account(None, &format!("{}/{}", unknown.trim(), body.login))
        }
        _ => sign_in::account(tenant, &body.login),
    };
    let resets = &api.sign_in().resets;
    let begun = resets.begin(&name, client.address, now());
    begun.map_err(|refused| too_many(&refused, now()))?;
    bounded(&api, &name, client.address)?;
    // Whoever asks is not kept waiting, and cannot tell from the time whether there was somebody.
    tokio::spawn(async move {
        if let Err(problem) = send(&api, &client, tenant, &body).await {
            tracing::error!(
                problem = problem.details().title,
                "a letter to reset a password was not written"
            );
        }
    });
    Ok(StatusCode::ACCEPTED)
}

/// Counts a letter of the day, for whoever is named, whether there is such an account, and from where.
fn bounded(api: &Api, name: &str, address: Option<IpAddr>) -> Result<()> {
    let mut bounds = vec![(format!("of {name}"), sign_in::LETTERS_OF_ACCOUNT)];
    if let Some(address) = address.map(network_of) {
        let from_there = sign_in::LETTERS_OF_ACCOUNT_FROM_ADDRESS;
        bounds.push((format!("from {address} of {name}"), from_there));
        bounds.push((format!("from {address}"), sign_in::LETTERS_FROM_ADDRESS));
    }
    let bounds: Vec<_> = bounds.iter().map(|(name, most)| (&**name, *most)).collect();
    let taken = api.sign_in().letters.take(&bounds, now());
    taken.map_err(|until| {
        let because = TooMany::OfAccount;
        too_many(&Refused { until, because }, now())
    })
}

async fn send(api: &Api, client: &Client, tenant: Option<TenantId>, body: &AskBody) -> Result<()> {
    let catalog = api.catalog()?;
    let Some(tenant) = tenant else { return Ok(()) };
    let login = body.login.trim();
    let identity = match catalog.identity_by_login(tenant, login).await? {
        None if login.contains('@') => catalog.identity_by_email(tenant, login).await?,
        found => found,
    };
    let Some(identity) = identity.filter(|identity| identity.standing.is_good(now())) else {
        return Ok(());
    };
    let Some(to) = identity
        .email
        .clone()
        .filter(|to| crate::mail::is_address(to))
    else {
        return Ok(());
    };
    // By login, by address, by the tenant's id: it is one account. Its last letter still opens where it gets no other.
    let account = letters_of(&identity);
    let resets = &api.sign_in().resets;
    let most = [(account.as_str(), sign_in::LETTERS_OF_ACCOUNT)];
    let of_day = || api.sign_in().letters.take(&most, now());
    if resets.begin(&account, None, now()).is_err() || of_day().is_err() {
        tracing::warn!(user = %identity.user, "a letter to reset a password is not sent: there were too many");
        return Ok(());
    }
    let token = ResetToken::drawn();
    let mut change = catalog.change().await?;
    change
        .begin_reset(identity.user, &token.hash(), now() + OPENS_FOR)
        .await?;
    let event = Event::anonymous(tenant, "passwords.ask_reset").on("user", identity.user.0);
    change.commit(client.event(event)).await?;
    let page = api.settings().sign_in.reset_url.as_deref();
    if let (Some(outbox), Some(page)) = (api.sign_in().outbox(), page) {
        outbox.put(letter(&identity, to, page, &token));
    }
    Ok(())
}

/// How letters to a user are counted, by whatever name they are asked for.
fn letters_of(identity: &Identity) -> String {
    format!("letters/{}", identity.user)
}

/// The token is behind a `#`: a browser sends it to nobody, so no log of a proxy has it.
fn letter(identity: &Identity, to: String, page: &str, token: &ResetToken) -> Letter {
    let token = token.reveal();
    let (login, tenant) = (&identity.login, &identity.tenant_name);
    let text = format!(
        "Somebody asked for a new password for the login {login} at {tenant}.\n\n\
         To choose one, open this link within ten minutes. It opens once.\n\n\
         {page}#token={}\n\n\
         If it was not you, do nothing: your password stays as it is.\n",
        *token
    );
    Letter {
        to,
        subject: "Your new Callreel password".into(),
        text: Zeroizing::new(text),
        until: std::time::Instant::now() + OPENS_FOR,
    }
}

/// What a letter brought, and the new password.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct RedeemBody {
    #[schema(value_type = String)]
    token: Password,
    #[schema(value_type = String, format = Password)]
    password: Password,
}

/// Chooses a new password with the token of a letter. Every session of the user ends.
#[utoipa::path(put, path = "/password-resets", tag = "signing in", operation_id = "redeem_password_reset",
    request_body = RedeemBody, security(()),
    responses((status = 204), (status = 410, description = "The link does not open any more", body = Details)))]
async fn redeem(
    State(api): State<Api>,
    client: Client,
    Body(body): Body<RedeemBody>,
) -> Result<StatusCode> {
    let begun = api.sign_in().resets.begin("redeem", client.address, now());
    // The account is nobody's: only the address counts.
    api.sign_in().resets.forget_account("redeem");
    begun.map_err(|refused| too_many(&refused, now()))?;
    let gone = || {
        let title = "This link does not open any more";
        Problem::new(StatusCode::GONE, "reset_gone", title).detail("ask for another letter")
    };
    let token = ResetToken::parse(body.token.reveal()).ok_or_else(gone)?;
    let catalog = api.catalog()?;
    // A password that is not taken leaves the letter as it is.
    let identity = catalog.reset(&token.hash(), now()).await?;
    let identity = identity
        .filter(|identity| identity.standing.is_good(now()))
        .ok_or_else(gone)?;
    let hash = accept_new(&api, &identity, &body.password, "password").await?;
    let mut change = catalog.change().await?;
    let identity = change.take_reset(&token.hash()).await?.ok_or_else(gone)?;
    change
        .set_password(identity.user, &hash, false, None)
        .await?;
    let event = Event::by(&identity.principal(), "passwords.reset").on("user", identity.user.0);
    change.commit(client.event(event)).await?;
    api.sign_in().resets.succeeded("redeem", client.address);
    forgive(&api, &identity);
    for name in [
        letters_of(&identity),
        format!(
            "of {}",
            sign_in::account(Some(identity.tenant), &identity.login)
        ),
    ] {
        api.sign_in().letters.forget(&name);
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Whoever has a new password may try it.
fn forgive(api: &Api, identity: &Identity) {
    let account = sign_in::account(Some(identity.tenant), &identity.login);
    api.sign_in().attempts.forget_account(&account);
}

/// How an administrator helps.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ResetBody {
    /// A password for the user to change at once; one is drawn by lot when it is absent.
    #[serde(default)]
    #[schema(value_type = Option<String>, format = Password)]
    password: Option<Password>,
    /// Removes the user's authenticator too, for who has lost it and the recovery codes.
    #[serde(default)]
    remove_totp: bool,
}

/// The password that was drawn: shown once.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TemporaryPassword)]
struct ResetView {
    #[serde(skip_serializing_if = "Option::is_none")]
    temporary_password: Option<String>,
}

/// Gives a user a password that has to be changed at the next sign-in. Every session of the user ends.
#[utoipa::path(put, path = "/users/{id}/password", tag = "users", operation_id = "reset_user_password",
    params(("id" = Uuid, Path)), request_body = ResetBody, responses((status = 200, body = ResetView)))]
async fn reset(
    State(api): State<Api>,
    caller: Caller,
    Id(id): Id,
    Body(body): Body<ResetBody>,
) -> Result<Response> {
    let identity = helped(&api, &caller, id).await?;
    if let Some(lacking) = identity.kept_from(&caller.principal) {
        return Err(Problem::beyond_own_rights(lacking));
    }
    let drawn = body.password.is_none().then(Password::drawn);
    let hash = match (&body.password, &drawn) {
        (Some(password), _) => accept_new(&api, &identity, password, "password").await?,
        (None, Some(drawn)) => api.sign_in().hash(drawn).await?,
        (None, None) => return Err(Problem::internal()),
    };
    let mut change = api.catalog()?.change().await?;
    change
        .set_password(identity.user, &hash, true, None)
        .await?;
    if body.remove_totp {
        change.remove_totp(identity.user).await?;
    }
    let event = caller
        .event("users.reset_password")
        .of_tenant(identity.tenant)
        .on("user", id);
    let after = serde_json::json!({ "totp_removed": body.remove_totp });
    change.commit(event.change(None, Some(after))).await?;
    forgive(&api, &identity);
    let view = ResetView {
        temporary_password: drawn.map(|drawn| drawn.reveal().to_owned()),
    };
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(view)).into_response())
}

/// Signs a user out everywhere.
#[utoipa::path(delete, path = "/users/{id}/sessions", tag = "users", operation_id = "end_user_sessions",
    params(("id" = Uuid, Path)), responses((status = 204)))]
async fn sign_out(State(api): State<Api>, caller: Caller, Id(id): Id) -> Result<StatusCode> {
    let identity = helped(&api, &caller, id).await?;
    let mut change = api.catalog()?.change().await?;
    let ended = change.end_sessions(identity.user, None).await?;
    let event = caller
        .event("users.end_sessions")
        .of_tenant(identity.tenant)
        .on("user", id);
    let after = serde_json::json!({ "ended": ended });
    change.commit(event.change(None, Some(after))).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The user that the caller may help: in the scope, somebody else, and without a right that the caller does not have.
async fn helped(api: &Api, caller: &Caller, id: Uuid) -> Result<Identity> {
    caller.needs(Resource::Users, Operation::ResetPassword)?;
    let identity = api.catalog()?.identity(&caller.scope(), UserId(id)).await?;
    let identity = identity.ok_or_else(Problem::not_found)?;
    if caller.principal.user() == Some(identity.user) {
        let title = "This is your own account";
        let problem = Problem::new(StatusCode::CONFLICT, "own_account", title);
        return Err(problem.detail("PUT /api/v1/me/password, DELETE /api/v1/sessions/{id}"));
    }
    let theirs = identity.principal();
    match caller.principal.lacks(theirs.level(), theirs.permissions()) {
        Some(lacking) => Err(Problem::beyond_own_rights(lacking)),
        None => Ok(identity),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::testing::World;

    /// How many letters there are, should somebody ask again and again.
    fn letters(world: &World, name: &str, address: &str) -> u32 {
        let address = Some(address.parse().unwrap());
        let asked = (0..1000).take_while(|_| bounded(&world.api, name, address).is_ok());
        asked.count() as u32
    }

    #[tokio::test]
    async fn letters_of_a_day_are_few_for_an_account_and_from_an_address() {
        let world = World::new().await;
        // One address does not use up what an account has, nor does another of the same network help.
        assert_eq!(letters(&world, "acme/ann", "2001:db8::1"), 6);
        assert_eq!(letters(&world, "acme/ann", "2001:db8::2"), 0);
        assert_eq!(letters(&world, "acme/ann", "192.0.2.1"), 6);
        assert_eq!(letters(&world, "acme/ann", "192.0.2.2"), 3);
        assert_eq!(letters(&world, "acme/ann", "192.0.2.3"), 0);
        let others = (0..20).map(|number| letters(&world, &format!("acme/{number}"), "192.0.2.1"));
        assert_eq!(others.sum::<u32>(), 60 - 6);
        let Err(refused) = bounded(&world.api, "acme/ann", None) else {
            panic!("there were fifteen")
        };
        assert_eq!(refused.details().status, 429);
    }
}
