//! Links, as rtnetlink tells them.

use super::{Learned, fact};
use crate::facts::{Fact, Value};
use crate::wire::{Attrs, route::LINK};

const ARPHRD_LOOPBACK: u64 = 772;

/// What decides how links lie on each other.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Link {
    /// Its index.
    pub ifindex: u32,
    /// Its name.
    pub name: String,
    /// `ARPHRD_LOOPBACK`.
    pub is_loopback: bool,
    /// Kind of a virtual link.
    pub kind: Option<String>,
    /// The link under it; for a veth, the other end.
    pub link: Option<u32>,
    /// That link is in another network namespace.
    pub link_elsewhere: bool,
    /// The link that it is a port of.
    pub master: Option<u32>,
    /// Its switch in the NIC, raw.
    pub switch_id: Option<Vec<u8>>,
    /// Its name within the NIC.
    pub port_name: Option<String>,
    /// Bus and name of the device.
    pub parent: Option<(String, String)>,
    /// Programs: of the driver, of the stack, of the NIC; 0 = none.
    pub programs: [u32; 3],
    /// Transmit queues.
    pub tx_queues: Option<u32>,
    /// Its MAC address, for who asks to identify.
    pub mac: Vec<u8>,
}

/// A link; `None` = no sense in it.
pub fn link(message: &[u8]) -> Option<Link> {
    let attrs = LINK.attrs(message);
    let info = attrs.nest(18);
    let parent = attrs.text(57).zip(attrs.text(56));
    Some(Link {
        ifindex: u32::try_from(LINK.field(message, "index")).ok()?,
        name: attrs.text(3)?,
        is_loopback: LINK.field(message, "type") == ARPHRD_LOOPBACK,
        kind: info.text(1),
        link: attrs.u32(5),
        link_elsewhere: attrs.has(37),
        master: attrs.u32(10),
        switch_id: attrs.get(36).map(<[u8]>::to_vec),
        port_name: attrs.text(38),
        parent,
        programs: programs(attrs.nest(43)),
        tx_queues: attrs.u32(31),
        mac: attrs.get(1).unwrap_or_default().to_vec(),
    })
}

fn programs(xdp: Attrs<'_>) -> [u32; 3] {
    let id = |id| xdp.u32(id).unwrap_or(0);
    let mut ids = [id(5), id(6), id(7)];
    // Before 4.19 there is one id, and the mode says whose.
    if let Some(slot @ 0) = xdp
        .uint(2)
        .and_then(|mode| ids.get_mut(usize::try_from(mode).ok()?.checked_sub(1)?))
    {
        *slot = id(4);
    }
    ids
}

/// A link's facts.
pub fn facts(message: &[u8]) -> Learned {
    let attrs = LINK.attrs(message);
    let mut facts = Learned::new();
    let numbers = [
        (4, "link.mtu"),
        (50, "link.min_mtu"),
        (51, "link.max_mtu"),
        (31, "link.tx_queues"),
        (32, "link.rx_queues"),
        (68, "link.headroom"),
        (69, "link.tailroom"),
    ];
    for (id, key) in numbers {
        if let Some(number) = attrs.uint(id) {
            facts.push(fact(key, rtnl(id, number)));
        }
    }
    let kind = match LINK.field(message, "type") {
        1 => "ether".to_owned(),
        ARPHRD_LOOPBACK => "loopback".to_owned(),
        0xfffe => "none".to_owned(),
        other => format!("arphrd-{other}"),
    };
    facts.push(fact("link.type", Fact::declared(kind, "rtnl.ifi_type")));
    let up = LINK.field(message, "flags") & 1 != 0;
    facts.push(fact(
        "link.up",
        Fact::declared(up, "rtnl.IFF_UP").transient(),
    ));
    if let Some(carrier) = attrs.uint(33) {
        facts.push(fact("link.carrier", rtnl(33, carrier != 0).transient()));
    }
    if let Some(name) = attrs.text(38) {
        facts.push(fact("link.port_name", rtnl(38, name)));
    }
    facts.extend(kind_facts(attrs.nest(18)));
    facts.extend(xdp_facts(attrs));
    facts
}

fn rtnl(id: u16, value: impl Into<Value>) -> Fact {
    let name = LINK.attrs.attrs.iter().find(|attr| attr.0 == id);
    let name = name.map_or("?", |attr| attr.1).to_uppercase();
    let fact = Fact::declared(value, format!("rtnl.IFLA_{name}"));
    if matches!(id, 4 | 51) {
        fact.transient()
    } else {
        fact
    }
}

fn kind_facts(info: Attrs<'_>) -> Learned {
    const MODES: [&str; 7] = [
        "balance-rr",
        "active-backup",
        "balance-xor",
        "broadcast",
        "802.3ad",
        "balance-tlb",
        "balance-alb",
    ];
    const HASHES: [&str; 6] = [
        "layer2",
        "layer3+4",
        "layer2+3",
        "encap2+3",
        "encap3+4",
        "vlan+srcmac",
    ];
    let Some(kind) = info.text(1) else {
        return Learned::new();
    };
    let data = info.nest(2);
    let mut facts = Learned::new();
    let mut told = |key: &str, value: Value| {
        facts.push(fact(key, Fact::declared(value, "rtnl.IFLA_LINKINFO")));
    };
    let word = |words: &[&str], id| {
        let number = data.uint(id)?;
        let known = usize::try_from(number).ok().and_then(|n| words.get(n));
        Some(known.map_or_else(|| format!("unknown:{number}"), |w| (*w).to_owned()))
    };
    match kind.as_str() {
        "bond" => {
            told("bond.mode", word(&MODES, 1).into());
            told("bond.xmit_hash", word(&HASHES, 14).into());
        }
        "vlan" => told("vlan.id", data.u32(1).into()),
        _ => {}
    }
    told("id.kind", kind.into());
    facts
}

fn xdp_facts(attrs: Attrs<'_>) -> Learned {
    const MODES: [&str; 5] = ["none", "native", "generic", "offloaded", "multi"];
    let xdp = attrs.nest(43);
    let Some(mode) = xdp.uint(2) else {
        return Learned::new();
    };
    let known = usize::try_from(mode).ok().and_then(|mode| MODES.get(mode));
    let word = known.map_or_else(|| format!("unknown:{mode}"), |word| (*word).to_owned());
    let source = "rtnl.IFLA_XDP";
    let ids = programs(xdp);
    let first = ids.into_iter().find(|id| *id != 0);
    vec![
        fact(
            "xdp.attached_mode",
            Fact::declared(word, source).transient(),
        ),
        fact("xdp.attached_id", Fact::declared(first, source).transient()),
    ]
}
