//! `v1` Service.

mod annotations;

use std::net::IpAddr;
use std::sync::Arc;

use k8s_openapi::api::core::v1 as api;

use super::doc::Doc;
use super::values;
use crate::objects::{FrontendKind, Object, Service, ServicePort};
use annotations::{
    ANNOTATIONS, FAIL_MODES, FORWARDING, NO_BACKEND, YES_NO, health_check, maglev_size, weights,
    word,
};

/// Kubernetes' default for sessionAffinity.
const AFFINITY_SECS: i32 = 10_800;
const MAX_AFFINITY_SECS: i32 = 86_400;

pub fn read(doc: &Doc<'_, '_>) -> Option<Object> {
    let raw: api::Service = doc.read()?;
    doc.only_annotations(&raw.metadata, &ANNOTATIONS);
    let Some(spec) = &raw.spec else {
        doc.error("spec", "a Service needs a spec");
        return None;
    };
    refuse_unsupported(doc, spec);
    let meta = &raw.metadata;
    let mut addresses = cluster_addresses(doc, spec);
    addresses.extend(external_addresses(doc, &raw));
    refuse_repeats(doc, &addresses);
    let health_check = health_check(doc, meta);
    let service = Service {
        name: doc.name(meta, true),
        origin: doc.origin(),
        labels: doc.labels(meta),
        addresses,
        ports: ports(doc, spec),
        affinity_secs: affinity(doc, spec),
        internal_local: is_local(
            doc,
            "internalTrafficPolicy",
            spec.internal_traffic_policy.as_deref(),
        ),
        external_local: is_local(
            doc,
            "externalTrafficPolicy",
            spec.external_traffic_policy.as_deref(),
        ),
        publish_not_ready: spec.publish_not_ready_addresses.unwrap_or(false),
        forwarding: word(doc, meta, "forwarding", &FORWARDING).unwrap_or_default(),
        fail_mode: word(doc, meta, "fail-mode", &FAIL_MODES),
        no_backend: word(doc, meta, "no-backend", &NO_BACKEND),
        maglev_size: maglev_size(doc, meta),
        weights: weights(doc, meta),
        health_check,
        terminate: word(doc, meta, "terminate", &YES_NO).unwrap_or(false),
    };
    (!doc.failed()).then(|| Object::Service(Arc::new(service)))
}

fn refuse_unsupported(doc: &Doc<'_, '_>, spec: &api::ServiceSpec) {
    let refuse = |path: &str, why: &str| doc.error(path, format!("not supported yet: {why}"));
    match spec.type_.as_deref() {
        None | Some("ClusterIP" | "NodePort" | "LoadBalancer") => {}
        Some("ExternalName") => refuse("spec.type", "services of type ExternalName"),
        Some(other) => doc.error(
            "spec.type",
            format!("{other:?} is not a type: write ClusterIP, NodePort or LoadBalancer"),
        ),
    }
    if spec
        .load_balancer_source_ranges
        .as_ref()
        .is_some_and(|r| !r.is_empty())
    {
        refuse(
            "spec.loadBalancerSourceRanges",
            "source ranges of a Service; write a NetworkPolicy",
        );
    }
    if spec
        .load_balancer_ip
        .as_deref()
        .is_some_and(|ip| !ip.is_empty())
    {
        refuse(
            "spec.loadBalancerIP",
            "asking for an address; write it in status.loadBalancer.ingress or externalIPs",
        );
    }
    if spec.traffic_distribution.is_some() {
        refuse("spec.trafficDistribution", "preferring near backends");
    }
    if spec
        .external_name
        .as_deref()
        .is_some_and(|name| !name.is_empty())
    {
        refuse("spec.externalName", "services of type ExternalName");
    }
}

fn cluster_addresses(doc: &Doc<'_, '_>, spec: &api::ServiceSpec) -> Vec<(IpAddr, FrontendKind)> {
    let one = spec.cluster_ip.as_deref().unwrap_or_default();
    let many = spec.cluster_ips.clone().unwrap_or_default();
    if !one.is_empty() && many.first().is_some_and(|first| first != one) {
        doc.error(
            "spec.clusterIPs[0]",
            format!("{} differs from clusterIP {one}", many[0]),
        );
        return Vec::new();
    }
    if one == "None" || many.first().is_some_and(|first| first == "None") {
        return Vec::new();
    }
    let texts: Vec<(String, &str)> = if many.is_empty() {
        vec![("spec.clusterIP".to_owned(), one)]
    } else {
        let path = |i| format!("spec.clusterIPs[{i}]");
        many.iter()
            .enumerate()
            .map(|(i, text)| (path(i), text.as_str()))
            .collect()
    };
    if texts.iter().any(|(_, text)| text.is_empty()) {
        doc.error(
            "spec.clusterIP",
            "no address: nothing assigns one here, so write it (or None for a headless Service)",
        );
        return Vec::new();
    }
    texts
        .iter()
        .filter_map(|(path, text)| values::address(doc, path, text))
        .map(|address| (address, FrontendKind::ClusterIp))
        .collect()
}

