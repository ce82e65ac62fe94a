//! Proving who one is, and what a new password has to be.

use super::{Client, Signed, not_signed_in, now, too_many};
use crate::access::{Event, IfFailed, Outcome, Owner, Password, RecoveryCode, TotpSecret, Verdict};
use crate::api::problem::{Problem, Result};
use crate::api::state::Api;
use crate::catalog::{Change, Identity};

/// That whoever has the session also has its user's password. The attempt counts as failed until
/// [`Attempts::succeeded`](crate::access::Attempts::succeeded), which is for whoever asked for all there is to show: a right
/// password must not give back attempts at codes.
///
/// # Errors
///
/// A problem of status 401 when it is another password, 429 when there were too many attempts. The first is audited as a
/// failed `action`.
pub async fn prove(
    api: &Api,
    client: &Client,
    signed: &Signed,
    password: &Password,
    action: &'static str,
) -> Result<IfFailed> {
    let sign_in = api.sign_in();
    let begun = (sign_in.attempts).begin(&signed.account(), client.address, now());
    let if_failed = begun.map_err(|refused| too_many(&refused, now()))?;
    let kept = signed.0.identity.password_hash.clone();
    match sign_in.verify(password, kept).await? {
        Verdict::Right | Verdict::RightAtOtherCost => Ok(if_failed),
        Verdict::Wrong => {
            let event = Event::by(&signed.principal(), action);
            failed(api, client, event, if_failed).await?;
            Err(not_signed_in())
        }
    }
}

/// Writes what failed, and, where that locked the account, that too.
pub async fn failed(api: &Api, client: &Client, event: Event, if_failed: IfFailed) -> Result<()> {
    let event = client.event(event).outcome(Outcome::Failed);
    let mut change = api.catalog()?.change().await?;
    if let IfFailed::Locked { until } = if_failed {
        let mut lock = event.clone();
        lock.action = "sessions.lock".into();
        lock.after = Some(serde_json::json!({ "until": until.to_string() }));
        change.also(lock);
    }
    Ok(change.commit(event).await?)
}

/// Whether a code is one of the user's authenticator that was not taken yet, or a recovery code. It is used up, should the
/// change be committed.
pub async fn show_code(
    api: &Api,
    change: &mut Change,
    identity: &Identity,
    code: &str,
) -> Result<bool> {
    if let Some(step) = step_of(api, identity, code)? {
        return Ok(change.take_totp_step(identity.user, step).await?);
    }
    match RecoveryCode::typed(code) {
        Some(code) => Ok(change
            .take_recovery_code(identity.user, code.hash())
            .await?),
        None => Ok(false),
    }
}

fn step_of(api: &Api, identity: &Identity, code: &str) -> Result<Option<u64>> {
    let Some(totp) = &identity.totp else {
        return Ok(None);
    };
    let plain = api
        .sign_in()
        .key()?
        .open(&totp.sealed, identity.user.0.as_bytes());
    let Some(secret) = plain.and_then(|plain| TotpSecret::from_bytes(&plain)) else {
        tracing::error!(user = %identity.user, "an authenticator's secret was sealed with another key");
        return Ok(None);
    };
    let seconds = u64::try_from(now().as_millis() / 1000).unwrap_or(0);
    Ok(secret.accept(code, seconds, totp.last_step))
}

/// The hash of a password that the user is to have, if the tenant's policy takes it.
///
/// # Errors
///
/// A problem of status 422 at `field` that says why not.
pub async fn accept_new(
    api: &Api,
    identity: &Identity,
    password: &Password,
    field: &'static str,
) -> Result<String> {
    let policy = &identity.rules.password;
    let owner = Owner {
        login: &identity.login,
        email: identity.email.as_deref(),
        name: Some(&identity.name),
    };
    let weak = |weakness: crate::access::Weakness| Problem::invalid(field, weakness.to_string());
    policy.accept(password, owner).map_err(weak)?;
    let mut before = Vec::from_iter(identity.password_hash.clone());
    if policy.history > 0 {
        before.extend(
            api.catalog()?
                .earlier_passwords(identity.user, policy.history)
                .await?,
        );
    }
    if api.sign_in().is_one_of(password, before).await? {
        return Err(weak(crate::access::Weakness::UsedBefore(policy.history)));
    }
    api.sign_in().hash(password).await
}
