//! The command line against a running daemon in network namespaces.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::process::{Command, Output};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use terrace_testkit::{Background, PinRoot, Topology, wait};

const OK: i32 = 0;
const FAILURE: i32 = 1;
const NO_DAEMON: i32 = 4;
const START: Duration = Duration::from_secs(30);

/// Web pods `web-a`, `web-b` here and `far` elsewhere behind two services:
/// `web` has them all, `empty` has none. Only 10.20.0.0/24 may come in.
const MANIFESTS: &str = r#"
apiVersion: v1
kind: Pod
metadata: { name: web-a, namespace: shop, labels: { app: web }, annotations: { terrace.io/interface: w0 } }
spec: { nodeName: here, containers: [{ name: web }] }
status: { podIP: 10.40.0.2, podIPs: [{ ip: 10.40.0.2 }, { ip: "fd00:40::2" }] }
---
apiVersion: v1
kind: Service
metadata: { name: web, namespace: shop }
spec:
  clusterIP: 10.96.0.10
  clusterIPs: [10.96.0.10, "fd00:96::10"]
  ports: [{ name: http, port: 80, targetPort: 8080 }]
---
apiVersion: v1
kind: Service
metadata: { name: far, namespace: shop }
spec: { clusterIP: 10.96.0.20, ports: [{ port: 80, targetPort: 8080 }] }
---
apiVersion: v1
kind: Service
metadata: { name: empty, namespace: shop }
spec: { clusterIP: 10.96.0.30, ports: [{ port: 80 }] }
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: { name: web-4, namespace: shop, labels: { kubernetes.io/service-name: web } }
addressType: IPv4
ports: [{ name: http, port: 8080 }]
endpoints: [{ addresses: [10.40.0.2], nodeName: here, targetRef: { kind: Pod, namespace: shop, name: web-a } }]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: { name: web-6, namespace: shop, labels: { kubernetes.io/service-name: web } }
addressType: IPv6
ports: [{ name: http, port: 8080 }]
endpoints: [{ addresses: ["fd00:40::2"], nodeName: here, targetRef: { kind: Pod, namespace: shop, name: web-a } }]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: { name: far-4, namespace: shop, labels: { kubernetes.io/service-name: far } }
addressType: IPv4
ports: [{ port: 8080 }]
endpoints: [{ addresses: [10.30.0.2], nodeName: elsewhere }]
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: clients, namespace: shop }
spec:
  podSelector: { matchLabels: { app: web } }
  policyTypes: [Ingress]
  ingress:
    - from: [{ ipBlock: { cidr: 10.20.0.0/24 } }, { ipBlock: { cidr: "fd00:20::/64" } }]
      ports: [{ protocol: TCP, port: 8080 }]
"#;

struct Stage {
    daemon: Option<Background>,
    net: Topology,
    pins: PinRoot,
    folder: TempDir,
}

impl Stage {
    fn start(label: &str) -> Stage {
        let net = Topology::new(label)
            .client("client")
            .workload("web-a")
            .backend("far")
            .build()
            .unwrap();
        let pins = PinRoot::new().unwrap();
        let folder = TempDir::with_prefix("terrace-cli-").unwrap();
        std::fs::create_dir(folder.path().join("manifests")).unwrap();
        std::fs::write(folder.path().join("manifests/shop.yaml"), MANIFESTS).unwrap();
        std::fs::write(folder.path().join("deny.txt"), "10.20.0.66\n").unwrap();
        let config = format!(
            "manifests = \"manifests\"\ndeny_lists = [\"deny.txt\"]\nnode_name = \"here\"\n\
             control_socket = \"terrace.sock\"\nmetrics_listen = \"off\"\npin_root = \"{}\"\n\
             [[interfaces]]\nmatch = \"up0\"\nrole = \"uplink\"\n\
             [[interfaces]]\nmatch = \"w*\"\nrole = \"workload\"\n\
             [limits]\nflows = 4096\nservices = 256\nbackends = 1024\nendpoints = 1024\n\
             service_cells = 256\naddress_cells = 1024\ndeny_cells = 1024\npolicy_cells = 1024\n",
            pins.path().display()
        );
        std::fs::write(folder.path().join("terrace.toml"), config).unwrap();
        let mut stage = Stage {
            daemon: None,
            net,
            pins,
            folder,
        };
        stage.run();
        stage
    }

