//! A message as it may be kept: without credentials, and without keys that were pressed where that is asked for.
//!
//! What goes: the values of Authorization and its kin and of headers and fields whose name says token, secret, password or the like,
//! passwords in URIs and credentials embedded in them, keys of media (`a=crypto`, RFC 4568; `a=key-mgmt`, RFC 4567; `k=`;
//! `a=ice-pwd`, RFC 8839), and bodies that are encoded so that nobody can look into them. What stays says that it was there. Lengths
//! are made right. Nonces stay: a challenge is no secret.

use super::message::{head_length, skip_line_ends};
use super::scan::is_token;
use super::table::HeaderTable;

/// What stands in place of a credential.
const REMOVED: &str = "removed";

/// Headers whose value is a credential, or a proof of one (RFC 3261 section 20, RFC 8760).
const CREDENTIALS: [&str; 4] = [
    "Authorization",
    "Proxy-Authorization",
    "Authentication-Info",
    "Proxy-Authentication-Info",
];

/// Words of names whose values are credentials.
const SECRETS: [&str; 18] = [
    "apikey",
    "auth",
    "authorization",
    "cookie",
    "cookies",
    "credential",
    "credentials",
    "oauth",
    "passphrase",
    "passwd",
    "password",
    "passwords",
    "passwort",
    "pwd",
    "secret",
    "secrets",
    "token",
    "tokens",
];

/// What a key is said to be of that is one.
const KEYS: [&str; 4] = ["api", "access", "private", "auth"];

/// Families of crypto-suites (IANA's registry of SDP security descriptions): a name that begins so is no key.
const SUITES: [&str; 4] = ["AES_", "AEAD_", "F8_", "SEED_"];

/// The message without credentials; with `mask_keys` also without the keys of the telephone that an INFO says were pressed.
pub fn redact(message: &[u8], mask_keys: bool) -> Vec<u8> {
    let message = skip_line_ends(message);
    let (head, rest) = message
        .split_at_checked(head_length(message))
        .unwrap_or((message, &[]));
    let facts = Facts::of(head);
    let declared = facts.content_length.unwrap_or(rest.len());
    let body = rest.get(..declared).unwrap_or(rest);
    let body = match facts.is_encoded || has_encoded_part(body) {
        true => Vec::new(),
        false => clean_body(body, mask_keys.then_some(facts.keys)),
    };
    let mut clean = Vec::with_capacity(head.len() + body.len() + 64);
    clean_head(head, body.len(), &mut clean);
    clean.extend_from_slice(&body);
    clean
}

/// What the head says of the body.
struct Facts {
    content_length: Option<usize>,
    is_encoded: bool,
    keys: KeyBody,
}

/// How a body may say which keys were pressed.
#[derive(Clone, Copy, PartialEq)]
enum KeyBody {
    /// In lines that begin with a name: `Signal=5`.
    Named,
    /// A line may be nothing but keys, too.
    Bare,
    /// Nothing is sure but that it says keys: whatever may be one.
    Any,
}

impl KeyBody {
    /// By the type of a body or of one of its parts, in an INFO or in another request.
    fn of(content_type: &str, is_info: bool) -> KeyBody {
        let kind = content_type.trim().to_ascii_lowercase();
        let says_keys = ["dtmf", "telephone-event", "digits"];
        let is_text = is_info && (kind.is_empty() || kind.starts_with("text/plain"));
        if kind.starts_with("multipart/") {
            KeyBody::Bare
        } else if is_text || says_keys.iter().any(|word| kind.contains(word)) {
            KeyBody::Any
        } else {
            KeyBody::Named
        }
    }
}

impl Facts {
    fn of(head: &[u8]) -> Facts {
        let text = String::from_utf8_lossy(head);
        let headers = text.find('\n').map_or("", |end| &text[end + 1..]);
        let (table, _) = HeaderTable::parse(headers);
        let kind = table.first("Content-Type").unwrap_or("");
        let encoding = table.first("Content-Encoding").unwrap_or("identity");
        Facts {
            content_length: super::message::content_length(&table),
            is_encoded: !encoding.trim().eq_ignore_ascii_case("identity"),
            keys: KeyBody::of(kind, text.starts_with("INFO ")),
        }
    }
}

