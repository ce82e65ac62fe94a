//! One tenant's file into its definition.

use std::sync::Arc;

use super::reader::{At, Fields, Source, choice};
use super::recording;
use crate::base::{Network, TenantId, Tunnel};
use crate::directory::{
    Alias, CandidateOrder, CandidateSource, ControlRules, Country, Domain, ExtensionDefinition,
    ExtensionPattern, HeaderTest, Legs, MatchRule, Policy, RecordingPolicy, Rewrite,
    TenantDefinition, check_number,
};

/// Most rewriting rules of a tenant: each is tried on every number.
const MAX_REWRITES: usize = 16;

/// The tenant, or `None` when something is wrong with it. `plans` are the names it may subscribe to, `None` where they
/// could not be read.
pub(super) fn read(
    source: &mut Source<'_>,
    mut root: Fields<'_>,
    plans: Option<&[&str]>,
) -> Option<TenantDefinition> {
    let head = root.table(source, "tenant");
    if head.is_none() && !root.has("tenant") {
        source.error(
            0..0,
            "a tenant's file needs a table `[tenant]` with `id` and `name`",
        );
    }
    let mut tenant = head.and_then(|head| read_head(source, head, plans));
    let rules = Rules::read(source, &mut root);
    let tables = root.tables(source, "extension");
    // Collecting would keep the tables' memory, three times as large, until the directory is compiled.
    let mut extensions = Vec::with_capacity(tables.len());
    extensions.extend(
        tables
            .into_iter()
            .filter_map(|fields| read_extension(source, fields)),
    );
    if let Some(tenant) = &mut tenant {
        rules.apply(tenant);
        tenant.extensions = extensions;
        warn_of_idle(source, &root, tenant);
    }
    root.finish(source);
    tenant.filter(|_| !source.has_errors())
}

/// What is written of a tenant besides who it is and which extensions it has.
pub(super) struct Rules {
    recording: RecordingPolicy,
    control: ControlRules,
    candidates: CandidateOrder,
    rewrites: Vec<Rewrite>,
    rules: Vec<MatchRule>,
}

impl Rules {
    pub fn read(source: &mut Source<'_>, root: &mut Fields<'_>) -> Rules {
        let (recording, control) = read_recording(source, root);
        let candidates = read_candidates(source, root);
        let rewrites = read_rewrites(source, root);
        let tables = root.tables(source, "match").into_iter();
        Rules {
            recording,
            control,
            candidates,
            rewrites,
            rules: tables.map(|fields| read_rule(source, fields)).collect(),
        }
    }

    pub fn apply(self, tenant: &mut TenantDefinition) {
        tenant.recording = self.recording;
        tenant.control = self.control;
        tenant.candidates = self.candidates;
        tenant.rewrites = self.rewrites;
        tenant.rules = self.rules;
    }
}

fn warn_of_idle(source: &mut Source<'_>, root: &Fields<'_>, tenant: &TenantDefinition) {
    let (message, help) = match (tenant.rules.is_empty(), tenant.extensions.is_empty()) {
        (true, false) => (
            "this tenant has extensions but no `[[match]]` rule, so it claims no calls",
            "say where its calls are seen, for example networks = [\"10.20.0.0/16\"]",
        ),
        (false, true) => (
            "this tenant has match rules but no `[[extension]]`, so it claims no calls",
            "add extensions, for example range = \"1100-1199\"",
        ),
        _ => return,
    };
    source.warn(root.span_of("tenant"), message).help = Some(help.into());
}

