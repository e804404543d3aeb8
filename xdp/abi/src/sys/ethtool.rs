//! What ethtool tells by ioctl only: the driver's names and the table of
//! classification rules. linux/ethtool.h.

use std::ffi::CStr;
use std::io;

use super::iface::ethtool;

const ETHTOOL_GDRVINFO: u32 = 0x3;
const ETHTOOL_GRXCLSRLCNT: u32 = 0x2e;
const ETHTOOL_SRXCLSRLDEL: u32 = 0x31;
const ETHTOOL_SRXCLSRLINS: u32 = 0x32;
const UDP_V4_FLOW: u32 = 0x02;
const RX_CLS_FLOW_DISC: u64 = u64::MAX;
/// In `data` of the count: rules need no place of the caller's choice.
const RX_CLS_LOC_SPECIAL: u64 = 0x8000_0000;

/// `struct ethtool_drvinfo`.
#[repr(C)]
struct DrvInfo {
    cmd: u32,
    driver: [u8; 32],
    version: [u8; 32],
    fw_version: [u8; 32],
    bus_info: [u8; 32],
    erom_version: [u8; 32],
    reserved2: [u8; 12],
    counts: [u32; 5],
}

/// What a driver says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DriverInfo {
    /// Its name.
    pub driver: String,
    /// Its version; the kernel's release for drivers of the kernel's own.
    pub version: String,
    /// The NIC's firmware.
    pub firmware: String,
    /// The device on its bus.
    pub bus: String,
}

/// What a driver says of itself; also for devices without one in sysfs (veth).
pub fn ethtool_info(name: &str) -> io::Result<DriverInfo> {
    let mut info = DrvInfo {
        cmd: ETHTOOL_GDRVINFO,
        driver: [0; 32],
        version: [0; 32],
        fw_version: [0; 32],
        bus_info: [0; 32],
        erom_version: [0; 32],
        reserved2: [0; 12],
        counts: [0; 5],
    };
    // SAFETY: ETHTOOL_GDRVINFO writes a drvinfo, of which `info` has the layout.
    unsafe { ethtool(name, std::ptr::from_mut(&mut info).cast())? };
    let text = |bytes: &[u8]| {
        let text = CStr::from_bytes_until_nul(bytes).unwrap_or_default();
        text.to_string_lossy().into_owned()
    };
    Ok(DriverInfo {
        driver: text(&info.driver),
        version: text(&info.version),
        firmware: text(&info.fw_version),
        bus: text(&info.bus_info),
    })
}

/// `struct ethtool_rx_flow_spec` for `UDP_V4_FLOW`: what to match, the mask, and
/// what to do.
#[repr(C)]
#[derive(Clone, Copy)]
struct FlowSpec {
    flow_type: u32,
    src: u32,
    /// Network order.
    dst: u32,
    rest: [u32; 16],
    mask_src: u32,
    mask_dst: u32,
    mask_rest: [u32; 17],
    ring_cookie: u64,
    location: u32,
}

/// `struct ethtool_rxnfc`.
#[repr(C)]
#[derive(Clone, Copy)]
struct RxNfc {
    cmd: u32,
    flow_type: u32,
    data: u64,
    spec: FlowSpec,
    rule_cnt: u32,
    rule_locs: [u32; 1],
}

impl RxNfc {
    fn new(cmd: u32) -> Self {
        Self {
            cmd,
            flow_type: 0,
            data: 0,
            spec: FlowSpec {
                flow_type: 0,
                src: 0,
                dst: 0,
                rest: [0; 16],
                mask_src: 0,
                mask_dst: 0,
                mask_rest: [0; 17],
                ring_cookie: 0,
                location: 0,
            },
            rule_cnt: 0,
            rule_locs: [0],
        }
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
pub fn ethtool_rules(name: &str) -> io::Result<RuleTable> {
    let mut request = RxNfc::new(ETHTOOL_GRXCLSRLCNT);
    // SAFETY: ETHTOOL_GRXCLSRLCNT reads and writes an rxnfc, of which `request`
    // has the layout.
    unsafe { ethtool(name, std::ptr::from_mut(&mut request).cast())? };
    let capacity = request.data & !RX_CLS_LOC_SPECIAL;
    Ok(RuleTable {
        count: request.rule_cnt,
        capacity: u32::try_from(capacity).unwrap_or(0),
        any_place: request.data & RX_CLS_LOC_SPECIAL != 0,
    })
}

/// Adds a rule that drops UDP to an IPv4 address; returns its place, by which it
/// is removed. Without a place the driver chooses one.
pub fn ethtool_drop_rule(name: &str, to: [u8; 4], place: Option<u32>) -> io::Result<u32> {
    const RX_CLS_LOC_ANY: u32 = u32::MAX;
    let mut request = RxNfc::new(ETHTOOL_SRXCLSRLINS);
    request.spec.flow_type = UDP_V4_FLOW;
    request.spec.dst = u32::from_ne_bytes(to);
    request.spec.mask_dst = u32::MAX;
    request.spec.ring_cookie = RX_CLS_FLOW_DISC;
    request.spec.location = place.unwrap_or(RX_CLS_LOC_ANY);
    // SAFETY: ETHTOOL_SRXCLSRLINS reads and writes an rxnfc, of which `request`
    // has the layout.
    unsafe { ethtool(name, std::ptr::from_mut(&mut request).cast())? };
    Ok(request.spec.location)
}

/// Removes the rule at a place.
pub fn ethtool_remove_rule(name: &str, place: u32) -> io::Result<()> {
    let mut request = RxNfc::new(ETHTOOL_SRXCLSRLDEL);
    request.spec.location = place;
    // SAFETY: ETHTOOL_SRXCLSRLDEL reads an rxnfc, of which `request` has the layout.
    unsafe { ethtool(name, std::ptr::from_mut(&mut request).cast()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_structures_have_the_sizes_of_linux_ethtool_h() {
        assert_eq!(size_of::<DrvInfo>(), 196);
        assert_eq!(size_of::<RxNfc>(), 192);
        assert_eq!(std::mem::offset_of!(RxNfc, spec), 16);
        assert_eq!(std::mem::offset_of!(RxNfc, rule_cnt), 184);
        assert_eq!(size_of::<FlowSpec>(), 168);
        assert_eq!(std::mem::offset_of!(FlowSpec, mask_src), 76);
        assert_eq!(std::mem::offset_of!(FlowSpec, ring_cookie), 152);
        assert_eq!(std::mem::offset_of!(FlowSpec, location), 160);
    }
}
