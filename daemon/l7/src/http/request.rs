//! A request head (RFC 9112 section 3), read by httparse and checked by us.

use super::fields::{self, Framing};
use super::target::{self, Form};
use super::{Body, Fault, Field, Limits, Storage, Target, Version, is_token};

#[derive(Debug)]
pub struct Request<'s, 'b> {
    pub method: &'b str,
    pub target: Target<'b>,
    pub version: Version,
    pub fields: &'s [Field<'b>],
    /// As written, with the port; of the target where that names one. Empty
    /// in HTTP/1.0 without Host.
    pub host: &'b str,
    pub body: Body,
    /// The client keeps the connection after the answer.
    pub keep_alive: bool,
    pub expects_continue: bool,
    /// Protocols that the client wants to change to.
    pub upgrade: Option<&'b [u8]>,
    /// Bytes of the head with the empty line.
    pub len: usize,
}

impl Request<'_, '_> {
    /// The host without its port.
    pub fn host_name(&self) -> &str {
        target::without_port(self.host)
    }
}

/// Reads the head that `bytes` begin with. `None` when more must come; a head
/// that is too long is refused before its end was seen.
pub fn parse_request<'s, 'b>(
    bytes: &'b [u8],
    storage: &'s mut Storage<'b>,
    limits: &Limits,
) -> Result<Option<Request<'s, 'b>>, Fault> {
    // httparse skips empty lines before a request; not every server does.
    match bytes.first() {
        None => return Ok(None),
        Some(byte) if !is_token(*byte) => return Err(Fault::RequestLine),
        Some(_) => {}
    }
    let n_fields = limits.fields.min(storage.len());
    let mut raw = httparse::Request::new(&mut []);
    let status = raw.parse_with_uninit_headers(bytes, &mut storage[..n_fields]);
    let len = match status {
        Ok(httparse::Status::Complete(len)) => len,
        Ok(httparse::Status::Partial) => return partial(bytes, limits).map(|()| None),
        Err(error) => return Err(fault(error, bytes)),
    };
    let (Some(method), Some(path), Some(version)) = (raw.method, raw.path, raw.version) else {
        return Err(Fault::RequestLine);
    };
    if path.len() > limits.target_bytes {
        return Err(Fault::TargetTooLong);
    }
    if len > limits.head_bytes {
        return Err(Fault::HeadTooLong);
    }
    let at = request_line(bytes, method, path)?;
    let fields: &'s [Field<'b>] = raw.headers;
    if fields::layout(bytes, at, fields)? != len {
        return Err(Fault::LineEnd);
    }
    let version = match version {
        0 => Version::Http10,
        _ => Version::Http11,
    };
    checked(method, path, version, fields, len).map(Some)
}

fn checked<'s, 'b>(
    method: &'b str,
    path: &'b str,
    version: Version,
    fields: &'s [Field<'b>],
    len: usize,
) -> Result<Request<'s, 'b>, Fault> {
    let target = target::parse(method, path)?;
    let framing = Framing::of(fields)?;
    let body = framing.request_body(method, version)?;
    let upgrade = upgrade(&framing, body, version)?;
    if framing.expect && version == Version::Http10 {
        return Err(Fault::Expect);
    }
    Ok(Request {
        method,
        host: host(&framing, &target, version)?,
        target,
        version,
        fields,
        body,
        keep_alive: !framing.close && (version == Version::Http11 || framing.keep_alive),
        expects_continue: framing.expect && body != Body::Empty,
        upgrade,
        len,
    })
}

/// Checks `METHOD SP target SP HTTP/1.x CR LF`; returns where it ends.
fn request_line(bytes: &[u8], method: &str, path: &str) -> Result<usize, Fault> {
    let base = bytes.as_ptr() as usize;
    let path_at = path.as_ptr() as usize - base;
    if method.as_ptr() as usize != base || path_at != method.len() + 1 {
        return Err(Fault::RequestLine);
    }
    let version_at = path_at + path.len();
    let is_version = bytes[version_at..].starts_with(b" HTTP/1.");
    if !is_version {
        return Err(Fault::RequestLine);
    }
    fields::line_end(bytes, version_at + " HTTP/1.1".len())
}

fn host<'b>(
    framing: &Framing<'b>,
    target: &Target<'b>,
    version: Version,
) -> Result<&'b str, Fault> {
    let host = match framing.host {
        Some(host) if target::is_host(host) => host,
        Some(_) => return Err(Fault::HostBytes),
        None if version == Version::Http11 => return Err(Fault::HostMissing),
        // Without Host, an authority in the target would be seen by some only.
        None if target.authority.is_some() => return Err(Fault::HostMissing),
        None => return Ok(""),
    };
    match target.authority {
        Some(authority) if !authority.eq_ignore_ascii_case(host) => Err(Fault::HostMismatch),
        _ => Ok(host),
    }
}

fn upgrade<'b>(
    framing: &Framing<'b>,
    body: Body,
    version: Version,
) -> Result<Option<&'b [u8]>, Fault> {
    match framing.upgrade {
        None if framing.connection_upgrade => Err(Fault::Upgrade),
        None => Ok(None),
        Some(_) if !framing.connection_upgrade || body != Body::Empty => Err(Fault::Upgrade),
        Some(_) if version == Version::Http10 => Err(Fault::Upgrade),
        Some(protocols) => Ok(Some(protocols)),
    }
}

/// A head whose end was not seen yet: is it too long already?
fn partial(bytes: &[u8], limits: &Limits) -> Result<(), Fault> {
    // Longer than any method, the target's limit and " HTTP/1.1".
    let line_limit = limits.target_bytes + 64;
    if bytes.len() > line_limit && memchr::memchr(b'\n', &bytes[..line_limit]).is_none() {
        return Err(Fault::TargetTooLong);
    }
    if bytes.len() >= limits.head_bytes {
        return Err(Fault::HeadTooLong);
    }
    Ok(())
}

fn fault(error: httparse::Error, bytes: &[u8]) -> Fault {
    use httparse::Error;
    match error {
        Error::TooManyHeaders => Fault::TooManyFields,
        Error::HeaderName => folded_or(bytes, Fault::FieldName),
        Error::HeaderValue => Fault::FieldValue,
        Error::NewLine => Fault::LineEnd,
        Error::Version => Fault::Version,
        Error::Token => Fault::RequestLine,
        Error::Status => Fault::StatusLine,
    }
}

/// A line that begins with white space continues the one before.
fn folded_or(bytes: &[u8], otherwise: Fault) -> Fault {
    let folded = memchr::memmem::find(bytes, b"\n ").or(memchr::memmem::find(bytes, b"\n\t"));
    match folded {
        Some(_) => Fault::LineEnd,
        None => otherwise,
    }
}

/// Whether a request asks for the whole server or a tunnel rather than a path.
impl Target<'_> {
    pub fn has_path(&self) -> bool {
        matches!(self.form, Form::Origin | Form::Absolute)
    }
}
