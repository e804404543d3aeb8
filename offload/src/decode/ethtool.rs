//! The family `ethtool`: features, rings, channels, modes, hashing.

use std::collections::BTreeSet;

use super::{Learned, fact};
use crate::facts::{Fact, Value};
use crate::wire::ethtool::{
    CHANNELS, FEATURES, LINKMODES, LINKSTATE, PRIVFLAGS, RINGS, RSS, STRSET, TSINFO,
};
use crate::wire::{Attrs, Form};

/// The names of a string set, by number.
pub fn names(message: &[u8]) -> Vec<String> {
    let set = STRSET.attrs(message).nest(2).nest(1);
    let mut names = Vec::new();
    for string in set.nest(3).nests(1) {
        let Some((index, name)) = string.u32(1).zip(string.text(2)) else {
            continue;
        };
        // No set has anywhere near as many.
        let index = usize::try_from(index).unwrap_or(usize::MAX);
        if index < 4096 {
            names.resize(names.len().max(index + 1), String::new());
            names[index] = name;
        }
    }
    names
}

/// Names of a bit set: all that it speaks of, and those that are set.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Bits {
    /// In the mask, or listed.
    pub all: BTreeSet<String>,
    /// With the value one.
    pub set: BTreeSet<String>,
}

/// A bit set, in words or bit by bit.
pub fn bits(set: Attrs<'_>, names: &[String]) -> Bits {
    let mut bits = Bits::default();
    let name = |index: usize| {
        let known = names.get(index).filter(|name| !name.is_empty());
        known.map_or_else(|| format!("unknown:{index}"), Clone::clone)
    };
    if let Some(value) = set.get(4) {
        let mask = set.get(5);
        for index in 0..value.len() * 8 {
            let is = |words: &[u8]| bit(words, index);
            if is(value) {
                bits.set.insert(name(index));
            }
            if mask.map_or(is(value), is) {
                bits.all.insert(name(index));
            }
        }
    }
    let is_list = set.has(1);
    for one in set.nest(3).nests(1) {
        let index = one.u32(1).and_then(|index| usize::try_from(index).ok());
        let Some(name) = one.text(2).or(index.map(name)) else {
            continue;
        };
        if is_list || one.has(3) {
            bits.set.insert(name.clone());
        }
        bits.all.insert(name);
    }
    bits
}

/// A bit of 32-bit words in the machine's order.
fn bit(words: &[u8], index: usize) -> bool {
    let word = words.get(index / 32 * 4..index / 32 * 4 + 4);
    let word = word.and_then(crate::wire::unsigned);
    word.is_some_and(|word| word >> (index % 32) & 1 != 0)
}

/// The interface that a reply is about.
pub fn ifindex(form: &Form, message: &[u8]) -> Option<u32> {
    form.attrs(message).nest(1).u32(1)
}

/// Features: on or off, and whether that can be changed.
pub fn features(message: &[u8], names: &[String]) -> Learned {
    let attrs = FEATURES.attrs(message);
    let (hw, active) = (bits(attrs.nest(2), names), bits(attrs.nest(4), names));
    let never = bits(attrs.nest(5), names);
    let mut all: BTreeSet<&String> = names.iter().filter(|name| !name.is_empty()).collect();
    all.extend(hw.all.iter().chain(&active.all));
    let state = |name: &&String| {
        let word = match (active.set.contains(*name), hw.set.contains(*name)) {
            (true, true) if !never.set.contains(*name) => "on",
            (false, true) if !never.set.contains(*name) => "off",
            (true, _) => "on-fixed",
            (false, _) => "off-fixed",
        };
        let value = Fact::declared(word, "ethtool.FEATURES");
        fact(format!("feat.{name}"), value.transient())
    };
    match attrs.has(4) {
        true => all.iter().map(state).collect(),
        false => Learned::new(),
    }
}

/// A driver's private flags.
pub fn private_flags(message: &[u8]) -> Learned {
    let flags = bits(PRIVFLAGS.attrs(message).nest(2), &[]);
    let state = |name: &String| {
        let value = Fact::declared(flags.set.contains(name), "ethtool.PRIVFLAGS");
        fact(format!("priv.{name}"), value)
    };
    flags.all.iter().map(state).collect()
}

fn numbers(form: &Form, message: &[u8], group: &str, keys: &[(u16, &str)]) -> Learned {
    let attrs = form.attrs(message);
    let one = |(id, key): &(u16, &str)| {
        let value = Fact::declared(attrs.uint(*id)?, format!("ethtool.{group}.{id}"));
        Some(fact(*key, value))
    };
    keys.iter().filter_map(one).collect()
}

