//! What tests do to rows.

use crate::base::{RoleId, TenantId, UserId};
use crate::catalog::Catalog;

impl Catalog {
    async fn run_for_tests(&self, sql: String) {
        sqlx::query(sqlx::AssertSqlSafe(sql))
            .execute(&self.writer)
            .await
            .unwrap();
    }

    pub async fn set_user_column_for_tests(&self, user: UserId, column: &str, value: i64) {
        let id = user.0.simple();
        self.run_for_tests(format!(
            "UPDATE users SET {column} = {value} WHERE id = X'{id}'"
        ))
        .await;
    }

    pub async fn set_user_role_for_tests(&self, user: UserId, role: RoleId) {
        let (id, role) = (user.0.simple(), role.0.simple());
        self.run_for_tests(format!(
            "UPDATE users SET role_id = X'{role}' WHERE id = X'{id}'"
        ))
        .await;
    }

    pub async fn set_tenant_status_for_tests(&self, tenant: TenantId, status: &str) {
        let id = tenant.0.simple();
        self.run_for_tests(format!(
            "UPDATE registered_tenants SET status = '{status}' WHERE id = X'{id}'"
        ))
        .await;
    }

    /// Every session began and was used so many nanoseconds earlier.
    pub async fn age_sessions_for_tests(&self, nanos: i64) {
        self.run_for_tests(format!(
            "UPDATE sessions SET began_at = began_at - {nanos}, used_at = used_at - {nanos}"
        ))
        .await;
    }

    pub async fn age_support_for_tests(&self, nanos: i64) {
        self.run_for_tests(format!(
            "UPDATE support_accesses SET ends_at = ends_at - {nanos}"
        ))
        .await;
    }

    pub async fn forget_step_ups_for_tests(&self) {
        self.run_for_tests("UPDATE sessions SET stepped_up_at = NULL".into())
            .await;
    }

    pub async fn audited_reasons_for_tests(&self, tenant: TenantId) -> Vec<String> {
        sqlx::query_scalar(
            "SELECT reason FROM audit WHERE tenant_id = ? AND reason IS NOT NULL ORDER BY number",
        )
        .bind(tenant.0)
        .fetch_all(&self.readers)
        .await
        .unwrap()
    }
}
