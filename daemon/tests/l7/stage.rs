//! A topology with real HTTP servers, Services with routes, and a running
//! `terrace`.

use std::net::{IpAddr, SocketAddr};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use terrace_testkit::{
    Background, Daemon, HttpServer, Netns, Node, PinRoot, Topology, http, manifests, wait,
};

pub const NODE: &str = "test-host";
pub const PORT: u16 = 8080;
const METRICS: &str = "127.0.0.1:9477";
/// Of the Service `front`, whose routes lead to `a`, `b` and `far`.
pub const VIP: [&str; 2] = ["10.96.0.10", "fd00:96::10"];
const START: Duration = Duration::from_secs(120);
/// A lost RST is found after 20 s, a client that has ended is waited for at most
/// 80 s (daemon/l7/README.md, "How long a flow lives"); on a busy machine longer.
const EMPTY: Duration = Duration::from_secs(150);

#[derive(Debug, Clone)]
pub struct Shape {
    pub mtu: u32,
    /// More of terrace.toml.
    pub config: &'static str,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            mtu: 1500,
            config: "",
        }
    }
}

/// Client `client`; workloads `a` and `b`, backend `far`, each with a server
/// that says its name and a Service of that name; Service `front` with routes
/// `/a`, `/b` and `/far` to them.
pub struct Stage {
    daemon: Daemon,
    pub servers: Vec<HttpServer>,
    pub net: Topology,
    pins: PinRoot,
}

impl Stage {
    pub fn start(label: &str, shape: &Shape) -> Self {
        let mut stage = Self::quiet(label, shape);
        stage.run();
        stage
    }

    /// The same, `terrace` not started.
    pub fn quiet(label: &str, shape: &Shape) -> Self {
        let net = Topology::new(label)
            .mtu(shape.mtu)
            .client("client")
            .workload("a")
            .workload("b")
            .backend("far")
            .build()
            .expect("topology");
        let mut stage = Self {
            daemon: Daemon::new(env!("CARGO_BIN_EXE_terrace"), "l7").expect("folder"),
            servers: Vec::new(),
            net,
            pins: PinRoot::new().expect("pin root"),
        };
        let config = config(stage.pins.path().to_str().expect("a path"), shape);
        stage.daemon.configure(&config).expect("configuration");
        for (i, node) in stage.nodes().iter().enumerate() {
            stage.write(&format!("{i}.yaml"), &service(&node.name, i as u8, &[node]));
        }
        let servers = stage
            .nodes()
            .into_iter()
            .map(|node| HttpServer::start(&node.ns, &node.name, PORT).expect("nginx"));
        stage.servers = servers.collect();
        let pods: String = stage
            .net
            .workloads
            .iter()
            .map(|workload| manifests::pod(workload, NODE))
            .collect();
        stage.write("pods.yaml", &pods);
        stage.write("front.yaml", &service("front", 9, &stage.nodes()));
        stage.write(
            "routes.yaml",
            &routes(&[("/a", "a"), ("/b", "b"), ("/far", "far")]),
        );
        stage
    }

    /// Those with servers.
    pub fn nodes(&self) -> Vec<&Node> {
        let local = self.net.workloads.iter().map(|workload| &workload.node);
        local.chain(&self.net.backends).collect()
    }

    pub fn client(&self) -> &Netns {
        &self.net.client("client").ns
    }

    /// Puts a manifest in place, whole.
    pub fn write(&self, file: &str, text: &str) {
        self.daemon.write(file, text).expect("a manifest");
    }

    /// Changes manifests and waits until the daemon has applied them.
    pub fn change(&self, file: &str, text: &str) {
        self.write(file, text);
        let (done, text) = self.terrace(&["reload", "--json"]);
        assert!(done, "terrace reload: {text}");
    }

    pub fn run(&mut self) {
        let command = self.daemon.command(&["run"]);
        let running = self.net.host.spawn(command).expect("start terrace");
        let ready = self.daemon.start(running, START);
        assert!(ready.is_ok(), "not ready:\n{}", self.daemon.log());
    }

