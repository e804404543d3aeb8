//! From the tree to typed values, without stopping at the first mistake.
//!
//! A field that the type does not have reaches `deserialize_ignored_any`;
//! that is where unknown fields are found. A value of the wrong type is
//! recorded and a blank one is read in its place, so that the rest of the
//! document is checked too.

mod blank;

use std::cell::RefCell;
use std::fmt;

use serde::Deserialize;
use serde::de::value::StrDeserializer;
use serde::de::{
    self, DeserializeSeed, Expected, IntoDeserializer, MapAccess, SeqAccess, Unexpected, Visitor,
};

use super::{Key, Node, Value};
use blank::Blank;

/// Something that a document may not say, with its line and path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issue {
    pub line: u32,
    pub path: String,
    pub kind: IssueKind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IssueKind {
    /// A field that the type does not have; the nearest name that it has.
    Unknown { near: Option<&'static str> },
    /// A value of the wrong type or range.
    Wrong(String),
}

/// Reads `node` as a `T`. With issues the value is partly blank.
pub fn read<'n, T: Deserialize<'n>>(node: &'n Node<'_>) -> (Option<T>, Vec<Issue>) {
    let sink = RefCell::new(Vec::new());
    let path = PathStep::Root;
    let value = read_or_blank(Reader {
        node,
        path: &path,
        fields: &[],
        sink: &sink,
    });
    (value.ok(), sink.into_inner())
}

/// What is wrong with one value; its place is added where it is recorded.
#[derive(Debug)]
pub struct Wrong(String);

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Wrong {}

impl de::Error for Wrong {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self(message.to_string())
    }

    fn invalid_type(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        let found = match unexpected {
            Unexpected::Unit => "nothing".to_owned(),
            Unexpected::Map => "a map".to_owned(),
            Unexpected::Seq => "a list".to_owned(),
            Unexpected::Str(text) => format!("the text {text:?}"),
            Unexpected::Signed(n) => format!("the number {n}"),
            Unexpected::Unsigned(n) => format!("the number {n}"),
            Unexpected::Bool(value) => format!("{value}"),
            other => other.to_string(),
        };
        Self(format!("expected {}, found {found}", wanted(expected)))
    }

    fn invalid_value(unexpected: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::invalid_type(unexpected, expected)
    }
}

/// What a type is called by people who write YAML.
fn wanted(expected: &dyn Expected) -> String {
    let name = expected.to_string();
    match name.as_str() {
        "i8" | "i16" | "i32" | "i64" | "u8" | "u16" | "u32" | "u64" => "a whole number".to_owned(),
        "a boolean" => "true or false".to_owned(),
        _ => name,
    }
}

/// The way from the document's root, kept on the stack and printed on demand.
#[derive(Clone, Copy)]
enum PathStep<'p> {
    Root,
    Key(&'p PathStep<'p>, &'p str),
    Index(&'p PathStep<'p>, usize),
}

impl fmt::Display for PathStep<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => Ok(()),
            Self::Key(Self::Root, name) => f.write_str(name),
            Self::Key(above, name) if name.contains(['.', '/']) => write!(f, "{above}[{name:?}]"),
            Self::Key(above, name) => write!(f, "{above}.{name}"),
            Self::Index(above, index) => write!(f, "{above}[{index}]"),
        }
    }
}

type Sink = RefCell<Vec<Issue>>;

#[derive(Clone, Copy)]
struct Reader<'n, 'a, 'p> {
    node: &'n Node<'a>,
    path: &'p PathStep<'p>,
    /// Names that the struct around it has, for suggestions.
    fields: &'static [&'static str],
    sink: &'p Sink,
}

fn read_or_blank<'n, T: Deserialize<'n>>(reader: Reader<'n, '_, '_>) -> Result<T, Wrong> {
    T::deserialize(reader).or_else(|wrong| {
        reader.record(IssueKind::Wrong(wrong.0));
        T::deserialize(Blank)
    })
}

impl<'n> Reader<'n, '_, '_> {
    fn record(&self, kind: IssueKind) {
        self.sink.borrow_mut().push(Issue {
            line: self.node.line,
            path: self.path.to_string(),
            kind,
        });
    }

    fn scalar<V: Visitor<'n>>(
        &self,
        text: &'n str,
        plain: bool,
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        if !plain {
            return visitor.visit_borrowed_str(text);
        }
        match text {
            "" | "~" | "null" | "Null" | "NULL" => return visitor.visit_unit(),
            "true" | "True" | "TRUE" => return visitor.visit_bool(true),
            "false" | "False" | "FALSE" => return visitor.visit_bool(false),
            _ => {}
        }
        if !looks_like_number(text) {
            return visitor.visit_borrowed_str(text);
        }
        if let Ok(number) = text.parse::<i64>() {
            visitor.visit_i64(number)
        } else if let Ok(number) = text.parse::<f64>() {
            visitor.visit_f64(number)
        } else {
            visitor.visit_borrowed_str(text)
        }
    }
}

/// Addresses and dates start with digits too: only the marks of a number count.
fn looks_like_number(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.'))
        && text
            .bytes()
            .all(|b| b.is_ascii_digit() || matches!(b, b'-' | b'+' | b'.' | b'e' | b'E'))
}

