//! CiliumNetworkPolicy and CiliumClusterwideNetworkPolicy, L3, L4 and HTTP parts.

mod http;
mod rules;

use std::sync::Arc;

use super::cilium_types::{CiliumPolicy, CiliumRule, UNSUPPORTED};
use super::doc::Doc;
use crate::objects::{NAMESPACE_LABEL, Object, Policy, PolicyKind, PolicyPart, Selector};
use rules::Reader;

pub fn read(doc: &Doc<'_, '_>, namespaced: bool) -> Option<Object> {
    let raw: CiliumPolicy = doc.read_with(&UNSUPPORTED)?;
    doc.only_annotations(&raw.metadata, &[]);
    doc.labels(&raw.metadata);
    let name = doc.name(&raw.metadata, namespaced);
    let mut specs: Vec<(String, &CiliumRule)> = Vec::new();
    specs.extend(raw.spec.iter().map(|spec| ("spec".to_owned(), spec)));
    let many = raw.specs.iter().flatten().enumerate();
    specs.extend(many.map(|(i, spec)| (format!("specs[{i}]"), spec)));
    if specs.is_empty() {
        doc.error("spec", "a policy needs spec or specs");
    }
    let policy = Policy {
        kind: if namespaced {
            PolicyKind::CiliumNetworkPolicy
        } else {
            PolicyKind::CiliumClusterwideNetworkPolicy
        },
        parts: specs
            .iter()
            .map(|(path, spec)| part(doc, &name.namespace, path, spec))
            .collect(),
        origin: doc.origin(),
        name,
    };
    (!doc.failed()).then(|| Object::Policy(Arc::new(policy)))
}

fn part(doc: &Doc<'_, '_>, namespace: &str, path: &str, spec: &CiliumRule) -> PolicyPart {
    let reader = Reader { doc, namespace };
    let subject = match &spec.endpoint_selector {
        Some(selector) => subject(&reader, &format!("{path}.endpointSelector"), selector),
        None => {
            doc.error(
                &format!("{path}.endpointSelector"),
                "a policy needs an endpointSelector; {} selects all pods",
            );
            Selector::default()
        }
    };
    let has = |a: usize, b: usize| a + b > 0;
    let written = [
        has(
            spec.ingress.as_ref().map_or(0, Vec::len),
            spec.ingress_deny.as_ref().map_or(0, Vec::len),
        ),
        has(
            spec.egress.as_ref().map_or(0, Vec::len),
            spec.egress_deny.as_ref().map_or(0, Vec::len),
        ),
    ];
    let wish = spec.enable_default_deny.as_ref();
    let default_deny = [
        wish.and_then(|wish| wish.ingress).unwrap_or(written[0]),
        wish.and_then(|wish| wish.egress).unwrap_or(written[1]),
    ];
    if !written[0] && !written[1] && default_deny == [false, false] {
        doc.error(
            path,
            "has no rules: write ingress, egress, ingressDeny or egressDeny",
        );
    }
    PolicyPart {
        subject,
        default_deny,
        rules: reader.rules(path, spec),
    }
}

/// Whom a policy selects: pods, in its own namespace when it has one.
fn subject(
    reader: &Reader<'_, '_, '_>,
    path: &str,
    raw: &k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector,
) -> Selector {
    let selector = reader.selector(path, raw);
    let other = selector.requirements.iter().any(|r| {
        r.key == NAMESPACE_LABEL
            && r.test != crate::objects::Test::In(vec![reader.namespace.to_owned()])
    });
    if !reader.namespace.is_empty() && other {
        reader.doc.error(
            path,
            "selects pods of another namespace: write a CiliumClusterwideNetworkPolicy",
        );
    }
    reader.in_namespace(selector)
}
