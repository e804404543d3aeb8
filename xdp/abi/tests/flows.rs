//! The connection table on a real kernel, as userspace sees it.

#![allow(clippy::unwrap_used, reason = "a test panics where it fails")]

use libbpf_rs::{MapCore as _, MapFlags};
use terrace_abi::{Limits, Maps, Plain as _, consts, types};
use terrace_testkit::PinRoot;

/// A bucket with one flow in slot `i`, last seen at `last_seen`.
fn bucket(i: usize, packets: u64, last_seen: u32) -> types::flow_bucket {
    let mut bucket = types::flow_bucket::default();
    bucket.slots[i] = types::flow {
        kind: consts::FLOW_ORIG as u8,
        state: consts::FLOW_UDP as u8,
        last_seen,
        service: 4,
        packets,
        ..Default::default()
    };
    bucket
}

fn put(maps: &Maps, index: u32, bucket: &types::flow_bucket) {
    let handle = maps.handle("flows").unwrap();
    handle
        .update(&index.to_ne_bytes(), bucket.as_bytes(), MapFlags::ANY)
        .unwrap();
}

#[test]
fn root_flows_are_listed_with_their_slots_and_half_written_ones_are_not() {
    let root = PinRoot::new().unwrap();
    let maps = Maps::open(root.path(), &Limits::small()).unwrap();
    assert_eq!(maps.flows().count(), 0);
    put(&maps, 0, &bucket(0, 11, 0));
    put(&maps, 500, &bucket(3, 12, 0));
    put(&maps, 1023, &bucket(2, 13, 0));
    let mut writing = bucket(1, 14, 0);
    writing.slots[1].seq = 7;
    put(&maps, 600, &writing);
    let flows: Vec<_> = maps.flows().map(Result::unwrap).collect();
    let slots: Vec<_> = flows
        .iter()
        .map(|flow| (flow.slot, flow.flow.packets))
        .collect();
    assert_eq!(slots, [(0, 11), (2003, 12), (4094, 13)]);
}

#[test]
fn root_a_workers_flow_is_listed_with_its_service() {
    let root = PinRoot::new().unwrap();
    let maps = Maps::open(root.path(), &Limits::small()).unwrap();
    let splice = types::splice {
        service_index: 77,
        ..Default::default()
    };
    maps.l7_tables().unwrap().set_splice(4, &splice);
    let mut workers = bucket(0, 11, 0);
    workers.slots[0].flags = consts::FLOW_L7 as u16;
    put(&maps, 3, &workers);
    put(&maps, 4, &bucket(1, 12, 0));
    let services = maps.flows().map(|flow| flow.unwrap().flow.service);
    assert_eq!(services.collect::<Vec<_>>(), [77, 4]);
}

#[test]
fn root_sweep_frees_what_timed_out_and_counts_the_rest() {
    let root = PinRoot::new().unwrap();
    let maps = Maps::open(root.path(), &Limits::small()).unwrap();
    let now = maps.clock().unwrap();
    let timeout = maps.config().unwrap().timeouts[consts::FLOW_UDP as usize];
    put(&maps, 10, &bucket(0, 21, now));
    put(&maps, 11, &bucket(1, 22, now.wrapping_sub(2 * timeout)));
    put(&maps, 1023, &bucket(3, 23, now));
    let first = maps.sweep(0, 1000).unwrap();
    assert_eq!((first.cursor, first.live, first.expired), (1000, 1, 1));
    assert_eq!(first.by_state[consts::FLOW_UDP as usize], 1);
    let second = maps.sweep(first.cursor, 24).unwrap();
    assert_eq!((second.cursor, second.live, second.expired), (0, 1, 0));
    let left: Vec<u32> = maps.flows().map(|flow| flow.unwrap().slot).collect();
    assert_eq!(left, [40, 4095]);
}

/// Where a key's flow is depends on the table's seed, so it is put everywhere.
#[test]
fn root_what_a_nic_did_counts_for_its_flow_and_keeps_it_alive_and_for_no_other() {
    let root = PinRoot::new().unwrap();
    let maps = Maps::open(root.path(), &Limits::small()).unwrap();
    let now = maps.clock().unwrap();
    let mut old = bucket(0, 5, now.wrapping_sub(1000));
    let key = types::flow_key {
        proto: 6,
        sport: 7,
        ..Default::default()
    };
    (old.slots[0].key, old.slots[0].created) = (key, 9);
    (old.slots[0].service, old.slots[0].backend) = (4, 3);
    for index in 0..1024 {
        put(&maps, index, &old);
    }
    let credit = |key, created, packets| types::credit {
        key,
        created,
        found: 0,
        packets,
        bytes: packets * 100,
    };
    let other = types::flow_key { sport: 8, ..key };
    let rows = [
        ("another flow of this key", credit(key, 8, 2), false, 5),
        ("another key", credit(other, 9, 2), false, 5),
        ("nothing done", credit(key, 9, 0), true, 5),
        ("two packets", credit(key, 9, 2), true, 7),
        ("and three", credit(key, 9, 3), true, 10),
    ];
    for (name, credit, found, packets) in rows {
        assert_eq!(maps.credit(&credit).unwrap(), found, "{name}");
        let flows = maps.flows().map(Result::unwrap);
        let most = flows.max_by_key(|flow| flow.flow.packets).unwrap();
        assert_eq!(most.flow.packets, packets, "{name}");
        let is_fresh = now.wrapping_sub(most.last_seen) > u32::MAX / 2 || most.last_seen == now;
        assert_eq!(is_fresh, packets > 5, "{name}");
    }
    let stats = maps.backend_stats().unwrap();
    let (index, stats) = stats.first().unwrap();
    assert_eq!((*index, stats.packets, stats.bytes), (3, [5, 0], [500, 0]));
}
