//! Several CPUs at the connection table at once.

use std::collections::BTreeMap;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::thread::{CpuSet, sched_setaffinity};
use terrace_abi::consts::*;
use terrace_abi::{Maps, Reason, sys};
use terrace_model::{Family, Key};
use terrace_tc::{Direction, Role};

use crate::fabric::Fabric;
use crate::lab::Lab;
use crate::order::*;
use crate::rows::VIP;
use crate::table::{Table, translated};

const THREADS: usize = 4;
const XDP_TX: u32 = 3;
const TC_REDIRECT: u32 = 7;

/// A program and its context, to be run by any thread.
#[derive(Clone, Copy)]
struct Runner<'a> {
    program: BorrowedFd<'a>,
    context: &'a [u8],
    sent: u32,
}

impl Runner<'_> {
    /// Whether the packet was sent on.
    fn sends(&self, frame: &[u8]) -> bool {
        let run = sys::test_run(self.program, frame, Some(self.context), 1).unwrap();
        run.action == self.sent
    }
}

fn contexts(ifindex: u32, len: usize) -> ([u8; 24], [u8; 44]) {
    let (mut xdp, mut skb) = ([0; 24], [0; 44]);
    xdp[4..8].copy_from_slice(&(len as u32).to_ne_bytes());
    xdp[12..16].copy_from_slice(&ifindex.to_ne_bytes());
    skb[36..40].copy_from_slice(&ifindex.to_ne_bytes());
    skb[40..44].copy_from_slice(&ifindex.to_ne_bytes());
    (xdp, skb)
}

fn pin(thread: usize) {
    let cpus = std::thread::available_parallelism().unwrap().get();
    let mut set = CpuSet::new();
    set.set(thread % cpus);
    sched_setaffinity(None, &set).unwrap();
}

/// Every thread sends its frames, half of them by XDP and half by tc, while
/// the clock hand goes round. Returns how many packets were not sent on.
fn rush(lab: &Lab, frames: &[Vec<Vec<u8>>]) -> usize {
    let len = frames[0][0].len();
    let (xdp, skb) = contexts(lab.ifindex("up0"), len);
    let tc = lab.tc.program(Role::Uplink, Direction::Ingress);
    let runners = [
        Runner {
            program: lab.xdp.program().as_fd(),
            context: &xdp,
            sent: XDP_TX,
        },
        Runner {
            program: tc.as_fd(),
            context: &skb,
            sent: TC_REDIRECT,
        },
    ];
    let (start, done) = (Barrier::new(frames.len() + 1), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let senders: Vec<_> = (0..)
            .zip(frames)
            .map(|(i, frames)| {
                let (runner, start) = (runners[i % 2], &start);
                scope.spawn(move || {
                    pin(i);
                    start.wait();
                    frames.iter().filter(|frame| !runner.sends(frame)).count()
                })
            })
            .collect();
        let hand = scope.spawn(|| {
            start.wait();
            sweep_until(&lab.maps, &done);
        });
        let refused = senders.into_iter().map(|sender| sender.join().unwrap());
        let refused = refused.sum();
        done.store(true, Ordering::Relaxed);
        hand.join().unwrap();
        refused
    })
}

fn sweep_until(maps: &Maps, done: &AtomicBool) {
    let mut cursor = 0;
    while !done.load(Ordering::Relaxed) {
        cursor = maps.sweep(cursor, 16).unwrap().cursor;
    }
}

fn frame(family: Family, n: usize) -> Vec<u8> {
    let client = format!("192.0.2.{}:{}", n % 250 + 1, 1000 + n);
    syn(family, &client, VIP).bytes()
}

/// Half of a thread's flows are everybody's, in the same order; half its own.
fn shared_and_own(family: Family, thread: usize, n: usize) -> Vec<Vec<u8>> {
    let own = 10_000 * (thread + 1);
    let pairs = (0..n).map(|i| [frame(family, i), frame(family, own + i)]);
    pairs.flatten().collect()
}