fn read_head(
    source: &mut Source<'_>,
    mut head: Fields<'_>,
    plans: Option<&[&str]>,
) -> Option<TenantDefinition> {
    let id: Option<TenantId> = head.required(source, "id").and_then(|id| uuid(source, &id));
    let name = head
        .required(source, "name")
        .filter(|name| is_given(source, name));
    let plan = head.string(source, "plan").and_then(|plan| {
        let plans = plans?;
        let choices: Vec<(&str, &str)> = plans.iter().map(|plan| (*plan, *plan)).collect();
        if plans.is_empty() {
            let error = source.error(plan.span, format!("there is no plan `{}`", plan.value));
            error.help = Some("plans are made in the daemon's file, as `[plans.NAME]`".into());
            return None;
        }
        choice(source, &plan, &choices)
    });
    let slug = head.parsed(source, "slug", slug);
    let timezone = head.parsed(source, "timezone", timezone);
    let language = head.parsed(source, "language", language);
    let country = head
        .string(source, "country")
        .and_then(|code| country(source, &code));
    let place = source.place(&head.span);
    head.finish(source);
    let mut tenant = TenantDefinition::new(id?, name?.value, place);
    tenant.plan = plan.map(Arc::from);
    tenant.slug = slug;
    tenant.timezone = timezone;
    tenant.language = language;
    tenant.country = country;
    Some(tenant)
}

fn uuid(source: &mut Source<'_>, id: &At<&str>) -> Option<TenantId> {
    let parsed = id.value.parse();
    if parsed.is_err() {
        let message = format!("`{}` is not a UUID", id.value);
        let error = source.error(id.span.clone(), message);
        error.help = Some(
            "a UUID looks like 34c7f1f6-9201-11e5-a739-e03f497dbdff; `uuidgen` makes one".into(),
        );
    }
    parsed.ok()
}

fn is_given(source: &mut Source<'_>, text: &At<&str>) -> bool {
    let given = !text.value.trim().is_empty();
    if !given {
        source.error(text.span.clone(), "this must not be empty");
    }
    given
}

/// What a tenant's people name it by: small letters, digits and hyphens.
pub(super) fn slug(text: &str) -> Result<Arc<str>, String> {
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if text.parse::<TenantId>().is_ok() {
        Err(format!(
            "`{text}` is no short name: it could be another tenant's id"
        ))
    } else if (1..=63).contains(&text.len()) && text.bytes().all(fits) && !text.starts_with('-') {
        Ok(text.into())
    } else {
        Err(format!(
            "`{text}` is no short name: 1 to 63 small letters, digits and hyphens, such as \"acme\""
        ))
    }
}

/// The shape of an IANA name; whether the zone exists is for those who have the table.
pub(super) fn timezone(text: &str) -> Result<Arc<str>, String> {
    let fits = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_alphabetic())
            && part
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"_-+".contains(&b))
    };
    if text.split('/').all(fits) && (text.contains('/') || text == "UTC") {
        Ok(text.into())
    } else {
        Err(format!(
            "`{text}` is not a time zone such as \"Europe/London\" or \"UTC\""
        ))
    }
}

/// The shape of a language tag (RFC 5646 section 2.1): `en`, `en-GB`, `zh-Hant-TW`.
pub(super) fn language(text: &str) -> Result<Arc<str>, String> {
    let mut parts = text.split('-');
    let first = parts.next().unwrap_or_default();
    let primary = (2..=3).contains(&first.len()) && first.bytes().all(|b| b.is_ascii_alphabetic());
    let subtag = |part: &str| {
        (1..=8).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_alphanumeric())
    };
    if primary && parts.all(subtag) {
        Ok(text.into())
    } else {
        Err(format!(
            "`{text}` is not a language tag such as \"en\" or \"en-GB\""
        ))
    }
}

pub(super) fn country(source: &mut Source<'_>, code: &At<&str>) -> Option<Country> {
    let country = Country::from_iso(code.value);
    if country.is_none() {
        let message = format!(
            "`{}` is not a country whose numbering is known here",
            code.value
        );
        let error = source.error(code.span.clone(), message);
        let known: Vec<&str> = Country::codes().collect();
        error.help = Some(format!("known are {}", known.join(", ")));
    }
    country
}

