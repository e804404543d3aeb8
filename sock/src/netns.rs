//! The network namespaces of this host, found by their names and processes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsFd, AsRawFd as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::thread;

use rustix::net;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::Error;
use crate::objects::netns_cookie;

const NAMED: &str = "/run/netns";

/// One network namespace. Nothing keeps it from ending.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Namespace {
    /// Its number; used again when it is gone.
    pub inode: u64,
    /// Where it was found.
    pub path: PathBuf,
}

/// What is known of one from inside.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inside {
    /// Its number that is never used again.
    pub cookie: u64,
    /// Its addresses but those of loopback and of links.
    pub addresses: BTreeSet<IpAddr>,
}

/// Those that have a name under /run/netns or a process.
pub fn all() -> Vec<Namespace> {
    let mut found = BTreeMap::new();
    for entry in folder(NAMED) {
        if let Ok(metadata) = entry.metadata() {
            found.entry(metadata.ino()).or_insert(entry.path());
        }
    }
    for entry in folder("/proc") {
        let is_process = entry
            .file_name()
            .to_string_lossy()
            .starts_with(|c: char| c.is_ascii_digit());
        let path = entry.path().join("ns/net");
        if let Some(inode) = is_process.then(|| inode_of(&path)).flatten() {
            found.entry(inode).or_insert(path);
        }
    }
    let all = found.into_iter();
    all.map(|(inode, path)| Namespace { inode, path }).collect()
}

/// Processes whose network namespace this one may not ask for: those that only they
/// have are not found.
pub fn hidden() -> usize {
    let links = folder("/proc").map(|entry| entry.path().join("ns/net"));
    let reads = links.map(fs::read_link);
    let denied = reads.filter(|read| {
        let error = read.as_ref().err().map(io::Error::kind);
        error == Some(io::ErrorKind::PermissionDenied)
    });
    denied.count()
}

/// Those of these numbers.
pub fn find(inodes: &BTreeSet<u64>) -> BTreeMap<u64, Namespace> {
    all()
        .into_iter()
        .filter(|namespace| inodes.contains(&namespace.inode))
        .map(|namespace| (namespace.inode, namespace))
        .collect()
}

fn folder(path: &str) -> impl Iterator<Item = fs::DirEntry> {
    fs::read_dir(path).into_iter().flatten().flatten()
}

/// `net:[4026531840]`
fn inode_of(path: &std::path::Path) -> Option<u64> {
    let link = fs::read_link(path).ok()?;
    let text = link.to_str()?.strip_prefix("net:[")?;
    text.strip_suffix(']')?.parse().ok()
}

impl Namespace {
    /// Runs `work` on a thread inside it.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, Error> {
        let file = self.open()?;
        let inside = thread::scope(|scope| {
            let inside = scope.spawn(|| {
                let kind = Some(LinkNameSpaceType::Network);
                move_into_link_name_space(file.as_fd(), kind).map(|()| work())
            });
            inside.join()
        });
        match inside {
            Ok(done) => done.map_err(|errno| self.error(errno.into())),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }

    /// Its file, to attach to it.
    pub fn open(&self) -> Result<File, Error> {
        File::open(&self.path).map_err(|source| self.error(source))
    }

    /// The number that the calling thread's network namespace has for it, as
    /// links say where their other end is; `None` = it has none.
    pub fn number_here(&self) -> Result<Option<i32>, Error> {
        let file = self.open()?;
        ask_number(&file).map_err(|source| self.error(source))
    }

    /// Looks at it from inside.
    pub fn look(&self) -> Result<Inside, Error> {
        self.enter(look_here)?.map_err(|source| self.error(source))
    }

    fn error(&self, source: io::Error) -> Error {
        Error::Ask {
            what: format!("network namespace {}", self.path.display()),
            source,
        }
    }
}

