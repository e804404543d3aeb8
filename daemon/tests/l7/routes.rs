//! Filters of routes and HTTP rules of policies on real connections, and what
//! `terrace requests` and `terrace flows` tell of them.

use serde_json::Value;

use crate::stage::{Shape, Stage, requests_of_a, route, urls};

/// Requests that pod `a` takes.
const OF_A: &str = r#"
            { method: GET, path: "/a/public.*" },
            { method: "GET|HEAD", path: /a/token, headers: ["X-Token: secret"] },
            { path: /a/host, host: inner }"#;

const RULES: &str = r#"    - matches: [{ path: { type: PathPrefix, value: /a } }]
      backendRefs: [{ name: a, port: 80 }]
    - matches: [{ path: { type: PathPrefix, value: /old } }]
      filters:
        - type: RequestRedirect
          requestRedirect: { statusCode: 301, hostname: new.example, path: { type: ReplacePrefixMatch, replacePrefixMatch: /new } }
    - matches: [{ path: { type: PathPrefix, value: /changed } }]
      filters:
        - { type: URLRewrite, urlRewrite: { hostname: inner, path: { type: ReplacePrefixMatch, replacePrefixMatch: /a/host } } }
        - { type: RequestHeaderModifier, requestHeaderModifier: { add: [{ name: X-From, value: terrace }] } }
      backendRefs: [{ name: b, port: 80 }]
    - matches: [{ headers: [{ name: X-Canary, value: "yes" }] }]
      backendRefs: [{ name: far, port: 80 }]
    - matches: [{ queryParams: [{ name: v, value: "2" }] }]
      backendRefs: [{ name: b, port: 80 }]
    - matches: [{ path: { type: Exact, value: /shared } }]
      backendRefs: [{ name: b, port: 80, weight: 1 }, { name: far, port: 80, weight: 1 }]
"#;

/// What a request gets: its status, the start of its body, or where it is sent.
type Row<'r> = (&'r str, &'r [&'r str], &'r str, &'r str);

const ROWS: &[Row<'_>] = &[
    ("a rule's path", &[], "/a/public/x", "200 a"),
    ("no rule's path", &[], "/a/private", "403 Forbidden"),
    (
        "another method",
        &["-X", "POST"],
        "/a/public/x",
        "403 Forbidden",
    ),
    ("without the header", &[], "/a/token", "403 Forbidden"),
    (
        "with the header",
        &["-H", "X-Token: secret"],
        "/a/token",
        "200 a",
    ),
    ("another host", &[], "/a/host", "403 Forbidden"),
    ("the host", &["-H", "Host: inner"], "/a/host", "200 a"),
    ("a changed head", &[], "/changed/x", "200 b"),
    (
        "a header's route",
        &["-H", "X-Canary: yes"],
        "/any",
        "200 far",
    ),
    ("a parameter's route", &[], "/any?v=2", "200 b"),
    ("no route", &[], "/any", "404 Not Found"),
];

#[test]
fn root_routes_filters_and_rules_decide_each_request() {
    let stage = Stage::quiet("l7-rules", &Shape::default());
    stage.write("policy.yaml", &requests_of_a(OF_A));
    stage.write("routes.yaml", &route(RULES));
    let mut stage = stage;
    stage.run();
    for (name, args, path, expected) in ROWS {
        for url in urls(path) {
            let form = ["-w", "\n%{http_code}", &url];
            let (_, text) = stage.curl(&[*args, &form].concat());
            let (body, status) = text.rsplit_once('\n').unwrap_or_default();
            let found = format!("{status} {}", body.trim());
            assert_eq!(found, *expected, "{name}: {url}\n{}", stage.report());
        }
    }
    let [url, _] = urls("/old/x?y=1");
    let (_, text) = stage.curl(&[
        "-o",
        "/dev/null",
        "-w",
        "%{http_code} %{redirect_url}",
        &url,
    ]);
    assert_eq!(text, "301 http://new.example/new/x?y=1");
    weights(&stage);
    told(&stage);
}

/// Half of the requests, one connection each.
fn weights(stage: &Stage) {
    let [url, _] = urls("/shared?n=[1-60]");
    let (_, text) = stage.curl(&["-H", "Connection: close", &url]);
    let [b, far] = ["b", "far"].map(|name| text.lines().filter(|line| *line == name).count());
    assert_eq!(b + far, 60, "{text}\n{}", stage.report());
    assert!(b > 10 && far > 10, "{b} and {far} of 60");
}

fn told(stage: &Stage) {
    let ask = |args: &[&str]| {
        let (done, text) = stage.terrace(&[&["requests", "--limit", "0", "--json"], args].concat());
        assert!(done, "{text}");
        let answer: Value = serde_json::from_str(&text).expect("JSON");
        answer["requests"].as_array().expect("a list").clone()
    };
    let denied = ask(&["--verdict", "denied", "--service", "shop/front"]);
    let private = denied
        .iter()
        .find(|request| request["path"] == "/a/private");
    let private = private.expect("the denied request");
    assert_eq!(
        (&private["status"], &private["method"]),
        (&403.into(), &"GET".into())
    );
    assert_eq!(private["route"], "shop/front spec.rules[0]");
    let rule = "none of shop/a spec.ingress[0].toPorts[0].rules.http";
    assert_eq!(
        (&private["rule"], &private["tier"]),
        (&rule.into(), &"worker".into())
    );
    let passed = ask(&["--status", "2xx"]);
    let token = passed.iter().find(|request| request["path"] == "/a/token");
    let token = token.expect("the request with the header");
    let rule = "shop/a spec.ingress[0].toPorts[0].rules.http[1]";
    assert_eq!(
        (&token["rule"], &token["verdict"]),
        (&rule.into(), &"forwarded".into())
    );
    assert_eq!(
        token["server_identity"]
            .as_str()
            .map(|name| name.contains("app=a")),
        Some(true)
    );
    assert!(token["duration_us"].as_u64() > Some(0), "{token}");
    let redirected = ask(&["--verdict", "redirected"]);
    assert_eq!(
        (redirected.len(), &redirected[0]["status"]),
        (1, &301.into())
    );
    let (done, text) = stage.terrace(&["flows", "--json", "--limit", "0"]);
    let flows: Value = serde_json::from_str(&text).expect("JSON");
    let flows = flows["flows"].as_array().expect("a list");
    let named = flows
        .iter()
        .any(|flow| flow["request"]["path"] == "/any?v=2");
    assert!(done && named, "no flow says its request: {text}");
}
