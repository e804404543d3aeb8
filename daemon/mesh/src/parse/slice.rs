//! `discovery.k8s.io/v1` EndpointSlice.

use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::api::discovery::v1 as api;

use super::doc::{Doc, annotation_path};
use super::values;
use crate::objects::{Endpoint, Object, ObjectName, Slice, SlicePort};

const SERVICE_LABEL: &str = "kubernetes.io/service-name";

pub fn read(doc: &Doc<'_, '_>) -> Option<Object> {
    let raw: api::EndpointSlice = doc.read()?;
    let meta = &raw.metadata;
    doc.only_annotations(meta, &["weight"]);
    let name = doc.name(meta, true);
    let labels = doc.labels(meta);
    let Some(service) = labels.get(SERVICE_LABEL).filter(|name| !name.is_empty()) else {
        doc.error(
            "metadata.labels",
            format!("the label {SERVICE_LABEL} is missing: it names the Service of the slice"),
        );
        return None;
    };
    let is_v6 = match raw.address_type.as_str() {
        "IPv4" => false,
        "IPv6" => true,
        "FQDN" => {
            doc.error(
                "addressType",
                "not supported yet: endpoints that are host names",
            );
            return None;
        }
        other => {
            doc.error("addressType", format!("{other:?} is not one of IPv4, IPv6"));
            return None;
        }
    };
    let weights = doc.annotation(meta, "weight");
    let slice = Slice {
        service: ObjectName {
            namespace: name.namespace.clone(),
            name: service.clone(),
        },
        name,
        origin: doc.origin(),
        ports: ports(doc, raw.ports.as_deref().unwrap_or_default()),
        endpoints: endpoints(doc, &raw.endpoints, is_v6),
        weights: weights
            .map(|text| values::weights(doc, &annotation_path("weight"), text))
            .unwrap_or_default(),
    };
    (!doc.failed()).then(|| Object::Slice(Arc::new(slice)))
}

fn ports(doc: &Doc<'_, '_>, raw: &[api::EndpointPort]) -> Vec<SlicePort> {
    let mut ports: Vec<SlicePort> = Vec::new();
    for (i, port) in raw.iter().enumerate() {
        let path = format!("ports[{i}]");
        let Some(number) = port.port else {
            doc.error(
                &format!("{path}.port"),
                "not supported yet: a port for all ports; write its number",
            );
            continue;
        };
        let number = values::port(doc, &format!("{path}.port"), number);
        let protocol = values::protocol(doc, &format!("{path}.protocol"), port.protocol.as_deref());
        let (Some(port_number), Some(protocol)) = (number, protocol) else {
            continue;
        };
        let name = port.name.clone().unwrap_or_default();
        if ports.iter().any(|other| other.name == name) {
            doc.error(
                &format!("{path}.name"),
                format!("the name {name:?} is used twice"),
            );
        }
        ports.push(SlicePort {
            name,
            port: port_number,
            protocol,
        });
    }
    ports
}

fn endpoints(doc: &Doc<'_, '_>, raw: &[api::Endpoint], is_v6: bool) -> Vec<Endpoint> {
    let mut seen = std::collections::HashSet::new();
    let mut endpoints = Vec::with_capacity(raw.len());
    for (i, endpoint) in raw.iter().enumerate() {
        let path = format!("endpoints[{i}]");
        let Some(read) = read_endpoint(doc, &path, endpoint, is_v6) else {
            continue;
        };
        if !seen.insert(read.address) {
            doc.error(
                &format!("{path}.addresses[0]"),
                format!("{} is written twice in this slice", read.address),
            );
        }
        endpoints.push(read);
    }
    endpoints
}

fn read_endpoint(
    doc: &Doc<'_, '_>,
    path: &str,
    raw: &api::Endpoint,
    is_v6: bool,
) -> Option<Endpoint> {
    if raw.hints.is_some() {
        doc.error(
            &format!("{path}.hints"),
            "not supported yet: preferring backends by zone or node",
        );
    }
    let address_path = format!("{path}.addresses");
    let [text] = raw.addresses.as_slice() else {
        doc.error(&address_path, "an endpoint needs exactly one address");
        return None;
    };
    let address = values::address(doc, &format!("{address_path}[0]"), text)?;
    if matches!(address, IpAddr::V6(_)) != is_v6 {
        doc.error(
            &format!("{address_path}[0]"),
            format!("{address} is not of the slice's addressType"),
        );
    }
    let conditions = raw.conditions.as_ref();
    let ready = conditions.and_then(|c| c.ready).unwrap_or(true);
    let target = raw
        .target_ref
        .as_ref()
        .filter(|target| target.kind.as_deref() == Some("Pod"));
    Some(Endpoint {
        address,
        ready,
        serving: conditions.and_then(|c| c.serving).unwrap_or(ready),
        terminating: conditions.and_then(|c| c.terminating).unwrap_or(false),
        node: raw.node_name.clone(),
        pod: target
            .and_then(|target| target.name.clone())
            .unwrap_or_default(),
        line: doc.line_of(path),
    })
}
