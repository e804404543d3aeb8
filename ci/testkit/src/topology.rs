//! The network that tests and the demo run in: one router, everything on it.
//!
//! ```text
//!  client 0..  10.20.c.2 --- 10.20.c.1 +--------+
//!                                      | router | 10.10.u.1 --- 10.10.u.2 (up<u>) host
//!  backend 0.. 10.30.b.2 --- 10.30.b.1 +--------+                 10.40.w.1 (w<w>)
//!                                                                       |
//!                                                      workload 0..  10.40.w.2
//! ```
//!
//! IPv6 has the same numbers: 10.A.n.h is fd00:A:n::h. The router sends
//! 10.96.0.0/12 and fd00:96::/32 (service addresses) and 10.40.0.0/16 and
//! fd00:40::/32 (workloads) to the host's first uplink. Interfaces inside
//! clients, backends and workloads are called `net0`.

mod build;

pub use build::Builder;

use crate::Netns;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A client, remote backend or workload: one namespace, one interface `net0`.
#[derive(Debug)]
pub struct Node {
    pub name: String,
    pub ns: Netns,
    pub v4: Ipv4Addr,
    pub v6: Ipv6Addr,
    pub mac: [u8; 6],
}

impl Node {
    /// Both addresses, IPv4 first.
    pub fn addresses(&self) -> [IpAddr; 2] {
        [self.v4.into(), self.v6.into()]
    }
}

/// A local workload; it derefs to its [`Node`].
#[derive(Debug)]
pub struct Workload {
    pub node: Node,
    /// Its host side, in the host's namespace.
    pub host_iface: String,
    pub host_mac: [u8; 6],
}

impl std::ops::Deref for Workload {
    type Target = Node;
    fn deref(&self) -> &Node {
        &self.node
    }
}

/// One of the host's interfaces towards the network.
#[derive(Debug)]
pub struct Uplink {
    /// Name in the host's namespace.
    pub iface: String,
    pub v4: Ipv4Addr,
    pub v6: Ipv6Addr,
    pub mac: [u8; 6],
    /// The other end, in the router's namespace.
    pub router_iface: String,
    pub router_mac: [u8; 6],
}

#[derive(Debug)]
pub struct Topology {
    // In the order of removal: what runs at the edge goes first.
    pub clients: Vec<Node>,
    pub workloads: Vec<Workload>,
    pub backends: Vec<Node>,
    pub uplinks: Vec<Uplink>,
    pub host: Netns,
    pub router: Netns,
    pub mtu: u32,
}

impl Topology {
    /// A test's topology: namespaces `terrace-<label>.<node>-<pid>-<n>`.
    #[allow(clippy::new_ret_no_self, reason = "the builder is the way to one")]
    pub fn new(label: &str) -> Builder {
        Builder::for_test(label)
    }

    /// Namespaces with the fixed names `<prefix>-<node>`, `<prefix>-host`,
    /// `<prefix>-router`.
    pub fn named(prefix: &str) -> Builder {
        Builder::with_fixed_names(prefix)
    }

    /// The client of that name; a name that was never built is a wrong test.
    pub fn client(&self, name: &str) -> &Node {
        find(&self.clients, |node| node, name)
    }

    pub fn workload(&self, name: &str) -> &Workload {
        find(&self.workloads, |workload| &workload.node, name)
    }

    pub fn backend(&self, name: &str) -> &Node {
        find(&self.backends, |node| node, name)
    }
}

fn find<'a, T>(all: &'a [T], node: impl Fn(&T) -> &Node, name: &str) -> &'a T {
    all.iter()
        .find(|one| node(one).name == name)
        .unwrap_or_else(|| panic!("no node `{name}` in this topology"))
}
