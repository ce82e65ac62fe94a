//! Who answers for a webhook: it is told what its maker may see, and while they may.

use uuid::Uuid;

use crate::access::{Operation, Resource};
use crate::base::TenantId;
use crate::catalog::{Catalog, Result};

/// Whether there is somebody who answers for a webhook at this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answers {
    /// It was written before its maker was kept.
    Nobody,
    /// The maker is gone, or does not see all calls of the tenant any more.
    NoLonger,
    /// The maker sees all calls of the tenant; those of users whose calls are confidential only where this says so.
    Yes { confidential: bool },
}

impl Answers {
    /// Whether it may be told of a call.
    pub fn may_tell(self, confidential: bool) -> bool {
        match self {
            Answers::Nobody | Answers::NoLonger => false,
            Answers::Yes { confidential: sees } => sees || !confidential,
        }
    }

    /// Why nothing is told.
    pub fn pause(self) -> Option<&'static str> {
        match self {
            Answers::Nobody => Some(
                "nobody is known who answers for it: it goes on when somebody who sees all calls of the tenant writes it anew",
            ),
            Answers::NoLonger => Some(
                "who made or last changed it does not see all calls of the tenant any more: it goes on when somebody who does \
                 writes it anew",
            ),
            Answers::Yes { .. } => None,
        }
    }
}

impl Catalog {
    /// Whether `maker` may have a webhook of the tenant told of its calls now.
    pub async fn who_answers(&self, tenant: TenantId, maker: Option<Uuid>) -> Result<Answers> {
        let Some(maker) = maker else {
            return Ok(Answers::Nobody);
        };
        let principal = self.principal_of_maker(maker).await?;
        let seeing = principal.filter(|principal| principal.sees_all_calls_of(tenant));
        Ok(seeing.map_or(Answers::NoLonger, |principal| Answers::Yes {
            confidential: principal.may(Resource::Calls, Operation::ViewConfidential),
        }))
    }
}
