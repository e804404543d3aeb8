//! A response head: only what is needed to know where the response ends.

use std::mem::MaybeUninit;

use super::fields::{Field, Framing};
use super::{Fault, MAX_FIELDS, Version};

/// Where httparse puts the fields of a response.
pub type ResponseStorage<'b> = [MaybeUninit<httparse::Header<'b>>; MAX_FIELDS];

/// Empty storage, on the stack of the caller.
pub fn response_storage<'b>() -> ResponseStorage<'b> {
    [const { MaybeUninit::uninit() }; MAX_FIELDS]
}

/// How a response ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResponseBody {
    /// 1xx: another head follows.
    Interim,
    Empty,
    Length(u64),
    Chunked,
    /// Up to the end of the connection.
    UntilClose,
    /// 101, or the answer to CONNECT: what follows is not HTTP.
    Tunnel,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Response {
    pub status: u16,
    pub body: ResponseBody,
    /// The server keeps the connection after the answer.
    pub keep_alive: bool,
    pub len: usize,
}

/// Reads the head of the response to a request with `method`. `None` when
/// more must come.
pub fn parse_response<'b>(
    bytes: &'b [u8],
    storage: &mut ResponseStorage<'b>,
    method: Method,
) -> Result<Option<Response>, Fault> {
    let mut raw = httparse::Response::new(&mut []);
    let config = httparse::ParserConfig::default();
    let status = config.parse_response_with_uninit_headers(&mut raw, bytes, storage);
    let len = match status {
        Ok(httparse::Status::Complete(len)) => len,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(_) => return Err(Fault::StatusLine),
    };
    let (Some(code), Some(version)) = (raw.code, raw.version) else {
        return Err(Fault::StatusLine);
    };
    let line = memchr::memchr(b'\n', bytes).ok_or(Fault::StatusLine)?;
    if !bytes.starts_with(b"HTTP/1.") || layout(bytes, line + 1, raw.headers)? != len {
        return Err(Fault::LineEnd);
    }
    let mut framing = Framing::default();
    for header in raw.headers.iter() {
        framing.field(Field {
            name: header.name.as_bytes(),
            value: header.value,
        })?;
    }
    let version = match version {
        0 => Version::Http10,
        _ => Version::Http11,
    };
    let body = body(code, version, method, &framing)?;
    let persists = !framing.close && (version == Version::Http11 || framing.keep_alive);
    Ok(Some(Response {
        status: code,
        body,
        keep_alive: persists && body != ResponseBody::UntilClose,
        len,
    }))
}

/// Checks that the fields stand one to a line from `at` on, each line
/// `name:OWS value OWS CR LF`, and that an empty line follows. Returns where
/// the head ends.
///
/// httparse takes a bare LF for a line end. Fields borrow from `bytes`, so
/// the places of names and values say what stands between them.
fn layout(bytes: &[u8], mut at: usize, fields: &[httparse::Header<'_>]) -> Result<usize, Fault> {
    let base = bytes.as_ptr() as usize;
    for field in fields {
        if field.name.as_ptr() as usize - base != at {
            return Err(Fault::LineEnd);
        }
        at += field.name.len();
        if bytes.get(at) != Some(&b':') {
            return Err(Fault::FieldName);
        }
        at = match field.value.is_empty() {
            true => at + 1,
            false => field.value.as_ptr() as usize - base + field.value.len(),
        };
        while matches!(bytes.get(at), Some(b' ' | b'\t')) {
            at += 1;
        }
        at = line_end(bytes, at)?;
    }
    line_end(bytes, at)
}

fn line_end(bytes: &[u8], at: usize) -> Result<usize, Fault> {
    match bytes.get(at..at + 2) {
        Some(b"\r\n") => Ok(at + 2),
        _ => Err(Fault::LineEnd),
    }
}

/// What of the request's method matters for the response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Method {
    Head,
    Connect,
    #[default]
    Other,
}

impl Method {
    pub fn of(method: &str) -> Self {
        match method {
            "HEAD" => Self::Head,
            "CONNECT" => Self::Connect,
            _ => Self::Other,
        }
    }
}

/// RFC 9112 section 6.3.
fn body(
    code: u16,
    version: Version,
    method: Method,
    framing: &Framing<'_>,
) -> Result<ResponseBody, Fault> {
    match (code, method) {
        (101, _) => return Ok(ResponseBody::Tunnel),
        (100..=199, _) => return Ok(ResponseBody::Interim),
        (200..=299, Method::Connect) => return Ok(ResponseBody::Tunnel),
        (204 | 304, _) | (_, Method::Head) => return Ok(ResponseBody::Empty),
        _ => {}
    }
    if framing.has_transfer_encoding {
        if framing.content_length.is_some() {
            return Err(Fault::BothLengths);
        }
        if !framing.chunked || version == Version::Http10 {
            return Err(Fault::TransferEncoding);
        }
        return Ok(ResponseBody::Chunked);
    }
    Ok(match framing.content_length {
        Some(0) => ResponseBody::Empty,
        Some(length) => ResponseBody::Length(length),
        None => ResponseBody::UntilClose,
    })
}
