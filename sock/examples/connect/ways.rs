//! The ways, each in a namespace of its own, all to one backend.

use std::fs;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use rustix::net;
use terrace_abi::Limits;
use terrace_sock::Cgroup as Target;
use terrace_sock::connect::{ConnectPrograms, Options, netns_cookie};
use terrace_testkit::link::{self, End};
use terrace_testkit::{Cgroup, Netns, cgroup};

use crate::tables::{Kind, TCP, Tables};
use crate::{in_cgroup, serve};

const PORT: u16 = 9000;
const WARM: usize = 5;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// To the backend, no program there.
    Direct,
    /// To the backend, past the programs.
    Armed,
    Socket,
    Nftables,
    Iptables,
    /// To a local port, one rule whatever the number of services.
    Redirect,
}

pub const WAYS: [Way; 6] = [
    Way::Direct,
    Way::Armed,
    Way::Socket,
    Way::Nftables,
    Way::Iptables,
    Way::Redirect,
];

impl Way {
    pub fn name(self) -> &'static str {
        match self {
            Self::Direct => "the backend itself",
            Self::Armed => "the backend itself, programs attached",
            Self::Socket => "service, socket tier",
            Self::Nftables => "service, nftables DNAT (map)",
            Self::Iptables => "service, iptables DNAT",
            Self::Redirect => "iptables REDIRECT to a local port, 1 rule",
        }
    }
}

pub struct Lab {
    services: u32,
    home: PathBuf,
    _programs: ConnectPrograms,
    _tables: Tables,
    cgroup: Cgroup,
    near: Vec<(Way, Netns)>,
    _far: Netns,
}

impl Lab {
    pub fn new(services: u32) -> Result<Self> {
        let far = Netns::new("bench")?;
        serve(&far, PORT)?;
        let mut near = Vec::new();
        for (i, way) in (0u8..).zip(WAYS) {
            let ns = Netns::new("bench")?;
            join(&ns, &far, i)?;
            rules(&ns, way, services, backend(i))?;
            near.push((way, ns));
        }
        serve(&near[WAYS.len() - 1].1, PORT + 1)?;
        let limits = Limits {
            services: 16_384,
            service_cells: 16_384,
            ..Limits::small()
        };
        let mut tables = Tables::with(&limits);
        let first = tables.service(service(0), Kind::new(TCP), &[backend(2)]);
        (1..services).for_each(|i| tables.alike(service(i), &first));
        let cookie = near[2].1.enter(netns_cookie)??;
        let options = Options {
            host_netns: cookie,
            ..Options::default()
        };
        let programs = ConnectPrograms::load(&tables.maps, &options)?;
        let cgroup = Cgroup::new()?;
        programs.attach(&Target::open(cgroup.path())?)?;
        Ok(Self {
            services,
            home: home()?,
            _programs: programs,
            _tables: tables,
            cgroup,
            near,
            _far: far,
        })
    }

    /// The median time of one connect() of `n`.
    pub fn median(&self, way: Way, n: usize) -> Result<Duration> {
        let place = match in_cgroup(way) {
            true => self.cgroup.path().to_owned(),
            false => self.home.clone(),
        };
        fs::write(place.join("cgroup.procs"), std::process::id().to_string())
            .context("change the cgroup")?;
        let (i, (_, ns)) = (0u8..)
            .zip(&self.near)
            .find(|(_, (of, _))| *of == way)
            .context("every way has a namespace")?;
        let to = |k: usize| match way {
            Way::Direct | Way::Armed => backend(i),
            Way::Redirect => SocketAddr::new(service(0).ip(), 80),
            _ => service((k as u32).wrapping_mul(2_654_435_761) % self.services),
        };
        // The first ones find cold caches after another way's turn.
        let times = ns.enter(|| {
            (0..WARM).try_for_each(|k| connect(to(k)).map(drop))?;
            (0..n).map(|k| connect(to(k))).collect::<Result<Vec<_>>>()
        })??;
        fs::write(
            self.home.join("cgroup.procs"),
            std::process::id().to_string(),
        )
        .context("change the cgroup")?;
        Ok(median_of(times))
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        // Or the cgroup's guard would end this very process.
        let _ = fs::write(
            self.home.join("cgroup.procs"),
            std::process::id().to_string(),
        );
    }
}

