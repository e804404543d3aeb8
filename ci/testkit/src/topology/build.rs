//! Laying the links of a [`Topology`].

use super::{Node, Topology, Uplink, Workload};
use crate::link::{End, route, veth};
use crate::{Netns, Result};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const UPLINK: u8 = 10;
const CLIENT: u8 = 20;
const BACKEND: u8 = 30;
const WORKLOAD: u8 = 40;
/// What the router sends to the host: services, workloads.
const BEHIND_HOST: [(&str, &str); 2] = [
    ("10.96.0.0/12", "fd00:96::/32"),
    ("10.40.0.0/16", "fd00:40::/32"),
];

/// What a topology shall have; see [`Topology`].
#[derive(Debug)]
pub struct Builder {
    prefix: String,
    fixed_names: bool,
    mtu: u32,
    uplinks: u8,
    clients: Vec<String>,
    workloads: Vec<String>,
    backends: Vec<String>,
}

impl Builder {
    pub(super) fn for_test(label: &str) -> Self {
        Self {
            prefix: label.to_owned(),
            fixed_names: false,
            mtu: 1500,
            uplinks: 1,
            clients: Vec::new(),
            workloads: Vec::new(),
            backends: Vec::new(),
        }
    }

    pub(super) fn with_fixed_names(prefix: &str) -> Self {
        Self {
            fixed_names: true,
            ..Self::for_test(prefix)
        }
    }

    /// MTU of every link; 1500 unless told.
    pub fn mtu(mut self, mtu: u32) -> Self {
        self.mtu = mtu;
        self
    }

    /// Links between host and router; 1 unless told. The host's default route
    /// goes by the first.
    pub fn uplinks(mut self, n_uplinks: u8) -> Self {
        self.uplinks = n_uplinks;
        self
    }

    pub fn client(mut self, name: &str) -> Self {
        self.clients.push(name.to_owned());
        self
    }

    pub fn workload(mut self, name: &str) -> Self {
        self.workloads.push(name.to_owned());
        self
    }

    pub fn backend(mut self, name: &str) -> Self {
        self.backends.push(name.to_owned());
        self
    }

    pub fn build(self) -> Result<Topology> {
        let router = self.forwarder("router")?;
        let host = self.forwarder("host")?;
        let uplinks = (0..self.uplinks)
            .map(|n| self.uplink(n, &host, &router))
            .collect::<Result<Vec<_>>>()?;
        if let Some(first) = uplinks.first() {
            for (v4, v6) in BEHIND_HOST {
                route(&router, v4, first.v4.into())?;
                route(&router, v6, first.v6.into())?;
            }
            default_routes(&host, UPLINK, 0, 1)?;
        }
        Ok(Topology {
            clients: numbered(&self.clients, |n, name| {
                self.remote(CLIENT, n, name, &router)
            })?,
            workloads: numbered(&self.workloads, |n, name| self.workload_at(n, name, &host))?,
            backends: numbered(&self.backends, |n, name| {
                self.remote(BACKEND, n, name, &router)
            })?,
            uplinks,
            host,
            router,
            mtu: self.mtu,
        })
    }

    fn netns(&self, node: &str) -> Result<Netns> {
        if self.fixed_names {
            Netns::named(&format!("{}-{node}", self.prefix))
        } else {
            Netns::new(&format!("{}.{node}", self.prefix))
        }
    }

    fn forwarder(&self, node: &str) -> Result<Netns> {
        let ns = self.netns(node)?;
        ns.sysctl("net.ipv4.ip_forward", "1")?;
        ns.sysctl("net.ipv6.conf.all.forwarding", "1")?;
        for scope in ["all", "default"] {
            ns.sysctl(&format!("net.ipv4.conf.{scope}.rp_filter"), "0")?;
        }
        Ok(ns)
    }

    fn uplink(&self, n: u8, host: &Netns, router: &Netns) -> Result<Uplink> {
        let (iface, router_iface) = (format!("up{n}"), format!("host{n}"));
        self.link(UPLINK, n, (host, &iface, 2), (router, &router_iface, 1))?;
        router.act_as_wire(&router_iface)?;
        let (v4, v6) = addresses(UPLINK, n, 2);
        Ok(Uplink {
            iface,
            v4,
            v6,
            mac: mac(UPLINK, n, 2),
            router_iface,
            router_mac: mac(UPLINK, n, 1),
        })
    }

    fn remote(&self, net: u8, n: u8, name: &str, router: &Netns) -> Result<Node> {
        let kind = if net == CLIENT { "client" } else { "backend" };
        self.node(net, n, name, (router, &format!("{kind}{n}")))
    }

    fn workload_at(&self, n: u8, name: &str, host: &Netns) -> Result<Workload> {
        let host_iface = format!("w{n}");
        Ok(Workload {
            node: self.node(WORKLOAD, n, name, (host, &host_iface))?,
            host_iface,
            host_mac: mac(WORKLOAD, n, 1),
        })
    }

    fn node(&self, net: u8, n: u8, name: &str, (gateway, iface): (&Netns, &str)) -> Result<Node> {
        let ns = self.netns(name)?;
        self.link(net, n, (&ns, "net0", 2), (gateway, iface, 1))?;
        default_routes(&ns, net, n, 1)?;
        let (v4, v6) = addresses(net, n, 2);
        Ok(Node {
            name: name.to_owned(),
            ns,
            v4,
            v6,
            mac: mac(net, n, 2),
        })
    }

    fn link(
        &self,
        net: u8,
        n: u8,
        (a, a_name, a_host): (&Netns, &str, u8),
        (b, b_name, b_host): (&Netns, &str, u8),
    ) -> Result<()> {
        let (a_addresses, b_addresses) = (prefixes(net, n, a_host), prefixes(net, n, b_host));
        let a = End {
            ns: a,
            name: a_name,
            mac: mac(net, n, a_host),
            addresses: &a_addresses,
        };
        let b = End {
            ns: b,
            name: b_name,
            mac: mac(net, n, b_host),
            addresses: &b_addresses,
        };
        veth(&a, &b, self.mtu)
    }
}

fn numbered<T>(names: &[String], make: impl Fn(u8, &str) -> Result<T>) -> Result<Vec<T>> {
    (0u8..).zip(names).map(|(n, name)| make(n, name)).collect()
}

fn default_routes(ns: &Netns, net: u8, n: u8, gateway: u8) -> Result<()> {
    let (v4, v6) = addresses(net, n, gateway);
    route(ns, "default", v4.into())?;
    route(ns, "default", v6.into())
}

fn addresses(net: u8, n: u8, host: u8) -> (Ipv4Addr, Ipv6Addr) {
    // Written alike for people: 10.40.1.2 and fd00:40:1::2, so decimal as hex.
    let alike = |number: u8| u16::from(number / 10) * 16 + u16::from(number % 10);
    (
        Ipv4Addr::new(10, net, n, host),
        Ipv6Addr::new(0xfd00, alike(net), alike(n), 0, 0, 0, 0, u16::from(host)),
    )
}

fn prefixes(net: u8, n: u8, host: u8) -> [(IpAddr, u8); 2] {
    let (v4, v6) = addresses(net, n, host);
    [(v4.into(), 24), (v6.into(), 64)]
}

/// Locally administered, unique within a topology.
fn mac(net: u8, n: u8, host: u8) -> [u8; 6] {
    [0x02, 0x74, 0x72, net, n, host]
}
