//! Which storage and which catalog a command is about.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::installation::Installation;
use super::{DEFAULT_CONFIG, Exit, config_path, output};
use crate::catalog::Catalog;
use crate::config::{self, Decoders, Loaded};
use crate::daemon::storekeeping;
use crate::daemon::tenancy::Configured;
use crate::storage::{Keys, Layout};

/// Where `callreel replay` puts recordings when nobody says.
const TRIAL_STORAGE: &str = "recordings";

#[derive(Debug, Default, clap::Args)]
pub struct Selection {
    /// The daemon's configuration [default: /etc/callreel/callreel.toml; without it, what `replay` left in ./recordings]
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// A storage that `replay` filled, with its own catalog in DIR/catalog.db; of a --config besides, only decoders and keys are taken
    #[arg(long, value_name = "DIR", global = true)]
    storage: Option<PathBuf>,
}

/// A storage and its catalog.
#[derive(Debug)]
pub struct Store {
    pub layout: Layout,
    pub catalog_url: String,
    pub decoders: Decoders,
    /// None of a storage without a configuration.
    pub configured: Option<Configured>,
}

impl Selection {
    /// What was chosen. Says what is wrong with the configuration where that is the reason for there being nothing.
    pub fn store(&self) -> Result<Store, Exit> {
        if let Some(root) = &self.storage {
            let mut store = Store::of_its_own(root);
            if self.config.is_some() {
                let settings = load(self.config.clone())?.settings;
                store.decoders = settings.decoders;
                store.layout = with_keys(root, &settings.storage);
            }
            return Ok(store);
        }
        if self.config.is_none() && !Path::new(DEFAULT_CONFIG).exists() {
            if Path::new(TRIAL_STORAGE).is_dir() {
                return Ok(Store::of_its_own(Path::new(TRIAL_STORAGE)));
            }
            eprintln!(
                "callreel: there is neither {DEFAULT_CONFIG} nor ./{TRIAL_STORAGE}: say which with --config FILE or --storage DIR"
            );
            return Err(Exit::Usage);
        }
        let loaded = load(self.config.clone())?;
        let configured = Some(Configured::new(&loaded));
        let settings = loaded.settings;
        Ok(Store {
            configured,
            layout: with_keys(&settings.storage.root, &settings.storage),
            catalog_url: settings.catalog.url,
            decoders: settings.decoders,
        })
    }
}

fn with_keys(root: &Path, storage: &config::Storage) -> Layout {
    Layout::new(root).with_keys(Arc::new(Keys::of_storage(root, &storage.key_file)))
}

impl Store {
    /// Where its recordings are.
    pub fn root(&self) -> &Path {
        self.layout.root()
    }

    fn of_its_own(root: &Path) -> Store {
        Store {
            layout: with_keys(root, &config::Storage::default()),
            catalog_url: catalog_in(root),
            decoders: Decoders::default(),
            configured: None,
        }
    }

    /// The catalog, which has to be there.
    pub async fn catalog(&self) -> anyhow::Result<Catalog> {
        storekeeping::open_catalog(&self.catalog_url).await
    }

    /// What people and tenants are administered in; made where there is none, if something is to be created in it.
    pub async fn installation(&self, create: bool) -> anyhow::Result<Installation> {
        Installation::open(&self.catalog_url, self.configured.clone(), create).await
    }
}

/// The address of the catalog that a storage without configuration has.
pub fn catalog_in(root: &Path) -> String {
    let path = root.join("catalog.db").display().to_string();
    let path = path
        .replace('%', "%25")
        .replace('?', "%3F")
        .replace('#', "%23");
    format!("sqlite://{path}")
}

/// Loads a configuration, or says what is wrong with it, and how the command ends.
pub fn load(path: Option<PathBuf>) -> Result<Loaded, Exit> {
    config::load(&config_path(path)).map_err(|error| {
        eprint!("{}", error.render(output::is_watched()));
        Exit::Usage
    })
}

/// Runs what asks a catalog.
pub fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(work)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_catalog_is_found_in_folders_of_any_name() {
        for folder in ["plain", "100%25 sure?", "a b#c"] {
            let root = Path::new("/tmp").join(folder);
            let file = storekeeping::catalog_file(&catalog_in(&root));
            assert_eq!(file, Some(root.join("catalog.db")));
        }
    }
}
