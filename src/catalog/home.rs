//! The catalog of a program that runs on: the file that was there first, and no other.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use super::open::{BUSY_TIMEOUT, Place};
use super::{Catalog, Error, Result};

/// A file as it was when it was opened first: its path, and its device and inode.
#[derive(Debug, Default)]
pub(super) struct OpenedFile {
    /// None: in memory.
    path: Option<PathBuf>,
    identity: OnceLock<(u64, u64)>,
}

impl OpenedFile {
    pub(super) fn at(place: &Place) -> OpenedFile {
        let path = match place {
            Place::File(path) => Some(path.clone()),
            Place::Memory => None,
        };
        OpenedFile {
            path,
            identity: OnceLock::new(),
        }
    }

    /// What is wrong with what is at its place; from the first time on that something is there, that is the file.
    pub(super) fn look(&self) -> Option<Away> {
        let path = self.path.as_deref()?;
        let Some(there) = identity(path) else {
            return Some(Away::Missing);
        };
        let first = *self.identity.get_or_init(|| there);
        (first != there).then_some(Away::Replaced)
    }

    pub(super) fn is_known(&self) -> bool {
        self.identity.get().is_some()
    }
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    let file = std::fs::metadata(path).ok()?;
    Some((file.dev(), file.ino()))
}

/// Why a file that was opened cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Away {
    /// Nothing is at its place.
    Missing,
    /// Another file is at its place.
    Replaced,
}

impl Away {
    /// What is wrong and what helps, for who runs the machine.
    pub fn text(self) -> &'static str {
        match self {
            Away::Missing => "the catalog's file was taken away: put it back",
            Away::Replaced => {
                "another file is in the place of the catalog's: put that back, or restart the daemon to use the other"
            }
        }
    }
}

/// The address of a catalog, and which file was found there first. All threads of a daemon share one, so that none of them takes
/// another file for the daemon's own: a catalog that lost everybody's sessions, rights and audit.
#[derive(Debug)]
pub struct Home {
    url: String,
    /// None of an address that is wrong, which opening says.
    file: Option<Arc<OpenedFile>>,
}

impl Home {
    pub fn new(url: &str) -> Arc<Home> {
        let place = Place::parse(url).ok();
        Arc::new(Home {
            url: url.to_owned(),
            file: place.map(|place| Arc::new(OpenedFile::at(&place))),
        })
    }

    /// Opens the catalog. The first time it is made where there is none; from then on it is that file or nothing.
    ///
    /// # Errors
    ///
    /// As [`Catalog::open`]; [`Error::Gone`] when the file of the first time is not there.
    pub async fn open(&self) -> Result<Catalog> {
        let place = Place::parse(&self.url)?;
        let Some(file) = &self.file else {
            return Catalog::open_at(&place, BUSY_TIMEOUT).await;
        };
        if self.away().is_some() {
            return Err(Error::Gone {
                place: place.name(),
            });
        }
        let is_new = matches!(&place, Place::File(path) if !path.exists());
        // What cannot be opened is not the first.
        let opened = match file.is_known() {
            true => file.clone(),
            false => Arc::new(OpenedFile::at(&place)),
        };
        let catalog = Catalog::open_file(&place, BUSY_TIMEOUT, opened.clone()).await?;
        if let Some(&identity) = opened.identity.get() {
            let first = *file.identity.get_or_init(|| identity);
            if first != identity {
                return Err(Error::Gone {
                    place: place.name(),
                });
            }
        }
        if is_new {
            tracing::warn!(catalog = %place.name(), "there was no catalog: a new one is made");
        }
        Ok(catalog)
    }

    /// Why the catalog that was opened is not at its place; none also before the first time.
    pub fn away(&self) -> Option<Away> {
        let file = self.file.as_ref().filter(|file| file.is_known())?;
        file.look()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[tokio::test]
    async fn a_file_that_was_taken_away_or_replaced_is_noticed_and_nobody_takes_another_for_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("catalog.db");
        let home = Home::new(&format!("sqlite://{}", path.display()));
        assert_eq!(home.away(), None);
        let catalog = home.open().await.unwrap();
        catalog.check_place().unwrap();
        let aside = folder.path().join("aside.db");
        fs::rename(&path, &aside).unwrap();
        assert_eq!(home.away(), Some(Away::Missing));
        assert!(matches!(catalog.change().await, Err(Error::Gone { .. })));
        assert!(matches!(home.open().await, Err(Error::Gone { .. })));
        assert!(!path.exists(), "none is made in its place");
        for replace in [&|| fs::write(&path, "").unwrap() as (), &|| {
            _ = fs::copy(&aside, &path).unwrap()
        }] as [&dyn Fn(); 2]
        {
            replace();
            assert_eq!(home.away(), Some(Away::Replaced));
            assert!(matches!(catalog.check_place(), Err(Error::Gone { .. })));
            assert!(matches!(home.open().await, Err(Error::Gone { .. })));
        }
        fs::rename(&aside, &path).unwrap();
        assert_eq!(home.away(), None);
        drop(catalog.change().await.unwrap());
        drop(home.open().await.unwrap().change().await.unwrap());
    }

    #[tokio::test]
    async fn a_connection_that_is_made_later_is_never_one_to_another_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("catalog.db");
        let url = format!("sqlite://{}", path.display());
        let patience = std::time::Duration::from_millis(200);
        let catalog = Catalog::impatient_for_tests(&url, patience).await;
        fs::rename(&path, folder.path().join("aside.db")).unwrap();
        drop(Catalog::open(&url).await.unwrap());
        // Nobody has asked before: this is the readers' first connection.
        assert!(catalog.directory_generation().await.is_err());
    }
}
