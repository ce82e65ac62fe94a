//! What can be wrong with a message that is read all the same, in the classes of RFC 4475.
//!
//! Nothing here decides anything: a message with faults is read as far as it goes. They are told so that an operator knows
//! which of the phones around send what no standard allows.

use super::error::ParseError;

/// What is wrong with a message, or odd about it. Named after what RFC 4475 tries, in its order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Fault {
    /// The first line is neither a request line nor a status line.
    StartLineUnreadable,
    /// `;;` or `,,` with nothing between (3.1.2.1).
    ExtraneousSeparators,
    /// 3.1.2.2.
    BodyShorterThanContentLength,
    /// Content-Length is no number, or a negative one (3.1.2.3).
    ContentLengthInvalid,
    /// No number below 2^31 (3.1.2.4, 3.1.2.5; RFC 3261 section 8.1.1.5).
    CseqOutOfRange,
    /// No number up to 255 (3.1.2.4).
    MaxForwardsOutOfRange,
    /// Of the header or of a Contact: no number below 2^32 (3.1.2.4).
    ExpiresOutOfRange,
    /// 3.1.2.5.
    RetryAfterOutOfRange,
    /// A code that has not three digits (3.1.2.5).
    WarningInvalid,
    /// 3.1.2.6.
    UnterminatedQuote,
    /// 3.1.2.7.
    RequestUriInBrackets,
    /// 3.1.2.8.
    WhitespaceInRequestUri,
    /// More than one blank between the parts of the start line, or before them (3.1.2.9).
    WhitespaceInStartLine,
    /// 3.1.2.10.
    WhitespaceAfterStartLine,
    /// `?Route=…` in the Request-URI (3.1.2.11).
    HeadersInRequestUri,
    /// Date is none of RFC 3261 section 20.17; mostly it is not in GMT (3.1.2.12).
    DateInvalid,
    /// A URI that must stand in `<>` does not, so that it is not known where it ends (3.1.2.13).
    UriNotEnclosed,
    /// Blanks inside an address (3.1.2.14).
    WhitespaceInAddress,
    /// A display name has characters that need quotes (3.1.2.15).
    DisplayNameUnquoted,
    /// Not SIP/2.0 (3.1.2.16).
    UnknownVersion,
    /// The method in CSeq is another one (3.1.2.17, 3.1.2.18).
    MethodMismatch,
    /// A status that is no number from 100 to 699 (3.1.2.19).
    StatusOutOfRange,
    /// The branch is `z9hG4bK` and nothing more (3.2.1).
    BranchEmpty,
    /// 3.3.1, as the next four.
    MissingCallId,
    MissingFrom,
    MissingTo,
    MissingCseq,
    MissingVia,
    /// A scheme that no call goes to (3.3.2, 3.3.3).
    RequestUriSchemeUnknown,
    /// The same in From, To or Contact (3.3.4).
    AddressSchemeUnknown,
    /// Require or Proxy-Require ask for what IANA does not know (3.3.5). What the server has of the rest, it alone knows.
    ExtensionUnknown,
    /// An INVITE with a body that can be no session description (3.3.6).
    BodyTypeUnknown,
    /// 3.3.7.
    AuthorizationSchemeUnknown,
    /// A header that may stand once stands more often (3.3.8).
    RepeatedHeader,
    /// Several Content-Lengths that differ (3.3.9).
    ContentLengthConflict,
    /// The answer would have to go to everybody (3.3.10).
    BroadcastVia,
    /// To be forwarded no further: well formed (3.3.11).
    MaxForwardsZero,
    /// An INVITE whose answer may be no session description (3.3.15).
    DescriptionNotAccepted,
    /// A request as RFC 2543 had it: no tag in From, no branch (3.4.1).
    Rfc2543,
}

/// The part of RFC 4475 that a fault is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FaultClass {
    /// Section 3.1.2: not what the grammar allows.
    Syntax,
    /// Section 3.2: well formed; its transaction cannot be told from others.
    Transaction,
    /// Section 3.3: well formed; who gets it refuses or ignores it, or should.
    Application,
    /// Section 3.4: well formed long ago.
    Compatibility,
}

impl FaultClass {
    pub fn name(self) -> &'static str {
        match self {
            FaultClass::Syntax => "syntax",
            FaultClass::Transaction => "transaction",
            FaultClass::Application => "application",
            FaultClass::Compatibility => "compatibility",
        }
    }
}

/// How many there are.
const COUNT: usize = 39;

