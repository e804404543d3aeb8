//! What is answered when a request is not forwarded.

use terrace_testkit::http;

use crate::life::Talk;
use crate::stage::{Shape, Stage, VIP, requests_of_a, routes, service, urls};

/// Requests that pod `a` takes: GET below /a, and nothing else.
const ONLY_GET: &str = r#"{ method: "GET", path: "/a.*" }"#;

fn status(stage: &Stage, url: &str, more: &[&str]) -> String {
    let base = ["-o", "/dev/null", "-w", "%{http_code}", url];
    stage.curl(&[&base[..], more].concat()).1
}

#[test]
fn root_requests_that_are_not_forwarded_get_the_status_that_says_why() {
    let stage = Stage::start("l7-status", &Shape::default());
    stage.write("policy.yaml", &requests_of_a(ONLY_GET));
    stage.write("none.yaml", &service("none", 7, &[]));
    let all = [("/a", "a"), ("/far", "far"), ("/none", "none")];
    stage.change("routes.yaml", &routes(&all));
    let rows: [(&str, &[&str], &str); 6] = [
        ("/a", &[], "200"),
        ("/a", &["-X", "DELETE"], "403"),
        ("/far", &["-X", "DELETE"], "200"),
        ("/none", &[], "503"),
        ("/elsewhere", &[], "404"),
        ("/a/%2e%2e/secret", &["--path-as-is"], "400"),
    ];
    for (path, more, expected) in rows {
        for url in urls(path) {
            let got = status(&stage, &url, more);
            let fits = got == expected || (expected == "400" && got == "403");
            assert!(fits, "{url} {more:?}: {got}\n{}", stage.report());
        }
    }
    stage.wait_empty();
}

#[test]
fn root_a_rule_without_a_route_holds_for_who_goes_to_the_pod_itself() {
    let stage = Stage::start("l7-direct", &Shape::default());
    stage.change("policy.yaml", &requests_of_a(ONLY_GET));
    let pod = stage.nodes()[0].v4;
    let url = format!("http://{pod}:8080/a");
    assert_eq!(status(&stage, &url, &[]), "200", "{}", stage.report());
    assert_eq!(
        status(&stage, &url, &["-X", "PUT"]),
        "403",
        "{}",
        stage.report()
    );
    stage.wait_empty();
}

#[test]
fn root_a_silent_backend_is_answered_for_when_its_time_is_over() {
    let mut stage = Stage::start("l7-504", &Shape::default());
    let timed = routes(&[("/b", "b")]) + "      timeouts: { request: 500ms }\n";
    stage.change("routes.yaml", &timed);
    let [url, _] = urls("/b");
    assert_eq!(status(&stage, &url, &[]), "200");
    let nginx = stage.servers[1].process();
    nginx.signal(rustix::process::Signal::STOP).unwrap();
    assert_eq!(status(&stage, &url, &[]), "504", "{}", stage.report());
    let nginx = stage.servers[1].process();
    nginx.signal(rustix::process::Signal::CONT).unwrap();
    let b = &stage.nodes()[1].ns;
    assert_eq!(
        http::get(b, stage.servers[1].at("127.0.0.1".parse().unwrap()), "/").unwrap(),
        "b\n"
    );
    stage.wait_empty();
}

#[test]
fn root_a_head_that_is_not_whole_in_time_is_answered_with_408() {
    let shape = Shape {
        config: "[l7]\nhead_timeout = \"2s\"",
        ..Shape::default()
    };
    let stage = Stage::start("l7-408", &shape);
    for vip in VIP {
        // The first of a connection, and one behind others.
        for n in [0, 2] {
            let mut talk = Talk::open(&stage, vip);
            for _ in 0..n {
                assert_eq!(talk.ask("/a").unwrap().0, 200, "{}", stage.report());
            }
            talk.send(b"GET /a HTTP/1.1\r\nHost: fro");
            let answer = talk.answer().map(|(status, _)| status);
            assert!(
                matches!(answer, Ok(408)),
                "{vip}, behind {n}: {answer:?}\n{}",
                stage.report()
            );
            assert_eq!(talk.rest(), "");
        }
    }
    let (_, text) = stage.terrace(&["requests", "--json"]);
    let late = text.matches("408").count();
    assert!(late >= 4, "{text}");
    stage.wait_empty();
}

#[test]
fn root_limits_of_heads_are_those_of_the_configuration() {
    let shape = Shape {
        config: "[l7]\nmax_head_bytes = 2000\nmax_fields = 20\nmax_target_bytes = 100",
        ..Shape::default()
    };
    let stage = Stage::start("l7-limits", &shape);
    let fields = |n: usize| "X: y\r\n".repeat(n);
    let long = |n: usize| format!("X: {}\r\n", "y".repeat(n));
    let rows = [
        ("a head", "/a".to_owned(), fields(18), 200),
        ("a field too many", "/a".to_owned(), fields(20), 431),
        ("a long head", "/a".to_owned(), long(2_000), 431),
        (
            "a long target",
            format!("/a?{}", "b".repeat(98)),
            fields(1),
            414,
        ),
    ];
    for (name, path, fields, expected) in rows {
        for vip in VIP {
            let mut talk = Talk::open(&stage, vip);
            let head = format!("GET {path} HTTP/1.1\r\nHost: front\r\n{fields}\r\n");
            // Twice: no further request passes in the kernel either.
            for _ in 0..2 {
                talk.send(head.as_bytes());
                let (status, _) = talk.answer().unwrap();
                assert_eq!(status, expected, "{name}\n{}", stage.report());
                if status != 200 {
                    break;
                }
            }
        }
    }
    let (done, text) = stage.terrace(&["plan", "--json"]);
    assert!(done && text.contains("max_fields is below 64"), "{text}");
}
