//! What the tables and the rule sets say of L7 policy and of routes.

use std::collections::BTreeSet;

use terrace_abi::consts::SERVICE_L7;
use terrace_mesh::{Change, Compiler, Direction, PolicyKey, Tables};

use crate::policy::{CLIENT, OTHER, TCP, WEB, WORLD, cilium, pods};
use crate::support::{compiler, file, ip, service, slice};

/// The requests that a peer may make of the web workload on a port: all,
/// those of paths, or none.
fn allowed(tables: &Tables, direction: Direction, remote: &str, port: u16) -> String {
    let key = PolicyKey {
        subject: tables.endpoint_of(ip(WEB)).identity,
        remote: tables.endpoint_of(ip(remote)).identity,
        direction,
        protocol: TCP,
        port,
    };
    let verdict = tables.policy_lookup(&key);
    match verdict.rule_set() {
        Some(number) => {
            let rules = tables.l7.sets[&number].rules.iter();
            let paths: BTreeSet<&str> = rules.filter_map(|r| r.rule.path.as_deref()).collect();
            paths.into_iter().collect::<Vec<_>>().join(" ")
        }
        None if verdict.allowed() => "all".to_owned(),
        None => "none".to_owned(),
    }
}

const FRONT: &str = "{fromEndpoints: [{matchLabels: {app: client}}], toPorts: [{ports: [{port: \"80\", protocol: TCP}], rules: {http: [{path: /front}]}}]}";
const ANYBODY: &str =
    "{toPorts: [{ports: [{port: \"80\", protocol: TCP}], rules: {http: [{path: /public}]}}]}";
const PLAIN: &str = "{fromEndpoints: [{matchLabels: {app: client}}], toPorts: [{ports: [{port: \"80\", protocol: TCP}]}]}";
const L3: &str = "{fromEndpoints: [{matchLabels: {app: client}}]}";
const DENY: &str = "{fromEndpoints: [{matchLabels: {app: client}}], toPorts: [{ports: [{port: \"80\", protocol: TCP}]}]}";

#[test]
fn http_rules_are_a_union_for_each_peer_and_port() {
    type Row<'r> = (&'r str, &'r str, &'r [(&'r str, u16, &'r str)]);
    let rows: &[Row<'_>] = &[
        (
            "one peer",
            &format!("ingress: [{FRONT}]"),
            &[
                (CLIENT, 80, "/front"),
                (OTHER, 80, "none"),
                (CLIENT, 81, "none"),
            ],
        ),
        (
            "a peer has its own rules and those of everybody",
            &format!("ingress: [{FRONT}, {ANYBODY}]"),
            &[
                (CLIENT, 80, "/front /public"),
                (OTHER, 80, "/public"),
                (WORLD, 80, "/public"),
            ],
        ),
        (
            "a rule without HTTP rules on the port allows everything",
            &format!("ingress: [{FRONT}, {ANYBODY}, {PLAIN}]"),
            &[(CLIENT, 80, "all"), (OTHER, 80, "/public")],
        ),
        (
            "so does one on all ports",
            &format!("ingress: [{ANYBODY}, {L3}]"),
            &[
                (CLIENT, 80, "all"),
                (CLIENT, 81, "all"),
                (OTHER, 80, "/public"),
            ],
        ),
        (
            "deny beats HTTP rules",
            &format!("ingress: [{FRONT}, {ANYBODY}]\ningressDeny: [{DENY}]"),
            &[(CLIENT, 80, "none"), (OTHER, 80, "/public")],
        ),
        (
            "without default deny HTTP rules hold where they are, the rest is open",
            &format!("enableDefaultDeny: {{ingress: false}}\ningress: [{FRONT}]"),
            &[
                (CLIENT, 80, "/front"),
                (CLIENT, 81, "all"),
                (OTHER, 80, "all"),
            ],
        ),
    ];
    for (name, spec, expected) in rows {
        let compiler = compiler(&(pods() + &cilium("p", spec)));
        for (remote, port, paths) in *expected {
            let found = allowed(compiler.tables(), Direction::Ingress, remote, *port);
            assert_eq!(found, *paths, "{name}: {remote} {port}");
        }
    }
}

