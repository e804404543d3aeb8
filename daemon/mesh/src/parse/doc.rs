//! One document while it is read: its place, its name, what is wrong with it.

use std::cell::RefCell;
use std::path::Path;
use std::sync::Arc;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;

use crate::error::{Error, Origin};
use crate::objects::{Labels, ObjectName};
use crate::yaml::{self, IssueKind, Node};

pub struct Doc<'n, 'a> {
    pub node: &'n Node<'a>,
    file: &'n Arc<Path>,
    /// `items[3].` inside a List.
    prefix: String,
    title: String,
    pub errors: RefCell<Vec<Error>>,
    /// Places whose value could not be read: nothing more is said of them.
    unread: RefCell<Vec<String>>,
}

/// Annotations of Terrace all start so; an unknown one is an error.
const ANNOTATIONS: &str = "terrace.io/";

impl<'n, 'a> Doc<'n, 'a> {
    pub fn new(file: &'n Arc<Path>, node: &'n Node<'a>) -> Self {
        Self {
            node,
            file,
            prefix: String::new(),
            title: title(node),
            errors: RefCell::default(),
            unread: RefCell::default(),
        }
    }

    /// An item of a List.
    pub fn item(&self, node: &'n Node<'a>, index: usize) -> Self {
        Self {
            prefix: format!("{}items[{index}].", self.prefix),
            ..Self::new(self.file, node)
        }
    }

    /// Records a mistake of what `path` names.
    pub fn error(&self, path: &str, message: impl Into<String>) {
        if self.unread.borrow().iter().any(|unread| unread == path) {
            return;
        }
        self.error_at(self.node.line_of(path), path, message);
    }

    fn error_at(&self, line: u32, path: &str, message: impl Into<String>) {
        let path = format!("{}{path}", self.prefix);
        self.errors.borrow_mut().push(Error {
            file: self.file.to_path_buf(),
            line,
            document: self.title.clone(),
            path: path.trim_end_matches('.').to_owned(),
            message: message.into(),
        });
    }

    pub fn failed(&self) -> bool {
        !self.errors.borrow().is_empty()
    }

    pub fn line_of(&self, path: &str) -> u32 {
        self.node.line_of(path)
    }

    pub fn origin(&self) -> Origin {
        Origin {
            file: Arc::clone(self.file),
            line: self.node.line,
        }
    }

