//! Istio's annotations of a Pod, and Terrace's own beside them: what goes to
//! the pod's proxy.
//!
//! The names, the syntax and the defaults are those of Istio's sidecar injector
//! (istio.io/latest/docs/reference/config/annotations).

use ipnet::IpNet;
use k8s_openapi::api::core::v1::PodSpec;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::doc::{Doc, annotation_path};
use super::values;
use crate::objects::Redirect;

/// Terrace's own annotations of a Pod about its proxy.
pub const ANNOTATIONS: [&str; 4] = ["proxy", "proxy-dns", "proxy-cgroup", "cgroup"];

const ISTIO: &str = "traffic.sidecar.istio.io/";
const KNOWN: [&str; 6] = [
    "includeOutboundIPRanges",
    "excludeOutboundIPRanges",
    "includeOutboundPorts",
    "excludeOutboundPorts",
    "includeInboundPorts",
    "excludeInboundPorts",
];
const UNSUPPORTED: [(&str, &str); 2] = [
    ("excludeInterfaces", "leaving out an interface of the pod"),
    ("kubevirtInterfaces", "interfaces of virtual machines"),
];
const MODE: &str = "sidecar.istio.io/interceptionMode";
const STATUS: &str = "sidecar.istio.io/status";
/// The container that Istio's injector adds.
const CONTAINER: &str = "istio-proxy";
/// Envoy's own ports: statistics, health and readiness (Istio's defaults).
const OWN_PORTS: [u16; 3] = [15_020, 15_021, 15_090];

/// The redirect of a pod; `None` without a proxy.
pub fn read(doc: &Doc<'_, '_>, meta: &ObjectMeta, spec: Option<&PodSpec>) -> Option<Redirect> {
    refuse_unknown(doc, meta);
    let chosen = is_chosen(doc, meta, spec);
    if !chosen {
        refuse_useless(doc, meta);
        return None;
    }
    let host_network = spec.and_then(|spec| spec.host_network).unwrap_or(false);
    let cgroup = folder(doc, meta, "cgroup");
    if host_network && cgroup.is_none() {
        let message = "a pod of the host's network is not told from the host: name its cgroup with \
                       terrace.io/cgroup";
        doc.error(&annotation_path("proxy"), message);
    }
    let outbound = list(doc, meta, "includeOutboundIPRanges", net);
    let inbound = list(doc, meta, "includeInboundPorts", port);
    let mut inbound_ports_excluded = list(doc, meta, "excludeInboundPorts", port).picked();
    inbound_ports_excluded.extend(OWN_PORTS);
    inbound_ports_excluded.sort_unstable();
    inbound_ports_excluded.dedup();
    Some(Redirect {
        all_outbound: outbound.is_all(),
        outbound_nets: outbound.picked(),
        outbound_nets_excluded: only(doc, meta, "excludeOutboundIPRanges", net),
        outbound_ports: only(doc, meta, "includeOutboundPorts", port),
        outbound_ports_excluded: only(doc, meta, "excludeOutboundPorts", port),
        all_inbound: inbound.is_all(),
        inbound_ports: inbound.picked(),
        inbound_ports_excluded,
        dns: word(doc, meta, "proxy-dns", &[("true", true), ("false", false)]),
        cgroup,
        proxy_cgroup: folder(doc, meta, "proxy-cgroup"),
    })
}

fn is_chosen(doc: &Doc<'_, '_>, meta: &ObjectMeta, spec: Option<&PodSpec>) -> bool {
    let choices = [("enabled", true), ("disabled", false)];
    let said = word(doc, meta, "proxy", &choices);
    let mode = match istio(meta, MODE) {
        None | Some("REDIRECT") => true,
        Some("NONE") => false,
        Some("TPROXY") => {
            let path = path_of(MODE);
            doc.error(&path, "not supported yet: TPROXY; write REDIRECT or NONE");
            false
        }
        Some(other) => {
            let message = format!("{other:?} is not a mode: write REDIRECT or NONE");
            doc.error(&path_of(MODE), message);
            false
        }
    };
    let containers = spec.into_iter().flat_map(|spec| {
        let first = spec.init_containers.iter().flatten();
        first.chain(&spec.containers)
    });
    let has_sidecar = istio(meta, STATUS).is_some()
        || containers
            .into_iter()
            .any(|container| container.name == CONTAINER);
    said.unwrap_or(has_sidecar && mode)
}

fn istio<'m>(meta: &'m ObjectMeta, key: &str) -> Option<&'m str> {
    meta.annotations.as_ref()?.get(key).map(String::as_str)
}

