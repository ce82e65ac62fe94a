//! Rights that are used for as long as a stream lasts: they are looked at again and again.

use std::net::IpAddr;
use std::time::Duration;

use axum::http::HeaderMap;

use super::caller::Caller;
use super::problem::Result;
use super::sign_in::{credentials, glance};
use super::state::Api;
use crate::access::{Actor, Principal, Scope};
use crate::catalog::Sight;

/// How often. A right that was taken away is gone after this long at the latest.
pub const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Whoever has a stream open.
#[derive(Clone, Debug)]
pub struct Watching {
    api: Api,
    principal: Principal,
    address: Option<IpAddr>,
    /// What showed who it is; empty where this program said so.
    credentials: HeaderMap,
}

impl Watching {
    pub fn new(api: &Api, caller: &Caller, headers: &HeaderMap) -> Watching {
        Watching {
            api: api.clone(),
            principal: caller.principal.clone(),
            address: caller.address,
            credentials: credentials(headers),
        }
    }

    /// What can be seen with the rights that the stream was opened with.
    ///
    /// # Errors
    ///
    /// The catalog is away.
    pub async fn begin(&self) -> Result<Sight> {
        Ok(self.api.catalog()?.sight(&self.principal.scope()).await?)
    }

    /// Of the rights that the stream was opened with.
    pub fn scope(&self) -> Scope {
        self.principal.scope()
    }

    /// What can be seen at this moment; `None`: the session or the token is over, or the rights are not those that the stream
    /// was opened with.
    ///
    /// # Errors
    ///
    /// Nobody can say what the rights are, or who asked would be refused.
    pub async fn look(&self) -> Result<Option<Sight>> {
        match self.has_the_same_rights().await? {
            true => Ok(Some(self.begin().await?)),
            false => Ok(None),
        }
    }

    async fn has_the_same_rights(&self) -> Result<bool> {
        let now = match (self.credentials.is_empty(), self.principal.actor()) {
            (false, _) => glance(&self.api, &self.credentials, self.address).await?,
            (true, Actor::User { id, .. }) => {
                let person = self.api.catalog()?.principal_of_user(*id).await?;
                person.map(|person| person.principal())
            }
            (true, Actor::Operator { .. }) => return Ok(true),
            (true, Actor::ServiceAccount { .. }) => None,
        };
        Ok(now.is_some_and(|now| are_the_same(&now, &self.principal)))
    }
}

/// All but when somebody last showed who they are.
fn are_the_same(one: &Principal, two: &Principal) -> bool {
    let rights = |of: &Principal| {
        (
            of.actor().clone(),
            of.home(),
            of.level(),
            of.permissions().clone(),
            of.managed_groups().to_vec(),
            of.support().cloned(),
        )
    };
    rights(one) == rights(two)
}
