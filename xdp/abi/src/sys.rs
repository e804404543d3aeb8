//! The system calls that libbpf-rs 0.25 has no safe wrapper for, one thin safe
//! function each. With `plain.rs` this folder is the only unsafe code of the
//! tables and the loaders.

mod cgroup;
mod classify;
mod clock;
mod ethtool;
mod iface;
mod link;
mod map;
mod mount;
mod offload;
mod program;
mod signal;
mod sockmap;
mod trial;
mod xdp;

use std::io;

pub use cgroup::{
    SocketHook, SocketLink, iterate, netns_cookie, socket_attach, socket_link_info, socket_query,
};
pub use classify::{
    CLASSIFY_DROP, FlowSpec, RuleTable, classify_add, classify_places, classify_remove,
    classify_rule, classify_table,
};
pub use clock::hz;
pub use ethtool::{DriverInfo, ethtool_info};
pub use iface::{OFFLOADS, ethtool_driver, ethtool_flags, ethtool_offload_off, interfaces};
pub use link::{
    LinkInfo, TcxPoint, create_clsact, destroy_clsact, link_detach, link_info, link_update,
    tcx_attach, tcx_query,
};
use map::check_size;
pub use map::{Words, lookup_batch, lookup_percpu_batch, map_update, possible_cpus};
use mount::owned;
pub use mount::{is_bpffs, mount_bpffs, open_pin, pin};
pub use offload::{Instruction, NicMap, map_read, nic_attach, nic_attach_asked, nic_load, nic_map};
pub use program::{
    ProgramInfo, RunOutput, enable_run_stats, program_by_id, program_info, test_run,
    test_run_syscall,
};
pub use signal::block_signals;
pub use sockmap::{message_attach, tracepoint_attach};
pub use trial::{TrialLoad, trial_attach, trial_load, trial_map};
pub use xdp::{XdpMode, XdpState, xdp_attach, xdp_detach, xdp_query};

/// A libbpf return value: negative is an errno.
fn ret(value: i32) -> io::Result<i32> {
    if value < 0 {
        Err(io::Error::from_raw_os_error(-value))
    } else {
        Ok(value)
    }
}
