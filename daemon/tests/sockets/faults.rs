//! What is missing or in the way: a message, a counter, and service goes on.

use std::path::Path;

use crate::services::ON;
use crate::stage::Stage;

pub fn event(stage: &Stage, kind: &str) -> String {
    let status = stage.json(&["status"]);
    let events = status["events"].as_array().expect("events").clone();
    let found = events.iter().find(|event| event["kind"] == kind);
    found.map_or_else(String::new, |event| event["message"].to_string())
}

pub fn metric(stage: &Stage, name: &str) -> String {
    let url = "http://127.0.0.1:9477/metrics";
    let text = stage.net.host.run("curl", &["-s", url]).expect("curl");
    let lines: Vec<&str> = text.lines().filter(|line| line.contains(name)).collect();
    lines.join("\n")
}

#[test]
fn root_a_cgroup_of_version_1_is_told_and_tc_serves() {
    let v1 = ["/sys/fs/cgroup/memory", "/sys/fs/cgroup"];
    let v1 = v1
        .iter()
        .find(|path| !is_v2(path))
        .expect("something that is not cgroup v2");
    let socket = format!("[socket]\nservices = true\ncgroup = \"{v1}\"\n");
    let stage = Stage::start("skv1", &socket);
    let told = event(&stage, "socket-fallback");
    assert!(
        told.contains("not a cgroup of version 2") && told.contains("tc serves"),
        "{told}"
    );
    let metric = metric(&stage, "terrace_socket_armed{part=\"services\"}");
    assert!(metric.ends_with(" 0.0"), "{metric}");
    let mut client = stage.inside("app");
    assert_eq!(
        client.run("result = greet(dial('10.96.0.10', 80)) != ''"),
        "true",
        "by tc"
    );
}

fn is_v2(path: &str) -> bool {
    Path::new(path).join("cgroup.controllers").exists()
}

#[test]
fn root_a_required_socket_tier_fails_the_start() {
    let socket = "[socket]\nservices = true\nrequire = true\ncgroup = \"/sys/fs/cgroup/none\"\n";
    let mut stage = Stage::new("skreq", socket);
    assert!(!stage.try_run());
    let log = stage.log();
    assert!(
        log.contains("the socket tier is required") && log.contains("/sys/fs/cgroup/none"),
        "{log}"
    );
}

#[test]
fn root_an_armed_tier_says_so() {
    let stage = Stage::start("skarmed", ON);
    let told = event(&stage, "socket-armed");
    assert!(told.contains("13 programs"), "{told}");
    let metric = metric(&stage, "terrace_socket_armed{part=\"services\"}");
    assert!(metric.ends_with(" 1.0"), "{metric}");
}

#[test]
fn root_an_address_in_two_namespaces_is_told_and_not_redirected() {
    let socket = "[socket]\nproxy = true\nrequire = true\nCGROUP\n";
    let mut stage = Stage::start("sktwo", socket);
    let app = stage.net.workload("app").v4;
    let twin = terrace_testkit::Netns::new("sktwin").expect("namespace");
    twin.ip([format!("address add {app}/32 dev lo")])
        .expect("address");
    // Without its interface nothing tells which of the two it is.
    let interface = format!(
        "terrace.io/interface: {}, ",
        stage.net.workload("app").host_iface
    );
    let pod = stage.pod("app", "terrace.io/proxy: enabled");
    let pods = stage.pod("web", "") + &pod.replace(&interface, "");
    stage.change("pods.yaml", &pods);
    stage.wait_for_log("are in two network namespaces");
    let told = event(&stage, "socket-workload");
    assert!(told.contains("pod shop/app"), "{told}");
    let workloads = stage.json(&["sockets"])["workloads"].clone();
    assert_eq!(workloads.as_array().map(Vec::len), Some(0), "{workloads}");
    assert!(metric(&stage, "kind=\"socket-workload\"").contains(" 1"));
}

#[test]
fn root_full_tables_of_workloads_are_told() {
    let socket = "[socket]\nproxy = true\nrequire = true\nmax_entries = 2\nCGROUP\n";
    let mut stage = Stage::start("skfull", socket);
    let lists = "terrace.io/proxy: enabled, \
                 traffic.sidecar.istio.io/excludeOutboundPorts: \"1,2,3,4\"";
    stage.change(
        "pods.yaml",
        &(stage.pod("web", "") + &stage.pod("app", lists)),
    );
    stage.wait_for_log("it is full: raise [socket] max_entries");
}

/// Every socket beyond is served in all ways, and what they leave is given back.
#[test]
fn root_a_full_table_of_sockets_is_told_and_serves() {
    let mut stage = Stage::start("skmany", &format!("{ON}max_entries = 8\n"));
    let mut client = stage.on_host();
    let shown = client.run(
        "all = [dial('10.96.0.10', 80) for _ in range(20)]\nfor s in all: greet(s)
result = {s.getpeername()[0] for s in all} == {'10.96.0.10'}",
    );
    assert_eq!(shown, "true");
    let sockets = stage.json(&["sockets"]);
    assert_eq!(sockets["sockets"].as_array().map(Vec::len), Some(20));
    stage.wait_for_log("12 sockets found no room among 8");
    assert!(event(&stage, "sockets-full").contains("raise [socket] max_entries"));
    let full = metric(&stage, "reason=\"sockets_full\"");
    assert!(full.contains("sockets_full\"} 12"), "{full}");
    let room = metric(&stage, "terrace_socket_records_capacity ");
    assert!(room.ends_with(" 8") || room.ends_with(" 8.0"), "{room}");
    client.run("for s in all: s.close()");
    let used = || {
        let used = metric(&stage, "terrace_socket_records ");
        (used.ends_with(" 0") || used.ends_with(" 0.0")).then_some(())
    };
    terrace_testkit::wait::until("an empty table", terrace_testkit::wait::PATIENCE, used)
        .expect("no leak");
}

#[test]
fn root_a_proxy_that_does_not_listen_refuses_or_lets_go_on() {
    for (when, expected) in [("refuse", "!ECONNREFUSED"), ("direct", r#""remote""#)] {
        let socket = format!(
            "[socket]\nproxy = true\nrequire = true\nCGROUP\n[socket.redirect]\nwhen_down = \"{when}\"\n"
        );
        let stage = Stage::start("skdown", &socket);
        let pods = stage.pod("web", "") + &stage.pod("app", "terrace.io/proxy: enabled");
        stage.change("pods.yaml", &pods);
        let known = || (stage.json(&["sockets"])["workloads"][0] == "shop/app").then_some(());
        terrace_testkit::wait::until("the workload", terrace_testkit::wait::PATIENCE, known)
            .unwrap_or_else(|error| panic!("{error}: {}", stage.log()));
        let remote = stage.net.backend("remote").v4;
        let dial = format!("result = greet(dial('{remote}', 9000))");
        assert_eq!(stage.inside("app").run(&dial), expected, "{}", stage.log());
    }
}
