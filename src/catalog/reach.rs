//! The scope of a question, as SQL.

use sqlx::{QueryBuilder, Sqlite};

use crate::access::Scope;
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
        match (scope, wanted) {
            (Scope::System, None) => Reach::All,
            (Scope::System, Some(tenant)) => Reach::One(tenant),
            (Scope::Tenant(own), None) => Reach::One(*own),
            (Scope::Tenant(own), Some(tenant)) if *own == tenant => Reach::One(tenant),
            (Scope::Tenant(_), Some(_)) => Reach::Nothing,
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
