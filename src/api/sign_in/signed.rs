//! What a request brings along about who sent it.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};

use super::account;
use crate::access::{Event, Principal, SessionToken, Stage};
use crate::api::caller::{RequestId, address};
use crate::api::problem::{Problem, Result};
use crate::catalog::{Identity, Session};

/// A session that lives, and whose it is. There may be something left to do before it is good for more.
#[derive(Clone, Debug)]
pub struct Signed(pub Arc<SignedIn>);

#[derive(Debug)]
pub struct SignedIn {
    pub token: SessionToken,
    pub session: Session,
    pub identity: Identity,
    pub stage: Stage,
}

impl Signed {
    /// # Errors
    ///
    /// A problem of status 403 that says what is left to do, when it is none of `stages`.
    pub fn at(&self, stages: &[Stage]) -> Result<()> {
        match stages.contains(&self.0.stage) {
            true => Ok(()),
            false => Err(Unfinished(self.0.stage).problem()),
        }
    }

    pub fn principal(&self) -> Principal {
        self.0.identity.principal()
    }

    /// How attempts name the account.
    pub fn account(&self) -> String {
        account(Some(self.0.identity.tenant), &self.0.identity.login)
    }
}

impl<S: Send + Sync> OptionalFromRequestParts<S> for Signed {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Signed>> {
        Ok(parts.extensions.get::<Signed>().cloned())
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Signed {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Signed> {
        let signed = parts.extensions.get::<Signed>();
        signed.cloned().ok_or_else(|| nobody(parts))
    }
}

/// A program with a token has no session; anybody else may sign in.
fn nobody(parts: &Parts) -> Problem {
    match parts.extensions.get::<Principal>() {
        Some(_) => {
            let title = "This is for people who signed in with a browser";
            Problem::new(StatusCode::FORBIDDEN, "session_required", title)
        }
        None => Problem::unauthenticated(),
    }
}

/// Somebody is signed in, and has something left to do first.
#[derive(Clone, Copy, Debug)]
pub struct Unfinished(pub Stage);

impl Unfinished {
    pub fn problem(self) -> Problem {
        let (code, title, way) = match self.0 {
            Stage::TotpNeeded => (
                "totp_needed",
                "Show a code of your authenticator first",
                "POST /api/v1/session/totp",
            ),
            Stage::TotpSetupNeeded => (
                "totp_setup_needed",
                "Set up an authenticator first: your tenant asks for one",
                "POST /api/v1/me/totp",
            ),
            Stage::PasswordChangeNeeded => (
                "password_change_needed",
                "Choose another password first",
                "PUT /api/v1/me/password",
            ),
            Stage::Complete => (
                "already_done",
                "There is nothing left to do",
                "GET /api/v1/session",
            ),
        };
        Problem::new(StatusCode::FORBIDDEN, code, title).detail(way)
    }
}

/// Where a request comes from, whoever sent it.
#[derive(Clone, Debug)]
pub struct Client {
    pub address: Option<IpAddr>,
    pub request_id: Option<String>,
    pub user_agent: Option<String>,
}

impl Client {
    pub fn event(&self, event: Event) -> Event {
        event.from_address(self.address, self.request_id.clone())
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Client {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Client> {
        let agent = parts.headers.get(header::USER_AGENT);
        Ok(Client {
            address: address(parts),
            request_id: parts.extensions.get::<RequestId>().map(|id| id.0.clone()),
            user_agent: agent
                .and_then(|agent| agent.to_str().ok())
                .map(str::to_owned),
        })
    }
}
