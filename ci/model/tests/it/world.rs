//! The one world of all rows: services, workloads, policy and routes, for both
//! families.

use std::net::IpAddr;

use ipnet::IpNet;
use terrace_abi::consts::*;
use terrace_model::{Backend, Endpoint, Family, Frontend, Hop, Iface, Rule, Service, World};

use crate::fabric::{N_IFACES, UPLINKS, mac, router_mac};

pub const TCP: u8 = 6;
pub const UDP: u8 = 17;

/// Indexes into `World::endpoints`.
pub const HOST: usize = 1;
pub const W1: usize = 2;
pub const W2: usize = 3;
pub const VIRTUAL: usize = 6;
pub const CIDR: usize = 7;
pub const POD: usize = 8;

/// Identities.
pub const ID_W1: u32 = 300;
pub const ID_W2: u32 = 301;
pub const ID_POD: u32 = 305;
pub const ID_CIDR: u32 = IDENTITY_FIRST_CIDR;

/// A prefix of this family that stands for an IPv4 one of 0, 8, 16, 24 or 32 bits.
pub fn net(family: Family, text: &str) -> IpNet {
    let net: IpNet = text.parse().unwrap();
    match (family, net) {
        (Family::V6, IpNet::V4(v4)) => {
            let length = match v4.prefix_len() {
                0 => 0,
                32 => 128,
                length => 16 + length * 2,
            };
            IpNet::new(family.ip(&v4.addr().to_string()), length).unwrap()
        }
        _ => net,
    }
}

/// The world on these interfaces (indexes in the order of `fabric::IFACES`).
pub fn world(ifaces: &[u32; N_IFACES]) -> World {
    let mut world = World {
        seed: 0x5eed,
        flags: CONFIG_CHECK_SOURCE | CONFIG_HOST_INGRESS | CONFIG_ANSWER_ECHO,
        snat_ports: (32_768, 60_999),
        host: Some(both("10.10.0.1")),
        timeouts: vec![600; FLOW_STATES as usize],
        endpoints: endpoints(ifaces),
        services: vec![Service::default()],
        backends: vec![None],
        rules: rules(),
        ..World::default()
    };
    for (i, (_, net)) in UPLINKS.iter().enumerate() {
        world.ifaces.push(Iface {
            ifindex: ifaces[i],
            xdp: i < 2,
            redirect_back: i == 1,
            sockets: i == 0,
            addresses: both(&format!("10.{net}.0.1")),
        });
    }
    for ifindex in ifaces[3..7].iter().chain(&ifaces[8..]) {
        world.ifaces.push(Iface {
            ifindex: *ifindex,
            xdp: false,
            redirect_back: false,
            sockets: false,
            addresses: [Family::V4.ip("0.0.0.0"), Family::V6.ip("::")],
        });
    }
    world.l7 = crate::splices::l7(ifaces[8]);
    for family in Family::ALL {
        addresses(&mut world, family);
        services(&mut world, family);
        routes(&mut world, family, ifaces);
    }
    world
}

fn both(text: &str) -> [IpAddr; 2] {
    Family::ALL.map(|family| family.ip(text))
}

fn endpoints(ifaces: &[u32; N_IFACES]) -> Vec<Endpoint> {
    let workload = |i: usize, identity, flags| Endpoint {
        identity,
        flags: ENDPOINT_WORKLOAD | flags,
        ifindex: ifaces[2 + i],
        mac: [2, 0, 0, 0, 0x40, i as u8],
        iface_mac: mac(2 + i),
    };
    let plain = |identity, flags| Endpoint {
        identity,
        flags,
        ..Endpoint::default()
    };
    vec![
        plain(IDENTITY_WORLD, 0),
        plain(IDENTITY_HOST, ENDPOINT_HOST | ENDPOINT_SERVICE),
        workload(1, ID_W1, 0),
        workload(2, ID_W2, ENDPOINT_INGRESS | ENDPOINT_EGRESS),
        Endpoint {
            mac: [0; 6],
            ..workload(3, 302, 0)
        },
        workload(4, 303, ENDPOINT_NO_PEER),
        plain(IDENTITY_WORLD, ENDPOINT_SERVICE | ENDPOINT_VIRTUAL),
        plain(ID_CIDR, 0),
        plain(ID_POD, 0),
    ]
}

