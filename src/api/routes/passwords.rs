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
use zeroize::Zeroizing;

use crate::access::{
    Event, Operation, Password, Refused, ResetToken, Resource, Scope, TooMany, network_of,
};
use crate::api::caller::Caller;
use crate::api::problem::{Details, Problem, Result};
use crate::api::request::{Body, Id};
use crate::api::sign_in::{self, Client, accept_new, now, too_many};
use crate::api::state::Api;
use crate::base::{SYSTEM_TENANT, TenantId, Timestamp, UserId};
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
    let granted = granted(&api, &name, client.address, now());
    granted.map_err(|refused| {
        let meanwhile = "a letter that comes meanwhile opens too, whoever asked for it";
        too_many(&refused, now()).detail(meanwhile)
    })?;
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

/// Counts a letter, for whoever is named, whether there is such an account, and from where. What is refused counts nowhere: who asks
/// too often holds up nobody else.
fn granted(
    api: &Api,
    name: &str,
    address: Option<IpAddr>,
    now: Timestamp,
) -> std::result::Result<(), Refused> {
    let mut bounds = Vec::new();
    if let Some(address) = address.map(network_of) {
        let from_there = sign_in::LETTERS_OF_ACCOUNT_FROM_ADDRESS;
        bounds.push((format!("from {address} of {name}"), from_there));
        bounds.push((format!("from {address}"), sign_in::LETTERS_FROM_ADDRESS));
    }
    let bounds: Vec<_> = bounds.iter().map(|(name, most)| (&**name, *most)).collect();
    let of_day = &api.sign_in().letters;
    of_day.take(&bounds, now).map_err(|until| Refused {
        until,
        because: TooMany::OfAddress,
    })?;
    let begun = api.sign_in().resets.begin(name, address, now);
    if begun.is_err() {
        of_day.give_back(&bounds);
    }
    begun.map(|_| ())
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
    // By login, by address: it is one account. Its last letter still opens where it gets no other.
    let mailboxes = &api.sign_in().mailboxes;
    if mailboxes.begin(&mailbox(&identity), None, now()).is_err() {
        tracing::warn!(user = %identity.user, "a letter to reset a password is not sent: there were too many");
        return Ok(());
    }
    let token = ResetToken::drawn();
    let mut change = catalog.change().await?;
    // Taken away since.
    let scope = Scope::tenant(tenant);
    let now_known = change.identity(&scope, identity.user).await?;
    if now_known.and_then(|known| known.email) != identity.email {
        return Ok(());
    }
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
fn mailbox(identity: &Identity) -> String {
    identity.user.to_string()
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
    // What was counted of names stays: it would tell that there is such an account.
    api.sign_in().mailboxes.forget_account(&mailbox(&identity));
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

/// Gives a user a password that has to be changed at the next sign-in. Every session of the user ends. Needs a step-up.
#[utoipa::path(put, path = "/users/{id}/password", tag = "users", operation_id = "reset_user_password",
    params(("id" = Uuid, Path)), request_body = ResetBody, responses((status = 200, body = ResetView)))]
