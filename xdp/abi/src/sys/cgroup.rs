//! Programs on cgroups and network namespaces, and iterators over sockets.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd};

use super::{owned, ret};

/// What a program on a cgroup or a network namespace is asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SocketHook {
    Bind4,
    Bind6,
    Connect4,
    Connect6,
    GetPeerName4,
    GetPeerName6,
    GetSockOpt,
    PostBind4,
    PostBind6,
    RecvMsg4,
    RecvMsg6,
    SendMsg4,
    SendMsg6,
    SetSockOpt,
    SockOps,
    /// A process closes a socket.
    SockRelease,
    /// Of a network namespace.
    SkLookup,
}

impl SocketHook {
    /// Those of cgroups.
    pub const OF_CGROUPS: [Self; 15] = [
        Self::Bind4,
        Self::Bind6,
        Self::Connect4,
        Self::Connect6,
        Self::GetPeerName4,
        Self::GetPeerName6,
        Self::GetSockOpt,
        Self::PostBind4,
        Self::PostBind6,
        Self::RecvMsg4,
        Self::RecvMsg6,
        Self::SendMsg4,
        Self::SendMsg6,
        Self::SockOps,
        Self::SockRelease,
    ];

    /// As in section names of libbpf, and in pins.
    pub fn name(self) -> &'static str {
        match self {
            Self::Bind4 => "bind4",
            Self::Bind6 => "bind6",
            Self::Connect4 => "connect4",
            Self::Connect6 => "connect6",
            Self::GetPeerName4 => "getpeername4",
            Self::GetPeerName6 => "getpeername6",
            Self::GetSockOpt => "getsockopt",
            Self::PostBind4 => "post_bind4",
            Self::PostBind6 => "post_bind6",
            Self::RecvMsg4 => "recvmsg4",
            Self::RecvMsg6 => "recvmsg6",
            Self::SendMsg4 => "sendmsg4",
            Self::SendMsg6 => "sendmsg6",
            Self::SetSockOpt => "setsockopt",
            Self::SockOps => "sockops",
            Self::SockRelease => "sock_release",
            Self::SkLookup => "sk_lookup",
        }
    }

    fn attach_type(self) -> libbpf_sys::bpf_attach_type {
        match self {
            Self::Bind4 => libbpf_sys::BPF_CGROUP_INET4_BIND,
            Self::Bind6 => libbpf_sys::BPF_CGROUP_INET6_BIND,
            Self::Connect4 => libbpf_sys::BPF_CGROUP_INET4_CONNECT,
            Self::Connect6 => libbpf_sys::BPF_CGROUP_INET6_CONNECT,
            Self::GetPeerName4 => libbpf_sys::BPF_CGROUP_INET4_GETPEERNAME,
            Self::GetPeerName6 => libbpf_sys::BPF_CGROUP_INET6_GETPEERNAME,
            Self::GetSockOpt => libbpf_sys::BPF_CGROUP_GETSOCKOPT,
            Self::PostBind4 => libbpf_sys::BPF_CGROUP_INET4_POST_BIND,
            Self::PostBind6 => libbpf_sys::BPF_CGROUP_INET6_POST_BIND,
            Self::RecvMsg4 => libbpf_sys::BPF_CGROUP_UDP4_RECVMSG,
            Self::RecvMsg6 => libbpf_sys::BPF_CGROUP_UDP6_RECVMSG,
            Self::SendMsg4 => libbpf_sys::BPF_CGROUP_UDP4_SENDMSG,
            Self::SendMsg6 => libbpf_sys::BPF_CGROUP_UDP6_SENDMSG,
            Self::SetSockOpt => libbpf_sys::BPF_CGROUP_SETSOCKOPT,
            Self::SockOps => libbpf_sys::BPF_CGROUP_SOCK_OPS,
            Self::SockRelease => libbpf_sys::BPF_CGROUP_INET_SOCK_RELEASE,
            Self::SkLookup => libbpf_sys::BPF_SK_LOOKUP,
        }
    }
}

/// Attaches a program to a cgroup (`target` is its folder, opened) or to a
/// network namespace, beside those that are there and after them. EPERM says
/// that a program there or above allows no other beside it.
pub fn socket_attach(
    program: BorrowedFd<'_>,
    target: BorrowedFd<'_>,
    hook: SocketHook,
) -> io::Result<OwnedFd> {
    // SAFETY: descriptors and a number; null options are allowed.
    owned(unsafe {
        libbpf_sys::bpf_link_create(
            program.as_raw_fd(),
            target.as_raw_fd(),
            hook.attach_type(),
            std::ptr::null(),
        )
    })
}

