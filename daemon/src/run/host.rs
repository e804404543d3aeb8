//! What the network makes of the programs' configuration, the sysctls and the
//! neighbours to keep.

use std::net::IpAddr;

use anyhow::Result;
use terrace_abi::consts::CONFIG_DENY_LIST;
use terrace_mesh::directory::{BackendState, Directory};

use super::events::Kind;
use super::facts;
use super::interfaces::Interfaces;
use super::neighbours::Destinations;
use super::shared::{Mesh, Shared};
use crate::lifecycle::{state_folder, sysctls};
use crate::netlink::{Network, NextHop};

/// Writes what the configuration, the host's addresses and the deny list make
/// of the programs' configuration. Tables of an earlier daemon keep its deny
/// list in force.
pub fn set_kernel_config(shared: &Shared, network: &Network) -> Result<()> {
    let current = shared.maps.config()?;
    let deny_list = match &*shared.mesh() {
        Mesh::Compiled(compiler) => !compiler.facts().deny.is_empty(),
        Mesh::Recovered(_) => current.flags & CONFIG_DENY_LIST != 0,
    };
    let config = facts::kernel_config(&shared.config, network, deny_list, &current);
    Ok(shared.maps.set_config(&config)?)
}

/// Changes the sysctls that the interfaces need, or says what to change.
pub fn tend_sysctls(shared: &Shared, network: &Network, interfaces: &Interfaces) {
    let names = interfaces.names();
    let ipv6 = network
        .addresses
        .keys()
        .any(|(_, address)| is_routable_v6(*address));
    let needs = sysctls::needs(&names, ipv6);
    let told = |why: &str| {
        for need in &needs {
            shared.events.tell(Kind::Sysctl, format!("{need}{why}"));
        }
    };
    if !shared.config.manage_sysctls {
        return told("; set it, or set manage_sysctls = true");
    }
    let state = state_folder(&shared.config.control_socket);
    match sysctls::satisfy(state, &needs) {
        Ok(()) => told("; changed until `terrace detach`"),
        Err(error) => shared.events.tell(Kind::Sysctl, format!("{error:#}")),
    }
}

pub fn destinations(directory: &Directory, network: &Network, routes_rev: u32) -> Destinations {
    let backends = directory.backends.values();
    let remote = backends.filter(|b| !b.local && b.state != BackendState::Unready);
    let local = directory.addresses.iter().filter_map(|(prefix, address)| {
        let link = network.by_name(address.interface.as_deref()?)?;
        Some(NextHop {
            ifindex: link.ifindex,
            address: prefix.addr(),
        })
    });
    Destinations {
        remote: remote.map(|backend| backend.address).collect(),
        local: local.collect(),
        routes_rev,
    }
}

fn is_routable_v6(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(_) => false,
        IpAddr::V6(v6) => !v6.is_loopback() && !v6.is_unicast_link_local(),
    }
}