async fn reset(
    State(api): State<Api>,
    caller: Caller,
    Id(id): Id,
    Body(body): Body<ResetBody>,
) -> Result<Response> {
    let found = api.catalog()?.identity(&caller.scope(), UserId(id)).await?;
    let identity = let_in(&caller, found)?;
    caller.needs_step_up(&api)?;
    let drawn = body.password.is_none().then(Password::drawn);
    let hash = match (&body.password, &drawn) {
        (Some(password), _) => accept_new(&api, &identity, password, "password").await?,
        (None, Some(drawn)) => api.sign_in().hash(drawn).await?,
        (None, None) => return Err(Problem::internal()),
    };
    let mut change = api.catalog()?.change().await?;
    // To hash it took time, in which the user may have got more rights.
    let identity = let_in(&caller, change.identity(&caller.scope(), UserId(id)).await?)?;
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
    let mut change = api.catalog()?.change().await?;
    let identity = helped(&caller, change.identity(&caller.scope(), UserId(id)).await?)?;
    let ended = change.end_sessions(identity.user, None).await?;
    let event = caller
        .event("users.end_sessions")
        .of_tenant(identity.tenant)
        .on("user", id);
    let after = serde_json::json!({ "ended": ended });
    change.commit(event.change(None, Some(after))).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The user that the caller may help: in the scope, somebody else, and without a right or a group that the caller does not have.
fn helped(caller: &Caller, found: Option<Identity>) -> Result<Identity> {
    caller.needs(Resource::Users, Operation::ResetPassword)?;
    let identity = found.ok_or_else(Problem::not_found)?;
    if caller.principal.responsible() == Some(identity.user) {
        return Err(Problem::own_account());
    }
    let theirs = identity.principal();
    let (level, groups) = (theirs.level(), theirs.managed_groups());
    match (caller.principal).lacks_over(level, theirs.permissions(), groups) {
        Some(lacking) => Err(Problem::beyond_own_rights(lacking)),
        None => Ok(identity),
    }
}

/// The same to give a password, with which one could sign in as that user.
fn let_in(caller: &Caller, found: Option<Identity>) -> Result<Identity> {
    let identity = helped(caller, found)?;
    match identity.kept_from(&caller.principal) {
        Some(lacking) => Err(Problem::beyond_own_rights(lacking)),
        None => Ok(identity),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::testing::World;

    const MINUTE: Duration = Duration::from_secs(60);
    const DAY_MINUTES: u32 = 24 * 60;

    fn start() -> Timestamp {
        Timestamp::from_secs_nanos(1_800_000_000, 0)
    }

    fn is_granted(world: &World, name: &str, address: &str, now: Timestamp) -> bool {
        let address = Some(address.parse().unwrap());
        granted(&world.api, name, address, now).is_ok()
    }

    /// The minutes of a day at which there is a letter, should each of these addresses ask for one every minute.
    fn letters(world: &World, name: &str, addresses: &[String]) -> Vec<u32> {
        let asked =
            (0..DAY_MINUTES).flat_map(|minute| addresses.iter().map(move |from| (minute, from)));
        let granted = asked
            .filter(|(minute, from)| is_granted(world, name, from, start() + MINUTE * *minute));
        granted.map(|(minute, _)| minute).collect()
    }

    fn addresses(count: u32) -> Vec<String> {
        (0..count)
            .map(|number| format!("198.51.100.{number}"))
            .collect()
    }

    #[tokio::test]
    async fn strangers_with_many_addresses_leave_an_account_without_a_letter_for_an_hour_at_most() {
        let world = World::new().await;
        let minutes = letters(&world, "acme/ann", &addresses(30));
        assert_eq!(minutes[..8], [0, 0, 0, 10, 30, 70, 130, 190]);
        assert_eq!(minutes.len(), 28, "and her mailbox has no more than these");
        let gaps = minutes.windows(2).map(|pair| pair[1] - pair[0]);
        assert_eq!(gaps.max(), Some(60));
        // Once they leave off she waits for no longer.
        let now = start() + MINUTE * (minutes[27] + 60);
        assert!(is_granted(&world, "acme/ann", "192.0.2.1", now));
    }

    #[tokio::test]
    async fn who_has_asked_too_often_holds_up_nobody_else() {
        let world = World::new().await;
        // Few addresses are through with it soon, and go on asking.
        let minutes = letters(&world, "acme/ann", &addresses(3));
        assert_eq!(minutes.len(), 18);
        let now = start() + MINUTE * DAY_MINUTES - MINUTE;
        assert!(is_granted(&world, "acme/ann", "192.0.2.1", now));
        assert!(!is_granted(&world, "acme/ann", "198.51.100.1", now));
    }

    #[tokio::test]
    async fn who_asks_while_there_is_none_has_not_asked_for_one() {
        let world = World::new().await;
        let ask =
            |minute: u32| is_granted(&world, "acme/ann", "192.0.2.1", start() + MINUTE * minute);
        assert_eq!(
            [0, 0, 0, 1, 2, 3, 4, 5]
                .map(ask)
                .iter()
                .filter(|one| **one)
                .count(),
            3
        );
        assert_eq!([10, 30, 70].map(ask), [true; 3]);
        assert!(!ask(1000), "there were six");
    }

    #[tokio::test]
    async fn letters_from_one_address_are_few_in_a_day() {
        let world = World::new().await;
        let ask = |name: &str, address: &str| is_granted(&world, name, address, start());
        // Another address of the same network does not help.
        let own = (0..9).filter(|at| ask("acme/ann", &format!("2001:db8::{at}")));
        assert_eq!(own.count(), 3);
        let others = (0..DAY_MINUTES).filter(|minute| {
            let name = format!("acme/{minute}");
            is_granted(&world, &name, "2001:db8::1", start() + MINUTE * *minute)
        });
        assert_eq!(others.count(), 60 - 3);
    }
}
