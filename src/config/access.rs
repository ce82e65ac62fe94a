//! `[access]`: how people sign in.

use std::path::{Path, PathBuf};

use super::reader::{Fields, Source};
use super::settings::{not_empty, set};

#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Access {
    /// Where people reach the portal: scheme and host, no path. Absent: no letters are written, and browsers have to send
    /// requests to the name that the portal was loaded from.
    pub base_url: Option<String>,
    /// Where a forgotten password is chosen anew, as letters say it. Absent: at `base_url`, on this program's own page.
    pub reset_url: Option<String>,
    pub session_idle_minutes: u32,
    pub session_hours: u32,
    /// How long the proof of who one is, given again, is enough for what cannot be undone.
    pub step_up_minutes: u32,
    /// The key that secrets of authenticators are kept under. Made when it is first needed. A relative path is relative to
    /// the configuration file.
    pub key_file: PathBuf,
    /// What a hash of a password costs.
    pub argon2_memory_kib: u32,
    pub argon2_passes: u32,
}

impl Default for Access {
    fn default() -> Self {
        Access {
            base_url: None,
            reset_url: None,
            session_idle_minutes: 30,
            session_hours: 12,
            step_up_minutes: 5,
            key_file: "/var/lib/callreel/access.key".into(),
            argon2_memory_kib: 19_456,
            argon2_passes: 2,
        }
    }
}

pub(super) fn read(
    source: &mut Source<'_>,
    fields: &mut Fields<'_>,
    access: &mut Access,
    folder: &Path,
) {
    access.base_url = fields.parsed(source, "base_url", base_url);
    access.reset_url = fields.parsed(source, "reset_url", reset_url);
    let mut bounded =
        |key, target: &mut u32, range| set(target, fields.integer(source, key, range));
    bounded(
        "session_idle_minutes",
        &mut access.session_idle_minutes,
        1..=1440,
    );
    bounded("session_hours", &mut access.session_hours, 1..=720);
    bounded("step_up_minutes", &mut access.step_up_minutes, 1..=60);
    bounded(
        "argon2_memory_kib",
        &mut access.argon2_memory_kib,
        8192..=1_048_576,
    );
    bounded("argon2_passes", &mut access.argon2_passes, 1..=20);
    let key_file = fields.parsed(source, "key_file", not_empty);
    set(&mut access.key_file, key_file.map(|path| folder.join(path)));
}

/// `https://portal.example/people/new-password`: a letter adds what is behind the `#`.
fn reset_url(text: &str) -> Result<String, String> {
    let wrong = || {
        format!(
            "`{text}` is not a link such as \"https://portal.example/new-password\", without `#`"
        )
    };
    let (scheme, rest) = text.split_once("://").ok_or_else(wrong)?;
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    base_url(&format!("{scheme}://{host}")).map_err(|_| wrong())?;
    let fits = |c: char| c.is_ascii_graphic() && !"#\"<>\\^`{|}".contains(c);
    match path.chars().all(fits) && text.len() <= 500 {
        true => Ok(text.to_owned()),
        false => Err(wrong()),
    }
}

/// `https://callreel.example` or `http://127.0.0.1:8080`, as a browser writes an origin.
fn base_url(text: &str) -> Result<String, String> {
    let wrong =
        || format!("`{text}` is not a scheme and a host such as \"https://callreel.example\"");
    let text = text.trim_end_matches('/');
    let host = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"));
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || ".-:[]".contains(c);
    match host.is_some_and(|host| !host.is_empty() && host.chars().all(fits)) {
        true => Ok(text.to_owned()),
        false => Err(wrong()),
    }
}
