//! From files to objects: every document by itself, all mistakes at once.

mod cilium;
mod cilium_types;
mod doc;
mod http;
mod icmp;
mod namespace;
mod netpol;
mod pod;
mod redirect;
mod route;
mod route_types;
mod selector;
mod service;
mod slice;
mod values;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rayon::prelude::*;

use crate::error::{Error, Errors, Origin};
use crate::objects::Object;
use crate::yaml::{self, Node, Value};
use doc::Doc;

/// A manifest file, read by the caller.
#[derive(Debug, Clone)]
pub struct SourceFile {
    pub path: PathBuf,
    pub text: String,
}

/// The objects of each file.
#[derive(Debug, Clone, Default)]
pub struct Manifests {
    pub files: BTreeMap<PathBuf, Vec<Object>>,
}

impl Manifests {
    pub fn objects(&self) -> impl Iterator<Item = &Object> {
        self.files.values().flatten()
    }
}

/// Reads all files. Whether the documents go together is found out by
/// [`compile`](crate::compile).
pub fn parse(files: &[SourceFile]) -> Result<Manifests, Errors> {
    let read: Vec<_> = files
        .par_iter()
        .map(|file| (&file.path, parse_file(file)))
        .collect();
    let mut manifests = Manifests::default();
    let mut errors = Errors::default();
    for (path, result) in read {
        match result {
            Ok(objects) => {
                manifests.files.insert(path.clone(), objects);
            }
            Err(found) => errors.0.extend(found.0),
        }
    }
    errors.into_result().map(|()| manifests)
}

/// Reads one file.
pub fn parse_file(file: &SourceFile) -> Result<Vec<Object>, Errors> {
    let path: Arc<Path> = Arc::from(file.path.as_path());
    let (nodes, syntax_error) = yaml::documents(&file.text);
    let mut objects = Vec::new();
    let mut errors = Errors::default();
    for node in &nodes {
        document(&Doc::new(&path, node), &mut objects, &mut errors.0);
    }
    if let Some(error) = syntax_error {
        // What is missing at the end is missing on the last line.
        let last = u32::try_from(file.text.lines().count()).unwrap_or(u32::MAX);
        let origin = Origin {
            file: path,
            line: error.line.min(last),
        };
        errors.0.push(Error::of(&origin, "", error.message));
    }
    errors.into_result().map(|()| objects)
}

fn document(doc: &Doc<'_, '_>, objects: &mut Vec<Object>, errors: &mut Vec<Error>) {
    if doc.node.get("kind").and_then(Node::text) == Some("List") {
        list(doc, objects, errors);
        return;
    }
    objects.extend(object(doc));
    errors.append(&mut doc.errors.borrow_mut());
}

/// `kubectl get a,b -o yaml` prints one List of objects.
fn list(doc: &Doc<'_, '_>, objects: &mut Vec<Object>, errors: &mut Vec<Error>) {
    if let Value::Map(entries) = &doc.node.value {
        for (key, _) in entries {
            if !matches!(&*key.text, "apiVersion" | "kind" | "items" | "metadata") {
                doc.error(&key.text, "unknown field of a List: remove it");
            }
        }
    }
    match doc.node.get("items").map(|items| &items.value) {
        Some(Value::List(items)) => {
            for (index, item) in items.iter().enumerate() {
                document(&doc.item(item, index), objects, errors);
            }
        }
        _ => doc.error("items", "a List needs a list of items"),
    }
    errors.append(&mut doc.errors.borrow_mut());
}

/// The kinds that are read, for the message about another one.
const KINDS: &str = "Service, EndpointSlice, Pod, Namespace, NetworkPolicy, \
                     CiliumNetworkPolicy, CiliumClusterwideNetworkPolicy, HTTPRoute and List";

fn object(doc: &Doc<'_, '_>) -> Option<Object> {
    if !matches!(doc.node.value, Value::Map(_)) {
        doc.error(
            "",
            "a document must be a map with apiVersion, kind and metadata",
        );
        return None;
    }
    let version = required_text(doc, "apiVersion")?;
    let kind = required_text(doc, "kind")?;
    match (version, kind) {
        ("v1", "Service") => service::read(doc),
        ("discovery.k8s.io/v1", "EndpointSlice") => slice::read(doc),
        ("v1", "Pod") => pod::read(doc),
        ("v1", "Namespace") => namespace::read(doc),
        ("networking.k8s.io/v1", "NetworkPolicy") => netpol::read(doc),
        ("cilium.io/v2", "CiliumNetworkPolicy") => cilium::read(doc, true),
        ("cilium.io/v2", "CiliumClusterwideNetworkPolicy") => cilium::read(doc, false),
        ("gateway.networking.k8s.io/v1", "HTTPRoute") => route::read(doc),
        _ => {
            refuse_kind(doc, version, kind);
            None
        }
    }
}

fn required_text<'n>(doc: &Doc<'n, '_>, field: &str) -> Option<&'n str> {
    let text = doc.node.get(field).and_then(Node::text);
    if text.is_none_or(str::is_empty) {
        doc.error(field, format!("every document needs {field}"));
        return None;
    }
    text
}

fn refuse_kind(doc: &Doc<'_, '_>, version: &str, kind: &str) {
    let known = match kind {
        "Service" | "Pod" | "Namespace" => "v1",
        "EndpointSlice" => "discovery.k8s.io/v1",
        "NetworkPolicy" => "networking.k8s.io/v1",
        "CiliumNetworkPolicy" | "CiliumClusterwideNetworkPolicy" => "cilium.io/v2",
        "HTTPRoute" => "gateway.networking.k8s.io/v1",
        "Endpoints" => {
            doc.error("kind", "Endpoints is not supported: write an EndpointSlice");
            return;
        }
        _ => {
            let message = format!("{kind} is not supported; supported are {KINDS}");
            doc.error("kind", message);
            return;
        }
    };
    doc.error(
        "apiVersion",
        format!("{version:?} is not supported for {kind}: write {known}"),
    );
}
