//! The tables on a real kernel.

#![allow(clippy::unwrap_used, reason = "a test panics where it fails")]

use std::path::Path;
use std::time::Duration;

use terrace_abi::{Error, Limits, Maps, Plain as _, Reason, Table, consts, pins, types};
use terrace_testkit::PinRoot;

fn root() -> PinRoot {
    PinRoot::new().unwrap()
}

fn open(root: &PinRoot) -> Maps {
    Maps::open(root.path(), &Limits::small()).unwrap()
}

#[test]
fn root_new_tables_are_pinned_under_their_names() {
    let root = root();
    let maps = open(&root);
    let pinned = pins::list(root.path()).unwrap();
    for table in Table::ALL {
        let path = root.path().join("maps").join(table.map_name());
        assert!(pinned.contains(&path), "{}", path.display());
        let bytes = maps.read_table(table).unwrap().len();
        assert_eq!(
            bytes,
            table.value_size() * table.entries(maps.limits()) as usize
        );
    }
    assert_eq!(maps.config().unwrap().abi_version, consts::ABI_VERSION);
}

#[test]
fn root_reopened_tables_keep_what_was_written() {
    let root = root();
    let service = types::service {
        n_backends: 3,
        maglev: 9,
        ..Default::default()
    };
    let rows = vec![
        (7, service.as_bytes().to_vec()),
        (200, service.as_bytes().to_vec()),
    ];
    open(&root).write_table(Table::Services, &rows).unwrap();
    let image = open(&root).read_table(Table::Services).unwrap();
    let size = Table::Services.value_size();
    assert_eq!(&image[7 * size..8 * size], service.as_bytes());
    assert_eq!(&image[200 * size..201 * size], service.as_bytes());
    assert_eq!(image.iter().filter(|&&byte| byte != 0).count(), 4);
    let seen = Maps::open_existing(root.path()).unwrap();
    assert_eq!(seen.limits(), &Limits::small().rounded());
}

#[test]
fn root_a_start_that_did_not_finish_is_begun_anew() {
    let root = root();
    drop(open(&root));
    pins::remove(&root.path().join("maps/config")).unwrap();
    let maps = Maps::open(
        root.path(),
        &Limits {
            flows: 8192,
            ..Limits::small()
        },
    )
    .unwrap();
    assert_eq!(maps.limits().flows, 8192);
}

#[test]
fn root_another_abi_version_is_refused() {
    let root = root();
    let maps = open(&root);
    set_abi_version(&maps, consts::ABI_VERSION + 1);
    for error in [
        Maps::open(root.path(), &Limits::small()).unwrap_err(),
        Maps::open_existing(root.path()).unwrap_err(),
    ] {
        assert!(
            matches!(error, Error::AbiVersion { found, .. } if found == consts::ABI_VERSION + 1)
        );
        assert!(error.to_string().contains("terrace detach"), "{error}");
    }
}

fn set_abi_version(maps: &Maps, version: u32) {
    use libbpf_rs::{MapCore as _, MapFlags};
    let config = types::config {
        abi_version: version,
        ..maps.config().unwrap()
    };
    let handle = maps.handle("config").unwrap();
    handle
        .update(&0u32.to_ne_bytes(), config.as_bytes(), MapFlags::ANY)
        .unwrap();
}

#[test]
fn root_another_size_is_refused_by_the_name_of_its_limit() {
    let small = Limits::small();
    let rows = [
        (
            "flows",
            Limits {
                flows: 8192,
                ..small
            },
        ),
        (
            "services",
            Limits {
                services: 512,
                ..small
            },
        ),
        (
            "backends",
            Limits {
                backends: 2048,
                ..small
            },
        ),
        (
            "deny_cells",
            Limits {
                deny_cells: 2048,
                ..small
            },
        ),
        (
            "affinities",
            Limits {
                affinities: 2048,
                ..small
            },
        ),
    ];
    let root = root();
    drop(open(&root));
    for (limit, limits) in rows {
        let error = Maps::open(root.path(), &limits).unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with(&format!("limit {limit} asks")),
            "{error}"
        );
    }
}

