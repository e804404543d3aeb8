//! Real drivers on emulated NICs: two of each on one wire, one of them in a
//! namespace of its own.

use std::time::Duration;
use terrace_nic_lab::{PROBE, attempt, by_driver, kernel, report, sh, trial, verdict};
use terrace_testkit::wait;

const LIMIT: Duration = Duration::from_secs(30);

/// Two NICs of one driver, the second in the namespace `far`.
struct Pair {
    near: String,
    far: String,
}

impl Pair {
    fn of(driver: &str) -> Self {
        let nics = by_driver(driver);
        let [near, far] = nics.as_slice() else {
            panic!("{driver}: {nics:?}, and two are needed");
        };
        let pair = Self {
            near: near.clone(),
            far: far.clone(),
        };
        sh("ip netns add far && ip netns exec far ip link set lo up");
        sh(&format!("ip link set {far} netns far"));
        sh(&format!(
            "ip -n far addr add 10.77.0.2/24 dev {far} && ip -n far link set {far} up"
        ));
        sh(&format!("ip addr add 10.77.0.1/24 dev {near}"));
        pair.await_carrier();
        pair
    }

    /// Attaching a program resets the link of most NICs: nothing is sent before
    /// it is back.
    fn await_carrier(&self) {
        let path = format!("/sys/class/net/{}/carrier", self.near);
        let up = || (std::fs::read_to_string(&path).ok()?.trim() == "1").then_some(());
        wait::until("the carrier", LIMIT, up).expect("a carrier");
        let far = format!("ip -n far -o link show {}", self.far);
        let up = || sh(&far).contains("LOWER_UP").then_some(());
        wait::until("the far carrier", LIMIT, up).expect("a far carrier");
    }

    /// Whether the near end answers.
    fn answers(&self) -> bool {
        attempt("nsenter --net=/run/netns/far ping -c 1 -W 1 10.77.0.1").0
    }

    fn await_answer(&self) {
        wait::until("an answer", LIMIT, || self.answers().then_some(())).expect("an answer");
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        attempt(&format!("ip link set dev {} xdp off", self.near));
        attempt(&format!("ip addr flush dev {}", self.near));
        attempt(&format!("ip -n far link set {} netns 1", self.far));
        attempt("ip netns del far");
    }
}

/// Packets that the counting program has seen.
fn seen() -> u64 {
    let dump = sh("bpftool -j map dump name seen");
    let rows: serde_json::Value = serde_json::from_str(&dump).expect("bpftool speaks JSON");
    let value = &rows[0]["formatted"]["value"];
    value.as_u64().unwrap_or_else(|| panic!("{dump}"))
}

fn native_xdp_runs(driver: &str) {
    let pair = Pair::of(driver);
    pair.await_answer();
    sh(&format!(
        "ip link set dev {} xdpdrv object {PROBE} section xdp.count",
        pair.near
    ));
    pair.await_carrier();
    assert!(
        !pair.answers(),
        "{driver}: a program that drops everything, and an answer"
    );
    let counted = || (seen() > 0).then_some(());
    wait::until("a counted packet", LIMIT, counted).expect("native XDP sees packets");
    sh(&format!("ip link set dev {} xdpdrv off", pair.near));
    pair.await_carrier();
    pair.await_answer();
}

#[test]
fn igb_runs_native_programs_and_its_link_comes_back() {
    native_xdp_runs("igb");
}

#[test]
fn virtio_runs_native_programs() {
    native_xdp_runs("virtio_net");
}

#[test]
fn vmxnet3_runs_native_programs() {
    native_xdp_runs("vmxnet3");
}

#[test]
fn e1000e_refuses_native_programs_and_the_report_knows() {
    let nics = by_driver("e1000e");
    let near = nics.first().expect("two e1000e");
    let said = report(near, "");
    assert_eq!(verdict(&said, "xdp-native"), "no", "{said}");
    let (works, _) = attempt(&format!(
        "ip link set dev {near} xdpdrv object {PROBE} section xdp"
    ));
    assert!(!works);
}

/// igb since 6.14, virtio with iommu_platform=on since 6.11: the newest kernel
/// has both, and the bind is the proof.
#[test]
fn zero_copy_is_bound_where_the_report_says_so() {
    for driver in ["igb", "virtio_net"] {
        let nics = by_driver(driver);
        let near = nics.first().expect("a pair of each");
        let said = report(near, "--mode active --allow attach,xsk");
        let found = (trial(&said, "xsk_bind_zc"), verdict(&said, "afxdp-zc"));
        let expected = if kernel() == "new" {
            ("ok", "yes")
        } else {
            ("refused", "no")
        };
        assert_eq!(found, expected, "{driver} on {}: {said}", kernel());
    }
}

#[test]
fn igb_spreads_flows_by_its_table() {
    let pair = Pair::of("igb");
    sh(&format!("ethtool -L {} combined 2", pair.near));
    pair.await_carrier();
    sh(&format!("ethtool -X {} weight 0 1", pair.near));
    let table = sh(&format!("ethtool -x {}", pair.near));
    let rows = table
        .lines()
        .skip_while(|line| !line.trim_start().starts_with("0:"));
    let first = rows
        .take(1)
        .flat_map(|line| line.split_whitespace().skip(1));
    assert!(
        first.clone().count() > 0 && first.clone().all(|queue| queue == "1"),
        "{table}"
    );
    let before = queue_packets(&pair.near, 1);
    pair.await_answer();
    let moved = || (queue_packets(&pair.near, 1) > before).then_some(());
    wait::until("packets on queue 1", LIMIT, moved).expect("the table steers");
}

fn queue_packets(iface: &str, queue: u32) -> u64 {
    let all = sh(&format!("ethtool -S {iface}"));
    let name = format!("rx_queue_{queue}_packets:");
    let line = all.lines().find_map(|line| line.trim().strip_prefix(&name));
    line.and_then(|count| count.trim().parse().ok())
        .unwrap_or_else(|| panic!("{all}"))
}

/// The exit code of ethtool is 0: only reading back tells.
#[test]
fn a_classification_rule_that_igb_refuses_is_not_claimed() {
    let nics = by_driver("igb");
    let near = nics.first().expect("two igb");
    let said = report(near, "--mode active --allow ntuple");
    assert_ne!(trial(&said, "ntuple_insert"), "ok", "{said}");
    assert_ne!(verdict(&said, "hw-nic"), "yes", "{said}");
}