fn read_recording(
    source: &mut Source<'_>,
    root: &mut Fields<'_>,
) -> (RecordingPolicy, ControlRules) {
    let mut recording = RecordingPolicy::default();
    let Some(mut fields) = root.table(source, "recording") else {
        return (recording, ControlRules::default());
    };
    let named = [
        ("all", Policy::All),
        ("none", Policy::None),
        ("on-demand", Policy::OnDemand),
        ("sample", Policy::Sample { percent: 0 }),
    ];
    let policy = fields.choice(source, "policy", &named);
    let sample = fields.integer(source, "sample", 1..=100_u8);
    match (policy, sample) {
        (Some(Policy::Sample { .. }), None) => {
            source.error(
                fields.span_of("policy"),
                "`sample` (percent) is missing here",
            );
        }
        (None | Some(Policy::Sample { .. }), Some(percent)) => {
            recording.policy = Policy::Sample { percent };
        }
        (Some(_), Some(_)) => {
            let error = source.error(
                fields.span_of("sample"),
                "`sample` goes with policy = \"sample\" only",
            );
            error.help = Some("keep one of the two".into());
        }
        (Some(policy), None) => recording.policy = policy,
        (None, None) => {}
    }
    let minimum = fields.integer(source, "minimum_seconds", 0..=3600);
    recording.minimum_seconds = minimum.unwrap_or(recording.minimum_seconds);
    let legs = fields.choice(source, "legs", &[("all", Legs::All), ("one", Legs::One)]);
    recording.legs = legs.unwrap_or_default();
    let control = recording::read_control(source, &mut fields, &mut recording);
    fields.finish(source);
    (recording, control)
}

fn read_candidates(source: &mut Source<'_>, root: &mut Fields<'_>) -> CandidateOrder {
    let Some(mut fields) = root.table(source, "candidates") else {
        return CandidateOrder::default();
    };
    let caller = read_order(source, &mut fields, "caller", &CandidateOrder::CALLER);
    let callee = read_order(source, &mut fields, "callee", &CandidateOrder::CALLEE);
    fields.finish(source);
    CandidateOrder::new(&caller, &callee)
}

fn read_order(
    source: &mut Source<'_>,
    fields: &mut Fields<'_>,
    key: &'static str,
    possible: &[CandidateSource],
) -> Vec<CandidateSource> {
    let Some(names) = fields.strings(source, key) else {
        return possible.to_vec();
    };
    let choices: Vec<_> = possible
        .iter()
        .map(|source| (source.name(), *source))
        .collect();
    let mut order = Vec::new();
    for name in names {
        match choice(source, &name, &choices) {
            Some(candidate) if order.contains(&candidate) => {
                source.error(name.span, format!("`{}` is there twice", name.value));
            }
            Some(candidate) => order.push(candidate),
            None => {}
        }
    }
    order
}

fn read_rewrites(source: &mut Source<'_>, root: &mut Fields<'_>) -> Vec<Rewrite> {
    let tables = root.tables(source, "rewrite");
    let mut rewrites = Vec::new();
    for (index, mut fields) in tables.into_iter().enumerate() {
        if index == MAX_REWRITES {
            source.error(
                fields.span.clone(),
                format!("a tenant has at most {MAX_REWRITES} rewriting rules"),
            );
        }
        let pattern = fields.required(source, "pattern");
        let replacement = fields.required(source, "replacement");
        let place = source.place(&fields.span);
        fields.finish(source);
        if let (Some(pattern), Some(replacement)) = (pattern, replacement) {
            match Rewrite::new(pattern.value, replacement.value, place) {
                Ok(rewrite) => rewrites.push(rewrite),
                Err(error) => {
                    source.error(
                        pattern.span,
                        format!("this is no regular expression: {error}"),
                    );
                }
            }
        }
    }
    rewrites
}

