//! `/sign-in-rules`: what a tenant asks of who signs in.

use axum::extract::State;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use crate::access::{AccessLevel, Operation, PasswordPolicy, Resource, SignInRules, TotpRequired};
use crate::api::caller::Caller;
use crate::api::fields;
use crate::api::problem::{Problem, Result};
use crate::api::request::{Body, IfMatch, Parameters, Versioned};
use crate::api::state::Api;
use crate::api::words;
use crate::base::TenantId;

pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(show, edit))
}

/// What a tenant asks of who signs in.
#[derive(serde::Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[schema(as = SignInRules)]
struct RulesBody {
    #[serde(deserialize_with = "fields::object")]
    password: PolicyBody,
    /// Who has to have an authenticator: `"nobody"`, `"everybody"` or `{"roles": [ids]}`.
    #[schema(schema_with = words::totp_rule)]
    totp: TotpRequired,
    /// Never longer than the configuration says.
    #[schema(minimum = 1, maximum = 1440)]
    session_idle_minutes: Option<u16>,
    #[schema(minimum = 1, maximum = 720)]
    session_hours: Option<u16>,
}

/// What a tenant asks of a password.
#[derive(serde::Serialize, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
#[schema(as = PasswordPolicy)]
struct PolicyBody {
    #[schema(minimum = 8, maximum = 128)]
    min_length: u8,
    /// How hard to guess, by zxcvbn's estimate.
    #[schema(minimum = 0, maximum = 4)]
    min_strength: u8,
    /// How many earlier passwords may not come back.
    #[schema(minimum = 0, maximum = 24)]
    history: u8,
    /// Days until a password has to be changed; never when absent.
    #[schema(minimum = 1, maximum = 3650)]
    max_age_days: Option<u16>,
    /// Words that no password may hold.
    #[schema(max_items = 100)]
    forbidden: Vec<String>,
}

impl Default for RulesBody {
    fn default() -> Self {
        RulesBody::of(SignInRules::default())
    }
}

impl Default for PolicyBody {
    fn default() -> Self {
        RulesBody::default().password
    }
}

impl RulesBody {
    fn of(rules: SignInRules) -> RulesBody {
        let PasswordPolicy {
            min_length,
            min_strength,
            history,
            max_age_days,
            forbidden,
        } = rules.password;
        RulesBody {
            password: PolicyBody {
                min_length,
                min_strength,
                history,
                max_age_days,
                forbidden,
            },
            totp: rules.totp,
            session_idle_minutes: rules.session_idle_minutes,
            session_hours: rules.session_hours,
        }
    }

    fn rules(self) -> Result<SignInRules> {
        let policy = self.password;
        let rules = SignInRules {
            password: PasswordPolicy {
                min_length: policy.min_length,
                min_strength: policy.min_strength,
                history: policy.history,
                max_age_days: policy.max_age_days,
                forbidden: policy.forbidden,
            },
            totp: self.totp,
            session_idle_minutes: self.session_idle_minutes,
            session_hours: self.session_hours,
        };
        let wrong = |(field, why): (String, String)| Problem::invalid(field, why);
        rules.check().map_err(wrong)?;
        Ok(rules)
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct TenantParameter {
    /// The caller's own when absent.
    tenant_id: Option<Uuid>,
}

/// The tenant that is meant, if the caller reaches the whole of it. Whoever looks after groups only neither sees nor changes
/// what the tenant asks for.
fn tenant_of(caller: &Caller, wanted: Option<Uuid>) -> Result<TenantId> {
    let tenant = wanted.map_or(caller.principal.tenant(), TenantId);
    let whole = caller.principal.level().reaches(AccessLevel::System);
    match whole && caller.scope().covers(tenant) {
        true => Ok(tenant),
        false => Err(Problem::not_found()),
    }
}

/// The rules of a tenant, for who reaches the whole of it: to who looks after groups of it only, there are none (404).
#[utoipa::path(get, path = "/sign-in-rules", tag = "signing in", operation_id = "show_sign_in_rules", params(TenantParameter),
    responses((status = 200, body = RulesBody)))]
async fn show(
    State(api): State<Api>,
    caller: Caller,
    Parameters(parameters): Parameters<TenantParameter>,
) -> Result<Versioned<RulesBody>> {
    caller.needs(Resource::Users, Operation::View)?;
    let tenant = tenant_of(&caller, parameters.tenant_id)?;
    let found = api.catalog()?.sign_in_rules(tenant).await?;
    let (version, rules) = found.ok_or_else(Problem::not_found)?;
    Ok(Versioned::new(version, RulesBody::of(rules)))
}

/// Writes the rules of a tenant anew. They hold from the next request; passwords are asked about when they are changed. Needs a
/// step-up.
#[utoipa::path(put, path = "/sign-in-rules", tag = "signing in", operation_id = "edit_sign_in_rules",
    params(TenantParameter, IfMatch),
    request_body = RulesBody, responses((status = 200, body = RulesBody)))]
async fn edit(
    State(api): State<Api>,
    caller: Caller,
    Parameters(parameters): Parameters<TenantParameter>,
    version: IfMatch,
    Body(body): Body<RulesBody>,
) -> Result<Versioned<RulesBody>> {
    caller.needs(Resource::Users, Operation::Edit)?;
    let rules = body.rules()?;
    let mut change = api.catalog()?.change().await?;
    let tenant = tenant_of(&caller, parameters.tenant_id)?;
    let found = change.sign_in_rules(tenant).await?;
    let (before, was) = found.ok_or_else(Problem::not_found)?;
    version.check(before)?;
    caller.needs_step_up(&api)?;
    change.set_sign_in_rules(tenant, &rules).await?;
    let state = |rules: &SignInRules| serde_json::to_value(rules).ok();
    let event = caller
        .event("sign_in_rules.edit")
        .of_tenant(tenant)
        .on("tenant", tenant.0);
    change
        .commit(event.change(state(&was), state(&rules)))
        .await?;
    Ok(Versioned::new(before + 1, RulesBody::of(rules)))
}