    /// The document as a `T`; every field that `T` does not have is an error.
    pub fn read<T: Deserialize<'n>>(&self) -> Option<T> {
        self.read_with(&[])
    }

    /// Same, with what to say about fields that are known and not supported.
    pub fn read_with<T: Deserialize<'n>>(&self, unsupported: &[(&str, &str)]) -> Option<T> {
        let (value, issues) = yaml::read(self.node);
        for issue in issues {
            let message = match issue.kind {
                IssueKind::Wrong(message) => message,
                IssueKind::Unknown { near } => unknown(&issue.path, near, unsupported),
            };
            let line = self.node.line_of(&issue.path);
            self.error_at(line, &issue.path, message);
            self.unread.borrow_mut().push(issue.path);
        }
        value
    }

    /// Name and namespace; `namespaced` kinds without a namespace are in `default`.
    pub fn name(&self, meta: &ObjectMeta, namespaced: bool) -> ObjectName {
        let name = meta.name.clone().unwrap_or_default();
        if name.is_empty() {
            self.error("metadata.name", "every object needs a name");
        } else if !is_dns_name(&name) {
            self.error(
                "metadata.name",
                format!("{name:?} is not a name: lower case letters, digits, '-' and '.' only"),
            );
        }
        let namespace = match (&meta.namespace, namespaced) {
            (Some(namespace), true) => namespace.clone(),
            (None, true) => "default".to_owned(),
            (None, false) => String::new(),
            (Some(_), false) => {
                self.error(
                    "metadata.namespace",
                    "this kind has no namespace: remove it",
                );
                String::new()
            }
        };
        if namespaced && !is_dns_name(&namespace) {
            self.error(
                "metadata.namespace",
                format!("{namespace:?} is not a name: lower case letters, digits and '-' only"),
            );
        }
        ObjectName { namespace, name }
    }

    /// The labels, checked.
    pub fn labels(&self, meta: &ObjectMeta) -> Labels {
        let labels = meta.labels.clone().unwrap_or_default();
        for (key, value) in &labels {
            let path = format!("metadata.labels[{key:?}]");
            if !is_label_key(key) {
                self.error(
                    &path,
                    "not a label name: [prefix/]name of letters, digits, '-', '_' and '.'",
                );
            }
            if !is_label_value(value) {
                self.error(&path, format!("{value:?} is not a label value: at most 63 letters, digits, '-', '_' and '.'"));
            }
        }
        labels
    }

    /// The value of an annotation of Terrace.
    pub fn annotation<'m>(&self, meta: &'m ObjectMeta, name: &str) -> Option<&'m str> {
        let annotations = meta.annotations.as_ref()?;
        annotations
            .get(&format!("{ANNOTATIONS}{name}"))
            .map(String::as_str)
    }

    /// Refuses annotations of Terrace that this kind does not have.
    pub fn only_annotations(&self, meta: &ObjectMeta, known: &[&str]) {
        for key in meta.annotations.iter().flat_map(|all| all.keys()) {
            let Some(name) = key.strip_prefix(ANNOTATIONS) else {
                continue;
            };
            if !known.contains(&name) {
                let names: Vec<String> = known
                    .iter()
                    .map(|name| format!("{ANNOTATIONS}{name}"))
                    .collect();
                let message = if names.is_empty() {
                    "this kind has no annotations of Terrace: remove it".to_owned()
                } else {
                    format!("unknown annotation; this kind has {}", names.join(", "))
                };
                self.error(&annotation_path(name), message);
            }
        }
    }
}

/// Where an annotation of Terrace is written.
pub fn annotation_path(name: &str) -> String {
    format!("metadata.annotations[\"{ANNOTATIONS}{name}\"]")
}

fn title(node: &Node<'_>) -> String {
    let Some(kind) = node.get("kind").and_then(Node::text) else {
        return String::new();
    };
    let meta = node.get("metadata");
    let text = |field| meta.and_then(|meta| meta.get(field)).and_then(Node::text);
    match (text("namespace"), text("name")) {
        (Some(namespace), Some(name)) => format!("{kind} {namespace}/{name}"),
        (None, Some(name)) => format!("{kind} {name}"),
        _ => kind.to_owned(),
    }
}

fn unknown(path: &str, near: Option<&str>, unsupported: &[(&str, &str)]) -> String {
    let name = path.rsplit('.').next().unwrap_or(path);
    if let Some((_, why)) = unsupported.iter().find(|(field, _)| *field == name) {
        return format!("not supported yet: {why}");
    }
    match near {
        Some(near) => format!("unknown field: did you mean {near}?"),
        None => "unknown field: remove it or correct its name".to_owned(),
    }
}

fn is_dns_name(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.';
    let edge = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = text.as_bytes();
    bytes.len() <= 253
        && bytes.iter().copied().all(inner)
        && bytes.first().copied().is_some_and(edge)
        && bytes.last().copied().is_some_and(edge)
}

fn is_label_value(text: &str) -> bool {
    text.is_empty() || is_label_name(text)
}

fn is_label_name(text: &str) -> bool {
    let bytes = text.as_bytes();
    let inner = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    bytes.len() <= 63
        && bytes.iter().copied().all(inner)
        && bytes.first().is_some_and(u8::is_ascii_alphanumeric)
        && bytes.last().is_some_and(u8::is_ascii_alphanumeric)
}

fn is_label_key(key: &str) -> bool {
    match key.split_once('/') {
        Some((prefix, name)) => is_dns_name(prefix) && is_label_name(name),
        None => is_label_name(key),
    }
}
