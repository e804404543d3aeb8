//! Answers that the host gives in another's place: echo, RST, ICMP errors.

use terrace_abi::Reason;

use crate::checksum::{ones_sum, transport_sum};
use crate::facts::{ACK, FIN, Facts, ICMP, ICMPV6, RST, SYN, TCP};
use crate::flows::Tuple;
use crate::frame::{ip_header, swap_macs};
use crate::rewrite::{rewrite, set_ttl};

/// How much of a packet an ICMP error quotes.
const QUOTE_MAX: usize = 128;
const ANSWER_TTL: u8 = 64;

/// The link-layer header turned round, and an IP packet back to the sender.
fn back(frame: &[u8], facts: &Facts, proto: u8, payload: &[u8]) -> Vec<u8> {
    let mut answer = frame[..facts.l3].to_vec();
    swap_macs(&mut answer);
    answer.extend(ip_header(
        facts.key.dst,
        facts.key.src,
        proto,
        payload.len(),
    ));
    answer.extend(payload);
    answer
}

/// RFC 9293 3.10.7.1.
pub(crate) fn reset(frame: &[u8], facts: &Facts) -> Vec<u8> {
    let tcp = &frame[facts.l4..];
    let mut rst = vec![0; 20];
    rst[..2].copy_from_slice(&tcp[2..4]);
    rst[2..4].copy_from_slice(&tcp[..2]);
    rst[12] = 5 << 4;
    rst[13] = RST;
    if facts.tcp_flags & ACK != 0 {
        rst[4..8].copy_from_slice(&tcp[8..12]);
    } else {
        let payload = facts.len - (facts.l4 - facts.l3) - usize::from(tcp[12] >> 4) * 4;
        let flags = [SYN, FIN].map(|flag| u32::from(facts.tcp_flags & flag != 0));
        let seq = u32::from_be_bytes([tcp[4], tcp[5], tcp[6], tcp[7]]);
        let ack = seq.wrapping_add(payload as u32 + flags[0] + flags[1]);
        rst[8..12].copy_from_slice(&ack.to_be_bytes());
        rst[13] |= ACK;
    }
    let check = !transport_sum(facts.key.dst, facts.key.src, TCP, &rst);
    rst[16..18].copy_from_slice(&check.to_be_bytes());
    back(frame, facts, TCP, &rst)
}

fn error(frame: &[u8], facts: &Facts, head: [u8; 8]) -> Vec<u8> {
    let quote = QUOTE_MAX.min(facts.len & !3);
    let mut icmp = head.to_vec();
    icmp.extend(&frame[facts.l3..facts.l3 + quote]);
    let (proto, sum) = if facts.is_v4 {
        (ICMP, ones_sum(&icmp))
    } else {
        let sum = transport_sum(facts.key.dst, facts.key.src, ICMPV6, &icmp);
        (ICMPV6, sum)
    };
    icmp[2..4].copy_from_slice(&(!sum).to_be_bytes());
    back(frame, facts, proto, &icmp)
}

pub(crate) fn unreachable(frame: &[u8], facts: &Facts) -> Vec<u8> {
    let [kind, code] = if facts.is_v4 { [3, 3] } else { [1, 4] };
    error(frame, facts, [kind, code, 0, 0, 0, 0, 0, 0])
}

pub(crate) fn too_big(frame: &[u8], facts: &Facts, mtu: u32) -> Vec<u8> {
    let [kind, code] = if facts.is_v4 { [3, 4] } else { [2, 0] };
    let [a, b, c, d] = mtu.to_be_bytes();
    error(frame, facts, [kind, code, 0, 0, a, b, c, d])
}

pub(crate) fn echo(frame: &[u8], facts: &Facts) -> Vec<u8> {
    let mut answer = frame.to_vec();
    let to = Tuple {
        src: facts.key.dst,
        dst: facts.key.src,
        sport: 0,
        dport: 0,
    };
    rewrite(&mut answer, facts, &to, 0);
    set_ttl(&mut answer, facts, ANSWER_TTL);
    let mut change = crate::checksum::Change::default();
    let kind = if facts.is_v4 { 0 } else { 129 };
    let code = frame[facts.l4 + 1];
    crate::frame::put_counted(&mut answer, facts.l4, &[kind, code], &mut change);
    crate::rewrite::fix_transport(&mut answer, facts.l4 + 2, change, false);
    swap_macs(&mut answer);
    answer
}

/// Refuses with RST for TCP, unreachable for UDP; else there is only the drop.
pub(crate) fn refuse(
    frame: &[u8],
    facts: &Facts,
    [tcp, udp, drop]: [Reason; 3],
) -> (Reason, Option<Vec<u8>>) {
    let no_answer = facts.tcp_flags & RST != 0 || facts.part == crate::facts::Part::Later;
    if no_answer || !facts.has_ports() {
        (drop, None)
    } else if facts.is_tcp() {
        (tcp, Some(reset(frame, facts)))
    } else {
        (udp, Some(unreachable(frame, facts)))
    }
}
