//! What `terrace nic` claims of an interface before anything is tried is what
//! then happens, both ways; claims and outcomes are those of the table of this
//! kernel in `claims/`.

use crate::sockets;
use crate::zoo::{Interface, zoo};
use std::collections::BTreeSet;
use terrace_nic_lab::{Link, PROBE, attempt, kernel, report, sh, verdict};
use terrace_testkit::wait;
use terrace_xdp::xsk::Bind;

/// How a thing is tried without any of Terrace's code; what it claims is asked
/// of the report under the same name.
struct Trial {
    tier: &'static str,
    works: fn(&Interface) -> bool,
}

const TRIALS: [Trial; 9] = [
    // First: vmxnet3 forgets that it can when a program of its own is taken off.
    Trial {
        tier: "redirect",
        works: redirect,
    },
    Trial {
        tier: "xdp-native",
        works: |at| xdp(at, "xdpdrv"),
    },
    Trial {
        tier: "xdp-generic",
        works: |at| xdp(at, "xdpgeneric"),
    },
    Trial {
        tier: "hw-ebpf",
        works: |at| xdp(at, "xdpoffload"),
    },
    Trial {
        tier: "afxdp-zc",
        works: |at| binds(at, Bind::ZeroCopy),
    },
    Trial {
        tier: "afxdp-copy",
        works: |at| binds(at, Bind::Copy),
    },
    Trial {
        tier: "tc",
        works: tc,
    },
    Trial {
        tier: "hw-nic",
        works: |at| flower(at) || classifies(at),
    },
    Trial {
        tier: "hw-switch",
        works: flower,
    },
];

/// XDP of a VLAN is the XDP of what it lies on: the report says where to attach.
fn xdp(at: &Interface, mode: &str) -> bool {
    let name = at.passive["attach_to"][0].as_str().unwrap_or(&at.name);
    let on = format!("ip link set dev {name} {mode} object {PROBE} section xdp");
    let (works, _) = attempt(&on);
    attempt(&format!("ip link set dev {name} {mode} off"));
    works
}

fn tc(at: &Interface) -> bool {
    let name = &at.name;
    let (works, _) = attempt(&format!(
        "tc qdisc add dev {name} clsact && tc filter add dev {name} ingress bpf da object-file {PROBE} section tc"
    ));
    attempt(&format!("tc qdisc del dev {name} clsact"));
    works
}

/// A rule for hardware only, and whether it is there: accepted is not enough.
fn flower(at: &Interface) -> bool {
    let name = &at.name;
    attempt(&format!("tc qdisc add dev {name} clsact"));
    let rule = "protocol ip flower skip_sw dst_ip 192.0.2.1 action drop";
    attempt(&format!("tc filter add dev {name} ingress {rule}"));
    let (_, shown) = attempt(&format!("tc filter show dev {name} ingress"));
    attempt(&format!("tc qdisc del dev {name} clsact"));
    shown.contains("in_hw") && !shown.contains("not_in_hw")
}

/// ethtool's exit code says nothing.
fn classifies(at: &Interface) -> bool {
    let name = &at.name;
    attempt(&format!(
        "ethtool -N {name} flow-type udp4 dst-port 9 action -1"
    ));
    let (_, shown) = attempt(&format!("ethtool -n {name}"));
    shown.contains("Filter: ")
}

fn binds(at: &Interface, bind: Bind) -> bool {
    // Zero-copy sockets live on a native program.
    let name = &at.name;
    attempt(&format!(
        "ip link set dev {name} xdpdrv object {PROBE} section xdp"
    ));
    let bound = sockets::bind(name, bind);
    attempt(&format!("ip link set dev {name} xdpdrv off"));
    bound
}

