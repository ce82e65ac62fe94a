//! Tenants and extensions that were not written in a file: the same keys as JSON, read by the same rules.
//!
//! JSON is put down as TOML, one value a line, and read by the reader of tenants' files: what it finds wrong with a line is
//! wrong with the field that the line came from.

use std::fmt::Write as _;
use std::sync::Arc;

use serde_json::{Map, Value};
use toml::de::{DeTable, DeValue};

use super::diagnostic::Severity;
use super::reader::{Fields, Source};
use super::tenant::{self, Rules};
use crate::base::TenantId;
use crate::directory::{
    Alias, ExtensionDefinition, ExtensionPattern, Place, Policy, TenantDefinition, check_number,
};

/// Most characters of a name.
const MAX_NAME: usize = 200;
/// Most aliases of an extension that was not written in a file.
const MAX_ALIASES: usize = 64;

/// What is wrong with one field.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Fault {
    /// `rules.match[0].networks[1]`.
    pub field: String,
    pub message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub help: Option<String>,
}

impl Fault {
    pub fn new(field: impl Into<String>, message: impl Into<String>) -> Fault {
        Fault {
            field: field.into(),
            message: message.into(),
            help: None,
        }
    }
}

/// A tenant as it is kept in a row.
#[derive(Clone, Debug)]
pub struct TenantText<'a> {
    pub id: TenantId,
    pub name: &'a str,
    pub plan: Option<&'a str>,
    pub timezone: Option<&'a str>,
    pub language: Option<&'a str>,
    /// What a tenant's file has besides `[tenant]` and `[[extension]]`, and `country`.
    pub rules: &'a Value,
}

/// The tenant, without extensions. `has_plan` says whether there is a plan of a name.
///
/// # Errors
/// Everything that a tenant's file would be refused for, and names that are too long to show.
pub fn tenant_of(
    text: &TenantText<'_>,
    place: Place,
    has_plan: impl Fn(&str) -> bool,
) -> Result<TenantDefinition, Vec<Fault>> {
    let mut faults = Vec::new();
    check_name(text.name, &mut faults);
    if let Some(plan) = text.plan.filter(|plan| !has_plan(plan)) {
        faults.push(Fault::new("plan", format!("there is no plan `{plan}`")));
    }
    let mut parsed = |field: &str, text: Option<&str>, parse: fn(&str) -> Result<_, String>| {
        let parsed = text.map(parse)?;
        parsed
            .map_err(|error| faults.push(Fault::new(field, error)))
            .ok()
    };
    let timezone = parsed("timezone", text.timezone, tenant::timezone);
    let language = parsed("language", text.language, tenant::language);
    let mut tenant = TenantDefinition::new(text.id, text.name, place);
    tenant.plan = text.plan.map(Arc::from);
    tenant.timezone = timezone;
    tenant.language = language;
    faults.extend(read_rules(text.rules, &mut tenant));
    match faults.is_empty() {
        true => Ok(tenant),
        false => Err(faults),
    }
}

fn check_name(name: &str, faults: &mut Vec<Fault>) {
    let wrong = if name.trim().is_empty() {
        "this must not be empty"
    } else if name.chars().count() > MAX_NAME {
        "this is longer than 200 characters"
    } else if name.chars().any(char::is_control) {
        "this holds a control character"
    } else {
        return;
    };
    faults.push(Fault::new("name", wrong));
}

fn read_rules(rules: &Value, tenant: &mut TenantDefinition) -> Vec<Fault> {
    let object = match rules {
        Value::Object(object) => object,
        Value::Null => return Vec::new(),
        _ => return vec![Fault::new("rules", "expected an object")],
    };
    let written = Written::of(object);
    let file: Arc<str> = "rules".into();
    let mut source = Source::new(&file, &written.text);
    if let Some(document) = source.parse() {
        let mut root = Fields::new(&document);
        if let Some(code) = root.string(&mut source, "country") {
            tenant.country = tenant::country(&mut source, &code);
        }
        let rules = Rules::read(&mut source, &mut root);
        root.finish(&mut source);
        rules.apply(tenant);
        for rule in &mut tenant.rules {
            rule.place = tenant.place.clone();
        }
    }
    let errors = (source.into_diagnostics().into_iter())
        .filter(|found| found.severity == Severity::Error)
        .map(|found| Fault {
            field: written.field(found.line),
            message: found.message,
            help: found.help,
        });
    errors.collect()
}

