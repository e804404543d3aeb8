//! Whether the traffic took the way that its label says. A run that did not is
//! void: its figures are about something else.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::lab::Work;
use crate::peer::CounterUnit;

/// What the host's own counters must show for a peer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Way {
    /// The kernel's IP layer forwards every packet (`ForwDatagrams`).
    #[default]
    Forwarded,
    /// Connections end at the host and start there anew (`InSegs`).
    Terminated,
    /// Nothing gets into the host's stack.
    Dropped,
    /// Not known: an external program that goes its own way.
    Unknown,
}

/// What an arm is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Label {
    Way(Way),
    /// A tier of Terrace, by the word that `tier` has in a scenario.
    Tier(String),
}

/// One counter of Terrace.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Exit {
    pub hook: String,
    pub reason: String,
    pub class: String,
}

/// Counters of one host, read before and after a measurement.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counters {
    /// `Ip: ForwDatagrams`.
    pub forwarded: u64,
    /// `Tcp: InSegs` and `Udp: InDatagrams`.
    pub terminated: u64,
    pub exits: BTreeMap<Exit, u64>,
    /// The peer's own.
    pub peer: Option<u64>,
    /// The same, since it was started.
    pub peer_ever: Option<u64>,
    /// Of Terrace's workers, where there are any.
    pub work: Option<Work>,
    /// Mode of the XDP program at the uplink.
    pub xdp: Option<String>,
}

/// What the load generator says that it sent, counted low.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sent {
    /// Through the host, both directions.
    pub packets: u64,
    /// New ones: 0 where the flows of a packet generator live on.
    pub connections: u64,
    pub requests: u64,
}

/// Packets that may go elsewhere: neighbours, resets, what was on the way when
/// the counters were read.
fn strays(sent: &Sent) -> u64 {
    sent.packets / 100 + 64
}

/// What was counted between two readings.
pub fn moved(before: &Counters, after: &Counters) -> Counters {
    let gone = |after: u64, before: u64| after.saturating_sub(before);
    let exits = after.exits.iter().map(|(exit, &count)| {
        let before = before.exits.get(exit).copied().unwrap_or(0);
        (exit.clone(), gone(count, before))
    });
    Counters {
        forwarded: gone(after.forwarded, before.forwarded),
        terminated: gone(after.terminated, before.terminated),
        exits: exits.filter(|(_, count)| *count > 0).collect(),
        peer: after.peer.zip(before.peer).map(|(a, b)| gone(a, b)),
        peer_ever: after.peer,
        work: after.work.zip(before.work).map(|(after, before)| Work {
            packets: gone(after.packets, before.packets),
            calls: gone(after.calls, before.calls),
        }),
        xdp: after.xdp.clone(),
    }
}

/// The evidence in words, or why the run is void.
pub fn judge(
    label: &Label,
    moved: &Counters,
    sent: &Sent,
    unit: Option<CounterUnit>,
) -> Result<String, String> {
    if sent.packets == 0 {
        return Err("nothing was sent".to_owned());
    }
    let way = match label {
        Label::Way(way) => judge_way(*way, moved, sent)?,
        Label::Tier(tier) => judge_tier(tier, moved, sent)?,
    };
    let Some(unit) = unit else { return Ok(way) };
    let needed = match unit {
        CounterUnit::Requests => sent.requests,
        CounterUnit::Connections => sent.connections,
    };
    let counted = moved.peer.unwrap_or(0);
    let ever = moved.peer_ever.unwrap_or(0);
    if ever > 0 && counted >= needed {
        return Ok(format!(
            "{way}; the peer's own counter: {counted}, {ever} in all"
        ));
    }
    Err(format!(
        "the peer's own counter moved by {counted}, {needed} were sent"
    ))
}

