//! Which sockets were given another address than they asked for, and the end
//! of those whose backend is gone.

use std::collections::BTreeSet;
use std::os::fd::AsFd as _;

use libbpf_rs::MapHandle;
use terrace_abi::consts::{PEER_CONNECTED, PEER_TERMINATE};
use terrace_abi::{Maps, Plain as _, Program, sys, types};

use crate::objects::{self, Own};
use crate::{Error, netns};

const OBJECT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/sockets.bpf.o"));
const UDP: u8 = 17;

/// Iterators over the sockets of this host.
///
/// Loading needs a kernel that lets programs close sockets (Linux 6.5).
#[derive(Debug)]
pub struct Sockets {
    programs: Vec<Program>,
    own: Own,
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
        let own = objects::own_maps(max_entries);
        let loaded = terrace_abi::load_with("sockets", OBJECT, maps, &[], &own)?;
        Ok(Self {
            programs: loaded.programs,
            own: Own::new(loaded.maps),
        })
    }

    /// The loaded programs, for their sizes.
    pub fn programs(&self) -> &[Program] {
        &self.programs
    }

    /// Every socket with a service or proxy, in all network namespaces.
    pub fn list(&self) -> Result<Vec<types::socket_row>, Error> {
        let mut rows = self.connected()?;
        rows.extend(self.rows("list_datagrams", "datagram_peers")?);
        Ok(rows)
    }

    fn connected(&self) -> Result<Vec<types::socket_row>, Error> {
        self.rows("list_connected", "socket_peers")
    }

    /// Closes the sockets that `keeps` says have lost their backend: datagram
    /// sockets that are connected, and those TCP ones that are to end with it.
    /// Their processes get ECONNABORTED. Sockets that are not connected move by
    /// themselves.
    pub fn close_stale(&self, keeps: impl Fn(&types::peer) -> bool) -> Result<Closed, Error> {
        let stale: Vec<types::socket_row> = self
            .connected()?
            .into_iter()
            .filter(|row| ends(&row.peer) && !keeps(&row.peer))
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
            self.iterate(name, None)?;
        }
        Ok(())
    }

    fn rows(&self, program: &str, map: &'static str) -> Result<Vec<types::socket_row>, Error> {
        let bytes = self.iterate(program, Some(self.own.map(map)?))?;
        let rows = bytes.chunks_exact(size_of::<types::socket_row>());
        Ok(rows.filter_map(types::socket_row::from_bytes).collect())
    }

    fn iterate(&self, name: &str, map: Option<&MapHandle>) -> Result<Vec<u8>, Error> {
        let program = self.programs.iter().find(|program| program.name() == name);
        let program = program.expect("sockets.bpf.c has this program");
        sys::iterate(program.as_fd(), map.map(|map| map.as_fd())).map_err(|source| Error::Ask {
            what: format!("its sockets ({name})"),
            source,
        })
    }
}

fn ends(peer: &types::peer) -> bool {
    let flags = u32::from(peer.flags);
    flags & PEER_CONNECTED != 0 && (peer.proto == UDP || flags & PEER_TERMINATE != 0)
}
