//! Webhooks and what is told through them.

mod queue;
mod sealing;
mod webhooks;

pub use queue::{Attempt, Delivery, DeliveryState, DueDelivery, Queued};
pub use webhooks::{Webhook, WebhookDraft};
