//! The two rtnetlink sockets: one for requests, one that listens.

use std::net::IpAddr;

use anyhow::{Context, Result};
use futures_util::{Stream, StreamExt, TryStreamExt};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::neighbour::{NeighbourFlags, NeighbourState};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteType};
use rtnetlink::packet_core::{NetlinkMessage, NetlinkPayload};
use rtnetlink::{Handle, MulticastGroup, RouteMessageBuilder};

use super::{Change, Network, messages};

const GROUPS: [MulticastGroup; 8] = [
    MulticastGroup::Link,
    MulticastGroup::Neigh,
    MulticastGroup::Ipv4Ifaddr,
    MulticastGroup::Ipv6Ifaddr,
    MulticastGroup::Ipv4Route,
    MulticastGroup::Ipv6Route,
    MulticastGroup::Ipv4Rule,
    MulticastGroup::Ipv6Rule,
];

/// Requests. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Netlink {
    handle: Handle,
}

/// Where the kernel would send a packet for an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NextHop {
    pub ifindex: u32,
    /// The gateway, or the address itself when it is on the link.
    pub address: IpAddr,
}

/// Everything that changes from the moment of [`Netlink::open`] on.
pub struct Changes {
    messages: Box<dyn Stream<Item = NetlinkMessage<RouteNetlinkMessage>> + Send + Unpin>,
}

impl Netlink {
    /// Opens both sockets in the network namespace of the calling thread.
    /// Listens first: what changes during [`Netlink::network`] is not lost.
    pub fn open() -> Result<(Self, Changes)> {
        let (listener, _, changes) = rtnetlink::new_multicast_connection(&GROUPS)
            .context("open an rtnetlink socket that listens")?;
        let (requests, handle, _) =
            rtnetlink::new_connection().context("open an rtnetlink socket for requests")?;
        tokio::spawn(listener);
        tokio::spawn(requests);
        let messages = Box::new(changes.map(|(message, _)| message));
        Ok((Self { handle }, Changes { messages }))
    }

    /// All links, addresses and neighbours.
    pub async fn network(&self) -> Result<Network> {
        let mut network = Network::default();
        let links: Vec<_> = self
            .handle
            .link()
            .get()
            .execute()
            .try_collect()
            .await
            .context("list links")?;
        let addresses: Vec<_> = self
            .handle
            .address()
            .get()
            .execute()
            .try_collect()
            .await
            .context("list addresses")?;
        let neighbours: Vec<_> = self
            .handle
            .neighbours()
            .get()
            .execute()
            .try_collect()
            .await
            .context("list neighbours")?;
        let messages = links
            .into_iter()
            .map(RouteNetlinkMessage::NewLink)
            .chain(addresses.into_iter().map(RouteNetlinkMessage::NewAddress))
            .chain(
                neighbours
                    .into_iter()
                    .map(RouteNetlinkMessage::NewNeighbour),
            );
        for change in messages.filter_map(messages::change) {
            network.apply(change);
        }
        Ok(network)
    }

    /// None when there is no route, or one that leads nowhere or to the host.
    pub async fn next_hop(&self, to: IpAddr) -> Result<Option<NextHop>> {
        let builder = RouteMessageBuilder::<IpAddr>::new();
        let length = if to.is_ipv4() { 32 } else { 128 };
        let question = builder
            .destination_prefix(to, length)
            .context("a host's prefix")?
            .build();
        let mut answers = Box::pin(self.handle.route().get(question).execute());
        match answers.try_next().await {
            Ok(answer) => Ok(answer.and_then(|route| hop_of(&route, to))),
            Err(rtnetlink::Error::NetlinkError(_)) => Ok(None),
            Err(error) => Err(error).with_context(|| format!("look up the route to {to}")),
        }
    }

    /// Has the kernel resolve or confirm a neighbour (`ip neigh add ... use`).
    /// Nothing of it stays beyond the kernel's own cache entry.
    pub async fn resolve(&self, hop: NextHop) -> Result<()> {
        let request = self
            .handle
            .neighbours()
            .add(hop.ifindex, hop.address)
            .state(NeighbourState::None)
            .flags(NeighbourFlags::Use)
            .replace();
        request
            .execute()
            .await
            .with_context(|| format!("resolve neighbour {} of link {}", hop.address, hop.ifindex))
    }
}

impl Changes {
    /// The next change; None when the socket is gone.
    pub async fn next(&mut self) -> Option<Change> {
        loop {
            match self.messages.next().await?.payload {
                NetlinkPayload::InnerMessage(message) => {
                    if let Some(change) = messages::change(message) {
                        return Some(change);
                    }
                }
                NetlinkPayload::Overrun(_) => return Some(Change::Overrun),
                _ => {}
            }
        }
    }
}

fn hop_of(route: &RouteMessage, to: IpAddr) -> Option<NextHop> {
    if route.header.kind != RouteType::Unicast {
        return None;
    }
    let mut ifindex = None;
    let mut address = to;
    for attribute in &route.attributes {
        match attribute {
            RouteAttribute::Oif(oif) => ifindex = Some(*oif),
            RouteAttribute::Gateway(RouteAddress::Inet(v4)) => address = IpAddr::V4(*v4),
            RouteAttribute::Gateway(RouteAddress::Inet6(v6)) => address = IpAddr::V6(*v6),
            RouteAttribute::Via(via) => address = via_address(via)?,
            _ => {}
        }
    }
    Some(NextHop {
        ifindex: ifindex?,
        address,
    })
}

/// A gateway of the other family (RFC 5549).
fn via_address(via: &netlink_packet_route::route::RouteVia) -> Option<IpAddr> {
    use netlink_packet_route::route::RouteVia;
    match via {
        RouteVia::Inet(v4) => Some(IpAddr::V4(*v4)),
        RouteVia::Inet6(v6) => Some(IpAddr::V6(*v6)),
        _ => None,
    }
}
