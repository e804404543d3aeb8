//! Cell and prefix tables against naive models.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use ipnet::IpNet;
use proptest::prelude::*;
use terrace_abi::consts::{CELL_PROBES, PREFIX_ROOTS};
use terrace_abi::hash::{CellKey, address_bytes, cell_hash};
use terrace_abi::types::cell_bucket;
use terrace_mesh::{Cells, Full, Image, Prefix, Prefixes};

fn cells(buckets: u32) -> Cells {
    Cells::new(Image::new(buckets, 64))
}

/// Every bucket that a key passed over says so, and no other.
fn overflows_are_right(cells: &Cells, keys: impl Iterator<Item = CellKey>) {
    let buckets = cells.image().entries();
    let mut expected = vec![0; buckets as usize];
    for key in keys {
        for i in 0..CELL_PROBES {
            let index = cell_hash(&key).wrapping_add(i) & (buckets - 1);
            let bucket: cell_bucket = cells.image().read(index);
            if bucket
                .cells
                .iter()
                .any(|cell| cell.key == key && cell.value != 0)
            {
                break;
            }
            expected[index as usize] += 1;
        }
    }
    for (index, overflow) in (0..).zip(expected) {
        assert_eq!(
            cells.image().read::<cell_bucket>(index).overflow,
            overflow,
            "bucket {index}"
        );
    }
}

#[test]
fn a_freed_cell_takes_no_key_before_the_grace_period() {
    let mut cells = cells(1);
    let key = |n: u32| [n, 0, 0, 0, 0];
    cells.insert(&key(1), 1).unwrap();
    cells.insert(&key(2), 2).unwrap();
    assert_eq!(cells.insert(&key(3), 3), Err(Full));
    assert!(cells.remove(&key(1)));
    assert_eq!(cells.insert(&key(3), 3), Err(Full));
    cells.settle();
    assert_eq!(cells.insert(&key(3), 3), Ok(()));
    assert_eq!(
        (cells.get(&key(1)), cells.get(&key(2)), cells.get(&key(3))),
        (0, 2, 3)
    );
}

#[test]
fn a_table_can_be_filled_beyond_half() {
    let mut cells = cells(4096);
    let key = |n: u32| [0, 0, 0xffff_0000, n.to_be(), 128];
    for n in 0..5_000 {
        assert_eq!(cells.insert(&key(n), n + 1), Ok(()), "key {n}");
    }
    assert!((0..5_000).all(|n| cells.get(&key(n)) == n + 1));
    overflows_are_right(&cells, (0..5_000).map(key));
}

#[derive(Debug, Clone)]
enum Step {
    Insert(u8, u32),
    Remove(u8),
    Settle,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (any::<u8>(), 1u32..5).prop_map(|(key, value)| Step::Insert(key, value)),
        3 => any::<u8>().prop_map(Step::Remove),
        1 => Just(Step::Settle),
    ]
}

proptest! {
    #[test]
    fn cells_are_a_map(steps in prop::collection::vec(step(), 1..400)) {
        let mut cells = cells(64);
        let mut model: HashMap<CellKey, u32> = HashMap::new();
        for step in steps {
            let key = |n: u8| [u32::from(n), 7, 0, u32::from(n) << 8, 128];
            match step {
                Step::Insert(n, value) => {
                    if cells.insert(&key(n), value).is_ok() {
                        model.insert(key(n), value);
                    }
                }
                Step::Remove(n) => {
                    prop_assert_eq!(cells.remove(&key(n)), model.remove(&key(n)).is_some());
                }
                Step::Settle => cells.settle(),
            }
            for n in 0..=255 {
                prop_assert_eq!(cells.get(&key(n)), model.get(&key(n)).copied().unwrap_or(0));
            }
        }
        prop_assert_eq!(cells.len() as usize, model.len());
        overflows_are_right(&cells, model.keys().copied());
    }

    #[test]
    fn prefixes_give_the_longest_match(
        steps in prop::collection::vec((any::<bool>(), net(), 1u32..100), 1..120),
        asked in prop::collection::vec(address(), 1..60),
    ) {
        let mut table = Prefixes::new(Image::new(PREFIX_ROOTS, 32), Image::new(1024, 64));
        let mut model: BTreeMap<IpNet, u32> = BTreeMap::new();
        for (insert, net, value) in steps {
            if insert || model.is_empty() {
                table.insert(&Prefix::from(net), value).unwrap();
                model.insert(net, value);
            } else {
                let known = *model.keys().nth(value as usize % model.len()).unwrap();
                prop_assert!(table.remove(&Prefix::from(known)));
                model.remove(&known);
            }
        }
        for address in asked.into_iter().chain(model.keys().map(IpNet::network).collect::<Vec<_>>()) {
            let around = model.iter().filter(|(net, _)| net.contains(&address));
            let expected = around.max_by_key(|(net, _)| net.prefix_len()).map_or(0, |(_, value)| *value);
            prop_assert_eq!(table.lookup(&address_bytes(address)), expected, "{}", address);
        }
        for net in model.keys() {
            prop_assert!(table.remove(&Prefix::from(*net)));
        }
        prop_assert!(table.is_empty());
        prop_assert!(table.roots().bytes().iter().all(|byte| *byte == 0));
        prop_assert!(table.cells().image().bytes().iter().all(|byte| *byte == 0));
    }
}

/// Addresses that share prefixes of many lengths.
fn address() -> impl Strategy<Value = IpAddr> {
    let v4 = (0u8..3, 0u8..3, any::<u8>(), 0u8..4)
        .prop_map(|(a, b, c, d)| IpAddr::from([10 + a, b, c & 0xc1, d]));
    let v6 = (0u16..2, 0u16..2, 0u16..3, 0u16..3)
        .prop_map(|(a, b, c, d)| IpAddr::from([0xfd00 + a, b << 15, c, 0, 0, 0, 0, d]));
    prop_oneof![v4, v6]
}

fn net() -> impl Strategy<Value = IpNet> {
    (address(), 0u8..=128).prop_map(|(address, length)| {
        let most = if address.is_ipv4() { 32 } else { 128 };
        IpNet::new(address, length.min(most).max(length % (most + 1)))
            .expect("a length of the family")
            .trunc()
    })
}

#[test]
fn a_million_prefixes_are_found() {
    let mut table = Prefixes::new(Image::new(PREFIX_ROOTS, 32), Image::new(1 << 20, 64));
    let address = |i: u32| IpAddr::from((i.wrapping_mul(2_654_435_761)).to_be_bytes());
    for i in 0..1_000_000 {
        table.insert(&Prefix::from(address(i)), 1).unwrap();
    }
    assert!(
        (0..1_000_000)
            .step_by(997)
            .all(|i| table.lookup(&address_bytes(address(i))) == 1)
    );
    assert_eq!(table.cells().len(), 1_000_000);
}
