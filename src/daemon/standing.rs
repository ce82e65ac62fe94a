//! What was asked about recordings and still holds, kept in a file: so that a call that goes on while the daemon is started anew
//! is as little recorded after that as before.
//!
//! In: changes, from the engine's thread, which waits for nothing. Out: `control-standing.jsonl` beside the recordings, whole or
//! as it was, written by a thread of its own; and answers to who asked by the API or the socket, once that is on the disk.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::state::locked;
use super::steering::{Ask, wall_clock};
use crate::base::{PerSide, Side, TenantId, Timestamp};
use crate::engine::control::{ControlAction, ControlBy, ControlNote, ControlOutcome};
use crate::engine::standing::{Change, DialogName, Standing};

/// Beside the recordings.
const NAME: &str = "control-standing.jsonl";
/// Bytes of a line; a longer one is none of ours.
const LINE: u64 = 64 << 10;
/// Lines read of a file that somebody made longer.
const MOST: usize = 1 << 17;
/// Answers that wait for the disk; who asks beyond that is answered at once.
const ANSWERS: usize = 256;
/// Between two attempts at a disk that fails, and the longest time between two that do not.
const AGAIN: Duration = Duration::from_millis(500);

/// What the engine's thread and the one that writes have in common. Nobody holds it while a disk works.
#[derive(Default)]
struct Shared {
    known: BTreeMap<u64, Arc<Standing>>,
    /// Something changed that is not in the file.
    is_stale: bool,
    /// What changed is being written.
    is_busy: bool,
    is_over: bool,
    answers: Vec<(Ask, ControlOutcome)>,
}

/// What the thread is to do.
struct Work {
    /// All that holds, where something of it is not in the file.
    known: Option<Vec<Arc<Standing>>>,
    /// Whom to answer after that.
    answers: Vec<(Ask, ControlOutcome)>,
    is_over: bool,
}

#[derive(Default)]
struct Desk {
    shared: Mutex<Shared>,
    bell: Condvar,
}

/// Keeps what holds. Dropped, it writes what it knows.
pub struct Keeper {
    desk: Arc<Desk>,
    thread: Option<JoinHandle<()>>,
}

impl Keeper {
    /// Starts the thread, and tells what an earlier run left in the storage `root`, for [`Engine::restore`](crate::engine::Engine):
    /// of calls that may still go on, none of which lasts longer than `longest`.
    ///
    /// # Errors
    ///
    /// When no thread can be started. A file that cannot be read is told, and left out.
    pub fn start(root: &Path, longest: Duration) -> io::Result<(Keeper, Vec<Standing>)> {
        let path = root.join(NAME);
        let mut left = read(&path).unwrap_or_else(|error| {
            tracing::error!(%error, path = %path.display(), "what was asked about calls in progress cannot be read");
            Vec::new()
        });
        let found = left.len();
        left.retain(|standing| standing.since + longest >= wall_clock());
        if !left.is_empty() {
            tracing::info!(
                calls = left.len(),
                "calls that an earlier run was not to record, or had paused, are known"
            );
        }
        let desk = Arc::<Desk>::default();
        {
            let mut shared = locked(&desk.shared);
            // The engine numbers them the same way.
            shared.known = (1..).zip(left.iter().cloned().map(Arc::new)).collect();
            shared.is_stale = found > left.len();
        }
        let at_desk = desk.clone();
        let thread = std::thread::Builder::new().name("standing".into());
        let thread = Some(thread.spawn(move || at_desk.work(&path))?);
        Ok((Keeper { desk, thread }, left))
    }

    pub fn take(&self, (id, standing): Change) {
        let mut shared = locked(&self.desk.shared);
        match standing {
            Some(standing) => drop(shared.known.insert(id, standing)),
            None => drop(shared.known.remove(&id)),
        }
        shared.is_stale = true;
        self.desk.bell.notify_one();
    }

