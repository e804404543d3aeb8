//! One netlink socket: a request, all its answers, and the kernel's words when
//! it refuses. The crates for links and generic netlink lose those words.

use std::collections::HashMap;
use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use netlink_packet_core::NetlinkBuffer;
use netlink_sys::protocols::{NETLINK_GENERIC, NETLINK_ROUTE};
use netlink_sys::{Socket as Raw, SocketAddr};

use super::No;
use crate::wire::{Attrs, genl, push};

const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NLM_F_DUMP: u16 = 0x300;
const NLM_F_DUMP_INTR: u16 = 0x10;
const NLM_F_CAPPED: u16 = 0x100;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLMSGERR_ATTR_MSG: u16 = 1;
/// A dump that changes happened to is asked again this often.
const TRIES: usize = 4;
/// The kernel fills no more than 32 KiB at once.
const DATAGRAM: usize = 64 << 10;

/// A socket of one protocol, in the network namespace where it was opened.
pub struct Socket {
    raw: Raw,
    sequence: u32,
    families: HashMap<String, u16>,
}

/// What one reading of the socket found.
struct Reply {
    messages: Vec<Vec<u8>>,
    changed: bool,
}

impl Socket {
    /// rtnetlink.
    pub fn route() -> std::io::Result<Self> {
        Self::open(NETLINK_ROUTE)
    }

    /// Generic netlink.
    pub fn generic() -> std::io::Result<Self> {
        Self::open(NETLINK_GENERIC)
    }

    fn open(protocol: isize) -> std::io::Result<Self> {
        let mut raw = Raw::new(protocol)?;
        raw.bind_auto()?;
        raw.connect(&SocketAddr::new(0, 0))?;
        // Old kernels don't have all of them, and do without.
        let _ = raw.set_ext_ack(true);
        let _ = raw.set_cap_ack(true);
        let _ = raw.set_netlink_get_strict_chk(true);
        let _ = raw.set_rx_buf_sz(1 << 20);
        Ok(Self {
            raw,
            sequence: 0,
            families: HashMap::new(),
        })
    }

    /// The number of a generic netlink family.
    pub fn family(&mut self, name: &str) -> Result<u16, No> {
        if name == "nlctrl" {
            return Ok(genl::GENL_ID_CTRL);
        }
        if let Some(id) = self.families.get(name) {
            return Ok(*id);
        }
        let mut body = vec![genl::CTRL_CMD_GETFAMILY, 1, 0, 0];
        push(&mut body, 2, &[name.as_bytes(), &[0]].concat());
        let replies = self.request(genl::GENL_ID_CTRL, 0, &body);
        let replies = replies.map_err(|no| match no.no.as_str() {
            "ENOENT" => No::word(No::FAMILY),
            _ => no,
        })?;
        let id = replies
            .first()
            .and_then(|reply| genl::FAMILY.attrs(reply).u32(1))
            .and_then(|id| u16::try_from(id).ok())
            .ok_or_else(|| No::word(No::FAMILY))?;
        self.families.insert(name.to_owned(), id);
        Ok(id)
    }

    /// Everything of a kind.
    pub fn dump(&mut self, kind: u16, body: &[u8]) -> Result<Vec<Vec<u8>>, No> {
        let mut reply = self.send(kind, NLM_F_DUMP, body)?;
        for _ in 1..TRIES {
            if !reply.changed {
                break;
            }
            reply = self.send(kind, NLM_F_DUMP, body)?;
        }
        Ok(reply.messages)
    }

    /// One request; the answers before its acknowledgement.
    pub fn request(&mut self, kind: u16, flags: u16, body: &[u8]) -> Result<Vec<Vec<u8>>, No> {
        Ok(self.send(kind, flags | NLM_F_ACK, body)?.messages)
    }

    fn send(&mut self, kind: u16, flags: u16, body: &[u8]) -> Result<Reply, No> {
        self.sequence += 1;
        let length = u32::try_from(body.len() + 16).unwrap_or(u32::MAX);
        let mut request = Vec::with_capacity(body.len() + 16);
        request.extend(length.to_ne_bytes());
        request.extend(kind.to_ne_bytes());
        request.extend((flags | NLM_F_REQUEST).to_ne_bytes());
        request.extend(self.sequence.to_ne_bytes());
        request.extend(0u32.to_ne_bytes());
        request.extend(body);
        self.raw.send(&request, 0)?;
        let mut reply = Reply {
            messages: Vec::new(),
            changed: false,
        };
        let mut datagram = Vec::with_capacity(DATAGRAM);
        loop {
            datagram.clear();
            let (_, from) = match self.raw.recv_from(&mut datagram, 0) {
                // The machine was stopped and goes on.
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                received => received?,
            };
            if from.port_number() == 0 && read(&datagram, self.sequence, &mut reply)? {
                return Ok(reply);
            }
        }
    }
}

