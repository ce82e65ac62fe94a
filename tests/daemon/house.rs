//! The daemon in a network of its own: two hosts on a cable, as `fixtures/live/sipp-calls.sh` makes them, with the daemon on
//! the caller's. All that a test starts ends with it, and nothing else.

use std::fs;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use callreel::storage::{Keys, Kind, Layout, RecordingName, Sidecar, StoredFile};
use rustix::process::{Pid, Signal, geteuid, kill_process, kill_process_group};
use tempfile::TempDir;

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_callreel");
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/live/sipp-calls.sh");
const PHONES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/live/phones.sh");
const NEEDED: [&str; 4] = ["ip", "sipp", "curl", "python3"];

/// Houses of this process.
static BUILT: AtomicU32 = AtomicU32::new(0);

/// Two hosts, and a folder for what the daemon reads and writes.
pub struct House {
    name: String,
    pub folder: TempDir,
}

impl House {
    /// `None`, with the reason printed, where there can be none.
    pub fn build() -> Option<House> {
        if !geteuid().is_root() {
            println!("skipped: network namespaces and capture need root");
            return None;
        }
        if !NEEDED.into_iter().all(has) {
            return None;
        }
        let number = BUILT.fetch_add(1, Ordering::Relaxed);
        let house = House {
            name: format!("reel{}-{number}", std::process::id()),
            folder: tempfile::tempdir().unwrap(),
        };
        let up = script(&["up", &house.name]).output().unwrap();
        if !up.status.success() {
            println!("skipped: no network namespaces: {}", text(&up.stderr));
            return None;
        }
        fs::create_dir_all(house.folder.path().join("tenants")).unwrap();
        Some(house)
    }

    /// Writes the daemon's file: these interfaces, and more lines after them.
    pub fn configure(&self, interfaces: &[&str], more: &str) {
        self.configure_capture(&format!("interfaces = {interfaces:?}"), more);
    }

    /// The same with all lines of `[capture]`.
    pub fn configure_capture(&self, capture: &str, more: &str) {
        let folder = self.folder.path().display();
        let config = format!(
            "[capture]\n{capture}\n[catalog]\nurl = \"sqlite://{folder}/catalog.db\"\n\
             [api]\nlisten = \"127.0.0.1:8080\"\n[storage]\nroot = \"recordings\"\nkey_file = \"recordings.key\"\nmin_free_mib = 4\n{more}"
        );
        fs::write(self.config(), config).unwrap();
    }

    pub fn config(&self) -> PathBuf {
        self.folder.path().join("callreel.toml")
    }

    pub fn storage(&self) -> PathBuf {
        self.folder.path().join("recordings")
    }

    pub fn write_tenant(&self, text: &str) {
        fs::write(self.folder.path().join("tenants/acme.toml"), text).unwrap();
    }

    /// A command on the caller's host.
    pub fn inside(&self, program: &str) -> Command {
        let mut command = script(&["run", &self.name]);
        command.arg(program);
        command
    }

    fn callreel_run(&self, under: &[&str]) -> Command {
        let words: Vec<&str> = under.iter().copied().chain([PROGRAM]).collect();
        let mut command = self.inside(words[0]);
        command
            .args(&words[1..])
            .arg("run")
            .arg("--config")
            .arg(self.config());
        command.env_remove("RUST_LOG");
        command
    }

