//! What steers a tenant's recordings: headers, keys, preferences; and what is kept beside the audio.

use super::reader::{At, Fields, Source};
use crate::directory::{
    ControlAction, ControlFrom, ControlHeader, ControlRules, Digits, MAX_KEYS, Policy,
    RecordingPolicy,
};

/// Each action with its key in the file.
const ACTIONS: [(&str, ControlAction); 4] = [
    ("pause", ControlAction::Pause),
    ("resume", ControlAction::Resume),
    ("stop", ControlAction::Stop),
    ("keep", ControlAction::Keep),
];

/// The keys of `[recording]` that are not its policy.
pub(super) fn read_control(
    source: &mut Source<'_>,
    fields: &mut Fields<'_>,
    recording: &mut RecordingPolicy,
) -> ControlRules {
    let digits = [("mask", Digits::Mask), ("keep", Digits::Keep)];
    if let Some(digits) = fields.choice(source, "digits", &digits) {
        recording.digits = digits;
    }
    if let Some(signalling) = fields.flag(source, "signalling") {
        recording.signalling = signalling;
    }
    let header = fields
        .table(source, "header")
        .and_then(|fields| read_header(source, fields));
    let keys = fields
        .table(source, "keys")
        .map_or_else(Vec::new, |fields| read_keys(source, fields));
    let from = [("own", ControlFrom::Own), ("any", ControlFrom::Any)];
    ControlRules {
        header,
        keys,
        recordpref: fields.flag(source, "recordpref").unwrap_or(false),
        from: fields
            .choice(source, "control_from", &from)
            .unwrap_or_default(),
    }
}

/// `[recording.header]`: its name, and a word for each action; the action's own name where none is given.
fn read_header(source: &mut Source<'_>, mut fields: Fields<'_>) -> Option<ControlHeader> {
    let name = fields.required(source, "name");
    let mut words: Vec<(ControlAction, Box<str>)> = Vec::new();
    for (key, action) in ACTIONS {
        let default = if action == ControlAction::Stop {
            "no"
        } else {
            key
        };
        let written = fields.string(source, key);
        let word = written.as_ref().map_or(default, |at| at.value.trim());
        let span = written
            .as_ref()
            .map_or_else(|| fields.span.clone(), |at| at.span.clone());
        if word.is_empty() || word.contains(';') {
            source.error(span, "a word of a header, without `;`, is expected here");
        } else if words
            .iter()
            .any(|(_, known)| known.eq_ignore_ascii_case(word))
        {
            source.error(span, format!("`{word}` stands for another action already"));
        } else {
            words.push((action, word.into()));
        }
    }
    fields.finish(source);
    let name = name?;
    if !is_header_name(name.value) {
        let message = format!("`{}` is no name of a header", name.value);
        source.error(name.span, message);
        return None;
    }
    Some(ControlHeader {
        name: name.value.into(),
        words,
    })
}

/// A token (RFC 3261 section 25.1).
fn is_header_name(name: &str) -> bool {
    let in_token = |b: u8| b.is_ascii_alphanumeric() || b"-.!%*_+`'~".contains(&b);
    !name.is_empty() && name.bytes().all(in_token)
}

/// `[recording.keys]`: a pattern for each action.
fn read_keys(source: &mut Source<'_>, mut fields: Fields<'_>) -> Vec<(ControlAction, Box<str>)> {
    let mut keys: Vec<(ControlAction, Box<str>)> = Vec::new();
    for (key, action) in ACTIONS {
        let Some(At { value, span }) = fields.string(source, key) else {
            continue;
        };
        let pattern = value.to_ascii_uppercase();
        let are_keys = pattern.chars().all(|c| "0123456789*#ABCD".contains(c));
        if !are_keys || !(1..=MAX_KEYS).contains(&pattern.len()) {
            let message = format!("expected 1 to {MAX_KEYS} keys of a telephone, such as \"*1\"");
            source.error(span, message);
        } else if let Some((_, other)) = keys
            .iter()
            .find(|(_, other)| other.ends_with(&*pattern) || pattern.ends_with(&**other))
        {
            let message = format!("whoever presses one of `{other}` and `{pattern}` presses both");
            source.error(span, message);
        } else {
            keys.push((action, pattern.into()));
        }
    }
    fields.finish(source);
    keys
}

