//! `[mail]`: who takes letters.

use std::fs;
use std::path::{Path, PathBuf};

use super::feeds::Secret;
use super::reader::{Fields, Source};
use super::settings::{not_empty, set};

/// A mail server.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Mail {
    pub host: String,
    pub port: u16,
    pub tls: MailTls,
    /// Certificates in PEM that are trusted besides the system's. A relative path is relative to the configuration file.
    pub trusted: Option<PathBuf>,
    pub user: Option<String>,
    pub password: Option<Secret>,
    /// Who writes: `Callreel <callreel@acme.example>`.
    pub from: String,
}

/// Whether the way to the mail server is encrypted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum MailTls {
    None,
    #[default]
    StartTls,
    Tls,
}

impl MailTls {
    fn port(self) -> u16 {
        match self {
            MailTls::None => 25,
            MailTls::StartTls => 587,
            MailTls::Tls => 465,
        }
    }
}

/// Reads `[mail]`; absent: no letters are written.
pub(super) fn read(source: &mut Source<'_>, root: &mut Fields<'_>, folder: &Path) -> Option<Mail> {
    let mut fields = root.table(source, "mail")?;
    let place = fields.span.clone();
    let mut text = |key| {
        let text = fields.required(source, key)?;
        let checked = not_empty(text.value).map_err(|why| source.error(text.span, why));
        checked.ok()
    };
    let (host, from) = (text("host"), text("from"));
    let choices = [
        ("none", MailTls::None),
        ("starttls", MailTls::StartTls),
        ("tls", MailTls::Tls),
    ];
    let mut tls = MailTls::default();
    set(&mut tls, fields.choice(source, "tls", &choices));
    let port = fields.integer(source, "port", 1..=u16::MAX);
    let trusted = fields.parsed(source, "trusted", not_empty);
    let user = fields.parsed(source, "user", not_empty);
    let written = fields.parsed(source, "password", not_empty);
    let filed = fields.parsed(source, "password_file", |path| {
        let path = folder.join(not_empty(path).map_err(str::to_owned)?);
        let text = fs::read_to_string(&path);
        text.map(|text| text.trim_end_matches(['\r', '\n']).to_owned())
            .map_err(|error| format!("cannot read {}: {error}", path.display()))
    });
    if written.is_some() && filed.is_some() {
        source.error(place.clone(), "only one of `password` and `password_file`");
    }
    let password = written.or(filed);
    if user.is_some() != password.is_some() {
        source.error(place, "`user` and a password go together");
    }
    fields.finish(source);
    Some(Mail {
        host: host?,
        port: port.unwrap_or(tls.port()),
        tls,
        trusted: trusted.map(|path| folder.join(path)),
        user,
        password: password.map(Secret::new),
        from: from?,
    })
}