fn update(compiler: &mut Compiler, text: &str) {
    let change = Change::Put(file("test.yaml", text));
    compiler
        .update(&[change])
        .unwrap_or_else(|errors| panic!("{errors}"));
}

#[test]
fn other_rules_are_another_set_and_flows_look_again() {
    let text = |path: &str, more: &str| {
        let rule = FRONT.replace("/front", path);
        pods() + &cilium("p", &format!("{more}ingress: [{rule}]"))
    };
    let mut compiler = compiler(&text("/a", ""));
    let state = |compiler: &Compiler| {
        let numbers: Vec<u32> = compiler.tables().l7.sets.keys().copied().collect();
        (numbers, compiler.tables().policy_rev)
    };
    let first = state(&compiler);
    assert_eq!(first.0.len(), 1);
    update(&mut compiler, &text("/a", "# a line more\n"));
    assert_eq!(state(&compiler), first, "lines move, nothing changes");
    update(&mut compiler, &text("/b", ""));
    let second = state(&compiler);
    assert!(second.0.len() == 1 && second.0 != first.0, "another number");
    assert_ne!(second.1, first.1, "flows must look again");
    update(&mut compiler, &text("/a", ""));
    assert!(state(&compiler).0[0] > second.0[0], "no number comes back");
    let restarted = Compiler::new(
        compiler.manifests().clone(),
        compiler.facts().clone(),
        Some(compiler.tables()),
    );
    let restarted = restarted.unwrap_or_else(|errors| panic!("{errors}"));
    assert!(
        state(&restarted).0[0] > state(&compiler).0[0],
        "nor after a restart"
    );
}

fn route(parent: &str, backend: &str) -> String {
    format!(
        "---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {{name: r}}\nspec:\n  parentRefs: [{{group: \"\", kind: Service, name: {parent}}}]\n  rules:\n  - backendRefs: [{{name: {backend}, port: 80}}]\n"
    )
}

fn cluster(route: &str) -> String {
    service("web", "10.96.0.1", "")
        + &service("api", "10.96.0.2", "")
        + &service("bare", "None", "")
        + &slice("bare", &[("10.0.2.1", "")])
        + route
}

fn is_l7(tables: &Tables, address: &str) -> bool {
    let index = tables.service_lookup(ip(address), 80, TCP);
    u32::from(tables.service(index).flags) & SERVICE_L7 != 0
}

#[test]
fn the_frontends_of_parents_are_l7_and_routes_lead_to_pools() {
    let mut compiler = compiler(&cluster(&route("web", "bare")));
    let tables = compiler.tables();
    assert!(is_l7(tables, "10.96.0.1"), "the parent");
    assert!(!is_l7(tables, "10.96.0.2"), "another Service");
    let (_, routes) = tables.l7.routed.first_key_value().expect("routes of web");
    assert_eq!(routes.service.name, "web");
    let pool = *routes
        .pools
        .values()
        .next()
        .expect("a pool without a frontend");
    assert!(tables.rings.contains_key(&pool), "it has a ring");
    let rev = tables.policy_rev;
    update(&mut compiler, &cluster(&route("api", "bare")));
    let tables = compiler.tables();
    assert!(!is_l7(tables, "10.96.0.1") && is_l7(tables, "10.96.0.2"));
    assert_ne!(tables.policy_rev, rev, "flows to api must look again");
    assert_eq!(tables.l7.routed.len(), 1);
    update(&mut compiler, &cluster(""));
    let tables = compiler.tables();
    assert!(!is_l7(tables, "10.96.0.2") && tables.l7.is_empty());
    assert!(tables.directory.route_rules.is_empty(), "no rule is left");
    assert!(
        tables.rings.is_empty(),
        "no ring is left: {:?}",
        tables.rings.keys()
    );
}