fn read_rule(source: &mut Source<'_>, mut fields: Fields<'_>) -> MatchRule {
    let mut rule = MatchRule::new(source.place(&fields.span));
    rule.networks = parsed_list(source, &mut fields, "networks", |text| {
        text.parse::<Network>()
    });
    rule.vlans = fields
        .integers(source, "vlans", 1..=4094)
        .unwrap_or_default();
    refuse_empty(source, &fields, "vlans");
    rule.tunnels = parsed_list(source, &mut fields, "tunnels", str::parse::<Tunnel>);
    rule.interfaces = names(source, &mut fields, "interfaces");
    rule.sensors = names(source, &mut fields, "sensors");
    rule.domains = parsed_list(source, &mut fields, "domains", Domain::new);
    for (name, value) in fields.named_strings(source, "headers") {
        match HeaderTest::new(name, value.value) {
            Ok(header) => rule.headers.push(header),
            Err(error) => {
                source.error(
                    value.span,
                    format!("this is no regular expression: {error}"),
                );
            }
        }
    }
    rule.trust_signalling = fields.flag(source, "trust_signalling").unwrap_or(false);
    fields.finish(source);
    rule
}

fn names(source: &mut Source<'_>, fields: &mut Fields<'_>, key: &'static str) -> Vec<Arc<str>> {
    parsed_list(source, fields, key, |text| {
        if text.is_empty() {
            Err("a name must not be empty")
        } else {
            Ok(text.into())
        }
    })
}

fn parsed_list<T, E: std::fmt::Display>(
    source: &mut Source<'_>,
    fields: &mut Fields<'_>,
    key: &'static str,
    parse: impl Fn(&str) -> Result<T, E>,
) -> Vec<T> {
    let mut values = Vec::new();
    let Some(texts) = fields.strings(source, key) else {
        return values;
    };
    refuse_empty(source, fields, key);
    for text in texts {
        match parse(text.value) {
            Ok(value) => values.push(value),
            Err(error) => {
                source.error(text.span, error.to_string());
            }
        }
    }
    values
}

/// An empty list would make the key say nothing, and the rule hold where it was not meant to.
fn refuse_empty(source: &mut Source<'_>, fields: &Fields<'_>, key: &str) {
    if fields.is_empty_list(key) {
        let message = format!("`{key}` is empty; leave it out, or name something");
        source.error(fields.span_of(key), message);
    }
}

fn read_extension(source: &mut Source<'_>, mut fields: Fields<'_>) -> Option<ExtensionDefinition> {
    let number = fields.string(source, "number");
    let range = fields.string(source, "range");
    let prefix = fields.string(source, "prefix");
    let aliases = fields.strings(source, "aliases").unwrap_or_default();
    let user = fields
        .string(source, "user")
        .filter(|user| is_given(source, user));
    let policy = fields.parsed(source, "policy", recording::policy);
    let written = [
        number.map(|text| (ExtensionPattern::number(text.value), text.span)),
        range.map(|text| (ExtensionPattern::range(text.value), text.span)),
        prefix.map(|text| (ExtensionPattern::prefix(text.value), text.span)),
    ];
    let named = ["number", "range", "prefix"]
        .into_iter()
        .filter(|key| fields.has(key))
        .count();
    if named != 1 {
        let message = if named == 0 {
            "an extension needs one of `number`, `range` and `prefix`"
        } else {
            "an extension has only one of `number`, `range` and `prefix`"
        };
        source.error(fields.span.clone(), message);
    }
    let aliases = aliases
        .into_iter()
        .filter_map(|alias| read_alias(source, &alias))
        .collect();
    fields.finish(source);
    let (pattern, span) = written.into_iter().flatten().next()?;
    match pattern {
        Ok(pattern) => Some(ExtensionDefinition {
            pattern,
            aliases,
            user: user.map(|user| user.value.into()),
            place: source.place(&span),
            policy,
            allocated: false,
        }),
        Err(error) => {
            source.error(span, error.to_string());
            None
        }
    }
}

fn read_alias(source: &mut Source<'_>, alias: &At<&str>) -> Option<Alias> {
    if let Err(error) = check_number(alias.value) {
        source.error(alias.span.clone(), error.to_string());
        return None;
    }
    Some(Alias {
        number: alias.value.into(),
        place: source.place(&alias.span),
    })
}