/// JSON as TOML text, and the field of each line.
#[derive(Default)]
struct Written {
    text: String,
    fields: Vec<String>,
}

impl Written {
    fn of(root: &Map<String, Value>) -> Written {
        let mut written = Written::default();
        let is_section = |value: &Value| match value {
            Value::Object(_) => true,
            Value::Array(list) => !list.is_empty() && list.iter().all(Value::is_object),
            _ => false,
        };
        for (key, value) in root.iter().filter(|(_, value)| !is_section(value)) {
            written.leaf(&quoted(key), key, value);
        }
        for (key, value) in root {
            match value {
                Value::Object(object) => written.section("[", "]", key, key, object),
                Value::Array(list) if is_section(value) => {
                    for (index, element) in list.iter().enumerate() {
                        let object = element.as_object().cloned().unwrap_or_default();
                        written.section("[[", "]]", key, &format!("{key}[{index}]"), &object);
                    }
                }
                _ => {}
            }
        }
        written
    }

    fn line(&mut self, text: &str, field: &str) {
        self.text.push_str(text);
        self.text.push('\n');
        self.fields.push(field.to_owned());
    }

    fn section(
        &mut self,
        open: &str,
        close: &str,
        key: &str,
        field: &str,
        object: &Map<String, Value>,
    ) {
        self.line(&format!("{open}{}{close}", quoted(key)), field);
        for (key, value) in object {
            self.leaf(&quoted(key), &format!("{field}.{key}"), value);
        }
    }

    /// `path = value`; of an object a line for each of its values, of a list one for each element.
    fn leaf(&mut self, path: &str, field: &str, value: &Value) {
        match value {
            Value::Null => {}
            Value::Object(object) if !object.is_empty() => {
                for (key, value) in object {
                    self.leaf(
                        &format!("{path}.{}", quoted(key)),
                        &format!("{field}.{key}"),
                        value,
                    );
                }
            }
            Value::Array(list) if !list.is_empty() => {
                self.line(&format!("{path} = ["), field);
                for (index, element) in list.iter().enumerate() {
                    self.line(
                        &format!("{},", inline(element)),
                        &format!("{field}[{index}]"),
                    );
                }
                self.line("]", field);
            }
            _ => self.line(&format!("{path} = {}", inline(value)), field),
        }
    }

    fn field(&self, line: u32) -> String {
        let index = usize::try_from(line).unwrap_or(0).checked_sub(1);
        match index.and_then(|index| self.fields.get(index)) {
            Some(field) => format!("rules.{field}"),
            None => "rules".to_owned(),
        }
    }
}

/// On one line. `null` within a list is an empty string, which no list takes.
fn inline(value: &Value) -> String {
    match value {
        Value::Null => "\"\"".to_owned(),
        Value::String(text) => quoted(text),
        Value::Array(list) => {
            let elements: Vec<String> = list.iter().map(inline).collect();
            format!("[{}]", elements.join(", "))
        }
        Value::Object(object) => {
            let pair =
                |(key, value): (&String, &Value)| format!("{} = {}", quoted(key), inline(value));
            let pairs: Vec<String> = object
                .iter()
                .filter(|(_, value)| !value.is_null())
                .map(pair)
                .collect();
            format!("{{ {} }}", pairs.join(", "))
        }
        Value::Bool(_) | Value::Number(_) => value.to_string(),
    }
}

/// A basic string of TOML.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04X}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// How an extension says what it covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ExtensionKind {
    Number,
    Range,
    Prefix,
}

