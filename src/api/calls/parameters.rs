//! Which calls are asked for: parameters as a question to the catalog.

use serde::Deserialize;
use utoipa::IntoParams;
use uuid::Uuid;

use crate::api::problem::{Problem, Result};
use crate::api::words::{CallDirection, CallOrder, CallStanding, ExportFile};
use crate::base::{GroupId, InteractionId, TenantId, Timestamp};
use crate::catalog::{CallQuery, CallState, Direction, Disposition, MAX_PAGE, NumberFilter, Sort};

/// The longest text of a filter, in bytes.
const LONGEST: usize = 256;
/// Three weeks.
const LONGEST_CALL_MS: u64 = 2_000_000_000;

#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct CallParameters {
    /// Of this tenant only.
    tenant_id: Option<Uuid>,
    /// Started then or later, RFC 3339.
    #[param(format = DateTime)]
    from: Option<String>,
    /// Started before then, RFC 3339.
    #[param(format = DateTime)]
    to: Option<String>,
    /// Caller or callee, as signalled or as the extension it is.
    #[param(min_length = 1, max_length = 256)]
    number: Option<String>,
    /// Caller or callee begins so.
    #[param(min_length = 1, max_length = 256)]
    number_prefix: Option<String>,
    #[param(min_length = 1, max_length = 256)]
    caller: Option<String>,
    #[param(min_length = 1, max_length = 256)]
    caller_prefix: Option<String>,
    #[param(min_length = 1, max_length = 256)]
    callee: Option<String>,
    #[param(min_length = 1, max_length = 256)]
    callee_prefix: Option<String>,
    /// The login of a user who took part.
    #[param(min_length = 1, max_length = 256)]
    user: Option<String>,
    /// Somebody took part who is in this group now.
    group_id: Option<Uuid>,
    /// An extension that took part.
    #[param(min_length = 1, max_length = 256)]
    extension: Option<String>,
    interaction_id: Option<Uuid>,
    /// `inbound`, `outbound` or `internal`.
    #[param(value_type = Option<CallDirection>, inline)]
    direction: Option<String>,
    /// Why there is a recording, or none: a code of `/dispositions`.
    #[param(min_length = 1, max_length = 256)]
    disposition: Option<String>,
    /// `recorded`, `none`, `held`, `pinned` (a note is) or `deleted`. Without it, deleted calls are left out.
    #[param(value_type = Option<CallStanding>, inline)]
    state: Option<String>,
    #[param(maximum = 2000000000)]
    min_length_ms: Option<u64>,
    #[param(maximum = 2000000000)]
    max_length_ms: Option<u64>,
    /// Heard with this mean opinion score or a better one.
    #[param(minimum = 1, maximum = 5)]
    mos_min: Option<f64>,
    /// Heard worse than this.
    #[param(minimum = 1, maximum = 5)]
    mos_below: Option<f64>,
    /// A codec by its name, such as `PCMA`.
    #[param(min_length = 1, max_length = 256)]
    codec: Option<String>,
    category_id: Option<Uuid>,
    /// A note has words that begin like each of these.
    #[param(min_length = 1, max_length = 256)]
    notes: Option<String>,
    /// `-started_at` (the default), `started_at`, `-length`, `length`, `-mos`, `mos`. Calls without a score are not in the last two.
    #[param(value_type = Option<CallOrder>, inline)]
    sort: Option<String>,
    /// `next` of the page before.
    after: Option<String>,
    /// Items of a page.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// Of an export: `csv` (the default) or `jsonl`.
    #[param(value_type = Option<ExportFile>, inline)]
    pub format: Option<String>,
}

impl CallParameters {
    /// Those that started from then to then.
    pub fn of_times(from: Option<String>, to: Option<String>) -> CallParameters {
        CallParameters {
            from,
            to,
            ..CallParameters::default()
        }
    }

    /// # Errors
    ///
    /// A problem of status 422 that names the parameter at fault.
    pub fn query(&self) -> Result<CallQuery> {
        let limit = self.limit.unwrap_or(50);
        if !(1..=MAX_PAGE).contains(&limit) {
            return Err(Problem::invalid("limit", format!("1 to {MAX_PAGE}")));
        }
        let direction = named("direction", &self.direction, Direction::named)?;
        let state = named("state", &self.state, CallState::named)?;
        let disposition = text("disposition", &self.disposition)?;
        Ok(CallQuery {
            tenant: self.tenant_id.map(TenantId),
            from: time("from", &self.from)?,
            to: time("to", &self.to)?,
            number: number(
                ["number", "number_prefix"],
                &self.number,
                &self.number_prefix,
            )?,
            caller: number(
                ["caller", "caller_prefix"],
                &self.caller,
                &self.caller_prefix,
            )?,
            callee: number(
                ["callee", "callee_prefix"],
                &self.callee,
                &self.callee_prefix,
            )?,
            user: text("user", &self.user)?,
            group: self.group_id.map(GroupId),
            extension: text("extension", &self.extension)?,
            interaction: self.interaction_id.map(InteractionId),
            direction,
            disposition: disposition.map(|code| Disposition::from(code.as_str())),
            state,
            recorded_only: false,
            min_length_ms: length("min_length_ms", self.min_length_ms)?.unwrap_or(0),
            max_length_ms: length("max_length_ms", self.max_length_ms)?,
            mos_below: score("mos_below", self.mos_below)?,
            mos_at_least: score("mos_min", self.mos_min)?,
            codec: text("codec", &self.codec)?,
            category: self.category_id,
            notes: text("notes", &self.notes)?,
            sort: named("sort", &self.sort, sort)?.unwrap_or_default(),
            limit,
            after: self.after.clone(),
        })
    }

