//! The ways that the same traffic takes: each arm has a network of its own
//! that stays as it is, with its servers and what forwards.

mod counters;
mod daemon;
pub mod net;
mod running;
mod servers;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use tempfile::TempDir;

use crate::cpu;
use crate::library;
use crate::peer::{Dial, Peer, Values};
use crate::proof::{self, Counters, Label, Sent, Way};
use crate::scenario::{self, Cpus};
use crate::scratch;
pub use daemon::{Daemon, Setup, Work};
use net::{BACKEND, HOST, Net, UPLINK, WEB, WORKLOAD};
use running::Running;
use servers::Servers;

/// Of the service whose backends are in the local workload.
const SERVICE: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 10);
/// Of the service whose backend is remote, and its UDP ports.
const REMOTE: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 11);
const REMOTE_PORT: u16 = 53;
const BACKEND_PORT: u16 = 5300;
/// HTTP at the service; at backend a; at backend b; and at a server that
/// answers for both by itself, for those who route nothing.
const HTTP: u16 = 80;
const HTTP_A: u16 = 8080;
const HTTP_B: u16 = 8081;
const HTTP_BOTH: u16 = 8082;
/// Requests, connections and bulk.
const TCP: u16 = 5201;

/// Fields in the order of removal.
#[derive(Debug)]
pub struct Arm {
    pub name: String,
    label: Label,
    dial: Dial,
    way: What,
    _servers: Servers,
    pub net: Net,
    _folder: TempDir,
}

/// What forwards.
#[derive(Debug)]
enum What {
    Terrace(Box<Daemon>),
    Peer(Box<Running>),
}

/// Where everything that an arm needs comes from.
#[derive(Debug, Clone)]
pub struct Source {
    pub terrace: Option<PathBuf>,
    pub envoy: Option<PathBuf>,
    /// Of the scenario's file.
    pub folder: Option<PathBuf>,
    pub cpus: Cpus,
    pub topology: scenario::Topology,
    /// Whether the host's uplink is kept free: the load attaches there.
    pub bare: bool,
}

impl Arm {
    pub fn new(arm: &scenario::Arm, source: &Source) -> Result<Self> {
        let net = Net::new(source.topology.mtu)?;
        if source.topology.wire {
            net.act_as_wire()?;
        }
        let folder = scratch::folder()?;
        let values = values(arm, source, folder.path());
        let servers = match source.bare {
            true => Servers::default(),
            false => Servers::start(&net.web, source.cpus.server, folder.path(), &values)?,
        };
        let (way, label, dial) = if arm.is_terrace() {
            let tier = arm.tier.clone().unwrap_or_default();
            let daemon = terrace(arm, &tier, source, &net, &values)?;
            (
                What::Terrace(Box::new(daemon)),
                Label::Tier(tier),
                Dial::Service,
            )
        } else {
            let peer = peer_of(arm, source)?;
            let (label, dial) = (Label::Way(peer.way), peer.dial);
            let start = || Running::start(peer, &net.host, values, folder.path());
            let running = on_cpu(&net, source.cpus.peer, start)?;
            (What::Peer(Box::new(running)), label, dial)
        };
        Ok(Self {
            name: arm.name.clone(),
            label,
            dial,
            way,
            _servers: servers,
            net,
            _folder: folder,
        })
    }

    pub fn http(&self) -> SocketAddr {
        self.local(HTTP, HTTP_BOTH)
    }

    pub fn tcp(&self) -> SocketAddr {
        self.local(TCP, TCP)
    }

    fn local(&self, service: u16, backend: u16) -> SocketAddr {
        match self.dial {
            Dial::Backend => (WEB, backend).into(),
            Dial::Service => (SERVICE, service).into(),
            Dial::Host => (HOST, service).into(),
        }
    }

    /// Where packets for the remote backend are sent.
    pub fn remote(&self) -> (Ipv4Addr, u16) {
        match self.dial {
            Dial::Backend => (BACKEND, BACKEND_PORT),
            Dial::Service => (REMOTE, REMOTE_PORT),
            Dial::Host => (HOST, REMOTE_PORT),
        }
    }

    /// Nothing is let through: packets end at the host's uplink.
    pub fn drops(&self) -> bool {
        self.label == Label::Way(Way::Dropped)
    }

    pub fn counters(&self) -> Result<Counters> {
        let mut counters = counters::of_kernel(&self.net.host)?;
        match &self.way {
            What::Terrace(daemon) => {
                counters.exits = daemon.exits(&self.net.host)?;
                counters.work = daemon.work(&self.net.host)?;
            }
            What::Peer(peer) => counters.peer = peer.counted(&self.net.host)?,
        }
        Ok(counters)
    }

    /// The evidence in words, or why the run is void.
    pub fn judge(&self, moved: &Counters, sent: &Sent) -> Result<String, String> {
        let unit = match &self.way {
            What::Terrace(_) => None,
            What::Peer(peer) => peer.unit(),
        };
        proof::judge(&self.label, moved, sent, unit)
    }

