//! Names for the numbers that the tables use.

use std::net::{IpAddr, SocketAddr};

use terrace_abi::hash::address_from_bytes;
use terrace_mesh::directory::{Directory, Frontend, Pool};

use crate::api::{Source, Tier};
use crate::run::shared::View;

/// `namespace/name`, with `:port-name` when the port has one; empty for none.
pub fn service(directory: &Directory, index: u32) -> String {
    let Some(frontend) = directory.frontends.get(&index) else {
        return unknown(index, "service");
    };
    service_of(directory, frontend)
}

pub fn service_of(directory: &Directory, frontend: &Frontend) -> String {
    match directory.pools.get(&frontend.pool) {
        Some(known) => pool(known),
        None => frontend.service.to_string(),
    }
}

/// `namespace/name`, with `:port-name` when it has one.
pub fn pool(pool: &Pool) -> String {
    match pool.port_name.as_str() {
        "" => pool.service.to_string(),
        name => format!("{}:{name}", pool.service),
    }
}

/// `namespace/name spec.rules[0]`; empty for none.
pub fn route(directory: &Directory, number: u32) -> String {
    match directory.route_rules.get(&number) {
        Some(rule) => format!("{} {}", rule.route, rule.path),
        None => unknown(number, "route"),
    }
}

/// `address:port`; empty for none.
pub fn backend(directory: &Directory, index: u32) -> String {
    match directory.backends.get(&index) {
        Some(backend) => SocketAddr::new(backend.address, backend.port).to_string(),
        None => unknown(index, "backend"),
    }
}

/// Of an index that the manifests do not name any more.
fn unknown(index: u32, what: &str) -> String {
    match index {
        0 => String::new(),
        index => format!("{what} {index} (gone)"),
    }
}

pub fn source(source: &terrace_mesh::directory::Source) -> Source {
    Source {
        file: source.file.display().to_string(),
        line: source.line,
    }
}

/// An address of abi.h: four words as loaded from memory.
pub fn address(words: &[u32; 4]) -> IpAddr {
    let mut bytes = [0; 16];
    for (bytes, word) in bytes.chunks_exact_mut(4).zip(words) {
        bytes.copy_from_slice(&word.to_ne_bytes());
    }
    address_from_bytes(&bytes)
}

/// `port` as loaded from memory, in network order.
pub fn socket(words: &[u32; 4], port: u16) -> SocketAddr {
    SocketAddr::new(address(words), u16::from_be(port))
}

/// The tier behind the hook `xdp`: there is one mode for all but rare hosts.
pub fn xdp_tier(view: &View) -> Tier {
    let mut attached = view.interfaces.iter().flat_map(|i| &i.attachments);
    if attached.any(|a| a.hook == "xdp" && a.kind == "generic") {
        Tier::XdpGeneric
    } else {
        Tier::XdpNative
    }
}

pub fn iface(view: &View, ifindex: u32) -> String {
    view.network
        .links
        .get(&ifindex)
        .map_or_else(|| format!("link {ifindex}"), |link| link.name.clone())
}
