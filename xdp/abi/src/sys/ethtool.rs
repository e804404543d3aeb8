//! What ethtool tells by ioctl only: the driver's names. linux/ethtool.h.

use std::ffi::CStr;
use std::io;

use super::iface::ethtool;

const ETHTOOL_GDRVINFO: u32 = 0x3;

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_structure_has_the_size_of_linux_ethtool_h() {
        assert_eq!(size_of::<DrvInfo>(), 196);
    }
}
