//! HTTP rules and routes: what is read, and that a host without an L7 tier
//! refuses them.

use std::path::Path;
use std::sync::Arc;

use terrace_mesh::{
    HostFacts, Manifests, Object, PathChange, PathMatch, Policy, Route, SourceFile, ValueTest,
    compile, parse,
};

use crate::support::{compiler, facts};

fn manifests() -> Manifests {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/good/http.yaml");
    let text = std::fs::read_to_string(path).expect("a readable file");
    let file = SourceFile {
        path: "http.yaml".into(),
        text,
    };
    parse(&[file]).unwrap_or_else(|errors| panic!("{errors}"))
}

fn route(manifests: &Manifests) -> Arc<Route> {
    let mut routes = manifests.objects().filter_map(|object| match object {
        Object::Route(route) => Some(Arc::clone(route)),
        _ => None,
    });
    routes.next().expect("a route")
}

fn policy(manifests: &Manifests) -> Arc<Policy> {
    let mut policies = manifests.objects().filter_map(|object| match object {
        Object::Policy(policy) => Some(Arc::clone(policy)),
        _ => None,
    });
    policies.next().expect("a policy")
}

#[test]
fn ports_with_http_rules_are_rules_of_their_own() {
    let policy = policy(&manifests());
    let rules = &policy.parts[0].rules;
    let paths: Vec<&str> = rules.iter().map(|rule| rule.path.as_str()).collect();
    assert_eq!(paths, ["spec.ingress[0]", "spec.ingress[0].toPorts[1]"]);
    assert!(rules[0].http.is_none() && rules[0].peers == rules[1].peers);
    let http = rules[1].http.as_ref().unwrap();
    assert_eq!(http[0].path.as_deref(), Some("/public/.*"));
    let headers: Vec<(&str, &ValueTest)> = http[1]
        .headers
        .iter()
        .map(|rule| (rule.name.as_str(), &rule.test))
        .collect();
    let exact = |text: &str| ValueTest::Exact(text.to_owned());
    assert_eq!(
        headers,
        [
            ("X-Token", &ValueTest::Present),
            ("X-Kind", &exact("a b")),
            ("X-Region", &exact("eu"))
        ]
    );
    assert!(http[2].method.is_none() && http[2].headers.is_empty());
}

#[test]
fn a_route_is_read_whole() {
    let route = route(&manifests());
    assert_eq!(route.created, Some(1_717_329_601));
    assert_eq!(route.hostnames, ["shop.example.com", "*.shop.example.com"]);
    assert_eq!(route.parents[0].port, Some(80));
    let [canary, changed, redirected] = route.rules.as_slice() else {
        panic!("three rules: {:?}", route.rules);
    };
    assert_eq!(
        canary.matches[0].path,
        Some(PathMatch::Prefix("/cart".into()))
    );
    assert_eq!(
        canary.matches[0].query[0].test,
        ValueTest::Regex("[0-9]+".into())
    );
    assert_eq!(
        canary.matches[1].path,
        Some(PathMatch::Exact("/cart/new".into()))
    );
    let weights: Vec<u32> = canary
        .backends
        .iter()
        .map(|backend| backend.weight)
        .collect();
    assert_eq!(weights, [9, 1]);
    assert_eq!(
        (canary.request_timeout_ms, canary.backend_timeout_ms),
        (90_000, 500)
    );
    assert_eq!(changed.filters.set, [("X-From".into(), "terrace".into())]);
    assert_eq!(changed.filters.rewrite_host.as_deref(), Some("v.shop"));
    assert_eq!(
        changed.filters.rewrite_path,
        Some(PathChange::Full("/index".into()))
    );
    let redirect = redirected.filters.redirect.as_ref().unwrap();
    assert_eq!((redirect.status, redirect.port), (301, Some(8443)));
    assert_eq!(redirect.path, Some(PathChange::Prefix("/new".into())));
}

#[test]
fn a_host_without_an_l7_tier_refuses_them() {
    let without = HostFacts {
        l7: false,
        ..facts()
    };
    let errors = compile(&manifests(), &without, None).expect_err("refused");
    let titles: Vec<&str> = errors.0.iter().map(|e| e.document.as_str()).collect();
    assert_eq!(
        titles,
        ["CiliumNetworkPolicy default/shop", "HTTPRoute default/shop"]
    );
    assert!(compile(&manifests(), &facts(), None).is_ok());
}

#[test]
fn a_service_that_a_route_names_cannot_go() {
    let service = crate::support::service("web", "10.96.0.1", "");
    let route = "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: r}\nspec:\n  parentRefs: [{group: \"\", kind: Service, name: web}]\n  rules:\n  - backendRefs: [{name: web, port: 80}]\n";
    let mut compiler = compiler(&format!("{service}---\n{route}"));
    let file = SourceFile {
        path: "test.yaml".into(),
        text: route.to_owned(),
    };
    let errors = compiler.update(&[terrace_mesh::Change::Put(file)]);
    assert_eq!(errors.expect_err("refused").0.len(), 2);
}
