//! What is put into a NIC's table, in ethtool's layout (linux/ethtool.h).

use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use terrace_abi::sys::{CLASSIFY_DROP, FlowSpec};

const TCP_V4_FLOW: u32 = 0x01;
const TCP_V6_FLOW: u32 = 0x05;
const IPV4_USER_FLOW: u32 = 0x0d;
const IPV6_USER_FLOW: u32 = 0x0e;
/// `usr_ip4_spec.ip_ver`, of which no bit may count.
const ETH_RX_NFC_IP4: u8 = 1;

/// Where fields are: of IPv4 and of IPv6.
const SOURCE: [usize; 2] = [0, 0];
const DESTINATION: [usize; 2] = [4, 16];
const SOURCE_PORT: [usize; 2] = [8, 32];
const DESTINATION_PORT: [usize; 2] = [10, 34];
const IP_VERSION: usize = 13;

/// What a rule is for; each is brought up to date by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Entries of the deny list.
    Deny,
    /// Requests for workers.
    Queue,
}

/// One rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// Drops what comes from a prefix.
    Deny(IpNet),
    /// Leads TCP packets to a queue.
    Queue {
        /// Where to.
        to: SocketAddr,
        /// Of clients whose port has these bits, and which bits count; 0 = of all.
        ports: [u16; 2],
        /// Which one.
        queue: u32,
    },
}

impl Rule {
    /// What it is for.
    pub fn kind(&self) -> Kind {
        match self {
            Self::Deny(_) => Kind::Deny,
            Self::Queue { .. } => Kind::Queue,
        }
    }
}

impl std::fmt::Display for Rule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Deny(source) => source.fmt(f),
            Self::Queue { to, ports, queue } => {
                write!(f, "{to} to queue {queue}")?;
                match ports[1] {
                    0 => Ok(()),
                    mask => write!(f, ", ports with {:#x} of {mask:#x}", ports[0]),
                }
            }
        }
    }
}

/// A rule as ethtool has it, without a place.
pub fn spec(rule: &Rule) -> FlowSpec {
    let mut spec = FlowSpec::default();
    match rule {
        Rule::Deny(source) => {
            let v6 = matches!(source, IpNet::V6(_));
            spec.flow_type = if v6 { IPV6_USER_FLOW } else { IPV4_USER_FLOW };
            if !v6 {
                spec.fields[IP_VERSION] = ETH_RX_NFC_IP4;
            }
            spec.ring_cookie = CLASSIFY_DROP;
            let (network, mask) = (source.network(), source.netmask());
            put(
                &mut spec,
                SOURCE[usize::from(v6)],
                &bytes(network),
                &bytes(mask),
            );
        }
        Rule::Queue { to, ports, queue } => {
            let at = usize::from(to.is_ipv6());
            spec.flow_type = [TCP_V4_FLOW, TCP_V6_FLOW][at];
            spec.ring_cookie = u64::from(*queue);
            let address = bytes(to.ip());
            put(
                &mut spec,
                DESTINATION[at],
                &address,
                &vec![0xff; address.len()],
            );
            put(
                &mut spec,
                DESTINATION_PORT[at],
                &to.port().to_be_bytes(),
                &[0xff; 2],
            );
            let [port, mask] = ports.map(u16::to_be_bytes);
            put(&mut spec, SOURCE_PORT[at], &port, &mask);
        }
    }
    spec
}

