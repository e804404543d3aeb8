//! A host, a workload, a remote backend, and a cgroup that `terrace` serves.

use std::ffi::OsStr;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use terrace_testkit::scripts::DIAL;
use terrace_testkit::{Agent, Cgroup, Daemon, Netns, PinRoot, Topology, manifests, wait};

pub const START: Duration = Duration::from_secs(120);

/// Says its name to TCP, and repeats datagrams after its name.
const SERVER: &str = r#"
def tcp(l):
    def serve(c):
        try:
            c.sendall((NAME + '\n').encode())
            while True:
                data = c.recv(65536)
                if not data:
                    break
                c.sendall(data)
        except OSError:
            pass
        c.close()
    while True:
        c, _ = l.accept()
        threading.Thread(target=serve, args=(c,), daemon=True).start()
def udp(s):
    while True:
        data, source = s.recvfrom(65536)
        s.sendto(NAME.encode() + b':' + data, source)
l = socket.socket(socket.AF_INET6)
l.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
l.bind(('::', 9000)); l.listen(4096)
u4 = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); u4.bind((V4, 9000))
u6 = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM); u6.bind((V6, 9000))
threading.stack_size(262144)
threading.Thread(target=tcp, args=(l,), daemon=True).start()
for u in (u4, u6):
    threading.Thread(target=udp, args=(u,), daemon=True).start()
result = 'ready'
"#;

pub const TOOLS: &str = r#"
def ask(s, text):
    s.send(text.encode())
    return s.recv(65536).decode()
"#;

pub struct Stage {
    daemon: Daemon,
    // Before the namespaces: what runs in them goes first.
    servers: Vec<Agent>,
    pub net: Topology,
    pub cgroup: Cgroup,
    pub pins: PinRoot,
}

impl Stage {
    /// Workloads `web` and `app`, backend `remote`; the service `web` with
    /// `web` and `remote` behind it. `socket` is the section [socket].
    pub fn new(label: &str, socket: &str) -> Self {
        let net = Topology::new(label)
            .workload("web")
            .workload("app")
            .backend("remote");
        let net = net.build().expect("topology");
        let mut stage = Self {
            daemon: Daemon::new(env!("CARGO_BIN_EXE_terrace"), "sockets").expect("folder"),
            servers: Vec::new(),
            net,
            cgroup: Cgroup::new().expect("cgroup"),
            pins: PinRoot::new().expect("pin root"),
        };
        stage.configure(socket);
        stage.serve();
        stage.write("web.yaml", &stage.service(""));
        stage.write("slices.yaml", &stage.slices(&["web", "remote"]));
        stage.write("pods.yaml", &(stage.pod("web", "") + &stage.pod("app", "")));
        stage
    }

    /// The same with a daemon that is ready.
    pub fn start(label: &str, socket: &str) -> Self {
        let mut stage = Self::new(label, socket);
        stage.run();
        stage
    }

    fn serve(&mut self) {
        for name in ["web", "remote"] {
            let node = self.node(name);
            let mut server = Agent::start(&node.ns, None).expect("a server");
            let head = format!("NAME, V4, V6 = '{name}', '{}', '{}'\n", node.v4, node.v6);
            assert_eq!(server.run(&(head + SERVER)), "\"ready\"");
            self.servers.push(server);
        }
    }

    fn node(&self, name: &str) -> &terrace_testkit::Node {
        match name {
            "remote" => self.net.backend(name),
            name => &self.net.workload(name).node,
        }
    }

    pub fn configure(&self, socket: &str) {
        let cgroup = self.cgroup.path().display();
        let socket = socket.replace("CGROUP", &format!("cgroup = \"{cgroup}\""));
        let text = format!(
            "manifests = \"manifests\"\nnode_name = \"test-host\"\n\
             control_socket = \"terrace.sock\"\nmetrics_listen = \"127.0.0.1:9477\"\n\
             pin_root = \"{}\"\n\
             [[interfaces]]\nmatch = \"up*\"\nrole = \"uplink\"\n\
             [interfaces.tiers.steer]\ntc = \"require\"\n\
             [[interfaces]]\nmatch = \"w*\"\nrole = \"workload\"\n\
             [limits]\nflows = 8192\nservices = 256\nservice_cells = 256\nbackends = 1024\n\
             endpoints = 1024\naddress_cells = 1024\ndeny_cells = 1024\npolicy_cells = 1024\n\
             affinities = 1024\nfragments = 256\n{socket}\n",
            self.pins.path().display()
        );
        self.daemon.configure(&text).expect("configuration");
    }

