//! Why bytes could not be read. No text of the message is quoted: it would carry people's numbers into logs.

use thiserror::Error;

/// Why bytes are no SIP message at all. Everything less than that is read around.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ParseError {
    #[error("cannot read a SIP message: {length} bytes hold nothing but line ends")]
    Empty { length: usize },
    #[error(
        "cannot read a SIP message of {length} bytes: byte {at} of its head is not UTF-8; decode the head first"
    )]
    NotUtf8 { length: usize, at: usize },
    #[error(
        "cannot read a SIP message of {length} bytes: its first line is neither a request line nor a status line"
    )]
    StartLine { length: usize },
    #[error("cannot read a SIP message of {length} bytes: its version is not SIP/2.0")]
    Version { length: usize },
    #[error(
        "cannot read a SIP response of {length} bytes: its status is not a number from 100 to 699"
    )]
    Status { length: usize },
}

/// Why a body is no session description at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SdpError {
    #[error("cannot read a session description: the body is empty")]
    Empty,
    #[error(
        "cannot read a session description of {length} bytes: none of its lines is a v=, o=, c= or m= line"
    )]
    NoSdpLines { length: usize },
}

/// What went wrong in a stream of messages. The stream goes on at the next start line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum FrameError {
    #[error("cannot frame SIP on TCP: a line where a message should start is no start line")]
    Garbage,
    #[error("cannot frame SIP on TCP: a message head exceeds {limit} bytes")]
    HeadTooLong { limit: usize },
    #[error("cannot frame SIP on TCP: a message of {length} bytes exceeds {limit}")]
    MessageTooLong { length: usize, limit: usize },
    #[error("cannot frame SIP on TCP: bytes were lost after {have} bytes of a message")]
    Cut { have: usize },
}
