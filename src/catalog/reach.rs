//! The scope of a question, as SQL.

use sqlx::{QueryBuilder, Sqlite};

use crate::access::{self, Scope};
use crate::base::{GroupId, TenantId};

/// What a question reaches: what the scope does, and of it the one tenant that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reach {
    pub(super) tenants: Tenants,
    pub(super) whose: Whose,
    /// Calls of users whose calls are confidential are left out.
    pub(super) hides_confidential: bool,
    /// But those in which this login of this tenant took part.
    pub(super) own: Option<(TenantId, String)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tenants {
    All,
    One(TenantId),
    Nothing,
}

/// Whose calls, of the tenants that are reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    Everybodys,
    /// Of users who are in one of these groups now. Only where one tenant is reached.
    Groups(Vec<GroupId>),
    /// Of one login. Only where one tenant is reached.
    User(String),
}

impl Reach {
    pub(super) fn of(scope: &Scope, wanted: Option<TenantId>) -> Reach {
        let tenants = match (scope.only_tenant(), wanted) {
            (None, None) => Tenants::All,
            (Some(own), Some(tenant)) if own != tenant => Tenants::Nothing,
            (Some(tenant), _) | (None, Some(tenant)) => Tenants::One(tenant),
        };
        let (whose, own_only) = match scope.reach() {
            access::Reach::System | access::Reach::Tenant(_) => (Whose::Everybodys, false),
            access::Reach::Groups { groups, .. } => (Whose::Groups(groups.to_vec()), false),
            access::Reach::User { login, .. } => (Whose::User(login.to_string()), true),
        };
        Reach {
            tenants,
            whose,
            // One's own calls are seen, however confidential.
            hides_confidential: !own_only && !scope.sees_confidential(),
            own: (scope.own()).map(|(tenant, login)| (tenant, login.to_owned())),
        }
    }

    /// Adds `AND column = tenant` where the reach is one tenant, and what is never true where it is none.
    pub(super) fn limit(&self, sql: &mut QueryBuilder<Sqlite>, column: &'static str) {
        match self.tenants {
            Tenants::All => {}
            Tenants::One(tenant) => {
                sql.push(" AND ")
                    .push(column)
                    .push(" = ")
                    .push_bind(tenant.0);
            }
            Tenants::Nothing => {
                sql.push(" AND FALSE");
            }
        }
    }

    /// Adds the conditions that a row of `calls`, which is named so, lies in the reach.
    pub(super) fn limit_calls(&self, sql: &mut QueryBuilder<Sqlite>, calls: &'static str) {
        match self.tenants {
            Tenants::All => {}
            Tenants::One(tenant) => {
                sql.push(format_args!(" AND {calls}.tenant_id = "))
                    .push_bind(tenant.0);
            }
            Tenants::Nothing => {
                sql.push(" AND FALSE");
            }
        }
        self.push_whose(sql, calls);
        self.push_confidential(sql, calls);
    }

    /// The condition that somebody who took part is of the scope.
    pub(super) fn push_whose(&self, sql: &mut QueryBuilder<Sqlite>, calls: &'static str) {
        match &self.whose {
            Whose::Everybodys => {}
            Whose::Groups(groups) => push_of_groups(sql, calls, groups),
            Whose::User(login) => {
                sql.push(format_args!(
                    " AND EXISTS (SELECT 1 FROM participants o WHERE o.call_row = {calls}.call_row AND o.user_name = "
                ));
                sql.push_bind(login.clone()).push(")");
            }
        }
    }

    /// The condition that nobody who took part has calls that are confidential, or who asks took part too. Most tenants have no
    /// such user, which is found out once for a question, and then costs nothing for a call.
    pub(super) fn push_confidential(&self, sql: &mut QueryBuilder<Sqlite>, calls: &'static str) {
        if !self.hides_confidential {
            return;
        }
        sql.push(
            " AND (NOT EXISTS (SELECT 1 FROM users z INDEXED BY users_confidential WHERE z.confidential = 1",
        );
        self.limit(sql, "z.tenant_id");
        sql.push(format_args!(
            ") OR NOT EXISTS (SELECT 1 FROM participants y CROSS JOIN users v \
             ON v.tenant_id = y.tenant_id AND v.login = y.user_name \
             WHERE y.call_row = {calls}.call_row AND v.confidential = 1)"
        ));
        if let Some((tenant, login)) = &self.own {
            sql.push(format_args!(" OR {calls}.tenant_id = "))
                .push_bind(tenant.0);
            sql.push(format_args!(
                " AND EXISTS (SELECT 1 FROM participants w WHERE w.call_row = {calls}.call_row AND w.user_name = "
            ));
            sql.push_bind(login.clone()).push(")");
        }
        sql.push(")");
    }
}

/// Adds the conditions that a row of `users`, named `u`, lies in the scope. `tenant_id` is a column with its tenant.
pub(super) fn limit_users(sql: &mut QueryBuilder<Sqlite>, scope: &Scope, tenant_id: &'static str) {
    if let Some(tenant) = scope.only_tenant() {
        sql.push(format_args!(" AND {tenant_id} = "))
            .push_bind(tenant.0);
    }
    match scope.reach() {
        access::Reach::System | access::Reach::Tenant(_) => {}
        access::Reach::Groups { groups, .. } => {
            sql.push(" AND u.group_id IN (");
            push_ids(sql, groups);
            sql.push(")");
        }
        access::Reach::User { login, .. } => {
            sql.push(" AND u.login = ").push_bind(login.to_string());
        }
    }
}

/// The condition that somebody took part who is in one of these groups now. Logins are compared as they are written:
/// the index that finds the user minds no upper and lower case, the condition behind it does.
pub(super) fn push_of_groups(
    sql: &mut QueryBuilder<Sqlite>,
    calls: &'static str,
    groups: &[GroupId],
) {
    sql.push(format_args!(
        " AND EXISTS (SELECT 1 FROM participants g CROSS JOIN users m \
         ON m.tenant_id = g.tenant_id AND m.login = g.user_name \
         WHERE g.call_row = {calls}.call_row AND g.user_name = m.login AND m.group_id IN ("
    ));
    push_ids(sql, groups);
    sql.push("))");
}

pub(super) fn push_ids(sql: &mut QueryBuilder<Sqlite>, ids: &[GroupId]) {
    let mut list = sql.separated(", ");
    for id in ids {
        list.push_bind(id.0);
    }
}