fn external_addresses(doc: &Doc<'_, '_>, raw: &api::Service) -> Vec<(IpAddr, FrontendKind)> {
    let mut found = Vec::new();
    let external = raw
        .spec
        .iter()
        .flat_map(|spec| spec.external_ips.iter().flatten());
    for (i, text) in external.enumerate() {
        let address = values::address(doc, &format!("spec.externalIPs[{i}]"), text);
        found.extend(address.map(|address| (address, FrontendKind::ExternalIp)));
    }
    let balancer = raw
        .status
        .as_ref()
        .and_then(|status| status.load_balancer.as_ref());
    let ingress = balancer.and_then(|balancer| balancer.ingress.as_ref());
    for (i, entry) in ingress.into_iter().flatten().enumerate() {
        let path = format!("status.loadBalancer.ingress[{i}]");
        let Some(text) = &entry.ip else {
            doc.error(
                &path,
                "not supported yet: a load balancer with a host name; write its ip",
            );
            continue;
        };
        let address = values::address(doc, &format!("{path}.ip"), text);
        found.extend(address.map(|address| (address, FrontendKind::LoadBalancer)));
    }
    found
}

fn refuse_repeats(doc: &Doc<'_, '_>, addresses: &[(IpAddr, FrontendKind)]) {
    for (i, (address, _)) in addresses.iter().enumerate() {
        if addresses[..i].iter().any(|(other, _)| other == address) {
            doc.error(
                "spec",
                format!("the address {address} is written twice: remove one"),
            );
        }
    }
}

fn ports(doc: &Doc<'_, '_>, spec: &api::ServiceSpec) -> Vec<ServicePort> {
    let raw = spec.ports.as_deref().unwrap_or_default();
    let headless = spec.cluster_ip.as_deref() == Some("None");
    if raw.is_empty() && !headless {
        doc.error("spec.ports", "a Service needs at least one port");
    }
    let mut ports: Vec<ServicePort> = Vec::new();
    for (i, port) in raw.iter().enumerate() {
        let path = format!("spec.ports[{i}]");
        let Some(read) = read_port(doc, &path, port, spec) else {
            continue;
        };
        if read.name.is_empty() && raw.len() > 1 {
            doc.error(
                &format!("{path}.name"),
                "a port needs a name when there are several",
            );
        }
        for other in &ports {
            if other.name == read.name && raw.len() > 1 {
                doc.error(
                    &format!("{path}.name"),
                    format!("the name {:?} is used twice", read.name),
                );
            }
            if (other.port, other.protocol) == (read.port, read.protocol) {
                doc.error(
                    &format!("{path}.port"),
                    format!("{} {} is written twice", read.protocol, read.port),
                );
            }
        }
        ports.push(read);
    }
    ports
}

fn read_port(
    doc: &Doc<'_, '_>,
    path: &str,
    raw: &api::ServicePort,
    spec: &api::ServiceSpec,
) -> Option<ServicePort> {
    let number = values::port(doc, &format!("{path}.port"), raw.port);
    let protocol = values::protocol(doc, &format!("{path}.protocol"), raw.protocol.as_deref());
    target_port(doc, &format!("{path}.targetPort"), raw);
    let exposed = matches!(spec.type_.as_deref(), Some("NodePort" | "LoadBalancer"));
    let node_port_path = format!("{path}.nodePort");
    let node_port = match raw.node_port.filter(|port| *port != 0) {
        Some(_) if !exposed => {
            doc.error(
                &node_port_path,
                "only services of type NodePort or LoadBalancer have one",
            );
            None
        }
        Some(port) => values::port(doc, &node_port_path, port),
        None => None,
    };
    if spec.type_.as_deref() == Some("NodePort") && raw.node_port.is_none_or(|port| port == 0) {
        doc.error(
            &node_port_path,
            "no port: nothing assigns one here, so write it",
        );
    }
    Some(ServicePort {
        name: raw.name.clone().unwrap_or_default(),
        port: number?,
        node_port,
        protocol: protocol?,
        line: doc.line_of(path),
    })
}

/// EndpointSlices carry the port that backends listen on, so `targetPort` is
/// only checked.
fn target_port(doc: &Doc<'_, '_>, path: &str, raw: &api::ServicePort) {
    use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
    match &raw.target_port {
        Some(IntOrString::Int(number)) => {
            values::port(doc, path, *number);
        }
        Some(IntOrString::String(name)) if name.is_empty() || name.len() > 15 => {
            doc.error(
                path,
                format!("{name:?} is not the name of a port: 1 to 15 characters"),
            );
        }
        _ => {}
    }
}

fn affinity(doc: &Doc<'_, '_>, spec: &api::ServiceSpec) -> u32 {
    let config = spec.session_affinity_config.as_ref();
    let seconds = config
        .and_then(|c| c.client_ip.as_ref())
        .and_then(|c| c.timeout_seconds);
    match spec.session_affinity.as_deref() {
        Some("ClientIP") => {}
        None | Some("None") => {
            if seconds.is_some() {
                doc.error(
                    "spec.sessionAffinityConfig",
                    "has no effect: sessionAffinity is not ClientIP",
                );
            }
            return 0;
        }
        Some(other) => {
            doc.error(
                "spec.sessionAffinity",
                format!("{other:?} is not one of None, ClientIP"),
            );
            return 0;
        }
    }
    let seconds = seconds.unwrap_or(AFFINITY_SECS);
    if !(1..=MAX_AFFINITY_SECS).contains(&seconds) {
        doc.error(
            "spec.sessionAffinityConfig.clientIP.timeoutSeconds",
            format!("{seconds} is out of range: 1 to {MAX_AFFINITY_SECS} seconds"),
        );
    }
    u32::try_from(seconds).unwrap_or_default()
}

fn is_local(doc: &Doc<'_, '_>, field: &str, value: Option<&str>) -> bool {
    let choices = [("Cluster", false), ("Local", true)];
    value
        .and_then(|text| values::choice(doc, &format!("spec.{field}"), text, &choices))
        .unwrap_or(false)
}