/// RTM_GETNSID of linux/rtnetlink.h and linux/net_namespace.h.
fn ask_number(file: &File) -> io::Result<Option<i32>> {
    const RTM_GETNSID: u16 = 90;
    const NLM_F_REQUEST: u16 = 1;
    const NETNSA_NSID: u16 = 1;
    const NETNSA_FD: u16 = 3;
    const LENGTH: u32 = 28;
    let mut request = Vec::new();
    request.extend(LENGTH.to_ne_bytes());
    request.extend(RTM_GETNSID.to_ne_bytes());
    request.extend(NLM_F_REQUEST.to_ne_bytes());
    // Sequence and port, then a struct rtgenmsg.
    request.extend([0; 8 + 4]);
    request.extend(8u16.to_ne_bytes());
    request.extend(NETNSA_FD.to_ne_bytes());
    request.extend(file.as_raw_fd().to_ne_bytes());
    // Protocol 0 is rtnetlink.
    let socket = net::socket_with(
        net::AddressFamily::NETLINK,
        net::SocketType::RAW,
        net::SocketFlags::CLOEXEC,
        None,
    )?;
    net::send(&socket, &request, net::SendFlags::empty())?;
    let mut answer = [0u8; 256];
    let (_, n) = net::recv(&socket, &mut answer[..], net::RecvFlags::empty())?;
    // Header of 16 bytes and a struct rtgenmsg of 4, then attributes.
    let mut rest = answer.get(20..n).unwrap_or_default();
    while let Some((head, body)) = rest.split_first_chunk::<4>() {
        let length = usize::from(u16::from_ne_bytes([head[0], head[1]]));
        let kind = u16::from_ne_bytes([head[2], head[3]]);
        if kind == NETNSA_NSID {
            let number = body
                .first_chunk::<4>()
                .map(|bytes| i32::from_ne_bytes(*bytes));
            return Ok(number.filter(|number| *number >= 0));
        }
        rest = rest
            .get(length.max(4).next_multiple_of(4)..)
            .unwrap_or_default();
    }
    Ok(None)
}

fn look_here() -> io::Result<Inside> {
    let v4 = fs::read_to_string("/proc/thread-self/net/fib_trie")?;
    // Not there without IPv6.
    let v6 = fs::read_to_string("/proc/thread-self/net/if_inet6").unwrap_or_default();
    let v4 = v4_addresses(&v4).map(IpAddr::V4);
    let v6 = v6_addresses(&v6).map(IpAddr::V6);
    Ok(Inside {
        cookie: netns_cookie()?,
        addresses: v4.chain(v6).collect(),
    })
}

/// A local address is a leaf `|-- 10.0.0.1` followed by `/32 host LOCAL`.
fn v4_addresses(fib_trie: &str) -> impl Iterator<Item = Ipv4Addr> + '_ {
    let mut leaf = None;
    fib_trie.lines().filter_map(move |line| {
        let line = line.trim();
        if let Some(address) = line.strip_prefix("|-- ") {
            leaf = address.parse::<Ipv4Addr>().ok();
            return None;
        }
        let found = leaf.filter(|_| line.starts_with("/32 host LOCAL"));
        found.filter(|address| !address.is_loopback())
    })
}

/// The first field of each line is the address in 32 digits.
fn v6_addresses(if_inet6: &str) -> impl Iterator<Item = Ipv6Addr> + '_ {
    let addresses = if_inet6.lines().filter_map(|line| {
        let digits = line.split_whitespace().next()?;
        u128::from_str_radix(digits, 16).ok().map(Ipv6Addr::from)
    });
    addresses.filter(|address| !address.is_loopback() && !address.is_unicast_link_local())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_the_kernel_writes_them() {
        let trie = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 0.0.0.0\n        /0 universe UNICAST\n\
                    Local:\n     |-- 10.40.0.2\n        /32 host LOCAL\n     |-- 10.40.0.255\n\
                            /32 link BROADCAST\n     |-- 127.0.0.1\n        /32 host LOCAL\n";
        let v4: Vec<_> = v4_addresses(trie).collect();
        assert_eq!(v4, [Ipv4Addr::new(10, 40, 0, 2)]);
        let inet6 = "00000000000000000000000000000001 01 80 10 80       lo\n\
                     fd000040000000000000000000000002 02 40 00 80     net0\n\
                     fe800000000000000000000000000002 02 40 20 80     net0\n";
        let v6: Vec<_> = v6_addresses(inet6).map(|a| a.to_string()).collect();
        assert_eq!(v6, ["fd00:40::2"]);
    }
}
