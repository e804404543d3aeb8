//! The tables of the L7 tier as memory.

#![allow(clippy::unwrap_used, reason = "a test panics where it fails")]

use libbpf_rs::{MapCore as _, MapFlags};
use terrace_abi::{Limits, Maps, Plain, consts, types};
use terrace_testkit::PinRoot;

fn kernel_sees<T: Plain>(maps: &Maps, table: &str, index: u32) -> T {
    let handle = maps.handle(table).unwrap();
    let bytes = handle.lookup(&index.to_ne_bytes(), MapFlags::ANY).unwrap();
    T::from_bytes(&bytes.unwrap()).unwrap()
}

#[test]
fn root_a_splice_written_in_memory_is_in_the_table_with_an_even_sequence() {
    let root = PinRoot::new().unwrap();
    let maps = Maps::open(root.path(), &Limits::small()).unwrap();
    let tables = maps.l7_tables().unwrap();
    let splice = types::splice {
        seq: 77,
        binding: 5,
        client_port: 1,
        backend: 9,
        mode: consts::SPLICE_OPENING as u8,
        ..Default::default()
    };
    for (written, seq) in [(3, 2), (3, 4), (4, 2)] {
        tables.set_splice(written, &splice);
        let seen: types::splice = kernel_sees(&maps, "splices", written);
        assert_eq!((seen.seq, seen.binding), (seq, 5));
        assert_eq!((seen.client_port, seen.backend), (1, 9));
    }
    tables.remove_splice(3);
    let seen: types::splice = kernel_sees(&maps, "splices", 3);
    assert_eq!((seen.seq, seen.binding, seen.client_port), (6, 0, 0));
    assert_eq!(tables.splice(4).backend, 9);
}

#[test]
fn root_a_binding_starts_in_its_own_note() {
    let root = PinRoot::new().unwrap();
    let maps = Maps::open(root.path(), &Limits::small()).unwrap();
    let tables = maps.l7_tables().unwrap();
    for binding in [6, 7] {
        let note = types::splice_note {
            server_nxt: 100 + binding,
            ts_value: 200 + binding,
            ..Default::default()
        };
        tables.start(1, binding, &note);
    }
    let seen: types::splice_progress = kernel_sees(&maps, "splice_progress", 1);
    let notes = seen.notes.map(|note| (note.server_nxt, note.ts_value));
    assert_eq!(notes, [(106, 206), (107, 207)]);
    assert_eq!(tables.progress(1).notes[1].server_nxt, 107);
}

#[test]
fn root_what_lies_beyond_a_table_is_ignored() {
    let root = PinRoot::new().unwrap();
    let maps = Maps::open(root.path(), &Limits::small()).unwrap();
    let tables = maps.l7_tables().unwrap();
    let beyond = tables.flows();
    tables.set_splice(beyond, &types::splice::default());
    tables.start(beyond, 0, &types::splice_note::default());
    tables.beat(consts::L7_QUEUES_MAX, 1, 1);
    assert_eq!(tables.splice(beyond).seq, 0);
    tables.beat(2, 7, 12_345);
    let worker: types::l7_worker = kernel_sees(&maps, "l7_workers", 2);
    assert_eq!((worker.beat_ns, worker.generation), (12_345, 7));
}
