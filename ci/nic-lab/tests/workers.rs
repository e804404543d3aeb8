//! The daemon's workers read the queues of real drivers themselves: requests of
//! HTTP come by zero-copy sockets where the kernel has them.

use serde_json::Value;
use std::net::SocketAddr;
use std::time::Duration;
use terrace_nic_lab::{Daemon, by_driver, kernel, sh};
use terrace_testkit::http::Connection;
use terrace_testkit::{HttpServer, Netns, Topology, manifests, wait};

/// A busy host lets a translated machine wait.
const LIMIT: Duration = Duration::from_secs(60);
const SERVICE: &str = "10.96.0.10:80";
const PORT: u16 = 8080;

/// Two NICs of one driver: an uplink of the host and a client beyond it.
struct Wire {
    uplink: String,
    client: Netns,
}

impl Wire {
    fn lay(host: &Netns, driver: &str, net: u8) -> Self {
        let nics = by_driver(driver);
        let [near, far] = nics.as_slice() else {
            panic!("{driver}: {nics:?}, and two are needed");
        };
        let uplink = format!("up{net}");
        let client = Netns::new("client").expect("a namespace");
        let (host_name, client_name) = (host.name(), client.name());
        sh(&format!(
            "ip link set {near} netns {host_name} name {uplink} && ip link set {far} netns {client_name} name net0"
        ));
        let host_side = [
            format!("addr add 10.{net}.0.1/24 dev {uplink}"),
            format!("link set {uplink} up"),
        ];
        host.ip(host_side).expect("the uplink");
        let client_side = [
            format!("addr add 10.{net}.0.2/24 dev net0"),
            "link set net0 up".to_owned(),
            format!("route add default via 10.{net}.0.1"),
        ];
        client.ip(client_side).expect("the client");
        Self { uplink, client }
    }

    /// Attaching and binding may reset the link.
    fn await_carrier(&self, host: &Netns) {
        for (ns, iface) in [(host, self.uplink.as_str()), (&self.client, "net0")] {
            let up = || {
                let said = ns.run("ip", &["-o", "link", "show", iface]).ok()?;
                said.contains("LOWER_UP").then_some(())
            };
            wait::until("the carrier", LIMIT, up).expect("a carrier");
        }
    }

    /// Asks for each path on a connection of its own.
    fn ask(&self, path: &str) -> (u16, String) {
        let to: SocketAddr = SERVICE.parse().expect("an address");
        let answer = Connection::open_within(&self.client, to, LIMIT)
            .and_then(|mut connection| connection.request(path));
        let (status, body) = answer.unwrap_or_else(|error| panic!("{}: {error}", self.uplink));
        (status, String::from_utf8_lossy(&body).into_owned())
    }

    /// Packets that XDP has given to workers' sockets on its queues, and that
    /// these have got.
    fn given_and_got(&self, daemon: &Daemon) -> (u64, u64) {
        let sum = |rows: &[&Value]| rows.iter().filter_map(|row| row["packets"].as_u64()).sum();
        let reasons = daemon.json("reasons");
        let given: Vec<&Value> = reasons
            .as_array()
            .into_iter()
            .flatten()
            .filter(|row| row["iface"] == self.uplink && row["hook"] == "xdp")
            .filter(|row| row["reason"] == "to_worker")
            .collect();
        let status = daemon.json("status");
        let workers = status["l7_workers"].as_array().into_iter().flatten();
        let sockets = workers.flat_map(|worker| worker["sockets"].as_array().into_iter().flatten());
        let got: Vec<&Value> = sockets
            .filter(|socket| socket["iface"] == self.uplink)
            .collect();
        (sum(&given), sum(&got))
    }
}

const WORKLOADS: &str = r#"
[[interfaces]]
match = "w*"
role = "workload"

"#;

