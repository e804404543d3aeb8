//! A flower rule that only hardware may hold: the one proof that it takes any.

use std::collections::BTreeMap;

use super::super::{Ask, No, Said, Socket};
use super::{TEST_NET, ask};
use crate::decode::tc;
use crate::facts::Value;
use crate::wire::{NESTED, push, tc as wire};

const RTM_NEWQDISC: u16 = 36;
const RTM_DELQDISC: u16 = 37;
const RTM_NEWTFILTER: u16 = 44;
const RTM_DELTFILTER: u16 = 45;
const NLM_F_EXCL_CREATE: u16 = 0x600;
const CLSACT: u32 = 0xffff_fff1;
const CLSACT_HANDLE: u32 = 0xffff_0000;
/// Behind everything that people use, so that it can't hide a rule of theirs.
const PRIORITIES: std::ops::Range<u32> = 0xb000..0xbfff;
const IPV4: u16 = 0x0800;

/// Adds and removes a rule that drops packets to a documentation address.
pub fn drop_rule(ifindex: u32) -> Result<Said, No> {
    let mut socket = Socket::route()?;
    let mut made = Undo {
        ifindex,
        ..Undo::default()
    };
    let there = ask(&mut socket, &Ask::qdiscs())?;
    let mut there = there.iter().filter_map(|message| tc::qdisc(message));
    if !there.any(|qdisc| qdisc.ifindex == ifindex && qdisc.is_ingress) {
        socket.request(RTM_NEWQDISC, NLM_F_EXCL_CREATE, &clsact(ifindex))?;
        made.qdisc = true;
    }
    let taken: Vec<u32> = filters(&mut socket, ifindex, false)?
        .iter()
        .map(|message| priority(message))
        .collect();
    let mut free = PRIORITIES.rev().filter(|free| !taken.contains(free));
    let chosen = free.next().ok_or_else(|| No::word("EEXIST"))?;
    socket.request(RTM_NEWTFILTER, NLM_F_EXCL_CREATE, &filter(ifindex, chosen))?;
    made.priority = Some(chosen);
    let in_hw = filters(&mut socket, ifindex, false)?
        .iter()
        .filter(|message| priority(message) == chosen)
        .filter_map(|message| tc::filter(message))
        .any(|filter| filter.in_hw);
    drop(made);
    Ok(Said::Fields(BTreeMap::from([(
        "in_hw".to_owned(),
        Value::from(in_hw),
    )])))
}

fn filters(socket: &mut Socket, ifindex: u32, egress: bool) -> Result<Vec<Vec<u8>>, No> {
    ask(socket, &Ask::filters(ifindex, "", egress))
}

fn priority(filter: &[u8]) -> u32 {
    u32::try_from(wire::FILTER.field(filter, "info") >> 16).unwrap_or(0)
}

/// Takes back what was made, in every way out.
#[derive(Default)]
struct Undo {
    ifindex: u32,
    qdisc: bool,
    priority: Option<u32>,
}

impl Drop for Undo {
    fn drop(&mut self) {
        let Ok(mut socket) = Socket::route() else {
            return;
        };
        // What is gone already needs no removal.
        if let Some(priority) = self.priority {
            let ours = head(self.ifindex, 0, ingress(), info(priority));
            let _ = socket.request(RTM_DELTFILTER, 0, &ours);
        }
        // Somebody may have put filters there meanwhile.
        let is_empty = [false, true].into_iter().all(|egress| {
            let left = filters(&mut socket, self.ifindex, egress);
            left.is_ok_and(|left| left.is_empty())
        });
        if self.qdisc && is_empty {
            let _ = socket.request(RTM_DELQDISC, 0, &clsact(self.ifindex));
        }
    }
}

fn ingress() -> u32 {
    wire::TC_H_MIN_INGRESS
}

fn info(priority: u32) -> u32 {
    priority << 16 | u32::from(IPV4.to_be())
}

/// `struct tcmsg`.
fn head(ifindex: u32, handle: u32, parent: u32, info: u32) -> Vec<u8> {
    let mut head = vec![0; wire::FILTER.header_len];
    for (at, word) in [(4, ifindex), (8, handle), (12, parent), (16, info)] {
        head[at..at + 4].copy_from_slice(&word.to_ne_bytes());
    }
    head
}

fn clsact(ifindex: u32) -> Vec<u8> {
    let mut body = head(ifindex, CLSACT_HANDLE, CLSACT, 0);
    push(&mut body, 1, b"clsact\0");
    body
}

fn filter(ifindex: u32, priority: u32) -> Vec<u8> {
    const TC_ACT_SHOT: u32 = 2;
    const SKIP_SW: u32 = 2;
    let mut parameters = Vec::new();
    for word in [0, 0, TC_ACT_SHOT, 0, 0] {
        parameters.extend(word.to_ne_bytes());
    }
    let (mut options, mut action, mut actions) = (Vec::new(), Vec::new(), Vec::new());
    push(&mut options, 2, &parameters);
    push(&mut action, 1, b"gact\0");
    push(&mut action, 2 | NESTED, &options);
    push(&mut actions, 1 | NESTED, &action);
    let mut flower = Vec::new();
    push(&mut flower, 8, &IPV4.to_be_bytes());
    push(&mut flower, 12, &TEST_NET);
    push(&mut flower, 13, &[255; 4]);
    push(&mut flower, 22, &SKIP_SW.to_ne_bytes());
    push(&mut flower, 3 | NESTED, &actions);
    let mut body = head(ifindex, 0, ingress(), info(priority));
    push(&mut body, 1, b"flower\0");
    push(&mut body, 2 | NESTED, &flower);
    body
}