/// Numbers of the programs of a hook on a cgroup, in the order that they run.
pub fn socket_query(cgroup: BorrowedFd<'_>, hook: SocketHook) -> io::Result<Vec<u32>> {
    let mut ids = vec![0u32; 64];
    let mut opts = libbpf_sys::bpf_prog_query_opts {
        sz: size_of::<libbpf_sys::bpf_prog_query_opts>() as _,
        prog_ids: ids.as_mut_ptr(),
        ..Default::default()
    };
    opts.__bindgen_anon_1.count = ids.len() as u32;
    // SAFETY: `prog_ids` has room for `count` numbers and outlives the call.
    ret(unsafe {
        libbpf_sys::bpf_prog_query_opts(cgroup.as_raw_fd(), hook.attach_type(), &mut opts)
    })?;
    // SAFETY: both parts of the union are the same u32.
    ids.truncate(unsafe { opts.__bindgen_anon_1.count } as usize);
    Ok(ids)
}

/// Where a link of a socket program is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SocketLink {
    /// The program that runs.
    pub program_id: u32,
    /// The cgroup's number, or the inode number of the network namespace; 0
    /// when it is gone.
    pub target: u64,
}

/// Describes a link; `None` if it is of another type.
pub fn socket_link_info(link: BorrowedFd<'_>) -> io::Result<Option<SocketLink>> {
    let mut info = libbpf_sys::bpf_link_info::default();
    let mut len = size_of_val(&info) as u32;
    // SAFETY: `info` is a zeroed bpf_link_info of `len` bytes.
    ret(unsafe { libbpf_sys::bpf_link_get_info_by_fd(link.as_raw_fd(), &mut info, &mut len) })?;
    let target = match info.type_ {
        // SAFETY: the type says that this part of the union is filled in.
        libbpf_sys::BPF_LINK_TYPE_CGROUP => unsafe { info.__bindgen_anon_1.cgroup.cgroup_id },
        libbpf_sys::BPF_LINK_TYPE_NETNS => {
            // SAFETY: as above.
            u64::from(unsafe { info.__bindgen_anon_1.netns.netns_ino })
        }
        _ => return Ok(None),
    };
    Ok(Some(SocketLink {
        program_id: info.prog_id,
        target,
    }))
}

/// Runs an iterator program over all that there is in the calling thread's
/// network namespace, or over the elements of `map`; what it has written.
pub fn iterate(program: BorrowedFd<'_>, map: Option<BorrowedFd<'_>>) -> io::Result<Vec<u8>> {
    let mut info = libbpf_sys::bpf_iter_link_info::default();
    let mut opts = libbpf_sys::bpf_link_create_opts {
        sz: size_of::<libbpf_sys::bpf_link_create_opts>() as _,
        ..Default::default()
    };
    if let Some(map) = map {
        info.map.map_fd = map.as_raw_fd() as u32;
        opts.iter_info = &mut info;
        opts.iter_info_len = size_of_val(&info) as u32;
    }
    // SAFETY: `opts` and the `info` that it points at outlive the call.
    let link = owned(unsafe {
        libbpf_sys::bpf_link_create(program.as_raw_fd(), 0, libbpf_sys::BPF_TRACE_ITER, &opts)
    })?;
    // SAFETY: takes a descriptor only.
    let run = owned(unsafe { libbpf_sys::bpf_iter_create(link.as_raw_fd()) })?;
    let mut written = Vec::new();
    File::from(run).read_to_end(&mut written)?;
    Ok(written)
}

/// The cookie of a socket's network namespace: unlike its inode number it is
/// never used again (Linux 5.14).
pub fn netns_cookie(socket: BorrowedFd<'_>) -> io::Result<u64> {
    let mut cookie = 0u64;
    let mut len = size_of_val(&cookie) as libc::socklen_t;
    // SAFETY: `cookie` has room for `len` bytes.
    let done = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_NETNS_COOKIE,
            std::ptr::from_mut(&mut cookie).cast(),
            &mut len,
        )
    };
    match done {
        0 => Ok(cookie),
        _ => Err(io::Error::last_os_error()),
    }
}