    fn run(&mut self) {
        let mut daemon = self.net.host.spawn(self.command(&["run"])).unwrap();
        let ready = wait::until("a ready daemon", START, || match daemon.exited() {
            Some(status) => Some(Err(status)),
            None => {
                let output = self.terrace(&["status", "--json"]);
                let status: Value = serde_json::from_slice(&output.stdout).ok()?;
                (status["phase"] == "ready").then_some(Ok(()))
            }
        });
        assert!(matches!(ready, Ok(Ok(()))), "{ready:?}\n{}", daemon.log());
        self.daemon = Some(daemon);
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_terrace"));
        command
            .args(args)
            .arg("--config")
            .arg(self.folder.path().join("terrace.toml"));
        command
    }

    fn terrace(&self, args: &[&str]) -> Output {
        self.net.host.output(&mut self.command(args)).unwrap()
    }

    fn json(&self, args: &[&str]) -> Value {
        let output = self.terrace(&[args, &["--json"]].concat());
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(OK), "{args:?}: {error}");
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

/// Arguments of `explain`; then hook, reason and part of the rest of each hop.
type Row<'a> = (&'a str, &'a [(&'a str, &'a str, &'a str)]);

const TO_TC: (&str, &str, &str) = ("xdp", "to_tc", "");

#[rustfmt::skip]
const EXPLAINED: &[Row<'_>] = &[
    ("tcp 10.20.0.2:4000 10.96.0.10:80", &[TO_TC, ("tc-ingress", "to_workload", "\"service\":\"shop/web:http\"")]),
    ("tcp 10.20.0.2:4000 10.96.0.10:80", &[TO_TC, ("tc-ingress", "to_workload", "\"backend\":\"10.40.0.2:8080 (web-a)\"")]),
    ("tcp 10.20.0.2:4000 10.96.0.10:80", &[TO_TC, ("tc-ingress", "to_workload", "\"policy\":\"NetworkPolicy shop/clients\"")]),
    ("tcp 10.20.0.2:4000 10.96.0.10:80", &[TO_TC, ("tc-ingress", "to_workload", "\"verdict\":\"allow\"")]),
    ("tcp 10.20.0.2:4000 10.96.0.10:80", &[TO_TC, ("tc-ingress", "to_workload", "\"before\":\"80\",\"field\":\"tcp.dport\"")]),
    ("tcp 10.20.0.2:4000 10.96.0.10:80", &[TO_TC, ("tc-ingress", "to_workload", "\"out_iface\":\"w0\"")]),
    ("tcp [fd00:20::2]:4000 [fd00:96::10]:80", &[TO_TC, ("tc-ingress", "to_workload", "\"backend\":\"[fd00:40::2]:8080 (web-a)\"")]),
    ("tcp 10.21.0.2:4000 10.96.0.10:80", &[TO_TC, ("tc-ingress", "ingress_default", "\"verdict\":\"deny\"")]),
    ("tcp 10.20.0.2:4000 10.40.0.2:9", &[TO_TC, ("tc-ingress", "ingress_default", "\"rule\":0")]),
    ("tcp 10.20.0.66:4000 10.96.0.10:80", &[("xdp", "deny_list", "\"action\":\"XDP_DROP\"")]),
    ("tcp 10.20.0.2:4000 10.96.0.30:80", &[("xdp", "no_backend_reset", "\"action\":\"XDP_TX\"")]),
    ("udp 10.20.0.2:4000 10.96.0.30:80", &[("xdp", "no_service_reject", "\"class\":\"answer\"")]),
    ("icmp 10.20.0.2 10.96.0.10", &[("xdp", "echo_reply", "\"class\":\"answer\"")]),
    ("tcp 10.20.0.2:4000 10.96.0.10:80 --flags A", &[("xdp", "no_flow_reset", "")]),
    ("tcp 10.20.0.2:4000 203.0.113.1:80", &[("xdp", "not_ours", ""), ("tc-ingress", "not_ours", "")]),
    ("tcp 10.40.0.2:4000 10.96.0.20:80", &[("tc-ingress", "redirect", "\"iface\":\"w0\"")]),
    ("tcp 10.40.0.9:4000 10.96.0.20:80 --iface w0", &[("tc-ingress", "spoofed_source", "\"class\":\"drop\"")]),
];

