//! Users are made, changed and removed: by whom, and within which limits.

use super::objection::Objection;
use super::room::Kept;
use super::users::{Profile, User};
use crate::access::{AccessLevel, Lacking, Principal, Reach, Role, login_key};
use crate::base::{GroupId, TenantId, UserId};
use crate::catalog::change::new_id;
use crate::catalog::{Change, Error, Result};

impl Change {
    /// A new user of a tenant that is there and in reach of `by`, who may edit users.
    ///
    /// # Errors
    ///
    /// [`Error::Taken`] when the tenant has or had a user of this login; [`Error::Objection`] when the user would have what
    /// `by` does not hold, or would lie outside its reach.
    pub async fn create_user(
        &mut self,
        by: &Principal,
        tenant: TenantId,
        login: &str,
        profile: &Profile,
    ) -> Result<User> {
        if let Reach::User { .. } = by.scope().reach() {
            return Err(Objection::from(Lacking::Level(AccessLevel::ManagedGroups)).into());
        }
        let role = self.role_for(tenant, profile).await?;
        may_have_power_over(by, &role, &profile.managed_groups)?;
        if profile.confidential {
            may_stand_for(by, tenant, login)?;
        }
        self.group_for(by, tenant, profile.group).await?;
        self.managed_by(by, tenant, &profile.managed_groups).await?;
        let id = UserId(new_id());
        self.insert_user(id, tenant, login, profile).await?;
        self.write_managed_groups(id, &profile.managed_groups)
            .await?;
        Ok(User {
            id,
            tenant,
            login: login.into(),
            profile: profile.clone(),
            role,
            version: 1,
            created_at: self.at,
            changed_at: self.at,
        })
    }

    /// Writes the user as `profile` has it.
    ///
    /// # Errors
    ///
    /// [`Error::Objection`] when the user has or would have what `by` does not hold, would lie outside its reach, or was the
    /// tenant's last administrator.
    pub async fn edit_user(
        &mut self,
        by: &Principal,
        user: &User,
        profile: &Profile,
    ) -> Result<User> {
        let before = &user.profile;
        let role = self.role_for(user.tenant, profile).await?;
        may_have_power_over(by, &user.role, &before.managed_groups)?;
        may_have_power_over(by, &role, &profile.managed_groups)?;
        if is_self(by, user) {
            may_change_oneself(by, before, profile)?;
        }
        // A letter to another address would let somebody else in.
        let takes_over = before.confidential && profile.email != before.email;
        if profile.confidential != before.confidential || takes_over {
            may_stand_for(by, user.tenant, &user.login)?;
        }
        if profile.group != before.group {
            self.group_for(by, user.tenant, profile.group).await?;
        }
        let given = without(&profile.managed_groups, &before.managed_groups);
        self.managed_by(by, user.tenant, &given).await?;
        let taken = without(&before.managed_groups, &profile.managed_groups);
        self.managed_by(by, user.tenant, &taken).await?;
        let administrators = self.administrators(user.tenant).await?;
        self.update_user(user.id, profile).await?;
        if profile.email != before.email {
            self.end_resets(user.id).await?;
        }
        self.write_managed_groups(user.id, &profile.managed_groups)
            .await?;
        self.keep_an_administrator(by, user.tenant, administrators)
            .await?;
        Ok(User {
            profile: profile.clone(),
            role,
            version: user.version + 1,
            changed_at: self.at,
            ..user.clone()
        })
    }

