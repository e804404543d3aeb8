//! XDP through netlink, which says why a driver refuses; BPF links don't.

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd};

use super::ret;

/// How XDP runs on an interface. Always named: without a mode the kernel
/// silently falls back to generic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum XdpMode {
    /// In the driver.
    Native,
    /// In the stack, after the skb is made.
    Generic,
}

impl XdpMode {
    fn flags(self) -> u32 {
        match self {
            Self::Native => libbpf_sys::XDP_FLAGS_DRV_MODE,
            Self::Generic => libbpf_sys::XDP_FLAGS_SKB_MODE,
        }
    }
}

/// The XDP programs of an interface, by number; 0 = none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct XdpState {
    /// The driver's program.
    pub native: u32,
    /// The stack's program.
    pub generic: u32,
    /// The NIC's program.
    pub offloaded: u32,
}

impl XdpState {
    /// All programs with their mode's name.
    pub fn programs(&self) -> impl Iterator<Item = (u32, &'static str)> {
        [
            (self.native, "native"),
            (self.generic, "generic"),
            (self.offloaded, "offloaded"),
        ]
        .into_iter()
        .filter(|(id, _)| *id != 0)
    }
}

/// Which programs an interface has.
pub fn xdp_query(ifindex: u32) -> io::Result<XdpState> {
    let mut opts = libbpf_sys::bpf_xdp_query_opts {
        sz: size_of::<libbpf_sys::bpf_xdp_query_opts>() as _,
        ..Default::default()
    };
    let ifindex = i32::try_from(ifindex).map_err(io::Error::other)?;
    // SAFETY: `opts` is complete and outlives the call.
    ret(unsafe { libbpf_sys::bpf_xdp_query(ifindex, 0, &mut opts) })?;
    let mut state = XdpState {
        native: opts.drv_prog_id,
        generic: opts.skb_prog_id,
        offloaded: opts.hw_prog_id,
    };
    // With one program the kernel fills in `prog_id` and the mode as well.
    match u32::from(opts.attach_mode) {
        libbpf_sys::XDP_ATTACHED_DRV => state.native = opts.prog_id,
        libbpf_sys::XDP_ATTACHED_SKB => state.generic = opts.prog_id,
        libbpf_sys::XDP_ATTACHED_HW => state.offloaded = opts.prog_id,
        _ => {}
    }
    Ok(state)
}

/// Attaches a program to an interface that has none in this mode.
pub fn xdp_attach(ifindex: u32, program: BorrowedFd<'_>, mode: XdpMode) -> io::Result<()> {
    let flags = mode.flags() | libbpf_sys::XDP_FLAGS_UPDATE_IF_NOEXIST;
    set(ifindex, program.as_raw_fd(), flags, None)
}

/// Detaches exactly this program; EEXIST when another one is there.
pub fn xdp_detach(ifindex: u32, program: BorrowedFd<'_>, mode: XdpMode) -> io::Result<()> {
    set(
        ifindex,
        -1,
        mode.flags() | libbpf_sys::XDP_FLAGS_REPLACE,
        Some(program),
    )
}

fn set(ifindex: u32, fd: i32, flags: u32, old: Option<BorrowedFd<'_>>) -> io::Result<()> {
    let opts = libbpf_sys::bpf_xdp_attach_opts {
        sz: size_of::<libbpf_sys::bpf_xdp_attach_opts>() as _,
        old_prog_fd: old.map_or(0, |fd| fd.as_raw_fd()),
        ..Default::default()
    };
    let ifindex = i32::try_from(ifindex).map_err(io::Error::other)?;
    // SAFETY: `opts` is complete and outlives the call.
    ret(unsafe { libbpf_sys::bpf_xdp_attach(ifindex, fd, flags, &opts) }).map(drop)
}
