//! The rules of one `spec`.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use super::super::cilium_types::{
    CidrRule, CiliumRule, EgressRule, IcmpRule, IngressRule, PortProtocol, PortsRule, ServiceRule,
};
use super::super::doc::Doc;
use super::super::netpol::{end_port, port_name};
use super::super::{icmp, selector, values};
use super::http;
use crate::objects::{
    Direction, Entity, HttpRule, NAMESPACE_LABEL, NAMESPACE_LABELS, ObjectName, Peer, Peers,
    PortMatch, PortRule, Ports, Rule, Selector,
};

/// All rows of the class table; see [`crate::objects::ROW_NAMES`].
const TCP_UDP_SCTP: u8 = 7;
const TCP: u8 = 1;

pub struct Reader<'d, 'n, 'a> {
    pub doc: &'d Doc<'n, 'a>,
    /// Empty for a policy of the whole cluster.
    pub namespace: &'d str,
}

impl Reader<'_, '_, '_> {
    pub fn rules(&self, path: &str, spec: &CiliumRule) -> Vec<Rule> {
        let mut rules = Vec::new();
        for (name, raw, deny) in [
            ("ingress", &spec.ingress, false),
            ("ingressDeny", &spec.ingress_deny, true),
        ] {
            for (i, raw) in raw.iter().flatten().enumerate() {
                rules.extend(self.ingress(format!("{path}.{name}[{i}]"), raw, deny));
            }
        }
        for (name, raw, deny) in [
            ("egress", &spec.egress, false),
            ("egressDeny", &spec.egress_deny, true),
        ] {
            for (i, raw) in raw.iter().flatten().enumerate() {
                rules.extend(self.egress(format!("{path}.{name}[{i}]"), raw, deny));
            }
        }
        rules
    }

    fn ingress(&self, path: String, raw: &IngressRule, deny: bool) -> Vec<Rule> {
        let groups = [
            (
                "fromEndpoints",
                self.endpoints(
                    &format!("{path}.fromEndpoints"),
                    raw.from_endpoints.as_deref(),
                ),
            ),
            (
                "fromCIDR",
                self.cidrs(&format!("{path}.fromCIDR"), raw.from_cidr.as_deref()),
            ),
            (
                "fromCIDRSet",
                self.cidr_sets(&format!("{path}.fromCIDRSet"), raw.from_cidr_set.as_deref()),
            ),
            (
                "fromEntities",
                self.entities(
                    &format!("{path}.fromEntities"),
                    raw.from_entities.as_deref(),
                ),
            ),
        ];
        self.rule(
            Direction::Ingress,
            deny,
            path,
            &groups,
            raw.to_ports.as_deref(),
            raw.icmps.as_deref(),
        )
    }

    fn egress(&self, path: String, raw: &EgressRule, deny: bool) -> Vec<Rule> {
        let groups = [
            (
                "toEndpoints",
                self.endpoints(&format!("{path}.toEndpoints"), raw.to_endpoints.as_deref()),
            ),
            (
                "toCIDR",
                self.cidrs(&format!("{path}.toCIDR"), raw.to_cidr.as_deref()),
            ),
            (
                "toCIDRSet",
                self.cidr_sets(&format!("{path}.toCIDRSet"), raw.to_cidr_set.as_deref()),
            ),
            (
                "toEntities",
                self.entities(&format!("{path}.toEntities"), raw.to_entities.as_deref()),
            ),
            (
                "toServices",
                self.services(&format!("{path}.toServices"), raw.to_services.as_deref()),
            ),
        ];
        self.rule(
            Direction::Egress,
            deny,
            path,
            &groups,
            raw.to_ports.as_deref(),
            raw.icmps.as_deref(),
        )
    }

    /// Peers of one kind only, as Cilium has it. A rule that names neither
    /// peers nor ports matches nothing; with ports alone it matches everybody.
    fn rule(
        &self,
        direction: Direction,
        deny: bool,
        path: String,
        groups: &[(&str, Option<Vec<Peer>>)],
        to_ports: Option<&[PortsRule]>,
        icmps: Option<&[IcmpRule]>,
    ) -> Vec<Rule> {
        let written: Vec<&str> = groups
            .iter()
            .filter(|(_, peers)| peers.is_some())
            .map(|(name, _)| *name)
            .collect();
        if let [first, second, ..] = written.as_slice() {
            self.doc.error(
                &format!("{path}.{second}"),
                format!("{first} and {second} cannot stand in one rule: write two rules"),
            );
        }
        if to_ports.is_some() && icmps.is_some() {
            self.doc.error(
                &format!("{path}.icmps"),
                "toPorts and icmps cannot stand in one rule: write two rules",
            );
        }
        let named = groups.iter().find_map(|(_, peers)| peers.clone());
        let rule = |ports: Ports, http: Option<Vec<HttpRule>>, path: String| Rule {
            direction,
            deny,
            peers: match (&named, &ports) {
                (Some(peers), _) => Peers::Some(peers.clone()),
                (None, Ports::All) => Peers::Some(Vec::new()),
                (None, Ports::Some(_)) => Peers::Any,
            },
            ports,
            http,
            line: self.doc.line_of(&path),
            path,
        };
        let mut rules = Vec::new();
        let mut plain = Vec::new();
        for (i, raw) in to_ports.into_iter().flatten().enumerate() {
            let ports = self.to_ports(&format!("{path}.toPorts[{i}].ports"), raw);
            let path = format!("{path}.toPorts[{i}]");
            match self.http(&path, raw, deny, &ports) {
                None => plain.extend(ports),
                http => rules.push(rule(Ports::Some(ports), http, path)),
            }
        }
        plain.extend(self.icmps(&path, icmps));
        if to_ports.is_none() && icmps.is_none() {
            rules.push(rule(Ports::All, None, path));
        } else if rules.is_empty() || !plain.is_empty() {
            rules.insert(0, rule(Ports::Some(plain), None, path));
        }
        rules
    }

    /// The HTTP rules of a list of ports, all of which must be TCP's.
    fn http(
        &self,
        path: &str,
        raw: &PortsRule,
        deny: bool,
        ports: &[PortRule],
    ) -> Option<Vec<HttpRule>> {
        let raw = raw.rules.as_ref()?.http.as_deref()?;
        let http_path = format!("{path}.rules.http");
        if raw.is_empty() {
            let message = "empty: write {} to allow every request, or remove rules";
            self.doc.error(&http_path, message);
        }
        if deny {
            let message = "a deny rule cannot have L7 rules: what http does not allow is denied";
            self.doc.error(&format!("{path}.rules"), message);
        }
        let whole = PortMatch::Range(0, u16::MAX);
        if ports
            .iter()
            .any(|port| port.rows != TCP || port.what == whole)
        {
            let message = "L7 rules need ports of protocol TCP, each with a number or name";
            self.doc.error(&format!("{path}.rules"), message);
        }
        Some(http::rules(self.doc, &http_path, raw))
    }

    pub fn selector(&self, path: &str, raw: &LabelSelector) -> Selector {
        selector::requirements(self.doc, path, raw, &selector::cilium)
    }

    /// Adds what keeps a selector inside the policy's namespace, or inside
    /// the cluster's pods, unless it says itself where it looks.
    pub fn in_namespace(&self, selector: Selector) -> Selector {
        let keys = || selector.requirements.iter().map(|r| r.key.as_str());
        let says_where =
            keys().any(|key| key == NAMESPACE_LABEL || key.starts_with(NAMESPACE_LABELS));
        if keys().any(|key| key.starts_with("reserved:")) {
            selector
        } else if says_where || self.namespace.is_empty() {
            selector.and_has(NAMESPACE_LABEL)
        } else {
            selector.and(NAMESPACE_LABEL, self.namespace)
        }
    }

    fn endpoints(&self, path: &str, raw: Option<&[LabelSelector]>) -> Option<Vec<Peer>> {
        let peer = |(i, raw)| {
            let selector = self.selector(&format!("{path}[{i}]"), raw);
            Peer::Select(self.in_namespace(selector))
        };
        raw.map(|all| all.iter().enumerate().map(peer).collect())
    }

    fn cidrs(&self, path: &str, raw: Option<&[String]>) -> Option<Vec<Peer>> {
        let peer = |(i, text): (usize, &String)| {
            let net = values::prefix(self.doc, &format!("{path}[{i}]"), text)?;
            Some(Peer::Cidr {
                net,
                except: Vec::new(),
            })
        };
        raw.map(|all| all.iter().enumerate().filter_map(peer).collect())
    }

    fn cidr_sets(&self, path: &str, raw: Option<&[CidrRule]>) -> Option<Vec<Peer>> {
        let peer = |(i, raw): (usize, &CidrRule)| {
            let path = format!("{path}[{i}]");
            let Some(cidr) = &raw.cidr else {
                self.doc.error(&path, "needs cidr");
                return None;
            };
            let except = raw.except.as_deref().unwrap_or_default();
            let (net, except) = values::prefix_except(
                self.doc,
                (&format!("{path}.cidr"), cidr),
                (&format!("{path}.except"), except),
            )?;
            Some(Peer::Cidr { net, except })
        };
        raw.map(|all| all.iter().enumerate().filter_map(peer).collect())
    }

    fn entities(&self, path: &str, raw: Option<&[String]>) -> Option<Vec<Peer>> {
        let peer = |(i, text): (usize, &String)| {
            self.entity(&format!("{path}[{i}]"), text).map(Peer::Entity)
        };
        raw.map(|all| all.iter().enumerate().filter_map(peer).collect())
    }

    fn entity(&self, path: &str, text: &str) -> Option<Entity> {
        let unsupported = match text {
            "world-ipv4" => "the entity world-ipv4; write the CIDR 0.0.0.0/0",
            "world-ipv6" => "the entity world-ipv6; write the CIDR ::/0",
            "kube-apiserver" => "the entity kube-apiserver; write its address as a CIDR",
            "init" | "health" | "ingress" => "entities of Cilium's own agents",
            _ => {
                let choices = [
                    ("all", Entity::All),
                    ("world", Entity::World),
                    ("cluster", Entity::Cluster),
                    ("host", Entity::Host),
                    ("remote-node", Entity::RemoteNode),
                    ("unmanaged", Entity::Unmanaged),
                    ("none", Entity::None),
                ];
                return values::choice(self.doc, path, text, &choices);
            }
        };
        self.doc
            .error(path, format!("not supported yet: {unsupported}"));
        None
    }

    fn services(&self, path: &str, raw: Option<&[ServiceRule]>) -> Option<Vec<Peer>> {
        let peer = |(i, raw)| self.service(&format!("{path}[{i}]"), raw);
        raw.map(|all| all.iter().enumerate().filter_map(peer).collect())
    }

    fn service(&self, path: &str, raw: &ServiceRule) -> Option<Peer> {
        let namespace = |written: &Option<String>| match written {
            Some(namespace) if !namespace.is_empty() => namespace.clone(),
            _ => self.namespace.to_owned(),
        };
        match (&raw.k8s_service, &raw.k8s_service_selector) {
            (Some(named), None) => {
                let Some(name) = named.service_name.clone().filter(|name| !name.is_empty()) else {
                    self.doc
                        .error(&format!("{path}.k8sService"), "needs serviceName");
                    return None;
                };
                let namespace = namespace(&named.namespace);
                if namespace.is_empty() {
                    self.doc.error(
                        &format!("{path}.k8sService"),
                        "needs namespace: the policy is of the whole cluster",
                    );
                }
                Some(Peer::Service(ObjectName { namespace, name }))
            }
            (None, Some(selected)) => {
                let path = format!("{path}.k8sServiceSelector");
                let Some(selector) = &selected.selector else {
                    self.doc.error(&path, "needs selector");
                    return None;
                };
                Some(Peer::Services {
                    namespace: namespace(&selected.namespace),
                    selector: self.selector(&format!("{path}.selector"), selector),
                })
            }
            _ => {
                self.doc
                    .error(path, "needs either k8sService or k8sServiceSelector");
                None
            }
        }
    }

    fn to_ports(&self, path: &str, raw: &PortsRule) -> Vec<PortRule> {
        let ports = raw.ports.as_deref().unwrap_or_default();
        if ports.is_empty() {
            self.doc.error(path, "empty: name at least one port");
        }
        let port = |(j, raw)| self.port(&format!("{path}[{j}]"), raw);
        ports.iter().enumerate().filter_map(port).collect()
    }

    fn icmps(&self, path: &str, icmps: Option<&[IcmpRule]>) -> Vec<PortRule> {
        let mut found = Vec::new();
        for (i, rule) in icmps.unwrap_or_default().iter().enumerate() {
            let path = format!("{path}.icmps[{i}].fields");
            let fields = rule.fields.as_deref().unwrap_or_default();
            if fields.is_empty() {
                self.doc.error(&path, "empty: name at least one ICMP type");
            }
            for (j, raw) in fields.iter().enumerate() {
                found.extend(icmp::field(self.doc, &format!("{path}[{j}]"), raw));
            }
        }
        found
    }

    fn port(&self, path: &str, raw: &PortProtocol) -> Option<PortRule> {
        let protocol_path = format!("{path}.protocol");
        let protocol = raw.protocol.as_deref().unwrap_or("ANY").to_uppercase();
        if matches!(protocol.as_str(), "VRRP" | "IGMP") {
            self.doc.error(
                &protocol_path,
                format!("not supported yet: rules on {protocol}"),
            );
            return None;
        }
        let rows = [
            ("ANY", TCP_UDP_SCTP),
            ("TCP", TCP),
            ("UDP", 2),
            ("SCTP", 4),
            ("ICMP", 8),
            ("ICMPV6", 16),
        ];
        let rows = values::choice(self.doc, &protocol_path, &protocol, &rows)?;
        let text = raw.port.as_deref().unwrap_or_default();
        let port_path = format!("{path}.port");
        let end_path = format!("{path}.endPort");
        let what = match text.parse::<i32>() {
            Ok(0) => PortMatch::Range(0, u16::MAX),
            Ok(number) => {
                let first = values::port(self.doc, &port_path, number)?;
                PortMatch::Range(first, end_port(self.doc, &end_path, first, raw.end_port)?)
            }
            Err(_) if raw.end_port.is_some() => {
                self.doc
                    .error(&end_path, "endPort needs a port that is a number");
                return None;
            }
            Err(_) if text.is_empty() => PortMatch::Range(0, u16::MAX),
            Err(_) => PortMatch::Named(port_name(self.doc, &port_path, &text.to_lowercase())?),
        };
        Some(PortRule { rows, what })
    }
}
