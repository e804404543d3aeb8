//! Manifests and facts for the tests.

use std::net::IpAddr;
use std::path::PathBuf;

use terrace_abi::Limits;
use terrace_mesh::{Change, Compiler, HostFacts, InterfaceFact, Manifests, SourceFile, parse};

pub fn file(name: &str, text: &str) -> SourceFile {
    SourceFile {
        path: PathBuf::from(name),
        text: text.to_owned(),
    }
}

pub fn put(name: &str, text: &str) -> Change {
    Change::Put(file(name, text))
}

pub fn manifests(text: &str) -> Manifests {
    match parse(&[file("test.yaml", text)]) {
        Ok(manifests) => manifests,
        Err(errors) => panic!("{errors}"),
    }
}

pub fn ip(text: &str) -> IpAddr {
    text.parse().expect("as the tests write it")
}

/// This host is node-1 with two workload interfaces.
pub fn facts() -> HostFacts {
    let interface = |ifindex: u32, address: &str| InterfaceFact {
        ifindex,
        mac: [
            2,
            0,
            0,
            0,
            0,
            u8::try_from(ifindex).expect("as the tests write it"),
        ],
        peer_macs: [(
            ip(address),
            [
                2,
                0,
                0,
                0,
                1,
                u8::try_from(ifindex).expect("as the tests write it"),
            ],
        )]
        .into(),
    };
    HostFacts {
        node_name: "node-1".to_owned(),
        addresses: vec![ip("192.0.2.1"), ip("2001:db8::1")],
        remote_nodes: vec![ip("192.0.2.2")],
        interfaces: [
            ("veth-web".to_owned(), interface(11, "10.0.1.1")),
            ("veth-api".to_owned(), interface(12, "10.0.1.2")),
        ]
        .into(),
        limits: Limits::small(),
        l7: true,
        maglev_size: 251,
        ..HostFacts::default()
    }
}

pub fn compiler(text: &str) -> Compiler {
    let files = parse(&[file("test.yaml", text)]).unwrap_or_else(|errors| panic!("{errors}"));
    Compiler::new(files, facts(), None).unwrap_or_else(|errors| panic!("{errors}"))
}

/// A Service of one TCP port 80.
pub fn service(name: &str, address: &str, extra: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Service\nmetadata:\n  name: {name}\nspec:\n  clusterIP: {address}\n  ports:\n  - port: 80\n{extra}"
    )
}

/// A slice with one endpoint an item: address, and text under it.
pub fn slice(service: &str, endpoints: &[(&str, &str)]) -> String {
    let family = if endpoints.iter().any(|(address, _)| address.contains(':')) {
        "IPv6"
    } else {
        "IPv4"
    };
    let mut text = format!(
        "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata:\n  name: {service}-1\n  labels:\n    kubernetes.io/service-name: {service}\naddressType: {family}\nports:\n- port: 8080\nendpoints:\n"
    );
    for (address, extra) in endpoints {
        text += &format!("- addresses: [\"{address}\"]\n{extra}");
    }
    text
}

/// A workload of this host.
pub fn workload(name: &str, address: &str, interface: &str, labels: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Pod\nmetadata:\n  name: {name}\n  labels: {labels}\n  annotations:\n    terrace.io/interface: {interface}\nspec:\n  nodeName: node-1\n  containers:\n  - name: main\n    ports:\n    - name: http\n      containerPort: 8080\nstatus:\n  podIP: {address}\n"
    )
}

/// A pod of another host.
pub fn pod(name: &str, address: &str, labels: &str) -> String {
    format!(
        "---\napiVersion: v1\nkind: Pod\nmetadata:\n  name: {name}\n  labels: {labels}\nspec:\n  nodeName: node-2\nstatus:\n  podIP: {address}\n"
    )
}
