//! Bytes that nobody must see.

use std::fmt;

use zeroize::Zeroizing;

/// Key material: wiped when dropped, and never shown. The bytes are reached by name, where they are meant.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    pub fn new(bytes: Vec<u8>) -> Secret {
        Secret(Zeroizing::new(bytes))
    }

    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Says how long it is, and no more.
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({} bytes)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_nothing_of_itself() {
        assert_eq!(
            format!("{:?}", Secret::new(b"key".to_vec())),
            "Secret(3 bytes)"
        );
    }
}
