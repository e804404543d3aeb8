//! The network of one arm: the outside world, the host, a workload.
//!
//! ```text
//!  outside  10.10.0.1 --- 10.10.0.2 (up0) host (w0) 10.40.0.1 --- 10.40.0.2 web
//! ```
//!
//! The outside is the client and the way to the remote backend. Its interface
//! is as people have theirs: all offloads on, no XDP program.

use std::net::{IpAddr, Ipv4Addr};

use anyhow::Result;
use terrace_testkit::Netns;
use terrace_testkit::link::{End, mac_text, route, veth};

pub const UPLINK: &str = "up0";
pub const WORKLOAD: &str = "w0";
pub const OUTSIDE: Ipv4Addr = Ipv4Addr::new(10, 10, 0, 1);
pub const HOST: Ipv4Addr = Ipv4Addr::new(10, 10, 0, 2);
const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 40, 0, 1);
pub const WEB: Ipv4Addr = Ipv4Addr::new(10, 40, 0, 2);
/// Behind the outside.
pub const BACKEND: Ipv4Addr = Ipv4Addr::new(10, 30, 0, 2);
pub const OUTSIDE_MAC: [u8; 6] = [2, 0x74, 0x72, 1, 0, 1];
pub const UPLINK_MAC: [u8; 6] = [2, 0x74, 0x72, 1, 0, 2];
const GATEWAY_MAC: [u8; 6] = [2, 0x74, 0x72, 4, 0, 1];
const WEB_MAC: [u8; 6] = [2, 0x74, 0x72, 4, 0, 2];
/// Inside the outside and the workload.
pub const NIC: &str = "net0";

/// In the order of removal.
#[derive(Debug)]
pub struct Net {
    pub outside: Netns,
    pub web: Netns,
    pub host: Netns,
}

impl Net {
    pub fn new(mtu: u32) -> Result<Self> {
        let net = Self {
            outside: Netns::new("bench.outside")?,
            web: Netns::new("bench.web")?,
            host: Netns::new("bench.host")?,
        };
        join(
            (&net.outside, NIC, OUTSIDE_MAC, OUTSIDE),
            (&net.host, UPLINK, UPLINK_MAC, HOST),
            mtu,
        )?;
        join(
            (&net.web, NIC, WEB_MAC, WEB),
            (&net.host, WORKLOAD, GATEWAY_MAC, GATEWAY),
            mtu,
        )?;
        for prefix in ["10.96.0.0/12", "10.40.0.0/16", "10.30.0.0/16"] {
            route(&net.outside, prefix, HOST.into())?;
        }
        route(&net.host, "default", OUTSIDE.into())?;
        route(&net.web, "default", GATEWAY.into())?;
        net.settle()?;
        Ok(net)
    }

    /// What comes from outside is as it would be on a wire.
    pub fn act_as_wire(&self) -> Result<()> {
        self.outside.run("ethtool", &["-K", NIC, "tx", "off"])?;
        Ok(())
    }

    /// Forwarding, neighbours that never have to be asked for, no redirects.
    fn settle(&self) -> Result<()> {
        self.host.sysctl("net.ipv4.ip_forward", "1")?;
        for scope in ["all", "default", UPLINK, WORKLOAD] {
            self.host
                .sysctl(&format!("net.ipv4.conf.{scope}.send_redirects"), "0")?;
            self.host
                .sysctl(&format!("net.ipv4.conf.{scope}.rp_filter"), "0")?;
        }
        // Ten thousand connections a second would have used up the ports in three.
        for opener in [&self.outside, &self.host] {
            opener.sysctl("net.ipv4.tcp_max_tw_buckets", "4096")?;
            opener.sysctl("net.ipv4.ip_local_port_range", "1024 65535")?;
        }
        let permanent = |ip: Ipv4Addr, mac, iface: &str| {
            let mac = mac_text(mac);
            format!("neigh replace {ip} lladdr {mac} dev {iface} nud permanent")
        };
        self.host.ip([
            permanent(OUTSIDE, OUTSIDE_MAC, UPLINK),
            permanent(WEB, WEB_MAC, WORKLOAD),
        ])?;
        self.outside.ip([permanent(HOST, UPLINK_MAC, NIC)])?;
        self.web.ip([permanent(GATEWAY, GATEWAY_MAC, NIC)])?;
        Ok(())
    }
}

/// Packets that the outside's interface has received.
pub fn received(outside: &Netns) -> Result<u64> {
    outside.enter(|| {
        let text = std::fs::read_to_string("/proc/thread-self/net/dev")?;
        let lines = text.lines().filter_map(|line| line.split_once(':'));
        let found = lines.map(|(name, rest)| (name.trim(), rest));
        let mut found = found.filter(|(name, _)| *name == NIC);
        let rest = found.next().map_or("", |(_, rest)| rest);
        let packets = rest.split_whitespace().nth(1).unwrap_or_default();
        Ok(packets.parse()?)
    })?
}

type Side<'a> = (&'a Netns, &'a str, [u8; 6], Ipv4Addr);

fn join(a: Side<'_>, b: Side<'_>, mtu: u32) -> Result<()> {
    let addresses = [a, b].map(|(_, _, _, ip)| [(IpAddr::from(ip), 24)]);
    veth(&end(a, &addresses[0]), &end(b, &addresses[1]), mtu)?;
    Ok(())
}

fn end<'a>((ns, name, mac, _): Side<'a>, addresses: &'a [(IpAddr, u8)]) -> End<'a> {
    End {
        ns,
        name,
        mac,
        addresses,
    }
}