/// An extension that was not written in a file. `policy` as in a file: `all`, `none`, `on-demand`, `25%`.
///
/// # Errors
/// What a tenant's file would be refused for.
pub fn extension_of(
    kind: ExtensionKind,
    text: &str,
    aliases: &[String],
    policy: Option<&str>,
    place: &Place,
) -> Result<ExtensionDefinition, Vec<Fault>> {
    let mut faults = Vec::new();
    let (field, pattern) = match kind {
        ExtensionKind::Number => ("number", ExtensionPattern::number(text)),
        ExtensionKind::Range => ("range", ExtensionPattern::range(text)),
        ExtensionKind::Prefix => ("prefix", ExtensionPattern::prefix(text)),
    };
    let pattern = pattern
        .map_err(|error| faults.push(Fault::new(field, error.to_string())))
        .ok();
    if aliases.len() > MAX_ALIASES {
        faults.push(Fault::new("aliases", "an extension has at most 64 aliases"));
    }
    for (index, alias) in aliases.iter().enumerate() {
        if let Err(error) = check_number(alias) {
            faults.push(Fault::new(format!("aliases[{index}]"), error.to_string()));
        }
    }
    let policy = policy.and_then(|text| {
        let policy = super::recording::policy(text);
        policy
            .map_err(|error| faults.push(Fault::new("policy", error)))
            .ok()
    });
    match pattern {
        Some(pattern) if faults.is_empty() => Ok(ExtensionDefinition {
            pattern,
            aliases: (aliases.iter())
                .map(|alias| Alias {
                    number: alias.as_str().into(),
                    place: place.clone(),
                })
                .collect(),
            user: None,
            place: place.clone(),
            policy,
            allocated: false,
        }),
        _ => Err(faults),
    }
}

/// A policy in one word, as in a file: `all`, `none`, `on-demand`, or a share such as `25%`.
pub fn policy_of(word: &str) -> Option<Policy> {
    super::recording::policy(word).ok()
}

/// What a tenant's file says besides `[tenant]` and `[[extension]]`, as [`TenantText::rules`] has it.
pub(super) fn rules_of(document: &DeTable<'_>) -> Value {
    let entries = document.iter();
    let mut rules: Map<String, Value> = entries
        .filter(|(key, _)| !["tenant", "extension"].contains(&&**key.get_ref()))
        .map(|(key, value)| (key.get_ref().to_string(), json_of(value.get_ref())))
        .collect();
    let country = document
        .get("tenant")
        .and_then(|tenant| tenant.get_ref().get("country"));
    if let Some(country) = country {
        rules.insert("country".to_owned(), json_of(country.get_ref()));
    }
    Value::Object(rules)
}

