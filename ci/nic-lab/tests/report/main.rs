//! What `terrace nic` claims of an interface is what then happens, both ways;
//! and the claims are those of the recorded table.

mod table;

use table::Interface;
use terrace_nic_lab::{PROBE, attempt, report, trial, verdict};

/// What works once tried, by the kernel's own tools.
struct Tried {
    tier: &'static str,
    attach: &'static str,
    detach: &'static str,
}

const TRIED: [Tried; 4] = [
    Tried {
        tier: "xdp-native",
        attach: "ip link set dev IFACE xdpdrv object PROBE section xdp",
        detach: "ip link set dev IFACE xdpdrv off",
    },
    Tried {
        tier: "xdp-generic",
        attach: "ip link set dev IFACE xdpgeneric object PROBE section xdp",
        detach: "ip link set dev IFACE xdpgeneric off",
    },
    Tried {
        tier: "hw-ebpf",
        attach: "ip link set dev IFACE xdpoffload object PROBE section xdp",
        detach: "ip link set dev IFACE xdpoffload off",
    },
    Tried {
        tier: "tc",
        attach: "tc qdisc add dev IFACE clsact && tc filter add dev IFACE ingress bpf da object-file PROBE section tc",
        detach: "tc qdisc del dev IFACE clsact",
    },
];

/// Trials of the active report that speak for a tier.
const TRIALS: [(&str, &str); 4] = [
    ("xdp-native", "attach_drv"),
    ("afxdp-zc", "xsk_bind_zc"),
    ("afxdp-copy", "xsk_bind_copy"),
    ("hw-ebpf", "prog_load_ifindex"),
];

#[test]
fn the_report_is_the_recorded_table() {
    let zoo = table::zoo();
    let mut lines: Vec<String> = zoo.iter().map(Interface::line).collect();
    lines.sort();
    let recorded = table::recorded();
    let now = lines.join("\n");
    assert!(
        now == recorded,
        "the table is now:\n{now}\nrecorded is:\n{recorded}"
    );
}

#[test]
fn what_is_claimed_is_what_the_kernels_own_tools_get() {
    let mut faults = Vec::new();
    for interface in &table::zoo() {
        for row in &TRIED {
            let claim = verdict(&interface.passive, row.tier);
            let on = |line: &str| {
                line.replace("IFACE", &interface.name)
                    .replace("PROBE", PROBE)
            };
            let (works, said) = attempt(&on(row.attach));
            attempt(&on(row.detach));
            faults.extend(fault(interface, row.tier, claim, works, said.trim()));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn what_is_claimed_is_what_trying_it_proves() {
    let mut faults = Vec::new();
    for interface in &table::zoo() {
        let active = report(&interface.name, "--mode active --allow attach,xsk");
        for (tier, name) in TRIALS {
            let claim = verdict(&interface.passive, tier);
            let result = trial(&active, name);
            if result == "ok" || result == "refused" {
                faults.extend(fault(interface, tier, claim, result == "ok", name));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// `unknown` claims nothing; `after_fix` and `no` claim that it fails now.
fn fault(at: &Interface, tier: &str, claim: &str, works: bool, said: &str) -> Option<String> {
    let as_claimed = match claim {
        "yes" | "partial" => works,
        // It takes everything and does nothing, so the report never counts on it.
        "no" if at.kind == "netdevsim" => true,
        "no" | "after_fix" => !works,
        _ => true,
    };
    let came = if works { "works" } else { "fails" };
    (!as_claimed).then(|| {
        format!(
            "{}: {tier} is claimed `{claim}` and {came}: {said}",
            at.kind
        )
    })
}
