//! Services, backends and rings.

use terrace_abi::consts::{
    BACKEND_DRAINING, BACKEND_LOCAL, BACKEND_READY, FAIL_CLOSED, FAIL_LAST, FAIL_OPEN, SERVICE_DSR,
};
use terrace_abi::types::backend;
use terrace_mesh::{Change, FailMode, HostFacts, Op, Tables, compile, diff};

use crate::kernel::Kernel;
use crate::support::{compiler, facts, ip, manifests, pod, put, service, slice, workload};

fn backends_of(tables: &Tables, address: &str, port: u16) -> Vec<(String, u32)> {
    let index = tables.service_lookup(ip(address), port, 6);
    assert_ne!(index, 0, "no service at {address}:{port}");
    let pool = &tables.directory.pools[&tables.service(index).group];
    let mut found: Vec<(String, u32)> = pool
        .backends
        .iter()
        .map(|index| {
            let flags = tables.backends.read::<backend>(*index).flags;
            (
                tables.directory.backends[index].address.to_string(),
                u32::from(flags),
            )
        })
        .collect();
    found.sort();
    found
}

#[test]
fn conditions_become_flags() {
    let draining = "  conditions: {ready: false, serving: true, terminating: true}\n";
    let unready = "  conditions: {ready: false}\n";
    let text = service("web", "10.96.0.1", "")
        + &slice(
            "web",
            &[
                ("10.0.2.1", ""),
                ("10.0.2.2", draining),
                ("10.0.2.3", unready),
                ("10.0.1.1", ""),
            ],
        )
        + &workload("a", "10.0.1.1", "veth-web", "{app: web}");
    let compiler = compiler(&text);
    let expected = [
        ("10.0.1.1", BACKEND_READY | BACKEND_LOCAL),
        ("10.0.2.1", BACKEND_READY),
        ("10.0.2.2", BACKEND_DRAINING),
        ("10.0.2.3", 0),
    ];
    let expected: Vec<(String, u32)> = expected
        .iter()
        .map(|(a, f)| ((*a).to_owned(), *f))
        .collect();
    assert_eq!(backends_of(compiler.tables(), "10.96.0.1", 80), expected);
    let tables = compiler.tables();
    let index = tables.service_lookup(ip("10.96.0.1"), 80, 6);
    assert_eq!(tables.service(index).n_backends, 2);
    for hash in 0..251 {
        let chosen = tables.ring_slot(index, hash);
        let flags = tables.backends.read::<backend>(chosen).flags;
        assert_ne!(u32::from(flags) & BACKEND_READY, 0);
    }
}

#[test]
fn terminating_backends_serve_when_none_is_ready() {
    let draining = "  conditions: {ready: false, serving: true, terminating: true}\n";
    let text = service("web", "10.96.0.1", "") + &slice("web", &[("10.0.2.2", draining)]);
    let compiler = compiler(&text);
    assert_eq!(
        backends_of(compiler.tables(), "10.96.0.1", 80),
        [("10.0.2.2".to_owned(), BACKEND_READY)]
    );
}

#[test]
fn node_ports_are_on_every_host_address_and_local_policy_keeps_local_backends() {
    let extra = "    nodePort: 30080\n  type: NodePort\n  externalTrafficPolicy: Local\n";
    let text = service("web", "10.96.0.1", extra)
        + &slice(
            "web",
            &[("10.0.2.1", ""), ("10.0.2.9", "  nodeName: node-1\n")],
        );
    let compiler = compiler(&text);
    let tables = compiler.tables();
    assert_eq!(backends_of(tables, "10.96.0.1", 80).len(), 2);
    assert_eq!(
        backends_of(tables, "192.0.2.1", 30080),
        [("10.0.2.9".to_owned(), BACKEND_READY)]
    );
    assert_eq!(backends_of(tables, "2001:db8::1", 30080), []);
}

