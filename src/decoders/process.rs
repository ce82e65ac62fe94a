//! One run of the decoder: bytes in, samples out, and nothing it does lasts longer or costs more than it may.

use std::ffi::OsStr;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::ioctl_fionbio;

use super::{Error, Settings, sandbox};

/// Between looks at whether it is to stop.
const LOOK: Duration = Duration::from_millis(100);
/// CPU seconds it may use beyond its time: a single thread never does, so that it is the time that says what went wrong.
const CPU_BEYOND_TIMEOUT_S: u64 = 2;
/// What is kept of what the program complains.
const COMPLAINT: usize = 300;
/// Bytes read at a time.
const CHUNK: usize = 64 << 10;

/// Runs the decoder on `input` and takes `expected` samples from it, 16 bit, one channel.
///
/// # Errors
/// Whatever the program does but that.
pub fn run(
    settings: &Settings,
    arguments: &[&str],
    input: &[u8],
    expected: usize,
    stop: &AtomicBool,
) -> Result<Vec<i16>, Error> {
    let quiet = ["-nostdin", "-hide_banner", "-loglevel", "error"];
    let alone = ["-threads", "1", "-protocol_whitelist", "pipe"];
    let source = ["-i", "pipe:0", "-map", "0:a:0"];
    let target = ["-f", "s16le", "-c:a", "pcm_s16le", "pipe:1"];
    let all = [&quiet[..], &alone, arguments, &source, &target].concat();
    let output = start(settings, &all)?.talk(settings, input, 2 * expected + 1, stop)?;
    let given = output.bytes.len() / 2;
    if output.bytes.len() != 2 * expected {
        return Err(Error::WrongLength {
            given,
            expected,
            complaint: output.complaint,
        });
    }
    let samples = output.bytes.chunks_exact(2);
    Ok(samples
        .map(|two| i16::from_le_bytes([two[0], two[1]]))
        .collect())
}

/// What the program says on its standard output, at most `limit` bytes, when it is run with `arguments`.
pub fn ask(settings: &Settings, arguments: &[&str], limit: usize) -> Result<String, Error> {
    let output = start(settings, arguments)?.talk(settings, &[], limit, &AtomicBool::new(false))?;
    Ok(String::from_utf8_lossy(&output.bytes).into_owned())
}

struct Output {
    bytes: Vec<u8>,
    complaint: String,
}

/// A program at work; it is gone when this is.
struct Running {
    child: Child,
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may be gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn start(settings: &Settings, arguments: &[&str]) -> Result<Running, Error> {
    let spawned = Command::new(&settings.own_program)
        .arg(sandbox::COMMAND)
        .arg(settings.memory_bytes.to_string())
        .arg((settings.timeout.as_secs() + CPU_BEYOND_TIMEOUT_S).to_string())
        .arg(&settings.program)
        .args(arguments.iter().map(OsStr::new))
        .env_clear()
        .env("LC_ALL", "C")
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    match spawned {
        Ok(child) => Ok(Running { child }),
        Err(error) => Err(Error::Start {
            program: settings.program.display().to_string(),
            reason: error.to_string(),
        }),
    }
}

/// The three pipes of a program, as far as they are open.
struct Pipes<'a> {
    input: Option<ChildStdin>,
    unsent: &'a [u8],
    output: Option<ChildStdout>,
    errors: Option<ChildStderr>,
    bytes: Vec<u8>,
    limit: usize,
    complaint: Vec<u8>,
}

