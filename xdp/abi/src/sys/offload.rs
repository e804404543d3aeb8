//! Programs and maps of a NIC. The same calls make them for this host when no
//! interface is named, so that what a NIC would do can be tried here.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd};

use super::mount::owned;
use super::{check_size, ret};

/// One instruction of a BPF program (linux/bpf.h, `struct bpf_insn`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Instruction {
    /// Operation.
    pub code: u8,
    /// Destination register.
    pub dst: u8,
    /// Source register.
    pub src: u8,
    /// Jump distance or offset of an access.
    pub off: i16,
    /// Number.
    pub imm: i32,
}

impl Instruction {
    fn raw(self) -> libbpf_sys::bpf_insn {
        let mut raw = libbpf_sys::bpf_insn {
            code: self.code,
            off: self.off,
            imm: self.imm,
            ..Default::default()
        };
        raw.set_dst_reg(self.dst);
        raw.set_src_reg(self.src);
        raw
    }
}

/// The kinds of maps that NICs take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NicMap {
    /// By index.
    Array,
    /// By key.
    Hash,
}

/// A map of a NIC, with sizes of key and value and so many entries; interface 0 = of
/// this host. It has no BTF, which NICs refuse.
pub fn nic_map(
    ifindex: u32,
    kind: NicMap,
    (key, value): (u32, u32),
    entries: u32,
) -> io::Result<OwnedFd> {
    let kind = match kind {
        NicMap::Array => libbpf_sys::BPF_MAP_TYPE_ARRAY,
        NicMap::Hash => libbpf_sys::BPF_MAP_TYPE_HASH,
    };
    let opts = libbpf_sys::bpf_map_create_opts {
        sz: size_of::<libbpf_sys::bpf_map_create_opts>() as _,
        map_ifindex: ifindex,
        ..Default::default()
    };
    // SAFETY: the name ends with zero, and `opts` is complete and outlives the call.
    owned(unsafe {
        libbpf_sys::bpf_map_create(kind, c"terrace_nic".as_ptr(), key, value, entries, &opts)
    })
}

/// Loads an XDP program into a NIC, or for this host. On a refusal also the
/// verifier's or the driver's log.
pub fn nic_load(
    ifindex: u32,
    name: &str,
    program: &[Instruction],
) -> Result<OwnedFd, (io::Error, String)> {
    let plain = |error: io::Error| (error, String::new());
    let name = CString::new(name).map_err(|error| plain(io::Error::other(error)))?;
    let raw: Vec<_> = program.iter().map(|one| one.raw()).collect();
    let mut log = vec![0u8; 1 << 16];
    let mut opts = libbpf_sys::bpf_prog_load_opts {
        sz: size_of::<libbpf_sys::bpf_prog_load_opts>() as _,
        expected_attach_type: libbpf_sys::BPF_XDP,
        prog_ifindex: ifindex,
        log_level: 1,
        log_size: log.len() as u32,
        log_buf: log.as_mut_ptr().cast(),
        ..Default::default()
    };
    // SAFETY: the texts end with zero, the instructions and the log have the
    // lengths beside them, and all outlive the call.
    let loaded = owned(unsafe {
        libbpf_sys::bpf_prog_load(
            libbpf_sys::BPF_PROG_TYPE_XDP,
            name.as_ptr(),
            c"Dual BSD/GPL".as_ptr(),
            raw.as_ptr(),
            raw.len() as _,
            &mut opts,
        )
    });
    loaded.map_err(|error| {
        let end = log.iter().position(|byte| *byte == 0).unwrap_or(log.len());
        (error, String::from_utf8_lossy(&log[..end]).into_owned())
    })
}

/// Puts a NIC's program to work until the link is closed: no crash outlives it.
pub fn nic_attach(ifindex: u32, program: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let opts = libbpf_sys::bpf_link_create_opts {
        sz: size_of::<libbpf_sys::bpf_link_create_opts>() as _,
        flags: libbpf_sys::XDP_FLAGS_HW_MODE,
        ..Default::default()
    };
    let ifindex = i32::try_from(ifindex).map_err(io::Error::other)?;
    // SAFETY: `opts` is complete and outlives the call.
    owned(unsafe {
        libbpf_sys::bpf_link_create(program.as_raw_fd(), ifindex, libbpf_sys::BPF_XDP, &opts)
    })
}

/// Asks by netlink what a link does not tell: why the driver refuses. What it takes
/// after all is taken off at once.
pub fn nic_attach_asked(ifindex: u32, program: BorrowedFd<'_>) -> io::Result<()> {
    let index = i32::try_from(ifindex).map_err(io::Error::other)?;
    let flags = libbpf_sys::XDP_FLAGS_HW_MODE | libbpf_sys::XDP_FLAGS_UPDATE_IF_NOEXIST;
    let opts = libbpf_sys::bpf_xdp_attach_opts {
        sz: size_of::<libbpf_sys::bpf_xdp_attach_opts>() as _,
        ..Default::default()
    };
    // SAFETY: `opts` is complete and outlives the call.
    ret(unsafe { libbpf_sys::bpf_xdp_attach(index, program.as_raw_fd(), flags, &opts) })?;
    let old = libbpf_sys::bpf_xdp_attach_opts {
        old_prog_fd: program.as_raw_fd(),
        ..opts
    };
    let flags = libbpf_sys::XDP_FLAGS_HW_MODE | libbpf_sys::XDP_FLAGS_REPLACE;
    // SAFETY: as above.
    ret(unsafe { libbpf_sys::bpf_xdp_attach(index, -1, flags, &old) }).map(drop)
}

/// Reads one entry of a map into `value`.
pub fn map_read(
    map: BorrowedFd<'_>,
    key: &[u8],
    value: &mut [u8],
    (key_size, value_size): (u32, u32),
) -> io::Result<()> {
    check_size(key, key_size)?;
    check_size(value, value_size)?;
    // SAFETY: `key` and `value` have the lengths that the map was made with.
    ret(unsafe {
        libbpf_sys::bpf_map_lookup_elem(
            map.as_raw_fd(),
            key.as_ptr().cast(),
            value.as_mut_ptr().cast(),
        )
    })
    .map(drop)
}