fn bytes(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

fn put(spec: &mut FlowSpec, at: usize, value: &[u8], mask: &[u8]) {
    spec.fields[at..at + value.len()].copy_from_slice(value);
    spec.mask[at..at + mask.len()].copy_from_slice(mask);
}

/// Whether two match the same packets and do the same with them. Drivers tell what they
/// like of bits that do not count.
pub fn is_same(a: &FlowSpec, b: &FlowSpec) -> bool {
    let of = |fields: &[u8], mask: &[u8]| -> Vec<u8> {
        fields
            .iter()
            .zip(mask)
            .map(|(field, mask)| field & mask)
            .collect()
    };
    a.flow_type == b.flow_type
        && a.ring_cookie == b.ring_cookie
        && a.mask == b.mask
        && a.more_mask == b.more_mask
        && of(&a.fields, &a.mask) == of(&b.fields, &b.mask)
        && of(&a.more, &a.more_mask) == of(&b.more, &b.more_mask)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What counts, as `offset: value/mask` of each byte whose mask is not 0.
    fn counted(spec: &FlowSpec) -> String {
        let both = spec.fields.iter().zip(&spec.mask).enumerate();
        let set = both.filter(|(_, (_, mask))| **mask != 0);
        let texts: Vec<String> = set
            .map(|(at, (field, mask))| format!("{at}:{field:02x}/{mask:02x}"))
            .collect();
        texts.join(" ")
    }

    #[test]
    fn rules_are_laid_out_as_ethtool_has_them() {
        let deny = |net: &str| Rule::Deny(net.parse().expect("a prefix"));
        let queue = |to: &str, ports, queue| Rule::Queue {
            to: to.parse().expect("an end"),
            ports,
            queue,
        };
        let rows = [
            (
                "a prefix",
                deny("192.0.2.0/24"),
                IPV4_USER_FLOW,
                CLASSIFY_DROP,
                "0:c0/ff 1:00/ff 2:02/ff",
            ),
            (
                "bits of a byte",
                deny("192.0.2.128/25"),
                IPV4_USER_FLOW,
                CLASSIFY_DROP,
                "0:c0/ff 1:00/ff 2:02/ff 3:80/80",
            ),
            (
                "all there is",
                deny("0.0.0.0/0"),
                IPV4_USER_FLOW,
                CLASSIFY_DROP,
                "",
            ),
            (
                "bits of the host are not the prefix",
                deny("198.51.100.7/8"),
                IPV4_USER_FLOW,
                CLASSIFY_DROP,
                "0:c6/ff",
            ),
            (
                "a prefix of IPv6",
                deny("2001:db8::/32"),
                IPV6_USER_FLOW,
                CLASSIFY_DROP,
                "0:20/ff 1:01/ff 2:0d/ff 3:b8/ff",
            ),
            (
                "a service",
                queue("10.96.0.1:80", [0, 0], 3),
                TCP_V4_FLOW,
                3,
                "4:0a/ff 5:60/ff 6:00/ff 7:01/ff 10:00/ff 11:50/ff",
            ),
            (
                "half of its clients",
                queue("10.96.0.1:80", [2, 2], 1),
                TCP_V4_FLOW,
                1,
                "4:0a/ff 5:60/ff 6:00/ff 7:01/ff 9:02/02 10:00/ff 11:50/ff",
            ),
        ];
        for (name, rule, flow_type, cookie, expected) in rows {
            let spec = spec(&rule);
            assert_eq!(
                (spec.flow_type, spec.ring_cookie),
                (flow_type, cookie),
                "{name}"
            );
            assert_eq!(counted(&spec), expected, "{name}");
        }
        let v6 = spec(&queue("[2001:db8::1]:443", [0, 0], 0));
        assert_eq!(
            (v6.flow_type, &v6.fields[34..36]),
            (TCP_V6_FLOW, &[1, 187][..])
        );
        assert_eq!(
            (v6.mask[16..32].to_vec(), v6.fields[31]),
            (vec![0xff; 16], 1)
        );
    }

    #[test]
    fn rules_are_the_same_when_what_counts_is() {
        let ours = spec(&Rule::Deny("192.0.2.0/24".parse().expect("a prefix")));
        let with = |change: &dyn Fn(&mut FlowSpec)| {
            let mut other = ours;
            change(&mut other);
            other
        };
        let rows = [
            ("its place", with(&|spec| spec.location = 7), true),
            (
                "bits that do not count",
                with(&|spec| spec.fields[3] = 9),
                true,
            ),
            (
                "the version",
                with(&|spec| spec.fields[IP_VERSION] = 0),
                true,
            ),
            ("the prefix", with(&|spec| spec.fields[2] = 3), false),
            ("its length", with(&|spec| spec.mask[3] = 0x80), false),
            ("a queue", with(&|spec| spec.ring_cookie = 0), false),
            (
                "the protocol",
                with(&|spec| spec.flow_type = TCP_V4_FLOW),
                false,
            ),
            ("a VLAN", with(&|spec| spec.more_mask[10] = 0xff), false),
        ];
        for (name, other, expected) in rows {
            assert_eq!(is_same(&ours, &other), expected, "{name}");
        }
    }
}