    /// A server in Python in the place of a node's nginx, which is killed.
    pub fn python(&mut self, node: usize, args: &[&str]) -> Background {
        self.servers[node].process().kill();
        let ns = &self.nodes()[node].ns;
        let mut program = Command::new("python3");
        program.arg("-c").args(args);
        let server = ns.spawn(program).expect("python3");
        let address = SocketAddr::new(IpAddr::from([127, 0, 0, 1]), PORT);
        let up = wait::port(ns, address, wait::PATIENCE);
        assert!(up.is_ok(), "{up:?}\n{}", server.log());
        server
    }

    pub fn pins(&self) -> &std::path::Path {
        self.pins.path()
    }

    pub fn pid(&self) -> u32 {
        self.daemon.pid().expect("a running daemon")
    }

    pub fn running(&mut self) -> &mut Background {
        self.daemon.running().expect("a running daemon")
    }

    pub fn kill(&mut self) {
        self.daemon.kill().expect("a running daemon");
    }

    pub fn stop(&mut self) {
        self.daemon.stop(START).expect("terrace ends on SIGTERM");
    }

    /// Whether the command succeeded, and what it printed.
    pub fn terrace(&self, args: &[&str]) -> (bool, String) {
        let output = self.daemon.ask(&self.net.host, args).expect("run terrace");
        let text = if output.status.success() {
            output.stdout
        } else {
            [output.stdout, output.stderr].concat()
        };
        (
            output.status.success(),
            String::from_utf8_lossy(&text).into_owned(),
        )
    }

    /// What Prometheus would read.
    pub fn metrics(&self) -> String {
        let to = METRICS.parse().expect("an address");
        http::get(&self.net.host, to, "/metrics").expect("metrics")
    }

    /// The sum of the metrics whose name and labels have all of these in them.
    pub fn counted(&self, texts: &[&str]) -> u64 {
        let metrics = self.metrics();
        let has_all = |line: &&str| texts.iter().all(|text| line.contains(text));
        let values = metrics.lines().filter(|line| !line.starts_with('#'));
        let values = values
            .filter(has_all)
            .filter_map(|line| line.rsplit(' ').next());
        let values = values.filter_map(|value| value.parse::<f64>().ok());
        values.sum::<f64>() as u64
    }

    /// Waits until that sum is at least `n`.
    pub fn wait_counted(&self, texts: &[&str], n: u64) {
        let counted = wait::until("a metric", wait::PATIENCE, || {
            (self.counted(texts) >= n).then_some(())
        });
        assert!(
            counted.is_ok(),
            "{texts:?} of {n}: {}\n{}",
            self.metrics(),
            self.report()
        );
    }

    /// curl in the client's namespace: its exit status and what it printed.
    pub fn curl(&self, args: &[&str]) -> (bool, String) {
        let mut command = Command::new("curl");
        command.args(["-sS", "--max-time", "60"]).args(args);
        let output = self.client().output(&mut command).expect("run curl");
        let text = [output.stdout, output.stderr].concat();
        (
            output.status.success(),
            String::from_utf8_lossy(&text).into_owned(),
        )
    }

    /// Flows and buffers that the workers have, and those that died.
    pub fn held(&self) -> (u64, u64, u64) {
        let (done, text) = self.terrace(&["status", "--json"]);
        assert!(done, "{text}");
        let status: Value = serde_json::from_str(&text).expect("JSON");
        let workers = status["l7_workers"].as_array().expect("workers").clone();
        let sum = |key: &str| workers.iter().filter_map(|w| w[key].as_u64()).sum();
        (sum("flows"), sum("buffers"), sum("panics"))
    }

    /// Waits until no worker has a flow or a buffer.
    pub fn wait_empty(&self) {
        let empty = wait::until("no flow and no buffer", EMPTY, || {
            let (flows, buffers, panics) = self.held();
            assert_eq!(panics, 0, "{}", self.report());
            (flows == 0 && buffers == 0).then_some(())
        });
        assert!(empty.is_ok(), "{:?}\n{}", self.held(), self.report());
    }

