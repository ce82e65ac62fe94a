//! What legs say, in 16 bytes, and who said it.

use smallvec::SmallVec;

use crate::base::WireMap;
use crate::engine::event::LinkReason;
use crate::engine::plan::CallKey;

/// What sort of thing is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    CallId,
    Session,
    /// The header at this place of the settings.
    Header(usize),
    /// Came to a host for, or from, a number.
    CameTo,
    /// Left a host.
    Left,
}

impl Kind {
    pub fn reason(self) -> LinkReason {
        match self {
            Kind::CallId => LinkReason::CallId,
            Kind::Session => LinkReason::SessionId,
            Kind::Header(_) => LinkReason::Header,
            Kind::CameTo | Kind::Left => LinkReason::Numbers,
        }
    }

    fn tag(self) -> [u8; 2] {
        match self {
            Kind::CallId => [0, 0],
            Kind::Session => [1, 0],
            Kind::Header(place) => [2, place as u8],
            Kind::CameTo => [3, 0],
            Kind::Left => [4, 0],
        }
    }
}

/// A digest of what was said: nobody can make two that collide.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Token([u8; 16]);

impl Token {
    pub fn of(kind: Kind, parts: &[&[u8]]) -> Token {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&kind.tag());
        for part in parts {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part);
        }
        let mut token = [0; 16];
        hasher.finalize_xof().fill(&mut token);
        Token(token)
    }
}

/// Legs that said the same, the latest ones: a value that everybody uses says nothing.
const MAX_SHARED: usize = 16;

/// Who said what. One entry for each token of each leg, of which a leg has few.
#[derive(Debug, Default)]
pub struct Index {
    said: WireMap<Token, SmallVec<[CallKey; 2]>>,
}

impl Index {
    /// Enters that `key` says it; those who said it before, in their order.
    pub fn insert(&mut self, token: Token, key: CallKey) -> SmallVec<[CallKey; 2]> {
        let keys = self.said.entry(token).or_default();
        if keys.contains(&key) {
            return SmallVec::new();
        }
        let before = keys.clone();
        if keys.len() == MAX_SHARED {
            keys.remove(0);
        }
        keys.push(key);
        before
    }

    pub fn get(&self, token: Token) -> &[CallKey] {
        self.said.get(&token).map_or(&[], |keys| keys)
    }

    pub fn remove(&mut self, token: Token, key: CallKey) {
        if let Some(keys) = self.said.get_mut(&token) {
            keys.retain(|other| *other != key);
            if keys.is_empty() {
                self.said.remove(&token);
            }
        }
    }
}

/// Names that many callers share.
const NOBODY: [&str; 6] = [
    "anonymous",
    "unknown",
    "unavailable",
    "restricted",
    "private",
    "asterisk",
];

/// A number without what PBXs add and take away on its way: the last nine digits of one that is dialled, another name in
/// lower case. `None` where it names nobody.
pub fn plain_number(user: &str) -> Option<String> {
    let user = user.trim();
    let digits: String = user.chars().filter(char::is_ascii_digit).collect();
    let dialled = user
        .chars()
        .all(|c| c.is_ascii_digit() || "+-. ()*#".contains(c));
    let plain = match dialled {
        true => digits[digits.len().saturating_sub(9)..].to_owned(),
        false => user.to_lowercase(),
    };
    (plain.len() > 1 && !NOBODY.contains(&&*plain)).then_some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_number_has_one_form() {
        let forms = ["+44 20 7946 0101", "00442079460101", "02079460101"];
        for form in forms {
            assert_eq!(plain_number(form).as_deref(), Some("079460101"), "{form}");
        }
        assert_eq!(plain_number("1001").as_deref(), Some("1001"));
        assert_eq!(plain_number("Alice").as_deref(), Some("alice"));
        for nobody in ["", "7", "anonymous", "Anonymous", "+"] {
            assert_eq!(plain_number(nobody), None, "{nobody}");
        }
    }

    #[test]
    fn only_the_latest_of_many_are_remembered() {
        let mut index = Index::default();
        let token = Token::of(Kind::Session, &[b"x"]);
        for n in 0..100 {
            index.insert(token, CallKey(n));
        }
        assert_eq!(index.get(token).len(), MAX_SHARED);
        assert_eq!(index.get(token)[0], CallKey(84));
        assert_ne!(token, Token::of(Kind::CallId, &[b"x"]));
        for n in 0..100 {
            index.remove(token, CallKey(n));
        }
        assert!(index.said.is_empty());
    }
}