/// A native program on a veth redirects frames to the interface; the kernel's
/// trace says whether they went.
fn redirect(at: &Interface) -> bool {
    let _link = Link::add("rd0", "type veth peer name rd1").expect("a veth");
    sh("ip netns add rd && ip link set rd1 netns rd && ip -n rd link set rd1 up");
    sh("ip -n rd addr add 10.66.0.1/24 dev rd1");
    sh(&format!(
        "ip link set dev rd0 xdpdrv object {PROBE} section xdp.redirect"
    ));
    let index = sh(&format!("cat /sys/class/net/{}/ifindex", at.name));
    let index: u32 = index.trim().parse().expect("a number");
    let bytes = index.to_ne_bytes().map(|byte| byte.to_string()).join(" ");
    sh(&format!(
        "bpftool map update name target key 0 0 0 0 value {bytes}"
    ));
    let events = "/sys/kernel/tracing/events/xdp";
    sh(&format!(
        "echo > /sys/kernel/tracing/trace; echo 1 | tee {events}/xdp_devmap_xmit/enable {events}/xdp_redirect_err/enable"
    ));
    let tried = wait::until("a redirect", crate::LIMIT, || {
        attempt("nsenter --net=/run/netns/rd ping -c 1 -W 0.2 10.66.0.2");
        let trace = sh("cat /sys/kernel/tracing/trace");
        let mut lines = trace.lines().filter(|line| !line.starts_with('#'));
        let told = lines.find(|line| line.contains("xdp_"));
        told.inspect(|line| println!("{}: {line}", at.kind))
            .map(|line| line.contains("xdp_devmap_xmit") && line.contains("drops=0"))
    });
    sh(&format!(
        "echo 0 | tee {events}/xdp_devmap_xmit/enable {events}/xdp_redirect_err/enable; ip netns del rd"
    ));
    tried.expect("the frames are redirected or refused")
}

/// Attaching and detaching reset the link of most NICs.
fn settle(at: &Interface) {
    let path = format!("/sys/class/net/{}/carrier", at.name);
    let up = || (std::fs::read_to_string(&path).ok()?.trim() == "1").then_some(());
    if at.is_nic() {
        wait::until("the carrier", crate::LIMIT, up).expect("the link comes back");
    }
}

fn claim<'a>(at: &'a Interface, tier: &str) -> &'a str {
    match tier {
        "redirect" => redirect_claim(&at.passive),
        tier => verdict(&at.passive, tier),
    }
}

fn redirect_claim(report: &serde_json::Value) -> &'static str {
    match report["facts"]["xdp.redirect_target"]["value"].as_bool() {
        Some(true) => "yes",
        Some(false) => "no",
        None => "unknown",
    }
}

/// Most drivers take redirected frames only while they have a program of their
/// own, and say so then; `None` where there is no native XDP.
fn redirect_while_attached(at: &Interface) -> Option<(&'static str, bool)> {
    let name = &at.name;
    let on = format!("ip link set dev {name} xdpdrv object {PROBE} section xdp");
    if !attempt(&on).0 {
        return None;
    }
    settle(at);
    let found = (redirect_claim(&report(name, "")), redirect(at));
    sh(&format!("ip link set dev {name} xdpdrv off"));
    Some(found)
}

/// `unknown` claims nothing; `after_fix` and `no` claim that it fails now.
fn is_as_claimed(at: &Interface, claim: &str, works: bool) -> bool {
    match claim {
        "yes" | "partial" => works,
        // It takes everything and does nothing, so the report never counts on it.
        "no" if at.kind == "netdevsim" => true,
        "no" | "after_fix" => !works,
        _ => true,
    }
}

#[test]
fn what_the_report_claims_is_what_happens_and_what_the_table_says() {
    let mut wrong = Vec::new();
    let mut lines = BTreeSet::new();
    for at in &zoo() {
        let mut line = format!("{:10}", at.kind);
        let mut row = |tier: &str, claim: &str, works: bool| {
            let came = if works { "works" } else { "fails" };
            line.push_str(&format!(" {tier}={claim}/{came}"));
            if !is_as_claimed(at, claim, works) {
                wrong.push(format!(
                    "{}: {tier} is claimed `{claim}` and {came}",
                    at.kind
                ));
            }
        };
        for trial in &TRIALS {
            settle(at);
            row(trial.tier, claim(at, trial.tier), (trial.works)(at));
        }
        settle(at);
        if let Some((claim, works)) = redirect_while_attached(at) {
            row("redirect-attached", claim, works);
        }
        lines.insert(line);
    }
    let now: Vec<String> = lines.into_iter().collect();
    let now = now.join("\n");
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/nics/claims");
    let path = format!("{folder}/{}.txt", kernel());
    let recorded = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        wrong.is_empty() && recorded.trim() == now,
        "wrong claims:\n{}\nthe table is now:\n{now}\nrecorded in {path}:\n{recorded}",
        wrong.join("\n")
    );
}