fn addresses(world: &mut World, family: Family) {
    let rows = [
        ("10.10.0.1/32", HOST),
        ("10.11.0.1/32", HOST),
        ("10.12.0.1/32", HOST),
        ("10.40.1.2/32", W1),
        ("10.40.2.2/32", W2),
        ("10.40.3.2/32", 4),
        ("10.40.4.2/32", 5),
        ("10.96.0.0/24", VIRTUAL),
        ("198.51.100.0/24", CIDR),
        ("10.30.0.0/16", POD),
    ];
    let rows = rows.map(|(text, endpoint)| (net(family, text), endpoint));
    world.addresses.extend(rows);
}

/// Policy of w2: the world may reach TCP 8080 and UDP 5353 and ping it, the
/// CIDR nothing; it may reach TCP 80 to 443 of anybody and all of w1.
fn rules() -> Vec<Rule> {
    let rule = |direction, remote, ports, deny| Rule {
        subject: ID_W2,
        direction,
        remote,
        ports,
        deny,
        l7: false,
    };
    let (ingress, egress) = (DIRECTION_INGRESS, DIRECTION_EGRESS);
    vec![
        rule(ingress, IDENTITY_WORLD, Some((TCP, 8080, 8080)), false),
        rule(ingress, IDENTITY_WORLD, Some((UDP, 5353, 5353)), false),
        rule(ingress, 0, Some((1, 8, 8)), false),
        rule(ingress, 0, Some((58, 128, 128)), false),
        rule(ingress, ID_CIDR, Some((TCP, 8080, 8080)), false),
        rule(ingress, ID_CIDR, None, true),
        rule(egress, 0, Some((TCP, 80, 443)), false),
        rule(egress, ID_W1, None, false),
        rule(egress, 0, Some((TCP, 99, 99)), true),
        rule(egress, ID_POD, Some((TCP, 8080, 8080)), false),
        rule(egress, ID_POD, Some((UDP, 5353, 5353)), true),
    ]
}

/// A service with its frontends and the addresses of its ready backends.
struct Listed {
    frontends: &'static [(&'static str, u16, u8)],
    backends: &'static [(&'static str, u16)],
    flags: u32,
    fail_mode: u32,
}

const fn listed(
    frontends: &'static [(&'static str, u16, u8)],
    backends: &'static [(&'static str, u16)],
    flags: u32,
    fail_mode: u32,
) -> Listed {
    Listed {
        frontends,
        backends,
        flags,
        fail_mode,
    }
}

