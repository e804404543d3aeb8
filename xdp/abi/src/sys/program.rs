//! Loaded programs: what they are, and running them on a packet.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd};

use super::{owned, ret};

/// What the kernel says about a loaded program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProgramInfo {
    /// The kernel's number of it.
    pub id: u32,
    /// At most 15 bytes of its name.
    pub name: String,
    /// Instructions that the verifier walked through.
    pub verified_instructions: u32,
    /// Bytes of machine code; 0 without a JIT.
    pub jited_bytes: u32,
    /// How often and how long it ran while [`enable_run_stats`] was on.
    pub runs: u64,
    pub run_ns: u64,
}

/// Has the kernel count and time every run of every program until the
/// descriptor is closed; that costs each run some tens of nanoseconds.
pub fn enable_run_stats() -> io::Result<OwnedFd> {
    // SAFETY: takes a number only.
    owned(unsafe { libbpf_sys::bpf_enable_stats(libbpf_sys::BPF_STATS_RUN_TIME) })
}

/// Describes a loaded program.
pub fn program_info(program: BorrowedFd<'_>) -> io::Result<ProgramInfo> {
    let mut info = libbpf_sys::bpf_prog_info::default();
    let mut len = size_of_val(&info) as u32;
    // SAFETY: `info` is a zeroed bpf_prog_info of `len` bytes; zero lengths in
    // it ask for no array.
    ret(unsafe { libbpf_sys::bpf_prog_get_info_by_fd(program.as_raw_fd(), &mut info, &mut len) })?;
    let name: Vec<u8> = info.name.iter().map(|&byte| byte as u8).collect();
    let name = CStr::from_bytes_until_nul(&name).unwrap_or_default();
    Ok(ProgramInfo {
        id: info.id,
        name: name.to_string_lossy().into_owned(),
        verified_instructions: info.verified_insns,
        jited_bytes: info.jited_prog_len,
        runs: info.run_cnt,
        run_ns: info.run_time_ns,
    })
}

/// Opens a loaded program by its number.
pub fn program_by_id(id: u32) -> io::Result<OwnedFd> {
    // SAFETY: takes a number only.
    owned(unsafe { libbpf_sys::bpf_prog_get_fd_by_id(id) })
}

/// What a packet program made of a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunOutput {
    /// The program's return value: an XDP or tc action.
    pub action: u32,
    /// The packet afterwards.
    pub packet: Vec<u8>,
    /// Mean time of one run in nanoseconds.
    pub nanoseconds: u32,
}

/// Room for what a program may add to a packet (encapsulation).
const GROWTH: usize = 256;

/// Runs an XDP or tc program on a packet (BPF_PROG_TEST_RUN); `context` is a
/// `struct xdp_md` or `struct __sk_buff`. The device in it is looked up in the
/// network namespace of the calling thread.
pub fn test_run(
    program: BorrowedFd<'_>,
    packet: &[u8],
    context: Option<&[u8]>,
    repeat: u32,
) -> io::Result<RunOutput> {
    let mut out = vec![0; packet.len() + GROWTH];
    let mut opts = libbpf_sys::bpf_test_run_opts {
        sz: size_of::<libbpf_sys::bpf_test_run_opts>() as _,
        data_in: packet.as_ptr().cast(),
        data_size_in: u32::try_from(packet.len()).map_err(io::Error::other)?,
        data_out: out.as_mut_ptr().cast(),
        data_size_out: u32::try_from(out.len()).map_err(io::Error::other)?,
        repeat: i32::try_from(repeat).map_err(io::Error::other)?,
        ..Default::default()
    };
    if let Some(context) = context {
        opts.ctx_in = context.as_ptr().cast();
        opts.ctx_size_in = u32::try_from(context.len()).map_err(io::Error::other)?;
    }
    // SAFETY: each pointer in `opts` has the length that stands beside it, and
    // all buffers outlive the call.
    ret(unsafe { libbpf_sys::bpf_prog_test_run_opts(program.as_raw_fd(), &mut opts) })?;
    out.truncate(opts.data_size_out as usize);
    Ok(RunOutput {
        action: opts.retval,
        packet: out,
        nanoseconds: opts.duration,
    })
}

/// Runs a `SEC("syscall")` program with `args` as its context, which it may
/// change; returns its return value.
pub fn test_run_syscall(program: BorrowedFd<'_>, args: &mut [u8]) -> io::Result<u32> {
    let mut opts = libbpf_sys::bpf_test_run_opts {
        sz: size_of::<libbpf_sys::bpf_test_run_opts>() as _,
        ..Default::default()
    };
    if !args.is_empty() {
        opts.ctx_in = args.as_mut_ptr().cast();
        opts.ctx_size_in = u32::try_from(args.len()).map_err(io::Error::other)?;
    }
    // SAFETY: `args` is writable for its length and outlives the call.
    ret(unsafe { libbpf_sys::bpf_prog_test_run_opts(program.as_raw_fd(), &mut opts) })?;
    Ok(opts.retval)
}
