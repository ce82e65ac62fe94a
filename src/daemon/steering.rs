//! The socket by which recordings of calls in progress are steered: `callreel calls control` speaks to it.
//!
//! In: one line of JSON a connection, from root or from the daemon's own account; who it is the kernel says. Out: a record of it
//! for the audit of each tenant whose call it is ([`Waiting`]), the same to the engine's thread, and one line of JSON with what
//! came of it.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::{Duration, SystemTime};

use anyhow::Context;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::oneshot;

use super::auditing::{Steered, Waiting};
use crate::base::Timestamp;
use crate::engine::control::{ControlAction, ControlOutcome, ControlRequest};

/// Requests that wait for the engine.
const WAITING: usize = 64;
/// Longest line of a request.
const MAX_LINE: u64 = 16 << 10;
/// How long a client may take to say what it wants.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long the engine may take; it looks between two batches of packets.
const ENGINE_PATIENCE: Duration = Duration::from_secs(5);
/// Clients answered at a time.
const CLIENTS: usize = 32;
/// How long the record of what is asked may take to the disk, before what cannot wait is done without.
const DISK_PATIENCE: Duration = Duration::from_secs(2);
/// Bytes of who and why that are kept.
const MAX_WORDS: usize = 1024;

/// Where the socket of the daemon that writes to `root` is.
pub fn socket_path(root: &Path) -> PathBuf {
    root.join("control.sock")
}

/// What a client says.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// Id of a recording or an interaction, or SIP Call-ID.
    pub call: String,
    pub action: ControlAction,
    #[serde(default)]
    pub who: String,
    #[serde(default)]
    pub why: String,
}

/// What it is answered.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Answer {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Calls in progress that were meant, with all of their interactions.
    pub calls: u32,
    /// Of these, the ones for which something changed.
    pub changed: u32,
    /// From when on it holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interaction_id: Option<String>,
}

impl Answer {
    fn error(reason: impl Into<String>) -> Answer {
        Answer {
            error: Some(reason.into()),
            ..Answer::default()
        }
    }
}

impl From<ControlOutcome> for Answer {
    fn from(outcome: ControlOutcome) -> Answer {
        Answer {
            error: None,
            calls: outcome.calls(),
            changed: outcome.changed(),
            at: Some(outcome.at.to_string()),
            interaction_id: outcome.interaction.map(|id| id.to_string()),
        }
    }
}

/// A request on its way to the engine.
pub struct Ask {
    pub request: ControlRequest,
    /// When it came.
    pub at: Timestamp,
    answer: oneshot::Sender<ControlOutcome>,
}

impl Ask {
    #[cfg(test)]
    pub fn for_tests() -> (Ask, oneshot::Receiver<ControlOutcome>) {
        let (answer, outcome) = oneshot::channel();
        let request = ControlRequest {
            target: String::new(),
            action: ControlAction::Pause,
            tenant: None,
            only: None,
            looks: false,
            who: String::new(),
            why: String::new(),
        };
        let at = Timestamp::default();
        (
            Ask {
                request,
                at,
                answer,
            },
            outcome,
        )
    }

    /// Tells who asked what came of it; whoever does not wait any more is not told.
    pub fn answer(self, outcome: ControlOutcome) {
        let _ = self.answer.send(outcome);
    }
}

/// The end of the engine's thread.
pub type Asks = Receiver<Ask>;

/// The listening end, before it listens.
pub struct Steering {
    listener: std::os::unix::net::UnixListener,
    asks: SyncSender<Ask>,
}

impl Steering {
    /// Makes the socket. The storage's lock must be held: what an earlier run left is taken away.
    ///
    /// # Errors
    /// When there can be no such socket: the path is too long, or the file system has none.
    pub fn bind(root: &Path) -> anyhow::Result<(Steering, Asks)> {
        let path = socket_path(root);
        let _ = std::fs::remove_file(&path);
        let listener = std::os::unix::net::UnixListener::bind(&path)
            .with_context(|| format!("cannot listen on {}", path.display()))?;
        // Others could connect at most, and are asked who they are.
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
        listener.set_nonblocking(true)?;
        let (asks, asked) = sync_channel(WAITING);
        Ok((Steering { listener, asks }, asked))
    }

    /// What asks the engine, for others who may.
    pub fn asks(&self) -> SyncSender<Ask> {
        self.asks.clone()
    }