/// A policy in one word: `all`, `none`, `on-demand`, or a share of calls such as `25%`.
pub(super) fn policy(text: &str) -> Result<Policy, String> {
    let share = |text: &str| {
        let percent: u8 = text.strip_suffix('%')?.trim().parse().ok()?;
        (1..=100)
            .contains(&percent)
            .then_some(Policy::Sample { percent })
    };
    match text {
        "all" => Ok(Policy::All),
        "none" => Ok(Policy::None),
        "on-demand" => Ok(Policy::OnDemand),
        other => share(other).ok_or_else(|| {
            format!(
                "`{other}` is no policy: \"all\", \"none\", \"on-demand\", or a share such as \"25%\""
            )
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Error, Loaded, load};
    use super::*;

    fn read(plan: &str, tenant: &str) -> Result<Loaded, Error> {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: String| std::fs::write(folder.path().join(name), text);
        std::fs::create_dir(folder.path().join("tenants")).unwrap();
        write("callreel.toml", format!("[plans.basic]\n{plan}")).unwrap();
        let head = "[tenant]\nid = \"00000000-0000-4000-8000-000000000001\"\nname = \"Acme\"\n\
                    plan = \"basic\"\n\n[[match]]\nnetworks = [\"10.0.0.0/8\"]\n";
        write("tenants/acme.toml", format!("{head}{tenant}")).unwrap();
        load(&folder.path().join("callreel.toml"))
    }

    fn error(tenant: &str) -> String {
        read("", tenant).unwrap_err().to_string()
    }

    #[test]
    fn what_steers_recordings_reaches_the_directory() {
        let loaded = read(
            "concurrent_recordings = 3\n",
            "[recording]\ndigits = \"keep\"\nsignalling = true\nrecordpref = true\ncontrol_from = \"any\"\n\
             [recording.header]\nname = \"X-Rec\"\nstop = \"off\"\n[recording.keys]\npause = \"*1a\"\n\
             [[extension]]\nnumber = \"1001\"\npolicy = \"25%\"\n",
        )
        .unwrap();
        let tenant = loaded.directory.tenants().nth(1).unwrap();
        assert_eq!(tenant.recording.concurrent, Some(3));
        assert_eq!(tenant.recording.digits, Digits::Keep);
        assert!(tenant.recording.signalling && loaded.directory.keeps_signalling());
        let control = tenant.control.as_deref().unwrap();
        assert_eq!(control.action_of("OFF"), Some(ControlAction::Stop));
        assert_eq!(control.action_of("pause"), Some(ControlAction::Pause));
        assert_eq!(control.keys, [(ControlAction::Pause, "*1A".into())]);
        assert!(control.recordpref && control.hears(false));
    }

    #[test]
    fn without_these_keys_nothing_is_a_wish() {
        let loaded = read("", "[[extension]]\nnumber = \"1001\"\n").unwrap();
        let tenant = loaded.directory.tenants().nth(1).unwrap();
        assert_eq!(tenant.control, None);
        assert_eq!(tenant.recording, RecordingPolicy::default());
    }

    #[test]
    fn mistakes_are_named() {
        for (text, message) in [
            ("[recording]\ndigit = \"keep\"\n", "did you mean `digits`"),
            (
                "[recording.header]\nname = \"X Rec\"\n",
                "no name of a header",
            ),
            (
                "[recording.header]\npause = \"stop\"\n",
                "`name` is missing",
            ),
            (
                "[recording.header]\nname = \"X\"\npause = \"Resume\"\n",
                "stands for another action",
            ),
            ("[recording.keys]\npause = \"*x\"\n", "keys of a telephone"),
            (
                "[recording.keys]\npause = \"1\"\nresume = \"*1\"\n",
                "presses both",
            ),
            (
                "[[extension]]\nnumber = \"1\"\npolicy = \"some\"\n",
                "is no policy",
            ),
        ] {
            let error = error(text);
            assert!(error.contains(message), "{error}");
        }
    }
}
