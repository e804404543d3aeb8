//! The connection table, one entry per direction.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use super::{Request, Tier};

/// A five-tuple. Ports of ICMP are its identifier or type, else 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Tuple {
    /// IP protocol number.
    pub protocol: u8,
    pub source: SocketAddr,
    pub destination: SocketAddr,
}

impl Tuple {
    /// Name of the protocol, or its number.
    pub fn protocol_name(&self) -> String {
        match self.protocol {
            1 => "icmp".into(),
            6 => "tcp".into(),
            17 => "udp".into(),
            58 => "icmpv6".into(),
            132 => "sctp".into(),
            other => other.to_string(),
        }
    }
}

impl fmt::Display for Tuple {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {} > {}",
            self.protocol_name(),
            self.source,
            self.destination
        )
    }
}

/// One direction of a connection or UDP exchange.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Flow {
    /// Slot number in the table.
    pub slot: u32,
    /// Slot of the other direction.
    pub peer: u32,
    /// `request` (as the opener sends it) or `reply`.
    pub direction: String,
    pub tuple: Tuple,
    /// As it leaves this host, when it differs.
    pub translated: Option<Tuple>,
    /// `new`, `established`, `closing`, `closed`, `udp`, `udp-stream`, `icmp`, `other`.
    pub state: String,
    /// That served the latest packet.
    pub tier: Tier,
    /// `namespace/name`, with `:port-name` when it has one; empty = none.
    pub service: String,
    /// `address:port`, empty = none.
    pub backend: String,
    pub dsr: bool,
    pub snat: bool,
    pub packets: u64,
    pub bytes: u64,
    pub age_ms: u64,
    /// Since the latest packet of this direction.
    pub idle_ms: u64,
    /// The latest request of a connection of the L7 tier, while it is remembered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<Request>,
}

/// Filters of `flows`; all that are given must hold.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct FlowQuery {
    /// `name`, `namespace/name` or `namespace/name:port`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// `address` or `address:port`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backend: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tier: Option<Tier>,
    /// Source: address, prefix or `address:port`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    /// Destination, before or after translation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Flows {
    /// In the table.
    pub total: usize,
    /// That pass the filters; `flows` may hold fewer because of the limit.
    pub matched: usize,
    pub flows: Vec<Flow>,
}

impl Flows {
    /// Applies the filters, then the limit; the order of `flows` stays.
    pub fn select(flows: impl IntoIterator<Item = Flow>, query: &FlowQuery) -> Flows {
        let limit = query.limit.unwrap_or(usize::MAX);
        let mut answer = Flows::default();
        for flow in flows {
            answer.total += 1;
            if query.matches(&flow) {
                answer.matched += 1;
                if answer.flows.len() < limit {
                    answer.flows.push(flow);
                }
            }
        }
        answer
    }
}

impl FlowQuery {
    /// # Errors
    /// The first filter that can't match anything because of its form.
    pub fn check(&self) -> Result<(), String> {
        let named = [
            ("backend", &self.backend),
            ("from", &self.from),
            ("to", &self.to),
        ];
        for (name, value) in named {
            if let Some(value) = value
                && !is_endpoint(value)
            {
                return Err(format!(
                    "{name}: {value:?} is no address, prefix or address:port"
                ));
            }
        }
        Ok(())
    }

    pub fn matches(&self, flow: &Flow) -> bool {
        let holds = |wanted: &Option<String>, test: &dyn Fn(&str) -> bool| {
            wanted.as_deref().is_none_or(test)
        };
        let translated = flow.translated.unwrap_or(flow.tuple);
        holds(&self.service, &|s| service_matches(s, &flow.service))
            && holds(&self.backend, &|b| {
                flow.backend
                    .parse()
                    .is_ok_and(|backend| endpoint_matches(b, backend))
            })
            && holds(&self.state, &|s| s == flow.state)
            && self.tier.is_none_or(|t| t == flow.tier)
            && holds(&self.from, &|a| {
                endpoint_matches(a, flow.tuple.source) || endpoint_matches(a, translated.source)
            })
            && holds(&self.to, &|a| {
                endpoint_matches(a, flow.tuple.destination)
                    || endpoint_matches(a, translated.destination)
            })
    }
}

/// `wanted` may leave out the namespace and the port's name.
pub(super) fn service_matches(wanted: &str, service: &str) -> bool {
    let without_port = service.rsplit_once(':').map_or(service, |(head, _)| head);
    let bare = |s: &str| {
        s.split_once('/')
            .map_or(s.to_owned(), |(_, name)| name.to_owned())
    };
    wanted == service
        || wanted == without_port
        || wanted == bare(service)
        || wanted == bare(without_port)
}

/// `wanted` is an address, a prefix, or an address with a port.
fn endpoint_matches(wanted: &str, endpoint: SocketAddr) -> bool {
    if let Ok(address) = wanted.parse::<IpAddr>() {
        return address == endpoint.ip();
    }
    if let Ok(prefix) = wanted.parse::<ipnet::IpNet>() {
        return prefix.contains(&endpoint.ip());
    }
    wanted
        .parse::<SocketAddr>()
        .is_ok_and(|wanted| wanted == endpoint)
}

fn is_endpoint(text: &str) -> bool {
    text.parse::<IpAddr>().is_ok()
        || text.parse::<ipnet::IpNet>().is_ok()
        || text.parse::<SocketAddr>().is_ok()
}
