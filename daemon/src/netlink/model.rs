//! The host's network as far as Terrace needs it.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::BitOrAssign;

pub type Mac = [u8; 6];

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Link {
    pub ifindex: u32,
    pub name: String,
    pub mac: Mac,
    pub mtu: u32,
    /// Set up by the operator, and with a carrier.
    pub up: bool,
    /// Of a virtual device: `veth`, `bond`, ...; empty for hardware.
    pub kind: String,
    /// `pci` and `0000:00:03.0`, for hardware.
    pub parent: Option<(String, String)>,
    pub n_rx_queues: u32,
    /// The bond or bridge that it belongs to, else 0.
    pub controller: u32,
    /// The kernel's number of its XDP program, else 0.
    pub xdp: u32,
    /// Number, here, of the network namespace of its other end.
    pub peer_netns: Option<i32>,
    /// What it is a VLAN of (802.1Q), when that is in this namespace.
    pub vlan: Option<Vlan>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vlan {
    /// The interface that has its packets with the tag.
    pub under: u32,
    pub id: u16,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Network {
    /// By ifindex.
    pub links: BTreeMap<u32, Link>,
    /// (ifindex, address) -> prefix length.
    pub addresses: BTreeMap<(u32, IpAddr), u8>,
    /// None while the neighbour is not resolved.
    pub neighbours: BTreeMap<(u32, IpAddr), Option<Mac>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    Link(Link),
    LinkGone(u32),
    Address {
        ifindex: u32,
        address: IpAddr,
        prefix_len: u8,
    },
    AddressGone {
        ifindex: u32,
        address: IpAddr,
    },
    Neighbour {
        ifindex: u32,
        address: IpAddr,
        mac: Option<Mac>,
    },
    NeighbourGone {
        ifindex: u32,
        address: IpAddr,
    },
    /// Some route or rule; Terrace keeps no copy of them.
    Route,
    /// The kernel dropped messages: only a new dump tells the truth.
    Overrun,
}

/// What has to be done about changes; the sum of several is their `|=`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Effects {
    /// A link came, went, or changed in a way that programs see.
    pub links: bool,
    /// Another XDP program than before, or none: whatever comes next.
    pub programs: bool,
    pub addresses: bool,
    /// The MAC address of a neighbour came, changed or went.
    pub macs: bool,
    /// Cached next hops may be wrong.
    pub next_hops: bool,
    pub resync: bool,
}

impl Effects {
    pub const ALL: Self = Self {
        links: true,
        programs: true,
        addresses: true,
        macs: true,
        next_hops: true,
        resync: false,
    };

    pub fn any(self) -> bool {
        self != Self::default()
    }
}

impl BitOrAssign for Effects {
    fn bitor_assign(&mut self, other: Self) {
        self.links |= other.links;
        self.programs |= other.programs;
        self.addresses |= other.addresses;
        self.macs |= other.macs;
        self.next_hops |= other.next_hops;
        self.resync |= other.resync;
    }
}

impl Network {
    /// Takes a change over and says what follows from it.
    pub fn apply(&mut self, change: Change) -> Effects {
        match change {
            Change::Link(link) => self.link(link),
            Change::LinkGone(ifindex) => self.link_gone(ifindex),
            Change::Address {
                ifindex,
                address,
                prefix_len,
            } => address_effects(
                self.addresses.insert((ifindex, address), prefix_len) != Some(prefix_len),
            ),
            Change::AddressGone { ifindex, address } => {
                address_effects(self.addresses.remove(&(ifindex, address)).is_some())
            }
            Change::Neighbour {
                ifindex,
                address,
                mac,
            } => {
                let before = self.neighbours.insert((ifindex, address), mac);
                mac_effects(before.flatten(), mac)
            }
            Change::NeighbourGone { ifindex, address } => {
                let before = self.neighbours.remove(&(ifindex, address));
                mac_effects(before.flatten(), None)
            }
            Change::Route => Effects {
                next_hops: true,
                ..Effects::default()
            },
            Change::Overrun => Effects {
                resync: true,
                ..Effects::default()
            },
        }
    }

    pub fn by_name(&self, name: &str) -> Option<&Link> {
        self.links.values().find(|link| link.name == name)
    }

    /// Addresses of one interface, as the kernel orders them by value.
    pub fn addresses_of(&self, ifindex: u32) -> impl Iterator<Item = (IpAddr, u8)> + '_ {
        self.addresses
            .range((ifindex, IpAddr::from([0; 4]))..)
            .take_while(move |((of, _), _)| *of == ifindex)
            .map(|((_, address), prefix_len)| (*address, *prefix_len))
    }

    /// Resolved neighbours of one interface.
    pub fn macs_of(&self, ifindex: u32) -> impl Iterator<Item = (IpAddr, Mac)> + '_ {
        self.neighbours
            .range((ifindex, IpAddr::from([0; 4]))..)
            .take_while(move |((of, _), _)| *of == ifindex)
            .filter_map(|((_, address), mac)| Some((*address, (*mac)?)))
    }

    fn link(&mut self, link: Link) -> Effects {
        let ifindex = link.ifindex;
        let xdp = link.xdp;
        let before = self.links.insert(ifindex, link);
        let changed = before.as_ref() != self.links.get(&ifindex);
        Effects {
            links: changed,
            programs: before.is_some_and(|before| before.xdp != xdp),
            next_hops: changed,
            ..Effects::default()
        }
    }

    fn link_gone(&mut self, ifindex: u32) -> Effects {
        let gone = self.links.remove(&ifindex).is_some();
        self.addresses.retain(|(of, _), _| *of != ifindex);
        self.neighbours.retain(|(of, _), _| *of != ifindex);
        Effects {
            links: gone,
            programs: gone,
            addresses: gone,
            macs: gone,
            next_hops: gone,
            resync: false,
        }
    }
}