    /// Answers clients until the runtime ends. What they do waits in `waiting` for the audit.
    pub async fn serve(self, waiting: Arc<Waiting>) {
        let Ok(listener) = UnixListener::from_std(self.listener) else {
            return;
        };
        let room = Arc::new(tokio::sync::Semaphore::new(CLIENTS));
        loop {
            let Ok(place) = room.clone().acquire_owned().await else {
                return;
            };
            match listener.accept().await {
                Ok((client, _)) => {
                    let (asks, waiting) = (self.asks.clone(), waiting.clone());
                    tokio::spawn(async move {
                        let attended = attend(client, &asks, &waiting);
                        let _ = tokio::time::timeout(PATIENCE * 4, attended).await;
                        drop(place);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "a client of the control socket was lost");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}

async fn attend(
    mut client: UnixStream,
    asks: &SyncSender<Ask>,
    waiting: &Arc<Waiting>,
) -> std::io::Result<()> {
    let peer = client.peer_cred()?.uid();
    let own = rustix::process::geteuid().as_raw();
    let answer = if peer == 0 || peer == own {
        match tokio::time::timeout(PATIENCE, read_line(&mut client)).await {
            Ok(Ok(line)) => steer(line, peer, asks, waiting).await,
            Ok(Err(reason)) => Answer::error(reason),
            Err(_) => Answer::error("nothing was asked in time"),
        }
    } else {
        tracing::warn!(
            uid = peer,
            "somebody who may not tried to steer a recording"
        );
        Answer::error("only root and the daemon's own account may steer recordings")
    };
    let mut bytes = serde_json::to_vec(&answer)?;
    bytes.push(b'\n');
    client.write_all(&bytes).await
}

async fn read_line(client: &mut UnixStream) -> Result<Line, String> {
    let mut text = String::new();
    let mut lines = BufReader::new(client.take(MAX_LINE));
    let read = lines.read_line(&mut text).await;
    read.map_err(|error| error.to_string())?;
    serde_json::from_str(&text).map_err(|error| format!("this is no request: {error}"))
}

/// Which calls are meant, the record of it, and only then the deed.
async fn steer(line: Line, uid: u32, asks: &SyncSender<Ask>, waiting: &Arc<Waiting>) -> Answer {
    let who = match line.who.as_str() {
        "" => format!("uid {uid}"),
        name => format!("{name} (uid {uid})"),
    };
    let asked = |looks| ControlRequest {
        target: line.call.clone(),
        action: line.action,
        tenant: None,
        only: None,
        looks,
        who: who.clone(),
        why: line.why.clone(),
    };
    let meant = match request(asks, asked(true)).await {
        Ok(meant) => meant,
        Err(reason) => return Answer::error(reason),
    };
    let records = records(&line, uid, &meant).await;
    if let Err(reason) = record(waiting, records.clone()).await {
        tracing::error!(
            reason,
            "what an operator asks of a recording is not safe for the audit"
        );
        // What was thrown away is gone. Anything else cannot wait.
        if line.action == ControlAction::Stop {
            return Answer::error("nothing is thrown away: it cannot be audited");
        }
    }
    let outcome = match request(asks, asked(false)).await {
        Ok(outcome) => outcome,
        Err(reason) => {
            let failed = records.into_iter().map(|record| Steered {
                failed: true,
                ..record
            });
            let _ = record(waiting, failed.collect()).await;
            return Answer::error(reason);
        }
    };
    tracing::info!(
        action = line.action.name(),
        ?who,
        why = ?line.why,
        interaction = %outcome.interaction.map_or_else(|| "-".to_owned(), |id| id.to_string()),
        calls = outcome.calls(),
        changed = outcome.changed(),
        "a recording was steered",
    );
    if outcome.calls() == 0 {
        return Answer::error("there is no such call in progress");
    }
    outcome.into()
}

/// What is asked, once for each call and each tenant whose call it is.
async fn records(line: &Line, uid: u32, meant: &ControlOutcome) -> Vec<Steered> {
    let account = account_of(uid).await;
    let owners = meant.reached.iter().flat_map(|call| &call.owners);
    let record = |(tenant, call): &(crate::base::TenantId, crate::base::RecordingId)| Steered {
        at_ns: wall_clock().as_nanos(),
        tenant: tenant.0,
        call: call.0,
        action: line.action,
        uid,
        account: account.clone(),
        on_behalf_of: capped(&line.who),
        why: capped(&line.why),
        failed: false,
    };
    owners.map(record).collect()
}

async fn record(waiting: &Arc<Waiting>, records: Vec<Steered>) -> Result<(), String> {
    if records.is_empty() {
        return Ok(());
    }
    match tokio::time::timeout(DISK_PATIENCE, waiting.put(records)).await {
        Ok(done) => done.map_err(|error| error.to_string()),
        Err(_) => Err("the disk takes too long".into()),
    }
}

fn capped(text: &str) -> String {
    text.chars().take(MAX_WORDS).collect()
}

/// The account's name as this machine's own list has it, or its number.
async fn account_of(uid: u32) -> String {
    let accounts = tokio::fs::read_to_string("/etc/passwd").await;
    let named = |line: &str| {
        let mut fields = line.split(':');
        let (name, number) = (fields.next()?, fields.nth(1)?);
        (number.parse() == Ok(uid)).then(|| name.to_owned())
    };
    let found = accounts.ok().and_then(|all| all.lines().find_map(named));
    found.unwrap_or_else(|| format!("uid {uid}"))
}

/// Asks the engine, and waits for what comes of it.
///
/// # Errors
///
/// It did not answer, and why.
pub async fn request(
    asks: &SyncSender<Ask>,
    request: ControlRequest,
) -> Result<ControlOutcome, &'static str> {
    let (answer, outcome) = oneshot::channel();
    let ask = Ask {
        request,
        at: wall_clock(),
        answer,
    };
    if asks.try_send(ask).is_err() {
        return Err("the engine is not there, or has too much to do");
    }
    match tokio::time::timeout(ENGINE_PATIENCE, outcome).await {
        Ok(Ok(outcome)) => Ok(outcome),
        _ => Err("the engine did not answer in time; what was asked may yet be done"),
    }
}

pub(super) fn wall_clock() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    Timestamp::default() + since.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn accounts_are_called_by_their_names() {
        assert_eq!(account_of(0).await, "root");
        assert_eq!(account_of(u32::MAX - 7).await, "uid 4294967288");
    }
}
