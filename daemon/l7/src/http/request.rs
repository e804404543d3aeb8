//! A request head (RFC 9112 section 3), read in one strict pass. httparse is
//! the oracle of the tests: what is taken here it must read alike.

use super::fields::{Fields, Framing, Span};
use super::lanes::{first_blank, first_control, first_odd};
use super::target::{self, Form};
use super::{Body, Fault, Limits, Storage, Target, Version, is_token};

#[derive(Debug)]
pub struct Request<'s, 'b> {
    pub method: &'b str,
    pub target: Target<'b>,
    pub version: Version,
    pub fields: Fields<'s, 'b>,
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
    /// Bytes of `host` without its port.
    host_len: usize,
}

impl Request<'_, '_> {
    /// The host without its port.
    pub fn host_name(&self) -> &str {
        &self.host[..self.host_len]
    }
}

/// Reads the head that `bytes` begin with. `None` when more must come; a head
/// that is too long is refused before its end was seen.
pub fn parse_request<'s, 'b>(
    bytes: &'b [u8],
    storage: &'s mut Storage,
    limits: &Limits,
) -> Result<Option<Request<'s, 'b>>, Fault> {
    // Places in a head are 16 bits wide.
    let bytes = &bytes[..bytes.len().min(usize::from(u16::MAX))];
    match bytes.first() {
        None => return Ok(None),
        // Some servers skip empty lines before a request.
        Some(byte) if !is_token(*byte) => return Err(Fault::RequestLine),
        Some(_) => {}
    }
    let Some(line) = Line::read(bytes, limits)? else {
        return partial(bytes, limits).map(|()| None);
    };
    let n_fields = limits.fields.min(storage.0.len());
    let mut reader = FieldReader {
        bytes,
        at: line.len,
        framing: Framing::default(),
    };
    let Some(n) = reader.all(&mut storage.0[..n_fields])? else {
        return partial(bytes, limits).map(|()| None);
    };
    if reader.at > limits.head_bytes {
        return Err(Fault::HeadTooLong);
    }
    let fields = Fields {
        bytes,
        spans: &storage.0[..n],
    };
    checked(&line, &reader.framing, fields, reader.at).map(Some)
}

/// `METHOD SP target SP HTTP/1.x CR LF`
struct Line<'b> {
    method: &'b str,
    target: &'b str,
    version: Version,
    len: usize,
}

impl<'b> Line<'b> {
    /// `None` = more must come.
    fn read(bytes: &'b [u8], limits: &Limits) -> Result<Option<Self>, Fault> {
        let Some(method_end) = bytes.iter().position(|byte| !is_token(*byte)) else {
            return Ok(None);
        };
        if bytes[method_end] != b' ' {
            return Err(Fault::RequestLine);
        }
        let target_end = first_blank(bytes, method_end + 1);
        let Some(version) = bytes.get(target_end..) else {
            return Ok(None);
        };
        if target_end - method_end - 1 > limits.target_bytes {
            return Err(Fault::TargetTooLong);
        }
        let Some(version) = version_of(version, target_end == method_end + 1)? else {
            return Ok(None);
        };
        let text = std::str::from_utf8(&bytes[..target_end]).map_err(|_| Fault::TargetBytes)?;
        Ok(Some(Self {
            method: &text[..method_end],
            target: &text[method_end + 1..],
            version,
            len: target_end + VERSION.len() + 3,
        }))
    }
}

const VERSION: &[u8] = b" HTTP/1.";

/// What stands behind the target: ` HTTP/1.x CR LF`.
fn version_of(bytes: &[u8], no_target: bool) -> Result<Option<Version>, Fault> {
    let n = bytes.len().min(VERSION.len());
    if n > 0 && (no_target || bytes[0] != b' ') {
        return Err(Fault::RequestLine);
    }
    if bytes[..n] != VERSION[..n] {
        return Err(Fault::Version);
    }
    let (digit, end) = match bytes.get(n..) {
        Some([digit, end @ ..]) if n == VERSION.len() => (digit, end),
        _ => return Ok(None),
    };
    let version = match digit {
        b'0' => Version::Http10,
        b'1' => Version::Http11,
        _ => return Err(Fault::Version),
    };
    match end {
        [b'\r', b'\n', ..] => Ok(Some(version)),
        [] | [b'\r'] => Ok(None),
        _ => Err(Fault::LineEnd),
    }
}

