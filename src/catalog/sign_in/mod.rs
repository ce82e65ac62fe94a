//! Who signs in, and what they hold: passwords, authenticators, sessions, tokens, and support in other tenants.
//!
//! What is asked here is asked before there is a scope: by a login that was typed, or by the hash of a token. What is asked
//! on behalf of somebody who is known takes a [`Scope`](crate::access::Scope), as everywhere.

mod credentials;
mod identity;
mod operator;
mod resets;
mod rules;
mod services;
mod sessions;
mod support;
#[cfg(test)]
mod testing;

pub use credentials::EarlierPassword;
pub use identity::{Identity, TotpKept};
pub use operator::UserDraft;
pub use services::{ServiceAccount, ServiceAccountDraft, Token, TokenDraft, TokenInUse};
pub use sessions::{NewSession, Session};
pub use support::{SupportAccess, SupportDraft};
