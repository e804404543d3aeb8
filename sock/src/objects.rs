//! The maps that the objects of this crate have in common.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::AsFd as _;

use libbpf_rs::{MapCore as _, MapFlags, MapHandle};
use terrace_abi::{OwnMap, sys, types};

use crate::Error;

/// Every map of the socket tier, and how large it is.
pub(crate) fn own_maps(max_entries: u32) -> [OwnMap; 8] {
    let own = |name, value_size, entries| OwnMap {
        name,
        entries,
        value_size,
    };
    [
        own("socket_peers", size_of::<types::peer>(), 0),
        own("datagram_peers", size_of::<types::datagram_peers>(), 0),
        own("workloads", size_of::<types::workload>(), max_entries),
        own("inbound", size_of::<types::workload>(), max_entries),
        own("listeners", size_of::<u64>(), max_entries),
        own("proxy_ports", size_of::<u32>(), max_entries),
        own("proxy_nets", size_of::<u32>(), max_entries),
        own("handshakes", size_of::<types::peer>(), 0),
    ]
}

/// The maps of the socket tier, opened.
#[derive(Debug)]
pub struct Own(BTreeMap<String, MapHandle>);

impl Own {
    pub(crate) fn new(maps: BTreeMap<String, MapHandle>) -> Self {
        Self(maps)
    }

    /// One of them.
    pub fn map(&self, name: &'static str) -> Result<&MapHandle, Error> {
        self.0.get(name).ok_or_else(|| {
            let source = io::Error::from(io::ErrorKind::NotFound);
            error("open", name)(source)
        })
    }

    /// Writes an entry.
    pub fn put(&self, name: &'static str, key: &[u8], value: &[u8]) -> Result<(), Error> {
        let map = self.map(name)?;
        let sizes = (map.key_size(), map.value_size());
        sys::map_update(map.as_fd(), key, value, sizes).map_err(error("write", name))
    }

    /// Removes an entry; one that is not there is no error.
    pub fn remove(&self, name: &'static str, key: &[u8]) -> Result<(), Error> {
        match self.map(name)?.delete(key) {
            Err(source) if source.kind() != libbpf_rs::ErrorKind::NotFound => {
                Err(error("write", name)(io::Error::other(source)))
            }
            _ => Ok(()),
        }
    }

    /// All values of a map that is no array.
    pub fn values(&self, name: &'static str) -> Result<Vec<Vec<u8>>, Error> {
        let map = self.map(name)?;
        let values = map
            .keys()
            .filter_map(|key| map.lookup(&key, MapFlags::ANY).ok());
        Ok(values.flatten().collect())
    }

    /// All keys of a map that is no array.
    pub fn keys(&self, name: &'static str) -> Result<Vec<Vec<u8>>, Error> {
        Ok(self.map(name)?.keys().collect())
    }
}

fn error(action: &'static str, map: &'static str) -> impl Fn(io::Error) -> Error {
    move |source| Error::Map {
        action,
        map,
        source,
    }
}

/// The kernel's cookie of the calling thread's network namespace: unlike its
/// inode number it is never used again.
pub fn netns_cookie() -> io::Result<u64> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    sys::netns_cookie(socket.as_fd())
}
