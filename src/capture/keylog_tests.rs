use std::fs;
use std::io::Write;

use tempfile::TempDir;

use super::*;

fn line(n: u32) -> String {
    format!("CLIENT_RANDOM {n:064x} {}\n", "ab".repeat(48))
}

/// A file that is written, and its follower.
struct Log {
    _folder: TempDir,
    path: PathBuf,
    follower: KeyLogFile,
}

impl Log {
    fn new() -> Log {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        let follower = KeyLogFile::new(&path);
        Log {
            _folder: folder,
            path,
            follower,
        }
    }

    fn append(&self, text: &str) {
        let mut file = File::options()
            .create(true)
            .append(true)
            .open(&self.path)
            .unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    /// How many secrets came since the last time.
    fn poll(&mut self) -> usize {
        let mut secrets = 0;
        self.follower.poll(&mut |_| secrets += 1).unwrap();
        secrets
    }
}

#[test]
fn a_file_is_followed_from_before_it_is_there() {
    let mut log = Log::new();
    assert_eq!(log.poll(), 0);
    log.append(&line(1));
    assert_eq!(log.poll(), 1);
    assert_eq!(log.poll(), 0);
    log.append(&format!("# comment\n{}{}", line(2), line(3)));
    assert_eq!(log.poll(), 2);
    assert_eq!(log.follower.counters().restarts, 0);
}

#[test]
fn a_line_counts_when_its_end_is_written() {
    let mut log = Log::new();
    let (whole, next) = (line(1), line(2));
    log.append(&whole[..70]);
    assert_eq!(log.poll(), 0);
    log.append(&whole[70..whole.len() - 1]);
    assert_eq!(log.poll(), 0);
    log.append("\n");
    log.append(&next[..100]);
    assert_eq!(log.poll(), 1);
    log.append(&next[100..]);
    assert_eq!(log.poll(), 1);
    assert_eq!(log.follower.counters().malformed_lines, 0);
}

#[test]
fn a_truncated_file_is_read_from_its_beginning() {
    let mut log = Log::new();
    log.append(&line(1).repeat(3));
    assert_eq!(log.poll(), 3);
    fs::write(&log.path, line(2)).unwrap();
    assert_eq!(log.poll(), 1);
    // Written again past where it was read, between two looks.
    fs::write(&log.path, line(3).repeat(4)).unwrap();
    assert_eq!(log.poll(), 4);
    assert_eq!(log.follower.counters().restarts, 2);
}

#[test]
fn a_replaced_file_loses_nothing_of_the_old_or_the_new() {
    let mut log = Log::new();
    log.append(&line(1));
    assert_eq!(log.poll(), 1);
    log.append(&line(2));
    fs::rename(&log.path, log.path.with_extension("1")).unwrap();
    log.append(&line(3));
    log.append(&line(4));
    assert_eq!(log.poll(), 3);
    // Moved away, and nothing in its place: whoever has it open writes on.
    fs::rename(&log.path, log.path.with_extension("2")).unwrap();
    let mut old = File::options()
        .append(true)
        .open(log.path.with_extension("2"))
        .unwrap();
    old.write_all(line(5).as_bytes()).unwrap();
    assert_eq!(log.poll(), 1);
    assert_eq!(log.follower.counters().restarts, 1);
}

#[test]
fn lines_without_end_are_skipped_and_counted() {
    let mut log = Log::new();
    log.append(&"x".repeat(100_000));
    assert_eq!(log.poll(), 0);
    log.append(&format!("{}\n{}", "y".repeat(1000), line(1)));
    assert_eq!(log.poll(), 1);
    assert_eq!(log.follower.counters().malformed_lines, 1);
}

#[test]
fn of_a_large_file_a_daemon_reads_the_newest_part_and_a_replay_all() {
    let mut log = Log::new();
    let lines = NEWEST as usize / line(1).len() + 10;
    log.append(&line(1).repeat(lines));
    let newest = log.poll();
    assert!(newest < lines && newest > lines - 20, "{newest} of {lines}");
    let mut all = 0;
    KeyLogFile::new(&log.path)
        .read_all(&mut |_| all += 1)
        .unwrap();
    assert_eq!(all, lines);
}

#[test]
fn the_last_line_of_a_complete_file_needs_no_end() {
    let log = Log::new();
    log.append(&(line(1) + line(2).trim_end()));
    let mut secrets = 0;
    KeyLogFile::new(&log.path)
        .read_all(&mut |_| secrets += 1)
        .unwrap();
    assert_eq!(secrets, 2);
}

#[test]
fn what_is_no_file_is_an_error_and_can_be_asked_again() {
    let mut log = Log::new();
    fs::create_dir(&log.path).unwrap();
    assert!(log.follower.poll(&mut |_| {}).is_err());
    fs::remove_dir(&log.path).unwrap();
    log.append(&line(1));
    assert_eq!(log.poll(), 1);
    assert!(
        KeyLogFile::new(Path::new("/nowhere"))
            .read_all(&mut |_| {})
            .is_err()
    );
}

#[test]
fn a_file_that_everyone_may_read_is_told() {
    let log = Log::new();
    log.append(&line(1));
    for (mode, told) in [(0o600, false), (0o640, false), (0o644, true)] {
        fs::set_permissions(&log.path, fs::Permissions::from_mode(mode)).unwrap();
        assert_eq!(log.follower.is_readable_by_others(), told);
    }
}
