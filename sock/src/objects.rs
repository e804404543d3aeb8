//! The maps that the objects of this crate have in common.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::AsFd as _;

use libbpf_rs::{MapCore as _, MapFlags, MapHandle};
use terrace_abi::consts::SOCKET_WAYS;
use terrace_abi::{Constant, Loaded, Maps, OwnMap, sys, types};

use crate::Error;

/// The table of connected sockets.
const RECORDS: &str = "socket_records";

/// Loads an object on the tables of `maps` and the maps of this tier.
pub(crate) fn load(
    object: &'static str,
    bytes: &[u8],
    maps: &Maps,
    constants: &[Constant],
    max_entries: u32,
) -> Result<Loaded, Error> {
    let buckets = socket_buckets(maps, max_entries)?;
    let mask = ("socket_mask", u64::from(buckets - 1));
    let constants: Vec<Constant> = constants.iter().copied().chain([mask]).collect();
    let own = own_maps(max_entries, buckets);
    Ok(terrace_abi::load_with(
        object, bytes, maps, &constants, &own,
    )?)
}

/// Of the table that is pinned, else of a new one for so many sockets.
fn socket_buckets(maps: &Maps, max_entries: u32) -> Result<u32, Error> {
    let pin = maps.root().join("maps").join(RECORDS);
    if !pin.exists() {
        return Ok(max_entries.div_ceil(SOCKET_WAYS).next_power_of_two());
    }
    let found = MapHandle::from_pinned_path(&pin).map_err(io::Error::other);
    Ok(found.map_err(error("open", RECORDS))?.max_entries())
}

/// Every map of the socket tier, and how large it is.
fn own_maps(max_entries: u32, socket_buckets: u32) -> [OwnMap; 9] {
    let own = |name, value_size, entries| OwnMap {
        name,
        entries,
        value_size,
    };
    [
        own(RECORDS, size_of::<types::socket_bucket>(), socket_buckets),
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
