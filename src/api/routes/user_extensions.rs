//! Which extensions users have, as part of what is told of them.

use std::collections::{HashMap, HashSet};

use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::api::installation::HeldExtension;
use crate::api::state::Api;
use crate::base::{TenantId, Timestamp};
use crate::catalog::{User, wall_clock};

/// An extension that a user has, or will have.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = UserExtension)]
pub(super) struct HeldView {
    extension_id: Uuid,
    /// `number`, `range` or `prefix`.
    kind: &'static str,
    /// A number, `first-last`, or a prefix.
    extension: String,
    /// The one number of a range or a prefix that the user has; null: all of the extension.
    number: Option<String>,
    /// The configuration gives it to the user: no allocation changes that.
    pinned: bool,
    /// RFC 3339, UTC; null where it is pinned.
    valid_from: Option<String>,
    /// The first moment at which it does not hold any more; null: until further notice.
    valid_to: Option<String>,
    in_force: bool,
}

impl HeldView {
    fn new(held: &HeldExtension, now: Timestamp) -> HeldView {
        let begun = held.valid_from.is_none_or(|from| from <= now);
        HeldView {
            extension_id: held.id,
            kind: held.kind,
            extension: held.text.clone(),
            number: held.number.clone(),
            pinned: held.valid_from.is_none(),
            valid_from: held.valid_from.map(|at| at.to_string()),
            valid_to: held.valid_to.map(|at| at.to_string()),
            in_force: begun && held.valid_to.is_none_or(|end| now < end),
        }
    }
}

/// The extensions of some users.
pub(super) struct Holdings {
    of_tenant: HashMap<TenantId, HashMap<String, Vec<HeldExtension>>>,
    now: Timestamp,
}

impl Holdings {
    /// Of these users. Without a directory they have none.
    pub(super) fn of<'u>(api: &Api, users: impl IntoIterator<Item = &'u User>) -> Holdings {
        let mut logins: HashMap<TenantId, HashSet<String>> = HashMap::new();
        for user in users {
            let of_tenant = logins.entry(user.tenant).or_default();
            of_tenant.insert(user.login.to_lowercase());
        }
        let installation = api.installation().ok();
        let held = |(tenant, logins): (TenantId, HashSet<String>)| {
            let installation = installation.as_ref()?;
            Some((tenant, installation.held_by(tenant, &logins)))
        };
        Holdings {
            of_tenant: logins.into_iter().filter_map(held).collect(),
            now: wall_clock(),
        }
    }

    /// What the user has now and will have, what is pinned first, then by when it begins. What is over is not told.
    pub(super) fn view(&self, user: &User) -> Vec<HeldView> {
        let of_tenant = self.of_tenant.get(&user.tenant);
        let held = of_tenant.and_then(|of_tenant| of_tenant.get(&user.login.to_lowercase()));
        let held = held.into_iter().flatten();
        held.filter(|held| held.valid_to.is_none_or(|end| end > self.now))
            .map(|held| HeldView::new(held, self.now))
            .collect()
    }
}
