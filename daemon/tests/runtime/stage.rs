//! A host with one workload and one remote backend, and `terrace` on it.

use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use terrace_testkit::manifests::LIMITS;
use terrace_testkit::{Daemon, PinRoot, Topology, wait};

pub const PORT: u16 = 9000;
pub const VIP: &str = "10.96.0.10";
pub const METRICS: u16 = 9477;
const START: Duration = Duration::from_secs(40);

pub struct Stage {
    pub daemon: Daemon,
    pub net: Topology,
    pub pins: PinRoot,
}

impl Stage {
    /// Everything but the daemon. `more` is appended to terrace.toml.
    pub fn new(label: &str, more: &str) -> Self {
        Self::with_mtu(label, more, 1500)
    }

    /// The same on links of this MTU.
    pub fn with_mtu(label: &str, more: &str, mtu: u32) -> Self {
        let builder = Topology::new(label)
            .mtu(mtu)
            .client("client")
            .workload("web");
        let net = builder.backend("remote").build().expect("topology");
        let stage = Self {
            daemon: Daemon::new(env!("CARGO_BIN_EXE_terrace"), "runtime").expect("folder"),
            net,
            pins: PinRoot::new().expect("pin root"),
        };
        let config = config(stage.pins.path(), more);
        stage.daemon.configure(&config).expect("configuration");
        stage.write("web.yaml", &stage.manifests(""));
        stage
    }

    /// The same with a daemon that is ready.
    pub fn start(label: &str, more: &str) -> Self {
        let mut stage = Self::new(label, more);
        stage.run();
        stage
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.daemon.path(name)
    }

    pub fn config(&self) -> PathBuf {
        self.daemon.config()
    }

    pub fn socket(&self) -> PathBuf {
        self.path("terrace.sock")
    }

