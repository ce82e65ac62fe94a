//! Where log lines go, and from which level on.

use std::io::IsTerminal;

use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt, reload};

use crate::base::reveal_people;
use crate::config::{Log, LogFormat, LogLevel};

/// The environment variable that overrides `log.level`, in the language of `EnvFilter`.
const OVERRIDE: &str = "RUST_LOG";

/// Turns the level of a log that runs.
pub struct Dial(reload::Handle<EnvFilter, Registry>);

/// Starts logging for the whole process. A log that was started before stays.
pub fn start(settings: &Log) -> Dial {
    let (filter, handle) = reload::Layer::new(filter(settings.level));
    let (layer, complaint) = layer(settings.format);
    // It fails where there is one already.
    let _ = tracing_subscriber::registry()
        .with(filter)
        .with(layer)
        .try_init();
    if let Some(error) = complaint {
        tracing::warn!(%error, "journald cannot be reached: the log goes to standard error");
    }
    reveal_people(shows_people());
    Dial(handle)
}

impl Dial {
    /// Log from `level` on; without effect where `RUST_LOG` says otherwise.
    pub fn set(&self, level: LogLevel) {
        // It fails when the log is gone, and then there is nothing to turn.
        let _ = self.0.reload(filter(level));
        reveal_people(shows_people());
    }
}

fn filter(level: LogLevel) -> EnvFilter {
    if let Ok(filter) = EnvFilter::try_from_env(OVERRIDE)
        && std::env::var_os(OVERRIDE).is_some()
    {
        return filter;
    }
    let level = match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    // Libraries are heard when something is wrong.
    let libraries = level.min(LevelFilter::WARN);
    EnvFilter::new(format!("{libraries},callreel={level}"))
}

/// People's numbers are shown to those who ask for all details.
fn shows_people() -> bool {
    tracing::enabled!(target: "callreel", tracing::Level::DEBUG)
}

type Boxed<S> = Box<dyn Layer<S> + Send + Sync>;

/// Where lines go, and why not to journald where that was meant.
fn layer<S>(format: LogFormat) -> (Boxed<S>, Option<std::io::Error>)
where
    S: tracing::Subscriber + for<'span> tracing_subscriber::registry::LookupSpan<'span>,
{
    let text = || {
        let ansi = std::io::stderr().is_terminal();
        fmt::layer()
            .with_writer(std::io::stderr)
            .with_ansi(ansi)
            .with_target(false)
    };
    let started_by_systemd = || std::env::var_os("JOURNAL_STREAM").is_some();
    match format {
        LogFormat::Json => {
            let json = fmt::layer().json().with_writer(std::io::stderr);
            (json.boxed(), None)
        }
        LogFormat::Auto if !started_by_systemd() => (text().boxed(), None),
        LogFormat::Text => (text().boxed(), None),
        LogFormat::Auto | LogFormat::Journald => match tracing_journald::layer() {
            Ok(journald) => (journald.boxed(), None),
            Err(error) => (text().boxed(), Some(error)),
        },
    }
}