pub fn median_of(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn connect(to: SocketAddr) -> Result<Duration> {
    let stream = net::socket(net::AddressFamily::INET, net::SocketType::STREAM, None)?;
    let start = Instant::now();
    let connected = net::connect(&stream, &to);
    let time = start.elapsed();
    connected.with_context(|| format!("connect to {to}"))?;
    // No TIME_WAIT: ports would run out.
    net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO))?;
    Ok(time)
}

/// The cgroup of version 2 that this process is in.
fn home() -> Result<PathBuf> {
    let text = fs::read_to_string("/proc/self/cgroup")?;
    let own = text.lines().find_map(|line| line.strip_prefix("0::/"));
    Ok(cgroup::root()?.join(own.unwrap_or_default()))
}

fn service(i: u32) -> SocketAddr {
    let base = u32::from(Ipv4Addr::new(10, 96, 0, 1));
    SocketAddr::from((Ipv4Addr::from(base + i), 80))
}

/// Each way has a link of its own to the one far namespace.
fn backend(way: u8) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::new(10, 1, way, 2), PORT))
}

fn join(near: &Netns, far: &Netns, way: u8) -> Result<()> {
    let near_address = [(IpAddr::from([10, 1, way, 1]), 24)];
    let far_address = [(IpAddr::from([10, 1, way, 2]), 24)];
    let near_end = End {
        ns: near,
        name: "net0",
        mac: [2, 0, 0, 0, way, 1],
        addresses: &near_address,
    };
    let name = format!("net{way}");
    let far_end = End {
        ns: far,
        name: &name,
        mac: [2, 0, 0, 0, way, 2],
        addresses: &far_address,
    };
    link::veth(&near_end, &far_end, 1500)?;
    link::route(near, "default", IpAddr::from([10, 1, way, 2]))?;
    Ok(())
}

fn rules(ns: &Netns, way: Way, services: u32, to: SocketAddr) -> Result<()> {
    match way {
        Way::Nftables => feed(ns, &["nft", "-f", "-"], &nftables(services, to)),
        Way::Iptables => feed(ns, &["iptables-legacy-restore"], &iptables(services, to)),
        Way::Redirect => {
            let port = (PORT + 1).to_string();
            let rule = format!("-t nat -A OUTPUT -p tcp -j REDIRECT --to-ports {port}");
            let args: Vec<&str> = rule.split(' ').collect();
            ns.run("iptables-legacy", &args)?;
            Ok(())
        }
        _ => Ok(()),
    }
}

fn nftables(services: u32, to: SocketAddr) -> String {
    let elements: Vec<String> = (0..services)
        .map(|i| {
            let at = service(i);
            format!("{} . {} : {} . {}", at.ip(), at.port(), to.ip(), to.port())
        })
        .collect();
    format!(
        "table ip bench {{\n map services {{\n  type ipv4_addr . inet_service : ipv4_addr . \
         inet_service\n  elements = {{ {} }}\n }}\n chain output {{\n  type nat hook output \
         priority -100;\n  dnat ip to ip daddr . tcp dport map @services\n }}\n}}\n",
        elements.join(", ")
    )
}

fn iptables(services: u32, to: SocketAddr) -> String {
    let rules: String = (0..services)
        .map(|i| {
            let at = service(i);
            format!(
                "-A OUTPUT -d {}/32 -p tcp -m tcp --dport {} -j DNAT --to-destination {to}\n",
                at.ip(),
                at.port()
            )
        })
        .collect();
    format!("*nat\n{rules}COMMIT\n")
}

fn feed(ns: &Netns, words: &[&str], input: &str) -> Result<()> {
    let mut child = ns.enter(|| {
        Command::new(words[0])
            .args(&words[1..])
            .stdin(Stdio::piped())
            .spawn()
    })??;
    let mut stdin = child.stdin.take().context("stdin is piped")?;
    stdin.write_all(input.as_bytes())?;
    drop(stdin);
    let status = child.wait()?;
    ensure!(status.success(), "{words:?}: {status}");
    Ok(())
}