/// Whether a part of the body hides its content.
fn has_encoded_part(body: &[u8]) -> bool {
    lines(body).any(|(line, _)| {
        value_of(line, b"content-transfer-encoding", b':').is_some_and(|value| {
            ![b"7bit".as_slice(), b"8bit", b"binary"]
                .iter()
                .any(|plain| value.trim_ascii().eq_ignore_ascii_case(plain))
        }) || value_of(line, b"content-encoding", b':')
            .is_some_and(|value| !value.trim_ascii().eq_ignore_ascii_case(b"identity"))
    })
}

/// Lines with their ends.
fn lines(bytes: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    bytes.split_inclusive(|&byte| byte == b'\n').map(|line| {
        let end = match line {
            [.., b'\r', b'\n'] => 2,
            [.., b'\n'] => 1,
            _ => 0,
        };
        line.split_at_checked(line.len() - end)
            .unwrap_or((line, &[]))
    })
}

/// What follows `name` and `separator` in a line, with white space before both.
fn value_of<'l>(line: &'l [u8], name: &[u8], separator: u8) -> Option<&'l [u8]> {
    let line = line.trim_ascii_start();
    let (found, rest) = line.split_at_checked(name.len())?;
    let rest = rest.trim_ascii_start();
    (found.eq_ignore_ascii_case(name) && rest.first() == Some(&separator))
        .then(|| rest.get(1..).unwrap_or(&[]))
}

/// The name of the header whose value is a credential, if the line begins one.
fn credential(line: &[u8]) -> Option<&'static str> {
    CREDENTIALS
        .into_iter()
        .find(|name| value_of(line, name.as_bytes(), b':').is_some())
}

/// A line of a header whose name says that its value is a credential: what stays of it.
fn secret_header(line: &[u8]) -> Option<&[u8]> {
    let colon = memchr::memchr(b':', line)?;
    let name = line.get(..colon)?.trim_ascii_end();
    let word = name.trim_ascii_start();
    (is_token(word) && is_secret(word)).then_some(name)
}

/// Whether a name says so in one of its words, as in `X-Auth-Token`, `apiKey` and `user_password`; `Authority` does not.
fn is_secret(name: &[u8]) -> bool {
    let mut before: &[u8] = &[];
    words(name).any(|word| {
        let is_any = |word: &[u8], of: &[&str]| {
            of.iter()
                .any(|known| word.eq_ignore_ascii_case(known.as_bytes()))
        };
        let is_key = word.eq_ignore_ascii_case(b"key") && is_any(before, &KEYS);
        before = word;
        is_key || is_any(word, &SECRETS)
    })
}

/// The words of a name: letters and digits, a capital after a small letter begins the next.
fn words(name: &[u8]) -> impl Iterator<Item = &[u8]> {
    name.chunk_by(|one, next| {
        one.is_ascii_alphanumeric() == next.is_ascii_alphanumeric()
            && !(one.is_ascii_lowercase() && next.is_ascii_uppercase())
    })
    .filter(|word| word.first().is_some_and(u8::is_ascii_alphanumeric))
}

fn is_folded(line: &[u8]) -> bool {
    line.starts_with(b" ") || line.starts_with(b"\t")
}

fn clean_head(head: &[u8], body_len: usize, clean: &mut Vec<u8>) {
    let mut said_length = false;
    let mut skipping = false;
    for (at, (line, end)) in lines(head).enumerate() {
        if skipping && is_folded(line) {
            continue;
        }
        skipping = false;
        let is_length = at > 0
            && !is_folded(line)
            && [b"content-length".as_slice(), b"l"]
                .iter()
                .any(|name| value_of(line, name, b':').is_some());
        if let Some(name) = credential(line) {
            skipping = true;
            clean.extend(format!("{name}: Digest {REMOVED}={REMOVED}").bytes());
        } else if let Some(name) = secret_header(line).filter(|_| at > 0) {
            skipping = true;
            clean.extend_from_slice(name);
            clean.extend(format!(": {REMOVED}").bytes());
        } else if is_length {
            skipping = true;
            said_length = true;
            clean.extend(format!("Content-Length: {body_len}").bytes());
        } else {
            if line.is_empty() && !said_length && body_len > 0 {
                clean.extend(format!("Content-Length: {body_len}\r\n").bytes());
            }
            scrub(line, false, clean);
        }
        clean.extend_from_slice(end);
    }
}