#[test]
fn root_missing_tables_are_not_found() {
    let root = root();
    let error = Maps::open_existing(root.path()).unwrap_err();
    assert!(matches!(error, Error::NotFound { .. }), "{error}");
    let error = Maps::open(Path::new("/tmp/terrace-no-bpffs"), &Limits::small()).unwrap_err();
    assert!(matches!(error, Error::NotBpffs { .. }), "{error}");
    assert!(!Path::new("/tmp/terrace-no-bpffs").exists());
}

#[test]
fn root_an_entry_that_does_not_fit_is_refused_before_anything_is_written() {
    let root = root();
    let maps = open(&root);
    let good = (1, vec![1; Table::Backends.value_size()]);
    let rows = [("short", (2, vec![0; 3])), ("beyond", (1024, vec![0; 32]))];
    for (name, bad) in rows {
        let error = maps
            .write_table(Table::Backends, &[good.clone(), bad])
            .unwrap_err();
        assert!(matches!(error, Error::Entry { .. }), "{name}: {error}");
    }
    assert!(
        maps.read_table(Table::Backends)
            .unwrap()
            .iter()
            .all(|&byte| byte == 0)
    );
}

#[test]
fn root_large_writes_go_through_in_batches() {
    let root = root();
    let maps = open(&root);
    let rows: Vec<(u32, Vec<u8>)> = (0..consts::POLICY_CLASS_ENTRIES)
        .map(|index| (index, u64::from(index).to_ne_bytes().to_vec()))
        .collect();
    maps.write_table(Table::PortClasses, &rows).unwrap();
    let image = maps.read_table(Table::PortClasses).unwrap();
    for (index, value) in rows {
        let at = index as usize * 8;
        assert_eq!(image[at..at + 8], value[..]);
    }
}

#[test]
fn root_rings_of_different_sizes_are_swapped_patched_and_dropped() {
    let root = root();
    let maps = open(&root);
    assert_eq!(maps.ring(3).unwrap(), None);
    let ring: Vec<u64> = (0..8191).collect();
    maps.set_rings([(3, &ring[..]), (4, &[1, 2, 3])]).unwrap();
    assert_eq!(maps.ring(3).unwrap().unwrap(), ring);
    assert_eq!(maps.ring(4).unwrap().unwrap(), [1, 2, 3]);
    maps.set_ring(3, &[9; 126]).unwrap();
    assert_eq!(maps.ring(3).unwrap().unwrap(), [9; 126]);
    maps.patch_ring(4, &[(1, u64::MAX)]).unwrap();
    assert_eq!(maps.ring(4).unwrap().unwrap(), [1, u64::MAX, 3]);
    maps.drop_ring(4).unwrap();
    maps.drop_ring(4).unwrap();
    assert_eq!(maps.ring(4).unwrap(), None);
    assert!(
        maps.patch_ring(4, &[(0, 0)])
            .unwrap_err()
            .to_string()
            .contains("maglevs")
    );
}

#[test]
fn root_the_heartbeat_and_the_clock_go_forward() {
    let root = root();
    let maps = open(&root);
    let beat = maps.beat().unwrap();
    let clock = maps.clock().unwrap();
    assert!(
        clock.wrapping_sub(beat) < 1_000_000,
        "beat {beat}, clock {clock}"
    );
    maps.grace().unwrap();
    maps.grace().unwrap();
    let hz = maps.config().unwrap().hz;
    assert!([100, 250, 300, 1000].contains(&hz), "{hz}");
}

