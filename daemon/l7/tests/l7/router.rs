//! Where requests go: Gateway API's precedence.

use proptest::prelude::*;
use terrace_l7::http::{Limits, parse_request, storage};
use terrace_l7::rules::{
    Action, Match, PathIndex, PathKind, PathMatch, Route, RouteRule, Routed, Router, Scratch,
    Share, Value, ValueRule,
};

fn exact(path: &str) -> Match {
    Match {
        path: Some(PathMatch::Exact(path.to_owned())),
        ..Match::default()
    }
}

fn prefix(path: &str) -> Match {
    Match {
        path: Some(PathMatch::Prefix(path.to_owned())),
        ..Match::default()
    }
}

fn regex(path: &str) -> Match {
    Match {
        path: Some(PathMatch::Regex(path.to_owned())),
        ..Match::default()
    }
}

fn value(name: &str, value: Value) -> ValueRule {
    ValueRule {
        name: name.to_owned(),
        value,
    }
}

/// Short ways to add to a match.
trait With {
    fn method(self, method: &str) -> Match;
    fn header(self, name: &str, text: &str) -> Match;
    fn query(self, name: &str, text: &str) -> Match;
}

impl With for Match {
    fn method(mut self, method: &str) -> Match {
        self.method = Some(method.to_owned());
        self
    }

    fn header(mut self, name: &str, text: &str) -> Match {
        self.headers
            .push(value(name, Value::Exact(text.to_owned())));
        self
    }

    fn query(mut self, name: &str, text: &str) -> Match {
        self.query.push(value(name, Value::Exact(text.to_owned())));
        self
    }
}

/// A route whose rules are one match each, with the actions from `first` on.
fn route(name: &str, hostnames: &[&str], first: u32, matches: Vec<Match>) -> Route {
    let rules = (first..).zip(matches).map(|(action, which)| RouteRule {
        matches: vec![which],
        action,
    });
    Route {
        name: name.to_owned(),
        created: None,
        hostnames: hostnames.iter().map(|host| (*host).to_owned()).collect(),
        rules: rules.collect(),
    }
}

fn find(router: &Router, text: &str) -> Option<Routed> {
    let mut storage = storage();
    let request = parse_request(text.as_bytes(), &mut storage, &Limits::default());
    router.route(&request.unwrap().unwrap(), &mut Scratch::default())
}

fn action(router: &Router, text: &str) -> Option<u32> {
    find(router, text).map(|routed| routed.action)
}

fn get(path: &str, host: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n")
}

#[test]
fn paths_take_precedence_as_the_gateway_api_says() {
    let matches = vec![
        prefix("/"),
        prefix("/a"),
        prefix("/a/b/"),
        exact("/a/b"),
        regex("/a/[0-9]+"),
        regex("/re.*"),
        regex("/re/[a-z]+"),
        prefix("/a").method("POST"),
        prefix("/a").header("x", "1"),
        prefix("/a").header("x", "1").header("y", "2"),
        prefix("/a").query("q", "1"),
    ];
    let router = Router::compile(&[route("d/r", &[], 0, matches)]).unwrap();
    let rows = [
        ("/", "", 0),
        ("/ab", "", 0),
        ("/a", "", 1),
        ("/a/", "", 1),
        ("/a/c", "", 1),
        ("/a/b", "", 3),
        ("/a/b/", "", 2),
        ("/a/b/c", "", 2),
        ("/a/bc", "", 1),
        ("/a/7", "", 4),
        ("/re/abc", "", 6),
        ("/re/7", "", 5),
        ("/a", "X: 1\r\n", 8),
        ("/a", "X: 1\r\nY: 2\r\n", 9),
        ("/a?q=1", "", 10),
        ("/a?q=%31", "", 10),
        ("/a?q=2", "", 1),
        ("/a?p=1&q=1", "X: 1\r\n", 8),
    ];
    for (path, fields, expected) in rows {
        let text = format!("GET {path} HTTP/1.1\r\nHost: h\r\n{fields}\r\n");
        assert_eq!(action(&router, &text), Some(expected), "{path} {fields}");
    }
    let post = "POST /a HTTP/1.1\r\nHost: h\r\nX: 1\r\nY: 2\r\n\r\n";
    assert_eq!(action(&router, post), Some(7), "a method beats any headers");
}

