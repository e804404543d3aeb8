//! Which sockets were given another address than they asked for, and the end
//! of those whose backend is gone.

use std::collections::BTreeSet;

use libbpf_rs::Btf;
use libbpf_rs::btf::types::Func;
use terrace_abi::consts::{PEER_CONNECTED, PEER_TERMINATE};
use terrace_abi::{Maps, Program, types};

use crate::objects::{self, Own};
use crate::records::{Records, iterate, rows};
use crate::{Error, netns};

const OBJECT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/sockets.bpf.o"));
const UDP: u8 = 17;

/// Iterators over the sockets of this host.
#[derive(Debug)]
pub struct Sockets {
    programs: Vec<Program>,
    own: Own,
    records: Records,
    ends: bool,
}

/// What closing stale sockets did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Closed {
    /// Sockets whose backend is gone and that can't move by themselves.
    pub stale: usize,
    /// Those in network namespaces that could not be entered.
    pub out_of_reach: usize,
}

impl Sockets {
    /// Loads the iterators on the maps of the socket tier.
    pub fn load(maps: &Maps, max_entries: u32) -> Result<Self, Error> {
        let loaded = objects::load("sockets", OBJECT, maps, &[], max_entries)?;
        Ok(Self {
            programs: loaded.programs,
            own: Own::new(loaded.maps),
            records: Records::load(maps, max_entries)?,
            ends: can_end_sockets(),
        })
    }

    /// Whether this kernel lets programs end sockets (Linux 6.5). Where it does
    /// not, connected sockets stay with a backend that is gone.
    pub fn can_end(&self) -> bool {
        self.ends
    }

    /// The loaded programs, for their sizes.
    pub fn programs(&self) -> &[Program] {
        &self.programs
    }

    /// Every socket with a service or proxy, in all network namespaces.
    pub fn list(&self) -> Result<Vec<types::socket_row>, Error> {
        let mut rows = self.records.list()?;
        rows.extend(self.rows("list_connected", "socket_peers")?);
        rows.extend(self.rows("list_datagrams", "datagram_peers")?);
        Ok(rows)
    }

    /// Those that may have to end with their backend.
    fn ending(&self) -> Result<Vec<types::socket_row>, Error> {
        let mut rows = self.rows("list_connected", "socket_peers")?;
        rows.retain(|row| ends(&row.peer));
        rows.extend(self.records.ending()?);
        Ok(rows)
    }

    /// Closes the sockets that `keeps` says have lost their backend: datagram
    /// sockets that are connected, and those TCP ones that are to end with it.
    /// Their processes get ECONNABORTED. Sockets that are not connected move by
    /// themselves.
    pub fn close_stale(&self, keeps: impl Fn(&types::peer) -> bool) -> Result<Closed, Error> {
        if !self.ends {
            return Ok(Closed::default());
        }
        let stale: Vec<types::socket_row> = self
            .ending()?
            .into_iter()
            .filter(|row| !keeps(&row.peer))
            .collect();
        let wanted: BTreeSet<u64> = stale.iter().map(|row| row.netns).collect();
        let mut closed = Closed {
            stale: stale.len(),
            out_of_reach: 0,
        };
        if wanted.is_empty() {
            return Ok(closed);
        }
        let found = netns::find(&wanted);
        for inode in wanted {
            match found.get(&inode) {
                Some(namespace) => {
                    namespace.enter(|| self.run_here(&["close_tcp", "close_udp"]))??;
                }
                None => {
                    closed.out_of_reach += stale.iter().filter(|row| row.netns == inode).count();
                }
            }
        }
        Ok(closed)
    }

    /// Remembers the proxies that listen in a network namespace already.
    pub fn find_listeners(&self, namespace: &netns::Namespace) -> Result<(), Error> {
        namespace.enter(|| self.run_here(&["find_listeners"]))?
    }

    fn run_here(&self, names: &[&str]) -> Result<(), Error> {
        for name in names {
            iterate(&self.programs, name, None)?;
        }
        Ok(())
    }

    fn rows(&self, program: &str, map: &'static str) -> Result<Vec<types::socket_row>, Error> {
        rows(&self.programs, program, self.own.map(map)?)
    }
}

fn can_end_sockets() -> bool {
    let kernel = Btf::from_vmlinux().ok();
    kernel.is_some_and(|btf| btf.type_by_name::<Func<'_>>("bpf_sock_destroy").is_some())
}

fn ends(peer: &types::peer) -> bool {
    let flags = u32::from(peer.flags);
    flags & PEER_CONNECTED != 0 && (peer.proto == UDP || flags & PEER_TERMINATE != 0)
}
