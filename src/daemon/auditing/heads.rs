//! The heads of the audit's chains, in a file beside the catalog: whoever takes the end of a chain out of the catalog has to
//! change this file too, and what was copied elsewhere by then.
//!
//! A line for each record as it comes: tenant, number, hash. The last line of a tenant is its head; where its numbers begin again
//! before that, the chain was cut, and the head from before stays too. The line `anew` is an operator's word that what is before it
//! does not count any more. The file is written anew, with heads only, when it has grown.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::Error;
use crate::base::TenantId;
use crate::catalog::{AuditEntry, KnownRecord};
use crate::daemon::storekeeping::catalog_file;

/// Bytes of the file before it is looked at whether it is to be written anew.
const LARGE: u64 = 4 << 20;
/// Bytes of a line, at most.
const LINE: u64 = 128;

/// Heads that are kept of a chain that was cut again and again; the first ones stay.
const OF_A_CHAIN: usize = 16;
/// What is before it does not count any more.
const ANEW: &str = "anew";

/// What the catalog calls who writes the file.
pub const HEADS: &str = "heads";

pub struct HeadsFile {
    path: PathBuf,
}

/// The file that belongs to the catalog at `url`; none for one in memory.
pub fn heads_path(url: &str) -> Option<PathBuf> {
    if url.contains(":memory:") {
        return None;
    }
    let mut path = catalog_file(url)?.into_os_string();
    path.push(".audit-heads");
    Some(path.into())
}

/// The heads that the file holds, more than one of a chain that was cut; `None` where there is no file. Lines that are no heads are
/// left out.
pub fn read_heads(path: &Path) -> std::io::Result<Option<Vec<KnownRecord>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut heads: BTreeMap<TenantId, Vec<KnownRecord>> = BTreeMap::new();
    for line in BufReader::new(file).lines() {
        let line = line?;
        if line == ANEW {
            heads.clear();
        } else if let Some(known) = parse(&line) {
            note(heads.entry(known.tenant).or_default(), known);
        }
    }
    Ok(Some(heads.into_values().flatten().collect()))
}

fn note(heads: &mut Vec<KnownRecord>, known: KnownRecord) {
    let kept = heads.len();
    match heads.last_mut() {
        Some(last) if last.number < known.number => *last = known,
        // Told twice, where the program ended between telling and noting it.
        Some(last) if *last == known => {}
        Some(_) if kept >= OF_A_CHAIN => {}
        _ => heads.push(known),
    }
    if let Some((last, before)) = heads.split_last()
        && before.contains(last)
    {
        heads.pop();
    }
}

/// Has the heads of these chains count from now on, and no others. In one write: the daemon may add to the file meanwhile.
pub fn begin_anew(path: &Path, heads: &[KnownRecord]) -> std::io::Result<()> {
    let lines: String = heads.iter().map(line).collect();
    let mut file = appended(path)?;
    file.write_all(format!("{ANEW}\n{lines}").as_bytes())?;
    file.sync_data()
}

fn appended(path: &Path) -> std::io::Result<File> {
    OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o640)
        .open(path)
}

fn parse(line: &str) -> Option<KnownRecord> {
    let mut words = line.split(' ');
    let tenant = words.next()?.parse().ok()?;
    let number = words.next()?.parse().ok()?;
    let hash = KnownRecord::parse_hash(words.next()?)?;
    Some(KnownRecord {
        tenant: TenantId(tenant),
        number,
        hash,
    })
}

fn line(known: &KnownRecord) -> String {
    let hash = KnownRecord::hash_text(&known.hash);
    format!("{} {} {hash}\n", known.tenant.0, known.number)
}

impl HeadsFile {
    pub fn new(path: PathBuf) -> HeadsFile {
        HeadsFile { path }
    }

    /// The heads that it holds; `None` where there is no file.
    pub fn read(&self) -> Result<Option<Vec<KnownRecord>>, Error> {
        read_heads(&self.path).map_err(|reason| self.failed(reason))
    }

    pub fn is_there(&self) -> Result<bool, Error> {
        self.path.try_exists().map_err(|reason| self.failed(reason))
    }

    /// Makes the file, without a head.
    pub fn make(&self) -> Result<(), Error> {
        let made = appended(&self.path).and_then(|file| file.sync_all());
        made.map_err(|reason| self.failed(reason))
    }

    fn failed(&self, reason: std::io::Error) -> Error {
        Error::File {
            path: self.path.clone(),
            reason,
        }
    }

    pub fn tell<'e>(&mut self, entries: impl Iterator<Item = &'e AuditEntry>) -> Result<(), Error> {
        let lines: String = entries.map(|entry| line(&entry.known())).collect();
        self.add(&lines).map_err(|reason| self.failed(reason))
    }

    fn add(&self, lines: &str) -> std::io::Result<()> {
        let mut file = appended(&self.path)?;
        file.write_all(lines.as_bytes())?;
        file.sync_data()?;
        if file.metadata()?.len() > LARGE {
            self.shorten()?;
        }
        Ok(())
    }

    /// Heads only, written beside and put in place; unless they are most of the file.
    fn shorten(&self) -> std::io::Result<()> {
        let heads = read_heads(&self.path)?.unwrap_or_default();
        let large = std::fs::metadata(&self.path)?.len();
        if heads.len() as u64 * LINE > large / 2 {
            return Ok(());
        }
        let beside = self.path.with_extension("audit-heads-new");
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(true)
            .write(true)
            .mode(0o640)
            .open(&beside)?;
        let lines: String = heads.iter().map(line).collect();
        file.write_all(lines.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&beside, &self.path)
    }
}