#[test]
fn root_interfaces_find_their_slots_and_never_slot_zero() {
    let root = root();
    let maps = open(&root);
    let iface = |ifindex, mtu| types::iface {
        ifindex,
        mtu,
        ..Default::default()
    };
    let slots: Vec<u32> = [5, 1029, 2053, 1024]
        .map(|ifindex| maps.set_iface(&iface(ifindex, 1)).unwrap())
        .into();
    assert_eq!(slots, [5, 6, 7, 1]);
    assert_eq!(maps.set_iface(&iface(1029, 9000)).unwrap(), 6);
    assert_eq!(maps.iface(1029).unwrap().unwrap().1.mtu, 9000);
    maps.remove_iface(1029).unwrap();
    assert!(maps.iface(1029).unwrap().is_none());
    assert!(
        maps.iface(2053).unwrap().is_some(),
        "a freed slot hides nothing behind it"
    );
    assert_eq!(maps.ifaces().unwrap().len(), 3);
}

#[test]
fn root_an_interface_without_free_slot_is_refused() {
    let root = root();
    let maps = open(&root);
    let iface = |ifindex| types::iface {
        ifindex,
        ..Default::default()
    };
    for i in 0..consts::IFACE_PROBES {
        maps.set_iface(&iface(9 + i * consts::IFACES_MAX)).unwrap();
    }
    let error = maps
        .set_iface(&iface(9 + 100 * consts::IFACES_MAX))
        .unwrap_err();
    assert!(matches!(error, Error::InterfacesFull { .. }), "{error}");
}

#[test]
fn root_counters_are_summed_over_cpus_and_reset() {
    use libbpf_rs::{MapCore as _, MapFlags};
    let root = root();
    let maps = open(&root);
    let slot = maps
        .set_iface(&types::iface {
            ifindex: 77,
            ..Default::default()
        })
        .unwrap();
    let cpus = terrace_abi::sys::possible_cpus().unwrap();
    let one = types::reason_stats {
        packets: 2,
        bytes: 100,
    };
    let index = terrace_abi::hash::reason_index(slot, consts::HOOK_XDP, Reason::Tx.number());
    let values = vec![one.as_bytes().to_vec(); cpus];
    let handle = maps.handle("reasons").unwrap();
    handle
        .update_percpu(&index.to_ne_bytes(), &values, MapFlags::ANY)
        .unwrap();
    let counts = maps.reasons().unwrap();
    assert_eq!(counts.len(), 1);
    assert_eq!(
        (counts[0].reason, counts[0].packets),
        (Reason::Tx, 2 * cpus as u64)
    );
    assert_eq!((counts[0].slot, counts[0].hook), (slot, consts::HOOK_XDP));
    maps.remove_iface(77).unwrap();
    maps.set_iface(&types::iface {
        ifindex: 77,
        ..Default::default()
    })
    .unwrap();
    assert!(
        maps.reasons().unwrap().is_empty(),
        "a new interface starts at zero"
    );

    let stats = types::backend_stats {
        packets: [1, 2],
        bytes: [3, 4],
        connections: 5,
    };
    let values = vec![stats.as_bytes().to_vec(); cpus];
    let handle = maps.handle("backend_stats").unwrap();
    handle
        .update_percpu(&1023u32.to_ne_bytes(), &values, MapFlags::ANY)
        .unwrap();
    let found = maps.backend_stats().unwrap();
    assert_eq!((found.len(), found[0].0), (1, 1023));
    assert_eq!(found[0].1.connections, 5 * cpus as u64);
    maps.reset_backend_stats(1023).unwrap();
    assert!(maps.backend_stats().unwrap().is_empty());
}

#[test]
fn root_no_event_is_read_from_an_empty_ring() {
    let root = root();
    let events = open(&root).events().unwrap();
    assert!(events.poll(Duration::ZERO).unwrap().is_empty());
    assert!(events.epoll_fd() >= 0);
}

#[test]
fn root_removed_pins_leave_nothing() {
    let root = root();
    let maps = open(&root);
    pins::remove_all(root.path()).unwrap();
    assert!(!root.path().exists());
    assert!(pins::list(root.path()).unwrap().is_empty());
    drop(maps);
    pins::remove_all(root.path()).unwrap();
}
