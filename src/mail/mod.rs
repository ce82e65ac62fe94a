//! Letters: plain text by SMTP.
//!
//! In: where the mail server is ([`Settings`]) and [`Letter`]s. Out: they are sent, in the order in which they were given, by
//! a task of their own ([`Outbox`]), so that nobody who asks for one can tell from the time it takes whether there was one.

mod outbox;
#[cfg(test)]
mod silent_tests;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

use std::fmt;
use std::time::{Duration, Instant};

use lettre::message::Mailbox;
use lettre::message::header::ContentType;
use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
use lettre::transport::smtp::client::{AsyncSmtpConnection, Certificate, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use lettre::{Address, Message};
use zeroize::Zeroizing;

pub use outbox::{LetterCounters, Outbox};

/// How long a server may take for one letter, from the name of its host to its word that it has the letter.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long it may take to say goodbye, once it has the letter.
const FAREWELL: Duration = Duration::from_secs(2);

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
    #[error("it waited for the mail server for longer than it was of use")]
    TooLate,
}

/// One letter to one person.
#[derive(Clone)]
pub struct Letter {
    /// Checked by [`is_address`] before it was kept.
    pub to: String,
    pub subject: String,
    /// Lines end with `\n`.
    pub text: Zeroizing<String>,
    /// After this it is of no use any more, and is not sent.
    pub until: Instant,
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
    port: u16,
    way: Way,
    credentials: Option<Credentials>,
    /// What the server is told of this machine: the sender's domain, not its name inside.
    hello: ClientId,
    from: Mailbox,
    patience: Duration,
}

/// How a connection is made.
enum Way {
    Plain,
    StartTls(TlsParameters),
    Tls(TlsParameters),
}

type SmtpResult<T> = Result<T, lettre::transport::smtp::Error>;

impl Mailer {
    /// # Errors
    ///
    /// [`Error::From`] and [`Error::Tls`], for settings that cannot work. Nobody is connected to.
    pub fn new(settings: &Settings) -> Result<Mailer, Error> {
        let from = settings.from.parse::<Mailbox>();
        let from = from.map_err(|_| Error::From(settings.from.clone()))?;
        let credentials = settings.credentials.as_ref();
        Ok(Mailer {
            host: settings.host.clone(),
            port: settings.port,
            way: way(settings)?,
            credentials: credentials
                .map(|(user, password)| Credentials::new(user.clone(), String::clone(password))),
            hello: ClientId::Domain(from.email.domain().to_owned()),
            from,
            patience: PATIENCE,
        })
    }

    /// Sends a letter; done when the server has taken it, or after 30 seconds at the latest.
    pub async fn send(&self, letter: &Letter) -> Result<(), Error> {
        let message = self.written(letter)?;
        let failed = |reason, passing| Error::Send {
            host: self.host.clone(),
            reason,
            passing,
        };
        match tokio::time::timeout(self.patience, self.hand_over(&message)).await {
            Ok(Ok(mut connection)) => {
                // It is taken. A server that says no more would have it sent twice.
                let _ = tokio::time::timeout(FAREWELL, connection.abort()).await;
                Ok(())
            }
            Ok(Err(error)) => Err(failed(chain(&error), !error.is_permanent())),
            Err(_) => {
                let waited = format!("no answer within {} s", self.patience.as_secs_f32());
                Err(failed(waited, true))
            }
        }
    }

    /// The letter as it goes over the wire.
    fn written(&self, letter: &Letter) -> Result<Message, Error> {
        let wrong = |reason: String| Error::Letter(reason);
        let to: Address = (letter.to.parse()).map_err(|_| wrong("its address is none".into()))?;
        Message::builder()
            .from(self.from.clone())
            .to(Mailbox::new(None, to))
            .subject(&letter.subject)
            .message_id(None)
            // RFC 3834: nobody's absence is told to a program.
            .raw_header(auto_submitted())
            .header(ContentType::TEXT_PLAIN)
            .body(String::clone(&letter.text))
            .map_err(|error| wrong(error.to_string()))
    }

    /// Waits as long as the server does: it bounds nothing but what it is bounded by.
    async fn hand_over(&self, message: &Message) -> SmtpResult<AsyncSmtpConnection> {
        let mut connection = self.connect().await?;
        if let Some(credentials) = &self.credentials {
            connection.auth(DEFAULT_MECHANISMS, credentials).await?;
        }
        let bytes = Zeroizing::new(message.formatted());
        connection.send(message.envelope(), &bytes).await?;
        Ok(connection)
    }

    async fn connect(&self) -> SmtpResult<AsyncSmtpConnection> {
        let (from_the_first, later) = match &self.way {
            Way::Plain => (None, None),
            Way::Tls(tls) => (Some(tls.clone()), None),
            Way::StartTls(tls) => (None, Some(tls.clone())),
        };
        let server = (self.host.as_str(), self.port);
        let mut connection =
            AsyncSmtpConnection::connect_tokio1(server, None, &self.hello, from_the_first, None)
                .await?;
        if let Some(tls) = later {
            connection.starttls(tls, &self.hello).await?;
        }
        Ok(connection)
    }
}

fn auto_submitted() -> lettre::message::header::HeaderValue {
    let name = lettre::message::header::HeaderName::new_from_ascii_str("Auto-Submitted");
    lettre::message::header::HeaderValue::new(name, "auto-generated".into())
}

fn way(settings: &Settings) -> Result<Way, Error> {
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
        Encryption::None => Way::Plain,
        Encryption::StartTls => Way::StartTls(parameters()?),
        Encryption::Tls => Way::Tls(parameters()?),
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
