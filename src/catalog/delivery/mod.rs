//! Webhooks and what is told through them.

mod makers;
mod queue;
mod sealing;
mod webhooks;

pub use makers::Answers;
pub use queue::{Attempt, Delivery, DeliveryState, DueDelivery, Queued};
pub use webhooks::{Maker, Webhook, WebhookDraft};
