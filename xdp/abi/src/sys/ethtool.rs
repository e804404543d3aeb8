//! What ethtool tells by ioctl only: the driver's names and the table of
//! classification rules. linux/ethtool.h.

use std::ffi::CStr;
use std::io;

use super::iface::ethtool;

const ETHTOOL_GDRVINFO: u32 = 0x3;
const ETHTOOL_GRXCLSRLCNT: u32 = 0x2e;
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

/// `struct ethtool_rx_flow_spec` and what is around it: `struct ethtool_rxnfc`.
#[repr(C)]
struct RxNfc {
    cmd: u32,
    flow_type: u32,
    data: u64,
    spec: [u64; 21],
    rule_cnt: u32,
    rule_locs: [u32; 1],
}

/// A driver's table of classification rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RuleTable {
    /// Rules that are there.
    pub count: u32,
    /// Rules that fit; 0 = the driver does not say.
    pub capacity: u32,
}

/// The table of classification rules; EOPNOTSUPP when there is none.
pub fn ethtool_rules(name: &str) -> io::Result<RuleTable> {
    let mut request = RxNfc {
        cmd: ETHTOOL_GRXCLSRLCNT,
        flow_type: 0,
        data: 0,
        spec: [0; 21],
        rule_cnt: 0,
        rule_locs: [0],
    };
    // SAFETY: ETHTOOL_GRXCLSRLCNT reads and writes an rxnfc, of which `request`
    // has the layout.
    unsafe { ethtool(name, std::ptr::from_mut(&mut request).cast())? };
    let capacity = request.data & !RX_CLS_LOC_SPECIAL;
    Ok(RuleTable {
        count: request.rule_cnt,
        capacity: u32::try_from(capacity).unwrap_or(0),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_structures_have_the_sizes_of_linux_ethtool_h() {
        assert_eq!(size_of::<DrvInfo>(), 196);
        assert_eq!(size_of::<RxNfc>(), 192);
        assert_eq!(std::mem::offset_of!(RxNfc, rule_cnt), 184);
    }
}
