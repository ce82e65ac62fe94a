//! OpenAPI schemas of what other rooms define.

use std::borrow::Cow;

use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{
    AdditionalProperties, ArrayBuilder, ObjectBuilder, OneOfBuilder, Schema, Type,
};
use utoipa::{PartialSchema, ToSchema};

use crate::access::{AccessLevel, Resource};

/// [`Permissions`](crate::access::Permissions): resources to lists of operations.
pub struct PermissionsSchema;

impl PartialSchema for PermissionsSchema {
    fn schema() -> RefOr<Schema> {
        let mut object = ObjectBuilder::new()
            .description(Some(
                "Resources, each with a list of operations. `GET /api/v1/permissions` describes them.",
            ))
            .additional_properties(Some(AdditionalProperties::FreeForm(false)));
        for resource in Resource::ALL {
            let names = resource.operations().iter().map(|one| one.name());
            let operation = ObjectBuilder::new()
                .schema_type(Type::String)
                .enum_values(Some(names));
            let list = ArrayBuilder::new().items(operation).unique_items(true);
            object = object.property(resource.name(), list);
        }
        object.into()
    }
}

impl ToSchema for PermissionsSchema {
    fn name() -> Cow<'static, str> {
        "Permissions".into()
    }
}

/// [`AccessLevel`], by name.
pub struct AccessLevelSchema;

impl PartialSchema for AccessLevelSchema {
    fn schema() -> RefOr<Schema> {
        ObjectBuilder::new()
            .schema_type(Type::String)
            .description(Some(
                "How far a role reaches: everything, all resources (inside a tenant: the tenant's), the groups that the \
                 user looks after, or the user's own calls.",
            ))
            .enum_values(Some(AccessLevel::ALL.map(AccessLevel::name)))
            .into()
    }
}

impl ToSchema for AccessLevelSchema {
    fn name() -> Cow<'static, str> {
        "AccessLevel".into()
    }
}

/// [`UserPolicy`](crate::catalog::UserPolicy): a word, or a share of calls.
pub struct UserPolicySchema;

impl PartialSchema for UserPolicySchema {
    fn schema() -> RefOr<Schema> {
        let word = ObjectBuilder::new()
            .schema_type(Type::String)
            .enum_values(Some(["all", "none", "on-demand"]));
        let percent = ObjectBuilder::new()
            .schema_type(Type::Integer)
            .minimum(Some(1))
            .maximum(Some(100));
        let sample = ObjectBuilder::new()
            .property("sample", percent)
            .required("sample")
            .additional_properties(Some(AdditionalProperties::FreeForm(false)));
        OneOfBuilder::new()
            .description(Some(
                "Which calls of a user are recorded. `{\"sample\": 25}`: 25 in a hundred.",
            ))
            .item(word)
            .item(sample)
            .into()
    }
}

impl ToSchema for UserPolicySchema {
    fn name() -> Cow<'static, str> {
        "RecordingPolicy".into()
    }
}