/// Every fault in the order of [`Fault`], with its name.
#[rustfmt::skip]
const TABLE: [(Fault, &str); COUNT] = [
    (Fault::StartLineUnreadable, "start_line_unreadable"),
    (Fault::ExtraneousSeparators, "extraneous_separators"),
    (Fault::BodyShorterThanContentLength, "body_shorter_than_content_length"),
    (Fault::ContentLengthInvalid, "content_length_invalid"),
    (Fault::CseqOutOfRange, "cseq_out_of_range"),
    (Fault::MaxForwardsOutOfRange, "max_forwards_out_of_range"),
    (Fault::ExpiresOutOfRange, "expires_out_of_range"),
    (Fault::RetryAfterOutOfRange, "retry_after_out_of_range"),
    (Fault::WarningInvalid, "warning_invalid"),
    (Fault::UnterminatedQuote, "unterminated_quote"),
    (Fault::RequestUriInBrackets, "request_uri_in_brackets"),
    (Fault::WhitespaceInRequestUri, "whitespace_in_request_uri"),
    (Fault::WhitespaceInStartLine, "whitespace_in_start_line"),
    (Fault::WhitespaceAfterStartLine, "whitespace_after_start_line"),
    (Fault::HeadersInRequestUri, "headers_in_request_uri"),
    (Fault::DateInvalid, "date_invalid"),
    (Fault::UriNotEnclosed, "uri_not_enclosed"),
    (Fault::WhitespaceInAddress, "whitespace_in_address"),
    (Fault::DisplayNameUnquoted, "display_name_unquoted"),
    (Fault::UnknownVersion, "unknown_version"),
    (Fault::MethodMismatch, "method_mismatch"),
    (Fault::StatusOutOfRange, "status_out_of_range"),
    (Fault::BranchEmpty, "branch_empty"),
    (Fault::MissingCallId, "missing_call_id"),
    (Fault::MissingFrom, "missing_from"),
    (Fault::MissingTo, "missing_to"),
    (Fault::MissingCseq, "missing_cseq"),
    (Fault::MissingVia, "missing_via"),
    (Fault::RequestUriSchemeUnknown, "request_uri_scheme_unknown"),
    (Fault::AddressSchemeUnknown, "address_scheme_unknown"),
    (Fault::ExtensionUnknown, "extension_unknown"),
    (Fault::BodyTypeUnknown, "body_type_unknown"),
    (Fault::AuthorizationSchemeUnknown, "authorization_scheme_unknown"),
    (Fault::RepeatedHeader, "repeated_header"),
    (Fault::ContentLengthConflict, "content_length_conflict"),
    (Fault::BroadcastVia, "broadcast_via"),
    (Fault::MaxForwardsZero, "max_forwards_zero"),
    (Fault::DescriptionNotAccepted, "description_not_accepted"),
    (Fault::Rfc2543, "rfc2543"),
];

impl Fault {
    /// All of them.
    pub fn all() -> impl Iterator<Item = Fault> {
        TABLE.iter().map(|(fault, _)| *fault)
    }

    /// A name that stays what it is, in snake_case.
    pub fn name(self) -> &'static str {
        TABLE.get(self as usize).map_or("", |(_, name)| name)
    }

    pub fn class(self) -> FaultClass {
        match self {
            Fault::BranchEmpty => FaultClass::Transaction,
            Fault::Rfc2543 => FaultClass::Compatibility,
            _ if (self as u8) < Fault::BranchEmpty as u8 => FaultClass::Syntax,
            _ => FaultClass::Application,
        }
    }

    fn bit(self) -> u64 {
        1 << self as u8
    }
}

/// The faults of one message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Faults(u64);

impl Faults {
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub fn contains(self, fault: Fault) -> bool {
        self.0 & fault.bit() != 0
    }

    pub(super) fn add(&mut self, fault: Fault) {
        self.0 |= fault.bit();
    }

    pub(super) fn add_if(&mut self, is_at_fault: bool, fault: Fault) {
        if is_at_fault {
            self.add(fault);
        }
    }

    pub fn iter(self) -> impl Iterator<Item = Fault> {
        Fault::all().filter(move |fault| self.contains(*fault))
    }
}

impl From<ParseError> for Faults {
    /// Why a message was refused.
    fn from(error: ParseError) -> Faults {
        let mut faults = Faults::default();
        match error {
            ParseError::StartLine { .. } => faults.add(Fault::StartLineUnreadable),
            ParseError::Version { .. } => faults.add(Fault::UnknownVersion),
            ParseError::Status { .. } => faults.add(Fault::StatusOutOfRange),
            ParseError::Empty { .. } | ParseError::NotUtf8 { .. } => {}
        }
        faults
    }
}

/// How many messages had each fault. Monotonic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FaultCounts([u64; COUNT]);

impl Default for FaultCounts {
    fn default() -> Self {
        FaultCounts([0; COUNT])
    }
}

impl FaultCounts {
    /// Counts one message.
    pub fn add(&mut self, faults: Faults) {
        if faults.is_empty() {
            return;
        }
        for fault in faults.iter() {
            if let Some(count) = self.0.get_mut(fault as usize) {
                *count += 1;
            }
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = (Fault, u64)> {
        Fault::all().zip(self.0)
    }

    /// Names of those that there were.
    pub fn seen(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let named = self.iter().map(|(fault, count)| (fault.name(), count));
        named.filter(|(_, count)| *count > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_the_faults_and_names_are_unlike() {
        for (place, (fault, name)) in TABLE.iter().enumerate() {
            assert_eq!(*fault as usize, place, "{name}");
            assert_eq!(TABLE.iter().filter(|(_, other)| other == name).count(), 1);
            let is_snake =
                |byte: u8| byte == b'_' || byte.is_ascii_lowercase() || byte.is_ascii_digit();
            assert!(name.bytes().all(is_snake), "{name}");
        }
    }

    #[test]
    fn each_fault_is_counted_by_itself() {
        let mut faults = Faults::default();
        faults.add(Fault::DateInvalid);
        faults.add(Fault::Rfc2543);
        let mut counts = FaultCounts::default();
        counts.add(faults);
        counts.add(Faults::from(ParseError::Version { length: 9 }));
        counts.add(Faults::from(ParseError::Empty { length: 9 }));
        let found: Vec<_> = counts.iter().filter(|(_, count)| *count > 0).collect();
        let (date, version) = ((Fault::DateInvalid, 1), (Fault::UnknownVersion, 1));
        assert_eq!(found, [date, version, (Fault::Rfc2543, 1)]);
    }
}
