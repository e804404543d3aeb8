//! `networking.k8s.io/v1` NetworkPolicy.

use std::sync::Arc;

use k8s_openapi::api::networking::v1 as api;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::doc::Doc;
use super::{selector, values};
use crate::objects::{
    Direction, NAMESPACE_LABEL, NAMESPACE_LABELS, Object, Peer, Peers, Policy, PolicyKind,
    PolicyPart, PortMatch, PortRule, Ports, Rule, Selector,
};

pub fn read(doc: &Doc<'_, '_>) -> Option<Object> {
    let raw: api::NetworkPolicy = doc.read()?;
    let meta = &raw.metadata;
    doc.only_annotations(meta, &[]);
    doc.labels(meta);
    let name = doc.name(meta, true);
    let Some(spec) = &raw.spec else {
        doc.error("spec", "a NetworkPolicy needs a spec");
        return None;
    };
    let reader = Reader {
        doc,
        namespace: &name.namespace,
    };
    let empty = LabelSelector::default();
    let pods = spec.pod_selector.as_ref().unwrap_or(&empty);
    let default_deny = reader.directions(spec);
    let part = PolicyPart {
        subject: reader.pods("spec.podSelector", pods),
        default_deny,
        rules: reader.rules(spec, default_deny),
    };
    let policy = Policy {
        kind: PolicyKind::NetworkPolicy,
        origin: doc.origin(),
        parts: vec![part],
        name,
    };
    (!doc.failed()).then(|| Object::Policy(Arc::new(policy)))
}

struct Reader<'d, 'n, 'a> {
    doc: &'d Doc<'n, 'a>,
    namespace: &'d str,
}