/// Rings.
pub fn rings(message: &[u8]) -> Learned {
    const KEYS: &[(u16, &str)] = &[
        (2, "rings.rx_max"),
        (5, "rings.tx_max"),
        (6, "rings.rx"),
        (9, "rings.tx"),
        (10, "rings.rx_buf_len"),
        (12, "rings.cqe_size"),
        (17, "rings.hds_thresh"),
        (18, "rings.hds_thresh_max"),
    ];
    let mut facts = numbers(RINGS, message, "RINGS", KEYS);
    if let Some(split) = RINGS.attrs(message).uint(11) {
        let word = match split {
            0 => "unknown".to_owned(),
            1 => "disabled".to_owned(),
            2 => "enabled".to_owned(),
            other => format!("unknown:{other}"),
        };
        let value = Fact::declared(word, "ethtool.RINGS.11");
        facts.push(fact("rings.tcp_data_split", value.transient()));
    }
    facts
}

/// Channels: how many queues there are and may be.
pub fn channels(message: &[u8]) -> Learned {
    const KEYS: &[(u16, &str)] = &[
        (2, "channels.rx_max"),
        (3, "channels.tx_max"),
        (4, "channels.other_max"),
        (5, "channels.combined_max"),
        (6, "channels.rx"),
        (7, "channels.tx"),
        (8, "channels.other"),
        (9, "channels.combined"),
    ];
    numbers(CHANNELS, message, "CHANNELS", KEYS)
}

/// Speed, duplex, lanes.
pub fn link_modes(message: &[u8]) -> Learned {
    const UNKNOWN: u64 = u32::MAX as u64;
    let attrs = LINKMODES.attrs(message);
    let mut facts = Learned::new();
    if let Some(speed) = attrs.uint(5) {
        let known = (speed != UNKNOWN && speed != 0).then_some(speed);
        let value = Fact::declared(known, "ethtool.LINKMODES.5").with(format!("{speed:#x}"));
        facts.push(fact("link.speed_mbps", value.transient()));
    }
    let duplex = match attrs.uint(6) {
        Some(0) => Some("half"),
        Some(1) => Some("full"),
        _ => None,
    };
    if let Some(duplex) = duplex {
        let value = Fact::declared(duplex, "ethtool.LINKMODES.6");
        facts.push(fact("link.duplex", value.transient()));
    }
    facts.extend(numbers(
        LINKMODES,
        message,
        "LINKMODES",
        &[(9, "link.lanes")],
    ));
    facts
}

/// Whether the other end is there.
pub fn link_state(message: &[u8]) -> Learned {
    let link = LINKSTATE.attrs(message).uint(2);
    let one = |up: u64| {
        fact(
            "link.carrier",
            Fact::declared(up != 0, "ethtool.LINKSTATE.2").transient(),
        )
    };
    link.map(one).into_iter().collect()
}

/// Time stamping.
pub fn time_stamping(message: &[u8], names: &[String]) -> Learned {
    let attrs = TSINFO.attrs(message);
    if !attrs.has(2) {
        return Learned::new();
    }
    let modes: Vec<String> = bits(attrs.nest(2), names).set.into_iter().collect();
    let hardware = modes.iter().any(|mode| mode == "hardware-receive");
    vec![
        fact("ts.hardware", Fact::declared(hardware, "ethtool.TSINFO.2")),
        fact("ts.modes", Fact::declared(modes, "ethtool.TSINFO.2")),
    ]
}

/// Hashing; the number of further contexts is counted by who reads the dump.
pub fn hashing(message: &[u8], functions: &[String]) -> Learned {
    let attrs = RSS.attrs(message);
    let mut facts = Learned::new();
    if let Some(function) = attrs.uint(3) {
        let index = function.checked_ilog2().unwrap_or(0) as usize;
        let known = functions.get(index).filter(|name| !name.is_empty());
        let word = known.map_or_else(|| format!("unknown:{function:#x}"), Clone::clone);
        facts.push(fact("rss.hfunc", Fact::declared(word, "ethtool.RSS.3")));
    }
    if let Some(table) = attrs.get(4) {
        let size = Value::from(u64::try_from(table.len() / 4).unwrap_or(0));
        facts.push(fact(
            "rss.indir_size",
            Fact::declared(size, "ethtool.RSS.4"),
        ));
    }
    if let Some(transform) = attrs.uint(6) {
        let value = Fact::declared(transform, "ethtool.RSS.6");
        facts.push(fact("rss.input_xfrm", value));
    }
    facts
}

/// Whether a reply is about a further context, not the main one.
pub fn is_further_context(message: &[u8]) -> bool {
    RSS.attrs(message)
        .uint(2)
        .is_some_and(|context| context != 0)
}
