//! XDP programs on the far end of a link: one that passes everything, and one
//! that loses packets and lets others overtake.
//!
//! A veth sends the frames of `XDP_TX` into its peer's ring, but wakes the peer
//! only when that has an XDP program itself (veth_xdp_flush() in Linux 6.18):
//! without one they lie there until something else wakes it. A wire does not
//! do that, so the end that plays the remote machine gets this program.

use crate::{Error, Result};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

// Numbers of linux/bpf.h and linux/if_link.h.
const BPF_PROG_LOAD: libc::c_long = 5;
const BPF_LINK_CREATE: libc::c_long = 28;
const BPF_PROG_TYPE_XDP: u32 = 6;
const BPF_XDP: u32 = 37;
const BPF_F_XDP_HAS_FRAGS: u32 = 1 << 5;
const XDP_FLAGS_DRV_MODE: u32 = 1 << 2;
const XDP_DROP: u32 = 1;
const XDP_PASS: u32 = 2;
const PRANDOM: u32 = 7; // bpf_get_prandom_u32()
const REDIRECT: u32 = 23; // bpf_redirect()
/// `r0 = XDP_PASS; exit`
const PASS: [u64; 2] = [set(0, XDP_PASS), EXIT];
const LICENCE: &[u8] = b"GPL\0";

/// The head of `union bpf_attr` for BPF_PROG_LOAD.
#[repr(C)]
struct ProgLoad {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
}

/// The head of `union bpf_attr` for BPF_LINK_CREATE.
#[repr(C)]
struct LinkCreate {
    prog_fd: u32,
    target_ifindex: u32,
    attach_type: u32,
    flags: u32,
}

/// What a bad wire does to packets, in thousandths.
#[derive(Debug, Clone, Copy)]
pub struct Faults {
    pub lost: u32,
    /// They make a detour, so that those behind them overtake.
    pub late: u32,
}

const EXIT: u64 = insn(0x95, 0, 0, 0);

const fn insn(code: u64, register: u64, skip: u64, value: u32) -> u64 {
    code | register << 8 | skip << 16 | (value as u64) << 32
}

const fn set(register: u64, value: u32) -> u64 {
    insn(0xb7, register, 0, value)
}

const fn call(helper: u32) -> u64 {
    insn(0x85, 0, 0, helper)
}

/// Skips instructions when r0 is less.
const fn skip_if_less(value: u32, skip: u64) -> u64 {
    insn(0xa5, 0, skip, value)
}

/// Late packets go out through `detour`, an interface.
fn bad(faults: Faults, detour: u32) -> [u64; 12] {
    [
        call(PRANDOM),
        insn(0x94, 0, 0, 1_000), // w0 %= 1000
        skip_if_less(faults.lost, 3),
        skip_if_less(faults.lost + faults.late, 4),
        set(0, XDP_PASS),
        EXIT,
        set(0, XDP_DROP),
        EXIT,
        set(1, detour),
        set(2, 0),
        call(REDIRECT),
        EXIT,
    ]
}

/// Loses packets, and sends others out through `detour`; as
/// [`pass_everything`].
pub fn lose(ifindex: u32, faults: Faults, detour: u32) -> Result<OwnedFd> {
    attach(&bad(faults, detour), ifindex)
}

/// Attaches the program to an interface of the calling thread's namespace, in
/// native mode, for as long as the returned descriptor is open.
pub fn pass_everything(ifindex: u32) -> Result<OwnedFd> {
    attach(&PASS, ifindex)
}

fn attach(code: &[u64], ifindex: u32) -> Result<OwnedFd> {
    let load = ProgLoad {
        prog_type: BPF_PROG_TYPE_XDP,
        insn_cnt: code.len() as u32,
        insns: code.as_ptr() as u64,
        license: LICENCE.as_ptr() as u64,
        log_level: 0,
        log_size: 0,
        log_buf: 0,
        kern_version: 0,
        prog_flags: BPF_F_XDP_HAS_FRAGS,
    };
    let program = bpf(BPF_PROG_LOAD, &load).map_err(Error::io("load an XDP program"))?;
    let link = LinkCreate {
        prog_fd: program.as_raw_fd() as u32,
        target_ifindex: ifindex,
        attach_type: BPF_XDP,
        flags: XDP_FLAGS_DRV_MODE,
    };
    let what = format!("attach an XDP program to interface {ifindex}");
    bpf(BPF_LINK_CREATE, &link).map_err(Error::io(what))
}

fn bpf<T>(command: libc::c_long, attr: &T) -> io::Result<OwnedFd> {
    // SAFETY: `attr` is the head of a bpf_attr for this command, of the size
    // that is given; what it points to outlives the call, and is only read.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, command, attr, size_of::<T>()) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: both commands return a new descriptor that nobody else has.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}