struct FieldReader<'b> {
    bytes: &'b [u8],
    at: usize,
    framing: Framing<'b>,
}

impl FieldReader<'_> {
    /// All fields up to the empty line; `at` is behind it then. `None` = more
    /// must come.
    fn all(&mut self, spans: &mut [Span]) -> Result<Option<usize>, Fault> {
        let mut n = 0;
        loop {
            match self.bytes.get(self.at..) {
                Some([b'\r', b'\n', ..]) => break,
                None | Some([] | [b'\r']) => return Ok(None),
                Some(_) => {}
            }
            let Some((span, end)) = self.line()? else {
                return Ok(None);
            };
            *spans.get_mut(n).ok_or(Fault::TooManyFields)? = span;
            n += 1;
            self.framing.field(span.field(self.bytes))?;
            self.at = end;
        }
        self.at += 2;
        Ok(Some(n))
    }

    /// `name:OWS value OWS CR LF`, and where it ends.
    #[inline(always)]
    fn line(&self) -> Result<Option<(Span, usize)>, Fault> {
        let (bytes, start) = (self.bytes, self.at);
        let mut name_end = first_odd::<b'-', b'-', b'-'>(bytes, start);
        while bytes.get(name_end).is_some_and(|byte| is_token(*byte)) {
            name_end += 1;
        }
        match bytes.get(name_end) {
            None => return Ok(None),
            Some(b':') if name_end > start => {}
            // A folded line, or an end that is not CR LF.
            Some(b' ' | b'\t' | b'\r' | b'\n') if name_end == start => return Err(Fault::LineEnd),
            Some(_) => return Err(Fault::FieldName),
        }
        let mut value_at = name_end + 1;
        while matches!(bytes.get(value_at), Some(b' ' | b'\t')) {
            value_at += 1;
        }
        let line_end = first_control(bytes, value_at);
        match bytes.get(line_end..) {
            None | Some([] | [b'\r']) => return Ok(None),
            Some([b'\r', b'\n', ..]) => {}
            Some([b'\n', ..]) => return Err(Fault::LineEnd),
            Some(_) => return Err(Fault::FieldValue),
        }
        let mut value_end = line_end;
        while value_end > value_at && matches!(bytes[value_end - 1], b' ' | b'\t') {
            value_end -= 1;
        }
        let span = Span {
            name: (start as u16, name_end as u16),
            value: (value_at as u16, value_end as u16),
        };
        Ok(Some((span, line_end + 2)))
    }
}

#[inline(always)]
fn checked<'s, 'b>(
    line: &Line<'b>,
    framing: &Framing<'b>,
    fields: Fields<'s, 'b>,
    len: usize,
) -> Result<Request<'s, 'b>, Fault> {
    let Line {
        method, version, ..
    } = *line;
    let target = target::parse(method, line.target)?;
    let body = framing.request_body(method, version)?;
    let upgrade = upgrade(framing, body, version)?;
    if framing.expect && version == Version::Http10 {
        return Err(Fault::Expect);
    }
    let (host, host_len) = host(framing, &target, version)?;
    Ok(Request {
        method,
        host,
        host_len,
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

fn host<'b>(
    framing: &Framing<'b>,
    target: &Target<'b>,
    version: Version,
) -> Result<(&'b str, usize), Fault> {
    let (host, len) = match framing.host {
        Some(host) => (host, target::host_len(host).ok_or(Fault::HostBytes)?),
        None if version == Version::Http11 => return Err(Fault::HostMissing),
        // Without Host, an authority in the target would be seen by some only.
        None if target.authority.is_some() => return Err(Fault::HostMissing),
        None => return Ok(("", 0)),
    };
    match target.authority {
        Some(authority) if !authority.eq_ignore_ascii_case(host) => Err(Fault::HostMismatch),
        _ => Ok((host, len)),
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

/// Whether a request asks for the whole server or a tunnel rather than a path.
impl Target<'_> {
    pub fn has_path(&self) -> bool {
        matches!(self.form, Form::Origin | Form::Absolute)
    }
}
