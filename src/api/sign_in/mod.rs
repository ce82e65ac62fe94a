//! Who asks: found out once for each request, before any route.
//!
//! In: a request with a session's cookie or a service's token. Out: the same request with a
//! [`Principal`](crate::access::Principal) whose rights are those of this moment, or without one where nobody is signed in.
//! What routes need to sign somebody in lies here too: hashing that waits its turn, proofs, cookies.

mod authenticate;
mod clock;
mod cookie;
mod housekeeping;
mod proof;
mod signed;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::http::StatusCode;
use tokio::sync::Semaphore;

use super::problem::{Problem, Result};
use crate::access::{
    AttemptRules, Attempts, Daily, Password, PasswordCost, PasswordHasher, Refused, SealingKey,
    SessionLimits, Verdict, login_key,
};
use crate::base::{TenantId, Timestamp};
use crate::mail::Outbox;

pub use housekeeping::housekeeping;

pub(super) use authenticate::{authenticate, credentials, glance};
pub(super) use clock::now;
pub(super) use cookie::{clearing, setting};
pub(super) use proof::{accept_new, failed, prove, show_code};
pub(super) use signed::{Client, Signed, Unfinished};

/// Passwords that are hashed at the same time. Each takes a core and the memory of its cost.
const AT_A_TIME: usize = 2;

/// Requests that wait for their turn; further ones are turned away.
const WAITING: usize = 64;

/// How long a letter opens.
pub(super) const LETTER_OPENS_FOR: Duration = Duration::from_secs(10 * 60);

/// Requests for letters are rarer than attempts to sign in: three by one name, then one after 10, 20, 40 and 60 minutes, 28 in a day. No
/// count of a day is ever used up: whoever asks in somebody's name, and from wherever, keeps that one from a letter for an hour,
/// and what was sent meanwhile opens too.
const RESET_RULES: AttemptRules = AttemptRules {
    account_failures: 3,
    first_lock: LETTER_OPENS_FOR,
    longest_lock: Duration::from_secs(60 * 60),
    address_failures: 30,
    address_window: Duration::from_secs(10 * 60),
};

/// An account has two names, login and e-mail address, and its mailbox gets three letters by both, then one in ten minutes: where it gets
/// no other the one before still opens.
const MAILBOX_RULES: AttemptRules = AttemptRules {
    longest_lock: LETTER_OPENS_FOR,
    ..RESET_RULES
};

/// Letters that are asked for from one address in a day: for one account, and for all.
pub(super) const LETTERS_OF_ACCOUNT_FROM_ADDRESS: u32 = 6;
pub(super) const LETTERS_FROM_ADDRESS: u32 = 60;

/// What the configuration says about signing in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SignInSettings {
    /// Where people reach the portal: `https://callreel.example`, without a slash at its end. None: requests of other origins
    /// are told by the name of the host they were sent to.
    pub base_url: Option<String>,
    /// Where a forgotten password is chosen anew; a letter adds `#token=…`. None: letters cannot be sent.
    pub reset_url: Option<String>,
    pub limits: SessionLimits,
    pub cost: PasswordCost,
    pub attempts: AttemptRules,
    /// Where the key lies that secrets of authenticators and of webhooks are sealed with. Made when it is first needed.
    pub key_file: PathBuf,
}

/// What all requests share that sign somebody in.
#[derive(Debug)]
pub(super) struct SignIn {
    hasher: Arc<PasswordHasher>,
    turns: Arc<Semaphore>,
    places: Semaphore,
    pub attempts: Attempts,
    pub resets: Attempts,
    /// Letters to accounts, by whatever name they were asked for.
    pub mailboxes: Attempts,
    /// Letters of a day, by where they were asked for.
    pub letters: Daily,
    /// At passwords of links.
    pub links: Attempts,
    key_file: PathBuf,
    key: OnceLock<SealingKey>,
    outbox: OnceLock<Outbox>,
}

