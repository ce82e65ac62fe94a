//! What was recorded, what was not and why, and who may see it.
//!
//! In: finished calls, one [`CallRecord`] for each leg and each tenant that owns it. Out: pages of them, newest first, and
//! what else can be asked about them.
//!
//! Every question takes a [`Scope`](crate::access::Scope), and its answer holds nothing from outside it: what lies
//! outside does not exist. A question without a scope does not compile:
//!
//! ```compile_fail,E0061
//! async fn ask(catalog: &callreel::catalog::Catalog) {
//!     let _ = catalog.calls(&callreel::catalog::CallQuery::default()).await;
//! }
//! ```
//!
//! ```
//! use callreel::{access::Scope, catalog};
//!
//! async fn ask(catalog: &catalog::Catalog, scope: &Scope) -> catalog::Result<catalog::Page> {
//!     catalog.calls(scope, &catalog::CallQuery::default()).await
//! }
//! ```
//!
//! The catalog knows nothing that cannot be found again: recordings have their sidecars, from which [`Rebuild`] makes a
//! new catalog. Only calls without a recording have no other place; a rebuild takes them over from the old catalog.
//!
//! It is an SQLite file in WAL mode, with one connection that writes and several that read.

mod audit;
mod audit_chain;
mod audit_gap;
mod audit_read;
mod change;
mod delivery;
mod disposition;
mod error;
mod home;
mod idempotency;
mod marks;
mod open;
mod people;
mod plan;
mod query;
mod reach;
mod read;
mod rebuild;
mod record;
mod retention;
mod row;
mod sign_in;
mod tenancy;
#[cfg(test)]
pub(crate) mod testing;
mod text;
mod write;

pub use audit::Record as AuditFields;
pub use audit_chain::{Breach, Chain, KnownRecord};
pub use audit_gap::Gap;
pub use audit_read::{AuditEntry, AuditQuery};
pub use change::{Change, now as wall_clock};
pub use delivery::{
    Answers, Attempt, Delivery, DeliveryState, DueDelivery, Maker, Queued, Webhook, WebhookDraft,
};
pub use disposition::Disposition;
pub use error::{Error, Result};
pub use home::{Away, Home};
pub use idempotency::{Asked, KeptAnswer, KeyedRequest};
pub use marks::{
    CallToMark, Category, CategoryDraft, CategoryUse, Deletion, Hold, MAX_NOTES, MAX_SHARES, Marks,
    Note, NoteDraft, Opened, Removal, Share, ShareDraft,
};
pub use open::Catalog;
pub use people::{
    Group, GroupDraft, Listed, Listing, MAX_LISTED, Objection, Person, Profile, RoleDraft, Sight,
    TenantRole, User, UserFilter, UserPolicy,
};
pub use query::{CallQuery, CallState, MAX_PAGE, NumberFilter, Page, Sort};
pub use rebuild::{Rebuild, Rebuilt};
pub use record::{
    CallQuality, CallRecord, Direction, FileRecord, FileRow, InteractionRow, LinkRecord,
    ParticipantRecord, PartyRecord, TenantRow,
};
pub use retention::{DueCall, Expired, Expiring};
pub use tenancy::{
    AllocationDraft, AllocationRow, DirectoryRows, ExtensionDraft, ExtensionRow, LoginPolicy,
    MirroredTenant, PlanRow, RegisteredTenant, Taken, TenantDraft, TenantStatus, Usage,
    extension_id, is_slug, slug_of, timezone_named,
};

pub use sign_in::{
    EarlierPassword, Identity, NewSession, ServiceAccount, ServiceAccountDraft, Session,
    SupportAccess, SupportDraft, Token, TokenDraft, TokenInUse, TotpKept, UserDraft,
};

#[cfg(test)]
mod tests {
    use super::testing::call;
    use super::*;
    use crate::access::Scope;

    /// The daemon and the API run these on threads of a pool.
    #[test]
    fn every_future_can_move_between_threads() {
        fn send<T: Send>(_: T) {}
        #[allow(dead_code, reason = "it is only compiled")]
        async fn opened(catalog: &Catalog, rebuild: &mut Rebuild, scope: &Scope) {
            send(Catalog::open(""));
            send(catalog.check());
            send(catalog.record(&[call(1, 1)]));
            send(catalog.remove_missing(scope, &[]));
            send(catalog.calls(scope, &CallQuery::default()));
            send(catalog.call(scope, call(1, 1).id));
            send(catalog.files(scope, None, 1));
            send(catalog.dispositions(scope, None, None));
            send(catalog.tenants(scope));
            send(catalog.interaction(scope, crate::base::InteractionId(uuid::Uuid::nil())));
            send(Rebuild::begin(""));
            send(rebuild.record(&[]));
            send(rebuild.finish());
        }
    }
}
