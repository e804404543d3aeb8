//! Who may ask what, as CiliumNetworkPolicy says it.

use terrace_l7::http::{Limits, parse_request, storage};
use terrace_l7::rules::{HttpRule, Policy, RuleError, Scratch, Value, ValueRule};

fn rule(id: u32, method: &str, path: &str, host: &str) -> HttpRule {
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    HttpRule {
        method: some(method),
        path: some(path),
        host: some(host),
        headers: Vec::new(),
        id,
    }
}

fn with_header(mut rule: HttpRule, name: &str, value: Value) -> HttpRule {
    rule.headers.push(ValueRule {
        name: name.to_owned(),
        value,
    });
    rule
}

fn policy() -> Policy {
    let rules = [
        rule(1, "GET", "/public", ""),
        rule(2, "GET|HEAD", "/static/.*", ""),
        rule(3, "", "/v[0-9]+/items", ""),
        rule(4, "POST", "", "api\\.shop(:80)?"),
        with_header(rule(5, "", "/secret", ""), "X-Token", Value::Present),
        with_header(
            rule(6, "", "/exact", ""),
            "x-key",
            Value::Exact("a b".to_owned()),
        ),
        rule(7, "PUT", "/static/.*", ""),
        rule(8, "", "/static/deep/.*", ""),
    ];
    Policy::compile(&rules).unwrap()
}

fn verdict(policy: &Policy, text: &str) -> Option<u32> {
    let mut storage = storage();
    let request = parse_request(text.as_bytes(), &mut storage, &Limits::default());
    policy.allows(&request.unwrap().unwrap(), &mut Scratch::default())
}

#[test]
fn a_request_is_allowed_by_the_rule_that_says_so() {
    let rows: [(&str, Option<u32>); 22] = [
        ("GET /public HTTP/1.1\r\nHost: a\r\n\r\n", Some(1)),
        ("HEAD /public HTTP/1.1\r\nHost: a\r\n\r\n", None),
        ("get /public HTTP/1.1\r\nHost: a\r\n\r\n", None),
        ("GET /public/ HTTP/1.1\r\nHost: a\r\n\r\n", None),
        ("GET /public?x HTTP/1.1\r\nHost: a\r\n\r\n", None),
        ("GET /publicx HTTP/1.1\r\nHost: a\r\n\r\n", None),
        ("GET /Public HTTP/1.1\r\nHost: a\r\n\r\n", None),
        ("GET /%70ublic HTTP/1.1\r\nHost: a\r\n\r\n", None),
        ("HEAD /static/ HTTP/1.1\r\nHost: a\r\n\r\n", Some(2)),
        ("GET /static/a?b HTTP/1.1\r\nHost: a\r\n\r\n", Some(2)),
        ("GET /static HTTP/1.1\r\nHost: a\r\n\r\n", None),
        ("PUT /static/a HTTP/1.1\r\nHost: a\r\n\r\n", Some(7)),
        ("POST /static/deep/a HTTP/1.1\r\nHost: a\r\n\r\n", Some(8)),
        ("DELETE /v12/items HTTP/1.1\r\nHost: a\r\n\r\n", Some(3)),
        ("DELETE /v12/items/ HTTP/1.1\r\nHost: a\r\n\r\n", None),
        ("POST /any HTTP/1.1\r\nHost: api.shop\r\n\r\n", Some(4)),
        ("POST /any HTTP/1.1\r\nHost: api.shop:80\r\n\r\n", Some(4)),
        ("POST /any HTTP/1.1\r\nHost: apixshop\r\n\r\n", None),
        (
            "GET /secret HTTP/1.1\r\nHost: a\r\nx-token: 1\r\n\r\n",
            Some(5),
        ),
        ("GET /secret HTTP/1.1\r\nHost: a\r\n\r\n", None),
        (
            "GET /exact HTTP/1.1\r\nHost: a\r\nX-Key: a b\r\n\r\n",
            Some(6),
        ),
        (
            "GET /exact HTTP/1.1\r\nHost: a\r\nX-Key: a b\r\nX-Key: c\r\n\r\n",
            None,
        ),
    ];
    let policy = policy();
    for (text, expected) in rows {
        assert_eq!(verdict(&policy, text), expected, "{text}");
    }
}

#[test]
fn no_rule_allows_nothing_and_an_empty_rule_everything() {
    let text = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    assert_eq!(verdict(&Policy::compile(&[]).unwrap(), text), None);
    let all = Policy::compile(&[HttpRule::default()]).unwrap();
    assert_eq!(verdict(&all, text), Some(0));
}

#[test]
fn an_expression_that_is_wrong_or_too_large_is_refused() {
    let rows = [
        ("(", "(", "unclosed"),
        ("brackets of another", "a)|(b", "unopened"),
        ("too large", r"\w{200}\w{200}\w{200}", "larger than"),
    ];
    for (name, pattern, expected) in rows {
        let rules = [rule(1, "", pattern, "")];
        let error = Policy::compile(&rules).expect_err(name);
        let RuleError::Pattern { why, .. } = &error else {
            panic!("{name}: {error}");
        };
        assert!(why.contains(expected), "{name}: {why}");
    }
}