    /// What the audit keeps of it.
    pub fn summary(&self) -> serde_json::Value {
        let mut said = serde_json::Map::new();
        let mut say = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                said.insert(name.to_owned(), value.into());
            }
        };
        let id = |id: Option<Uuid>| id.map(|id| id.to_string());
        say("tenant_id", id(self.tenant_id));
        say("from", self.from.clone());
        say("to", self.to.clone());
        say("number", self.number.clone().or(self.number_prefix.clone()));
        say("caller", self.caller.clone().or(self.caller_prefix.clone()));
        say("callee", self.callee.clone().or(self.callee_prefix.clone()));
        say("user", self.user.clone());
        say("group_id", id(self.group_id));
        say("extension", self.extension.clone());
        say("interaction_id", id(self.interaction_id));
        say("direction", self.direction.clone());
        say("disposition", self.disposition.clone());
        say("state", self.state.clone());
        say("codec", self.codec.clone());
        say("category_id", id(self.category_id));
        say("notes", self.notes.clone());
        say("format", self.format.clone());
        said.into()
    }
}

/// A number, or how it begins; `names` are those of the two parameters.
fn number(
    names: [&'static str; 2],
    exact: &Option<String>,
    prefix: &Option<String>,
) -> Result<Option<NumberFilter>> {
    let [of_exact, of_prefix] = names;
    match (text(of_exact, exact)?, text(of_prefix, prefix)?) {
        (Some(_), Some(_)) => Err(Problem::invalid(of_exact, "either whole or its beginning")),
        (Some(exact), None) => Ok(Some(NumberFilter::Exact(as_dialled(&exact)))),
        (None, Some(prefix)) => Ok(Some(NumberFilter::Prefix(as_dialled(&prefix)))),
        (None, None) => Ok(None),
    }
}

fn text(field: &'static str, text: &Option<String>) -> Result<Option<String>> {
    let Some(text) = text else { return Ok(None) };
    match text.trim() {
        "" => Err(Problem::invalid(field, "is empty")),
        long if long.chars().count() > LONGEST => Err(Problem::invalid(
            field,
            format!("at most {LONGEST} characters"),
        )),
        text => Ok(Some(text.to_owned())),
    }
}

fn named<T>(
    field: &'static str,
    wanted: &Option<String>,
    read: impl Fn(&str) -> Option<T>,
) -> Result<Option<T>> {
    let Some(wanted) = wanted else {
        return Ok(None);
    };
    match read(wanted) {
        Some(value) => Ok(Some(value)),
        None => Err(Problem::invalid(field, "is none of those that are known")),
    }
}

fn time(field: &'static str, text: &Option<String>) -> Result<Option<Timestamp>> {
    let Some(text) = text else { return Ok(None) };
    // A plus that was not escaped came as a blank.
    match Timestamp::from_rfc3339(&text.replace(' ', "+")) {
        Some(at) => Ok(Some(at)),
        None => Err(Problem::invalid(
            field,
            "a time of RFC 3339, such as 2026-11-22T04:53:00Z",
        )),
    }
}

fn score(field: &'static str, score: Option<f64>) -> Result<Option<f64>> {
    match score {
        Some(score) if !(1.0..=5.0).contains(&score) => {
            Err(Problem::invalid(field, "a mean opinion score from 1 to 5"))
        }
        score => Ok(score),
    }
}

fn length(field: &'static str, length_ms: Option<u64>) -> Result<Option<u64>> {
    match length_ms {
        Some(length_ms) if length_ms > LONGEST_CALL_MS => Err(Problem::invalid(
            field,
            format!("at most {LONGEST_CALL_MS}"),
        )),
        length_ms => Ok(length_ms),
    }
}

fn sort(text: &str) -> Option<Sort> {
    Some(match text {
        "-started_at" => Sort::Newest,
        "started_at" => Sort::Oldest,
        "-length" => Sort::Longest,
        "length" => Sort::Shortest,
        "-mos" => Sort::BestHeard,
        "mos" => Sort::WorstHeard,
        _ => return None,
    })
}

/// A number as people write it loses its separators; a name stays what it is.
fn as_dialled(text: &str) -> String {
    let is_separator = |c: char| " -.()/".contains(c);
    let is_number = |c: char| c.is_ascii_digit() || "+*#".contains(c);
    match text.chars().all(|c| is_number(c) || is_separator(c)) {
        true => text.chars().filter(|c| is_number(*c)).collect(),
        false => text.to_owned(),
    }
}
