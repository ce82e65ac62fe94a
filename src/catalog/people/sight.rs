//! Whose calls a scope reaches, for calls that are not in the catalog yet.

use std::collections::{HashMap, HashSet};

use sqlx::{QueryBuilder, Row, Sqlite};

use crate::access::{Reach, Scope, login_key};
use crate::base::TenantId;
use crate::catalog::{Catalog, Error, Result};

/// A scope with what the catalog says about its people at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sight {
    scope: Scope,
    /// Logins of the users in the scope's groups, where it reaches groups.
    members: HashSet<String>,
    /// Logins of those whose calls are kept from this scope.
    hidden: HashMap<TenantId, HashSet<String>>,
}

impl Catalog {
    /// What of the calls in progress can be seen by `scope`.
    pub async fn sight(&self, scope: &Scope) -> Result<Sight> {
        let failed = |error| Error::from_sqlx("look up users", &self.place, error);
        let mut sight = Sight {
            scope: scope.clone(),
            members: HashSet::new(),
            hidden: HashMap::new(),
        };
        if let Reach::Groups { tenant, groups } = scope.reach() {
            let mut sql = QueryBuilder::<Sqlite>::new(
                "SELECT login FROM users WHERE removed_at IS NULL AND tenant_id = ",
            );
            sql.push_bind(tenant.0).push(" AND group_id IN (");
            let mut list = sql.separated(", ");
            for group in groups.iter() {
                list.push_bind(group.0);
            }
            sql.push(")");
            let rows = sql.build().fetch_all(&self.readers).await.map_err(failed)?;
            for row in rows {
                let login: String = row.try_get(0).map_err(failed)?;
                sight.members.insert(login_key(&login));
            }
        }
        if !scope.sees_confidential() {
            let mut sql = QueryBuilder::<Sqlite>::new(
                "SELECT tenant_id, login FROM users WHERE confidential = 1",
            );
            if let Some(tenant) = scope.only_tenant() {
                sql.push(" AND tenant_id = ").push_bind(tenant.0);
            }
            for row in sql.build().fetch_all(&self.readers).await.map_err(failed)? {
                let tenant = TenantId(row.try_get(0).map_err(failed)?);
                let login: String = row.try_get(1).map_err(failed)?;
                let hidden = sight.hidden.entry(tenant).or_default();
                hidden.insert(login_key(&login));
            }
        }
        Ok(sight)
    }

    /// Whether any of these users' calls are confidential.
    pub async fn any_confidential(&self, tenant: TenantId, logins: &[&str]) -> Result<bool> {
        if logins.is_empty() {
            return Ok(false);
        }
        let mut sql = QueryBuilder::<Sqlite>::new(
            "SELECT EXISTS (SELECT 1 FROM users WHERE confidential = 1 AND tenant_id = ",
        );
        sql.push_bind(tenant.0).push(" AND (login IN (");
        let mut list = sql.separated(", ");
        for login in logins {
            list.push_bind(*login);
        }
        sql.push(") OR login_key IN (");
        let mut list = sql.separated(", ");
        for login in logins {
            list.push_bind(login_key(login));
        }
        sql.push(")))");
        sql.build_query_scalar()
            .fetch_one(&self.readers)
            .await
            .map_err(|error| Error::from_sqlx("look up users", &self.place, error))
    }
}

impl Sight {
    /// Whether every call of `tenant` can be seen, also one that is yet to come.
    pub fn sees_all_of(&self, tenant: TenantId) -> bool {
        let reaches = matches!(self.scope.reach(), Reach::System | Reach::Tenant(_));
        reaches && self.scope.covers(tenant) && !self.hidden.contains_key(&tenant)
    }

