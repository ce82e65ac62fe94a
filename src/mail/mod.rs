//! Letters: plain text by SMTP.
//!
//! In: where the mail server is ([`Settings`]) and [`Letter`]s. Out: they are sent, in the order in which they were given, by
//! a task of their own ([`Outbox`]), so that nobody who asks for one can tell from the time it takes whether there was one.

mod outbox;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

use std::fmt;
use std::time::Duration;

use lettre::message::Mailbox;
use lettre::message::header::ContentType;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::{Address, AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use zeroize::Zeroizing;

pub use outbox::Outbox;

/// How long one letter may take, connection and all.
const TIMEOUT: Duration = Duration::from_secs(20);

/// Whether the way to the mail server is encrypted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encryption {
    /// Only to a server on the same machine.
    None,
    /// Asked for once connected; a server that does not offer it gets no letter.
    #[default]
    StartTls,
    /// From the first byte.
    Tls,
}

/// The mail server, and who writes.
#[derive(Clone)]
pub struct Settings {
    pub host: String,
    pub port: u16,
    pub encryption: Encryption,
    /// A PEM file's text with certificates that are trusted besides the system's.
    pub trusted: Option<Vec<u8>>,
    /// User and password at the mail server.
    pub credentials: Option<(String, Zeroizing<String>)>,
    /// `Callreel <callreel@acme.example>`.
    pub from: String,
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{} {:?}", self.host, self.port, self.encryption)
    }
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "`{0}` is not an address to write from, such as \"Callreel <callreel@acme.example>\" (mail.from)"
    )]
    From(String),
    #[error("cannot prepare TLS to {host} (mail.host): {reason}")]
    Tls { host: String, reason: String },
    #[error("cannot write a letter: {0}")]
    Letter(String),
    #[error("{host} (mail.host) did not take a letter: {reason}")]
    Send {
        host: String,
        reason: String,
        /// Whether trying again may help.
        passing: bool,
    },
}

/// One letter to one person.
#[derive(Clone)]
pub struct Letter {
    /// Checked by [`is_address`] before it was kept.
    pub to: String,
    pub subject: String,
    /// Lines end with `\n`.
    pub text: Zeroizing<String>,
}

/// Neither who gets it nor what it says.
impl fmt::Debug for Letter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Letter(…)")
    }
}

/// Whether a letter can be sent there: `local@domain`, without a name.
pub fn is_address(text: &str) -> bool {
    text.len() <= 254 && text.parse::<Address>().is_ok()
}

/// Takes letters to one mail server. Each gets a connection of its own: there are few.
pub struct Mailer {
    host: String,
    from: Mailbox,
    transport: AsyncSmtpTransport<Tokio1Executor>,
}

impl Mailer {
    /// # Errors
    ///
    /// [`Error::From`] and [`Error::Tls`], for settings that cannot work. Nobody is connected to.
    pub fn new(settings: &Settings) -> Result<Mailer, Error> {
        let from = settings.from.parse::<Mailbox>();
        let from = from.map_err(|_| Error::From(settings.from.clone()))?;
        // What the server is told of this machine is the sender's domain, not its name inside.
        let hello = ClientId::Domain(from.email.domain().to_owned());
        let host = &settings.host;
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(host)
            .port(settings.port)
            .hello_name(hello)
            .timeout(Some(TIMEOUT))
            .tls(tls(settings)?);
        if let Some((user, password)) = &settings.credentials {
            let password = String::clone(password);
            builder = builder.credentials(Credentials::new(user.clone(), password));
        }
        Ok(Mailer {
            host: host.clone(),
            from,
            transport: builder.build(),
        })
    }

    /// Sends a letter; done when the server has taken it.
    pub async fn send(&self, letter: &Letter) -> Result<(), Error> {
        let wrong = |reason: String| Error::Letter(reason);
        let to: Address = (letter.to.parse()).map_err(|_| wrong("its address is none".into()))?;
        let message = Message::builder()
            .from(self.from.clone())
            .to(Mailbox::new(None, to))
            .subject(&letter.subject)
            .message_id(None)
            // RFC 3834: nobody's absence is told to a program.
            .raw_header(auto_submitted())
            .header(ContentType::TEXT_PLAIN)
            .body(String::clone(&letter.text))
            .map_err(|error| wrong(error.to_string()))?;
        let sent = self.transport.send(message).await;
        sent.map(|_| ()).map_err(|error| Error::Send {
            host: self.host.clone(),
            passing: !error.is_permanent(),
            reason: chain(&error),
        })
    }
}

fn auto_submitted() -> lettre::message::header::HeaderValue {
    let name = lettre::message::header::HeaderName::new_from_ascii_str("Auto-Submitted");
    lettre::message::header::HeaderValue::new(name, "auto-generated".into())
}

fn tls(settings: &Settings) -> Result<Tls, Error> {
    let failed = |reason: String| Error::Tls {
        host: settings.host.clone(),
        reason,
    };
    let parameters = || {
        let mut builder = TlsParameters::builder(settings.host.clone());
        if let Some(pem) = &settings.trusted {
            let trusted = Certificate::from_pem(pem).map_err(|error| failed(error.to_string()))?;
            builder = builder.add_root_certificate(trusted);
        }
        builder.build().map_err(|error| failed(error.to_string()))
    };
    Ok(match settings.encryption {
        Encryption::None => Tls::None,
        Encryption::StartTls => Tls::Required(parameters()?),
        Encryption::Tls => Tls::Wrapper(parameters()?),
    })
}

/// An error with its causes. The server's words are among them, so nothing of them moves a terminal's cursor.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let texts: Vec<String> = causes.map(|cause| cause.to_string()).collect();
    let text = texts.join(": ");
    text.chars()
        .take(400)
        .flat_map(char::escape_debug)
        .collect()
}
