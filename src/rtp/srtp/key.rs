//! A master key as signalling told it, with all that goes with it.

use std::fmt;
use std::sync::{Arc, OnceLock};

use smallvec::SmallVec;

use super::session::{Protocol, Session};
use super::{KeyError, Suite};
use crate::base::Secret;

/// A master key: everything that packets of one direction are opened by, but for where in their stream they are. Cheap to
/// clone; its session keys are derived when the first packet asks for them. Shown as its suite.
#[derive(Clone)]
pub struct SrtpKey(Arc<Material>);

struct Material {
    suite: Suite,
    master: Secret,
    options: KeyOptions,
    rtp: OnceLock<Session>,
    rtcp: OnceLock<Session>,
}

/// What is different from the usual (RFC 4568 sections 6.1 and 6.3).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyOptions {
    /// What each packet carries to name the key; empty where packets name none.
    pub mki: SmallVec<[u8; 4]>,
    /// Session keys are derived anew every 2^n packets, 1 to 24; 0 for never.
    pub kdr: u8,
    /// RTP packets have a tag, and are not encrypted.
    pub unencrypted: bool,
    /// Session keys are derived as libsrtp 2 does it for 192 bits, and with it FreeSWITCH, Asterisk and pjsip: key and salt
    /// are taken for a key of 256 bits, and zeros for the rest of the salt. Of no meaning for other suites.
    pub as_libsrtp: bool,
}

impl SrtpKey {
    /// From key and salt, one behind the other.
    ///
    /// # Errors
    /// When they are not as long as the suite's, or an option is not the suite's.
    pub fn new(suite: Suite, master: Secret, options: KeyOptions) -> Result<SrtpKey, KeyError> {
        let (expected, length) = (suite.key_len() + suite.salt_len(), master.bytes().len());
        if expected != length {
            return Err(KeyError::Length {
                suite,
                expected,
                length,
            });
        }
        if options.unencrypted && suite.is_aead() {
            return Err(KeyError::NotOptional { suite });
        }
        if options.kdr > 24 {
            return Err(KeyError::DerivationRate { kdr: options.kdr });
        }
        Ok(SrtpKey(Arc::new(Material {
            suite,
            master,
            options,
            rtp: OnceLock::new(),
            rtcp: OnceLock::new(),
        })))
    }

    pub fn suite(&self) -> Suite {
        self.0.suite
    }

    pub(super) fn mki(&self) -> &[u8] {
        &self.0.options.mki
    }

    /// Whether the bodies of RTP packets are encrypted.
    pub(super) fn is_encrypted(&self) -> bool {
        !self.0.options.unencrypted
    }

    /// Whether session keys are always the first ones.
    pub(super) fn derives_once(&self) -> bool {
        self.0.options.kdr == 0
    }

    /// What the index of a packet is divided by for its session keys: which of them it has. 0 where they are always the same.
    pub(super) fn derivation(&self, index: u64) -> u64 {
        match self.0.options.kdr {
            0 => 0,
            kdr => index >> kdr,
        }
    }

    /// The first session keys, of each protocol.
    pub(super) fn session(&self, protocol: Protocol) -> &Session {
        let cell = match protocol {
            Protocol::Rtp => &self.0.rtp,
            Protocol::Rtcp => &self.0.rtcp,
        };
        cell.get_or_init(|| self.derive(protocol, 0))
    }

    /// Other session keys than the first.
    pub(super) fn derive(&self, protocol: Protocol, r: u64) -> Session {
        let key_len = match self.0.suite.key_len() {
            24 if self.0.options.as_libsrtp => 32,
            len => len,
        };
        let (key, salt) = self.0.master.bytes().split_at(key_len);
        Session::derive(self.0.suite, key, salt, protocol, r)
            .expect("the lengths were checked when the key was made")
    }
}

impl PartialEq for SrtpKey {
    fn eq(&self, other: &SrtpKey) -> bool {
        let (a, b) = (&*self.0, &*other.0);
        Arc::ptr_eq(&self.0, &other.0)
            || a.suite == b.suite && a.master == b.master && a.options == b.options
    }
}

impl Eq for SrtpKey {}

impl fmt::Debug for SrtpKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SrtpKey({})", self.0.suite)
    }
}