fn address_effects(changed: bool) -> Effects {
    Effects {
        addresses: changed,
        next_hops: changed,
        ..Effects::default()
    }
}

/// An unresolved neighbour that stays so means nothing.
fn mac_effects(before: Option<Mac>, after: Option<Mac>) -> Effects {
    let changed = before != after;
    Effects {
        macs: changed,
        next_hops: changed,
        ..Effects::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));

    fn network() -> Network {
        let mut network = Network::default();
        network.apply(Change::Link(link(2, true)));
        network.apply(address(2, 24));
        network.apply(neighbour(Some(1)));
        network
    }

    fn link(ifindex: u32, up: bool) -> Link {
        Link {
            ifindex,
            name: format!("eth{ifindex}"),
            up,
            ..Link::default()
        }
    }

    fn address(ifindex: u32, prefix_len: u8) -> Change {
        Change::Address {
            ifindex,
            address: A,
            prefix_len,
        }
    }

    fn neighbour(mac: Option<u8>) -> Change {
        Change::Neighbour {
            ifindex: 2,
            address: A,
            mac: mac.map(|last| [2, 0, 0, 0, 0, last]),
        }
    }

    #[test]
    fn only_what_changes_something_has_effects() {
        let none = Effects::default();
        let links = Effects {
            links: true,
            next_hops: true,
            ..none
        };
        let programs = Effects {
            programs: true,
            ..links
        };
        let with_xdp = Link {
            xdp: 7,
            ..link(2, true)
        };
        let addresses = Effects {
            addresses: true,
            next_hops: true,
            ..none
        };
        let macs = Effects {
            macs: true,
            next_hops: true,
            ..none
        };
        let gone = Change::NeighbourGone {
            ifindex: 2,
            address: A,
        };
        let unknown = Change::AddressGone {
            ifindex: 3,
            address: A,
        };
        let rows = [
            ("same link", Change::Link(link(2, true)), none),
            ("link down", Change::Link(link(2, false)), links),
            ("another program", Change::Link(with_xdp), programs),
            ("new link", Change::Link(link(3, true)), links),
            ("unknown link gone", Change::LinkGone(9), none),
            ("same address", address(2, 24), none),
            ("longer prefix", address(2, 25), addresses),
            ("unknown address gone", unknown, none),
            ("neighbour confirmed", neighbour(Some(1)), none),
            ("neighbour moved", neighbour(Some(9)), macs),
            ("neighbour lost", neighbour(None), macs),
            ("neighbour gone", gone, macs),
        ];
        for (name, change, expected) in rows {
            assert_eq!(network().apply(change), expected, "{name}");
        }
    }

    #[test]
    fn a_link_takes_its_addresses_and_neighbours_with_it() {
        let mut network = network();
        assert_eq!(network.apply(Change::LinkGone(2)), Effects::ALL);
        assert_eq!(network, Network::default());
    }

    #[test]
    fn addresses_and_macs_of_one_interface_leave_out_the_others() {
        let mut network = network();
        network.apply(address(3, 16));
        assert_eq!(network.addresses_of(2).collect::<Vec<_>>(), [(A, 24)]);
        assert_eq!(network.addresses_of(3).collect::<Vec<_>>(), [(A, 16)]);
        assert_eq!(
            network.macs_of(2).collect::<Vec<_>>(),
            [(A, [2, 0, 0, 0, 0, 1])]
        );
        assert_eq!(network.macs_of(3).count(), 0);
    }
}