    /// Everything that a failed check wants to see.
    pub fn report(&self) -> String {
        format!(
            "{}\n{}\n{}",
            self.terrace(&["reasons"]).1,
            self.terrace(&["flows", "--limit", "20"]).1,
            self.daemon.log()
        )
    }
}

/// `TERRACE_LONG=1` makes the runs that are too long for every day.
pub fn long_or(long: u64, short: u64) -> u64 {
    match std::env::var_os("TERRACE_LONG") {
        Some(_) => long,
        None => short,
    }
}

/// `http://<vip>/<path>` in both families.
pub fn urls(path: &str) -> [String; 2] {
    VIP.map(|vip| {
        let ip: IpAddr = vip.parse().expect("an address");
        format!("http://{}{path}", SocketAddr::new(ip, 80))
    })
}

fn config(pins: &str, shape: &Shape) -> String {
    format!(
        r#"
manifests = "manifests"
node_name = "{NODE}"
control_socket = "terrace.sock"
metrics_listen = "{METRICS}"
pin_root = "{pins}"
[[interfaces]]
match = "up*"
role = "uplink"
[[interfaces]]
match = "w*"
role = "workload"
{}
"#,
        shape.config
    )
}

/// A Service of both families on port 80, and its slices.
pub fn service(name: &str, number: u8, nodes: &[&Node]) -> String {
    let v6 = format!("fd00:96::{}", 1 + number);
    let (v4, v6) = match name {
        "front" => (VIP[0].to_owned(), VIP[1].to_owned()),
        _ => (format!("10.96.0.{}", 1 + number), v6),
    };
    let slice = |family: &str, at: usize| {
        let addresses = nodes.iter().map(|node| node.addresses()[at]);
        let endpoints: String = addresses
            .map(|ip| format!("  - addresses: [\"{ip}\"]\n    conditions: {{ ready: true }}\n"))
            .collect();
        format!(
            r#"
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: {name}-{}
  namespace: shop
  labels: {{ kubernetes.io/service-name: {name} }}
addressType: {family}
ports:
  - {{ name: http, port: {PORT}, protocol: TCP }}
endpoints:
{endpoints}"#,
            family.to_lowercase()
        )
    };
    format!(
        r#"
apiVersion: v1
kind: Service
metadata: {{ name: {name}, namespace: shop }}
spec:
  clusterIP: {v4}
  clusterIPs: [{v4}, "{v6}"]
  ipFamilies: [IPv4, IPv6]
  ipFamilyPolicy: RequireDualStack
  ports:
    - {{ name: http, port: 80, targetPort: {PORT}, protocol: TCP }}
{}{}"#,
        slice("IPv4", 0),
        slice("IPv6", 1)
    )
}

/// An HTTPRoute of `front`: path prefixes to Services.
pub fn routes(rules: &[(&str, &str)]) -> String {
    let rules: String = rules
        .iter()
        .map(|(path, service)| {
            format!(
                "    - matches: [{{ path: {{ type: PathPrefix, value: {path} }} }}]\n      \
                 backendRefs: [{{ name: {service}, port: 80 }}]\n"
            )
        })
        .collect();
    route(&rules)
}

/// The same of rules as they stand in a manifest.
pub fn route(rules: &str) -> String {
    format!(
        r#"
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{ name: front, namespace: shop }}
spec:
  parentRefs: [{{ group: "", kind: Service, name: front, port: 80 }}]
  rules:
{rules}"#
    )
}

/// A policy: pod `a` takes only these requests, from anybody. `rules` as they stand in a manifest.
pub fn requests_of_a(rules: &str) -> String {
    format!(
        r#"
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {{ name: a, namespace: shop }}
spec:
  endpointSelector: {{ matchLabels: {{ app: a }} }}
  ingress:
    - fromEntities: [all]
      toPorts:
        - ports: [{{ port: "8080", protocol: TCP }}]
          rules: {{ http: [{rules}] }}
"#
    )
}