#[test]
fn the_most_specific_host_goes_first() {
    let routes = [
        route("d/any", &[], 0, vec![prefix("/")]),
        route("d/wide", &["*.example.com"], 1, vec![prefix("/")]),
        route("d/narrow", &["*.b.example.com"], 2, vec![prefix("/")]),
        route("d/exact", &["a.b.example.com"], 3, vec![prefix("/x")]),
    ];
    let router = Router::compile(&routes).unwrap();
    let rows = [
        ("a.b.example.com", "/x", 3),
        ("A.B.EXAMPLE.com:8080", "/x", 3),
        ("a.b.example.com", "/y", 2),
        ("c.b.example.com", "/x", 2),
        ("b.example.com", "/x", 1),
        ("x.y.z.example.com", "/x", 1),
        ("example.com", "/x", 0),
        ("other", "/x", 0),
        ("[::1]", "/x", 0),
    ];
    for (host, path, expected) in rows {
        assert_eq!(
            action(&router, &get(path, host)),
            Some(expected),
            "{host} {path}"
        );
    }
}

#[test]
fn the_older_route_wins_then_the_name_then_the_order() {
    let aged = |name: &str, created, action| Route {
        created,
        ..route(name, &[], action, vec![prefix("/a"), prefix("/a")])
    };
    let rows = [
        ("older", aged("d/z", Some(1), 0), aged("d/a", Some(2), 2), 0),
        (
            "a name",
            aged("d/z", Some(1), 0),
            aged("d/a", Some(1), 2),
            2,
        ),
        (
            "no age is young",
            aged("d/a", None, 0),
            aged("d/z", Some(1), 2),
            2,
        ),
        ("no ages", aged("d/z", None, 0), aged("d/a", None, 2), 2),
    ];
    for (name, one, other, expected) in rows {
        let router = Router::compile(&[one, other]).unwrap();
        assert_eq!(action(&router, &get("/a", "h")), Some(expected), "{name}");
    }
}

#[test]
fn no_match_is_no_route() {
    let router = Router::compile(&[route("d/r", &["h"], 0, vec![exact("/a")])]).unwrap();
    for (path, host) in [("/b", "h"), ("/a/", "h"), ("/a", "i")] {
        assert_eq!(action(&router, &get(path, host)), None, "{path} {host}");
    }
    let options = "OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n";
    assert_eq!(action(&router, options), None);
}

#[test]
fn the_prefix_that_was_matched_is_told() {
    let router = Router::compile(&[route("d/r", &[], 0, vec![prefix("/a/b/"), prefix("/")])]);
    let router = router.unwrap();
    let rows = [("/a/b/c", 4), ("/a/b", 4), ("/x", 0)];
    for (path, expected) in rows {
        assert_eq!(find(&router, &get(path, "h")).unwrap().prefix_len, expected);
    }
}

#[test]
fn a_tunnel_is_named_by_the_match_that_is_met_not_by_its_rule() {
    let connect = Match::default().method("CONNECT");
    let either = vec![prefix("/a").header("upgrade", "w"), prefix("/a"), connect];
    let rules = vec![RouteRule {
        matches: either,
        action: 0,
    }];
    let route = Route {
        rules,
        ..route("d/r", &[], 0, Vec::new())
    };
    let router = Router::compile(&[route]).unwrap();
    let asks = |protocol| {
        format!("GET /a HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: {protocol}\r\n\r\n")
    };
    let rows = [
        (asks("w"), true),
        (asks("x"), false),
        (get("/a", "h"), false),
        ("CONNECT h:1 HTTP/1.1\r\nHost: h:1\r\n\r\n".to_owned(), true),
    ];
    for (text, expected) in rows {
        let routed = find(&router, &text).unwrap();
        assert_eq!(routed.names_tunnel, expected, "{text}");
    }
}

#[test]
fn weights_share_requests_exactly() {
    let shares = [(1, 3), (2, 0), (3, 1)];
    let action = Action {
        shares: shares.map(|(pool, weight)| Share { pool, weight }).to_vec(),
        ..Action::default()
    };
    let mut counts = [0; 4];
    for step in 0..4096u32 {
        counts[action.pool(step << 20).unwrap() as usize] += 1;
    }
    assert_eq!(counts, [0, 3072, 0, 1024]);
    assert_eq!(Action::default().pool(7), None);
}

proptest! {
    /// The index finds exactly the prefixes that a walk over all finds.
    #[test]
    fn prefixes_are_found_as_by_a_walk(
        prefixes in proptest::collection::vec("(/[ab]{0,2}){0,4}", 0..40),
        path in "(/[ab]{0,2}){0,6}",
    ) {
        let rows = prefixes.iter().cloned().map(PathKind::Prefix).zip(0u32..);
        let index = PathIndex::build(rows).unwrap();
        let found: Vec<usize> = index.prefixes(&path).map(|(len, _)| len).collect();
        let mut expected: Vec<usize> = prefixes
            .iter()
            .filter(|prefix| path.starts_with(prefix.as_str()))
            .map(String::len)
            .collect();
        expected.sort_by(|a, b| b.cmp(a));
        expected.dedup();
        prop_assert_eq!(found, expected);
    }
}
