//! Small texts of sysfs and procfs.

use std::collections::BTreeMap;

/// How many CPUs a list like `0-3,8` names.
pub fn cpu_count(list: &str) -> Option<u32> {
    let mut count = 0u32;
    for part in list.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
        count = count.checked_add(last.checked_sub(first)?.checked_add(1)?)?;
    }
    Some(count)
}

/// `0x1af4` as `1af4`.
pub fn id(text: &str) -> &str {
    text.trim().trim_start_matches("0x")
}

/// Negotiated virtio features: one character a bit, bit 0 first. Bits that have
/// no name here are given by number.
pub fn virtio_features(text: &str) -> BTreeMap<String, bool> {
    const NAMES: &[(usize, &str)] = &[
        (0, "csum"),
        (1, "guest_csum"),
        (2, "ctrl_guest_offloads"),
        (3, "mtu"),
        (7, "guest_tso4"),
        (8, "guest_tso6"),
        (9, "guest_ecn"),
        (10, "guest_ufo"),
        (11, "host_tso4"),
        (12, "host_tso6"),
        (14, "host_ufo"),
        (15, "mrg_rxbuf"),
        (16, "status"),
        (17, "ctrl_vq"),
        (22, "mq"),
        (54, "guest_uso4"),
        (55, "guest_uso6"),
        (56, "host_uso"),
        (57, "hash_report"),
        (59, "guest_hdrlen"),
        (60, "rss"),
        (63, "speed_duplex"),
    ];
    let bits: Vec<bool> = text.trim().bytes().map(|bit| bit == b'1').collect();
    NAMES
        .iter()
        .filter_map(|(bit, name)| Some(((*name).to_owned(), *bits.get(*bit)?)))
        .collect()
}

/// Whether the VM's host may send unfinished checksums or merged packets: what
/// stands against native XDP unless it can be switched off.
pub fn guest_csum_or_tso(features: &BTreeMap<String, bool>) -> bool {
    let names = [
        "guest_csum",
        "guest_tso4",
        "guest_tso6",
        "guest_ufo",
        "guest_uso4",
        "guest_uso6",
    ];
    names
        .iter()
        .any(|name| features.get(*name).copied().unwrap_or(false))
}

/// Names of interrupts by number, from /proc/interrupts.
pub fn interrupts(text: &str) -> BTreeMap<u32, String> {
    let one = |line: &str| {
        let (number, rest) = line.trim().split_once(':')?;
        let name = rest.split_whitespace().last()?;
        Some((number.parse().ok()?, name.to_owned()))
    };
    text.lines().filter_map(one).collect()
}

/// The effective capabilities in /proc/self/status that matter here.
pub fn capabilities(status: &str) -> Option<Vec<String>> {
    const NAMES: &[(u32, &str)] = &[
        (12, "net_admin"),
        (13, "net_raw"),
        (21, "sys_admin"),
        (38, "perfmon"),
        (39, "bpf"),
    ];
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))?;
    let word = u64::from_str_radix(line.trim(), 16).ok()?;
    let has = NAMES.iter().filter(|(bit, _)| word >> bit & 1 != 0);
    Some(has.map(|(_, name)| (*name).to_owned()).collect())
}

/// `[none] integrity confidentiality`: the word in brackets.
pub fn lockdown(text: &str) -> Option<&str> {
    Some(text.split_once('[')?.1.split_once(']')?.0)
}
