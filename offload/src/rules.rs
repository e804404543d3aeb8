//! Rules that a NIC might take: what they match, what they do, and whether they
//! fit a kind of table.

use serde::{Deserialize, Serialize};

/// One rule of an ordered list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NicRule {
    /// For people.
    pub name: String,
    /// What it matches.
    #[serde(default)]
    pub matches: Matches,
    /// What it does.
    pub action: Action,
}

/// What a rule matches; a field that is absent matches everything.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Matches {
    /// Source: bits of the prefix, of the family's whole length in `family`.
    pub source: Option<Prefix>,
    /// Destination.
    pub destination: Option<Prefix>,
    /// IP protocol.
    pub protocol: Option<u8>,
    /// Source port.
    pub source_port: Option<Ports>,
    /// Destination port.
    pub destination_port: Option<Ports>,
    /// Flags of TCP.
    #[serde(default)]
    pub tcp_flags: bool,
    /// Fragments other than the first.
    #[serde(default)]
    pub fragments: bool,
    /// Bytes behind the headers.
    #[serde(default)]
    pub payload: bool,
    /// The state of a connection.
    #[serde(default)]
    pub state: bool,
}

/// A prefix of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prefix {
    /// Bits that count.
    pub len: u8,
    /// An IPv6 address; else IPv4.
    pub is_ipv6: bool,
}

impl Prefix {
    fn is_whole(self) -> bool {
        self.len == if self.is_ipv6 { 128 } else { 32 }
    }
}

/// Ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ports {
    /// Exactly one.
    One,
    /// A range.
    Range,
}

/// What a rule does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Drops.
    Drop,
    /// Lets through to the host.
    Pass,
    /// To a queue.
    Queue,
    /// To another port of the same NIC.
    RedirectSameSwitch,
    /// To a port of another NIC, or to a process.
    RedirectElsewhere,
    /// Rewrites addresses or ports without state.
    Rewrite,
    /// Lets through at most so many.
    RateLimit,
}

/// A table of rules in a NIC.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Hardware {
    /// Flower rules; else those of the receive classifier.
    pub flower: bool,
    /// Flower actions that the driver handles.
    pub actions: Vec<String>,
    /// The receive classifier can drop.
    pub ntuple_drop: bool,
    /// It matches whole fields only.
    pub whole_fields: bool,
    /// It matches nothing above Ethernet.
    pub l2_only: bool,
    /// Rules that still fit; `None` = not known.
    pub capacity: Option<usize>,
}

/// Whether a table can hold a rule with exactly its meaning.
///
/// # Errors
/// The first thing that it can't say.
pub fn fits(rule: &NicRule, table: &Hardware) -> Result<(), String> {
    let matches = &rule.matches;
    let no = |what: &str| Err(what.to_owned());
    if matches.state {
        return no("connection state is learnt in software");
    }
    if matches.payload {
        return no("no NIC looks behind the headers");
    }
    if matches.fragments {
        return no("fragments after the first have no ports to match");
    }
    let ports = [matches.source_port, matches.destination_port];
    if ports.contains(&Some(Ports::Range)) {
        return no("ranges of ports are not exact matches");
    }
    match table.flower {
        true => flower(rule, table),
        false => ntuple(rule, table),
    }
}

fn flower(rule: &NicRule, table: &Hardware) -> Result<(), String> {
    let wanted = match rule.action {
        Action::Drop => "drop",
        Action::Pass => "accept",
        Action::Queue => "rx_queue_mapping",
        Action::RedirectSameSwitch => "redirect",
        Action::Rewrite => "pedit",
        Action::RateLimit => "police",
        Action::RedirectElsewhere => {
            return Err("the NIC reaches its own ports only".to_owned());
        }
    };
    if !table.actions.iter().any(|action| action == wanted) {
        return Err(format!("the driver has no flower action `{wanted}`"));
    }
    Ok(())
}

fn ntuple(rule: &NicRule, table: &Hardware) -> Result<(), String> {
    let matches = &rule.matches;
    let no = |what: &str| Err(what.to_owned());
    match rule.action {
        Action::Drop if table.ntuple_drop => {}
        Action::Drop => return no("the receive classifier of this driver cannot drop"),
        Action::Queue => {}
        Action::Pass => return no("the receive classifier has no rule that only lets through"),
        _ => return no("the receive classifier drops or chooses queues, nothing else"),
    }
    if table.l2_only {
        return no("the receive classifier of this driver matches nothing above Ethernet");
    }
    if matches.tcp_flags {
        return no("the receive classifier does not match flags of TCP");
    }
    let prefixes = [matches.source, matches.destination];
    let parts = prefixes.iter().flatten().any(|prefix| !prefix.is_whole());
    if table.whole_fields && parts {
        return no("the receive classifier of this driver matches whole addresses only");
    }
    Ok(())
}
