//! HTTP/1.0 and 1.1 heads and bodies, strict: what two parsers could read in
//! two ways is refused (RFC 9110, RFC 9112).
//!
//! Nothing here allocates: results borrow from the caller's bytes.

mod chunks;
mod fields;
mod lanes;
mod request;
mod response;
mod target;

pub use chunks::{Chunks, Followed};
pub use fields::{Field, Fields};
pub use request::{Request, parse_request};
pub use response::{Method, Response, ResponseBody, parse_response, response_storage};
pub use target::{Form, Target, without_port};

/// Fields that a head may have at most, whatever the limits say.
pub const MAX_FIELDS: usize = 128;

/// Where the parser puts the fields of a request. It may be used again and
/// again: what is in it counts only for the request that was read last.
#[derive(Debug, Clone, Copy)]
pub struct Storage([fields::Span; MAX_FIELDS]);

pub fn storage() -> Storage {
    Storage([fields::Span::default(); MAX_FIELDS])
}

/// What a head may be at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of a request head; more is 431. No more than fits a client's
    /// initial window (10 segments) can be held.
    pub head_bytes: usize,
    /// Fields of a head, at most [`MAX_FIELDS`]; more is 431.
    pub fields: usize,
    /// Bytes of a request target; more is 414.
    pub target_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head_bytes: 14_000,
            fields: 100,
            target_bytes: 8_192,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    Http10,
    Http11,
}

/// How a request's body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Body {
    /// There is none.
    Empty,
    /// Its length in bytes, more than 0.
    Length(u64),
    Chunked,
    /// CONNECT: what follows is not HTTP.
    Tunnel,
}

/// Why a head or a body was refused. The text goes to logs, never to clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, thiserror::Error)]
pub enum Fault {
    #[error("not an HTTP/1 request line")]
    RequestLine,
    #[error("not an HTTP/1 status line")]
    StatusLine,
    #[error("a version other than HTTP/1.0 and HTTP/1.1")]
    Version,
    #[error("the method is not a token")]
    Method,
    #[error("bytes in the target that RFC 3986 does not allow")]
    TargetBytes,
    #[error("a form of target that the method does not have")]
    TargetForm,
    #[error("a percent sign without two hexadecimal digits, or an encoded NUL")]
    PercentEncoding,
    #[error("a path with dot segments: where it leads depends on who reads it")]
    DotSegments,
    #[error("the target is longer than the limit")]
    TargetTooLong,
    #[error("the head is longer than the limit")]
    HeadTooLong,
    #[error("the head was not whole in time")]
    HeadLate,
    #[error("more fields than the limit")]
    TooManyFields,
    #[error("the name of a field is not a token, or white space stands before its colon")]
    FieldName,
    #[error("a control character in a field")]
    FieldValue,
    #[error("a line that does not end in CR LF, a bare CR, or a folded line")]
    LineEnd,
    #[error("HTTP/1.1 without Host")]
    HostMissing,
    #[error("Host more than once")]
    HostTwice,
    #[error("Host is not a host with an optional port")]
    HostBytes,
    #[error("the target's authority is not what Host says")]
    HostMismatch,
    #[error("Content-Length is not one decimal number")]
    ContentLength,
    #[error("Content-Length more than once")]
    ContentLengthTwice,
    #[error("Transfer-Encoding with Content-Length")]
    BothLengths,
    #[error("Transfer-Encoding is not chunked alone, or stands in HTTP/1.0")]
    TransferEncoding,
    #[error("Transfer-Encoding more than once")]
    TransferEncodingTwice,
    #[error("the name of a framing field in disguise")]
    Disguised,
    #[error("Connection names a field that frames the message")]
    ConnectionNames,
    #[error("Expect is not 100-continue, or stands in HTTP/1.0")]
    Expect,
    #[error("Upgrade without Connection: upgrade, more than once, or with a body")]
    Upgrade,
    #[error("a body with a method that has none")]
    BodyOfMethod,
    #[error("not a chunk size")]
    ChunkSize,
    #[error("a chunk that does not end where its size says")]
    ChunkEnd,
    #[error("a control character in a chunk extension, or one that is too long")]
    ChunkExtension,
    #[error("a trailer that is not a field, is too long, or frames the message")]
    Trailer,
}

impl Fault {
    /// The status of the answer.
    pub fn status(self) -> u16 {
        match self {
            Self::HeadLate => 408,
            Self::TargetTooLong => 414,
            Self::HeadTooLong | Self::TooManyFields => 431,
            _ => 400,
        }
    }
}

static TOKENS: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        table[byte] = is_tchar(byte as u8);
        byte += 1;
    }
    table
};

/// Bytes of an RFC 9110 token.
pub(crate) fn is_token(byte: u8) -> bool {
    TOKENS[usize::from(byte)]
}

const fn is_tchar(byte: u8) -> bool {
    matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'z' | b'|' | b'~')
        || byte.is_ascii_digit()
        || byte.is_ascii_uppercase()
}
