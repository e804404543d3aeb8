//! The table of classification rules of a NIC (ethtool's ntuple), by ioctl.
//! linux/ethtool.h.

use std::io;

use super::iface::ethtool;

const ETHTOOL_GRXCLSRLCNT: u32 = 0x2e;
const ETHTOOL_GRXCLSRULE: u32 = 0x2f;
const ETHTOOL_GRXCLSRLALL: u32 = 0x30;
const ETHTOOL_SRXCLSRLDEL: u32 = 0x31;
const ETHTOOL_SRXCLSRLINS: u32 = 0x32;
/// In `data` of the count: rules need no place of the caller's choice.
const RX_CLS_LOC_SPECIAL: u64 = 0x8000_0000;
const RX_CLS_LOC_ANY: u32 = u32::MAX;
/// Places that are asked for at once.
const PLACES: usize = 16_384;

/// What a rule does with a packet that it matches, instead of a queue.
pub const CLASSIFY_DROP: u64 = u64::MAX;

/// `struct ethtool_rx_flow_spec`: what to match, the mask, and what to do.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlowSpec {
    /// `*_FLOW`: how the next bytes are laid out.
    pub flow_type: u32,
    /// Of what the packet has, all in network order.
    pub fields: [u8; 52],
    /// Of what is not in IP.
    pub more: [u8; 20],
    /// Bits of `fields` that count.
    pub mask: [u8; 52],
    /// Bits of `more` that count.
    pub more_mask: [u8; 20],
    /// A queue, or [`CLASSIFY_DROP`].
    pub ring_cookie: u64,
    /// Its number, which is its rank, too.
    pub location: u32,
}

impl Default for FlowSpec {
    fn default() -> Self {
        Self {
            flow_type: 0,
            fields: [0; 52],
            more: [0; 20],
            mask: [0; 52],
            more_mask: [0; 20],
            ring_cookie: 0,
            location: 0,
        }
    }
}

/// `struct ethtool_rxnfc`, with room for `N` places.
#[repr(C)]
struct RxNfc<const N: usize> {
    cmd: u32,
    flow_type: u32,
    data: u64,
    spec: FlowSpec,
    rule_cnt: u32,
    rule_locs: [u32; N],
}

impl<const N: usize> RxNfc<N> {
    fn new(cmd: u32) -> Self {
        Self {
            cmd,
            flow_type: 0,
            data: 0,
            spec: FlowSpec::default(),
            rule_cnt: 0,
            rule_locs: [0; N],
        }
    }

    fn ask(&mut self, name: &str) -> io::Result<()> {
        // SAFETY: each of these commands reads and writes an rxnfc, of which `self` has
        // the layout, and no more places than `rule_cnt`, which is at most N.
        unsafe { ethtool(name, std::ptr::from_mut(self).cast()) }
    }
}

/// A driver's table of classification rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RuleTable {
    /// Rules that are there.
    pub count: u32,
    /// Rules that fit; 0 = the driver does not say.
    pub capacity: u32,
    /// The driver chooses a rule's place.
    pub any_place: bool,
}

/// The table of classification rules; EOPNOTSUPP when there is none.
pub fn classify_table(name: &str) -> io::Result<RuleTable> {
    let mut request = RxNfc::<1>::new(ETHTOOL_GRXCLSRLCNT);
    request.ask(name)?;
    let capacity = request.data & !RX_CLS_LOC_SPECIAL;
    Ok(RuleTable {
        count: request.rule_cnt,
        capacity: u32::try_from(capacity).unwrap_or(0),
        any_place: request.data & RX_CLS_LOC_SPECIAL != 0,
    })
}

/// The places of all rules.
pub fn classify_places(name: &str) -> io::Result<Vec<u32>> {
    let count = classify_table(name)?.count as usize;
    if count > PLACES {
        return Err(io::Error::other(format!(
            "{count} rules are more than Terrace looks through"
        )));
    }
    let mut request = Box::new(RxNfc::<PLACES>::new(ETHTOOL_GRXCLSRLALL));
    request.rule_cnt = count as u32;
    request.ask(name)?;
    let found = (request.rule_cnt as usize).min(PLACES);
    Ok(request.rule_locs[..found].to_vec())
}

/// The rule at a place.
pub fn classify_rule(name: &str, place: u32) -> io::Result<FlowSpec> {
    let mut request = RxNfc::<1>::new(ETHTOOL_GRXCLSRULE);
    request.spec.location = place;
    request.ask(name)?;
    Ok(request.spec)
}

/// Adds a rule; returns its place, by which it is removed. Without a place the driver
/// chooses one.
pub fn classify_add(name: &str, spec: &FlowSpec, place: Option<u32>) -> io::Result<u32> {
    let mut request = RxNfc::<1>::new(ETHTOOL_SRXCLSRLINS);
    request.spec = *spec;
    request.spec.location = place.unwrap_or(RX_CLS_LOC_ANY);
    request.ask(name)?;
    Ok(request.spec.location)
}

/// Removes the rule at a place.
pub fn classify_remove(name: &str, place: u32) -> io::Result<()> {
    let mut request = RxNfc::<1>::new(ETHTOOL_SRXCLSRLDEL);
    request.spec.location = place;
    request.ask(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_structures_have_the_sizes_of_linux_ethtool_h() {
        assert_eq!(size_of::<RxNfc<1>>(), 192);
        assert_eq!(std::mem::offset_of!(RxNfc<1>, spec), 16);
        assert_eq!(std::mem::offset_of!(RxNfc<1>, rule_cnt), 184);
        assert_eq!(size_of::<FlowSpec>(), 168);
        assert_eq!(std::mem::offset_of!(FlowSpec, mask), 76);
        assert_eq!(std::mem::offset_of!(FlowSpec, ring_cookie), 152);
        assert_eq!(std::mem::offset_of!(FlowSpec, location), 160);
    }
}