    /// Answers, once what was asked is on the disk or the disk has failed: what was done is done.
    pub fn answer(&self, ask: Ask, outcome: ControlOutcome) {
        let mut shared = locked(&self.desk.shared);
        let is_safe = !shared.is_stale && !shared.is_busy;
        if !is_safe && shared.answers.len() < ANSWERS {
            shared.answers.push((ask, outcome));
            self.desk.bell.notify_one();
        } else {
            drop(shared);
            ask.answer(outcome);
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        locked(&self.desk.shared).is_over = true;
        self.desk.bell.notify_one();
        // A panic there was reported there.
        _ = self.thread.take().map(JoinHandle::join);
    }
}

impl Desk {
    fn work(&self, path: &Path) {
        let mut is_failing = false;
        loop {
            let Work {
                known,
                answers,
                is_over,
            } = self.next(is_failing);
            let begun = Instant::now();
            if let Some(known) = known {
                let written = write_anew(path, &known);
                if let Err(error) = &written
                    && !is_failing
                {
                    tracing::error!(%error, path = %path.display(), "what was asked of calls in progress is not safe from a restart");
                }
                is_failing = written.is_err();
                let mut shared = locked(&self.shared);
                shared.is_busy = false;
                shared.is_stale |= is_failing;
            }
            for (ask, outcome) in answers {
                ask.answer(outcome);
            }
            if is_over {
                return;
            }
            // A long list does not keep the disk busy all the time.
            std::thread::sleep(begun.elapsed().min(AGAIN));
        }
    }

    /// Waits for work.
    fn next(&self, is_failing: bool) -> Work {
        let mut shared = locked(&self.shared);
        loop {
            let is_due = shared.is_stale && !is_failing || !shared.answers.is_empty();
            if is_due || shared.is_over {
                break;
            }
            let waited = self.bell.wait_timeout(shared, AGAIN);
            let (again, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            shared = again;
            if timeout.timed_out() && shared.is_stale {
                break;
            }
        }
        let known = std::mem::take(&mut shared.is_stale).then(|| shared.known.values().cloned());
        let known: Option<Vec<_>> = known.map(Iterator::collect);
        shared.is_busy = known.is_some();
        Work {
            known,
            answers: std::mem::take(&mut shared.answers),
            is_over: shared.is_over,
        }
    }
}

/// A line of the file.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Line {
    /// Digests of Call-ID and tags, in hexadecimal; 0 for a tag that is not known.
    call_id: String,
    caller_tag: String,
    callee_tag: String,
    since_ns: i64,
    asked: Vec<Asked>,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Asked {
    at_ns: i64,
    action: ControlAction,
    by: String,
    tenant: Option<Uuid>,
    side: Option<String>,
    who: String,
    why: String,
    alone: bool,
}

impl From<&Standing> for Line {
    fn from(standing: &Standing) -> Line {
        let asked = |note: &ControlNote| Asked {
            at_ns: note.at.as_nanos(),
            action: note.action,
            by: note.by.name().to_owned(),
            tenant: note.tenant.map(|tenant| tenant.0),
            side: note.side.map(|side| side.to_string()),
            who: note.who.clone(),
            why: note.why.clone(),
            alone: note.alone,
        };
        let dialog = &standing.dialog;
        Line {
            call_id: format!("{:x}", dialog.call_id),
            caller_tag: format!("{:x}", dialog.tags.caller),
            callee_tag: format!("{:x}", dialog.tags.callee),
            since_ns: standing.since.as_nanos(),
            asked: standing.notes.iter().map(asked).collect(),
        }
    }
}

impl Line {
    fn standing(self) -> Option<Standing> {
        let number = |text: &str| u128::from_str_radix(text, 16).ok();
        let note = |asked: Asked| {
            Some(ControlNote {
                at: Timestamp::from_nanos(asked.at_ns),
                action: asked.action,
                by: ControlBy::from_name(&asked.by)?,
                tenant: asked.tenant.map(TenantId),
                side: asked.side.and_then(|name| side_of(&name)),
                who: asked.who,
                why: asked.why,
                alone: asked.alone,
            })
        };
        Some(Standing {
            dialog: DialogName {
                call_id: number(&self.call_id)?,
                tags: PerSide {
                    caller: number(&self.caller_tag)?,
                    callee: number(&self.callee_tag)?,
                },
            },
            since: Timestamp::from_nanos(self.since_ns),
            notes: self.asked.into_iter().map(note).collect::<Option<_>>()?,
        })
    }
}

fn side_of(name: &str) -> Option<Side> {
    Side::BOTH.into_iter().find(|side| side.to_string() == name)
}

/// Whole or not at all, and on the disk.
fn write_anew(path: &Path, known: &[Arc<Standing>]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    if known.is_empty() {
        return match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => File::open(folder)?.sync_all(),
        };
    }
    let beside: PathBuf = path.with_extension("new");
    let file = (OpenOptions::new().create(true).write(true).truncate(true))
        .mode(0o600)
        .open(&beside)?;
    let mut writer = BufWriter::new(file);
    for standing in known {
        serde_json::to_writer(&mut writer, &Line::from(&**standing))?;
        writer.write_all(b"\n")?;
    }
    let file = writer
        .into_inner()
        .map_err(io::IntoInnerError::into_error)?;
    file.sync_data()?;
    fs::rename(beside, path)?;
    File::open(folder)?.sync_all()
}

/// Lines that are none are left out.
fn read(path: &Path) -> io::Result<Vec<Standing>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut reader = BufReader::new(file);
    let (mut left, mut line) = (Vec::new(), Vec::new());
    while left.len() < MOST {
        line.clear();
        let read = (reader.by_ref().take(LINE)).read_until(b'\n', &mut line)?;
        if read == 0 {
            break;
        }
        let parsed = serde_json::from_slice::<Line>(&line).ok();
        left.extend(parsed.and_then(Line::standing));
    }
    Ok(left)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONGEST: Duration = Duration::from_secs(86_400);

