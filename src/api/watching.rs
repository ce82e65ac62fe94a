//! Rights that are used for as long as a stream lasts: they are looked at again and again.

use std::time::Duration;

use super::caller::Caller;
use super::problem::Result;
use super::state::Api;
use crate::access::{Actor, Principal};
use crate::catalog::Sight;

/// How often. A right that was taken away is gone after this long at the latest.
pub const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Whoever has a stream open.
#[derive(Clone, Debug)]
pub struct Watching {
    api: Api,
    principal: Principal,
}

impl Watching {
    pub fn new(api: &Api, caller: &Caller) -> Watching {
        Watching {
            api: api.clone(),
            principal: caller.principal.clone(),
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

    /// What can be seen at this moment; `None`: the rights are not those that the stream was opened with.
    ///
    /// # Errors
    ///
    /// The catalog is away: nobody can say what the rights are.
    pub async fn look(&self) -> Result<Option<Sight>> {
        match self.has_the_same_rights().await? {
            true => Ok(Some(self.begin().await?)),
            false => Ok(None),
        }
    }

    async fn has_the_same_rights(&self) -> Result<bool> {
        let then = &self.principal;
        let user = match then.actor() {
            Actor::User { id, .. } => *id,
            Actor::ServiceAccount { responsible, .. } => *responsible,
            Actor::Operator { .. } => return Ok(true),
        };
        let Some(person) = self.api.catalog()?.principal_of_user(user).await? else {
            return Ok(false);
        };
        let now = person.principal();
        let is_less = then.permissions().beyond(now.permissions()).is_some();
        let is_user = matches!(then.actor(), Actor::User { .. }) && then.support().is_none();
        let is_other =
            is_user && (now.level(), now.managed_groups()) != (then.level(), then.managed_groups());
        Ok(!is_less && !is_other)
    }
}
