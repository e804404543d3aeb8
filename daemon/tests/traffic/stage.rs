//! A topology with servers, manifests and a running `terrace`.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use terrace_testkit::manifests::pod;
use terrace_testkit::{Builder, Daemon, Node, PinRoot, Topology, tcp, udp};

use crate::manifests;

pub const TCP: u16 = 9000;
pub const UDP: u16 = 9001;
/// The port that the service `echo` answers TCP on, and UDP one higher.
pub const SERVICE: u16 = 80;
pub const VIP: [&str; 2] = ["10.96.0.10", "fd00:96::10"];
/// Two verifiers may be at work on a loaded machine.
const START: Duration = Duration::from_secs(120);

/// What differs from the plain stage.
#[derive(Debug, Clone)]
pub struct Shape {
    pub mtu: u32,
    /// `xdp-native`, `xdp-generic` or `tc`: required for `steer`.
    pub tier: &'static str,
    /// More of terrace.toml.
    pub config: &'static str,
}

impl Default for Shape {
    fn default() -> Self {
        Self {
            mtu: 1500,
            tier: "xdp-native",
            config: "",
        }
    }
}

pub struct Stage {
    daemon: Daemon,
    servers: Vec<(tcp::Server, udp::Server)>,
    pub net: Topology,
    pub pins: PinRoot,
}

impl Stage {
    /// Clients `client` and `stranger`, workloads `web-a` and `web-b`, backend
    /// `remote`; service `echo` with all three behind it, no policy.
    pub fn start(label: &str, shape: &Shape) -> Self {
        let net = topology(label, shape);
        let mut stage = Self::around(net, shape);
        let all: Vec<&Node> = stage.behind_echo();
        let slices = manifests::slices("echo", &all);
        stage.write("echo.yaml", &manifests::service("echo", VIP, "", ""));
        stage.write("echo-slices.yaml", &slices);
        let pods: String = stage
            .net
            .workloads
            .iter()
            .map(|workload| pod(workload, manifests::NODE))
            .collect();
        stage.write("pods.yaml", &pods);
        stage.run();
        stage
    }

    fn around(net: Topology, shape: &Shape) -> Self {
        let servers = net
            .workloads
            .iter()
            .map(|workload| &workload.node)
            .chain(&net.backends)
            .map(|node| {
                (
                    tcp::Server::start(&node.ns, &node.name, TCP).expect("TCP server"),
                    udp::Server::start(&node.ns, &node.name, UDP).expect("UDP server"),
                )
            })
            .collect();
        let stage = Self {
            daemon: Daemon::new(env!("CARGO_BIN_EXE_terrace"), "traffic").expect("folder"),
            servers,
            net,
            pins: PinRoot::new().expect("pin root"),
        };
        std::fs::write(stage.daemon.path("deny.txt"), "").expect("deny list");
        let text = manifests::config(stage.pins.path(), shape);
        stage.daemon.configure(&text).expect("configuration");
        stage
    }

    /// The backends of the service `echo`.
    pub fn behind_echo(&self) -> Vec<&Node> {
        let local = self.net.workloads.iter().map(|workload| &workload.node);
        local.chain(&self.net.backends).collect()
    }

    pub fn n_servers(&self) -> usize {
        self.servers.len()
    }

    pub fn folder(&self) -> &Path {
        self.daemon.folder()
    }

    /// Puts a manifest in place, whole.
    pub fn write(&self, file: &str, text: &str) {
        self.daemon.write(file, text).expect("a manifest");
    }

    pub fn remove(&self, file: &str) {
        self.daemon.remove(file).expect("a manifest");
    }

    /// Changes manifests and waits until the daemon has applied them.
    pub fn change(&self, file: &str, text: &str) {
        self.write(file, text);
        self.reload();
    }

    pub fn reload(&self) {
        let output = self.terrace(&["reload", "--json"]);
        assert!(output.0, "terrace reload: {}", output.1);
    }

    /// Requires another tier for `steer`, while everything runs.
    pub fn require(&self, tier: &'static str) {
        let shape = Shape {
            tier,
            ..Shape::default()
        };
        let text = manifests::config(self.pins.path(), &shape);
        self.daemon.configure(&text).expect("configuration");
        self.reload();
    }

    pub fn run(&mut self) {
        let command = self.daemon.command(&["run"]);
        let running = self.net.host.spawn(command).expect("start terrace");
        let ready = self.daemon.start(running, START);
        assert!(ready.is_ok(), "not ready:\n{}", self.daemon.log());
    }

    pub fn kill(&mut self) {
        self.daemon.kill().expect("a running daemon");
    }

    pub fn stop(&mut self) {
        self.daemon.stop(START).expect("terrace ends on SIGTERM");
    }

    pub fn signal(&mut self, signal: Signal) {
        let running = self.daemon.running().expect("a running daemon");
        running.signal(signal).expect("a signal");
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

    pub fn json(&self, args: &[&str]) -> Value {
        let (done, text) = self.terrace(&[args, &["--json"]].concat());
        assert!(done, "terrace {}: {text}", args.join(" "));
        serde_json::from_str(&text).expect("JSON")
    }

    /// Packets counted under `reason`, over all interfaces and hooks.
    pub fn count(&self, reason: &str) -> u64 {
        let counts = self.json(&["reasons", "--all"]);
        let rows = counts.as_array().expect("an array of reasons");
        rows.iter()
            .filter(|row| row["reason"] == reason)
            .filter_map(|row| row["packets"].as_u64())
            .sum()
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

fn topology(label: &str, shape: &Shape) -> Topology {
    let builder: Builder = Topology::new(label)
        .mtu(shape.mtu)
        .client("client")
        .client("stranger")
        .workload("web-a")
        .workload("web-b")
        .backend("remote");
    builder.build().expect("topology")
}

/// The service's address of each family with `port`.
pub fn vips(port: u16) -> [SocketAddr; 2] {
    VIP.map(|vip| SocketAddr::new(vip.parse::<IpAddr>().expect("an address"), port))
}