    fn standing(call_id: &str) -> Standing {
        Standing {
            dialog: DialogName::new(call_id, "from", ""),
            since: Timestamp::from_secs_nanos(9_000_000_000, 5),
            notes: vec![ControlNote {
                at: Timestamp::from_secs_nanos(1_800_000_001, 7),
                action: ControlAction::Pause,
                by: ControlBy::Keys,
                tenant: Some(TenantId(Uuid::from_u128(7))),
                side: Some(Side::Callee),
                who: "alice \"\n".into(),
                why: "../keys".into(),
                alone: false,
            }],
        }
    }

    fn left(root: &Path) -> Vec<Standing> {
        read(&root.join(NAME)).unwrap()
    }

    #[test]
    fn what_holds_is_there_after_another_start_and_what_does_not_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let (keeper, nothing) = Keeper::start(folder.path(), LONGEST).unwrap();
        assert!(nothing.is_empty());
        for (id, call_id) in [(1, "../../etc/a"), (2, "b")] {
            keeper.take((id, Some(Arc::new(standing(call_id)))));
        }
        drop(keeper);
        let (keeper, known) = Keeper::start(folder.path(), LONGEST).unwrap();
        assert_eq!(known, [standing("../../etc/a"), standing("b")]);
        keeper.take((1, None));
        drop(keeper);
        assert_eq!(left(folder.path()), [standing("b")]);
        let old = Standing {
            since: Timestamp::from_secs_nanos(1_700_000_000, 0),
            ..standing("c")
        };
        write_anew(
            &folder.path().join(NAME),
            &[Arc::new(old), Arc::new(standing("b"))],
        )
        .unwrap();
        let (keeper, known) = Keeper::start(folder.path(), LONGEST).unwrap();
        assert_eq!(known, [standing("b")], "no call lasts so long");
        drop(keeper);
        assert_eq!(left(folder.path()), [standing("b")]);
        let (keeper, _) = Keeper::start(folder.path(), LONGEST).unwrap();
        keeper.take((1, None));
        drop(keeper);
        assert!(!folder.path().join(NAME).exists());
    }

    #[test]
    fn who_asked_is_answered_when_it_is_on_the_disk() {
        let folder = tempfile::tempdir().unwrap();
        let (keeper, _) = Keeper::start(folder.path(), LONGEST).unwrap();
        for id in 1..20 {
            keeper.take((id, Some(Arc::new(standing(&id.to_string())))));
            let (ask, answer) = Ask::for_tests();
            keeper.answer(ask, ControlOutcome::nothing());
            answer.blocking_recv().unwrap();
            assert_eq!(left(folder.path()).len() as u64, id);
        }
    }

    #[test]
    fn a_file_that_was_cut_off_gives_what_it_has_and_a_disk_that_fails_holds_up_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(NAME);
        write_anew(&path, &[Arc::new(standing("a")), Arc::new(standing("b"))]).unwrap();
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() - 9]).unwrap();
        assert_eq!(left(folder.path()), [standing("a")]);
        let gone = folder.path().join("nowhere");
        let (keeper, _) = Keeper::start(&gone, LONGEST).unwrap();
        keeper.take((1, Some(Arc::new(standing("a")))));
        let (ask, answer) = Ask::for_tests();
        keeper.answer(ask, ControlOutcome::nothing());
        answer.blocking_recv().unwrap();
        // It is written as soon as it can be.
        fs::create_dir(&gone).unwrap();
        drop(keeper);
        assert_eq!(left(&gone), [standing("a")]);
    }
}
