//! One way for the same traffic: a network, its servers, and what forwards.

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;

use anyhow::{Result, ensure};
use terrace_testkit::{Background, HttpServer, wait};

use super::daemon::Daemon;
use super::net::{BACKEND, Net, WEB, WORKLOAD};
use super::terrace_binary;

const HTTP: u16 = 8080;
const BULK: u16 = 5201;
/// Of the service whose backend is the local workload.
const LOCAL: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 10);
/// Of the service whose backend is remote, and its UDP ports.
pub const REMOTE: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 11);
pub const REMOTE_PORT: u16 = 53;
pub const BACKEND_PORT: u16 = 5300;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The host routes; the client knows the backend's address.
    Plain,
    /// The host routes, nftables translates.
    Nft,
    Terrace {
        /// Services at native XDP, else all at tc.
        xdp: bool,
    },
    /// The host drops everything at its uplink.
    Floor,
}

/// Fields in the order of removal.
#[derive(Debug)]
pub struct Arm {
    kind: Kind,
    daemon: Option<Daemon>,
    _servers: Option<(HttpServer, Background)>,
    pub net: Net,
}

impl Arm {
    /// With servers in the workload.
    pub fn new(kind: Kind, binary: Option<&Path>) -> Result<Self> {
        let mut arm = Self::bare(kind, binary)?;
        let web = &arm.net.web;
        let http = HttpServer::start(web, "web", HTTP)?;
        let mut command = Command::new("iperf3");
        command.args(["-s", "-p", &BULK.to_string()]);
        let bulk = web.spawn(command)?;
        let local = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), BULK);
        wait::port(web, local, wait::PATIENCE)?;
        arm._servers = Some((http, bulk));
        Ok(arm)
    }

    /// Without servers.
    pub fn bare(kind: Kind, binary: Option<&Path>) -> Result<Self> {
        let net = Net::new()?;
        let mut arm = Self {
            kind,
            daemon: None,
            _servers: None,
            net,
        };
        match kind {
            Kind::Plain | Kind::Floor => {}
            Kind::Nft => load_nft(&arm.net)?,
            Kind::Terrace { xdp } => {
                let binary = terrace_binary(binary)?;
                let text = manifests();
                arm.daemon = Some(Daemon::start(&arm.net.host, &binary, &text, xdp)?);
            }
        }
        Ok(arm)
    }

    pub fn kind(&self) -> Kind {
        self.kind
    }

    pub fn name(&self) -> &'static str {
        match self.kind {
            Kind::Plain => "plain forwarding",
            Kind::Nft => "nftables NAT",
            Kind::Terrace { xdp: false } => "Terrace (tc)",
            Kind::Terrace { xdp: true } => "Terrace (XDP)",
            Kind::Floor => "drop at the uplink",
        }
    }

    pub fn http(&self) -> SocketAddr {
        self.local(80, HTTP)
    }

    pub fn bulk(&self) -> SocketAddr {
        self.local(BULK, BULK)
    }

    fn local(&self, service: u16, backend: u16) -> SocketAddr {
        match self.kind {
            Kind::Plain | Kind::Floor => (WEB, backend).into(),
            Kind::Nft | Kind::Terrace { .. } => (LOCAL, service).into(),
        }
    }

    /// Where packets for the remote backend are sent.
    pub fn remote(&self) -> (Ipv4Addr, u16) {
        match self.kind {
            Kind::Plain | Kind::Floor => (BACKEND, BACKEND_PORT),
            Kind::Nft | Kind::Terrace { .. } => (REMOTE, REMOTE_PORT),
        }
    }

    /// The counters say that the traffic really went this way.
    pub fn proved(&self) -> Result<()> {
        let host = &self.net.host;
        let moved = match (&self.kind, &self.daemon) {
            (Kind::Nft, _) => {
                let rules = host.run("nft", &["list", "table", "ip", "bench"])?;
                let used = |rule: &str| !rule.contains("packets 0 ");
                rules
                    .lines()
                    .any(|rule| rule.contains("dnat to") && used(rule))
            }
            (Kind::Terrace { xdp: false }, Some(daemon)) => daemon.count(host, "to_workload")? > 0,
            (_, Some(daemon)) => daemon.count(host, "tx")? + daemon.count(host, "redirect")? > 0,
            _ => true,
        };
        ensure!(moved, "{}: its counters did not move", self.name());
        Ok(())
    }
}

fn load_nft(net: &Net) -> Result<()> {
    let rules = format!(
        "table ip bench {{\n chain pre {{ type nat hook prerouting priority dstnat;\n  ip daddr {LOCAL} tcp dport 80 counter dnat to {WEB}:{HTTP}\n  ip daddr {LOCAL} tcp dport {BULK} counter dnat to {WEB}:{BULK}\n  ip daddr {REMOTE} udp dport {REMOTE_PORT} counter dnat to {BACKEND}:{BACKEND_PORT}\n }}\n chain post {{ type nat hook postrouting priority srcnat;\n  ip daddr {BACKEND} counter masquerade\n }}\n}}\n"
    );
    let mut file = tempfile::NamedTempFile::new()?;
    file.write_all(rules.as_bytes())?;
    let path = file.path().to_string_lossy();
    net.host.run("nft", &["-f", &path])?;
    Ok(())
}

fn manifests() -> String {
    let local = slice(
        "local",
        &format!("{{ name: http, port: {HTTP} }}, {{ name: bulk, port: {BULK} }}"),
        WEB,
    );
    let remote = slice(
        "remote",
        &format!("{{ name: dns, port: {BACKEND_PORT}, protocol: UDP }}"),
        BACKEND,
    );
    format!(
        "---\napiVersion: v1\nkind: Pod\nmetadata:\n  name: web\n  labels: {{ app: web }}\n  annotations: {{ terrace.io/interface: {WORKLOAD} }}\nspec: {{ nodeName: bench, containers: [{{ name: main }}] }}\nstatus: {{ podIP: {WEB} }}\n---\napiVersion: v1\nkind: Service\nmetadata: {{ name: local }}\nspec:\n  clusterIP: {LOCAL}\n  ports: [{{ name: http, port: 80 }}, {{ name: bulk, port: {BULK} }}]\n---\napiVersion: v1\nkind: Service\nmetadata: {{ name: remote }}\nspec:\n  clusterIP: {REMOTE}\n  ports: [{{ name: dns, port: {REMOTE_PORT}, protocol: UDP }}]\n{local}{remote}"
    )
}

fn slice(service: &str, ports: &str, address: Ipv4Addr) -> String {
    format!(
        "---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata:\n  name: {service}-1\n  labels: {{ kubernetes.io/service-name: {service} }}\naddressType: IPv4\nports: [{ports}]\nendpoints: [{{ addresses: [{address}] }}]\n"
    )
}