/// `keys`: how keys are to be looked for, `None` where they may stay.
fn clean_body(body: &[u8], keys: Option<KeyBody>) -> Vec<u8> {
    let mut clean = Vec::with_capacity(body.len());
    let mut skipping = false;
    let unmasked = body;
    let masked = keys.map(|_| mask_attributes(body));
    let body = masked.as_deref().unwrap_or(unmasked);
    let (whole, mut keys) = (keys, keys);
    for (line, end) in lines(body) {
        if skipping && is_folded(line) {
            continue;
        }
        // A part may be a message of its own.
        let name = credential(line);
        let secret = secret_header(line);
        skipping = name.is_some() || secret.is_some();
        if let Some(name) = name {
            clean.extend(format!("{name}: Digest {REMOVED}={REMOVED}").bytes());
        } else if let Some(name) = secret {
            clean.extend_from_slice(name);
            clean.extend(format!(": {REMOVED}").bytes());
        } else if !clean_media_key(line, &mut clean) {
            if whole == Some(KeyBody::Bare) {
                // Of a part, up to the line that ends it.
                let kind = value_of(line, b"content-type", b':');
                let kind = kind.map(|kind| KeyBody::of(&String::from_utf8_lossy(kind), true));
                keys = kind.or(keys.filter(|_| !line.starts_with(b"--"))).or(whole);
            }
            match keys {
                Some(keys) => scrub(&mask(line, keys), true, &mut clean),
                None => scrub(line, true, &mut clean),
            }
        }
        clean.extend_from_slice(end);
    }
    clean
}

/// Writes a line of SDP that holds a key without the key; `false`: it holds none. Blanks may stand around `=` and `:`.
fn clean_media_key(line: &[u8], clean: &mut Vec<u8>) -> bool {
    if value_of(line, b"k", b'=').is_some() {
        // There is a key, which is not here (RFC 4566 section 5.12).
        clean.extend_from_slice(b"k=prompt");
        return true;
    }
    let Some(attribute) = value_of(line, b"a", b'=') else {
        return false;
    };
    if let Some(value) = value_of(attribute, b"crypto", b':') {
        clean.extend_from_slice(b"a=crypto:");
        clean_crypto(value, clean);
    } else if value_of(attribute, b"key-mgmt", b':').is_some() {
        clean.extend(format!("a=key-mgmt:{REMOVED}").bytes());
    } else if value_of(attribute, b"ice-pwd", b':').is_some() {
        clean.extend(format!("a=ice-pwd:{REMOVED}").bytes());
    } else {
        return false;
    }
    true
}

/// Writes what follows `a=crypto:` without its key.
fn clean_crypto(value: &[u8], clean: &mut Vec<u8>) {
    let mut words = value.trim_ascii_start().split(u8::is_ascii_whitespace);
    let tag = words.next().unwrap_or(&[]);
    let suite = words.next().unwrap_or(&[]);
    let is_suite = is_token(suite)
        && SUITES
            .iter()
            .any(|family| suite.starts_with(family.as_bytes()))
        && suite.len() < 40;
    if is_suite && tag.len() <= 9 && tag.iter().all(u8::is_ascii_digit) {
        clean.extend_from_slice(tag);
        clean.push(b' ');
        clean.extend_from_slice(suite);
        clean.push(b' ');
    }
    clean.extend(format!("inline:{REMOVED}").bytes());
}

/// Whether a byte may be a key of the telephone.
fn is_key(byte: u8) -> bool {
    b"0123456789*#ABCDabcd".contains(&byte)
}

fn cross_out(keys: &mut [u8]) {
    for byte in keys {
        if !byte.is_ascii_whitespace() {
            *byte = b'x';
        }
    }
}