    /// The daemon, recording.
    pub fn start(&self) -> Daemon<'_> {
        self.start_so(&[], &[])
    }

    /// The same under another program, which becomes it.
    pub fn start_under(&self, program: &[&str]) -> Daemon<'_> {
        self.start_so(program, &[])
    }

    /// The same with more in its environment.
    pub fn start_with(&self, environment: &[(&str, &str)]) -> Daemon<'_> {
        self.start_so(&[], environment)
    }

    fn start_so(&self, under: &[&str], environment: &[(&str, &str)]) -> Daemon<'_> {
        let log = self.folder.path().join("log");
        let file = fs::File::options()
            .create(true)
            .append(true)
            .open(&log)
            .unwrap();
        let mut command = self.callreel_run(under);
        command.envs(environment.iter().copied());
        let child = command.stderr(file).stdout(Stdio::null()).spawn().unwrap();
        let mut daemon = Daemon {
            house: self,
            child,
            log,
        };
        daemon.wait_until("it answers", |daemon| {
            let health = daemon.get("/health");
            assert!(
                daemon.child.try_wait().unwrap().is_none(),
                "{}",
                daemon.log()
            );
            health.is_some_and(|(_, body)| !body.contains("\"starting\""))
        });
        daemon
    }

    /// A daemon that does not start: what it says.
    pub fn start_in_vain(&self) -> (Option<i32>, String) {
        let output = self.callreel_run(&[]).output().unwrap();
        (output.status.code(), text(&output.stderr))
    }

    /// Begins sipp calls. `wait` for their end.
    pub fn begin_calls(&self, calls: u32, rate: f64, seconds: u32) -> Calls {
        let numbers = [calls.to_string(), rate.to_string(), seconds.to_string()];
        let mut command = script(&["call", &self.name]);
        command.args(numbers).process_group(0);
        Calls(command.stdout(Stdio::null()).spawn().unwrap())
    }

    pub fn call(&self, calls: u32, rate: f64, seconds: u32) {
        self.begin_calls(calls, rate, seconds).wait();
    }

    /// One sipp call whose caller steers its recording, by header and keys in INFO.
    pub fn call_steered(&self, seconds: u32) {
        let mut command = script(&["call", &self.name]);
        command
            .args(["1", "1", &seconds.to_string()])
            .process_group(0);
        command.env("SCENARIO", "steered-");
        Calls(command.stdout(Stdio::null()).spawn().unwrap()).wait();
    }

    /// Real phones of all kinds call each other, as `fixtures/live/phones.sh` says.
    pub fn call_phones(&self) {
        let mut command = Command::new("bash");
        command.arg(PHONES).arg(&self.name).arg(self.folder.path());
        Calls(command.process_group(0).spawn().unwrap()).wait();
    }

    /// Begins simulated calls on the cable, sent from the other host.
    pub fn begin_simulation(&self, calls: u32, talk: u32) -> Calls {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &format!("{}-callee", self.name)]);
        command.args([
            PROGRAM,
            "simulate",
            "--interface",
            "eth0",
            "--spacing",
            "0.02",
        ]);
        command.args(["--ring", "0.1", "--calls", &calls.to_string()]);
        command.args(["--talk", &talk.to_string()]).process_group(0);
        Calls(command.stderr(Stdio::null()).spawn().unwrap())
    }

    /// Begins to send a capture's frames on the cable, from the other host, at the times between them. Their link addresses
    /// are nobody's here, so that no host answers.
    pub fn begin_replay(&self, capture: &Path) -> Calls {
        const SEND: &str = "import socket, struct, sys, time\n\
            data, at, begin = open(sys.argv[1], 'rb').read(), 24, time.monotonic()\n\
            out, first = socket.socket(socket.AF_PACKET, socket.SOCK_RAW), None\n\
            out.bind(('eth0', 0))\n\
            while at < len(data):\n    \
                s, us, length, _ = struct.unpack_from('<4I', data, at)\n    \
                when = s + us / 1e6\n    \
                first = when if first is None else first\n    \
                time.sleep(max(0, begin + when - first - time.monotonic()))\n    \
                out.send(bytes.fromhex('020000009901020000009902') + data[at + 28:at + 16 + length])\n    \
                at += 16 + length\n";
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &format!("{}-callee", self.name)]);
        command.args(["python3", "-c", SEND]).arg(capture);
        command.process_group(0);
        Calls(command.spawn().unwrap())
    }

    /// Where recordings are, with the keys of those that are encrypted.
    pub fn layout(&self) -> Layout {
        self.layout_at(&self.storage())
    }

    /// The same of recordings somewhere else.
    pub fn layout_at(&self, root: &Path) -> Layout {
        let keys = Keys::at(self.folder.path().join("recordings.key"));
        Layout::new(root).with_keys(Arc::new(keys))
    }

    /// Sidecars of finished recordings, in the order of their calls; each beside its audio.
    pub fn recordings(&self) -> Vec<Sidecar> {
        let layout = self.layout();
        let files = layout.walk(|path, error| panic!("{}: {error}", path.display()));
        let mut sidecars = Vec::new();
        for (name, kind) in files {
            if kind == Kind::Sidecar {
                let sidecar = Sidecar::load(&layout, &name, kind).unwrap();
                let audio = audio_in(&layout, &name);
                let audio = hound::WavReader::new(&audio[..]).unwrap();
                assert_eq!(u64::from(audio.duration()), sidecar.samples);
                sidecars.push(sidecar);
            }
        }
        sidecars.sort_by_key(|sidecar| sidecar.invite_at_ns);
        sidecars
    }

    /// Where the audio of a finished recording is.
    pub fn audio(&self, sidecar: &Sidecar) -> PathBuf {
        let layout = Layout::new(self.storage());
        let mut files = layout.walk(|_, _| {}).into_iter();
        let found = files.find(|(name, _)| name.id == sidecar.recording_id);
        layout.path(&found.unwrap().0, Kind::Audio)
    }

    pub fn unfinished(&self) -> usize {
        let files = Layout::new(self.storage()).walk(|_, _| {});
        let parts = files.iter().filter(|(_, kind)| *kind == Kind::AudioPart);
        parts.count()
    }
}