#[test]
fn annotations_of_a_service_reach_its_record() {
    let text = "apiVersion: v1\nkind: Service\nmetadata:\n  name: web\n  annotations:\n    terrace.io/forwarding: dsr\n    terrace.io/maglev-size: \"1021\"\nspec:\n  clusterIP: 10.96.0.1\n  ports:\n  - port: 80\n".to_owned()
        + &slice("web", &[("10.0.2.1", "")]);
    let compiler = compiler(&text);
    let tables = compiler.tables();
    let record = tables.service(tables.service_lookup(ip("10.96.0.1"), 80, 6));
    assert_eq!(
        (u32::from(record.flags) & SERVICE_DSR, record.maglev_size),
        (SERVICE_DSR, 1021)
    );
}

#[test]
fn a_service_that_does_not_say_how_it_fails_does_as_the_host() {
    let annotated = |mode: &str| {
        service("web", "10.96.0.1", "").replacen(
            "metadata:\n",
            &format!("metadata:\n  annotations: {{terrace.io/fail-mode: {mode}}}\n"),
            1,
        )
    };
    let rows = [
        (
            "nothing said",
            service("web", "10.96.0.1", ""),
            FailMode::Last,
            FAIL_LAST,
        ),
        (
            "the host says",
            service("web", "10.96.0.1", ""),
            FailMode::Closed,
            FAIL_CLOSED,
        ),
        ("both say", annotated("open"), FailMode::Closed, FAIL_OPEN),
        (
            "the default, said",
            annotated("last"),
            FailMode::Closed,
            FAIL_LAST,
        ),
    ];
    for (name, text, host, expected) in rows {
        let facts = HostFacts {
            fail_mode: host,
            ..facts()
        };
        let tables = compile(&manifests(&text), &facts, None).unwrap();
        let record = tables.service(tables.service_lookup(ip("10.96.0.1"), 80, 6));
        assert_eq!(u32::from(record.fail_mode), expected, "{name}");
    }
}

#[test]
fn a_recompilation_of_the_same_documents_changes_nothing() {
    let text =
        service("web", "10.96.0.1", "") + &slice("web", &[("10.0.2.1", ""), ("10.0.2.2", "")]);
    let first = compile(&manifests(&text), &facts(), None).unwrap();
    let second = compile(&manifests(&text), &facts(), Some(&first)).unwrap();
    assert_eq!(diff(&first, &second), []);
}

#[test]
fn a_restarted_daemon_keeps_every_index_and_slot() {
    let text =
        |backends: &[(&str, &str)]| service("web", "10.96.0.1", "") + &slice("web", backends);
    let mut kernel = Kernel::new(facts().limits);
    let empty = kernel.tables.clone();
    let mut first = compiler(&text(&[
        ("10.0.2.1", ""),
        ("10.0.2.2", ""),
        ("10.0.2.3", ""),
    ]));
    kernel.apply_all(&diff(&empty, first.tables()));
    kernel.must_be(first.tables());
    let ops = first
        .update(&[put(
            "test.yaml",
            &text(&[("10.0.2.1", ""), ("10.0.2.3", "")]),
        )])
        .unwrap();
    kernel.apply_all(&ops);
    kernel.must_be(first.tables());
    let recovered = kernel.read_back();
    let again = compile(first.manifests(), &facts(), Some(&recovered)).unwrap();
    assert_eq!(diff(&recovered, &again), []);
}

#[test]
fn removing_a_backend_patches_its_slots_before_its_record_goes() {
    let text =
        |backends: &[(&str, &str)]| service("web", "10.96.0.1", "") + &slice("web", backends);
    let addresses: Vec<String> = (1..=10).map(|i| format!("10.0.2.{i}")).collect();
    let all: Vec<(&str, &str)> = addresses
        .iter()
        .map(|address| (address.as_str(), ""))
        .collect();
    let mut compiler = compiler(&text(&all));
    let ops = compiler
        .update(&[put("test.yaml", &text(&all[1..]))])
        .unwrap();
    let kinds: Vec<&str> = ops
        .iter()
        .map(|op| match op {
            Op::Write { table, .. } => table.map_name(),
            Op::NewRing { .. } => "new ring",
            Op::PatchRing { .. } => "patch ring",
            Op::DropRing { .. } => "drop ring",
            Op::Grace => "grace",
            Op::SetPolicyRev(_) => "policy rev",
        })
        .collect();
    assert_eq!(kinds, ["patch ring", "services", "grace", "backends"]);
}

