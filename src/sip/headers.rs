//! Values of single headers: CSeq, Replaces, Session-ID, Privacy.

use super::method::Method;
use super::scan::{Split, cut, cut_at_byte, param, trim};

/// `CSeq: 101 INVITE` (RFC 3261 section 20.16).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CSeq {
    pub number: u32,
    pub method: Method,
}

impl CSeq {
    /// `None` without a number, or with one past `u32` (the RFC ends at 2^31 - 1).
    pub fn parse(value: &str) -> Option<CSeq> {
        let value = trim(value);
        let digits = value.bytes().take_while(u8::is_ascii_digit).count();
        let (number, method) = cut(value, digits);
        Some(CSeq {
            number: number.parse().ok()?,
            method: Method::from_token(trim(method)),
        })
    }
}

/// The dialog that a new INVITE takes the place of (RFC 3891 section 6.1). A tag that is missing is empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Replaces<'a> {
    pub call_id: &'a str,
    pub to_tag: &'a str,
    pub from_tag: &'a str,
    /// Only a dialog that is still ringing is to be replaced.
    pub early_only: bool,
}

impl<'a> Replaces<'a> {
    /// Reads the value of a Replaces header; one embedded in a Refer-To is unescaped first by
    /// [`Uri::embedded_header`](super::Uri::embedded_header). `None` without a Call-ID.
    pub fn parse(value: &'a str) -> Option<Replaces<'a>> {
        let (call_id, params) = cut_at_byte(value, b';');
        let call_id = trim(call_id);
        (!call_id.is_empty()).then(|| Replaces {
            call_id,
            to_tag: param(params, "to-tag").unwrap_or(""),
            from_tag: param(params, "from-tag").unwrap_or(""),
            early_only: param(params, "early-only").is_some(),
        })
    }
}

/// The identity of a session from end to end, through back-to-back user agents (RFC 7989 section 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionId<'a> {
    /// The sender's half.
    pub local: &'a str,
    /// The other side's half as the sender knows it; `None` also while it is the nil UUID.
    pub remote: Option<&'a str>,
}

impl<'a> SessionId<'a> {
    /// `None` when the header is empty.
    pub fn parse(value: &'a str) -> Option<SessionId<'a>> {
        let (local, params) = cut_at_byte(value, b';');
        let local = trim(local);
        let remote =
            param(params, "remote").filter(|remote| remote.bytes().any(|byte| byte != b'0'));
        (!local.is_empty()).then_some(SessionId { local, remote })
    }
}

/// What the caller asks to be kept from the other side (RFC 3323 section 4.2, RFC 3325 section 9.3, RFC 7044).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Privacy {
    pub header: bool,
    pub session: bool,
    pub user: bool,
    /// The asserted identity is for the trusted network only.
    pub id: bool,
    pub history: bool,
    pub critical: bool,
    /// No privacy, whatever a proxy would do by itself.
    pub none: bool,
}

impl Privacy {
    /// Reads `id;user`; commas are taken for semicolons, as some senders do. Unknown words are left out.
    pub fn parse(value: &str) -> Privacy {
        let mut privacy = Privacy::default();
        for word in Split::list(value).flat_map(Split::params) {
            let flag = match word.to_ascii_lowercase().as_str() {
                "header" => &mut privacy.header,
                "session" => &mut privacy.session,
                "user" => &mut privacy.user,
                "id" => &mut privacy.id,
                "history" => &mut privacy.history,
                "critical" => &mut privacy.critical,
                "none" => &mut privacy.none,
                _ => continue,
            };
            *flag = true;
        }
        privacy
    }
}

/// The branch of a Via value (RFC 3261 section 20.42).
pub(super) fn via_branch(via: &str) -> Option<&str> {
    let params = cut_at_byte(via, b';').1;
    param(params, "branch").filter(|branch| !branch.is_empty())
}

/// The type of a Content-Type value, without parameters: `application/sdp`, as sent.
pub(super) fn media_type(content_type: &str) -> &str {
    trim(cut_at_byte(content_type, b';').0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequence_numbers_are_read_with_leading_zeros_and_folding() {
        let cseq = CSeq::parse("0009\r\n  INVITE").unwrap();
        assert_eq!((cseq.number, cseq.method), (9, Method::Invite));
        assert_eq!(CSeq::parse("7 bye").unwrap().method, Method::Bye);
        assert_eq!(CSeq::parse("7 FOO").unwrap().method, Method::Other);
        assert_eq!(CSeq::parse("36893488147419103232 REGISTER"), None);
        assert_eq!(CSeq::parse("INVITE"), None);
    }

    #[test]
    fn replaces_names_a_dialog() {
        let replaces = Replaces::parse(
            "98732@sip.example.com ;from-tag=r33th4x0r\r\n ;to-tag=ff87ff;early-only",
        )
        .unwrap();
        assert_eq!(replaces.call_id, "98732@sip.example.com");
        assert_eq!(
            (replaces.to_tag, replaces.from_tag),
            ("ff87ff", "r33th4x0r")
        );
        assert!(replaces.early_only);
        assert_eq!(Replaces::parse(";to-tag=1"), None);
    }

    #[test]
    fn session_ids_have_two_halves() {
        let both = SessionId::parse("ab30317f;remote=47755a9d").unwrap();
        assert_eq!((both.local, both.remote), ("ab30317f", Some("47755a9d")));
        let first = SessionId::parse("ab30317f;remote=00000000000000000000000000000000").unwrap();
        assert_eq!(first.remote, None);
        assert_eq!(SessionId::parse(""), None);
    }

    #[test]
    fn privacy_words_are_flags() {
        let privacy = Privacy::parse("ID; user , critical;unheard-of");
        assert!(privacy.id && privacy.user && privacy.critical);
        assert!(!privacy.none && !privacy.header);
    }

    #[test]
    fn the_branch_is_found_amid_blanks() {
        let via = "SIP / 2.0\r\n /UDP\r\n    192.0.2.2;branch=390skdjuw";
        assert_eq!(via_branch(via), Some("390skdjuw"));
        assert_eq!(
            via_branch("SIP/2.0/UDP [::1]:5060;rport;branch = z9"),
            Some("z9")
        );
        assert_eq!(via_branch("SIP/2.0/UDP 192.0.2.15;;,;,,"), None);
    }
}
