//! YAML as a tree that knows its lines.
//!
//! Kubernetes' manifests are JSON written as YAML, so this takes less than
//! YAML has: no anchors, aliases or tags, string keys only, no key twice.

mod de;

use std::borrow::Cow;

use saphyr_parser::{Event, Parser, ScalarStyle, ScanError, Span, StrInput};

pub use de::{IssueKind, read};

/// Deeper nesting than any manifest has; keeps the recursion bounded.
const MAX_DEPTH: u32 = 64;
/// Maps of more entries are checked for repeated keys through a set.
const SMALL_MAP: usize = 16;

/// A value, with the line that it starts on (counts from 1).
#[derive(Debug, Clone)]
pub struct Node<'a> {
    pub line: u32,
    pub value: Value<'a>,
}

#[derive(Debug, Clone)]
pub enum Value<'a> {
    /// `plain` = written without quotes, so it may be a number, bool or null.
    Scalar {
        text: Cow<'a, str>,
        plain: bool,
    },
    List(Vec<Node<'a>>),
    Map(Vec<(Key<'a>, Node<'a>)>),
}

#[derive(Debug, Clone)]
pub struct Key<'a> {
    pub line: u32,
    pub text: Cow<'a, str>,
}

/// What stops a file from being read on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyntaxError {
    pub line: u32,
    pub message: String,
}

impl<'a> Node<'a> {
    pub fn is_null(&self) -> bool {
        matches!(&self.value, Value::Scalar { text, plain: true }
            if matches!(&**text, "" | "~" | "null" | "Null" | "NULL"))
    }

    /// The value under a key of a map.
    pub fn get(&self, key: &str) -> Option<&Node<'a>> {
        let Value::Map(entries) = &self.value else {
            return None;
        };
        entries
            .iter()
            .find(|(name, _)| name.text == key)
            .map(|(_, value)| value)
    }

    /// The text of a scalar.
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }

    /// The line of what `path` names, or of the nearest thing above it that
    /// exists. Paths are like `spec.ports[0].port`; a key that has dots or
    /// slashes is written `metadata.annotations["a.b/c"]`.
    pub fn line_of(&self, path: &str) -> u32 {
        let mut node = self;
        let mut line = self.line;
        for step in steps(path) {
            let next = match (step, &node.value) {
                (Step::Index(index), Value::List(items)) => {
                    items.get(index).map(|item| (item.line, item))
                }
                (Step::Key(name), Value::Map(entries)) => entries
                    .iter()
                    .find(|(key, _)| key.text == name)
                    .map(|(key, value)| (key.line, value)),
                _ => None,
            };
            match next {
                Some((next_line, next)) => (line, node) = (next_line, next),
                None => return line,
            }
        }
        line
    }
}

enum Step<'p> {
    Key(&'p str),
    Index(usize),
}

fn steps(path: &str) -> impl Iterator<Item = Step<'_>> {
    let mut rest = path;
    std::iter::from_fn(move || {
        rest = rest.strip_prefix('.').unwrap_or(rest);
        if let Some(quoted) = rest.strip_prefix("[\"") {
            let (name, after) = quoted.split_once("\"]")?;
            rest = after;
            return Some(Step::Key(name));
        }
        if let Some(bracketed) = rest.strip_prefix('[') {
            let (index, after) = bracketed.split_once(']')?;
            rest = after;
            return index.parse().ok().map(Step::Index);
        }
        let end = rest.find(['.', '[']).unwrap_or(rest.len());
        let (name, after) = rest.split_at(end);
        rest = after;
        (!name.is_empty()).then_some(Step::Key(name))
    })
}

/// The documents of a file, and what stopped the reading, if something did.
/// Documents without content (`---` alone, comments) are left out.
pub fn documents(text: &str) -> (Vec<Node<'_>>, Option<SyntaxError>) {
    let mut loader = Loader {
        parser: Parser::new_from_str(text),
    };
    let mut documents = Vec::new();
    loop {
        match loader.document() {
            Ok(Some(node)) if node.is_null() => {}
            Ok(Some(node)) => documents.push(node),
            Ok(None) => return (documents, None),
            Err(error) => return (documents, Some(error)),
        }
    }
}

struct Loader<'a> {
    parser: Parser<'a, StrInput<'a>>,
}

