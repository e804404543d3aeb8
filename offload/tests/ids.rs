//! Every number in the tables is the kernel's: compared with the running
//! kernel's types, and with the installed headers for what it was built without.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::{Command, Stdio};

use terrace_offload::wire::{FORMS, Kind, Table, devlink, ethtool, genl, netdev, route, tc};

const HEADERS: &str = "\
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/pkt_cls.h>
#include <linux/genetlink.h>
#include <linux/devlink.h>
#include <linux/ethtool.h>
#include <linux/ethtool_netlink.h>
#include <stdio.h>
";

/// The kernel's names with the numbers that Terrace uses.
fn used() -> BTreeMap<String, u64> {
    let mut names = BTreeMap::new();
    for form in FORMS {
        collect(form.attrs, &mut names);
    }
    for (name, number) in netdev::COMMANDS
        .iter()
        .chain(ethtool::COMMANDS)
        .chain(devlink::COMMANDS)
    {
        names.insert((*name).to_owned(), u64::from(*number));
    }
    for (name, number) in route::COMMANDS {
        names.insert((*name).to_owned(), u64::from(*number));
    }
    let single = [
        ("CTRL_CMD_GETFAMILY", u64::from(genl::CTRL_CMD_GETFAMILY)),
        ("GENL_ID_CTRL", u64::from(genl::GENL_ID_CTRL)),
        ("ETH_SS_FEATURES", ethtool::SS_FEATURES.into()),
        ("ETH_SS_RSS_HASH_FUNCS", ethtool::SS_RSS_HASH_FUNCS.into()),
        ("ETH_SS_SOF_TIMESTAMPING", ethtool::SS_TS_CAPS.into()),
        (
            "ETHTOOL_FLAG_COMPACT_BITSETS",
            ethtool::FLAG_COMPACT_BITSETS.into(),
        ),
        ("TCA_CLS_FLAGS_IN_HW", tc::TCA_CLS_FLAGS_IN_HW),
    ];
    names.extend(single.map(|(name, number)| (name.to_owned(), number)));
    for (bit, name) in netdev::XDP_FEATURES {
        names.insert(format!("NETDEV_XDP_ACT_{}", constant(name)), *bit);
    }
    for (bit, name) in netdev::RX_METADATA {
        names.insert(format!("NETDEV_XDP_RX_METADATA_{}", constant(name)), *bit);
    }
    for (bit, name) in netdev::XSK_FEATURES {
        names.insert(format!("NETDEV_XSK_FLAGS_{}", constant(name)), *bit);
    }
    names
}

fn constant(name: &str) -> String {
    name.to_uppercase().replace('-', "_")
}

fn collect(table: &Table, names: &mut BTreeMap<String, u64>) {
    for attr in table.attrs {
        // Arrays are numbered, not named.
        if !table.prefix.is_empty() {
            names.insert(
                format!("{}{}", table.prefix, constant(attr.1)),
                attr.0.into(),
            );
        }
        match attr.2 {
            Kind::Nest(inner) => collect(inner, names),
            Kind::Select(_, tables) => tables.iter().for_each(|(_, inner)| collect(inner, names)),
            _ => {}
        }
    }
}

/// Enumerators of the running kernel.
fn of_kernel() -> BTreeMap<String, u64> {
    let args = [
        "btf",
        "dump",
        "file",
        "/sys/kernel/btf/vmlinux",
        "format",
        "raw",
    ];
    let output = Command::new("bpftool").args(args).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let one = |line: &str| {
        let (name, value) = line.trim().strip_prefix('\'')?.split_once("' val=")?;
        Some((name.to_owned(), value.parse().ok()?))
    };
    text.lines().filter_map(one).collect()
}

/// The same of the installed headers, for these names; what they don't know is
/// left out.
fn of_headers(names: &[&String]) -> BTreeMap<String, u64> {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("ids");
    let mut names: Vec<&String> = names.to_vec();
    loop {
        let lines = names
            .iter()
            .map(|n| format!("printf(\"{n} %llu\\n\", (unsigned long long)({n}));\n"));
        let source = format!(
            "{HEADERS}int main(void) {{\n{}}}\n",
            lines.collect::<String>()
        );
        let mut gcc = Command::new("gcc")
            .args(["-w", "-fmax-errors=0", "-x", "c", "-", "-o"])
            .arg(&program)
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        gcc.stdin
            .take()
            .unwrap()
            .write_all(source.as_bytes())
            .unwrap();
        let done = gcc.wait_with_output().unwrap();
        if done.status.success() {
            break;
        }
        let errors = String::from_utf8_lossy(&done.stderr).into_owned();
        let count = names.len();
        names.retain(|name| {
            let quoted = [
                format!("‘{name}’ undeclared"),
                format!("'{name}' undeclared"),
            ];
            !quoted.iter().any(|quoted| errors.contains(quoted))
        });
        assert!(names.len() < count, "{errors}");
    }
    let output = Command::new(&program).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let one = |line: &str| {
        let (name, value) = line.split_once(' ')?;
        Some((name.to_owned(), value.parse().ok()?))
    };
    text.lines().filter_map(one).collect()
}

#[test]
fn every_number_is_the_kernels() {
    let used = used();
    let kernel = of_kernel();
    let missing: Vec<&String> = used
        .keys()
        .filter(|name| !kernel.contains_key(*name))
        .collect();
    let headers = of_headers(&missing);
    let mut unknown = Vec::new();
    for (name, number) in &used {
        match kernel.get(name).or_else(|| headers.get(name)) {
            Some(right) => assert_eq!(number, right, "{name}"),
            None => unknown.push(name),
        }
    }
    println!(
        "{} numbers compared, not known here: {unknown:?}",
        used.len() - unknown.len()
    );
    // Newer than this kernel and its headers, or spelled otherwise.
    assert!(unknown.len() * 20 < used.len(), "{unknown:?}");
}