/// Reads a datagram's messages; true when the answer is complete. Pure.
fn read(datagram: &[u8], sequence: u32, reply: &mut Reply) -> Result<bool, No> {
    let mut rest = datagram;
    while let Ok(message) = NetlinkBuffer::new_checked(rest) {
        let length = (message.length() as usize).next_multiple_of(4);
        let payload = message.payload();
        rest = rest.get(length..).unwrap_or_default();
        if message.sequence_number() != sequence {
            continue;
        }
        reply.changed |= message.flags() & NLM_F_DUMP_INTR != 0;
        match message.message_type() {
            NLMSG_ERROR | NLMSG_DONE => {
                return match refusal(message.message_type(), message.flags(), payload) {
                    Some(no) => Err(no),
                    None => Ok(true),
                };
            }
            _ => reply.messages.push(payload.to_vec()),
        }
    }
    Ok(false)
}

/// What an error or the end of a dump says; `None` = all is well.
pub(crate) fn refusal(kind: u16, flags: u16, payload: &[u8]) -> Option<No> {
    let errno = i32::from_ne_bytes(payload.get(..4)?.try_into().ok()?);
    if errno >= 0 {
        return None;
    }
    // After an error come the request's header and, uncapped, the request.
    let at = match kind {
        NLMSG_DONE => 4,
        _ if flags & NLM_F_CAPPED != 0 => 20,
        _ => {
            let length = payload.get(4..8).and_then(crate::wire::unsigned);
            4 + usize::try_from(length.unwrap_or(16))
                .unwrap_or(16)
                .next_multiple_of(4)
        }
    };
    let mut no = No::errno(errno.saturating_neg());
    no.extack = Attrs::after(payload, at).text(NLMSGERR_ATTR_MSG);
    Some(no)
}

/// Waits for anything to change: links, devices, ethtool settings, devlink.
pub struct Watch {
    sockets: Vec<Raw>,
}

impl Watch {
    /// Joins what groups this kernel has.
    pub fn open() -> std::io::Result<Self> {
        const RTNLGRP_LINK: u32 = 1;
        const RTNLGRP_TC: u32 = 4;
        let route = Socket::route()?;
        for group in [RTNLGRP_LINK, RTNLGRP_TC] {
            route.raw.add_membership(group)?;
        }
        route.raw.set_non_blocking(true)?;
        let mut watch = Self::of_devices()?;
        watch.sockets.push(route.raw);
        Ok(watch)
    }

    /// The same for what NICs and their drivers tell, without links and tc: for
    /// who follows those already.
    pub fn of_devices() -> std::io::Result<Self> {
        let mut generic = Socket::generic()?;
        for (family, group) in [
            ("netdev", "mgmt"),
            ("ethtool", "monitor"),
            ("devlink", "config"),
        ] {
            if let Some(id) = generic.group(family, group) {
                generic.raw.add_membership(id)?;
            }
        }
        generic.raw.set_non_blocking(true)?;
        Ok(Self {
            sockets: vec![generic.raw],
        })
    }

    /// Returns when something has changed and then nothing for `calm`; false
    /// when nothing did within `limit`.
    pub fn wait(&self, calm: Duration, limit: Option<Duration>) -> std::io::Result<bool> {
        let end = limit.map(|limit| Instant::now() + limit);
        let left = end.map(|end| end.saturating_duration_since(Instant::now()));
        if !self.poll(left)? {
            return Ok(false);
        }
        while self.poll(Some(calm))? {}
        Ok(true)
    }

    /// Waits for news and takes them in.
    fn poll(&self, limit: Option<Duration>) -> std::io::Result<bool> {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let limit = limit.and_then(|limit| Timespec::try_from(limit).ok());
        let mut fds: Vec<PollFd<'_>> = self
            .sockets
            .iter()
            .map(|socket| PollFd::from_borrowed_fd(socket.as_fd(), PollFlags::IN))
            .collect();
        let ready = match poll(&mut fds, limit.as_ref()) {
            Err(rustix::io::Errno::INTR) => 0,
            polled => polled?,
        };
        let mut news = Vec::with_capacity(DATAGRAM);
        for socket in &self.sockets {
            while socket.recv_from(&mut news, 0).is_ok() {
                news.clear();
            }
        }
        Ok(ready > 0)
    }
}

impl Socket {
    /// The number of a family's multicast group.
    fn group(&mut self, family: &str, group: &str) -> Option<u32> {
        let mut body = vec![genl::CTRL_CMD_GETFAMILY, 1, 0, 0];
        push(&mut body, 2, &[family.as_bytes(), &[0]].concat());
        let replies = self.request(genl::GENL_ID_CTRL, 0, &body).ok()?;
        let groups = genl::FAMILY.attrs(replies.first()?).nest(7);
        let mut groups = groups.iter().map(|(_, bytes)| Attrs(bytes));
        groups
            .find(|entry| entry.text(1).as_deref() == Some(group))?
            .u32(2)
    }
}