#[test]
fn root_explain_tells_what_the_live_programs_would_do() {
    let stage = Stage::start("explain");
    for (args, hops) in EXPLAINED {
        let args: Vec<&str> = std::iter::once("explain").chain(args.split(' ')).collect();
        let answer = stage.json(&args);
        let found = answer["packets"][0]["hops"].as_array().unwrap();
        let ways: Vec<_> = found
            .iter()
            .map(|hop| (&hop["hook"], &hop["reason"]))
            .collect();
        let expected: Vec<_> = hops
            .iter()
            .map(|(hook, reason, _)| (*hook, *reason))
            .collect();
        assert_eq!(ways.len(), expected.len(), "{args:?}: {ways:?}");
        for ((hook, reason, part), hop) in hops.iter().zip(found) {
            assert_eq!(
                (&hop["hook"], &hop["reason"]),
                (&(*hook).into(), &(*reason).into()),
                "{args:?}"
            );
            assert!(
                hop.to_string().contains(part),
                "{args:?}: {part} is not in {hop}"
            );
        }
    }
    assert_eq!(stage.json(&["flows"])["total"], 0, "a dry run made a flow");
    let counted = stage.json(&["reasons", "--class", "answer"]);
    assert_eq!(counted, Value::Array(vec![]), "a dry run was counted");
}

#[test]
fn root_explain_says_which_interface_is_not_served() {
    let stage = Stage::start("noiface");
    let output = stage.terrace(&[
        "explain",
        "tcp",
        "10.0.0.1:1",
        "10.0.0.2:2",
        "--iface",
        "lo",
    ]);
    assert_eq!(output.status.code(), Some(FAILURE));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(
        error.contains("no interface of Terrace is called lo"),
        "{error}"
    );
    assert!(error.contains("terrace status"), "{error}");
}

#[test]
fn root_a_dead_daemon_s_tables_answer_as_it_did() {
    let mut stage = Stage::start("offline");
    let questions: [&[&str]; 4] = [
        &["services"],
        &["policy"],
        &["flows"],
        &["explain", "tcp", "10.40.0.2:4000", "10.96.0.20:80"],
    ];
    let before: Vec<Value> = questions.iter().map(|args| stage.json(args)).collect();
    stage.daemon.take().unwrap().kill();
    for (args, before) in questions.iter().zip(before) {
        assert_eq!(stage.json(args), before, "{args:?}");
    }
    let output = stage.terrace(&["reasons"]);
    assert_eq!(output.status.code(), Some(OK));
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(told.contains("no daemon runs"), "{told}");
}

#[test]
fn root_detach_proves_that_nothing_is_left() {
    let mut stage = Stage::start("detach");
    let refused = stage.terrace(&["detach", "--yes"]);
    assert_eq!(refused.status.code(), Some(FAILURE), "the daemon runs");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("systemctl stop terrace"));
    stage.daemon.take().unwrap().kill();
    assert_eq!(stage.terrace(&["status"]).status.code(), Some(NO_DAEMON));

    let there = stage.json(&["detach", "--dry-run"]);
    // XDP on the uplink, two programs of tc on each interface.
    assert_eq!(
        there["found"]["programs"].as_array().map(Vec::len),
        Some(5),
        "{there}"
    );
    assert_eq!(there["left"], Value::Null);
    let unasked = stage.terrace(&["detach"]);
    assert_eq!(
        unasked.status.code(),
        Some(2),
        "nobody is there to confirm it"
    );

    let report = stage.json(&["detach", "--yes"]);
    let left = report["left"].to_string();
    assert_eq!(
        left,
        r#"{"interfaces":[],"pins":[],"programs":[],"socket":null,"sysctls":[]}"#
    );
    assert!(!stage.pins.path().exists());
    let again = stage.json(&["detach", "--yes"]);
    assert_eq!(again["found"], again["left"], "there was something left");
}
