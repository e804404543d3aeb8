//! TCX links, and the clsact qdisc of kernels without TCX.

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd};

use super::{owned, ret};

/// Where on an interface a tc program sits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TcxPoint {
    /// Packets that the interface receives.
    Ingress,
    /// Packets that it sends.
    Egress,
}

impl TcxPoint {
    fn attach_type(self) -> libbpf_sys::bpf_attach_type {
        match self {
            Self::Ingress => libbpf_sys::BPF_TCX_INGRESS,
            Self::Egress => libbpf_sys::BPF_TCX_EGRESS,
        }
    }
}

/// A TCX link as the kernel describes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinkInfo {
    /// The program that runs.
    pub program_id: u32,
    /// The interface; 0 when it is gone.
    pub ifindex: u32,
    /// Which side of it.
    pub point: TcxPoint,
}

/// Attaches a tc program in front of all others of that hook (Linux 6.6).
pub fn tcx_attach(program: BorrowedFd<'_>, ifindex: u32, point: TcxPoint) -> io::Result<OwnedFd> {
    let opts = libbpf_sys::bpf_link_create_opts {
        sz: size_of::<libbpf_sys::bpf_link_create_opts>() as _,
        flags: libbpf_sys::BPF_F_BEFORE,
        ..Default::default()
    };
    let ifindex = i32::try_from(ifindex).map_err(io::Error::other)?;
    // SAFETY: `opts` is complete (the tcx part zeroed) and outlives the call.
    owned(unsafe {
        libbpf_sys::bpf_link_create(program.as_raw_fd(), ifindex, point.attach_type(), &opts)
    })
}

/// Replaces the program of a link; packets see the old or the new one.
pub fn link_update(link: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: null options are allowed.
    ret(unsafe {
        libbpf_sys::bpf_link_update(link.as_raw_fd(), program.as_raw_fd(), std::ptr::null())
    })
    .map(drop)
}

/// Detaches a link at once. Closing it or removing its pin does so too, but
/// later, in a work queue of the kernel.
pub fn link_detach(link: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: takes a descriptor only.
    ret(unsafe { libbpf_sys::bpf_link_detach(link.as_raw_fd()) }).map(drop)
}

/// Describes a link; `None` if it isn't a TCX link.
pub fn link_info(link: BorrowedFd<'_>) -> io::Result<Option<LinkInfo>> {
    let mut info = libbpf_sys::bpf_link_info::default();
    let mut len = size_of_val(&info) as u32;
    // SAFETY: `info` is a zeroed bpf_link_info of `len` bytes.
    ret(unsafe { libbpf_sys::bpf_link_get_info_by_fd(link.as_raw_fd(), &mut info, &mut len) })?;
    if info.type_ != libbpf_sys::BPF_LINK_TYPE_TCX {
        return Ok(None);
    }
    // SAFETY: the type says that this part of the union is filled in.
    let tcx = unsafe { info.__bindgen_anon_1.tcx };
    let point = match tcx.attach_type {
        libbpf_sys::BPF_TCX_INGRESS => TcxPoint::Ingress,
        _ => TcxPoint::Egress,
    };
    Ok(Some(LinkInfo {
        program_id: info.prog_id,
        ifindex: tcx.ifindex,
        point,
    }))
}

/// Numbers of the programs on a TCX hook, in the order that they run. EINVAL
/// says that the kernel has no TCX.
pub fn tcx_query(ifindex: u32, point: TcxPoint) -> io::Result<Vec<u32>> {
    let mut ids = vec![0u32; 64];
    let mut opts = libbpf_sys::bpf_prog_query_opts {
        sz: size_of::<libbpf_sys::bpf_prog_query_opts>() as _,
        prog_ids: ids.as_mut_ptr(),
        ..Default::default()
    };
    opts.__bindgen_anon_1.count = ids.len() as u32;
    let target = i32::try_from(ifindex).map_err(io::Error::other)?;
    // SAFETY: `prog_ids` has room for `count` numbers and outlives the call.
    ret(unsafe { libbpf_sys::bpf_prog_query_opts(target, point.attach_type(), &mut opts) })?;
    // SAFETY: both parts of the union are the same u32.
    ids.truncate(unsafe { opts.__bindgen_anon_1.count } as usize);
    Ok(ids)
}

fn clsact(ifindex: u32) -> io::Result<libbpf_sys::bpf_tc_hook> {
    Ok(libbpf_sys::bpf_tc_hook {
        sz: size_of::<libbpf_sys::bpf_tc_hook>() as _,
        ifindex: i32::try_from(ifindex).map_err(io::Error::other)?,
        attach_point: libbpf_sys::BPF_TC_INGRESS | libbpf_sys::BPF_TC_EGRESS,
        ..Default::default()
    })
}

/// Adds a clsact qdisc; `false` if the interface had one.
pub fn create_clsact(ifindex: u32) -> io::Result<bool> {
    let mut hook = clsact(ifindex)?;
    // SAFETY: `hook` is complete and outlives the call.
    match ret(unsafe { libbpf_sys::bpf_tc_hook_create(&mut hook) }) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}

/// Removes the clsact qdisc with all its filters.
pub fn destroy_clsact(ifindex: u32) -> io::Result<()> {
    let mut hook = clsact(ifindex)?;
    // SAFETY: `hook` is complete and outlives the call.
    ret(unsafe { libbpf_sys::bpf_tc_hook_destroy(&mut hook) }).map(drop)
}