fn line_of(span: &Span) -> u32 {
    u32::try_from(span.start.line()).unwrap_or(u32::MAX)
}

fn syntax(error: &ScanError) -> SyntaxError {
    SyntaxError {
        line: u32::try_from(error.marker().line()).unwrap_or(u32::MAX),
        message: format!("not YAML: {}", error.info()),
    }
}

fn refuse<T>(line: u32, message: impl Into<String>) -> Result<T, SyntaxError> {
    Err(SyntaxError {
        line,
        message: message.into(),
    })
}

impl<'a> Loader<'a> {
    fn next(&mut self) -> Result<Option<(Event<'a>, u32)>, SyntaxError> {
        match self.parser.next_event() {
            None => Ok(None),
            Some(Ok((event, span))) => Ok(Some((event, line_of(&span)))),
            Some(Err(error)) => Err(syntax(&error)),
        }
    }

    fn document(&mut self) -> Result<Option<Node<'a>>, SyntaxError> {
        loop {
            match self.next()? {
                None | Some((Event::StreamEnd, _)) => return Ok(None),
                Some((Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd, _)) => {}
                Some((event, line)) => return self.node(event, line, 0).map(Some),
            }
        }
    }

    fn node(&mut self, event: Event<'a>, line: u32, depth: u32) -> Result<Node<'a>, SyntaxError> {
        if depth > MAX_DEPTH {
            return refuse(line, "nested too deep for a manifest");
        }
        let value = match event {
            Event::Scalar(text, style, 0, None) => Value::Scalar {
                text,
                plain: style == ScalarStyle::Plain,
            },
            Event::SequenceStart(0, None) => Value::List(self.list(depth)?),
            Event::MappingStart(0, None) => Value::Map(self.map(depth)?),
            Event::Alias(_) => {
                return refuse(
                    line,
                    "aliases (*name) are not supported: write the value out",
                );
            }
            Event::Scalar(_, _, _, Some(_))
            | Event::SequenceStart(_, Some(_))
            | Event::MappingStart(_, Some(_)) => {
                return refuse(
                    line,
                    "tags (!name) are not supported: write the plain value",
                );
            }
            Event::Scalar(..) | Event::SequenceStart(..) | Event::MappingStart(..) => {
                return refuse(
                    line,
                    "anchors (&name) are not supported: write the value out",
                );
            }
            _ => return refuse(line, "not YAML: the document ends too early"),
        };
        Ok(Node { line, value })
    }

    fn list(&mut self, depth: u32) -> Result<Vec<Node<'a>>, SyntaxError> {
        let mut items = Vec::new();
        while let Some((event, line)) = self.next()? {
            if event == Event::SequenceEnd {
                break;
            }
            items.push(self.node(event, line, depth + 1)?);
        }
        Ok(items)
    }

    fn map(&mut self, depth: u32) -> Result<Vec<(Key<'a>, Node<'a>)>, SyntaxError> {
        let mut entries: Vec<(Key<'a>, Node<'a>)> = Vec::new();
        while let Some((event, line)) = self.next()? {
            if event == Event::MappingEnd {
                break;
            }
            let key = self.node(event, line, depth + 1)?;
            let Value::Scalar { text, .. } = key.value else {
                return refuse(line, "a key must be a string");
            };
            let Some((event, value_line)) = self.next()? else {
                return refuse(line, "not YAML: the document ends too early");
            };
            let value = self.node(event, value_line, depth + 1)?;
            entries.push((Key { line, text }, value));
        }
        refuse_repeats(&entries)?;
        Ok(entries)
    }
}

fn refuse_repeats(entries: &[(Key<'_>, Node<'_>)]) -> Result<(), SyntaxError> {
    let repeated = if entries.len() <= SMALL_MAP {
        entries
            .iter()
            .enumerate()
            .find(|(i, (key, _))| {
                entries[..*i]
                    .iter()
                    .any(|(other, _)| other.text == key.text)
            })
            .map(|(_, (key, _))| key)
    } else {
        let mut seen = std::collections::HashSet::new();
        entries
            .iter()
            .map(|(key, _)| key)
            .find(|key| !seen.insert(&*key.text))
    };
    match repeated {
        Some(key) => refuse(
            key.line,
            format!(
                "the key {:?} is written twice in one map: remove one",
                key.text
            ),
        ),
        None => Ok(()),
    }
}
