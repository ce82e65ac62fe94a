//! Who asks, for routes.

use std::net::{IpAddr, SocketAddr};

use axum::extract::{ConnectInfo, FromRequestParts};
use axum::http::request::Parts;

use super::problem::{Problem, Result};
use super::sign_in;
use super::state::Api;
use crate::access::{AccessLevel, Event, Lacking, Operation, Principal, Resource, Scope};
use crate::base::TenantId;

/// Where a request comes from, as a trusted proxy says, or else the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientAddress(pub IpAddr);

/// The id of a request, in its answer, its audit and the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId(pub String);

/// From where somebody asks who need not sign in.
#[derive(Clone, Debug)]
pub struct Client {
    pub address: Option<IpAddr>,
    pub request_id: Option<String>,
}

impl<S: Send + Sync> FromRequestParts<S> for Client {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(
        parts: &mut Parts,
        _: &S,
    ) -> std::result::Result<Client, Self::Rejection> {
        Ok(Client {
            address: address(parts),
            request_id: parts.extensions.get::<RequestId>().map(|id| id.0.clone()),
        })
    }
}

/// Who asks. A route that takes it answers nobody who has not signed in.
#[derive(Clone, Debug)]
pub struct Caller {
    pub principal: Principal,
    pub address: Option<IpAddr>,
    pub request_id: Option<String>,
}

impl Caller {
    /// What the caller may see.
    pub fn scope(&self) -> Scope {
        self.principal.scope()
    }

    /// # Errors
    ///
    /// A problem of status 403 when the caller's role does not permit the operation.
    pub fn needs(&self, resource: Resource, operation: Operation) -> Result<()> {
        match self.principal.may(resource, operation) {
            true => Ok(()),
            false => Err(Problem::lacks(resource, operation)),
        }
    }

    /// # Errors
    ///
    /// A problem of status 403 when the caller's role reaches less far than `level`.
    pub fn reaches(&self, level: AccessLevel) -> Result<()> {
        match self.principal.level().reaches(level) {
            true => Ok(()),
            false => Err(Problem::beyond_own_rights(Lacking::Level(level))),
        }
    }

    /// Whose calls are confidential keeps the numbers by which they are: who may not see such calls takes none from them, as they
    /// give them no password.
    ///
    /// # Errors
    ///
    /// A problem of status 403 when one of these users of the tenant, whose calls are confidential, is not the caller.
    pub fn may_take_from(&self, tenant: TenantId, holders: &[String]) -> Result<()> {
        let lacks = |login: &String| self.principal.lacks_to_stand_for(tenant, login);
        match holders.iter().find_map(lacks) {
            Some(lacking) => Err(Problem::beyond_own_rights(lacking)),
            None => Ok(()),
        }
    }

    /// For what cannot be undone (export, delete, the release of a hold), and for what lets somebody in or gives more rights:
    /// else who found a session would get round the others by it.
    ///
    /// # Errors
    ///
    /// A problem of status 403 when the caller has not shown within the last minutes who they are; a program, when its
    /// token is not one that may do such things unattended.
    pub fn needs_step_up(&self, api: &Api) -> Result<()> {
        let window = api.settings().sign_in.limits.step_up;
        match self.principal.is_stepped_up(sign_in::now(), window) {
            true => Ok(()),
            false => Err(Problem::step_up_required()),
        }
    }

    /// What the audit keeps of an act of the caller.
    pub fn event(&self, action: &'static str) -> Event {
        Event::by(&self.principal, action).from_address(self.address, self.request_id.clone())
    }
}

pub(super) fn address(parts: &Parts) -> Option<IpAddr> {
    let forwarded = parts.extensions.get::<ClientAddress>();
    let connection = parts.extensions.get::<ConnectInfo<SocketAddr>>();
    forwarded
        .map(|address| address.0)
        .or_else(|| connection.map(|info| info.0.ip()))
        .map(|address| address.to_canonical())
}

/// Who is signed in and has something left to do is told what.
fn nobody(parts: &Parts) -> Problem {
    let unfinished = parts.extensions.get::<sign_in::Unfinished>();
    unfinished.map_or_else(Problem::unauthenticated, |unfinished| unfinished.problem())
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Caller> {
        let principal = parts.extensions.get::<Principal>();
        Ok(Caller {
            principal: principal.cloned().ok_or_else(|| nobody(parts))?,
            address: address(parts),
            request_id: parts.extensions.get::<RequestId>().map(|id| id.0.clone()),
        })
    }
}