impl<'de> de::Deserializer<'de> for Reader<'de, '_, '_> {
    type Error = Wrong;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        match &self.node.value {
            Value::Scalar { text, plain } => self.scalar(text, *plain, visitor),
            Value::List(items) => visitor.visit_seq(Items {
                items: items.iter().enumerate(),
                path: self.path,
                sink: self.sink,
            }),
            Value::Map(entries) => visitor.visit_map(Entries {
                entries: entries.iter(),
                current: None,
                path: self.path,
                fields: &[],
                sink: self.sink,
            }),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        if self.node.is_null() {
            visitor.visit_none()
        } else {
            visitor.visit_some(self)
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        match &self.node.value {
            Value::Map(entries) => visitor.visit_map(Entries {
                entries: entries.iter(),
                current: None,
                path: self.path,
                fields,
                sink: self.sink,
            }),
            Value::List(_) => Err(de::Error::invalid_type(Unexpected::Seq, &"a map")),
            Value::Scalar { text, .. } if self.node.is_null() => {
                let _ = text;
                Err(de::Error::invalid_type(Unexpected::Unit, &"a map"))
            }
            Value::Scalar { text, .. } => {
                Err(de::Error::invalid_type(Unexpected::Str(text), &"a map"))
            }
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        match self.node.text() {
            Some(text) => visitor.visit_enum(text.into_deserializer()),
            None => Err(de::Error::custom("expected a string")),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        let name = match self.path {
            PathStep::Key(_, name) => *name,
            _ => "",
        };
        self.record(IssueKind::Unknown {
            near: nearest(name, self.fields),
        });
        visitor.visit_unit()
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string
        bytes byte_buf unit unit_struct seq tuple tuple_struct map identifier
    }
}

/// The name that was probably meant.
fn nearest(name: &str, fields: &'static [&'static str]) -> Option<&'static str> {
    fields
        .iter()
        .map(|field| {
            (
                strsim::damerau_levenshtein(&name.to_lowercase(), &field.to_lowercase()),
                *field,
            )
        })
        .filter(|(distance, field)| *distance <= 2 && *distance < field.len())
        .min()
        .map(|(_, field)| field)
}

struct Items<'n, 'a, 'p> {
    items: std::iter::Enumerate<std::slice::Iter<'n, Node<'a>>>,
    path: &'p PathStep<'p>,
    sink: &'p Sink,
}

impl<'n> SeqAccess<'n> for Items<'n, '_, '_> {
    type Error = Wrong;

    fn next_element_seed<T: DeserializeSeed<'n>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Wrong> {
        let Some((index, node)) = self.items.next() else {
            return Ok(None);
        };
        let path = PathStep::Index(self.path, index);
        let reader = Reader {
            node,
            path: &path,
            fields: &[],
            sink: self.sink,
        };
        seed.deserialize(reader).map(Some)
    }

    fn next_element<T: Deserialize<'n>>(&mut self) -> Result<Option<T>, Wrong> {
        let Some((index, node)) = self.items.next() else {
            return Ok(None);
        };
        let path = PathStep::Index(self.path, index);
        let reader = Reader {
            node,
            path: &path,
            fields: &[],
            sink: self.sink,
        };
        read_or_blank(reader).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.items.len())
    }
}

struct Entries<'n, 'a, 'p> {
    entries: std::slice::Iter<'n, (Key<'a>, Node<'a>)>,
    current: Option<&'n (Key<'a>, Node<'a>)>,
    path: &'p PathStep<'p>,
    fields: &'static [&'static str],
    sink: &'p Sink,
}

impl<'n, 'a> Entries<'n, 'a, '_> {
    fn take_current(&mut self) -> Result<(&'n str, &'n Node<'a>), Wrong> {
        let (key, node) = self
            .current
            .take()
            .ok_or_else(|| Wrong("value without a key".to_owned()))?;
        Ok((&key.text, node))
    }
}

impl<'n> MapAccess<'n> for Entries<'n, '_, '_> {
    type Error = Wrong;

    fn next_key_seed<K: DeserializeSeed<'n>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Wrong> {
        self.current = self.entries.next();
        let Some((key, _)) = self.current else {
            return Ok(None);
        };
        let key: StrDeserializer<'n, Wrong> = (&*key.text).into_deserializer();
        seed.deserialize(key).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'n>>(&mut self, seed: V) -> Result<V::Value, Wrong> {
        let (name, node) = self.take_current()?;
        let path = PathStep::Key(self.path, name);
        seed.deserialize(Reader {
            node,
            path: &path,
            fields: self.fields,
            sink: self.sink,
        })
    }

    fn next_value<V: Deserialize<'n>>(&mut self) -> Result<V, Wrong> {
        let (name, node) = self.take_current()?;
        let path = PathStep::Key(self.path, name);
        read_or_blank(Reader {
            node,
            path: &path,
            fields: self.fields,
            sink: self.sink,
        })
    }

    fn next_entry<K: Deserialize<'n>, V: Deserialize<'n>>(
        &mut self,
    ) -> Result<Option<(K, V)>, Wrong> {
        match self.next_key()? {
            Some(key) => Ok(Some((key, self.next_value()?))),
            None => Ok(None),
        }
    }
}
