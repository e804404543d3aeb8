//! `v1` Pod: labels, addresses, and the interface of a workload of this host.

use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::api::core::v1 as api;

use super::doc::{Doc, annotation_path};
use super::{redirect, values};
use crate::objects::{NamedPort, Object, Pod};

/// The kernel's IFNAMSIZ less the final zero.
const MAX_INTERFACE_NAME: usize = 15;

pub fn read(doc: &Doc<'_, '_>) -> Option<Object> {
    let raw: api::Pod = doc.read()?;
    let meta = &raw.metadata;
    let known = [&["interface"], redirect::ANNOTATIONS.as_slice()].concat();
    doc.only_annotations(meta, &known);
    let spec = raw.spec.as_ref();
    let host_network = spec.and_then(|spec| spec.host_network).unwrap_or(false);
    let interface = doc.annotation(meta, "interface");
    check_interface(doc, interface, host_network);
    let written = addresses(doc, raw.status.as_ref());
    let phase = raw
        .status
        .as_ref()
        .and_then(|status| status.phase.as_deref());
    let ended = matches!(phase, Some("Succeeded" | "Failed"));
    let pod = Pod {
        name: doc.name(meta, true),
        origin: doc.origin(),
        labels: doc.labels(meta),
        addresses: if host_network || ended {
            Vec::new()
        } else {
            written
        },
        node: spec
            .and_then(|spec| spec.node_name.clone())
            .filter(|node| !node.is_empty()),
        interface: interface.map(str::to_owned),
        service_account: spec
            .and_then(|spec| spec.service_account_name.clone())
            .filter(|name| !name.is_empty()),
        named_ports: named_ports(doc, spec),
        redirect: redirect::read(doc, meta, spec),
    };
    (!doc.failed()).then(|| Object::Pod(Arc::new(pod)))
}

fn check_interface(doc: &Doc<'_, '_>, interface: Option<&str>, host_network: bool) {
    let Some(name) = interface else { return };
    let path = annotation_path("interface");
    let bad = |c: char| c == '/' || c.is_whitespace() || c.is_control();
    if name.is_empty() || name.len() > MAX_INTERFACE_NAME || name.contains(bad) {
        doc.error(&path, format!("{name:?} is not the name of an interface: 1 to {MAX_INTERFACE_NAME} characters, no blanks, no /"));
    }
    if host_network {
        doc.error(
            &path,
            "a pod of the host's network has no interface of its own",
        );
    }
}

fn addresses(doc: &Doc<'_, '_>, status: Option<&api::PodStatus>) -> Vec<IpAddr> {
    let Some(status) = status else {
        return Vec::new();
    };
    let many = status.pod_ips.as_deref().unwrap_or_default();
    let one = status.pod_ip.as_deref().unwrap_or_default();
    if !one.is_empty() && many.first().is_some_and(|first| first.ip != one) {
        doc.error(
            "status.podIPs[0].ip",
            format!("{} differs from podIP {one}", many[0].ip),
        );
        return Vec::new();
    }
    let mut texts: Vec<(String, &str)> = many
        .iter()
        .enumerate()
        .map(|(i, ip)| (format!("status.podIPs[{i}].ip"), ip.ip.as_str()))
        .collect();
    if texts.is_empty() && !one.is_empty() {
        texts.push(("status.podIP".to_owned(), one));
    }
    let mut found = Vec::new();
    for (path, text) in texts {
        let Some(address) = values::address(doc, &path, text) else {
            continue;
        };
        if found.contains(&address) {
            doc.error(&path, format!("{address} is written twice"));
        }
        found.push(address);
    }
    found
}

fn named_ports(doc: &Doc<'_, '_>, spec: Option<&api::PodSpec>) -> Vec<NamedPort> {
    let mut ports = Vec::new();
    let containers = spec
        .map(|spec| spec.containers.as_slice())
        .unwrap_or_default();
    for (i, container) in containers.iter().enumerate() {
        for (j, port) in container.ports.iter().flatten().enumerate() {
            let path = format!("spec.containers[{i}].ports[{j}]");
            let number = values::port(doc, &format!("{path}.containerPort"), port.container_port);
            let rows = [("TCP", 1), ("UDP", 2), ("SCTP", 4)];
            let protocol = port.protocol.as_deref().unwrap_or("TCP");
            let row = values::choice(doc, &format!("{path}.protocol"), protocol, &rows);
            if let (Some(name), Some(port), Some(row)) = (&port.name, number, row) {
                ports.push(NamedPort {
                    name: name.clone(),
                    row,
                    port,
                });
            }
        }
    }
    ports.sort();
    ports
}
