//! ICMP errors of tracked flows.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use terrace_abi::{Reason, consts};

use crate::bytes::{at, put_u16};
use crate::checksum::Change;
use crate::facts::{Facts, ICMP, ICMPV6, Icmp, SCTP, TCP, UDP};
use crate::flows::{Key, Tuple};
use crate::frame::{put_address, put_counted, word};
use crate::model::{Hook, Pass};
use crate::rewrite::{fix_transport, pseudo, rewrite};

/// The quoted packet.
struct Quoted {
    l3: usize,
    l4: usize,
    key: Key,
    /// What a splice has added to the sequence number.
    seq_delta: u32,
}

impl Pass<'_> {
    /// The reason when the packet is an error of a flow.
    pub fn related(&mut self) -> Option<Reason> {
        if self.facts.icmp != Icmp::Error {
            return None;
        }
        let mut quoted = quoted(&self.frame, &self.facts)?;
        if self.facts.key.dst != quoted.key.src {
            return None;
        }
        let key = quoted.key.reversed();
        let flow = *self.model.flows.get(&key)?;
        let local = flow.flags & consts::FLOW_LOCAL != 0;
        if local && self.hook == Hook::Xdp {
            return Some(Reason::ToTc);
        }
        if let Some(refused) = self.recheck_related(key, &flow) {
            return Some(refused);
        }
        if flow.flags & consts::FLOW_DSR != 0 && flow.is_orig {
            // The backend has sent what is quoted under the service's address.
            return Some(self.encapsulate(&flow.to));
        }
        // Translated flows hide the router, as netfilter does: the error may go
        // back through that same router, which drops its own source address.
        if flow.flags & consts::FLOW_L7 != 0 && quoted.key.proto == TCP {
            let spliced = self.world().l7.splices.get(&flow.service);
            quoted.seq_delta = match (spliced, flow.is_orig) {
                (Some(spliced), true) => spliced.splice.down_delta,
                (Some(spliced), false) => spliced.splice.up_delta,
                (None, _) => 0,
            };
        }
        let hides = flow.flags & consts::FLOW_NAT != 0;
        Some(self.send_related(&quoted, &flow.to, local, hides))
    }

    fn send_related(&mut self, quoted: &Quoted, to: &Tuple, local: bool, hides: bool) -> Reason {
        let way = match self.find_way(to, local) {
            Ok(way) => way,
            Err(blocked) => return self.blocked(blocked),
        };
        let facts = self.facts;
        let mut change = rewrite_quoted(&mut self.frame, &facts, quoted, to);
        let outer = if hides || facts.key.src == quoted.key.dst {
            *to
        } else {
            Tuple {
                src: facts.key.src,
                ..*to
            }
        };
        rewrite(&mut self.frame, &facts, &outer, way.hops);
        if !facts.is_v4 {
            change.join(pseudo(&facts, outer.src, outer.dst));
        }
        fix_transport(&mut self.frame, facts.l4 + 2, change, false);
        self.take_way(&way);
        Reason::IcmpRelated
    }
}

fn quoted(frame: &[u8], facts: &Facts) -> Option<Quoted> {
    let l3 = facts.l4 + 8;
    let (l4, src, dst, proto): (usize, IpAddr, IpAddr, u8) = if facts.is_v4 {
        let ip: [u8; 20] = facts.get(frame, l3)?;
        let offset = u16::from_be_bytes([ip[6], ip[7]]) & 0x1fff;
        if ip[0] >> 4 != 4 || ip[0] & 15 < 5 || offset != 0 {
            return None;
        }
        let address = |offset| Ipv4Addr::from(at::<4>(&ip, offset).expect("inside the header"));
        let l4 = l3 + usize::from(ip[0] & 15) * 4;
        (l4, address(12).into(), address(16).into(), ip[9])
    } else {
        let ip: [u8; 40] = facts.get(frame, l3)?;
        if ip[0] >> 4 != 6 {
            return None;
        }
        let address = |offset| Ipv6Addr::from(at::<16>(&ip, offset).expect("inside the header"));
        (l3 + 40, address(8).into(), address(24).into(), ip[6])
    };
    let head: [u8; 8] = facts.get(frame, l4)?;
    let words = [0, 2, 4].map(|at| word(&head, at));
    let (sport, dport) = match proto {
        TCP | UDP | SCTP => (words[0], words[1]),
        ICMP | ICMPV6 if matches!(head[0], 8 | 128) => (words[2], 0),
        ICMP | ICMPV6 => (0, words[2]),
        // A protocol without ports.
        _ => (0, 0),
    };
    let key = Key {
        src,
        dst,
        sport,
        dport,
        proto,
    };
    Some(Quoted {
        l3,
        l4,
        key,
        seq_delta: 0,
    })
}

/// The quoted packet went the other way: it becomes what its sender sent.
/// Returns how the sum over the ICMP message changes.
fn rewrite_quoted(frame: &mut [u8], facts: &Facts, quoted: &Quoted, to: &Tuple) -> Change {
    let mut addresses = Change::default();
    let mut sum = Change::default();
    let (src, dst) = if facts.is_v4 { (12, 16) } else { (8, 24) };
    put_address(frame, quoted.l3 + src, to.dst, &mut addresses);
    put_address(frame, quoted.l3 + dst, to.src, &mut addresses);
    if facts.is_v4 {
        // The IP checksum takes the change up: the message's sum stays.
        let check = addresses.apply(word(frame, quoted.l3 + 10));
        put_u16(frame, quoted.l3 + 10, check);
    } else {
        sum.join(addresses);
    }
    if !matches!(quoted.key.proto, TCP | UDP) {
        return sum;
    }
    let mut ports = Change::default();
    put_counted(frame, quoted.l4, &to.dport.to_be_bytes(), &mut ports);
    put_counted(frame, quoted.l4 + 2, &to.sport.to_be_bytes(), &mut ports);
    if quoted.seq_delta != 0 {
        let seq = at::<4>(frame, quoted.l4 + 4).expect("eight bytes were read");
        let seq = u32::from_be_bytes(seq).wrapping_sub(quoted.seq_delta);
        put_counted(frame, quoted.l4 + 4, &seq.to_be_bytes(), &mut ports);
    }
    sum.join(ports);
    let is_udp = quoted.key.proto == UDP;
    let check = quoted.l4 + if is_udp { 6 } else { 16 };
    // Most errors quote eight bytes of the transport header.
    if facts.get::<2>(frame, check).is_some() {
        let old = word(frame, check);
        let mut change = addresses;
        change.join(ports);
        fix_transport(frame, check, change, is_udp);
        sum.word(old, word(frame, check));
    }
    sum
}
