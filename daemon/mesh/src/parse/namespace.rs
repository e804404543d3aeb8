//! `v1` Namespace: its labels.

use std::sync::Arc;

use k8s_openapi::api::core::v1 as api;

use super::doc::Doc;
use crate::objects::{Namespace, Object};

/// Kubernetes gives every namespace a label with its name.
const NAME_LABEL: &str = "kubernetes.io/metadata.name";

pub fn read(doc: &Doc<'_, '_>) -> Option<Object> {
    let raw: api::Namespace = doc.read()?;
    doc.only_annotations(&raw.metadata, &[]);
    let name = doc.name(&raw.metadata, false).name;
    let mut labels = doc.labels(&raw.metadata);
    if let Some(written) = labels.insert(NAME_LABEL.to_owned(), name.clone())
        && written != name
    {
        doc.error(
            &format!("metadata.labels[{NAME_LABEL:?}]"),
            format!("{written:?} differs from the namespace's name {name:?}"),
        );
    }
    let namespace = Namespace {
        name,
        origin: doc.origin(),
        labels,
    };
    (!doc.failed()).then(|| Object::Namespace(Arc::new(namespace)))
}