    /// Removes the person and leaves the login, which nobody is given again: calls name it. That calls are confidential
    /// stays too.
    ///
    /// # Errors
    ///
    /// [`Error::Objection`] when the user holds more than `by`, or is the tenant's last administrator.
    pub async fn remove_user(&mut self, by: &Principal, user: &User) -> Result<()> {
        may_have_power_over(by, &user.role, &user.profile.managed_groups)?;
        // Their numbers are free then, for somebody whose calls are not.
        if user.profile.confidential {
            may_stand_for(by, user.tenant, &user.login)?;
        }
        let administrators = self.administrators(user.tenant).await?;
        self.write_managed_groups(user.id, &[]).await?;
        let (at, failed) = (self.at.as_nanos(), self.failed("remove a user"));
        sqlx::query(
            "UPDATE users SET removed_at = ?, changed_at = ?, version = version + 1, active = 0, name = '', email = NULL, \
             group_id = NULL, valid_until = NULL, must_change_password = 0, recording_policy = NULL WHERE id = ?",
        )
        .bind(at)
        .bind(at)
        .bind(user.id.0)
        .execute(self.connection())
        .await
        .map_err(failed)?;
        self.forget_credentials(user.id).await?;
        self.keep_an_administrator(by, user.tenant, administrators)
            .await
    }

    /// Passwords, authenticator and codes, and tokens of programs that the user answered for: whoever answers for them later
    /// gives out others. Sessions end by themselves.
    async fn forget_credentials(&mut self, user: UserId) -> Result<()> {
        for statement in [
            "DELETE FROM credentials WHERE user_id = ?",
            "DELETE FROM earlier_passwords WHERE user_id = ?",
            "DELETE FROM recovery_codes WHERE user_id = ?",
        ] {
            let failed = self.failed("remove a user's password");
            let done = sqlx::query(statement)
                .bind(user.0)
                .execute(self.connection())
                .await;
            done.map_err(failed)?;
        }
        let (at, failed) = (self.at.as_nanos(), self.failed("revoke a user's tokens"));
        sqlx::query(
            "UPDATE tokens SET revoked_at = ? WHERE revoked_at IS NULL AND account_id IN \
             (SELECT id FROM service_accounts WHERE responsible_id = ?)",
        )
        .bind(at)
        .bind(user.0)
        .execute(self.connection())
        .await
        .map(|_| ())
        .map_err(failed)
    }

    async fn role_for(&mut self, tenant: TenantId, profile: &Profile) -> Result<Role> {
        let role = self.role_of_tenant(tenant, profile.role).await?;
        let missing = Objection::NoSuch {
            field: "role_id",
            what: "role",
        };
        role.ok_or_else(|| missing.into())
    }

    /// A group of the tenant and in reach of `by`. Who looks after groups puts nobody outside them.
    async fn group_for(
        &mut self,
        by: &Principal,
        tenant: TenantId,
        group: Option<GroupId>,
    ) -> Result<()> {
        match (group, by.scope().reach()) {
            (Some(group), _) => self.group_in_reach(by, tenant, group, "group_id").await,
            (None, Reach::Groups { .. }) => Err(no_group("group_id")),
            (None, _) => Ok(()),
        }
    }

    async fn managed_by(
        &mut self,
        by: &Principal,
        tenant: TenantId,
        groups: &[GroupId],
    ) -> Result<()> {
        for group in groups {
            self.group_in_reach(by, tenant, *group, "managed_groups")
                .await?;
        }
        Ok(())
    }

    async fn group_in_reach(
        &mut self,
        by: &Principal,
        tenant: TenantId,
        group: GroupId,
        field: &'static str,
    ) -> Result<()> {
        let found = self.group(&by.scope(), group).await?;
        match found.is_some_and(|group| group.tenant == tenant) {
            true => Ok(()),
            false => Err(no_group(field)),
        }
    }