fn judge_way(way: Way, moved: &Counters, sent: &Sent) -> Result<String, String> {
    let few = strays(sent);
    let Counters {
        forwarded,
        terminated,
        ..
    } = *moved;
    let seen = format!("forwarded by the kernel {forwarded}, ended at the host {terminated}");
    let enough = |count: u64| count + few >= sent.packets;
    let holds = match way {
        Way::Forwarded => enough(forwarded) && terminated <= few,
        Way::Terminated => enough(terminated),
        Way::Dropped => forwarded <= few && terminated <= few,
        Way::Unknown => true,
    };
    if holds && moved.exits.is_empty() {
        return Ok(seen);
    }
    let ours: u64 = moved.exits.values().sum();
    Err(format!(
        "label {way:?}, {} packets sent: {seen}, handled by Terrace {ours}",
        sent.packets
    ))
}

fn judge_tier(tier: &str, moved: &Counters, sent: &Sent) -> Result<String, String> {
    let few = strays(sent);
    let count = |wanted: &dyn Fn(&Exit) -> bool| -> u64 {
        let exits = moved.exits.iter().filter(|(exit, _)| wanted(exit));
        exits.map(|(_, count)| count).sum()
    };
    let forwards = |exit: &Exit, hook: &str| exit.class == "forward" && exit.hook.starts_with(hook);
    let l7 = |exit: &Exit| {
        let named = exit.reason.contains("worker") || exit.reason.contains("splice");
        named && exit.class == "forward"
    };
    let xdp = count(&|exit| forwards(exit, "xdp"));
    let tc = count(&|exit| forwards(exit, "tc"));
    let worker = count(&|exit| l7(exit));
    let heads = count(&|exit| exit.reason == "request" && exit.class == "forward");
    let mode = moved.xdp.as_deref().unwrap_or("none");
    let seen = format!(
        "XDP ({mode}) {xdp}, tc {tc}, worker and splices {worker}, requests in the kernel {heads}, the kernel's own forwarding {}, ended at the host {}",
        moved.forwarded, moved.terminated
    );
    let passed_by = moved.forwarded <= few && moved.terminated <= few;
    let enough = |count: u64| count + few >= sent.packets;
    let holds = match tier {
        "xdp-native" | "xdp-generic" => {
            tier.ends_with(mode) && enough(xdp) && tc <= few && passed_by
        }
        "tc" => enough(tc) && xdp <= few && worker == 0 && passed_by,
        "worker" => enough(worker) && heads == 0 && passed_by,
        "in-kernel" => enough(worker + heads) && heads + few >= sent.requests && passed_by,
        _ => return Err(format!("no tier is called {tier}")),
    };
    if holds {
        Ok(seen)
    } else {
        Err(format!(
            "label {tier}, {} packets sent: {seen}",
            sent.packets
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exits(rows: &[(&str, &str, &str, u64)]) -> BTreeMap<Exit, u64> {
        let exit = |&(hook, reason, class, count): &(&str, &str, &str, u64)| {
            let exit = Exit {
                hook: hook.into(),
                reason: reason.into(),
                class: class.into(),
            };
            (exit, count)
        };
        rows.iter().map(exit).collect()
    }

    fn tier(name: &str) -> Label {
        Label::Tier(name.to_owned())
    }

    const SENT: Sent = Sent {
        packets: 10_000,
        connections: 1,
        requests: 5_000,
    };

    #[test]
    fn only_the_way_on_the_label_is_proved() {
        let kernel = |forwarded, terminated| Counters {
            forwarded,
            terminated,
            ..Counters::default()
        };
        let terrace = |rows: &[(&str, &str, &str, u64)], xdp: Option<&str>| Counters {
            exits: exits(rows),
            xdp: xdp.map(str::to_owned),
            ..Counters::default()
        };
        let at_tc = [("tc-ingress", "to_workload", "forward", 10_000)];
        let at_xdp = [("xdp", "tx", "forward", 10_000)];
        let passed = [("xdp", "to_tc", "pass", 10_000), at_tc[0]];
        let worker = [("tc-ingress", "to_worker", "forward", 10_000)];
        let in_kernel = [
            ("tc-ingress", "request", "forward", 5_000),
            ("tc-ingress", "splice", "forward", 5_000),
        ];
        let way = Label::Way;
        let rows = [
            ("forwarded", way(Way::Forwarded), kernel(10_000, 3), true),
            (
                "a proxy in between",
                way(Way::Forwarded),
                kernel(10_000, 9_000),
                false,
            ),
            ("went elsewhere", way(Way::Forwarded), kernel(40, 0), false),
            (
                "Terrace in between",
                way(Way::Forwarded),
                terrace(&at_tc, None),
                false,
            ),
            ("a proxy", way(Way::Terminated), kernel(0, 10_000), true),
            (
                "passed by the proxy",
                way(Way::Terminated),
                kernel(10_000, 0),
                false,
            ),
            ("dropped", way(Way::Dropped), kernel(0, 0), true),
            ("not dropped", way(Way::Dropped), kernel(10_000, 0), false),
            ("tc", tier("tc"), terrace(&at_tc, None), true),
            (
                "XDP passes to tc",
                tier("tc"),
                terrace(&passed, Some("native")),
                true,
            ),
            (
                "XDP says it is tc",
                tier("tc"),
                terrace(&at_xdp, Some("native")),
                false,
            ),
            (
                "tc says it is XDP",
                tier("xdp-native"),
                terrace(&at_tc, Some("native")),
                false,
            ),
            (
                "XDP",
                tier("xdp-native"),
                terrace(&at_xdp, Some("native")),
                true,
            ),
            (
                "generic XDP says it is native",
                tier("xdp-native"),
                terrace(&at_xdp, Some("generic")),
                false,
            ),
            (
                "generic XDP",
                tier("xdp-generic"),
                terrace(&at_xdp, Some("generic")),
                true,
            ),
            (
                "the kernel says it is tc",
                tier("tc"),
                kernel(10_000, 0),
                false,
            ),
            ("worker", tier("worker"), terrace(&worker, None), true),
            (
                "in the kernel",
                tier("in-kernel"),
                terrace(&in_kernel, None),
                true,
            ),
            (
                "the worker says it is in the kernel",
                tier("in-kernel"),
                terrace(&worker, None),
                false,
            ),
            (
                "in the kernel says it is the worker",
                tier("worker"),
                terrace(&in_kernel, None),
                false,
            ),
            (
                "L4 says it is the worker",
                tier("worker"),
                terrace(&at_tc, None),
                false,
            ),
            (
                "a tier that is not",
                tier("warp"),
                terrace(&at_tc, None),
                false,
            ),
        ];
        for (row, label, moved, expected) in rows {
            let judged = judge(&label, &moved, &SENT, None);
            assert_eq!(judged.is_ok(), expected, "{row}: {judged:?}");
        }
    }

    #[test]
    fn a_peer_whose_counter_stands_still_is_void() {
        let rows = [
            (CounterUnit::Connections, Some(1), true),
            (CounterUnit::Connections, Some(0), false),
            (CounterUnit::Connections, None, false),
            (CounterUnit::Requests, Some(4_999), false),
            (CounterUnit::Requests, Some(5_000), true),
        ];
        for (unit, peer, expected) in rows {
            let moved = Counters {
                forwarded: 10_000,
                peer,
                peer_ever: peer,
                ..Counters::default()
            };
            let judged = judge(&Label::Way(Way::Forwarded), &moved, &SENT, Some(unit));
            assert_eq!(judged.is_ok(), expected, "{unit:?} {peer:?}");
        }
    }

    #[test]
    fn a_load_that_sent_nothing_proves_nothing() {
        let label = Label::Way(Way::Dropped);
        assert!(judge(&label, &Counters::default(), &Sent::default(), None).is_err());
    }

    #[test]
    fn only_what_moved_between_the_readings_counts() {
        let before = Counters {
            forwarded: 5,
            exits: exits(&[("xdp", "tx", "forward", 7)]),
            ..Counters::default()
        };
        let after = Counters {
            forwarded: 9,
            exits: exits(&[
                ("xdp", "tx", "forward", 7),
                ("xdp", "redirect", "forward", 2),
            ]),
            ..Counters::default()
        };
        let moved = moved(&before, &after);
        assert_eq!(moved.forwarded, 4);
        assert_eq!(moved.exits, exits(&[("xdp", "redirect", "forward", 2)]));
    }
}
