//! Netlink attributes: a view that reads them without ever failing as a whole,
//! and tables that name them.
//!
//! The tables are the whitelist of recordings: what is not in a table is not
//! recorded, so no address or serial number can slip in. A test compares every
//! number with the kernel's headers.

pub mod devlink;
pub mod ethtool;
pub mod genl;
mod json;
pub mod netdev;
pub mod route;
pub mod tc;

pub use json::{from_json, to_json};

use netlink_packet_core::NlasIterator;

/// Every form that is read, for the tests that look at all of them.
pub const FORMS: [&Form; 20] = [
    genl::FAMILY,
    netdev::DEV,
    netdev::QUEUE,
    netdev::NAPI,
    netdev::PAGE_POOL,
    netdev::QSTATS,
    ethtool::STRSET,
    ethtool::LINKMODES,
    ethtool::LINKSTATE,
    ethtool::FEATURES,
    ethtool::PRIVFLAGS,
    ethtool::RINGS,
    ethtool::CHANNELS,
    ethtool::TSINFO,
    ethtool::RSS,
    devlink::ANY,
    route::LINK,
    route::ROUTE,
    tc::QDISC,
    tc::FILTER,
];

/// Attributes, one after the other. Reading ends where they stop making sense.
#[derive(Debug, Clone, Copy)]
pub struct Attrs<'a>(pub &'a [u8]);

impl<'a> Attrs<'a> {
    /// The attributes after a header.
    pub fn after(message: &'a [u8], header: usize) -> Self {
        Self(message.get(header..).unwrap_or_default())
    }

    /// Type and bytes of each.
    pub fn iter(self) -> impl Iterator<Item = (u16, &'a [u8])> {
        let mut offset = 0;
        NlasIterator::new(self.0)
            .map_while(Result::ok)
            .map_while(move |nla| {
                let bytes = self.0.get(offset + 4..offset + 4 + nla.value_length())?;
                offset += usize::from(nla.length()).next_multiple_of(4);
                Some((nla.kind(), bytes))
            })
    }

    /// The bytes of an attribute.
    pub fn get(self, id: u16) -> Option<&'a [u8]> {
        self.iter().find(|(found, _)| *found == id).map(|f| f.1)
    }

    /// An attribute's attributes; empty when it is not there.
    pub fn nest(self, id: u16) -> Self {
        Self(self.get(id).unwrap_or_default())
    }

    /// Each of an attribute that occurs several times, as attributes.
    pub fn nests(self, id: u16) -> impl Iterator<Item = Attrs<'a>> {
        self.iter()
            .filter(move |(found, _)| *found == id)
            .map(|(_, bytes)| Attrs(bytes))
    }

    /// Whether an attribute is there at all.
    pub fn has(self, id: u16) -> bool {
        self.get(id).is_some()
    }

    /// An unsigned number of 1, 2, 4 or 8 bytes in the machine's order.
    pub fn uint(self, id: u16) -> Option<u64> {
        unsigned(self.get(id)?)
    }

    /// A number that fits 32 bits.
    pub fn u32(self, id: u16) -> Option<u32> {
        u32::try_from(self.uint(id)?).ok()
    }

    /// A text, without its final zero.
    pub fn text(self, id: u16) -> Option<String> {
        Some(text(self.get(id)?))
    }
}

/// Bytes as an unsigned number in the machine's order.
pub fn unsigned(bytes: &[u8]) -> Option<u64> {
    Some(match bytes.len() {
        1 => u64::from(bytes[0]),
        2 => u64::from(u16::from_ne_bytes(bytes.try_into().ok()?)),
        4 => u64::from(u32::from_ne_bytes(bytes.try_into().ok()?)),
        8 => u64::from_ne_bytes(bytes.try_into().ok()?),
        _ => return None,
    })
}

/// Bytes as a text, up to the first zero.
pub fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

/// Appends an attribute, padded.
pub fn push(to: &mut Vec<u8>, id: u16, bytes: &[u8]) {
    let length = u16::try_from(bytes.len() + 4).unwrap_or(u16::MAX);
    to.extend(length.to_ne_bytes());
    to.extend(id.to_ne_bytes());
    to.extend(bytes);
    to.resize(to.len().next_multiple_of(4), 0);
}

/// Marks an attribute that holds others, in requests.
pub const NESTED: u16 = 1 << 15;

/// What an attribute holds.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// One byte.
    U8,
    /// Two bytes.
    U16,
    /// Four bytes.
    U32,
    /// Eight bytes.
    U64,
    /// Four bytes, or eight when the number needs them (the kernel's `uint`).
    Uint,
    /// Nothing: being there is the value.
    Flag,
    /// Characters and a zero.
    Text,
    /// Bytes that identify nobody.
    Bytes,
    /// Other attributes.
    Nest(&'static Table),
    /// Other attributes, whose table depends on a text beside them.
    Select(u16, &'static [(&'static str, &'static Table)]),
}

/// A named attribute.
#[derive(Debug, Clone, Copy)]
pub struct Attr(pub u16, pub &'static str, pub Kind);

/// Attributes that occur together. The kernel's name of one is the prefix and
/// the attribute's name in capitals.
#[derive(Debug)]
pub struct Table {
    /// `NETDEV_A_DEV_`.
    pub prefix: &'static str,
    /// What Terrace reads of it.
    pub attrs: &'static [Attr],
}

/// A message: a fixed header, then attributes.
#[derive(Debug)]
pub struct Form {
    /// Name, offset and width of the header's fields that are read.
    pub header: &'static [(&'static str, usize, usize)],
    /// Bytes of the header.
    pub header_len: usize,
    /// What follows.
    pub attrs: &'static Table,
}

impl Form {
    /// A field of a message's header; 0 when the message is too short.
    pub fn field(&self, message: &[u8], name: &str) -> u64 {
        let field = self.header.iter().find(|field| field.0 == name);
        let bytes = field.and_then(|(_, at, width)| message.get(*at..at + width));
        bytes.and_then(unsigned).unwrap_or(0)
    }

    /// A message's attributes.
    pub fn attrs<'a>(&self, message: &'a [u8]) -> Attrs<'a> {
        Attrs::after(message, self.header_len)
    }
}