    /// What the peer says that it is.
    pub fn version(&self) -> Option<String> {
        match &self.way {
            What::Terrace(_) => None,
            What::Peer(peer) => peer.version(&self.net.host),
        }
    }

    /// Role -> the CPU that it was last seen on.
    pub fn seen(&self) -> Vec<(&'static str, u32)> {
        let mut seen = self._servers.seen();
        let peer = match &self.way {
            What::Terrace(daemon) => Some(daemon.pid()),
            What::Peer(peer) => peer.pid(),
        };
        seen.extend(peer.and_then(cpu::last_of).map(|cpu| ("peer", cpu)));
        seen
    }
}

/// The peer of an arm.
pub fn peer_of(arm: &scenario::Arm, source: &Source) -> Result<Peer> {
    match (&arm.external, &arm.peer) {
        (Some(peer), _) => Ok(peer.clone()),
        (None, Some(name)) => Peer::find(name, source.folder.as_deref()),
        (None, None) => Ok(Peer::default()),
    }
}

fn terrace(
    arm: &scenario::Arm,
    tier: &str,
    source: &Source,
    net: &Net,
    values: &Values,
) -> Result<Daemon> {
    let binary = terrace_binary(source.terrace.as_deref())?;
    let names = match arm.manifests.is_empty() {
        true => vec!["services.yaml".to_owned()],
        false => arm.manifests.clone(),
    };
    let mut manifests = names
        .iter()
        .map(|name| {
            let text = values.fill(library::file(&format!("terrace/{name}"))?);
            Ok((name.clone(), text))
        })
        .collect::<Result<Vec<_>>>()?;
    manifests.push(("others.yaml".to_owned(), others(arm.rules)));
    let setup = Setup {
        manifests,
        wish: arm.wish.as_deref().unwrap_or(tier).to_owned(),
        cpu: source.cpus.peer,
        wait: arm.wait.clone(),
        uplink_sockets: arm.uplink_sockets.clone(),
        in_kernel: tier == "in-kernel",
        ..Setup::default()
    };
    let start = || Daemon::start(&net.host, &binary, &setup);
    on_cpu(net, source.cpus.peer, start)
}

/// So many other services, at the addresses that the peers' rules have.
fn others(count: u32) -> String {
    let one = |i: u32| {
        let address = Ipv4Addr::from_bits(0x0a6f_0000 + ((i / 250) << 8) + i % 250 + 1);
        format!(
            "---\napiVersion: v1\nkind: Service\nmetadata: {{ name: other-{i} }}\nspec:\n  clusterIP: {address}\n  ports: [{{ port: 80 }}]\n---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata:\n  name: other-{i}-1\n  labels: {{ kubernetes.io/service-name: other-{i} }}\naddressType: IPv4\nports: [{{ port: 80 }}]\nendpoints: [{{ addresses: [10.30.1.{}] }}]\n",
            i % 250 + 1
        )
    };
    (0..count).map(one).collect()
}

/// Runs on a thread of the host that is tied to a CPU, as all that it starts is.
pub fn on_cpu<T: Send>(
    net: &Net,
    cpu: usize,
    work: impl FnOnce() -> Result<T> + Send,
) -> Result<T> {
    net.host.enter(|| {
        cpu::pin(cpu)?;
        work()
    })?
}

fn values(arm: &scenario::Arm, source: &Source, folder: &Path) -> Values {
    let mut values = Values::default();
    let addresses = [
        ("service", SERVICE),
        ("remote", REMOTE),
        ("host", HOST),
        ("backend", WEB),
        ("remote_backend", BACKEND),
    ];
    for (name, address) in addresses {
        values.set(name, address);
    }
    let ports = [
        ("http", HTTP),
        ("http_a", HTTP_A),
        ("http_b", HTTP_B),
        ("http_both", HTTP_BOTH),
        ("tcp", TCP),
        ("udp", REMOTE_PORT),
        ("udp_backend", BACKEND_PORT),
    ];
    for (name, port) in ports {
        values.set(name, port);
    }
    values.set("uplink", UPLINK);
    values.set("workload", WORKLOAD);
    values.set("rules", arm.rules);
    values.set("cpu", source.cpus.peer);
    values.set("folder", folder.display());
    let envoy = source.envoy.as_deref().unwrap_or(Path::new("envoy"));
    values.set("envoy", envoy.display());
    values
}

/// The `terrace` beside this program, where cargo puts both.
pub fn terrace_binary(given: Option<&Path>) -> Result<PathBuf> {
    if let Some(path) = given {
        return Ok(path.to_owned());
    }
    let beside = std::env::current_exe()?.with_file_name("terrace");
    anyhow::ensure!(
        beside.exists(),
        "{} does not exist: run `cargo build --release -p terrace` first",
        beside.display()
    );
    beside.canonicalize().context("find terrace")
}
