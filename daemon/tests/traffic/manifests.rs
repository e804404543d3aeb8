//! The YAML and TOML that the tests write.

use std::fmt::Write as _;
use std::path::Path;

use terrace_testkit::Node;

use crate::stage::{SERVICE, Shape, TCP, UDP};

pub const NODE: &str = "test-host";

pub fn config(pins: &Path, shape: &Shape) -> String {
    let (tier, more) = (shape.tier, shape.config);
    let pins = pins.display();
    format!(
        r#"
manifests = "manifests"
deny_lists = ["deny.txt"]
node_name = "{NODE}"
control_socket = "terrace.sock"
metrics_listen = "off"
pin_root = "{pins}"

[[interfaces]]
match = "up*"
role = "uplink"
[interfaces.tiers.steer]
{tier} = "require"

[[interfaces]]
match = "w*"
role = "workload"

{more}
"#
    )
}

/// A Service with TCP on port 80 and UDP on 81, in both families.
pub fn service(name: &str, vips: [&str; 2], annotations: &str, spec: &str) -> String {
    service_at(name, vips, [SERVICE, SERVICE + 1], annotations, spec)
}

/// The same on other ports: TCP's and UDP's.
pub fn service_at(
    name: &str,
    [v4, v6]: [&str; 2],
    [tcp, udp]: [u16; 2],
    annotations: &str,
    spec: &str,
) -> String {
    format!(
        r#"
apiVersion: v1
kind: Service
metadata:
  name: {name}
  namespace: shop
  annotations: {{ {annotations} }}
spec:
  clusterIP: {v4}
  clusterIPs: [{v4}, "{v6}"]
  ipFamilies: [IPv4, IPv6]
  ipFamilyPolicy: RequireDualStack
  ports:
    - {{ name: tcp, port: {tcp}, targetPort: {TCP}, protocol: TCP }}
    - {{ name: udp, port: {udp}, targetPort: {UDP}, protocol: UDP }}
{spec}
"#
    )
}

/// Both families' EndpointSlices with these nodes, all ready.
pub fn slices(service: &str, nodes: &[&Node]) -> String {
    let ready: Vec<_> = nodes.iter().map(|node| (*node, "ready: true")).collect();
    slices_with(service, &ready)
}

/// The same, with each node's conditions.
pub fn slices_with(service: &str, nodes: &[(&Node, &str)]) -> String {
    let mut text = String::new();
    for (family, v4) in [("IPv4", true), ("IPv6", false)] {
        let low = family.to_lowercase();
        let _ = write!(
            text,
            r#"
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: {service}-{low}
  namespace: shop
  labels: {{ kubernetes.io/service-name: {service} }}
addressType: {family}
ports:
  - {{ name: tcp, port: {TCP}, protocol: TCP }}
  - {{ name: udp, port: {UDP}, protocol: UDP }}
endpoints:
"#
        );
        if nodes.is_empty() {
            text.truncate(text.len() - "endpoints:\n".len());
            text.push_str("endpoints: []\n");
        }
        for (node, conditions) in nodes {
            let address = node.addresses()[usize::from(!v4)];
            let _ = writeln!(
                text,
                "  - addresses: [\"{address}\"]\n    conditions: {{ {conditions} }}"
            );
        }
    }
    text
}

/// Only `cidrs` reach the workload `app` at its TCP port.
pub fn allow_only(app: &str, cidrs: &[String]) -> String {
    let from: String = cidrs
        .iter()
        .map(|cidr| format!("        - ipBlock: {{ cidr: \"{cidr}\" }}\n"))
        .collect();
    format!(
        r#"
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata:
  name: only-{app}
  namespace: shop
spec:
  podSelector: {{ matchLabels: {{ app: {app} }} }}
  policyTypes: [Ingress]
  ingress:
    - from:
{from}
      ports:
        - {{ protocol: TCP, port: {TCP} }}
"#
    )
}
