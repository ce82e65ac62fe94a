//! What has to be read again, and must not lie open in the catalog.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use zeroize::Zeroizing;

use super::{Error, random};

/// Bytes before a sealed text: the nonce.
const NONCE: usize = 24;

/// The key under which secrets of authenticators and of webhooks are kept: XChaCha20-Poly1305.
///
/// It lies in a file beside the catalog and not in it: a copy of the catalog alone opens nothing.
#[derive(Clone)]
pub struct SealingKey(Zeroizing<[u8; 32]>);

impl SealingKey {
    pub fn drawn() -> SealingKey {
        SealingKey(random())
    }

    /// The key in `path`: 64 hexadecimal digits. A file that is missing is made, readable by its owner only.
    ///
    /// # Errors
    ///
    /// [`Error::KeyFile`] when it cannot be read or made, holds something else, or may be read by everybody.
    pub fn at(path: &Path) -> Result<SealingKey, Error> {
        let failed = |reason: String| Error::KeyFile {
            path: path.to_owned(),
            reason,
        };
        match fs::read_to_string(path).map(Zeroizing::new) {
            Ok(text) => {
                let mode = fs::metadata(path).map_err(|error| failed(error.to_string()))?;
                if mode.permissions().mode() & 0o007 != 0 {
                    return Err(failed("everybody may read it (chmod 600)".into()));
                }
                unhex(text.trim())
                    .map(SealingKey)
                    .ok_or_else(|| failed("it does not hold 64 hexadecimal digits".into()))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let key = SealingKey::drawn();
                match key.write_new(path) {
                    Ok(()) => Ok(key),
                    // Another program made it at the same time.
                    Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                        SealingKey::at(path)
                    }
                    Err(error) => Err(failed(error.to_string())),
                }
            }
            Err(error) => Err(failed(error.to_string())),
        }
    }

    /// Whole or not at all: a name of its own first, then a link, which never takes another file's place.
    fn write_new(&self, path: &Path) -> std::io::Result<()> {
        let digits: Vec<String> = self.0.iter().map(|byte| format!("{byte:02x}")).collect();
        let text = Zeroizing::new(digits.concat() + "\n");
        let draft = path.with_extension(format!("{}.draft", std::process::id()));
        let mut file =
            (OpenOptions::new().write(true).create_new(true).mode(0o600)).open(&draft)?;
        let written = (file.write_all(text.as_bytes()))
            .and_then(|()| file.sync_all())
            .and_then(|()| fs::hard_link(&draft, path));
        fs::remove_file(&draft)?;
        written
    }

    /// Seals `plain` for one `place`, such as the id of its user: at another place it does not open.
    pub fn seal(&self, plain: &[u8], place: &[u8]) -> Vec<u8> {
        let nonce = random::<NONCE>();
        let payload = Payload {
            msg: plain,
            aad: place,
        };
        let sealed = self
            .cipher()
            .encrypt(&XNonce::from(*nonce), payload)
            .expect("a short text is within the cipher's limits");
        [nonce.as_slice(), &sealed].concat()
    }

    /// What was sealed; None when it was sealed with another key, for another place, or was changed.
    pub fn open(&self, sealed: &[u8], place: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (nonce, msg) = sealed.split_at_checked(NONCE)?;
        let nonce = <[u8; NONCE]>::try_from(nonce).ok()?;
        let payload = Payload { msg, aad: place };
        let plain = self.cipher().decrypt(&XNonce::from(nonce), payload).ok()?;
        Some(Zeroizing::new(plain))
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new(&(*self.0).into())
    }
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealingKey(…)")
    }
}

fn unhex(text: &str) -> Option<Zeroizing<[u8; 32]>> {
    let mut key = Zeroizing::new([0; 32]);
    if text.len() != 64 || !text.bytes().all(|c| c.is_ascii_hexdigit()) {
        return None;
    }
    for (byte, digits) in key.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sealed_opens_with_its_key_at_its_place_only() {
        let key = SealingKey::drawn();
        let sealed = key.seal(b"secret", b"alice");
        assert_eq!(key.open(&sealed, b"alice").unwrap().as_slice(), b"secret");
        assert!(key.open(&sealed, b"bob").is_none());
        assert!(SealingKey::drawn().open(&sealed, b"alice").is_none());
        assert_ne!(key.seal(b"secret", b"alice"), sealed);
    }

    #[test]
    fn nothing_that_was_changed_opens() {
        let key = SealingKey::drawn();
        let sealed = key.seal(b"secret", b"alice");
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(key.open(&changed, b"alice").is_none(), "byte {at}");
            assert!(key.open(&sealed[..at], b"alice").is_none(), "cut at {at}");
        }
    }

    #[test]
    fn a_key_file_is_made_once_and_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.key");
        let sealed = SealingKey::at(&path).unwrap().seal(b"secret", b"");
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert!(SealingKey::at(&path).unwrap().open(&sealed, b"").is_some());
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
    }

    #[test]
    fn a_key_file_that_is_none_or_lies_open_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("access.key");
        let why = || SealingKey::at(&path).unwrap_err().to_string();
        fs::write(&path, "short").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        assert!(why().contains("64 hexadecimal"), "{}", why());
        fs::write(&path, "0".repeat(64)).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o604)).unwrap();
        assert!(why().contains("everybody"), "{}", why());
        assert!(SealingKey::at(Path::new("/nowhere/key")).is_err());
    }
}