    /// Whether a call of `tenant` with these of the tenant's users in it can be seen.
    pub fn sees<'l>(&self, tenant: TenantId, logins: impl Iterator<Item = &'l str>) -> bool {
        if !self.scope.covers(tenant) {
            return false;
        }
        let logins: Vec<String> = logins.map(login_key).collect();
        let reached = match self.scope.reach() {
            // One's own calls are never kept from oneself.
            Reach::User { login, .. } => {
                return logins.contains(&login_key(login));
            }
            Reach::Groups { .. } => logins.iter().any(|login| self.members.contains(login)),
            Reach::System | Reach::Tenant(_) => true,
        };
        let own = self.scope.own_login(tenant).map(login_key);
        let took_part = own.is_some_and(|own| logins.contains(&own));
        let hidden = self.hidden.get(&tenant);
        let is_hidden = |login| hidden.is_some_and(|hidden| hidden.contains(login));
        reached && (took_part || !logins.iter().any(is_hidden))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use uuid::Uuid;

    use super::*;
    use crate::access::{Actor, Preset, Principal, Role};
    use crate::base::{GroupId, UserId};
    use crate::catalog::testing::{in_memory, tenant};

    const SALES: GroupId = GroupId(Uuid::from_u128(77));

    async fn world() -> Catalog {
        let catalog = in_memory().await;
        catalog.register_for_tests(tenant(1), "one").await;
        catalog.register_for_tests(tenant(2), "two").await;
        sqlx::query("INSERT INTO groups (id, tenant_id, name, description, created_at, changed_at) VALUES (?, ?, 's', '', 0, 0)")
            .bind(SALES.0)
            .bind(tenant(1).0)
            .execute(&catalog.writer)
            .await
            .unwrap();
        for (number, of, login, group, confidential) in [
            (1u128, 1, "Ann", Some(SALES.0), 0),
            (2, 1, "bob", None, 0),
            (3, 1, "chief", Some(SALES.0), 1),
            (4, 2, "bob", None, 1),
        ] {
            sqlx::query(
                "INSERT INTO users (id, tenant_id, login, name, group_id, role_id, confidential, created_at, changed_at) \
                 VALUES (?, ?, ?, '', ?, ?, ?, 0, 0)",
            )
            .bind(Uuid::from_u128(number))
            .bind(tenant(of).0)
            .bind(login)
            .bind(group)
            .bind(Uuid::nil())
            .bind(confidential)
            .execute(&catalog.writer)
            .await
            .unwrap();
        }
        catalog
    }

    fn scope(of: u128, role: &Role) -> Scope {
        let actor = Actor::User {
            id: UserId(Uuid::from_u128(1)),
            login: "ann".into(),
        };
        let groups = Arc::new([SALES]);
        Principal::new(actor, tenant(of), "ann".into(), role, groups).scope()
    }

    #[tokio::test]
    async fn calls_in_progress_are_seen_by_who_will_see_them_later() {
        let catalog = world().await;
        let sees = async |scope: &Scope, of, logins: &[&str]| {
            let sight = catalog.sight(scope).await.unwrap();
            sight.sees(tenant(of), logins.iter().copied())
        };
        let agent = scope(1, &Preset::Agent.role(tenant(1)));
        assert!(sees(&agent, 1, &["bob", "ANN"]).await);
        assert!(!sees(&agent, 1, &["bob"]).await && !sees(&agent, 1, &[]).await);
        assert!(
            !sees(&agent, 2, &["ann"]).await,
            "a namesake in another tenant"
        );
        let supervisor = scope(1, &Preset::Supervisor.role(tenant(1)));
        assert!(sees(&supervisor, 1, &["ann"]).await);
        assert!(!sees(&supervisor, 1, &["bob"]).await && !sees(&supervisor, 1, &[]).await);
        assert!(!sees(&supervisor, 1, &["chief"]).await, "confidential");
        assert!(sees(&supervisor, 1, &["Ann", "chief"]).await, "their own");
        let reader = scope(1, &Preset::Reader.role(tenant(1)));
        assert!(sees(&reader, 1, &["bob"]).await && sees(&reader, 1, &[]).await);
        assert!(!sees(&reader, 1, &["Chief"]).await && !sees(&reader, 2, &[]).await);
        let root = Scope::root();
        assert!(sees(&root, 1, &["chief"]).await && sees(&root, 2, &["bob"]).await);
        assert!(
            catalog
                .any_confidential(tenant(1), &["bob", "CHIEF"])
                .await
                .unwrap()
        );
        assert!(!catalog.any_confidential(tenant(1), &["bob"]).await.unwrap());
        sqlx::query(
            "UPDATE users SET login = 'müller', login_key = 'müller' WHERE login = 'chief'",
        )
        .execute(&catalog.writer)
        .await
        .unwrap();
        assert!(!sees(&reader, 1, &["MÜLLER"]).await && !sees(&supervisor, 1, &["Müller"]).await);
        let pinned = catalog.any_confidential(tenant(1), &["MÜLLER"]).await;
        assert!(pinned.unwrap());
        assert!(!catalog.any_confidential(tenant(1), &[]).await.unwrap());
    }
}