impl SignIn {
    pub fn new(settings: &SignInSettings) -> SignIn {
        SignIn {
            hasher: Arc::new(PasswordHasher::new(settings.cost)),
            turns: Arc::new(Semaphore::new(AT_A_TIME)),
            places: Semaphore::new(WAITING),
            attempts: Attempts::new(settings.attempts),
            resets: Attempts::new(RESET_RULES),
            mailboxes: Attempts::new(MAILBOX_RULES),
            letters: Daily::default(),
            links: Attempts::new(settings.attempts),
            key_file: settings.key_file.clone(),
            key: OnceLock::new(),
            outbox: OnceLock::new(),
        }
    }

    /// Whether the password is the one that was kept; one that nobody kept takes as long.
    pub async fn verify(&self, password: &Password, kept: Option<String>) -> Result<Verdict> {
        let password = password.clone();
        self.hashing(move |hasher| hasher.verify(&password, kept.as_deref()))
            .await
    }

    /// Whether the password is one of several that were kept.
    pub async fn is_one_of(&self, password: &Password, kept: Vec<String>) -> Result<bool> {
        let password = password.clone();
        self.hashing(move |hasher| {
            let is = |kept: &String| hasher.verify(&password, Some(kept)) != Verdict::Wrong;
            kept.iter().any(is)
        })
        .await
    }

    pub async fn hash(&self, password: &Password) -> Result<String> {
        let password = password.clone();
        self.hashing(move |hasher| hasher.hash(&password)).await
    }

    async fn hashing<T: Send + 'static>(
        &self,
        work: impl FnOnce(&PasswordHasher) -> T + Send + 'static,
    ) -> Result<T> {
        let _place = self.places.try_acquire().map_err(|_| busy())?;
        let turn = self
            .turns
            .clone()
            .acquire_owned()
            .await
            .map_err(|_| busy())?;
        let hasher = self.hasher.clone();
        let done = tokio::task::spawn_blocking(move || {
            // The turn is over when the work is, also where nobody waits for it any more.
            let _turn = turn;
            work(&hasher)
        });
        done.await.map_err(|_| Problem::internal())
    }

    /// The key that secrets are sealed with.
    ///
    /// # Errors
    ///
    /// A problem of status 503 when its file cannot be used; the log says why.
    pub fn key(&self) -> Result<&SealingKey> {
        if let Some(key) = self.key.get() {
            return Ok(key);
        }
        let key = SealingKey::at(&self.key_file).map_err(|error| {
            tracing::error!(%error, "authenticators and secrets of webhooks cannot be used");
            let title = "The key that secrets are sealed with cannot be used at the moment";
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, "key_missing", title).retry_after(60)
        })?;
        Ok(self.key.get_or_init(|| key))
    }

    /// From now on letters go there.
    pub fn set_outbox(&self, outbox: Outbox) {
        // A second one would have come from a second start.
        let _ = self.outbox.set(outbox);
    }

    pub fn outbox(&self) -> Option<&Outbox> {
        self.outbox.get()
    }
}

fn busy() -> Problem {
    let title = "Too many people sign in at the moment";
    Problem::new(StatusCode::SERVICE_UNAVAILABLE, "busy", title).retry_after(2)
}

/// How attempts name an account, whether it exists or not.
pub(super) fn account(tenant: Option<TenantId>, login: &str) -> String {
    let tenant = tenant.map(|tenant| tenant.to_string()).unwrap_or_default();
    format!("{tenant}/{}", login_key(login.trim()))
}

/// What somebody gets who tried too often, whatever it was.
pub(super) fn too_many(refused: &Refused, now: Timestamp) -> Problem {
    let seconds = refused.until.since(now).as_secs() + 1;
    let title = "Too many attempts";
    Problem::new(StatusCode::TOO_MANY_REQUESTS, "too_many_attempts", title)
        .retry_after(u32::try_from(seconds).unwrap_or(u32::MAX))
}

/// What somebody gets who is not who they say, whatever is wrong: login, tenant, password or code.
pub(super) fn not_signed_in() -> Problem {
    let title = "This login, password or code is not right";
    Problem::new(StatusCode::UNAUTHORIZED, "sign_in_failed", title)
}
