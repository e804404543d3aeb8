//! The fields of a head: where each stands, and what the ones that frame the
//! message say.

use super::{Body, Fault, Version};

/// Name, and value without white space around.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field<'b> {
    pub name: &'b [u8],
    pub value: &'b [u8],
}

/// Where a field stands in its head.
#[derive(Debug, Clone, Copy, Default)]
pub struct Span {
    pub name: (u16, u16),
    pub value: (u16, u16),
}

/// The fields of a head, in their order.
#[derive(Debug, Clone, Copy)]
pub struct Fields<'s, 'b> {
    pub(super) bytes: &'b [u8],
    pub(super) spans: &'s [Span],
}

impl<'b> Fields<'_, 'b> {
    pub fn iter(&self) -> impl Iterator<Item = Field<'b>> + Clone {
        let bytes = self.bytes;
        self.spans.iter().map(move |span| span.field(bytes))
    }
}

impl Span {
    pub fn field<'b>(&self, bytes: &'b [u8]) -> Field<'b> {
        let of = |(from, until)| bytes.get(usize::from(from)..usize::from(until));
        Field {
            name: of(self.name).unwrap_or_default(),
            value: of(self.value).unwrap_or_default(),
        }
    }
}

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

impl<'b> Framing<'b> {
    /// Takes one field into account. Those that matter are told apart by the
    /// length of their name and its first letter.
    #[inline]
    pub fn field(&mut self, Field { name, value }: Field<'b>) -> Result<(), Fault> {
        let is = |wanted: &[u8]| name.eq_ignore_ascii_case(wanted);
        let first = name.first().map_or(0, |byte| byte | 0x20);
        match (name.len(), first) {
            (4, b'h') if is(b"host") => self.host(value),
            (6, b'e') if is(b"expect") => self.expect(value),
            (7, b'u') if is(b"upgrade") => self.upgrade(value),
            (10, b'c') if is(b"connection") => self.connection(value),
            (14, b'c') if is(b"content-length") => self.content_length(value),
            (14, b'c') if is(b"content_length") => Err(Fault::Disguised),
            (17, b't') if is(b"transfer-encoding") => self.transfer_encoding(value),
            (17, b't') if is(b"transfer_encoding") => Err(Fault::Disguised),
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
