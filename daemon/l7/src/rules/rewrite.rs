//! Changed heads: RequestHeaderModifier and URLRewrite, and the head of a
//! redirect. Written into the caller's buffer; nothing is allocated.

use super::action::{Redirect, RedirectPath};
use crate::http::Request;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rewrite {
    pub host: Option<String>,
    pub path: Option<PathChange>,
    pub fields: FieldChanges,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathChange {
    /// The whole path; the query stays.
    Full(String),
    /// What the rule's prefix matched.
    Prefix(String),
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FieldChanges {
    pub set: Vec<(String, String)>,
    pub add: Vec<(String, String)>,
    pub remove: Vec<String>,
}

/// The changed head is larger than the buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the changed head is larger than a head may be")]
pub struct NoRoom;

/// Writes into a buffer of the caller's.
#[derive(Debug)]
pub struct HeadWriter<'b> {
    buffer: &'b mut [u8],
    len: usize,
}

impl<'b> HeadWriter<'b> {
    pub fn new(buffer: &'b mut [u8]) -> Self {
        Self { buffer, len: 0 }
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub fn put(&mut self, bytes: impl AsRef<[u8]>) -> Result<(), NoRoom> {
        let bytes = bytes.as_ref();
        let place = self.buffer.get_mut(self.len..self.len + bytes.len());
        place.ok_or(NoRoom)?.copy_from_slice(bytes);
        self.len += bytes.len();
        Ok(())
    }

    pub fn number(&mut self, number: u64) -> Result<(), NoRoom> {
        let mut digits = [0; 20];
        let mut at = digits.len();
        let mut left = number;
        loop {
            at -= 1;
            digits[at] = b'0' + (left % 10) as u8;
            left /= 10;
            if left == 0 {
                return self.put(&digits[at..]);
            }
        }
    }

    fn field(&mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<(), NoRoom> {
        self.put(name)?;
        self.put(": ")?;
        self.put(value)?;
        self.put("\r\n")
    }
}

impl Rewrite {
    /// The head that the backend gets for `request`, of which a prefix rule
    /// took `prefix_len` bytes.
    pub fn write(
        &self,
        request: &Request<'_, '_>,
        prefix_len: usize,
        out: &mut HeadWriter<'_>,
    ) -> Result<(), NoRoom> {
        out.put(request.method)?;
        out.put(" ")?;
        self.target(request, prefix_len, out)?;
        out.put(match request.version {
            crate::http::Version::Http10 => " HTTP/1.0\r\n",
            crate::http::Version::Http11 => " HTTP/1.1\r\n",
        })?;
        for field in request.fields.iter() {
            self.field(field.name, field.value, out)?;
        }
        for (name, value) in self.fields.set.iter().chain(&self.fields.add) {
            out.field(name, value)?;
        }
        out.put("\r\n")
    }

    /// An absolute target is written in origin form: Host says the rest.
    fn target(
        &self,
        request: &Request<'_, '_>,
        prefix_len: usize,
        out: &mut HeadWriter<'_>,
    ) -> Result<(), NoRoom> {
        let target = &request.target;
        match &self.path {
            None => return out.put(target.path_and_query),
            Some(PathChange::Full(path)) => out.put(path)?,
            Some(PathChange::Prefix(prefix)) => {
                replace_prefix(target.path, prefix_len, prefix, out)?;
            }
        }
        match target.query {
            None => Ok(()),
            Some(query) => {
                out.put("?")?;
                out.put(query)
            }
        }
    }

    fn field(&self, name: &[u8], value: &[u8], out: &mut HeadWriter<'_>) -> Result<(), NoRoom> {
        let is = |other: &str| other.as_bytes().eq_ignore_ascii_case(name);
        if let Some(host) = self.host.as_ref().filter(|_| is("host")) {
            return out.field(name, host);
        }
        let FieldChanges { set, remove, .. } = &self.fields;
        if set.iter().any(|(other, _)| is(other)) || remove.iter().any(|other| is(other)) {
            return Ok(());
        }
        out.field(name, value)
    }
}

/// `/a/b` with the prefix `/a` replaced by `/x` is `/x/b`; slashes between the
/// two meet as one.
fn replace_prefix(
    path: &str,
    prefix_len: usize,
    prefix: &str,
    out: &mut HeadWriter<'_>,
) -> Result<(), NoRoom> {
    let prefix = prefix.trim_end_matches('/');
    let rest = path.get(prefix_len..).unwrap_or_default();
    out.put(prefix)?;
    match rest.strip_prefix('/') {
        Some(rest) => {
            out.put("/")?;
            out.put(rest)
        }
        None if prefix.is_empty() => out.put("/"),
        None => Ok(()),
    }
}

impl Redirect {
    /// The answer to `request`, with its empty body. The port of an `http`
    /// redirect is the one that the client came to, unless it is said.
    pub fn write(
        &self,
        request: &Request<'_, '_>,
        prefix_len: usize,
        out: &mut HeadWriter<'_>,
    ) -> Result<(), NoRoom> {
        let target = &request.target;
        out.put("HTTP/1.1 ")?;
        out.number(u64::from(self.status))?;
        out.put(match self.status {
            301 => " Moved Permanently\r\nLocation: ",
            _ => " Found\r\nLocation: ",
        })?;
        out.put(self.scheme.as_deref().unwrap_or("http"))?;
        out.put("://")?;
        out.put(self.host.as_deref().unwrap_or(request.host_name()))?;
        self.port(request.host, out)?;
        match &self.path {
            None => out.put(target.path)?,
            Some(RedirectPath::Full(path)) => out.put(path)?,
            Some(RedirectPath::Prefix(prefix)) => {
                replace_prefix(target.path, prefix_len, prefix, out)?;
            }
        }
        if let Some(query) = target.query {
            out.put("?")?;
            out.put(query)?;
        }
        out.put("\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    }

    fn port(&self, host: &str, out: &mut HeadWriter<'_>) -> Result<(), NoRoom> {
        let own = host.strip_prefix(crate::http::without_port(host));
        let own = own.and_then(|port| port.strip_prefix(':')?.parse::<u16>().ok());
        // Another scheme has its own port (Gateway API).
        let port = self.port.or(own.filter(|_| self.scheme.is_none()));
        let known = match self.scheme.as_deref() {
            Some("https") => 443,
            _ => 80,
        };
        match port.filter(|port| *port != known) {
            None => Ok(()),
            Some(port) => {
                out.put(":")?;
                out.number(u64::from(port))
            }
        }
    }
}
