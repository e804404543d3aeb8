//! tc: what is there, and what of it is in hardware.

use crate::wire::tc::{FILTER, QDISC, TC_H_INGRESS, TC_H_ROOT, TCA_CLS_FLAGS_IN_HW};

/// A queueing discipline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Qdisc {
    /// Of this interface.
    pub ifindex: u32,
    /// `fq_codel`, `clsact`.
    pub kind: String,
    /// It is the root.
    pub is_root: bool,
    /// It takes filters of arriving packets.
    pub is_ingress: bool,
    /// It is in hardware.
    pub in_hw: bool,
}

/// A queueing discipline; `None` = no sense in it.
pub fn qdisc(message: &[u8]) -> Option<Qdisc> {
    let attrs = QDISC.attrs(message);
    let parent = QDISC.field(message, "parent");
    Some(Qdisc {
        ifindex: u32::try_from(QDISC.field(message, "ifindex")).ok()?,
        kind: attrs.text(1)?,
        is_root: parent == TC_H_ROOT,
        is_ingress: parent == TC_H_INGRESS,
        in_hw: attrs.uint(12).is_some_and(|flag| flag != 0),
    })
}

/// A filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// `flower`, `bpf`.
    pub kind: String,
    /// It is in hardware.
    pub in_hw: bool,
    /// The name of its BPF program.
    pub program: Option<String>,
}

/// A filter; `None` = the head of a chain without one.
pub fn filter(message: &[u8]) -> Option<Filter> {
    let attrs = FILTER.attrs(message);
    let kind = attrs.text(1)?;
    let options = attrs.nest(2);
    let flags = match kind.as_str() {
        "flower" => options.uint(22),
        "bpf" => options.uint(9),
        "matchall" => options.uint(3),
        "u32" => options.uint(11),
        _ => None,
    };
    let program = (kind == "bpf").then(|| options.text(7)).flatten();
    // The first message of each priority carries no handle and no options.
    if FILTER.field(message, "handle") == 0 {
        return None;
    }
    Some(Filter {
        in_hw: flags.is_some_and(|flags| flags & TCA_CLS_FLAGS_IN_HW != 0),
        program,
        kind,
    })
}
