//! The scope of a question, as SQL.

use sqlx::{QueryBuilder, Sqlite};

use crate::access::{self, Scope};
use crate::base::TenantId;

/// The tenants a question reaches: those of the scope, and of the one that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reach {
    All,
    One(TenantId),
    Nothing,
}

impl Reach {
    pub(super) fn of(scope: &Scope, wanted: Option<TenantId>) -> Reach {
        match (scope.reach(), wanted) {
            (access::Reach::System, None) => Reach::All,
            (access::Reach::System, Some(tenant)) => Reach::One(tenant),
            (access::Reach::Tenant(own), None) => Reach::One(*own),
            (access::Reach::Tenant(own), Some(tenant)) if *own == tenant => Reach::One(tenant),
            (access::Reach::Tenant(_), Some(_)) => Reach::Nothing,
            (access::Reach::Groups { .. } | access::Reach::User { .. }, _) => Reach::Nothing,
        }
    }

    /// Adds `AND column = tenant` where the reach is one tenant, and what is never true where it is none.
    pub(super) fn limit(self, sql: &mut QueryBuilder<Sqlite>, column: &'static str) {
        match self {
            Reach::All => {}
            Reach::One(tenant) => {
                sql.push(" AND ")
                    .push(column)
                    .push(" = ")
                    .push_bind(tenant.0);
            }
            Reach::Nothing => {
                sql.push(" AND FALSE");
            }
        }
    }
}
