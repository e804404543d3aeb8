//! One walk over the fields of a head: where each stands, and what the ones
//! that frame the message say.

use super::{Body, Fault, Version};

/// A field as httparse gives it: name, and value without white space around.
pub type Field<'b> = httparse::Header<'b>;

/// What the framing fields say.
#[derive(Debug, Default, Clone, Copy)]
pub struct Framing<'b> {
    pub host: Option<&'b str>,
    pub content_length: Option<u64>,
    pub chunked: bool,
    pub has_transfer_encoding: bool,
    pub close: bool,
    pub keep_alive: bool,
    pub connection_upgrade: bool,
    pub upgrade: Option<&'b [u8]>,
    pub expect: bool,
}

/// Checks that the fields stand one to a line from `at` on, each line
/// `name:OWS value OWS CR LF`, and that an empty line follows. Returns where
/// the head ends.
///
/// httparse takes a bare LF for a line end. Fields borrow from `bytes`, so
/// the places of names and values say what stands between them.
pub fn layout(bytes: &[u8], mut at: usize, fields: &[Field<'_>]) -> Result<usize, Fault> {
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

pub fn line_end(bytes: &[u8], at: usize) -> Result<usize, Fault> {
    match bytes.get(at..at + 2) {
        Some(b"\r\n") => Ok(at + 2),
        _ => Err(Fault::LineEnd),
    }
}

impl<'b> Framing<'b> {
    pub fn of(fields: &[Field<'b>]) -> Result<Self, Fault> {
        let mut framing = Self::default();
        for field in fields {
            framing.field(field)?;
        }
        Ok(framing)
    }

    /// Fields that matter are told apart by the length of their name first.
    fn field(&mut self, field: &Field<'b>) -> Result<(), Fault> {
        let (name, value) = (field.name, field.value);
        let is = |wanted: &str| name.eq_ignore_ascii_case(wanted);
        match name.len() {
            4 if is("host") => self.host(value),
            6 if is("expect") => self.expect(value),
            7 if is("upgrade") => self.upgrade(value),
            10 if is("connection") => self.connection(value),
            14 if is("content-length") => self.content_length(value),
            14 if is("content_length") => Err(Fault::Disguised),
            17 if is("transfer-encoding") => self.transfer_encoding(value),
            17 if is("transfer_encoding") => Err(Fault::Disguised),
            _ => Ok(()),
        }
    }

    fn host(&mut self, value: &'b [u8]) -> Result<(), Fault> {
        let text = std::str::from_utf8(value).map_err(|_| Fault::HostBytes)?;
        match self.host.replace(text) {
            Some(_) => Err(Fault::HostTwice),
            None => Ok(()),
        }
    }

    fn expect(&mut self, value: &[u8]) -> Result<(), Fault> {
        if self.expect || !value.eq_ignore_ascii_case(b"100-continue") {
            return Err(Fault::Expect);
        }
        self.expect = true;
        Ok(())
    }

    fn upgrade(&mut self, value: &'b [u8]) -> Result<(), Fault> {
        match self.upgrade.replace(value) {
            Some(_) => Err(Fault::Upgrade),
            None if value.is_empty() => Err(Fault::Upgrade),
            None => Ok(()),
        }
    }

    fn connection(&mut self, value: &[u8]) -> Result<(), Fault> {
        for option in value.split(|byte| *byte == b',') {
            let option = option.trim_ascii();
            let is = |wanted: &str| option.eq_ignore_ascii_case(wanted.as_bytes());
            match option.len() {
                5 if is("close") => self.close = true,
                10 if is("keep-alive") => self.keep_alive = true,
                7 if is("upgrade") => self.connection_upgrade = true,
                // A proxy behind us would take the field out.
                4 if is("host") => return Err(Fault::ConnectionNames),
                14 if is("content-length") => return Err(Fault::ConnectionNames),
                17 if is("transfer-encoding") => return Err(Fault::ConnectionNames),
                _ => {}
            }
        }
        Ok(())
    }

    fn content_length(&mut self, value: &[u8]) -> Result<(), Fault> {
        let is_number = (1..=18).contains(&value.len()) && value.iter().all(u8::is_ascii_digit);
        if !is_number {
            return Err(Fault::ContentLength);
        }
        let number = value
            .iter()
            .fold(0, |sum: u64, digit| sum * 10 + u64::from(digit - b'0'));
        match self.content_length.replace(number) {
            Some(_) => Err(Fault::ContentLengthTwice),
            None => Ok(()),
        }
    }

    fn transfer_encoding(&mut self, value: &[u8]) -> Result<(), Fault> {
        if self.has_transfer_encoding {
            return Err(Fault::TransferEncodingTwice);
        }
        self.has_transfer_encoding = true;
        self.chunked = value.eq_ignore_ascii_case(b"chunked");
        Ok(())
    }

    /// The body of a request, or why it can't be told.
    pub fn request_body(&self, method: &str, version: Version) -> Result<Body, Fault> {
        if self.has_transfer_encoding {
            if self.content_length.is_some() {
                return Err(Fault::BothLengths);
            }
            if !self.chunked || version == Version::Http10 {
                return Err(Fault::TransferEncoding);
            }
        }
        let body = match self.content_length {
            _ if self.chunked => Body::Chunked,
            None | Some(0) => Body::Empty,
            Some(length) => Body::Length(length),
        };
        match (method, body) {
            ("CONNECT", Body::Empty) if self.content_length.is_none() => Ok(Body::Tunnel),
            ("CONNECT", _) => Err(Fault::BodyOfMethod),
            ("TRACE", Body::Length(_) | Body::Chunked) => Err(Fault::BodyOfMethod),
            _ => Ok(body),
        }
    }
}
