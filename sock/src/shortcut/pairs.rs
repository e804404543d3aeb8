//! The table of pairs, one connection each.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use libbpf_rs::{MapCore as _, MapFlags};
use terrace_abi::{Plain, consts, types};

use super::settings::error;
use super::{Reason, Shortcut};
use crate::Error;

/// One end of a connection, and what it has sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct End {
    /// The kernel's cookie of the socket; 0 = not of this host, or not chosen.
    pub cookie: u64,
    /// The socket is open.
    pub open: bool,
    /// Its own address.
    pub local: SocketAddr,
    /// The other end's, as it sees it.
    pub remote: SocketAddr,
    /// What it has sent.
    pub sent: Direction,
}

/// One direction of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Direction {
    /// Why the last message went its way.
    pub reason: Reason,
    /// Payload from socket to socket.
    pub socket_bytes: u64,
    /// Messages from socket to socket.
    pub socket_messages: u64,
    /// Payload through the stack.
    pub stack_bytes: u64,
    /// Messages through the stack.
    pub stack_messages: u64,
}

/// A connection whose client is a socket of the chosen cgroups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pair {
    /// The end that called connect().
    pub client: End,
    /// The end that accepted; `None` while it is not found.
    pub server: Option<End>,
    /// Policy allows it, as of its last message.
    pub allowed: bool,
}

impl Pair {
    /// Whether its last messages went from socket to socket; else the reason
    /// why not, of the direction that did not.
    pub fn reason(&self) -> Reason {
        let Some(server) = self.server else {
            return Reason::new(consts::SHORTCUT_ALONE);
        };
        let sides = [self.client.sent, server.sent];
        let used = sides
            .iter()
            .filter(|way| way.socket_messages + way.stack_messages > 0);
        used.map(|way| way.reason)
            .find(|&reason| reason != Reason::JOINED)
            .unwrap_or(if self.socket_bytes() > 0 {
                Reason::JOINED
            } else {
                Reason::new(consts::SHORTCUT_WATCHED)
            })
    }

    /// Payload of both directions from socket to socket.
    pub fn socket_bytes(&self) -> u64 {
        self.client.sent.socket_bytes + self.server.map_or(0, |end| end.sent.socket_bytes)
    }
}

impl Shortcut {
    /// Every pair, in no order.
    pub fn pairs(&self) -> Result<Vec<Pair>, Error> {
        let mut found = Vec::new();
        for key in self.maps.pairs.keys() {
            let value = self
                .maps
                .pairs
                .lookup(&key, MapFlags::ANY)
                .map_err(error("read", "shortcut_pairs"))?;
            // One that has ended in between is not there any more.
            let pair = value.as_deref().and_then(types::shortcut_pair::from_bytes);
            found.extend(pair.map(|pair| pair_of(&pair)));
        }
        Ok(found)
    }
}

fn pair_of(pair: &types::shortcut_pair) -> Pair {
    let [client, server] = pair.ends;
    Pair {
        client: end_of(&client),
        server: (server.cookie != 0).then(|| end_of(&server)),
        allowed: pair.verdict == consts::SHORTCUT_JOINED,
    }
}

fn end_of(end: &types::shortcut_end) -> End {
    End {
        cookie: end.cookie,
        open: end.sock != 0,
        local: address(&end.local_addr, end.local_port),
        remote: address(&end.remote_addr, end.remote_port),
        sent: Direction {
            reason: Reason::new(end.reason),
            socket_bytes: end.socket_bytes,
            socket_messages: end.socket_messages,
            stack_bytes: end.stack_bytes,
            stack_messages: end.stack_messages,
        },
    }
}

fn address(words: &[u32; 4], port_be: u16) -> SocketAddr {
    let mut bytes = [0; 16];
    for (place, word) in bytes.chunks_exact_mut(4).zip(words) {
        place.copy_from_slice(&word.to_ne_bytes());
    }
    let ip = Ipv6Addr::from(bytes);
    let ip = ip.to_ipv4_mapped().map_or(IpAddr::V6(ip), IpAddr::V4);
    SocketAddr::new(ip, u16::from_be(port_be))
}