fn json_of(value: &DeValue<'_>) -> Value {
    match value {
        DeValue::String(text) => Value::String(text.to_string()),
        DeValue::Integer(integer) => {
            let number = i64::from_str_radix(integer.as_str(), integer.radix());
            number.map_or(Value::Null, Value::from)
        }
        DeValue::Float(float) => float
            .as_str()
            .parse::<f64>()
            .map_or(Value::Null, Value::from),
        DeValue::Boolean(flag) => Value::Bool(*flag),
        DeValue::Datetime(datetime) => Value::String(datetime.to_string()),
        DeValue::Array(list) => list.iter().map(|value| json_of(value.get_ref())).collect(),
        DeValue::Table(table) => table
            .iter()
            .map(|(key, value)| (key.get_ref().to_string(), json_of(value.get_ref())))
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(rules: &Value) -> Result<TenantDefinition, Vec<Fault>> {
        let text = TenantText {
            id: TenantId(uuid::Uuid::from_u128(7)),
            name: "Acme",
            plan: Some("gold"),
            timezone: Some("Europe/London"),
            language: Some("en-GB"),
            rules,
        };
        tenant_of(&text, Place::new("catalog", 0), |plan| plan == "gold")
    }

    #[test]
    fn a_row_says_what_a_file_says() {
        let text = "[tenant]\nid = \"x\"\nname = \"x\"\ncountry = \"GB\"\n[[match]]\nnetworks = [\"10.0.0.0/8\"]\nvlans = 7\n\
            headers = { \"X-A b\" = \"/^a\\\\d+$/\" }\n[recording]\nsample = 25\nheader = { name = \"X-R\" }\n\
            [[rewrite]]\npattern = '^9(\\d+)$'\nreplacement = \"$1\"\n[[extension]]\nnumber = \"1\"\n";
        let document = DeTable::parse(text).unwrap();
        let rules = rules_of(document.get_ref());
        assert_eq!(rules["match"][0]["headers"]["X-A b"], "/^a\\d+$/");
        assert!(rules.get("tenant").is_none() && rules.get("extension").is_none());
        let tenant = read(&rules).unwrap();
        assert_eq!(tenant.recording.policy, Policy::Sample { percent: 25 });
        assert_eq!((tenant.rules.len(), tenant.rewrites.len()), (1, 1));
        assert_eq!(
            (&tenant.rules[0].vlans[..], tenant.rules[0].headers.len()),
            (&[7][..], 1)
        );
        assert!(tenant.country.is_some() && tenant.control.header.is_some());
        assert_eq!(tenant.rules[0].place.to_string(), "catalog");
    }

    #[test]
    fn each_fault_names_its_field() {
        let faults = read(&json!({
            "match": [{"networks": ["10.0.0.0/8"]}, {"networks": ["10.0.0.0/8", "10.0.0.0/99"], "vlan": [1], "vlans": [9999]}],
            "recording": {"policy": "every", "header": {"pause": "p"}},
            "country": "XX",
            "candidates": 3,
            "extra\n[tenant]": null,
            "more": {"a\"b": 1},
        }))
        .unwrap_err();
        let mut fields: Vec<&str> = faults.iter().map(|fault| fault.field.as_str()).collect();
        fields.sort_unstable();
        assert_eq!(
            fields,
            [
                "rules.candidates",
                "rules.country",
                "rules.match[1].networks[1]",
                "rules.match[1].vlan",
                "rules.match[1].vlans[0]",
                "rules.more",
                "rules.recording.header.pause",
                "rules.recording.policy",
            ]
        );
        let vlan = faults.iter().find(|fault| fault.field.ends_with(".vlan"));
        assert_eq!(vlan.unwrap().help.as_deref(), Some("did you mean `vlans`?"));
    }

    #[test]
    fn the_head_is_checked_too() {
        let text = TenantText {
            id: TenantId(uuid::Uuid::from_u128(7)),
            name: "a\nb",
            plan: Some("tin"),
            timezone: Some("London"),
            language: Some("english!"),
            rules: &json!([]),
        };
        let faults = tenant_of(&text, Place::new("catalog", 0), |_| false).unwrap_err();
        let fields: Vec<&str> = faults.iter().map(|fault| fault.field.as_str()).collect();
        assert_eq!(fields, ["name", "plan", "timezone", "language", "rules"]);
    }

    #[test]
    fn an_extension_is_checked_as_in_a_file() {
        let place = Place::new("catalog", 0);
        let faults = extension_of(
            ExtensionKind::Range,
            "1199-1100",
            &["10 01".into(), " ".into()],
            Some("some"),
            &place,
        )
        .unwrap_err();
        let fields: Vec<&str> = faults.iter().map(|fault| fault.field.as_str()).collect();
        assert_eq!(fields, ["range", "aliases[1]", "policy"]);
        let extension = extension_of(ExtensionKind::Prefix, "+4420", &[], Some("none"), &place);
        assert_eq!(extension.unwrap().policy, Some(Policy::None));
    }

    proptest::proptest! {
        #[test]
        fn whatever_json_it_is_nothing_panics_and_nothing_leaves_its_string(
            key in "\\PC{0,12}|[\\x00-\\x7f]{0,8}", text in "\\PC{0,20}|[\\x00-\\x7f]{0,12}",
        ) {
            let faults = read(&json!({ &key: { &text: [&text, null, { &key: 1.5 }] }, "match": [{ &key: &text }] }));
            if let Err(faults) = faults {
                proptest::prop_assert!(faults.iter().all(|fault| fault.field.starts_with("rules")));
            }
        }
    }
}
