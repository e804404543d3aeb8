//! Interfaces of the calling thread's network namespace. /sys/class/net shows
//! those of whoever mounted it, so it isn't used.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};

/// Index and name of every interface.
pub fn interfaces() -> io::Result<Vec<(u32, String)>> {
    // SAFETY: takes nothing; a null pointer is an error.
    let list = unsafe { libc::if_nameindex() };
    if list.is_null() {
        return Err(io::Error::last_os_error());
    }
    let mut found = Vec::new();
    let mut entry = list;
    // SAFETY: the list ends with an entry of index 0 and no name; each name is
    // a C string until the list is freed, which happens after the last use.
    unsafe {
        while (*entry).if_index != 0 && !(*entry).if_name.is_null() {
            let name = CStr::from_ptr((*entry).if_name)
                .to_string_lossy()
                .into_owned();
            found.push(((*entry).if_index, name));
            entry = entry.add(1);
        }
        libc::if_freenameindex(list);
    }
    Ok(found)
}

const SIOCETHTOOL: libc::Ioctl = 0x8946;
const ETHTOOL_GDRVINFO: u32 = 0x3;
const ETHTOOL_GFLAGS: u32 = 0x25;

/// `struct ethtool_drvinfo` of linux/ethtool.h.
#[repr(C)]
struct DrvInfo {
    cmd: u32,
    driver: [u8; 32],
    rest: [u8; 160],
}

/// `struct ethtool_value`.
#[repr(C)]
struct Value {
    cmd: u32,
    data: u32,
}

/// The driver's name by ethtool; also for devices without one in sysfs (veth).
pub fn ethtool_driver(name: &str) -> io::Result<String> {
    let mut info = DrvInfo {
        cmd: ETHTOOL_GDRVINFO,
        driver: [0; 32],
        rest: [0; 160],
    };
    // SAFETY: ETHTOOL_GDRVINFO writes a drvinfo, of which `info` has the layout.
    unsafe { ethtool(name, std::ptr::from_mut(&mut info).cast())? };
    let driver = CStr::from_bytes_until_nul(&info.driver).unwrap_or_default();
    Ok(driver.to_string_lossy().into_owned())
}

/// The `ETH_FLAG_*` of an interface.
pub fn ethtool_flags(name: &str) -> io::Result<u32> {
    let mut value = Value {
        cmd: ETHTOOL_GFLAGS,
        data: 0,
    };
    // SAFETY: ETHTOOL_GFLAGS writes an ethtool_value, of which `value` has the layout.
    unsafe { ethtool(name, std::ptr::from_mut(&mut value).cast())? };
    Ok(value.data)
}

/// What a device does for the stack as it sends: `ETHTOOL_S...` of checksums,
/// scatter-gather, TCP and generic segmentation.
pub const OFFLOADS: [u32; 4] = [0x17, 0x19, 0x1f, 0x24];

/// Switches one of [`OFFLOADS`] off.
pub fn ethtool_offload_off(name: &str, offload: u32) -> io::Result<()> {
    let mut value = Value {
        cmd: offload,
        data: 0,
    };
    // SAFETY: each of these commands reads an ethtool_value, of which `value`
    // has the layout.
    unsafe { ethtool(name, std::ptr::from_mut(&mut value).cast()) }
}

/// # Safety
/// `data` points to the structure that its own first word, the command, reads
/// and writes.
pub(super) unsafe fn ethtool(name: &str, data: *mut libc::c_char) -> io::Result<()> {
    // SAFETY: all zeroes is a valid ifreq.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    if name.len() >= request.ifr_name.len() {
        return Err(io::Error::other(format!(
            "{name}: too long for an interface"
        )));
    }
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    request.ifr_ifru.ifru_data = data;
    let socket = datagram_socket()?;
    // SAFETY: the request names an interface, and the caller answers for `data`.
    if unsafe { libc::ioctl(socket.as_raw_fd(), SIOCETHTOOL, &raw mut request) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

fn datagram_socket() -> io::Result<OwnedFd> {
    // SAFETY: takes numbers only.
    let fd = unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor has just been made for this caller.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