/// Services `front`, `a` and `b`; routes of `front` to the others.
fn service(name: &str, address: &str, pods: &[&str]) -> String {
    let endpoints: String = pods
        .iter()
        .map(|ip| format!("  - {{ addresses: [{ip}], conditions: {{ ready: true }} }}\n"))
        .collect();
    format!(
        r#"
---
apiVersion: v1
kind: Service
metadata: {{ name: {name}, namespace: shop }}
spec:
  clusterIP: {address}
  ports: [{{ name: http, port: 80, targetPort: {PORT}, protocol: TCP }}]
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{ name: {name}, namespace: shop, labels: {{ kubernetes.io/service-name: {name} }} }}
addressType: IPv4
ports: [{{ name: http, port: {PORT}, protocol: TCP }}]
endpoints:
{endpoints}"#
    )
}

const ROUTES: &str = r#"
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: { name: front, namespace: shop }
spec:
  parentRefs: [{ group: "", kind: Service, name: front, port: 80 }]
  rules:
    - matches: [{ path: { type: PathPrefix, value: /a } }]
      backendRefs: [{ name: a, port: 80 }]
    - matches: [{ path: { type: PathPrefix, value: /b } }]
      backendRefs: [{ name: b, port: 80 }]
"#;

/// igb since 6.14, virtio with iommu_platform=on since 6.13.
fn mode() -> (&'static str, &'static str) {
    match kernel().as_str() {
        "new" => ("zero-copy", ""),
        _ => ("copy", "zero-copy is not tried: "),
    }
}

#[test]
fn requests_come_straight_from_the_queues_of_real_nics() {
    let net = Topology::new("zc").uplinks(0).workload("a").workload("b");
    let net = net.build().expect("a topology");
    let drivers = [("virtio_net", 77), ("igb", 78)];
    let wires = drivers.map(|(driver, number)| Wire::lay(&net.host, driver, number));
    let _servers: Vec<_> = net
        .workloads
        .iter()
        .map(|pod| HttpServer::start(&pod.ns, &pod.name, PORT).expect("nginx"))
        .collect();
    let pods: String = net
        .workloads
        .iter()
        .map(|pod| manifests::pod(pod, "lab"))
        .collect();
    let (a, b) = ("10.40.0.2", "10.40.1.2");
    let services = [
        service("front", "10.96.0.10", &[a, b]),
        service("a", "10.96.0.11", &[a]),
        service("b", "10.96.0.12", &[b]),
    ];
    let files = [
        ("pods.yaml", pods),
        ("services.yaml", services.concat()),
        ("routes.yaml", ROUTES.to_owned()),
    ];
    let daemon = Daemon::within(&net.host, WORKLOADS, &files);
    let (expected, why) = mode();
    for wire in &wires {
        daemon.until("the workers' sockets", || {
            let plan = daemon.json("plan");
            let mut readings = plan["readings"].as_array()?.iter();
            let reading = readings.find(|reading| reading["iface"] == wire.uplink)?;
            let told = reading["why"].as_str()?.starts_with(why);
            (reading["mode"] == expected && told).then_some(())
        });
        wire.await_carrier(&net.host);
        for round in 0..20 {
            for (path, answer) in [("/a", (200, "a\n")), ("/b", (200, "b\n"))] {
                let (status, body) = wire.ask(path);
                assert_eq!((status, body.as_str()), answer, "{} {round}", wire.uplink);
            }
        }
        assert_eq!(wire.ask("/nowhere").0, 404, "{}", wire.uplink);
        let (given, got) = wire.given_and_got(&daemon);
        // Of each connection its SYN, the ACK and the request at the least.
        assert!(given >= 41 * 3, "{}: {given}", wire.uplink);
        assert_eq!(given, got, "{}: each arrived", wire.uplink);
        println!("{}: {got} packets by {expected} sockets", wire.uplink);
    }
    // The kernel's own word, without any of Terrace's code.
    let sockets = net
        .host
        .run("ss", &["--xdp", "-a", "-e", "-m"])
        .expect("ss");
    println!("{sockets}");
    let zero_copy = sockets.matches(",zc:1").count();
    assert_eq!(zero_copy > 0, expected == "zero-copy", "{sockets}");
}
