//! `callreel calls control`: steers the recording of a call in progress.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use anyhow::Context;

use super::super::output::{self, harmless, print_json};
use super::super::{Exit, selection::Store};
use crate::daemon::steering::{Answer, Line, socket_path};
use crate::engine::control::ControlAction;

/// How long the daemon may take.
const PATIENCE: Duration = Duration::from_secs(15);

#[derive(Debug, clap::Args)]
#[command(
    after_help = "The daemon that records into the configured storage is asked, over a socket beside the recordings that only root \
and the daemon's own account may use. What is asked holds for all calls of the interaction, and stands with who and why in \
their sidecars and in the audit of the tenants whose calls they are.\n\n\
Exit status: 0 done, or so already; 1 there is no such call in progress, or no daemon; 2 bad usage or configuration."
)]
pub struct Args {
    /// Id of the recording or of the interaction, as the log names them, or the SIP Call-ID
    #[arg(value_name = "ID")]
    id: String,
    /// What is to be done
    action: Action,
    /// Why, for the sidecar
    #[arg(long, value_name = "TEXT", default_value = "")]
    why: String,
    /// On whose behalf, for the sidecar; beside the account that asks
    #[arg(long, value_name = "NAME", default_value = "")]
    who: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Action {
    /// Record nothing until further notice
    Pause,
    /// Go on recording
    Resume,
    /// Do not record this call: what was recorded goes too
    Stop,
    /// Keep a call that is recorded on demand
    Keep,
}

impl From<Action> for ControlAction {
    fn from(action: Action) -> ControlAction {
        match action {
            Action::Pause => ControlAction::Pause,
            Action::Resume => ControlAction::Resume,
            Action::Stop => ControlAction::Stop,
            Action::Keep => ControlAction::Keep,
        }
    }
}

pub fn run(args: &Args, store: &Store) -> anyhow::Result<Exit> {
    let path = socket_path(store.root());
    let socket = match UnixStream::connect(&path) {
        Ok(socket) => socket,
        Err(error) => {
            eprintln!("callreel: no daemon answers on {}: {error}", path.display());
            return Ok(Exit::Found);
        }
    };
    let line = Line {
        call: args.id.clone(),
        action: args.action.into(),
        who: args.who.clone(),
        why: args.why.clone(),
    };
    let answer = ask(socket, &line).context("the daemon could not be asked")?;
    if args.json {
        print_json(&answer)?;
    }
    if let Some(error) = &answer.error {
        if !args.json {
            eprintln!("callreel: {}", harmless(error));
        }
        return Ok(Exit::Found);
    }
    if !args.json {
        print(&answer, line.action);
    }
    Ok(Exit::Success)
}

fn ask(mut socket: UnixStream, line: &Line) -> anyhow::Result<Answer> {
    socket.set_read_timeout(Some(PATIENCE))?;
    let mut bytes = serde_json::to_vec(line)?;
    bytes.push(b'\n');
    socket.write_all(&bytes)?;
    let mut answer = String::new();
    BufReader::new(socket).read_line(&mut answer)?;
    Ok(serde_json::from_str(&answer)?)
}

fn print(answer: &Answer, action: ControlAction) {
    let name = action.name();
    let text = match (answer.changed, &answer.at) {
        (0, _) => format!("{name}: nothing to change in {} calls\n", answer.calls),
        (changed, Some(at)) => format!("{name}: {changed} of {} calls, from {at}\n", answer.calls),
        (changed, None) => format!("{name}: {changed} of {} calls\n", answer.calls),
    };
    output::print(&harmless(text.trim_end()));
    output::print("\n");
}
