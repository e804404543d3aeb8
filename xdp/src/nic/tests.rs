//! The compiled list on this host: a NIC would run the same instructions.

use std::net::IpAddr;

use ipnet::IpNet;
use terrace_abi::sys;

use super::{LENGTHS, NicFilter, Refused, of_few_lengths, words};

const DROP: u32 = 1;
const PASS: u32 = 2;

fn nets(text: &str) -> Vec<IpNet> {
    text.split_whitespace()
        .map(|net| net.parse().unwrap())
        .collect()
}

/// An Ethernet frame from an address, of a certain length.
fn frame(source: &str, len: usize) -> Vec<u8> {
    let mut frame = vec![0; 12];
    match source.parse().unwrap() {
        IpAddr::V4(source) => {
            frame.extend([0x08, 0x00, 0x45]);
            frame.resize(26, 0);
            frame.extend(source.octets());
        }
        IpAddr::V6(source) => {
            frame.extend([0x86, 0xdd, 0x60]);
            frame.resize(22, 0);
            frame.extend(source.octets());
        }
    }
    frame.resize(len, 0);
    frame
}

#[test]
fn root_a_compiled_list_drops_its_entries_and_nothing_else() {
    let list = nets(
        "192.0.2.0/24 198.51.100.7/32 10.0.0.0/8 2001:db8::/32 2001:db8:1::1/128 ::ffff:203.0.113.0/120",
    );
    let filter = NicFilter::load(0, &list).unwrap();
    assert_eq!((filter.held, &filter.full), (list.len(), &None));
    let rows = [
        ("in a /24", frame("192.0.2.200", 60), DROP),
        ("beside it", frame("192.0.3.1", 60), PASS),
        ("a /32", frame("198.51.100.7", 60), DROP),
        ("the next one", frame("198.51.100.8", 60), PASS),
        ("in a /8", frame("10.255.1.2", 1500), DROP),
        ("in a v6 /32", frame("2001:db8:ffff::9", 60), DROP),
        ("a v6 beside", frame("2001:db9::9", 60), PASS),
        ("zeros", frame("0.0.0.0", 60), PASS),
        (
            "a v4 net's words in v6 are another net",
            frame("c000:2c8::", 60),
            PASS,
        ),
        (
            "a v6 length that looks like a v4 one",
            frame("::ffff:203.0.113.9", 60),
            DROP,
        ),
        ("no room for IPv4", frame("192.0.2.200", 33), PASS),
        (
            "room for IPv4, no byte more",
            frame("192.0.2.200", 34),
            DROP,
        ),
        ("no room for IPv6", frame("2001:db8::1", 53), PASS),
        ("neither", vec![0; 60], PASS),
    ];
    let mut dropped = (0, 0);
    for (name, packet, expected) in rows {
        let run = sys::test_run(filter.program(), &packet, None, 1).unwrap();
        assert_eq!(run.action, expected, "{name}");
        if expected == DROP {
            dropped = (dropped.0 + 1, dropped.1 + packet.len() as u64);
        }
    }
    assert_eq!(filter.counts().unwrap(), dropped);
}

#[test]
fn root_an_interface_without_such_hardware_refuses_at_the_first_map() {
    let Refused { step, words } = NicFilter::attach(1, &nets("192.0.2.0/24")).unwrap_err();
    assert_eq!(step, "make the map of counters");
    assert!(words.contains("Operation not supported"), "{words}");
}

#[test]
fn a_list_is_cut_where_its_lengths_become_too_many() {
    let list: Vec<IpNet> = (9..32)
        .map(|length| format!("10.0.0.0/{length}").parse().unwrap())
        .collect();
    let rows = [
        (nets(""), 0, 0, false),
        (nets("192.0.2.0/24 198.51.100.0/24"), 2, 1, false),
        (nets("::/24 10.0.0.0/24"), 2, 2, false),
        (list[..LENGTHS].to_vec(), LENGTHS, LENGTHS, false),
        (list.clone(), LENGTHS, LENGTHS, true),
    ];
    for (list, fit, lengths, cut) in rows {
        let (start, found, why) = of_few_lengths(&list);
        assert_eq!(
            (start.len(), found.len(), why.is_some()),
            (fit, lengths, cut),
            "{list:?}"
        );
    }
}

#[test]
fn the_last_line_of_a_log_says_why() {
    let error = std::io::Error::from_raw_os_error(95);
    let rows = [
        ("", "Operation not supported (os error 95)"),
        ("processed 0 insns", "Operation not supported (os error 95)"),
        (
            "0: r1\n[netdevsim] Hello from netdevsim!\nprocessed 2 insns\n",
            "Operation not supported (os error 95): [netdevsim] Hello from netdevsim!",
        ),
    ];
    for (log, expected) in rows {
        assert_eq!(words(&error, log), expected, "{log:?}");
    }
}
