//! Addresses and interfaces that decide alone.

use terrace_abi::Reason::*;
use terrace_abi::consts;
use terrace_model::Family;

use super::{CLIENT, VIP};
use crate::order::*;
use crate::row::{At, Row, at, raw};
use crate::world::net;

pub fn rows(f: Family) -> Vec<Row> {
    let mut rows = not_ours(f);
    rows.extend(bad_sources(f));
    rows.extend(multicast(f));
    rows.extend(deny_list(f));
    rows
}

fn not_ours(f: Family) -> Vec<Row> {
    let up0 = At::Uplink("up0");
    let ethernet = |proto: u16| {
        let mut frame = vec![2; 60];
        frame[12..14].copy_from_slice(&proto.to_be_bytes());
        raw(up0, frame)
    };
    vec![
        Row::new("ARP", f, ethernet(0x0806), NotIp),
        Row::new("LLDP", f, ethernet(0x88cc), NotIp),
        Row::new("an 802.3 length", f, ethernet(46), NotIp),
        Row::new(
            "somebody else's address",
            f,
            syn(f, CLIENT, "203.0.113.9:80"),
            NotOurs,
        ),
        Row::new(
            "the host itself",
            f,
            syn(f, CLIENT, "10.10.0.1:22"),
            NotOurs,
        ),
        Row::new(
            "an interface that is not configured, XDP",
            f,
            at(At::Uplink("dark"), syn(f, CLIENT, VIP)),
            IfaceUnknown,
        ),
        Row::new(
            "an interface that is not configured, egress",
            f,
            at(At::Out("dark"), syn(f, CLIENT, VIP)),
            IfaceUnknown,
        ),
        Row::new(
            "an interface that is not configured, workload",
            f,
            at(At::From("dark"), syn(f, CLIENT, VIP)),
            IfaceUnknown,
        ),
    ]
}

fn bad_sources(f: Family) -> Vec<Row> {
    let mut rows = vec![
        Row::new("source is destination", f, syn(f, VIP, VIP), BadSource),
        Row::new(
            "source is destination, of a workload",
            f,
            syn(f, "10.40.1.2:80", "10.40.1.2:80"),
            BadSource,
        ),
        Row::new(
            "a workload's address from the network",
            f,
            syn(f, "10.40.1.2:1000", VIP),
            BadSource,
        ),
        Row::new(
            "a workload's address from the network to another workload",
            f,
            syn(f, "10.40.1.2:1000", "10.40.2.2:8080"),
            BadSource,
        )
        .after(ToTc),
        Row::new(
            "the host's address from the network",
            f,
            syn(f, "10.11.0.1:1000", VIP),
            BadSource,
        ),
        Row::new(
            "a workload sends as another workload",
            f,
            at(At::From("w1"), syn(f, "10.40.2.2:1000", VIP)),
            SpoofedSource,
        ),
        Row::new(
            "a workload sends as somebody in the network",
            f,
            at(At::From("w1"), udp(f, CLIENT, "203.0.113.9:53")),
            SpoofedSource,
        ),
        Row::new(
            "a workload sends as the host",
            f,
            at(At::From("w1"), ping(f, "10.10.0.1", "203.0.113.9")),
            SpoofedSource,
        ),
        Row::new(
            "sources are free when they are not checked",
            f,
            at(At::From("w1"), udp(f, "10.40.4.2:9", "203.0.113.9:53")),
            Redirect,
        )
        .world(|world| world.flags &= !consts::CONFIG_CHECK_SOURCE),
    ];
    let sources: &[&str] = match f {
        Family::V4 => &[
            "127.0.0.1:9",
            "0.0.0.0:9",
            "0.1.2.3:9",
            "224.0.0.1:9",
            "255.255.255.255:9",
        ],
        Family::V6 => &["::1:9", ":::9", "ff02::1:9", "::ffff:1.2.3.4:9"],
    };
    for source in sources {
        // Addresses as they are: IPv4's have no mirror here.
        let mut packet = syn(f, CLIENT, VIP);
        let (address, _) = source.rsplit_once(':').unwrap();
        packet.ends.0 = address.parse().unwrap();
        rows.push(Row::new(format!("source {address}"), f, packet, BadSource));
    }
    if f == Family::V6 {
        let mut packet = syn(f, CLIENT, VIP);
        packet.ends.1 = "::ffff:10.96.0.1".parse().unwrap();
        rows.push(Row::new("a mapped destination", f, packet, BadSource));
    }
    rows
}