fn assert_whole(table: &Table, when: &str) {
    let n = table.faults.len();
    assert!(
        n == 0,
        "{when}: {n} faults: {:#?}",
        &table.faults[..n.min(8)]
    );
}

#[test]
fn root_a_flow_that_several_cpus_open_at_once_is_there_once() {
    const ROUNDS: usize = 60;
    const FLOWS: usize = 50;
    Fabric::new("opening").run(|lab| {
        let world = lab.world();
        lab.install(&world);
        let mut refused = 0;
        for round in 0..ROUNDS {
            let family = Family::ALL[round % 2];
            lab.forget();
            let frames: Vec<_> = (0..THREADS)
                .map(|thread| shared_and_own(family, thread, FLOWS))
                .collect();
            refused += rush(lab, &frames);
            let table = Table::read(&lab.maps, world.seed);
            assert_whole(&table, &format!("round {round}"));
            assert_eq!(
                table.origs().count(),
                FLOWS * (THREADS + 1),
                "round {round}"
            );
        }
        let sent = ROUNDS * THREADS * 2 * FLOWS;
        println!("{sent} packets from {THREADS} threads, {refused} refused");
        // A packet waits for the CPU that makes its flow, but not as long as a
        // hypervisor may stop that one. The flow is there all the same.
        assert!(refused * 1000 <= sent, "no table was full");
    });
}

/// Established connections by key, with what their packets become.
fn established(table: &Table) -> BTreeMap<Key, Key> {
    let of = table
        .origs()
        .filter(|slot| u32::from(slot.flow.state) == FLOW_ESTABLISHED);
    of.map(|slot| (slot.key, translated(&slot.flow))).collect()
}

#[test]
fn root_a_storm_of_new_flows_loses_no_established_one() {
    const ROUNDS: usize = 12;
    const STORM: usize = 400;
    Fabric::new("storm").run(|lab| {
        let mut world = lab.world();
        // Half open flows time out within a tick or two.
        world.timeouts[FLOW_NEW as usize] = 0;
        lab.install(&world);
        let mut refused = 0;
        for round in 0..ROUNDS {
            let family = Family::ALL[round % 2];
            lab.forget();
            lab.recount();
            for n in 0..150 {
                establish(lab, &frame(family, 30_000 + n));
            }
            let before = established(&Table::read(&lab.maps, world.seed));
            assert_eq!(before.len(), 150, "round {round}");
            let frames: Vec<_> = (0..THREADS)
                .map(|thread| shared_and_own(family, thread, STORM))
                .collect();
            refused += rush(lab, &frames);
            let table = Table::read(&lab.maps, world.seed);
            assert_eq!(established(&table), before, "round {round}");
            // One direction may have timed out a tick before the other.
            let table = settled(lab, world.seed);
            assert_whole(&table, &format!("round {round}"));
        }
        let sent = ROUNDS * THREADS * 2 * STORM;
        println!("{sent} packets in storms, {refused} refused, no connection lost");
    });
}

/// The table after the clock hand has been round and nothing is left to free.
fn settled(lab: &Lab, seed: u32) -> Table {
    let buckets = crate::image::limits().flow_buckets();
    while lab.maps.sweep(0, buckets).unwrap().by_state[FLOW_NEW as usize] > 0 {}
    lab.maps.sweep(0, buckets).unwrap();
    Table::read(&lab.maps, seed)
}

fn establish(lab: &mut Lab, syn: &[u8]) {
    let hook = terrace_model::Hook::Xdp;
    let mut run = |frame: &[u8]| {
        let out = lab.run(hook, "up0", frame).unwrap();
        assert_eq!(out.reason, Reason::Tx);
        out.bytes
    };
    let sent = run(syn);
    let answer = run(&answer_to(&sent, SYN | ACK).bytes());
    run(&answer_to(&answer, ACK).bytes());
}