fn path_of(key: &str) -> String {
    format!("metadata.annotations[{key:?}]")
}

fn refuse_unknown(doc: &Doc<'_, '_>, meta: &ObjectMeta) {
    for key in meta.annotations.iter().flat_map(|all| all.keys()) {
        let Some(name) = key.strip_prefix(ISTIO) else {
            continue;
        };
        if let Some((_, why)) = UNSUPPORTED.iter().find(|(known, _)| *known == name) {
            doc.error(&path_of(key), format!("not supported yet: {why}"));
        } else if !KNOWN.contains(&name) {
            let known = KNOWN.map(|name| format!("{ISTIO}{name}")).join(", ");
            let message = format!("unknown annotation; a pod's redirect has {known}");
            doc.error(&path_of(key), message);
        }
    }
}

/// Lists of a pod without a proxy would be ignored in silence.
fn refuse_useless(doc: &Doc<'_, '_>, meta: &ObjectMeta) {
    if doc.annotation(meta, "proxy") == Some("disabled") || istio(meta, MODE) == Some("NONE") {
        return;
    }
    for name in KNOWN {
        let key = format!("{ISTIO}{name}");
        if istio(meta, &key).is_some() {
            let message = "has no effect: the pod has no proxy; say terrace.io/proxy: enabled";
            doc.error(&path_of(&key), message);
        }
    }
}

/// `*`, or what is listed.
enum List<T> {
    All,
    Picked(Vec<T>),
}

impl<T> List<T> {
    fn is_all(&self) -> bool {
        matches!(self, Self::All)
    }

    fn picked(self) -> Vec<T> {
        match self {
            Self::All => Vec::new(),
            Self::Picked(picked) => picked,
        }
    }
}

/// A list of Istio's, parts with commas between; not there = everything, empty
/// = nothing. Not there means nothing for what is excluded.
fn list<T: PartialEq>(
    doc: &Doc<'_, '_>,
    meta: &ObjectMeta,
    name: &str,
    read: fn(&str) -> Result<T, String>,
) -> List<T> {
    let key = format!("{ISTIO}{name}");
    let is_include = name.starts_with("include");
    let text = match istio(meta, &key) {
        None if is_include => return List::All,
        Some("*") if is_include => return List::All,
        text => text.unwrap_or_default(),
    };
    let mut picked = Vec::new();
    for part in text.split(',').filter(|_| !text.is_empty()) {
        match read(part.trim()) {
            Ok(value) if picked.contains(&value) => {
                doc.error(&path_of(&key), format!("{part:?} is written twice"));
            }
            Ok(value) => picked.push(value),
            Err(message) => doc.error(&path_of(&key), message),
        }
    }
    List::Picked(picked)
}

/// A list of which `*` is no value, and that is empty when not there.
fn only<T: PartialEq>(
    doc: &Doc<'_, '_>,
    meta: &ObjectMeta,
    name: &str,
    read: fn(&str) -> Result<T, String>,
) -> Vec<T> {
    let key = format!("{ISTIO}{name}");
    match istio(meta, &key) {
        None => Vec::new(),
        Some("*") => {
            doc.error(&path_of(&key), "\"*\" is not allowed here: list each one");
            Vec::new()
        }
        Some(_) => list(doc, meta, name, read).picked(),
    }
}

fn port(text: &str) -> Result<u16, String> {
    match text.parse::<u16>() {
        Ok(port) if port > 0 => Ok(port),
        _ => Err(format!("{text:?} is not a port: ports are 1 to 65535")),
    }
}

fn net(text: &str) -> Result<IpNet, String> {
    let wrong = || format!("{text:?} is not a prefix: write it like 10.0.0.0/8 or fd00::/8");
    let net: IpNet = text.parse().map_err(|_| wrong())?;
    match net == net.trunc() {
        true => Ok(net),
        false => Err(format!(
            "{text:?} has bits beyond its length: write {}",
            net.trunc()
        )),
    }
}

fn word<T: Copy>(
    doc: &Doc<'_, '_>,
    meta: &ObjectMeta,
    name: &str,
    choices: &[(&str, T)],
) -> Option<T> {
    let text = doc.annotation(meta, name)?;
    values::choice(doc, &annotation_path(name), text, choices)
}

fn folder(doc: &Doc<'_, '_>, meta: &ObjectMeta, name: &str) -> Option<String> {
    let text = doc.annotation(meta, name)?;
    if text.starts_with('/') && !text.contains("/../") {
        return Some(text.trim_end_matches('/').to_owned());
    }
    let message = format!("{text:?} is not the folder of a cgroup: write it from / on");
    doc.error(&annotation_path(name), message);
    None
}