    /// The Service `web`, TCP 80 and UDP 81, node ports 30080 and 30081.
    pub fn service(&self, annotations: &str) -> String {
        format!(
            r#"
apiVersion: v1
kind: Service
metadata: {{ name: web, namespace: shop, annotations: {{ {annotations} }} }}
spec:
  type: NodePort
  clusterIP: 10.96.0.10
  clusterIPs: [10.96.0.10, "fd00:96::10"]
  ipFamilies: [IPv4, IPv6]
  ipFamilyPolicy: RequireDualStack
  ports:
    - {{ name: tcp, port: 80, targetPort: 9000, nodePort: 30080, protocol: TCP }}
    - {{ name: udp, port: 81, targetPort: 9000, nodePort: 30081, protocol: UDP }}
"#
        )
    }

    /// EndpointSlices of both families with these backends.
    pub fn slices(&self, names: &[&str]) -> String {
        let mut text = String::new();
        for (family, v4) in [("IPv4", true), ("IPv6", false)] {
            let endpoints: Vec<String> = names
                .iter()
                .map(|name| {
                    let node = self.node(name);
                    let address = if v4 {
                        node.v4.to_string()
                    } else {
                        node.v6.to_string()
                    };
                    format!("{{ addresses: [\"{address}\"], conditions: {{ ready: true }} }}")
                })
                .collect();
            text.push_str(&format!(
                r#"
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: web-{low}
  namespace: shop
  labels: {{ kubernetes.io/service-name: web }}
addressType: {family}
ports:
  - {{ name: tcp, port: 9000, protocol: TCP }}
  - {{ name: udp, port: 9000, protocol: UDP }}
endpoints: [{endpoints}]
"#,
                low = family.to_lowercase(),
                endpoints = endpoints.join(", ")
            ));
        }
        text
    }

    pub fn pod(&self, name: &str, annotations: &str) -> String {
        manifests::pod_with(self.net.workload(name), "test-host", annotations)
    }

    /// Puts a manifest in place, whole.
    pub fn write(&self, file: &str, text: &str) {
        self.daemon.write(file, text).expect("a manifest");
    }

    /// Changes a manifest and waits until it is applied.
    pub fn change(&self, file: &str, text: &str) {
        self.write(file, text);
        let (done, text) = self.terrace(&["reload"]);
        assert!(done, "terrace reload: {text}");
    }

    /// Starts the daemon and waits until it is ready.
    pub fn run(&mut self) {
        assert!(self.try_run(), "not ready:\n{}", self.log());
    }

    /// False: it has ended.
    pub fn try_run(&mut self) -> bool {
        self.try_run_by(&[])
    }

    /// Through another program that starts it.
    pub fn try_run_by(&mut self, by: &[&str]) -> bool {
        let run = self.daemon.command(&["run", "--log", "debug"]);
        let words = by.iter().map(OsStr::new);
        let words = words.chain([run.get_program()]).chain(run.get_args());
        let words: Vec<&OsStr> = words.collect();
        let mut command = Command::new(words[0]);
        command.args(&words[1..]);
        let running = self.net.host.spawn(command).expect("start terrace");
        self.daemon.start(running, START).is_ok()
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
        let text = [output.stdout, output.stderr].concat();
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

    pub fn log(&self) -> String {
        self.daemon.log()
    }

    /// Waits until the log says this.
    pub fn wait_for_log(&mut self, text: &str) {
        let daemon = self.daemon.running().expect("a running daemon");
        daemon
            .wait_for_log(text, wait::PATIENCE)
            .unwrap_or_else(|error| panic!("{error}"));
    }

    pub fn count(&self, reason: &str) -> u64 {
        let counts = self.json(&["reasons", "--all"]);
        let rows = counts.as_array().expect("an array of reasons");
        let found = rows.iter().filter(|row| row["reason"] == reason);
        found.filter_map(|row| row["packets"].as_u64()).sum()
    }

    /// A process in the host's namespace and the cgroup.
    pub fn on_host(&self) -> Agent {
        self.agent(&self.net.host, &[])
    }

    /// A process of a workload.
    pub fn inside(&self, workload: &str) -> Agent {
        self.agent(&self.net.workload(workload).ns, &[])
    }

    pub fn agent(&self, ns: &Netns, by: &[&str]) -> Agent {
        let mut agent = Agent::start_as(ns, Some(&self.cgroup), by).expect("a process");
        assert_eq!(agent.run(&[DIAL, TOOLS].concat()), "null");
        agent
    }
}