#[test]
fn flows_of_datagrams_look_again_once_their_backend_is_gone() {
    for (protocol, raised) in [("UDP", true), ("TCP", false)] {
        let text = |endpoints: &[(&str, &str)]| {
            let both = service("web", "10.96.0.1", "") + &slice("web", endpoints);
            both.replace(
                "port: 80\n",
                &format!("protocol: {protocol}\n    port: 80\n"),
            )
            .replace(
                "- port: 8080",
                &format!("- protocol: {protocol}\n  port: 8080"),
            )
        };
        let mut compiler = compiler(&text(&[("10.0.2.1", ""), ("10.0.2.2", "")]));
        let change = put("test.yaml", &text(&[("10.0.2.2", "")]));
        let ops = compiler.update(&[change]).unwrap();
        let last = ops
            .iter()
            .rev()
            .find(|op| !matches!(op, Op::Grace))
            .unwrap();
        let looks_again = matches!(last, Op::SetPolicyRev(_));
        assert_eq!(looks_again, raised, "{protocol}: {ops:?}");
    }
}

#[test]
fn a_refused_change_leaves_everything_as_it_was() {
    let text = service("web", "10.96.0.1", "") + &slice("web", &[("10.0.2.1", "")]);
    let mut compiler = compiler(&text);
    let before = compiler.tables().clone();
    let errors = compiler
        .update(&[put("web2.yaml", &service("other", "10.96.0.1", ""))])
        .unwrap_err();
    assert!(
        errors
            .to_string()
            .contains("10.96.0.1 TCP 80 is taken by Service default/web"),
        "{errors}"
    );
    assert_eq!(diff(&before, compiler.tables()), []);
    assert_eq!(compiler.update(&[put("test.yaml", &text)]).unwrap(), []);
    let ops = compiler
        .update(&[Change::Remove("test.yaml".into())])
        .unwrap();
    assert!(ops.contains(&Op::DropRing { index: 1 }));
}

#[test]
fn tables_that_are_full_refuse_the_change_and_keep_the_old_state() {
    let web = service("web", "10.96.0.1", "") + &slice("web", &[("10.0.2.1", "")]);
    let mut compiler = compiler(&web);
    let before = compiler.tables().clone();
    let many: String = (0..300)
        .map(|i| {
            service(
                &format!("s{i}"),
                &format!("10.97.{}.{}", i / 100, i % 100 + 1),
                "",
            )
        })
        .collect();
    let errors = compiler.update(&[put("many.yaml", &many)]).unwrap_err();
    assert!(
        errors
            .to_string()
            .contains("raise limits.services in terrace.toml"),
        "{errors}"
    );
    assert_eq!(diff(&before, compiler.tables()), []);
    let ops = compiler.update(&[put("test.yaml", &web)]).unwrap();
    assert_eq!(ops, []);
}

#[test]
fn remote_pods_have_an_identity_and_workloads_an_interface() {
    let text = workload("a", "10.0.1.1", "veth-web", "{app: web}")
        + &pod("b", "10.0.2.1", "{app: web}")
        + &pod("c", "10.0.2.2", "{app: web}");
    let compiler = compiler(&text);
    let tables = compiler.tables();
    let local = tables.endpoint_of(ip("10.0.1.1"));
    let remote = tables.endpoint_of(ip("10.0.2.1"));
    assert_eq!((local.ifindex, local.mac), (11, [2, 0, 0, 0, 1, 11]));
    assert_eq!(remote.ifindex, 0);
    assert_eq!(remote.identity, tables.endpoint_of(ip("10.0.2.2")).identity);
    // The same labels, but `a` names a port that `b` does not have.
    assert_ne!(remote.identity, local.identity);
    assert_eq!(tables.endpoint_of(ip("192.0.2.1")).identity, 1);
    assert_eq!(tables.endpoint_of(ip("192.0.2.2")).identity, 6);
    assert_eq!(tables.endpoint_of(ip("8.8.8.8")).identity, 2);
}
