//! Checked values that several kinds have: addresses, prefixes, ports, words.

use std::net::IpAddr;

use ipnet::IpNet;

use super::doc::Doc;
use crate::objects::{Protocol, Weights};

/// Backends' weights go up to this; larger ones cost time to build rings.
const MAX_WEIGHT: u16 = 256;

/// A port number 1 to 65535.
pub fn port(doc: &Doc<'_, '_>, path: &str, number: i32) -> Option<u16> {
    match u16::try_from(number) {
        Ok(port) if port > 0 => Some(port),
        _ => {
            doc.error(
                path,
                format!("{number} is not a port: ports are 1 to 65535"),
            );
            None
        }
    }
}

/// The protocol of a Service or EndpointSlice port.
pub fn protocol(doc: &Doc<'_, '_>, path: &str, name: Option<&str>) -> Option<Protocol> {
    match name {
        None | Some("TCP") => Some(Protocol::Tcp),
        Some("UDP") => Some(Protocol::Udp),
        Some("SCTP") => {
            doc.error(path, "not supported yet: services over SCTP");
            None
        }
        Some(other) => {
            doc.error(
                path,
                format!("{other:?} is not a protocol: write TCP or UDP"),
            );
            None
        }
    }
}

/// An address that hosts can have: not unspecified, loopback, multicast or
/// link-local.
pub fn address(doc: &Doc<'_, '_>, path: &str, text: &str) -> Option<IpAddr> {
    let Ok(address) = text.parse::<IpAddr>() else {
        doc.error(path, format!("{text:?} is not an IPv4 or IPv6 address"));
        return None;
    };
    match unusable(address) {
        None => Some(address),
        Some(why) => {
            doc.error(
                path,
                format!("{address} is {why}: write an address that hosts can have"),
            );
            None
        }
    }
}

fn unusable(address: IpAddr) -> Option<&'static str> {
    if address.is_unspecified() {
        return Some("the unspecified address");
    }
    if address.is_loopback() {
        return Some("a loopback address");
    }
    if address.is_multicast() {
        return Some("a multicast address");
    }
    match address {
        IpAddr::V4(v4) if v4.is_broadcast() => Some("the broadcast address"),
        IpAddr::V4(v4) if v4.is_link_local() => Some("a link-local address"),
        IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => Some("a v4-mapped address"),
        IpAddr::V6(v6) if v6.segments()[0] & 0xffc0 == 0xfe80 => Some("a link-local address"),
        _ => None,
    }
}

/// A prefix, or an address alone; bits below the prefix are cleared.
pub fn prefix(doc: &Doc<'_, '_>, path: &str, text: &str) -> Option<IpNet> {
    let net = text
        .parse::<IpNet>()
        .or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    match net {
        Ok(net) if is_v4_mapped(&net) => {
            doc.error(
                path,
                format!("{text:?} is v4-mapped: write the IPv4 prefix"),
            );
            None
        }
        Ok(net) => Some(net.trunc()),
        Err(_) => {
            doc.error(
                path,
                format!("{text:?} is not a prefix: write it like 10.0.0.0/8 or fd00::/8"),
            );
            None
        }
    }
}

fn is_v4_mapped(net: &IpNet) -> bool {
    matches!(net.addr(), IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some()) && net.prefix_len() >= 96
}

/// A prefix with the ones carved out of it, which must lie inside.
pub fn prefix_except(
    doc: &Doc<'_, '_>,
    (path, text): (&str, &str),
    (except_path, except): (&str, &[String]),
) -> Option<(IpNet, Vec<IpNet>)> {
    let net = prefix(doc, path, text)?;
    let mut carved = Vec::new();
    for (i, text) in except.iter().enumerate() {
        let path = format!("{except_path}[{i}]");
        let inner = prefix(doc, &path, text)?;
        if !net.contains(&inner) || inner == net {
            doc.error(&path, format!("{inner} does not lie inside {net}"));
            return None;
        }
        carved.push(inner);
    }
    Some((net, carved))
}

/// One of a few words.
pub fn choice<T: Copy>(
    doc: &Doc<'_, '_>,
    path: &str,
    text: &str,
    choices: &[(&str, T)],
) -> Option<T> {
    let found = choices.iter().find(|(name, _)| *name == text);
    if found.is_none() {
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        doc.error(path, format!("{text:?} is not one of {}", names.join(", ")));
    }
    found.map(|(_, value)| *value)
}

/// `3`, or `10.0.0.1=3,10.0.0.2=1`.
pub fn weights(doc: &Doc<'_, '_>, path: &str, text: &str) -> Weights {
    let mut weights = Weights::default();
    for part in text.split(',').map(str::trim) {
        let (address, number) = match part.split_once('=') {
            Some((address, number)) => (Some(address.trim()), number.trim()),
            None => (None, part),
        };
        let Some(number) = number.parse().ok().filter(|n| *n <= MAX_WEIGHT) else {
            let message = format!(
                "{number:?} is not a weight: write 0 to {MAX_WEIGHT}, alone or as address=weight"
            );
            doc.error(path, message);
            continue;
        };
        let twice = match address {
            None => weights.all.replace(number).is_some(),
            Some(text) => match text.parse() {
                Ok(address) => weights.by_address.insert(address, number).is_some(),
                Err(_) => {
                    doc.error(path, format!("{text:?} is not an IPv4 or IPv6 address"));
                    false
                }
            },
        };
        if twice {
            doc.error(path, format!("{part:?} gives a weight a second time"));
        }
    }
    weights
}
