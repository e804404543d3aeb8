//! What trials do on this machine. Each takes back what it did before it
//! returns, and in every way out of it; programs and sockets end with the process.

mod flower;
mod xsk;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd};

use terrace_abi::sys::{self, TrialLoad};

use crate::classifier::{self, Kind, Nic, Rule};

use super::{Ask, No, Said, Socket};
use crate::facts::Value;
use crate::wire::{NESTED, genl, netdev, push, route};

/// An address that no host has (RFC 5737).
pub(super) const TEST_NET: [u8; 4] = [192, 0, 2, 1];

/// Does a trial by its name.
pub(super) fn run(name: &str, ifindex: u32, iface: &str) -> Result<Said, No> {
    let freed = |loaded: std::io::Result<_>| loaded.map(drop).map_err(No::from);
    let done = |()| Said::Fields(BTreeMap::new());
    match name {
        "prog_load" => freed(sys::trial_load(TrialLoad::Plain)).map(done),
        "prog_load_frags" => freed(sys::trial_load(TrialLoad::Frags)).map(done),
        "prog_load_dev_bound" => freed(sys::trial_load(TrialLoad::DevBound(ifindex))).map(done),
        "prog_load_ifindex" => freed(sys::trial_load(TrialLoad::Offload(ifindex))).map(done),
        "map_create_ifindex" => freed(sys::trial_map(ifindex)).map(done),
        "xsk_bind_copy" => xsk::bind(ifindex, false),
        "xsk_bind_zc" => xsk::bind(ifindex, true),
        "attach_drv" => attach(ifindex, TrialLoad::Plain),
        "attach_drv_frags" => attach(ifindex, TrialLoad::Frags),
        "flower_skip_sw" => flower::drop_rule(ifindex),
        "ntuple_insert" => ntuple(iface),
        _ => Err(No::word(No::RECORDED)),
    }
}

/// Attaches by a link, which nothing outlives; if that fails, asks once more by
/// netlink, as only that tells why.
fn attach(ifindex: u32, how: TrialLoad) -> Result<Said, No> {
    let program = sys::trial_load(how)?;
    match sys::trial_attach(ifindex, program.as_fd()) {
        Ok(link) => {
            let told = while_attached(ifindex);
            drop(link);
            told
        }
        Err(refused) => {
            let words = explained(ifindex, program.as_fd());
            Err(words.unwrap_or_else(|| No::from(refused)))
        }
    }
}

/// What the kernel lists while a program is attached: many drivers can be
/// redirected to only then.
fn while_attached(ifindex: u32) -> Result<Said, No> {
    let mut fields = BTreeMap::new();
    if let Some(features) = features(ifindex) {
        fields.insert("xdp_features".to_owned(), Value::from(features));
    }
    let state = sys::xdp_query(ifindex)?;
    let native = Value::Bool(state.native != 0);
    fields.insert("native".to_owned(), native);
    Ok(Said::Fields(fields))
}

fn features(ifindex: u32) -> Option<u64> {
    let mut socket = Socket::generic().ok()?;
    let family = socket.family("netdev").ok()?;
    let mut body = vec![netdev::DEV_GET, 1, 0, 0];
    push(&mut body, 1, &ifindex.to_ne_bytes());
    let replies = socket.request(family, 0, &body).ok()?;
    crate::wire::Attrs::after(replies.first()?, genl::HEADER).uint(3)
}

/// The kernel's words for a refusal. If it accepts this time, the program is
/// taken off again.
fn explained(ifindex: u32, program: BorrowedFd<'_>) -> Option<No> {
    const DRV: u32 = 1 << 2;
    const NOEXIST: u32 = 1;
    const REPLACE: u32 = 1 << 4;
    let mut socket = Socket::route().ok()?;
    let fd = program.as_raw_fd();
    let answer = set_xdp(&mut socket, ifindex, fd, DRV | NOEXIST, None);
    if answer.is_ok() {
        // Nothing is left to do if it fails: somebody else has replaced it.
        let _ = set_xdp(&mut socket, ifindex, -1, DRV | REPLACE, Some(fd));
    }
    answer.err()
}

fn set_xdp(
    socket: &mut Socket,
    ifindex: u32,
    fd: i32,
    flags: u32,
    expected: Option<i32>,
) -> Result<(), No> {
    const RTM_SETLINK: u16 = 19;
    const IFLA_XDP: u16 = 43;
    let mut xdp = Vec::new();
    push(&mut xdp, 1, &fd.to_ne_bytes());
    push(&mut xdp, 3, &flags.to_ne_bytes());
    if let Some(expected) = expected {
        push(&mut xdp, 8, &expected.to_ne_bytes());
    }
    let mut body = vec![0; route::LINK.header_len];
    body[4..8].copy_from_slice(&ifindex.to_ne_bytes());
    push(&mut body, IFLA_XDP | NESTED, &xdp);
    socket.request(RTM_SETLINK, 0, &body).map(drop)
}

/// Adds a rule that drops packets from a documentation address, reads it back, and
/// removes it.
fn ntuple(iface: &str) -> Result<Said, No> {
    let mut nic = Nic {
        iface: iface.to_owned(),
    };
    let rule = Rule::Deny(IpAddr::from(TEST_NET).into());
    let mut note = |_: &BTreeSet<Rule>| Ok(());
    let outcome = classifier::sync(&mut nic, Kind::Deny, (&BTreeSet::new(), &[rule]), &mut note)?;
    classifier::clear(&mut nic, &outcome.owned)?;
    match outcome.refused {
        Some(refused) => Err(refused.no),
        None => Ok(Said::Fields(BTreeMap::new())),
    }
}

/// A request of the probes by its parts, for trials that ask back.
pub(super) fn ask(socket: &mut Socket, ask: &Ask) -> Result<Vec<Vec<u8>>, No> {
    socket.dump(ask.command, &ask.body)
}
