//! The family `netdev`: what the kernel declares of XDP, and queues.

use super::{Learned, fact};
use crate::facts::{Fact, Queue};
use crate::wire::netdev::{
    DEV, NAPI, PAGE_POOL, QSTATS, QUEUE, RX_METADATA, XDP_FEATURES, XSK_FEATURES, names,
};

/// Other interfaces can redirect to this one.
pub const NDO_XMIT: u64 = 4;
/// The same with packets of several buffers.
pub const NDO_XMIT_SG: u64 = 64;

/// The interface that a message of this family is about.
fn ifindex(form: &crate::wire::Form, message: &[u8], id: u16) -> Option<u32> {
    form.attrs(message).u32(id)
}

/// What the kernel declares of an interface.
pub fn device(message: &[u8]) -> Option<(u32, Learned)> {
    let attrs = DEV.attrs(message);
    let word = attrs.uint(3)?;
    let mut facts = Learned::new();
    let evidence = format!("{word:#x}");
    let declared = |bit: u64| {
        Fact::declared(word & bit == bit, "netdev.DEV_GET.3")
            .with(evidence.clone())
            .transient()
    };
    let all = Fact::declared(names(word, XDP_FEATURES), "netdev.DEV_GET.3");
    facts.push(fact("xdp.features", all.with(evidence.clone()).transient()));
    for (bit, name) in XDP_FEATURES {
        let key = format!("xdp.features.{}", name.replace('-', "_"));
        facts.push(fact(key, declared(*bit)));
    }
    facts.push(fact("xdp.native", declared(1)));
    facts.push(fact("xdp.redirect_from", declared(2)));
    facts.push(fact("xdp.frags", declared(32)));
    facts.push(fact("xdp.hw_offload", declared(16)));
    // The kernel itself asks for all three before it binds (xsk_buff_pool.c).
    facts.push(fact("af_xdp.zero_copy", declared(1 | 2 | 8)));
    if let Some(segments) = attrs.u32(4) {
        let segments = Fact::declared(segments, "netdev.DEV_GET.4");
        facts.push(fact("af_xdp.zc_max_segs", segments));
    }
    let words = [
        (5, RX_METADATA, "rx_meta", "netdev.DEV_GET.5"),
        (6, XSK_FEATURES, "tx_meta", "netdev.DEV_GET.6"),
    ];
    for (id, bits, group, source) in words {
        let Some(word) = attrs.uint(id) else { continue };
        let all = Fact::declared(names(word, bits), source).with(format!("{word:#x}"));
        facts.push(fact(format!("{group}.all"), all));
        for (bit, name) in bits {
            let key = match *name {
                "vlan-tag" => "vlan",
                "tx-launch-time-fifo" => "launch_time",
                name => name.trim_start_matches("tx-"),
            };
            let value = Fact::declared(word & bit != 0, source).with(format!("{word:#x}"));
            facts.push(fact(format!("{group}.{key}"), value));
        }
    }
    Some((attrs.u32(1)?, facts))
}

/// Whether other interfaces can redirect to this one. The bit comes and goes
/// with programs on many drivers, so its absence says something only while one
/// is attached.
pub fn redirect_target(message: &[u8], has_native_program: bool) -> Option<Learned> {
    let word = DEV.attrs(message).uint(3)?;
    let one = |key: &str, bit: u64| {
        let source = "netdev.DEV_GET.3";
        let value = match (word & bit != 0, has_native_program) {
            (true, _) => Fact::declared(true, source).with(format!("{word:#x}")),
            (false, true) => Fact::declared(false, source).with(format!("{word:#x}")),
            (false, false) => Fact::unknown(
                source,
                "the bit may appear only while a program is attached",
            ),
        };
        fact(key, value.transient())
    };
    Some(vec![
        one("xdp.redirect_target", NDO_XMIT),
        one("xdp.frags_xmit", NDO_XMIT_SG),
    ])
}

/// A queue and its interface.
pub fn queue(message: &[u8]) -> Option<(u32, Queue)> {
    let attrs = QUEUE.attrs(message);
    let kind = match attrs.uint(3)? {
        0 => "rx",
        1 => "tx",
        _ => return None,
    };
    let queue = Queue {
        kind: kind.to_owned(),
        id: attrs.u32(1)?,
        napi: attrs.u32(4),
        xsk: Some(attrs.has(7)),
        ..Queue::default()
    };
    Some((ifindex(QUEUE, message, 2)?, queue))
}

/// A NAPI instance and its interrupt.
pub fn napi(message: &[u8]) -> Option<(u32, u32)> {
    let attrs = NAPI.attrs(message);
    Some((attrs.u32(2)?, attrs.u32(3)?))
}

/// Errors that an interface's queues have counted, if its driver counts at all.
pub fn queue_errors(message: &[u8]) -> Option<(u32, Learned)> {
    let attrs = QSTATS.attrs(message);
    let mut facts = vec![fact("qstats", Fact::declared(true, "netdev.QSTATS_GET"))];
    for (id, key) in [(12, "qstats.rx_alloc_fail"), (13, "qstats.rx_hw_drops")] {
        if let Some(count) = attrs.uint(id) {
            let source = format!("netdev.QSTATS_GET.{id}");
            facts.push(fact(key, Fact::declared(count, source).transient()));
        }
    }
    Some((attrs.u32(1)?, facts))
}

/// The interface of a page pool.
pub fn page_pool(message: &[u8]) -> Option<u32> {
    ifindex(PAGE_POOL, message, 2)
}