    async fn insert_user(
        &mut self,
        id: UserId,
        tenant: TenantId,
        login: &str,
        profile: &Profile,
    ) -> Result<()> {
        self.needs_room(tenant, Kept::Users).await?;
        let (at, failed) = (self.at.as_nanos(), self.failed("create a user"));
        let done = sqlx::query(
            "INSERT INTO users (id, tenant_id, login, login_key, name, email, group_id, role_id, active, valid_until, \
             must_change_password, confidential, recording_policy, created_at, changed_at) \
             VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .bind(id.0)
        .bind(tenant.0)
        .bind(login)
        .bind(login_key(login))
        .bind(&profile.name)
        .bind(&profile.email)
        .bind(profile.group.map(|group| group.0))
        .bind(profile.role.0)
        .bind(profile.active)
        .bind(profile.valid_until.map(|until| until.as_nanos()))
        .bind(profile.must_change_password)
        .bind(profile.confidential)
        .bind(policy(profile))
        .bind(at)
        .bind(at)
        .execute(self.connection())
        .await;
        done.map(|_| ())
            .map_err(|error| Error::taken("login", error, failed))
    }

    async fn update_user(&mut self, id: UserId, profile: &Profile) -> Result<()> {
        let (at, failed) = (self.at.as_nanos(), self.failed("edit a user"));
        sqlx::query(
            "UPDATE users SET name = ?, email = ?, group_id = ?, role_id = ?, active = ?, valid_until = ?, \
             must_change_password = ?, confidential = ?, recording_policy = ?, version = version + 1, changed_at = ? \
             WHERE id = ?",
        )
        .bind(&profile.name)
        .bind(&profile.email)
        .bind(profile.group.map(|group| group.0))
        .bind(profile.role.0)
        .bind(profile.active)
        .bind(profile.valid_until.map(|until| until.as_nanos()))
        .bind(profile.must_change_password)
        .bind(profile.confidential)
        .bind(policy(profile))
        .bind(at)
        .bind(id.0)
        .execute(self.connection())
        .await
        .map(|_| ())
        .map_err(failed)
    }

    async fn write_managed_groups(&mut self, user: UserId, groups: &[GroupId]) -> Result<()> {
        let failed = self.failed("write the groups that a user looks after");
        let connection = self.connection();
        let written = async {
            sqlx::query("DELETE FROM managed_groups WHERE user_id = ?")
                .bind(user.0)
                .execute(&mut *connection)
                .await?;
            for group in groups {
                sqlx::query(
                    "INSERT OR IGNORE INTO managed_groups (user_id, group_id) VALUES (?, ?)",
                )
                .bind(user.0)
                .bind(group.0)
                .execute(&mut *connection)
                .await?;
            }
            Ok(())
        };
        written.await.map_err(failed)
    }
}

/// Nobody makes, changes or removes a user who may do more or reaches further than they do.
fn may_have_power_over(
    by: &Principal,
    role: &Role,
    managed: &[GroupId],
) -> std::result::Result<(), Objection> {
    match by.lacks_over(role.access_level, &role.permissions, managed) {
        Some(lacking) => Err(lacking.into()),
        None => Ok(()),
    }
}

/// Who may not see confidential calls neither says whose are, nor gets to be such a user.
fn may_stand_for(
    by: &Principal,
    tenant: TenantId,
    login: &str,
) -> std::result::Result<(), Objection> {
    match by.lacks_to_stand_for(tenant, login) {
        Some(lacking) => Err(lacking.into()),
        None => Ok(()),
    }
}

/// The user, or a program that the user answers for.
fn is_self(by: &Principal, user: &User) -> bool {
    by.home() == user.tenant && by.login().eq_ignore_ascii_case(&user.login)
}

fn may_change_oneself(
    by: &Principal,
    before: &Profile,
    after: &Profile,
) -> std::result::Result<(), Objection> {
    if let Reach::User { .. } = by.scope().reach() {
        let allowed = Profile {
            name: after.name.clone(),
            email: after.email.clone(),
            ..before.clone()
        };
        if *after != allowed {
            return Err(Objection::OwnProfile);
        }
    }
    let extends = before
        .valid_until
        .is_some_and(|ends| after.valid_until.is_none_or(|later| later > ends));
    match extends {
        true => Err(Objection::OwnTime),
        false => Ok(()),
    }
}

fn no_group(field: &'static str) -> Error {
    let what = "group";
    Objection::NoSuch { field, what }.into()
}

/// Those of `groups` that are not in `others`.
fn without(groups: &[GroupId], others: &[GroupId]) -> Vec<GroupId> {
    let missing = groups.iter().filter(|group| !others.contains(group));
    missing.copied().collect()
}

fn policy(profile: &Profile) -> Option<String> {
    let text = |policy| serde_json::to_string(&policy);
    // What a serializer of constants cannot fail with.
    profile
        .recording_policy
        .and_then(|policy| text(policy).ok())
}