const LISTED: [Listed; 22] = [
    listed(
        &[("10.96.0.1", 80, TCP), ("10.10.0.1", 30080, TCP)],
        &[("10.30.0.5", 8080)],
        SERVICE_REJECT,
        FAIL_LAST,
    ),
    listed(
        &[("10.96.0.1", 53, UDP)],
        &[("10.30.0.5", 5353)],
        0,
        FAIL_LAST,
    ),
    listed(
        &[("10.96.0.2", 80, TCP)],
        &[("10.30.1.5", 8080)],
        0,
        FAIL_LAST,
    ),
    listed(
        &[("10.96.0.3", 80, TCP)],
        &[("10.30.2.5", 8080)],
        0,
        FAIL_LAST,
    ),
    listed(
        &[("10.96.0.4", 80, TCP)],
        &[("10.40.1.2", 8080)],
        0,
        FAIL_LAST,
    ),
    listed(
        &[("10.96.0.5", 80, TCP)],
        &[("10.40.2.2", 8080)],
        0,
        FAIL_LAST,
    ),
    listed(
        &[("10.96.0.5", 53, UDP)],
        &[("10.40.2.2", 5353)],
        0,
        FAIL_LAST,
    ),
    listed(
        &[("10.96.0.6", 80, TCP), ("10.96.0.6", 53, UDP)],
        &[],
        SERVICE_REJECT,
        FAIL_LAST,
    ),
    listed(
        &[("10.96.0.7", 80, TCP), ("10.96.0.7", 53, UDP)],
        &[],
        0,
        FAIL_LAST,
    ),
    listed(
        &[("10.96.0.8", 80, TCP)],
        &[("10.30.0.6", 80)],
        SERVICE_DSR,
        FAIL_LAST,
    ),
    listed(
        &[("10.96.0.9", 80, TCP)],
        &[("10.30.3.5", 8080)],
        0,
        FAIL_LAST,
    ),
    listed(
        &[("10.96.0.10", 80, TCP)],
        &[("10.30.4.5", 8080)],
        0,
        FAIL_LAST,
    ),
    listed(
        &[("10.96.0.11", 80, TCP), ("10.96.0.11", 53, UDP)],
        &[("10.30.5.5", 8080)],
        0,
        FAIL_LAST,
    ),
    listed(
        &[("10.96.0.12", 80, TCP)],
        &[("10.96.0.1", 80)],
        0,
        FAIL_LAST,
    ),
    listed(
        &[("10.96.0.13", 80, TCP)],
        &[("10.30.0.5", 8080)],
        0,
        FAIL_OPEN,
    ),
    listed(
        &[("10.96.0.14", 80, TCP)],
        &[("10.30.0.5", 8080)],
        0,
        FAIL_CLOSED,
    ),
    listed(
        &[("10.96.0.15", 80, TCP)],
        &[("10.30.0.21", 8080), ("10.30.0.22", 8080)],
        SERVICE_AFFINITY,
        FAIL_LAST,
    ),
    listed(
        &[("10.96.0.16", 53, UDP)],
        &[("10.30.0.6", 53)],
        SERVICE_DSR,
        FAIL_LAST,
    ),
    listed(
        &[("10.96.0.20", 80, TCP)],
        &[("10.40.3.2", 8080)],
        0,
        FAIL_LAST,
    ),
    listed(
        &[("10.96.0.21", 80, TCP)],
        &[("10.10.0.1", 8080)],
        0,
        FAIL_LAST,
    ),
    listed(
        &[("10.96.0.30", 80, TCP)],
        &[("10.30.0.5", 8080)],
        SERVICE_L7,
        FAIL_LAST,
    ),
    listed(
        &[("10.96.0.31", 80, TCP)],
        &[("10.30.0.5", 8080)],
        SERVICE_L7,
        FAIL_OPEN,
    ),
];

/// The index of the service that listens at `address` and `port`.
pub fn service_at(world: &World, address: IpAddr, port: u16) -> usize {
    let mut at = world.frontends.iter();
    at.find(|at| (at.address, at.port) == (address, port))
        .unwrap()
        .service
}

fn services(world: &mut World, family: Family) {
    for listed in &LISTED {
        let index = world.services.len();
        let first = world.backends.len() as u32;
        for (address, port) in listed.backends {
            world.backends.push(Some(Backend {
                address: family.ip(address),
                port: *port,
                flags: BACKEND_READY,
                group: index as u32,
            }));
        }
        let n = listed.backends.len() as u32;
        let slots = if n == 0 { 0 } else { 7 };
        world.services.push(Service {
            flags: listed.flags,
            fail_mode: listed.fail_mode,
            group: index as u32,
            affinity_secs: 600,
            ring: (0..slots).map(|slot| first + slot % n).collect(),
        });
        for (address, port, proto) in listed.frontends {
            world.frontends.push(Frontend {
                address: family.ip(address),
                port: *port,
                proto: *proto,
                service: index,
            });
        }
    }
}

fn routes(world: &mut World, family: Family, ifaces: &[u32; N_IFACES]) {
    let known = |uplink: usize, mtu| Hop::Known {
        ifindex: ifaces[uplink],
        mtu,
        smac: mac(uplink),
        dmac: router_mac(uplink),
    };
    let rows = [
        ("0.0.0.0/0", known(0, 1500)),
        ("10.30.1.0/24", known(1, 1500)),
        ("10.30.2.0/24", known(2, 1500)),
        ("10.30.3.0/24", Hop::Unresolved { ifindex: ifaces[1] }),
        ("10.30.4.0/24", Hop::None),
        ("10.30.5.0/24", known(0, 1300)),
        ("10.30.6.0/24", known(1, 1300)),
    ];
    for (to, hop) in rows {
        world.routes.push((net(family, to), hop));
    }
    for (i, (_, number)) in UPLINKS.iter().enumerate() {
        let ifindex = ifaces[i];
        let at = |last: &str| net(family, &format!("10.{number}.0.{last}"));
        world.routes.push((at("0/24"), Hop::Unresolved { ifindex }));
        world.routes.push((at("254/32"), known(i, 1500)));
        world.routes.push((at("1/32"), Hop::None));
    }
}
