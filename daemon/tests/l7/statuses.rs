//! What is answered when a request is not forwarded.

use terrace_testkit::http;

use crate::stage::{Shape, Stage, requests_of_a, routes, service, urls};

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
