//! Pods with a proxy: found by their addresses, redirected without iptables.

use terrace_testkit::scripts::{AS_PROXY, PROXY};
use terrace_testkit::{Agent, wait};

use crate::stage::Stage;

const ON: &str = "[socket]\nservices = true\nproxy = true\nrequire = true\nCGROUP\n";
fn proxy(stage: &Stage, pod: &str) -> Agent {
    let mut proxy = stage.agent(&stage.net.workload(pod).ns, &AS_PROXY);
    assert_eq!(proxy.run(PROXY), "\"listens\"");
    proxy
}

fn pods(stage: &Stage, annotations: &str) -> String {
    stage.pod("web", "") + &stage.pod("app", annotations)
}

/// Waits until the daemon knows the workload.
fn until_known(stage: &Stage, pods: &[&str]) {
    let known = wait::until("the workloads", wait::PATIENCE, || {
        let shown = stage.json(&["sockets"]);
        let names = shown["workloads"].as_array()?.clone();
        (names
            .iter()
            .filter_map(|n| n.as_str())
            .eq(pods.iter().copied()))
        .then_some(())
    });
    known.unwrap_or_else(|error| panic!("{error}:\n{}", stage.log()));
}

#[test]
fn root_a_pod_with_a_proxy_is_redirected_and_one_without_is_not() {
    let stage = Stage::start("skprox", ON);
    stage.change("pods.yaml", &pods(&stage, "terrace.io/proxy: enabled"));
    until_known(&stage, &["shop/app"]);
    let mut proxy = proxy(&stage, "app");
    let remote = stage.net.backend("remote").v4;
    let dial = format!("result = greet(dial('{remote}', 9000))");
    assert_eq!(
        stage.inside("app").run(&dial),
        r#""remote""#,
        "{}",
        stage.log()
    );
    assert_eq!(stage.inside("web").run(&dial), r#""remote""#);
    assert_eq!(
        proxy.run("result = seen"),
        format!(r#"[["{remote}", 9000]]"#)
    );
    // The first connection through a service, too.
    assert_eq!(
        stage
            .inside("app")
            .run("result = greet(dial('10.96.0.10', 80)) in ('web', 'remote')"),
        "true"
    );
    assert_eq!(stage.count("proxy_outbound"), 2);
    assert_eq!(stage.count("proxy_down_refused"), 0);
}

#[test]
fn root_what_comes_to_a_pod_goes_to_its_proxy() {
    let stage = Stage::start("skin", ON);
    let text = stage.pod("web", "terrace.io/proxy: enabled") + &stage.pod("app", "");
    // The proxy listens before the daemon knows of the pod.
    let mut proxy = proxy(&stage, "web");
    stage.change("pods.yaml", &text);
    until_known(&stage, &["shop/web"]);
    let web = stage.net.workload("web").v4;
    let dial = format!("result = greet(dial('{web}', 9000))");
    assert_eq!(
        stage.inside("app").run(&dial),
        r#""web""#,
        "{}",
        stage.log()
    );
    assert_eq!(proxy.run("result = seen"), format!(r#"[["{web}", 9000]]"#));
    assert_eq!(stage.count("proxy_inbound"), 1);
}

#[test]
fn root_istios_lists_are_followed_as_they_change() {
    let stage = Stage::start("sklists", ON);
    let remote = stage.net.backend("remote").v4;
    let dial = format!("result = greet(dial('{remote}', 9000))");
    let rows = [
        ("", 1),
        ("traffic.sidecar.istio.io/excludeOutboundPorts: \"9000\"", 0),
        ("traffic.sidecar.istio.io/excludeOutboundPorts: \"9001\"", 1),
        (
            "traffic.sidecar.istio.io/excludeOutboundIPRanges: \"10.30.0.0/16\"",
            0,
        ),
        (
            "traffic.sidecar.istio.io/includeOutboundIPRanges: \"10.31.0.0/16\"",
            0,
        ),
        (
            "traffic.sidecar.istio.io/includeOutboundIPRanges: \"10.30.0.0/16\"",
            1,
        ),
        ("traffic.sidecar.istio.io/includeOutboundIPRanges: \"\"", 0),
    ];
    let mut proxy = None;
    for (list, expected) in rows {
        let comma = if list.is_empty() { "" } else { ", " };
        let annotations = format!("terrace.io/proxy: enabled{comma}{list}");
        stage.change("pods.yaml", &pods(&stage, &annotations));
        until_known(&stage, &["shop/app"]);
        // Applied with what follows a change.
        let port = "10.30.0.2:9000".replace("10.30.0.2", &remote.to_string());
        let ns = stage.net.workload("app").ns.path().display().to_string();
        let question = ["explain", "--connect", &port, "--netns", &ns, "--uid", "5"];
        let wanted = if expected == 1 {
            "proxy_outbound"
        } else {
            "connect_direct"
        };
        let applied = wait::until("the lists", wait::PATIENCE, || {
            let answer = stage.json(&question);
            (answer["reason"] == wanted && answer["workload"] == "shop/app").then_some(())
        });
        applied.unwrap_or_else(|error| panic!("{list}: {error}\n{}", stage.log()));
        proxy.get_or_insert_with(|| self::proxy(&stage, "app"));
        let before = stage.count("proxy_outbound");
        assert_eq!(stage.inside("app").run(&dial), r#""remote""#, "{list}");
        assert_eq!(stage.count("proxy_outbound") - before, expected, "{list}");
    }
}

#[test]
fn root_removing_the_annotation_restores_plain_connections_at_once() {
    let stage = Stage::start("skundo", ON);
    stage.change("pods.yaml", &pods(&stage, "terrace.io/proxy: enabled"));
    until_known(&stage, &["shop/app"]);
    let mut proxy = proxy(&stage, "app");
    let remote = stage.net.backend("remote").v4;
    let mut client = stage.inside("app");
    client.run(&format!("s = dial('{remote}', 9000)\ngreet(s)"));
    stage.change("pods.yaml", &pods(&stage, ""));
    until_known(&stage, &[]);
    assert_eq!(client.run("result = ask(s, 'still')"), r#""still""#);
    assert_eq!(
        client.run(&format!("result = greet(dial('{remote}', 9000))")),
        r#""remote""#
    );
    assert_eq!(proxy.run("result = len(seen)"), "1");
}

#[test]
fn root_a_meshs_iptables_rules_go_on_when_terrace_is_gone() {
    let mut stage = Stage::start("skipt", ON);
    stage.change("pods.yaml", &pods(&stage, "terrace.io/proxy: enabled"));
    until_known(&stage, &["shop/app"]);
    let mut proxy = proxy(&stage, "app");
    let rules = [
        "-t nat -A OUTPUT -p tcp -m owner --uid-owner 1337 -j RETURN",
        "-t nat -A OUTPUT -p tcp -d 127.0.0.1/32 -j RETURN",
        "-t nat -A OUTPUT -p tcp -j REDIRECT --to-ports 15001",
    ];
    for rule in rules {
        let args: Vec<&str> = rule.split(' ').collect();
        stage
            .net
            .workload("app")
            .ns
            .run("iptables", &args)
            .expect("iptables");
    }
    let remote = stage.net.backend("remote").v4;
    let dial = format!("result = greet(dial('{remote}', 9000))");
    let mut client = stage.inside("app");
    assert_eq!(client.run(&dial), r#""remote""#);
    assert_eq!(proxy.run("result = len(seen)"), "1", "once, not twice");
    stage.stop();
    let (done, text) = stage.terrace(&["detach", "--yes"]);
    assert!(done, "{text}");
    assert_eq!(client.run(&dial), r#""remote""#, "by iptables");
    assert_eq!(
        proxy.run("result = seen[-1]"),
        format!(r#"["{remote}", 9000]"#)
    );
    assert_eq!(proxy.run("result = len(seen)"), "2");
}