impl Reader<'_, '_, '_> {
    /// Pods of the policy's namespace.
    fn pods(&self, path: &str, raw: &LabelSelector) -> Selector {
        selector::requirements(self.doc, path, raw, &selector::plain)
            .and(NAMESPACE_LABEL, self.namespace)
    }

    fn directions(&self, spec: &api::NetworkPolicySpec) -> [bool; 2] {
        let Some(types) = &spec.policy_types else {
            return [
                true,
                spec.egress.as_ref().is_some_and(|rules| !rules.is_empty()),
            ];
        };
        let mut directions = [false, false];
        for (i, name) in types.iter().enumerate() {
            let path = format!("spec.policyTypes[{i}]");
            let choices = [
                ("Ingress", Direction::Ingress),
                ("Egress", Direction::Egress),
            ];
            if let Some(direction) = values::choice(self.doc, &path, name, &choices) {
                directions[direction as usize] = true;
            }
        }
        if types.is_empty() {
            self.doc.error(
                "spec.policyTypes",
                "empty: write Ingress, Egress or both, or leave it out",
            );
        }
        directions
    }

    fn rules(&self, spec: &api::NetworkPolicySpec, directions: [bool; 2]) -> Vec<Rule> {
        let mut rules = Vec::new();
        let ingress = spec.ingress.iter().flatten();
        for (i, raw) in ingress.enumerate() {
            let path = format!("spec.ingress[{i}]");
            rules.push(Rule {
                http: None,
                direction: Direction::Ingress,
                deny: false,
                peers: self.peers(&format!("{path}.from"), raw.from.as_deref()),
                ports: self.ports(&format!("{path}.ports"), raw.ports.as_deref()),
                line: self.doc.line_of(&path),
                path,
            });
        }
        for (i, raw) in spec.egress.iter().flatten().enumerate() {
            let path = format!("spec.egress[{i}]");
            rules.push(Rule {
                http: None,
                direction: Direction::Egress,
                deny: false,
                peers: self.peers(&format!("{path}.to"), raw.to.as_deref()),
                ports: self.ports(&format!("{path}.ports"), raw.ports.as_deref()),
                line: self.doc.line_of(&path),
                path,
            });
        }
        for rule in &rules {
            if !directions[rule.direction as usize] {
                self.doc.error(
                    &rule.path,
                    "has no effect: policyTypes does not name this direction",
                );
            }
        }
        rules
    }

    /// No list, or an empty one, is everybody.
    fn peers(&self, path: &str, raw: Option<&[api::NetworkPolicyPeer]>) -> Peers {
        match raw {
            None | Some([]) => Peers::Any,
            Some(peers) => Peers::Some(
                peers
                    .iter()
                    .enumerate()
                    .filter_map(|(i, peer)| self.peer(&format!("{path}[{i}]"), peer))
                    .collect(),
            ),
        }
    }

    fn peer(&self, path: &str, raw: &api::NetworkPolicyPeer) -> Option<Peer> {
        match (&raw.ip_block, &raw.pod_selector, &raw.namespace_selector) {
            (Some(block), None, None) => self.block(path, block),
            (Some(_), _, _) => {
                self.doc.error(
                    &format!("{path}.ipBlock"),
                    "an ipBlock stands alone: write the selectors as another peer",
                );
                None
            }
            (None, Some(pods), None) => Some(Peer::Select(
                self.pods(&format!("{path}.podSelector"), pods),
            )),
            (None, pods, Some(namespaces)) => Some(Peer::Select(self.in_namespaces(
                path,
                pods.as_ref(),
                namespaces,
            ))),
            (None, None, None) => {
                self.doc.error(
                    path,
                    "a peer needs podSelector, namespaceSelector or ipBlock",
                );
                None
            }
        }
    }

    fn in_namespaces(
        &self,
        path: &str,
        pods: Option<&LabelSelector>,
        namespaces: &LabelSelector,
    ) -> Selector {
        let rename = |key: &str| Ok(format!("{NAMESPACE_LABELS}{key}"));
        let path_of = |name: &str| format!("{path}.{name}");
        let mut found =
            selector::requirements(self.doc, &path_of("namespaceSelector"), namespaces, &rename);
        if let Some(pods) = pods {
            let pods =
                selector::requirements(self.doc, &path_of("podSelector"), pods, &selector::plain);
            found.requirements.extend(pods.requirements);
        }
        // Only pods have this label: hosts and the world stay out.
        found.and_has(NAMESPACE_LABEL)
    }

    fn block(&self, path: &str, raw: &api::IPBlock) -> Option<Peer> {
        let except = raw.except.as_deref().unwrap_or_default();
        let (net, except) = values::prefix_except(
            self.doc,
            (&format!("{path}.ipBlock.cidr"), &raw.cidr),
            (&format!("{path}.ipBlock.except"), except),
        )?;
        Some(Peer::Cidr { net, except })
    }

    /// No list, or an empty one, is all ports of all protocols.
    fn ports(&self, path: &str, raw: Option<&[api::NetworkPolicyPort]>) -> Ports {
        match raw {
            None | Some([]) => Ports::All,
            Some(ports) => Ports::Some(
                ports
                    .iter()
                    .enumerate()
                    .filter_map(|(i, port)| self.port(&format!("{path}[{i}]"), port))
                    .collect(),
            ),
        }
    }

    fn port(&self, path: &str, raw: &api::NetworkPolicyPort) -> Option<PortRule> {
        let protocol = raw.protocol.as_deref().unwrap_or("TCP");
        let rows = [("TCP", 1), ("UDP", 2), ("SCTP", 4)];
        let rows = values::choice(self.doc, &format!("{path}.protocol"), protocol, &rows)?;
        let port_path = format!("{path}.port");
        let end_path = format!("{path}.endPort");
        let what = match &raw.port {
            Some(IntOrString::Int(first)) => {
                let first = values::port(self.doc, &port_path, *first)?;
                PortMatch::Range(first, end_port(self.doc, &end_path, first, raw.end_port)?)
            }
            _ if raw.end_port.is_some() => {
                self.doc
                    .error(&end_path, "endPort needs a port that is a number");
                return None;
            }
            Some(IntOrString::String(name)) => {
                PortMatch::Named(port_name(self.doc, &port_path, name)?)
            }
            None => PortMatch::Range(0, u16::MAX),
        };
        Some(PortRule { rows, what })
    }
}

/// The last port of a range; `first` when there is no range.
pub fn end_port(doc: &Doc<'_, '_>, path: &str, first: u16, end: Option<i32>) -> Option<u16> {
    let Some(end) = end else { return Some(first) };
    let last = values::port(doc, path, end)?;
    if last < first {
        doc.error(path, format!("{last} is below the first port {first}"));
        return None;
    }
    Some(last)
}

/// An IANA service name, as container ports have.
pub fn port_name(doc: &Doc<'_, '_>, path: &str, name: &str) -> Option<String> {
    let bytes = name.as_bytes();
    let good = (1..=15).contains(&bytes.len())
        && bytes
            .iter()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-')
        && bytes.iter().any(u8::is_ascii_lowercase)
        && bytes[0] != b'-'
        && bytes[bytes.len() - 1] != b'-';
    if !good {
        doc.error(
            path,
            format!(
                "{name:?} is not the name of a port: 1 to 15 lower case letters, digits and '-'"
            ),
        );
    }
    good.then(|| name.to_owned())
}
