//! Service translation by the daemon's own tables.

use crate::stage::Stage;

pub const ON: &str = "[socket]\nservices = true\nrequire = true\nCGROUP\n";

const SPREAD: &str = "result = sorted({greet(dial(HOST, 80)) for _ in range(60)})";

#[test]
fn root_host_and_workloads_reach_every_backend_of_a_service() {
    let stage = Stage::start("sks", ON);
    for mut client in [stage.on_host(), stage.inside("app")] {
        for host in ["10.96.0.10", "fd00:96::10"] {
            client.run(&format!("HOST = '{host}'"));
            assert_eq!(
                client.run(SPREAD),
                r#"["remote", "web"]"#,
                "{}",
                stage.log()
            );
            let seen = client.run(&format!("result = dial('{host}', 80).getpeername()[:2]"));
            assert_eq!(seen, format!(r#"["{host}", 80]"#));
            let udp = client.run(&format!(
                "s = dial('{host}', 81, socket.SOCK_DGRAM)\nresult = ask(s, 'x')[-2:]"
            ));
            assert_eq!(udp, r#"":x""#);
        }
    }
    assert!(stage.count("connect_service") >= 240);
}

#[test]
fn root_packets_of_a_translated_connection_are_plain() {
    let stage = Stage::start("skplain", ON);
    stage.change("slices.yaml", &stage.slices(&["web"]));
    let mut client = stage.inside("app");
    assert_eq!(
        client.run("s = dial('10.96.0.10', 80)\nresult = greet(s)"),
        r#""web""#
    );
    let web = stage.net.workload("web").v4.to_string();
    let flows = stage.json(&["flows", "--to", &format!("{web}:9000")]);
    let rows = flows["flows"].as_array().expect("flows");
    assert!(
        rows.iter().all(|row| row["translated"].is_null()),
        "{flows}"
    );
}

#[test]
fn root_policy_is_judged_at_the_backend() {
    let stage = Stage::start("skpol", ON);
    let policy = "
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: app, namespace: shop }
spec:
  podSelector: { matchLabels: { app: app } }
  policyTypes: [Egress]
  egress: [{ to: [{ podSelector: { matchLabels: { app: web } } }] }]
";
    stage.change("policy.yaml", policy);
    let mut client = stage.inside("app");
    stage.change("slices.yaml", &stage.slices(&["web"]));
    assert_eq!(
        client.run("result = greet(dial('10.96.0.10', 80))"),
        r#""web""#
    );
    stage.change("slices.yaml", &stage.slices(&["remote"]));
    let denied = client.run("s = socket.socket()\ns.settimeout(1)\ns.connect(('10.96.0.10', 80))");
    assert_ne!(denied, "null", "the remote backend is not allowed");
    assert!(
        stage.count("egress_default") > 0,
        "{}",
        stage.terrace(&["reasons"]).1
    );
}

#[test]
fn root_node_ports_are_served_on_loopback() {
    let stage = Stage::start("sknode", ON);
    let mut client = stage.on_host();
    for host in ["127.0.0.1", "::1"] {
        let seen = client.run(&format!(
            "result = greet(dial('{host}', 30080)) in ('web', 'remote')"
        ));
        assert_eq!(seen, "true", "{host}: {}", stage.log());
    }
    assert_eq!(
        client.run("l = socket.socket()\nl.bind(('0.0.0.0', 30080))"),
        "!EADDRINUSE"
    );
    assert_eq!(
        stage.inside("app").run("dial('127.0.0.1', 30080)"),
        "!ECONNREFUSED"
    );
}

#[test]
fn root_sockets_end_with_their_backend_as_the_service_says() {
    let stage = Stage::start("skend", ON);
    stage.change("web.yaml", &stage.service("terrace.io/terminate: \"true\""));
    stage.change("slices.yaml", &stage.slices(&["remote"]));
    let mut client = stage.on_host();
    client.run("t = dial('10.96.0.10', 80)\ngreet(t)\nu = dial('fd00:96::10', 81, socket.SOCK_DGRAM)\nask(u, 'x')");
    stage.change("slices.yaml", &stage.slices(&["web"]));
    assert_eq!(client.run("t.recv(1)"), "!ECONNABORTED", "{}", stage.log());
    assert_eq!(client.run("u.recv(1)"), "!ECONNABORTED");
    let again = "u = dial('fd00:96::10', 81, socket.SOCK_DGRAM)\nresult = ask(u, 'x')";
    assert_eq!(client.run(again), r#""web:x""#);
    assert_eq!(stage.count("socket_closed"), 2);
}

#[test]
fn root_sockets_are_listed_and_a_connect_is_explained() {
    let stage = Stage::start("sklist", ON);
    stage.change("slices.yaml", &stage.slices(&["web"]));
    let mut client = stage.on_host();
    client.run("t = dial('10.96.0.10', 80)\ngreet(t)\nask(t, 'hello')");
    let shown = stage.json(&["sockets"]);
    let row = &shown["sockets"][0];
    let web = stage.net.workload("web").v4;
    assert_eq!(row["remote"], "10.96.0.10:80", "{shown}");
    assert_eq!(row["backend"], format!("{web}:9000"));
    assert_eq!(row["service"], "shop/web:tcp");
    assert_eq!(
        (row["sent"].as_u64(), row["received"].as_u64()),
        (Some(5), Some(9))
    );
    let (done, text) = stage.terrace(&["sockets"]);
    assert!(done && text.contains("10.96.0.10:80"), "{text}");
    let answer = stage.json(&["explain", "--connect", "10.96.0.10:80"]);
    assert_eq!(answer["reason"], "connect_service", "{answer}");
    assert_eq!(answer["goes_to"], format!("{web}:9000"));
    assert_eq!(answer["shortcut"], false, "{answer}");
    let why = answer["shortcut_reason"].to_string();
    assert!(why.contains("no cgroup is chosen"), "{why}");
    stage.change("slices.yaml", &stage.slices(&[]));
    let (_, text) = stage.terrace(&["explain", "--connect", "10.96.0.10:80"]);
    assert!(
        text.contains("fails") && text.contains("no ready backend"),
        "{text}"
    );
}
