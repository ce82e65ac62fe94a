//! How much one tenant's people can make: what a tenant writes lies in everybody's catalog.

use crate::base::TenantId;
use crate::catalog::{Change, Error, Result};

/// What a tenant has a bounded number of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::catalog) enum Kept {
    /// With those who were removed: a login is nobody else's afterwards.
    Users,
    Groups,
    Roles,
    Categories,
}

impl Kept {
    /// How many, what they are called, and what counts them.
    const fn bound(self) -> (i64, &'static str, &'static str) {
        match self {
            Kept::Users => (
                100_000,
                "users",
                "SELECT count(*) FROM (SELECT 1 FROM users WHERE tenant_id = ? LIMIT ?)",
            ),
            Kept::Groups => (
                5_000,
                "groups",
                "SELECT count(*) FROM (SELECT 1 FROM groups WHERE tenant_id = ? LIMIT ?)",
            ),
            Kept::Roles => (
                1_000,
                "roles",
                "SELECT count(*) FROM (SELECT 1 FROM roles WHERE tenant_id = ? LIMIT ?)",
            ),
            Kept::Categories => (
                1_000,
                "categories",
                "SELECT count(*) FROM (SELECT 1 FROM call_categories WHERE tenant_id = ? LIMIT ?)",
            ),
        }
    }
}

impl Change {
    /// # Errors
    ///
    /// [`Error::TooMany`] when the tenant has as many as it can have.
    pub(in crate::catalog) async fn needs_room(
        &mut self,
        tenant: TenantId,
        kept: Kept,
    ) -> Result<()> {
        let (most, what, count) = kept.bound();
        let failed = self.failed("count what a tenant has");
        let count: sqlx::Result<i64> = sqlx::query_scalar(count)
            .bind(tenant.0)
            .bind(most)
            .fetch_one(self.connection())
            .await;
        match count.map_err(failed)? < most {
            true => Ok(()),
            false => Err(Error::TooMany { what }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::testing::{in_memory, tenant};
    use crate::catalog::{CategoryDraft, GroupDraft};

    #[tokio::test]
    async fn a_tenant_makes_so_much_and_no_more_and_others_go_on() {
        let catalog = in_memory().await;
        for (number, slug) in [(1, "one"), (2, "two")] {
            catalog.register_for_tests(tenant(number), slug).await;
        }
        for statement in [
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000) INSERT INTO groups \
             (id, tenant_id, name, description, created_at, changed_at) SELECT randomblob(16), ?, i, '', 0, 0 FROM n",
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000) INSERT INTO call_categories \
             (id, tenant_id, name, description, colour, created_at, version) SELECT randomblob(16), ?, i, '', '', 0, 1 FROM n",
        ] {
            sqlx::query(statement)
                .bind(tenant(1).0)
                .execute(&catalog.writer)
                .await
                .unwrap();
        }
        let mut change = catalog.change().await.unwrap();
        let group = GroupDraft {
            name: "more".into(),
            description: String::new(),
        };
        let category = CategoryDraft {
            name: "more".into(),
            description: String::new(),
            colour: String::new(),
        };
        let groups = change.create_group(tenant(1), &group).await;
        assert!(matches!(groups, Err(Error::TooMany { what: "groups" })));
        let categories = change.create_call_category(tenant(1), &category).await;
        assert!(matches!(
            categories,
            Err(Error::TooMany { what: "categories" })
        ));
        change.create_group(tenant(2), &group).await.unwrap();
        for kept in [Kept::Users, Kept::Roles] {
            change.needs_room(tenant(1), kept).await.unwrap();
        }
    }
}
