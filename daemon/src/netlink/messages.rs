//! From rtnetlink messages to [`Change`]s.

use std::net::IpAddr;

use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{
    InfoData, InfoVlan, LinkAttribute, LinkFlags, LinkInfo, LinkMessage, LinkXdp, State,
    VlanProtocol,
};
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::{Change, Link, Mac, Vlan};

/// None for what says nothing about this host's network.
pub(super) fn change(message: RouteNetlinkMessage) -> Option<Change> {
    match message {
        RouteNetlinkMessage::NewLink(message) => link(message).map(Change::Link),
        RouteNetlinkMessage::DelLink(message) => {
            // A bridge reports ports that leave it in its own family.
            (message.header.interface_family == AddressFamily::Unspec)
                .then_some(Change::LinkGone(message.header.index))
        }
        RouteNetlinkMessage::NewAddress(message) => {
            address(&message).map(|(ifindex, address, prefix_len)| Change::Address {
                ifindex,
                address,
                prefix_len,
            })
        }
        RouteNetlinkMessage::DelAddress(message) => {
            address(&message).map(|(ifindex, address, _)| Change::AddressGone { ifindex, address })
        }
        RouteNetlinkMessage::NewNeighbour(message) => {
            neighbour(&message).map(|(ifindex, address, mac)| Change::Neighbour {
                ifindex,
                address,
                mac,
            })
        }
        RouteNetlinkMessage::DelNeighbour(message) => neighbour(&message)
            .map(|(ifindex, address, _)| Change::NeighbourGone { ifindex, address }),
        RouteNetlinkMessage::NewRoute(_)
        | RouteNetlinkMessage::DelRoute(_)
        | RouteNetlinkMessage::NewRule(_)
        | RouteNetlinkMessage::DelRule(_) => Some(Change::Route),
        _ => None,
    }
}

pub(super) fn link(message: LinkMessage) -> Option<Link> {
    if message.header.interface_family != AddressFamily::Unspec {
        return None;
    }
    let mut link = Link {
        ifindex: message.header.index,
        up: message.header.flags.contains(LinkFlags::Up),
        ..Link::default()
    };
    let (mut bus, mut device) = (None, None);
    let (mut under, mut vlan) = (None, None);
    for attribute in message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name = name,
            LinkAttribute::Mtu(mtu) => link.mtu = mtu,
            LinkAttribute::Address(mac) => link.mac = mac.try_into().unwrap_or_default(),
            LinkAttribute::NumRxQueues(n) => link.n_rx_queues = n,
            LinkAttribute::Controller(ifindex) => link.controller = ifindex,
            LinkAttribute::OperState(state) => link.up &= carries(state),
            LinkAttribute::ParentDevName(name) => device = Some(name),
            LinkAttribute::ParentDevBusName(name) => bus = Some(name),
            LinkAttribute::LinkNetNsId(number) => link.peer_netns = Some(number),
            LinkAttribute::Link(ifindex) => under = Some(ifindex),
            LinkAttribute::LinkInfo(infos) => {
                link.kind = kind(&infos);
                vlan = vlan_of(&infos);
            }
            LinkAttribute::Xdp(infos) => link.xdp = xdp(&infos),
            _ => {}
        }
    }
    link.parent = bus.zip(device);
    let here = under.filter(|_| link.peer_netns.is_none());
    link.vlan = here.zip(vlan).map(|(under, id)| Vlan { under, id });
    Some(link)
}

fn xdp(infos: &[LinkXdp]) -> u32 {
    let id = |info: &LinkXdp| match info {
        LinkXdp::ProgId(id) => Some(*id),
        _ => None,
    };
    infos.iter().find_map(id).unwrap_or_default()
}

/// Virtual devices (`lo`, tun) often report `unknown`, which means up.
fn carries(state: State) -> bool {
    !matches!(
        state,
        State::Down | State::LowerLayerDown | State::NotPresent
    )
}

fn kind(infos: &[LinkInfo]) -> String {
    infos
        .iter()
        .find_map(|info| match info {
            LinkInfo::Kind(kind) => Some(kind.to_string()),
            _ => None,
        })
        .unwrap_or_default()
}

/// Its number, for 802.1Q.
fn vlan_of(infos: &[LinkInfo]) -> Option<u16> {
    let data = infos.iter().find_map(|info| match info {
        LinkInfo::Data(InfoData::Vlan(data)) => Some(data),
        _ => None,
    })?;
    let is_other = |info: &InfoVlan| matches!(info, InfoVlan::Protocol(protocol) if *protocol != VlanProtocol::Ieee8021Q);
    if data.iter().any(is_other) {
        return None;
    }
    data.iter().find_map(|info| match info {
        InfoVlan::Id(id) => Some(*id),
        _ => None,
    })
}

fn address(message: &AddressMessage) -> Option<(u32, IpAddr, u8)> {
    // On a point to point link, `Address` is the other end and `Local` ours.
    let of = |wanted: fn(&AddressAttribute) -> Option<IpAddr>| {
        message.attributes.iter().find_map(wanted)
    };
    let local = of(|attribute| match attribute {
        AddressAttribute::Local(address) => Some(*address),
        _ => None,
    });
    let address = local.or_else(|| {
        of(|attribute| match attribute {
            AddressAttribute::Address(address) => Some(*address),
            _ => None,
        })
    })?;
    Some((message.header.index, address, message.header.prefix_len))
}

fn neighbour(message: &NeighbourMessage) -> Option<(u32, IpAddr, Option<Mac>)> {
    let mut address = None;
    let mut mac = None;
    for attribute in &message.attributes {
        match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(v4)) => {
                address = Some(IpAddr::V4(*v4));
            }
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(v6)) => {
                address = Some(IpAddr::V6(*v6));
            }
            NeighbourAttribute::LinkLayerAddress(bytes) => mac = bytes.as_slice().try_into().ok(),
            _ => {}
        }
    }
    let state = message.header.state;
    let usable = !matches!(
        state,
        NeighbourState::Incomplete | NeighbourState::Failed | NeighbourState::None
    );
    Some((message.header.ifindex, address?, mac.filter(|_| usable)))
}
