//! OpenAPI schemas of texts that are one of a few words, and of fields that only say what a text looks like.

use std::borrow::Cow;

use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, OneOfBuilder, Schema, Type};
use utoipa::openapi::{KnownFormat, SchemaFormat};
use utoipa::{PartialSchema, ToSchema};

use super::feed::EventKind;
use crate::access::Feature;

/// A type that stands for a text in the document only.
macro_rules! words {
    ($($name:ident: $words:expr;)*) => {$(
        pub struct $name;

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                let text = ObjectBuilder::new().schema_type(Type::String);
                text.enum_values(Some($words)).into()
            }
        }

        impl ToSchema for $name {
            fn name() -> Cow<'static, str> {
                stringify!($name).into()
            }
        }
    )*};
}

words! {
    CallDirection: ["inbound", "outbound", "internal"];
    CallStanding: ["recorded", "none", "held", "pinned", "deleted"];
    CallOrder: ["-started_at", "started_at", "-length", "length", "-mos", "mos"];
    ExportFile: ["csv", "jsonl"];
    ActiveState: ["ringing", "talking", "held"];
    TenantStanding: ["active", "suspended"];
    EventName: EventKind::ALL.map(EventKind::name);
    FeatureName: Feature::ALL.map(Feature::name);
}

/// One event of a stream, as the standard of server-sent events names its parts.
pub struct StreamedEvent;

impl PartialSchema for StreamedEvent {
    fn schema() -> RefOr<Schema> {
        let names = EventKind::ALL.map(EventKind::name).into_iter();
        let text = || ObjectBuilder::new().schema_type(Type::String);
        ObjectBuilder::new()
            .property("event", text().enum_values(Some(names.chain(["reset"]))))
            .property(
                "id",
                text().description(Some("To be given back as `Last-Event-ID`.")),
            )
            .property("retry", ObjectBuilder::new().schema_type(Type::Integer))
            .property(
                "data",
                text()
                    .content_media_type("application/json")
                    .description(Some(
                        "A `CallEventView`; of `reset` an object with the `reason`.",
                    )),
            )
            .into()
    }
}

impl ToSchema for StreamedEvent {
    fn name() -> Cow<'static, str> {
        "StreamedEvent".into()
    }
}

/// Who has to have an authenticator.
pub fn totp_rule() -> Schema {
    let word = ObjectBuilder::new()
        .schema_type(Type::String)
        .enum_values(Some(["nobody", "everybody"]));
    let id = ObjectBuilder::new()
        .schema_type(Type::String)
        .format(Some(SchemaFormat::KnownFormat(KnownFormat::Uuid)));
    let some = ObjectBuilder::new()
        .property("roles", ArrayBuilder::new().items(id).max_items(Some(100)))
        .required("roles");
    OneOfBuilder::new()
        .description(Some(
            "Who has to have an authenticator: `\"nobody\"`, `\"everybody\"` or `{\"roles\": [ids]}`.",
        ))
        .item(word)
        .item(some)
        .into()
}
