//! The deny list inside a NIC: a program and two maps that are bound to the device,
//! in front of the driver's own XDP.
//!
//! A NIC takes arrays and hashes only, and as many entries as it likes: the longest
//! part of the list that it takes goes there, and the host goes on dropping all of
//! it. The program is held by a link, so that no crash outlives the daemon.

mod code;
#[cfg(test)]
mod tests;

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use ipnet::IpNet;
use terrace_abi::{messages, sys};

use code::{KEY, key};

/// The program's name in the kernel; it begins like all of Terrace's.
pub const PROGRAM: &str = "terrace_nic";
/// Packets and bytes.
const COUNTS: u32 = 16;
/// Each length of a prefix costs the NIC a look-up for every packet.
const LENGTHS: usize = 8;

/// What a NIC does not take: where it stopped, with the kernel's own words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{step}: {words}")]
pub struct Refused {
    /// What was tried: make a map, fill it, load the program, attach it.
    pub step: &'static str,
    /// What came of it.
    pub words: String,
}

/// A part of a deny list in a NIC, until this is dropped.
#[derive(Debug)]
pub struct NicFilter {
    _link: Option<OwnedFd>,
    program: OwnedFd,
    counts: OwnedFd,
    _entries: OwnedFd,
    /// Entries that it holds, from the start of the list.
    pub held: usize,
    /// Why it does not hold the next one; None = that is all of them.
    pub full: Option<String>,
}

impl NicFilter {
    /// Compiles a list, loads it into the NIC and puts it to work. An earlier one
    /// must be dropped before: a NIC has one place.
    ///
    /// # Errors
    /// What the NIC did not take.
    pub fn attach(ifindex: u32, list: &[IpNet]) -> Result<Self, Refused> {
        let mut filter = Self::load(ifindex, list)?;
        let program = filter.program.as_fd();
        let link = sys::nic_attach(ifindex, program).map_err(|error| {
            let (asked, log) = messages::capture(|| sys::nic_attach_asked(ifindex, program));
            let words = messages::extack(&log);
            let words = words.or_else(|| asked.err().map(|error| error.to_string()));
            refused("attach the program", words.unwrap_or(error.to_string()))
        })?;
        filter._link = Some(link);
        match filter.is_attached(ifindex) {
            true => Ok(filter),
            false => Err(refused(
                "read it back",
                "the kernel took the program, but the NIC does not run it",
            )),
        }
    }

    /// Loads a list and attaches nothing; interface 0 = for this host.
    ///
    /// # Errors
    /// What was not taken.
    pub fn load(ifindex: u32, list: &[IpNet]) -> Result<Self, Refused> {
        let (list, lengths, mut full) = of_few_lengths(list);
        let counts = sys::nic_map(ifindex, sys::NicMap::Array, (4, COUNTS), 1)
            .map_err(|error| refused("make the map of counters", error))?;
        let (entries, room) = largest(ifindex, list.len())?;
        let mut held = 0;
        for net in list {
            if held == room {
                full = Some(format!("the NIC takes no map of more than {room} entries"));
                break;
            }
            let sizes = (KEY, 4);
            if let Err(error) = sys::map_update(entries.as_fd(), &key(net), &[1, 0, 0, 0], sizes) {
                full = Some(format!("entry {}: {error}", held + 1));
                break;
            }
            held += 1;
        }
        if held == 0 {
            return Err(refused("fill the map", full.unwrap_or_default()));
        }
        let code = code::compile(&lengths, entries.as_fd(), counts.as_fd());
        let program = sys::nic_load(ifindex, PROGRAM, &code)
            .map_err(|(error, log)| refused("load the program", words(&error, &log)))?;
        Ok(Self {
            _link: None,
            program,
            counts,
            _entries: entries,
            held,
            full,
        })
    }

    /// Whether the interface says that this very program is in its hardware.
    pub fn is_attached(&self, ifindex: u32) -> bool {
        let there = sys::xdp_query(ifindex).map(|state| state.offloaded);
        self.id()
            .is_some_and(|id| there.is_ok_and(|there| there == id))
    }

    /// The kernel's number of the program.
    pub fn id(&self) -> Option<u32> {
        let info = sys::program_info(self.program.as_fd()).ok()?;
        Some(info.id).filter(|id| *id != 0)
    }

    /// Packets and bytes that it has dropped; the NIC may begin anew.
    ///
    /// # Errors
    /// The NIC is gone.
    pub fn counts(&self) -> std::io::Result<(u64, u64)> {
        let mut value = [0; COUNTS as usize];
        sys::map_read(self.counts.as_fd(), &[0; 4], &mut value, (4, COUNTS))?;
        let word = |at: usize| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&value[at..at + 8]);
            u64::from_ne_bytes(bytes)
        };
        Ok((word(0), word(8)))
    }

    /// The program, to be tried on this host.
    pub fn program(&self) -> BorrowedFd<'_> {
        self.program.as_fd()
    }
}

fn refused(step: &'static str, words: impl ToString) -> Refused {
    let words = words.to_string();
    Refused { step, words }
}

/// The errno, and the last line that says why: after the verifier's own count.
fn words(error: &std::io::Error, log: &str) -> String {
    let told = |line: &&str| !line.is_empty() && !line.starts_with("processed ");
    match log.lines().map(str::trim).rfind(told) {
        Some(line) => format!("{error}: {line}"),
        None => error.to_string(),
    }
}

/// The start of a list that has few enough lengths of prefixes, these lengths, and why
/// not more.
fn of_few_lengths(list: &[IpNet]) -> (&[IpNet], Vec<IpNet>, Option<String>) {
    let mut lengths: Vec<IpNet> = Vec::new();
    for (at, net) in list.iter().enumerate() {
        if lengths.iter().any(|known| is_alike(known, net)) {
            continue;
        }
        if lengths.len() == LENGTHS {
            let why = format!("the program looks for {LENGTHS} lengths of prefixes, not more");
            return (&list[..at], lengths, Some(why));
        }
        lengths.push(*net);
    }
    (list, lengths, None)
}

fn is_alike(a: &IpNet, b: &IpNet) -> bool {
    matches!(a, IpNet::V6(_)) == matches!(b, IpNet::V6(_)) && a.prefix_len() == b.prefix_len()
}

/// The largest map of entries that the NIC takes, up to `wanted`.
fn largest(ifindex: u32, wanted: usize) -> Result<(OwnedFd, usize), Refused> {
    let make = |entries: usize| {
        let entries = u32::try_from(entries).unwrap_or(u32::MAX);
        sys::nic_map(ifindex, sys::NicMap::Hash, (KEY, 4), entries)
    };
    let wanted = wanted.max(1);
    let mut best = match make(wanted) {
        Ok(map) => return Ok((map, wanted)),
        Err(error) if !is_full(&error) => return Err(refused("make the map of entries", error)),
        Err(error) => match make(1) {
            Ok(map) => (map, 1),
            Err(_) => return Err(refused("make the map of entries", error)),
        },
    };
    let mut too_many = wanted;
    while best.1 + 1 < too_many {
        let middle = (best.1 + too_many) / 2;
        match make(middle) {
            Ok(map) => best = (map, middle),
            Err(_) => too_many = middle,
        }
    }
    Ok(best)
}

fn is_full(error: &std::io::Error) -> bool {
    use libc::{E2BIG, ENOMEM, ENOSPC};
    matches!(error.raw_os_error(), Some(ENOMEM | E2BIG | ENOSPC))
}
