//! A certificate and its key, from two files that may change while the daemon runs.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::sync::Notify;

use super::counters::{Counters, add};
use crate::api::Error;

/// Where certificate and key are, in PEM. The certificate first, then those that lead to its issuer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// How often the files are looked at.
const LOOK: Duration = Duration::from_secs(2);

/// What TLS is spoken with; another certificate takes its place while connections go on.
pub struct Tls {
    files: TlsFiles,
    config: ArcSwap<ServerConfig>,
    /// Of the files that were read last, good or bad.
    prints: Mutex<Prints>,
    asked: Notify,
}

/// What tells a file from the one that was there before. None: it is not there.
type Print = Option<(SystemTime, u64)>;
type Prints = [Print; 2];

impl Tls {
    /// # Errors
    ///
    /// [`Error::Tls`] when a file cannot be read, or the key is not the certificate's.
    pub fn load(files: TlsFiles) -> Result<Arc<Tls>, Error> {
        let prints = files.prints();
        let config = files.read()?;
        Ok(Arc::new(Tls {
            files,
            config: ArcSwap::new(config),
            prints: Mutex::new(prints),
            asked: Notify::new(),
        }))
    }

    pub(super) fn config(&self) -> Arc<ServerConfig> {
        self.config.load_full()
    }

    /// Has the files read again, whether they look changed or not.
    pub fn reload(&self) {
        self.asked.notify_one();
    }

    /// Takes other files into use when they appear, for ever. What is not good is told, and the old pair stays.
    pub(super) async fn follow(&self, counters: &Counters) {
        loop {
            let asked = tokio::time::timeout(LOOK, self.asked.notified())
                .await
                .is_ok();
            let prints = self.files.prints();
            let changed = {
                let mut known = self.prints.lock().unwrap_or_else(PoisonError::into_inner);
                std::mem::replace(&mut *known, prints) != prints
            };
            if asked || changed {
                self.take(counters);
            }
        }
    }

    fn take(&self, counters: &Counters) {
        let certificate = self.files.certificate.display();
        match self.files.read() {
            Ok(config) => {
                self.config.store(config);
                add(&counters.certificates_reloaded);
                tracing::info!(%certificate, "the certificate was read again and is in use");
            }
            Err(error) => {
                add(&counters.certificates_refused);
                tracing::error!(%error, "the certificate that was in use stays");
            }
        }
    }
}

impl TlsFiles {
    fn prints(&self) -> Prints {
        [&self.certificate, &self.key].map(|path| {
            let found = std::fs::metadata(path).ok()?;
            Some((found.modified().ok()?, found.len()))
        })
    }

    fn read(&self) -> Result<Arc<ServerConfig>, Error> {
        let wrong = |path: &Path, why: String| Error::Tls {
            path: path.to_owned(),
            why,
        };
        let of_pem = |path: &Path, error| wrong(path, why(error, path));
        let chain = CertificateDer::pem_file_iter(&self.certificate)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| of_pem(&self.certificate, error))?;
        if chain.is_empty() {
            return Err(wrong(&self.certificate, "it holds no certificate".into()));
        }
        let key =
            PrivateKeyDer::from_pem_file(&self.key).map_err(|error| of_pem(&self.key, error))?;
        let provider = Arc::new(ring::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| wrong(&self.certificate, error.to_string()))?
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(|error| wrong(&self.certificate, error.to_string()))?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

fn why(error: pem::Error, path: &Path) -> String {
    match error {
        pem::Error::Io(error) => error.to_string(),
        pem::Error::NoItemsFound => format!("nothing of the kind is in {}", path.display()),
        error => error.to_string(),
    }
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").field("files", &self.files).finish()
    }
}