impl Running {
    fn talk(
        mut self,
        settings: &Settings,
        input: &[u8],
        limit: usize,
        stop: &AtomicBool,
    ) -> Result<Output, Error> {
        let deadline = Instant::now() + settings.timeout;
        let mut pipes = Pipes {
            input: self.child.stdin.take(),
            unsent: input,
            output: self.child.stdout.take(),
            errors: self.child.stderr.take(),
            bytes: Vec::new(),
            limit,
            complaint: Vec::new(),
        };
        let broken = |error: std::io::Error| Error::Pipe {
            reason: error.to_string(),
        };
        pipes.unblock().map_err(broken)?;
        let left = || match deadline.saturating_duration_since(Instant::now()) {
            _ if stop.load(Ordering::Relaxed) => Err(Error::Stopped),
            Duration::ZERO => Err(Error::Timeout {
                seconds: settings.timeout.as_secs(),
            }),
            left => Ok(left.min(LOOK)),
        };
        while pipes.are_open() {
            pipes.wait(left()?).map_err(broken)?;
            pipes.work().map_err(broken)?;
        }
        let Pipes {
            bytes, complaint, ..
        } = pipes;
        let complaint = printable(&complaint);
        if bytes.len() >= limit {
            // It says more than it is asked for.
            return Ok(Output { bytes, complaint });
        }
        let status = loop {
            match self.child.try_wait().map_err(broken)? {
                Some(status) => break status,
                None => std::thread::sleep(left()?.min(Duration::from_millis(1))),
            }
        };
        let program = || settings.program.display().to_string();
        match status.code() {
            Some(0) => Ok(Output { bytes, complaint }),
            Some(sandbox::NOT_LOCKED_IN) => Err(Error::Sandbox {
                program: program(),
                reason: complaint,
            }),
            Some(sandbox::NOT_STARTED) => Err(Error::Start {
                program: program(),
                reason: complaint,
            }),
            _ => Err(Error::Died {
                status: status.to_string(),
                complaint,
            }),
        }
    }
}

impl Pipes<'_> {
    fn unblock(&self) -> std::io::Result<()> {
        if let Some(input) = &self.input {
            ioctl_fionbio(input, true)?;
        }
        if let Some(output) = &self.output {
            ioctl_fionbio(output, true)?;
        }
        if let Some(errors) = &self.errors {
            ioctl_fionbio(errors, true)?;
        }
        Ok(())
    }

    /// Whether there is more to hear. That there is nothing more to say does not matter then.
    fn are_open(&self) -> bool {
        (self.output.is_some() || self.errors.is_some()) && self.bytes.len() < self.limit
    }

    /// Waits until something can be written or read.
    fn wait(&self, at_most: Duration) -> std::io::Result<()> {
        let mut ends = Vec::with_capacity(3);
        if let Some(input) = &self.input {
            ends.push(PollFd::from_borrowed_fd(input.as_fd(), PollFlags::OUT));
        }
        if let Some(output) = &self.output {
            ends.push(PollFd::from_borrowed_fd(output.as_fd(), PollFlags::IN));
        }
        if let Some(errors) = &self.errors {
            ends.push(PollFd::from_borrowed_fd(errors.as_fd(), PollFlags::IN));
        }
        let timeout = Timespec {
            tv_sec: at_most.as_secs() as i64,
            tv_nsec: i64::from(at_most.subsec_nanos()),
        };
        match poll(&mut ends, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Writes and reads what can be at once.
    fn work(&mut self) -> std::io::Result<()> {
        if let Some(input) = &mut self.input {
            let piece = &self.unsent[..self.unsent.len().min(CHUNK)];
            match input.write(piece) {
                Ok(written) => self.unsent = &self.unsent[written..],
                Err(error) if is_for_later(&error) => {}
                // It does not want to hear more.
                Err(error) if error.kind() == ErrorKind::BrokenPipe => self.unsent = &[],
                Err(error) => return Err(error),
            }
            if self.unsent.is_empty() {
                self.input = None;
            }
        }
        let room = self.limit.saturating_sub(self.bytes.len());
        read_some(&mut self.output, &mut self.bytes, room)?;
        let room = COMPLAINT.saturating_sub(self.complaint.len());
        read_some(&mut self.errors, &mut self.complaint, room)
    }
}

/// Reads what there is, keeps what there is room for, and forgets a pipe that has ended.
fn read_some<R: Read>(
    pipe: &mut Option<R>,
    into: &mut Vec<u8>,
    room: usize,
) -> std::io::Result<()> {
    let Some(open) = pipe else { return Ok(()) };
    let mut chunk = [0; CHUNK];
    match open.read(&mut chunk) {
        Ok(0) => *pipe = None,
        Ok(read) => into.extend(&chunk[..read.min(room)]),
        Err(error) if is_for_later(&error) => {}
        Err(error) => return Err(error),
    }
    Ok(())
}

fn is_for_later(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}

/// The last line of it, behind a colon; nothing for nothing.
fn printable(complaint: &[u8]) -> String {
    let line = complaint
        .split(|&byte| byte == b'\n')
        .rfind(|line| !line.is_empty());
    let text: String = line
        .unwrap_or_default()
        .iter()
        .filter(|byte| byte.is_ascii_graphic() || **byte == b' ')
        .map(|&byte| char::from(byte))
        .collect();
    match text.is_empty() {
        true => text,
        false => format!(": {text}"),
    }
}