/// A body with an `x` for each character of the attributes that hold keys (KPML, RFC 4730), on whatever lines these are.
fn mask_attributes(body: &[u8]) -> Vec<u8> {
    const NAME: &[u8] = b"digits";
    let mut masked = body.to_vec();
    let mut from = 0;
    while let Some(rest) = body.get(from..)
        && let Some(at) = rest
            .windows(NAME.len())
            .position(|name| name.eq_ignore_ascii_case(NAME))
    {
        from += at + NAME.len();
        let after = body.get(from..).unwrap_or(&[]).trim_ascii_start();
        let value = after.strip_prefix(b"=").map(<[u8]>::trim_ascii_start);
        let Some((quote @ (b'"' | b'\''), inside)) = value.and_then(|value| value.split_first())
        else {
            continue;
        };
        let len = memchr::memchr(*quote, inside).unwrap_or(inside.len());
        let begin = body.len() - inside.len();
        cross_out(masked.get_mut(begin..begin + len).unwrap_or(&mut []));
        from = begin + len;
    }
    masked
}

/// A line of a body with an `x` for each key of the telephone in it.
fn mask(line: &[u8], keys: KeyBody) -> Vec<u8> {
    let mut masked = line.to_vec();
    let text = line.trim_ascii();
    let value = [b"signal".as_slice(), b"d", b"digit", b"digits", b"dtmf"]
        .iter()
        .find_map(|name| value_of(line, name, b'='));
    if let Some(value) = value {
        cross_out(
            masked
                .get_mut(line.len() - value.len()..)
                .unwrap_or(&mut []),
        );
    } else if keys == KeyBody::Any {
        mask_all(&mut masked);
    } else if keys == KeyBody::Bare && text.iter().all(|byte| is_key(*byte)) {
        cross_out(&mut masked);
    }
    masked
}

/// Crosses out whatever may be a key: digits wherever they are, letters where they are no part of a word or a name. How long a key
/// was held, and what the text is written in, is none.
fn mask_all(line: &mut [u8]) {
    let begins = |with: &[u8]| {
        let found = line.trim_ascii_start().get(..with.len());
        found.is_some_and(|found| found.eq_ignore_ascii_case(with))
    };
    if begins(b"duration") || begins(b"<?xml") || begins(b"content-") {
        return;
    }
    let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || b"*#_-".contains(byte);
    let mut at = 0;
    while let Some(rest) = line.get(at..).filter(|rest| !rest.is_empty()) {
        let len = rest.iter().position(|byte| !is_word(byte));
        let len = len.unwrap_or(rest.len());
        let after = rest.get(len..).unwrap_or(&[]).trim_ascii_start();
        let is_name = matches!(after.first(), Some(b'=' | b':'));
        let end = at + len;
        let word = line.get_mut(at..end).unwrap_or(&mut []);
        if !is_name && word.iter().all(|byte| is_key(*byte)) {
            cross_out(word);
        }
        for byte in word {
            if byte.is_ascii_digit() || matches!(byte, b'*' | b'#') {
                *byte = b'x';
            }
        }
        at = end + 1;
    }
}

/// Writes text without the passwords and credentials of the URIs in it; in a body also without those of fields, as forms have them.
fn scrub(text: &[u8], in_body: bool, clean: &mut Vec<u8>) {
    let mut rest = text;
    while let Some(at) = memchr::memchr2(b':', b'=', rest) {
        let (before, after) = rest.split_at_checked(at + 1).unwrap_or((rest, &[]));
        clean.extend_from_slice(before);
        rest = after;
        if in_body && is_secret_field(before) {
            let (from, end) = field_value(after);
            clean.extend_from_slice(after.get(..from).unwrap_or(&[]));
            clean.extend_from_slice(REMOVED.as_bytes());
            rest = after.get(end..).unwrap_or(&[]);
        } else if before.ends_with(b"=") && holds_credential(before) {
            clean.extend_from_slice(REMOVED.as_bytes());
            let end = after.iter().position(|byte| is_end(*byte) || *byte == b'&');
            rest = after.get(end.unwrap_or(after.len())..).unwrap_or(&[]);
        } else if before.ends_with(b":")
            && let Some((user, end)) = password_of(before, after)
        {
            clean.extend_from_slice(after.get(..user).unwrap_or(&[]));
            clean.extend_from_slice(REMOVED.as_bytes());
            rest = after.get(end..).unwrap_or(&[]);
        }
    }
    clean.extend_from_slice(rest);
}