fn multicast(f: Family) -> Vec<Row> {
    let mut rows = Vec::new();
    let groups: &[&str] = match f {
        Family::V4 => &["224.0.0.251", "239.1.2.3", "255.255.255.255"],
        Family::V6 => &["ff02::fb", "ff0e::1"],
    };
    for group in groups {
        let mut packet = udp(f, CLIENT, "10.96.0.1:5353");
        packet.ends.1 = group.parse().unwrap();
        rows.push(Row::new(format!("to {group}"), f, packet, Multicast));
    }
    if f == Family::V4 {
        let mut packet = udp(f, "10.40.2.2:9", "10.96.0.1:53");
        packet.ends.1 = "240.1.2.3".parse().unwrap();
        let step = at(At::From("w2"), packet);
        rows.push(Row::new("class E is under policy", f, step, EgressDefault));
        return rows;
    }
    rows.extend(discovery(f));
    rows
}

/// Discovery is only what no router can have forwarded.
fn discovery(f: Family) -> Vec<Row> {
    let mut listener = icmp(f, "fe80::1", "10.96.0.1", 143, 0, [0; 4]).ttl(1);
    listener.ends.1 = "ff02::16".parse().unwrap();
    let mut solicitation = icmp(f, "fe80::1", "10.96.0.1", 135, 0, [0; 4]).ttl(255);
    solicitation.ends.0 = "::".parse().unwrap();
    solicitation.ends.1 = "ff02::1:ff00:1".parse().unwrap();
    vec![
        Row::new(
            "a neighbour solicitation",
            f,
            solicitation,
            NeighbourDiscovery,
        ),
        Row::new("a listener report", f, listener, NeighbourDiscovery),
        Row::new(
            "a unicast advertisement",
            f,
            icmp(f, "10.10.0.254", "10.10.0.1", 136, 0, [0; 4]).ttl(255),
            NeighbourDiscovery,
        ),
        Row::new(
            "discovery that was forwarded is under policy",
            f,
            icmp(f, CLIENT, "10.40.2.2", 136, 0, [0; 4]).ttl(254),
            IngressDefault,
        )
        .after(ToTc),
        Row::new(
            "a listener report that can be forwarded is under policy",
            f,
            at(At::From("w2"), icmp(f, "10.40.2.2", CLIENT, 143, 0, [0; 4])),
            EgressDefault,
        ),
    ]
}

fn deny_list(f: Family) -> Vec<Row> {
    type Listed = (&'static str, &'static str, fn(&mut terrace_model::World));
    let rows: [Listed; 5] = [
        ("one address", "203.0.113.66:9", |world| {
            world.deny = Family::ALL.map(|f| net(f, "203.0.113.66/32")).to_vec();
        }),
        ("a network", "203.0.113.9:9", |world| {
            world.deny = Family::ALL.map(|f| net(f, "203.0.113.0/24")).to_vec();
        }),
        ("a short prefix", "203.0.200.9:9", |world| {
            world.deny = Family::ALL.map(|f| net(f, "203.0.0.0/16")).to_vec();
        }),
        ("a very short prefix", "203.1.2.3:9", |world| {
            world.deny = vec!["202.0.0.0/7".parse().unwrap(), "fd00::/9".parse().unwrap()];
        }),
        ("an odd length", "203.0.113.9:9", |world| {
            world.deny = vec![
                "203.0.113.8/29".parse().unwrap(),
                "fd00:203:0:113::8/125".parse().unwrap(),
                "fd00:203:0:113::/93".parse().unwrap(),
            ];
        }),
    ];
    let mut all = Vec::new();
    for (name, source, change) in rows {
        let name = format!("{name} on the deny list");
        let row = Row::new(name, f, syn(f, source, VIP), DenyList).world(change);
        all.push(row.world(|world| world.flags |= consts::CONFIG_DENY_LIST));
    }
    all.extend([
        Row::new(
            "next to the deny list",
            f,
            syn(f, "203.0.113.67:9", VIP),
            Tx,
        )
        .world(rows[0].2)
        .world(|world| world.flags |= consts::CONFIG_DENY_LIST),
        Row::new(
            "a deny list that is switched off",
            f,
            syn(f, "203.0.113.66:9", VIP),
            Tx,
        )
        .world(rows[0].2),
        Row::new(
            "the deny list holds for what is not ours",
            f,
            udp(f, "203.0.113.66:9", "203.0.113.9:9"),
            DenyList,
        )
        .world(rows[0].2)
        .world(|world| world.flags |= consts::CONFIG_DENY_LIST),
    ]);
    all
}
