//! Texts of configurations and manifests that several tests use.

use crate::Workload;

/// Small tables: they are made quickly.
pub const LIMITS: &str = r"
[limits]
flows = 4096
services = 256
service_cells = 256
backends = 1024
endpoints = 1024
address_cells = 1024
deny_cells = 1024
policy_cells = 1024
affinities = 1024
fragments = 256
";

/// A Pod of the host `node`, labelled `app: <name>`.
pub fn pod(workload: &Workload, node: &str) -> String {
    pod_with(workload, node, "")
}

/// The same, with annotations: `a: b, c: d`.
pub fn pod_with(workload: &Workload, node: &str, annotations: &str) -> String {
    let (name, v4, v6) = (&workload.name, workload.v4, workload.v6);
    let iface = &workload.host_iface;
    format!(
        r#"
---
apiVersion: v1
kind: Pod
metadata:
  name: {name}
  namespace: shop
  labels: {{ app: {name} }}
  annotations: {{ terrace.io/interface: {iface}, {annotations} }}
spec:
  nodeName: {node}
  containers: [{{ name: main }}]
status:
  podIP: {v4}
  podIPs: [{{ ip: {v4} }}, {{ ip: "{v6}" }}]
"#
    )
}
