//! The heads of the audit's chains, in a file beside the catalog: whoever takes the end of a chain out of the catalog has to
//! change this file too, and what was copied elsewhere by then.
//!
//! A line for each record as it comes: tenant, number, hash. The last line of a tenant is its head; the file is written anew,
//! with heads only, when it has grown.

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

/// The heads that the file holds; `None` where there is no file. Lines that are no heads are left out.
pub fn read_heads(path: &Path) -> std::io::Result<Option<Vec<KnownRecord>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut heads: BTreeMap<TenantId, KnownRecord> = BTreeMap::new();
    for line in BufReader::new(file).lines() {
        if let Some(known) = parse(&line?) {
            let head = heads.entry(known.tenant).or_insert(known);
            if head.number <= known.number {
                *head = known;
            }
        }
    }
    Ok(Some(heads.into_values().collect()))
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

    pub fn tell<'e>(&mut self, entries: impl Iterator<Item = &'e AuditEntry>) -> Result<(), Error> {
        let lines: String = entries.map(|entry| line(&entry.known())).collect();
        self.add(&lines).map_err(|reason| Error::File {
            path: self.path.clone(),
            reason,
        })
    }

    fn add(&self, lines: &str) -> std::io::Result<()> {
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .mode(0o640)
            .open(&self.path)?;
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