    /// A service with the workload and the remote backend behind it.
    pub fn manifests(&self, annotations: &str) -> String {
        let web = self.net.workload("web");
        let remote = self.net.backend("remote");
        format!(
            r#"
apiVersion: v1
kind: Service
metadata: {{ name: web, namespace: shop, annotations: {{ {annotations} }} }}
spec:
  clusterIP: {VIP}
  ports: [{{ port: 80, targetPort: {PORT} }}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: web-1
  namespace: shop
  labels: {{ kubernetes.io/service-name: web }}
addressType: IPv4
ports: [{{ port: {PORT} }}]
endpoints:
  - {{ addresses: ["{local}"], conditions: {{ ready: true }} }}
  - {{ addresses: ["{far}"], conditions: {{ ready: true }} }}
---
apiVersion: v1
kind: Pod
metadata:
  name: web
  namespace: shop
  labels: {{ app: web }}
  annotations: {{ terrace.io/interface: {iface} }}
spec: {{ nodeName: test-host, containers: [{{ name: web }}] }}
status: {{ podIP: {local}, podIPs: [{{ ip: {local} }}] }}
"#,
            local = web.v4,
            far = remote.v4,
            iface = web.host_iface,
        )
    }

    /// Puts a manifest in place, whole.
    pub fn write(&self, file: &str, text: &str) {
        self.daemon.write(file, text).expect("a manifest");
    }

    pub fn command(&self) -> Command {
        self.daemon.command(&["run", "--log", "debug"])
    }

    /// Starts the daemon and waits until it is ready.
    pub fn run(&mut self) {
        let command = self.command();
        self.run_command(command);
    }

    pub fn run_command(&mut self, command: Command) {
        let running = self.net.host.spawn(command).expect("start terrace");
        let ready = self.daemon.start(running, START);
        assert!(ready.is_ok(), "not ready:\n{}", self.log());
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.daemon.kill().expect("a running daemon");
    }

    /// SIGTERM; the daemon must end with 0.
    pub fn stop(&mut self) {
        self.daemon.stop(START).expect("terrace ends on SIGTERM");
    }

    /// Exit code and output of another command of `terrace`.
    pub fn terrace(&self, args: &[&str]) -> (i32, String) {
        let output = self.daemon.ask(&self.net.host, args).expect("run terrace");
        let text = [output.stdout, output.stderr].concat();
        let code = output.status.code().unwrap_or(-1);
        (code, String::from_utf8_lossy(&text).into_owned())
    }

    pub fn json(&self, args: &[&str]) -> Value {
        let (code, text) = self.terrace(&[args, &["--json"]].concat());
        assert_eq!(code, 0, "terrace {}: {text}", args.join(" "));
        serde_json::from_str(&text).expect("JSON")
    }

    pub fn status(&self) -> Value {
        self.json(&["status"])
    }

    /// Waits until `probe` finds what it looks for in the status.
    pub fn until(&self, what: &str, probe: impl Fn(&Value) -> bool) -> Value {
        let found = wait::until(what, wait::PATIENCE, || Some(self.status()).filter(&probe));
        found.unwrap_or_else(|error| panic!("{error}:\n{}", self.log()))
    }

    pub fn log(&self) -> String {
        self.daemon.log()
    }

    /// State of every backend, by its address.
    pub fn backends(&self) -> Vec<(String, String)> {
        let services = self.json(&["services"]);
        let backends = services[0]["backends"].as_array().expect("backends");
        let text = |value: &Value| value.as_str().expect("text").to_owned();
        backends
            .iter()
            .map(|backend| (text(&backend["address"]), text(&backend["state"])))
            .collect()
    }

    /// Kinds of the events so far.
    pub fn events(&self) -> Vec<String> {
        let status = self.status();
        let events = status["events"].as_array().expect("events").clone();
        let kind = |event: Value| event["kind"].as_str().expect("a kind").to_owned();
        events.into_iter().map(kind).collect()
    }

    /// Interface, hook and program of everything attached in the host.
    pub fn attached(&self) -> Vec<(String, String, u32)> {
        self.net
            .host
            .enter(|| {
                let tc = terrace_tc::list().expect("tc programs");
                let xdp = terrace_xdp::list().expect("XDP programs");
                let tc = tc
                    .into_iter()
                    .map(|a| (a.iface, format!("tc {}", a.direction), a.program_id));
                let xdp = xdp
                    .into_iter()
                    .map(|a| (a.iface, format!("xdp {}", a.mode), a.program_id));
                tc.chain(xdp).collect()
            })
            .expect("enter the host")
    }

    pub fn sysctl(&self, path: &str) -> String {
        let path = Path::new("/proc/sys/net").join(path);
        let read = || std::fs::read_to_string(&path).expect("a sysctl");
        let text = self.net.host.enter(read).expect("enter the host");
        text.trim().to_owned()
    }

    pub fn vip(&self) -> SocketAddr {
        SocketAddr::new(VIP.parse().expect("an address"), 80)
    }
}

fn config(pins: &Path, more: &str) -> String {
    let pins = pins.display();
    format!(
        r#"
manifests = "manifests"
node_name = "test-host"
control_socket = "terrace.sock"
metrics_listen = "127.0.0.1:{METRICS}"
pin_root = "{pins}"
{more}

[[interfaces]]
match = "up*"
role = "uplink"

[[interfaces]]
match = "w*"
role = "workload"

{LIMITS}"#
    )
}

/// systemd's end of sd_notify.
pub struct Systemd {
    socket: UnixDatagram,
}

impl Systemd {
    pub fn new(stage: &Stage, command: &mut Command) -> Self {
        let path = stage.path("notify.sock");
        let socket = UnixDatagram::bind(&path).expect("notify socket");
        socket.set_read_timeout(Some(START)).expect("a timeout");
        command.env("NOTIFY_SOCKET", path);
        Self { socket }
    }

    /// Waits for a message that has this line.
    pub fn wait_for(&self, line: &str) -> String {
        let mut bytes = [0; 4096];
        loop {
            let heard = wait::whole(|| self.socket.recv(&mut bytes));
            let n = heard.expect("a notification");
            let text = String::from_utf8_lossy(&bytes[..n]).into_owned();
            if text.lines().any(|found| found.starts_with(line)) {
                return text;
            }
            std::io::stdout().flush().expect("stdout");
        }
    }
}
