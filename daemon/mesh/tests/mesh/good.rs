//! Manifests as kubectl prints them, and as people write them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use terrace_abi::consts::{
    ENDPOINT_SERVICE, ENDPOINT_VIRTUAL, SERVICE_AFFINITY, SERVICE_DSR, SERVICE_NODE_PORT,
    SERVICE_REJECT,
};
use terrace_mesh::directory::BackendState;
use terrace_mesh::{
    FailMode, FrontendKind, HostFacts, Manifests, SourceFile, Tables, compile, diff, parse,
};

use crate::support::{facts, ip};

fn read(names: &[&str]) -> Manifests {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/good");
    let read = |name: &&str| SourceFile {
        path: name.into(),
        text: fs::read_to_string(folder.join(name)).expect("a readable file"),
    };
    let files: Vec<SourceFile> = names.iter().map(read).collect();
    parse(&files).unwrap_or_else(|errors| panic!("{errors}"))
}

fn worker() -> HostFacts {
    HostFacts {
        node_name: "worker-1".to_owned(),
        ..facts()
    }
}

fn compiled(names: &[&str]) -> Tables {
    compile(&read(names), &worker(), None).unwrap_or_else(|errors| panic!("{errors}"))
}

#[test]
fn what_kubectl_prints_compiles_as_it_is() {
    let tables = compiled(&["kubectl-list.yaml"]);
    let rows = [
        (
            "10.96.14.20",
            80,
            6,
            FrontendKind::ClusterIp,
            "10.244.1.17:8080",
        ),
        (
            "10.96.14.20",
            53,
            17,
            FrontendKind::ClusterIp,
            "10.244.1.17:5353",
        ),
        (
            "fd00:10:96::8a1c",
            80,
            6,
            FrontendKind::ClusterIp,
            "[fd00:10:244:1::11]:8080",
        ),
        (
            "203.0.113.10",
            80,
            6,
            FrontendKind::LoadBalancer,
            "10.244.1.17:8080",
        ),
        (
            "192.0.2.1",
            31380,
            6,
            FrontendKind::NodePort,
            "10.244.1.17:8080",
        ),
    ];
    for (address, port, protocol, kind, backend) in rows {
        let index = tables.service_lookup(ip(address), port, protocol);
        assert_ne!(index, 0, "{address} {port}");
        assert_eq!(
            tables.directory.frontends[&index].kind, kind,
            "{address} {port}"
        );
        let chosen = &tables.directory.backends[&tables.ring_slot(index, 17)];
        assert_eq!(
            std::net::SocketAddr::from((chosen.address, chosen.port)).to_string(),
            backend
        );
        let service = tables.service(index);
        let mut flags = SERVICE_AFFINITY | SERVICE_REJECT;
        if kind == FrontendKind::NodePort {
            flags |= SERVICE_NODE_PORT;
        }
        assert_eq!(
            (service.affinity_secs, u32::from(service.flags)),
            (600, flags)
        );
    }
    let states: BTreeMap<String, BackendState> = tables
        .directory
        .backends
        .values()
        .map(|backend| (backend.pod.clone(), backend.state))
        .collect();
    assert_eq!(states["frontend-6d4cf56db6-q9w2m"], BackendState::Draining);
    let flags = tables.endpoint_of(ip("203.0.113.10")).flags;
    assert_eq!(flags, ENDPOINT_SERVICE | ENDPOINT_VIRTUAL);
}

#[test]
fn pods_that_ended_or_use_the_hosts_network_have_no_address() {
    let tables = compiled(&["kubectl-list.yaml"]);
    let pod = tables.directory.addresses[&"10.244.1.17/32".parse().unwrap()]
        .pod
        .clone();
    assert_eq!(pod.unwrap().name, "frontend-6d4cf56db6-8xkzl");
    assert_eq!(tables.endpoint_of(ip("192.0.2.1")).identity, 1);
}

#[test]
fn ciliums_policies_compile_next_to_kubernetes_own() {
    let tables = compiled(&["kubectl-list.yaml", "cilium.yaml", "by-hand.yaml"]);
    let names: Vec<String> = tables
        .directory
        .policies
        .iter()
        .map(|policy| policy.name.to_string())
        .collect();
    assert_eq!(names, ["shop/frontend", "shop/api", "baseline"]);
    let selected: Vec<usize> = tables
        .directory
        .policies
        .iter()
        .map(|policy| policy.selects.len())
        .collect();
    assert_eq!(selected, [1, 0, 2]);
}

#[test]
fn annotations_reach_the_directory_and_the_rings() {
    let tables = compiled(&["by-hand.yaml"]);
    let index = tables.service_lookup(ip("198.18.0.10"), 80, 6);
    let service = tables.service(index);
    assert_eq!(
        (u32::from(service.flags), service.maglev_size),
        (SERVICE_DSR, 65_537)
    );
    let pool = &tables.directory.pools[&service.group];
    assert_eq!(pool.fail_mode, FailMode::Open);
    let check = pool.health_check.as_ref().unwrap();
    assert_eq!(
        (check.http_path.as_deref(), check.interval_ms),
        (Some("/ready"), 500)
    );
    let mut shares = BTreeMap::new();
    for backend in tables.rings[&service.maglev].iter() {
        *shares
            .entry(tables.directory.backends[&backend].address.to_string())
            .or_insert(0u32) += 1;
    }
    let shares: Vec<u32> = shares
        .values()
        .map(|slots| (slots * 6 + 32_768) / 65_537)
        .collect();
    assert_eq!(shares, [3, 1, 2]);
}

#[test]
fn a_restart_on_the_same_manifests_writes_nothing() {
    let names = ["kubectl-list.yaml", "cilium.yaml", "by-hand.yaml"];
    let tables = compiled(&names);
    let found = Tables::recover(tables.read_back());
    let again = compile(&read(&names), &worker(), Some(&found)).unwrap();
    assert_eq!(diff(&found, &again), []);
    assert_eq!(again.directory, tables.directory);
}

#[test]
fn the_directory_goes_through_json() {
    let tables = compiled(&["kubectl-list.yaml", "cilium.yaml"]);
    let json = serde_json::to_string(&tables.directory).unwrap();
    let back: terrace_mesh::directory::Directory = serde_json::from_str(&json).unwrap();
    assert_eq!(back, tables.directory);
}