/// Whether text up to and with a `=`, or a `:` after a name in quotes, ends with the name of a secret.
fn is_secret_field(before: &[u8]) -> bool {
    let (separator, name) = match before.split_last() {
        Some((separator, name)) => (*separator, name.trim_ascii_end()),
        None => return false,
    };
    let bare = name.strip_suffix(b"\"").or(name.strip_suffix(b"'"));
    if separator == b':' && bare.is_none() {
        return false;
    }
    let name = bare.unwrap_or(name);
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-.%".contains(byte);
    let from = name.iter().rposition(|byte| !is_part(byte));
    let name = name.get(from.map_or(0, |at| at + 1)..).unwrap_or(&[]);
    let name = percent_decoded(name);
    is_secret(&name) || name.eq_ignore_ascii_case(b"pass")
}

/// Where the value of a field begins, and where it ends: with its quotes or before the next field, or with the line.
fn field_value(after: &[u8]) -> (usize, usize) {
    let blanks = after.len() - after.trim_ascii_start().len();
    let value = after.get(blanks..).unwrap_or(&[]);
    let (from, end) = match value.split_first() {
        Some((quote @ (b'"' | b'\''), inside)) => {
            (1, memchr::memchr(*quote, inside).map(|at| at + 1))
        }
        _ => (0, value.iter().position(|byte| b"&<>\"".contains(byte))),
    };
    (blanks + from, blanks + end.unwrap_or(value.len()))
}

fn is_end(byte: u8) -> bool {
    byte.is_ascii_whitespace() || b"<>\"".contains(&byte)
}

/// Whether text up to and with a `=` names a credential embedded in a URI (RFC 3261 section 19.1.1), or a body, which may hold any.
fn holds_credential(before: &[u8]) -> bool {
    let name = before.get(..before.len() - 1).unwrap_or(&[]);
    let from = name
        .iter()
        .rposition(|byte| matches!(byte, b'?' | b'&'))
        .map(|at| at + 1);
    let Some(name) = from.and_then(|from| name.get(from..)) else {
        return false;
    };
    let name = percent_decoded(name);
    name.eq_ignore_ascii_case(b"body")
        || is_secret(&name)
        || CREDENTIALS
            .iter()
            .any(|known| name.eq_ignore_ascii_case(known.as_bytes()))
}

fn percent_decoded(text: &[u8]) -> Vec<u8> {
    let hex = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        match after {
            [high, low, after @ ..] if first == b'%' => {
                if let (Some(high), Some(low)) = (hex(*high), hex(*low)) {
                    decoded.push(high << 4 | low);
                    rest = after;
                } else {
                    decoded.push(first);
                }
            }
            _ => decoded.push(first),
        }
    }
    decoded
}

/// After the colon of a scheme: where the password of its user begins, and where it ends. Anything up to an `@` may be a password:
/// rather too much is taken than too little.
fn password_of(before: &[u8], after: &[u8]) -> Option<(usize, usize)> {
    let ends_scheme = |scheme: &[u8]| {
        let name = before.len().checked_sub(scheme.len() + 1)?;
        let found = before.get(name..before.len() - 1)?;
        found.eq_ignore_ascii_case(scheme).then_some(())
    };
    let is_sip = ends_scheme(b"sip").or(ends_scheme(b"sips")).is_some();
    if !is_sip && !after.starts_with(b"//") {
        return None;
    }
    let end = after.iter().position(|byte| is_end(*byte));
    let reach = after.get(..end.unwrap_or(after.len()))?;
    let at = reach.iter().rposition(|byte| *byte == b'@')?;
    let colon = reach.get(..at)?.iter().position(|byte| *byte == b':')?;
    Some((colon + 1, at))
}

#[cfg(test)]
#[path = "redact_tests.rs"]
mod tests;
