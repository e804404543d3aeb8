//! veth pairs across namespaces.

use crate::{Netns, Result};
use std::net::IpAddr;

/// One end of a veth pair.
#[derive(Debug)]
pub struct End<'a> {
    pub ns: &'a Netns,
    pub name: &'a str,
    pub mac: [u8; 6],
    /// Address and prefix length.
    pub addresses: &'a [(IpAddr, u8)],
}

/// Makes a veth pair, both ends up with their addresses.
pub fn veth(a: &End, b: &End, mtu: u32) -> Result<()> {
    let make = format!(
        "link add {} mtu {mtu} address {} type veth peer name {} netns {} mtu {mtu} address {}",
        a.name,
        mac_text(a.mac),
        b.name,
        b.ns.name(),
        mac_text(b.mac),
    );
    a.ns.ip([make])?;
    bring_up(a)?;
    bring_up(b)
}

/// Adds a route to `to` (a prefix, or `default`), IPv4 or IPv6 by `via`.
pub fn route(ns: &Netns, to: &str, via: IpAddr) -> Result<()> {
    let family = if via.is_ipv4() { "-4" } else { "-6" };
    ns.run("ip", &[family, "route", "add", to, "via", &via.to_string()])?;
    Ok(())
}

pub fn mac_text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

fn bring_up(end: &End) -> Result<()> {
    let mut lines = vec![format!("link set {} up", end.name)];
    for (address, length) in end.addresses {
        let nodad = if address.is_ipv6() { " nodad" } else { "" };
        lines.push(format!(
            "address add {address}/{length} dev {}{nodad}",
            end.name
        ));
    }
    end.ns.ip(lines)
}
