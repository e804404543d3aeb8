//! Tests of fields and query parameters.

use super::RuleError;
use super::patterns::Pattern;
use crate::http::Fields;

/// What a field or a query parameter must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// Anything, but there.
    Present,
    Exact(String),
    /// A regular expression on the whole value.
    Regex(String),
}

/// A name and what its value must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValueRule {
    pub name: String,
    pub value: Value,
}

#[derive(Debug, Clone)]
pub struct Values {
    rules: Box<[(Box<str>, Test)]>,
}

#[derive(Debug, Clone)]
enum Test {
    Present,
    Exact(Box<[u8]>),
    Regex(Pattern),
}

impl Values {
    pub fn new(rules: &[ValueRule]) -> Result<Self, RuleError> {
        let compiled = rules.iter().map(|rule| {
            let test = match &rule.value {
                Value::Present => Test::Present,
                Value::Exact(value) => Test::Exact(value.as_bytes().into()),
                Value::Regex(pattern) => Test::Regex(Pattern::new(pattern)?),
            };
            Ok((rule.name.as_str().into(), test))
        });
        Ok(Self {
            rules: compiled.collect::<Result<_, _>>()?,
        })
    }

    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Whether every rule has a field that passes. A name that stands twice
    /// is one value with a comma, by RFC 9110; here each alone must pass, so
    /// that no reading of the two gets through.
    pub fn match_fields(&self, fields: &Fields<'_, '_>) -> bool {
        self.rules.iter().all(|(name, test)| {
            let mut held = fields
                .iter()
                .filter(|field| field.name.eq_ignore_ascii_case(name.as_bytes()))
                .peekable();
            held.peek().is_some() && held.all(|field| test.passes(field.value))
        })
    }

    /// Whether every rule has its parameter: of a name that stands twice the
    /// first counts (Gateway API leaves it open).
    pub fn match_query(&self, query: Option<&str>) -> bool {
        self.rules.iter().all(|(name, test)| {
            let parameters = query.unwrap_or_default().split('&');
            let mut pairs = parameters.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
            let found = pairs.find(|(key, _)| is_decoded(key, name));
            found.is_some_and(|(_, value)| test.passes_encoded(value))
        })
    }
}

impl Test {
    fn passes(&self, value: &[u8]) -> bool {
        match self {
            Self::Present => true,
            Self::Exact(wanted) => **wanted == *value,
            Self::Regex(pattern) => pattern.matches(value),
        }
    }

    /// A value of a query, in which bytes may be percent-encoded.
    fn passes_encoded(&self, value: &str) -> bool {
        match self {
            Self::Present => true,
            Self::Exact(wanted) => decoded(value).eq(wanted.iter().copied()),
            Self::Regex(pattern) if value.contains(['%', '+']) => {
                let mut bytes = [0; 1024];
                let mut len = 0;
                for byte in decoded(value) {
                    let Some(place) = bytes.get_mut(len) else {
                        return false;
                    };
                    *place = byte;
                    len += 1;
                }
                pattern.matches(&bytes[..len])
            }
            Self::Regex(pattern) => pattern.matches(value.as_bytes()),
        }
    }
}

fn is_decoded(key: &str, name: &str) -> bool {
    decoded(key).eq(name.bytes())
}

/// The bytes of a query's key or value; the parser has checked each `%`.
fn decoded(text: &str) -> impl Iterator<Item = u8> + '_ {
    let bytes = text.as_bytes();
    let mut at = 0;
    std::iter::from_fn(move || {
        let byte = *bytes.get(at)?;
        let digit = |at: usize| bytes.get(at).and_then(|b| char::from(*b).to_digit(16));
        let (byte, width) = match (byte, digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => ((high * 16 + low) as u8, 3),
            (b'+', ..) => (b' ', 1),
            _ => (byte, 1),
        };
        at += width;
        Some(byte)
    })
}
