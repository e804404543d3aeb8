//! Loads and attachments that only find out whether they work. What they make
//! ends with the descriptor that they return, at the latest with the process.

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd};

use super::mount::owned;

/// How a passing XDP program is loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrialLoad {
    /// For any interface.
    Plain,
    /// For packets of several buffers (5.18).
    Frags,
    /// For the driver of an interface, without its hardware (6.3).
    DevBound(u32),
    /// For the hardware of an interface.
    Offload(u32),
}

/// Loads a program that passes every packet.
pub fn trial_load(how: TrialLoad) -> io::Result<OwnedFd> {
    const PASS: i32 = 2;
    let mut pass = [
        libbpf_sys::bpf_insn {
            code: 0xb7,
            ..Default::default()
        },
        libbpf_sys::bpf_insn {
            code: 0x95,
            ..Default::default()
        },
    ];
    pass[0].imm = PASS;
    let (flags, ifindex) = match how {
        TrialLoad::Plain => (0, 0),
        TrialLoad::Frags => (libbpf_sys::BPF_F_XDP_HAS_FRAGS, 0),
        TrialLoad::DevBound(ifindex) => (libbpf_sys::BPF_F_XDP_DEV_BOUND_ONLY, ifindex),
        TrialLoad::Offload(ifindex) => (0, ifindex),
    };
    let mut opts = libbpf_sys::bpf_prog_load_opts {
        sz: size_of::<libbpf_sys::bpf_prog_load_opts>() as _,
        expected_attach_type: libbpf_sys::BPF_XDP,
        prog_flags: flags,
        prog_ifindex: ifindex,
        ..Default::default()
    };
    // SAFETY: the texts end with zero, the instructions have the length beside
    // them, and all outlive the call.
    owned(unsafe {
        libbpf_sys::bpf_prog_load(
            libbpf_sys::BPF_PROG_TYPE_XDP,
            c"terrace_trial".as_ptr(),
            c"Dual BSD/GPL".as_ptr(),
            pass.as_ptr(),
            pass.len() as _,
            &mut opts,
        )
    })
}

/// Makes an array map in the hardware of an interface.
pub fn trial_map(ifindex: u32) -> io::Result<OwnedFd> {
    let opts = libbpf_sys::bpf_map_create_opts {
        sz: size_of::<libbpf_sys::bpf_map_create_opts>() as _,
        map_ifindex: ifindex,
        ..Default::default()
    };
    // SAFETY: the name ends with zero, and `opts` is complete and outlives the call.
    owned(unsafe {
        libbpf_sys::bpf_map_create(
            libbpf_sys::BPF_MAP_TYPE_ARRAY,
            c"terrace_trial".as_ptr(),
            4,
            4,
            1,
            &opts,
        )
    })
}

/// Attaches a program in the driver until the link is closed (5.9).
pub fn trial_attach(ifindex: u32, program: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let opts = libbpf_sys::bpf_link_create_opts {
        sz: size_of::<libbpf_sys::bpf_link_create_opts>() as _,
        flags: libbpf_sys::XDP_FLAGS_DRV_MODE,
        ..Default::default()
    };
    let ifindex = i32::try_from(ifindex).map_err(io::Error::other)?;
    // SAFETY: `opts` is complete and outlives the call.
    owned(unsafe {
        libbpf_sys::bpf_link_create(program.as_raw_fd(), ifindex, libbpf_sys::BPF_XDP, &opts)
    })
}