/// The WAV of a recording, whether or not it is encrypted.
pub fn audio_in(layout: &Layout, name: &RecordingName) -> Vec<u8> {
    let file = StoredFile::open(layout, name, Kind::Audio).unwrap();
    file.read_to_end().unwrap()
}

impl Drop for House {
    fn drop(&mut self) {
        let _ = script(&["down", &self.name]).output();
    }
}

/// Calls in progress; ended with this if they are not over.
pub struct Calls(Child);

impl Calls {
    pub fn wait(mut self) {
        assert!(self.0.wait().unwrap().success(), "the calls failed");
    }
}

impl Drop for Calls {
    fn drop(&mut self) {
        if self.0.try_wait().unwrap().is_none() {
            // A group of its own, made by `process_group(0)`.
            let _ = kill_process_group(pid(&self.0), Signal::KILL);
            let _ = self.0.wait();
        }
    }
}

pub struct Daemon<'a> {
    house: &'a House,
    child: Child,
    log: PathBuf,
}

impl Daemon<'_> {
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Status and body.
    pub fn get(&self, path: &str) -> Option<(u16, String)> {
        let mut curl = self.house.inside("curl");
        curl.args(["-s", "-m", "5", "-w", "\n%{http_code}"]);
        curl.arg(format!("http://127.0.0.1:8080{path}"));
        let Output { status, stdout, .. } = curl.output().unwrap();
        let answer = text(&stdout);
        let (body, code) = answer.rsplit_once('\n')?;
        status
            .success()
            .then(|| (code.parse().unwrap(), body.to_owned()))
    }

    pub fn health(&self) -> (u16, String) {
        self.get("/health").expect("it answers")
    }

    /// The sum of a metric's values with all of `labels`.
    pub fn metric(&self, name: &str, labels: &str) -> u64 {
        let (code, page) = self.get("/metrics").expect("it answers");
        assert_eq!(code, 200);
        let lines = page.lines().filter(|line| {
            let of_name = line.strip_prefix(name);
            of_name.is_some_and(|rest| rest.starts_with([' ', '{']) && rest.contains(labels))
        });
        let mut values = lines.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap());
        let first = values.next();
        first.unwrap_or_else(|| panic!("{name} {labels}")) + values.sum::<u64>()
    }

    pub fn wait_until(&mut self, what: &str, mut holds: impl FnMut(&mut Self) -> bool) {
        let begin = Instant::now();
        while !holds(self) {
            let patient = begin.elapsed() < Duration::from_secs(15);
            assert!(patient, "waited in vain until {what}:\n{}", self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(pid(&self.child), signal).unwrap();
    }

    /// Stops it with SIGTERM; how long that took.
    pub fn stop(mut self) -> (ExitStatus, Duration) {
        let begin = Instant::now();
        self.signal(Signal::TERM);
        let status = self.child.wait().unwrap();
        (status, begin.elapsed())
    }

    /// Its end, which something else has brought about.
    pub fn wait(mut self) -> ExitStatus {
        self.child.wait().unwrap()
    }

    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Daemon<'_> {
    fn drop(&mut self) {
        if self.child.try_wait().unwrap().is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// A small disk at a folder.
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    /// `None`, with the reason printed, where nothing can be mounted.
    pub fn mount(folder: &Path, mebibytes: u32) -> Option<SmallDisk> {
        fs::create_dir_all(folder).unwrap();
        let size = format!("size={mebibytes}m");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &size, "callreel-test"]);
        let mounted = mount.arg(folder).output().unwrap();
        if !mounted.status.success() {
            println!("skipped: nothing can be mounted: {}", text(&mounted.stderr));
            return None;
        }
        Some(SmallDisk(folder.to_owned()))
    }

    /// A file that leaves so much free.
    pub fn fill_up_to(&self, free_mebibytes: u64) -> PathBuf {
        let disk = rustix::fs::statvfs(&self.0).unwrap();
        let free = disk.f_bavail * disk.f_frsize;
        let path = self.0.join("filler");
        let mut file = fs::File::create(&path).unwrap();
        let bytes = free.saturating_sub(free_mebibytes << 20);
        file.write_all(&vec![1; bytes as usize]).unwrap();
        path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}

/// Whether a program is installed; if not, said aloud.
pub fn has(program: &str) -> bool {
    let found = Command::new("which").arg(program).output().unwrap();
    let found = found.status.success();
    if !found {
        println!("skipped: {program} is not installed");
    }
    found
}

fn script(words: &[&str]) -> Command {
    let mut command = Command::new("bash");
    command.arg(SCRIPT).args(words);
    command
}

fn pid(child: &Child) -> Pid {
    Pid::from_child(child)
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
