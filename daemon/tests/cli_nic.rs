//! `terrace nic`: reports of this machine, of namespaces, of recordings.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::Duration;

use serde_json::Value;
use terrace_testkit::Netns;

const OK: i32 = 0;
const FAILURE: i32 = 1;
const USAGE: i32 = 2;
const REFUSED: i32 = 3;

fn terrace(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_terrace"));
    command.arg("nic").args(args).env_remove("TERRACE_CONFIG");
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_owned()).unwrap()
}

fn answer(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(OK), "{}", text(&output.stderr));
    text(&output.stdout)
}

fn fixture(name: &str) -> String {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../offload/tests/fixtures");
    folder
        .join(format!("{name}.json"))
        .to_string_lossy()
        .into_owned()
}

#[test]
fn a_recording_is_told_on_one_screen_with_fix_undo_and_disruption() {
    #[rustfmt::skip]
    let rows: &[(&str, &[&str])] = &[
        ("virtio-net-firecracker", &["BEST TIER  tc", "blocked by 1 thing, see !1", "contradicted", "(disruption: reboot)", "guest_csum=off"]),
        ("ena-default", &["MTU 9001 is above 3498", "fix: ip link set dev ens5 mtu 3498", "undo: ip link set dev ens5 mtu 9001", "fix: ethtool -L ens5 combined 4"]),
        ("mlx5-lro", &["ethtool -K enp193s0f0np0 lro off", "4 of the 16 PCIe lanes"]),
        ("veth-container", &["BEST TIER  tc", "unfinished checksums", "GSO"]),
        ("bond-8023ad", &["programs go to bond0", "on bond0", "under bond0"]),
        ("unknown-driver", &["newnic"]),
        ("no-rights", &["id 9"]),
    ];
    for (machine, words) in rows {
        let output = terrace(&["--replay", &fixture(machine)]).output().unwrap();
        let told = answer(&output);
        for word in *words {
            assert!(told.contains(word), "{machine}: no {word:?} in\n{told}");
        }
    }
}

#[test]
fn what_was_not_tried_is_listed_with_what_it_would_do() {
    #[rustfmt::skip]
    let rows: &[(&str, &str)] = &[
        ("ixgbe", "attach_drv, attach_drv_frags (needs consent: --mode active --allow attach; effect: link_reset)"),
        ("virtio-net-firecracker", "flower_skip_sw (this kernel has no cls_flower)"),
        ("veth-container", "xsk_bind_copy (needs --mode preload)"),
        ("ena-default", "ntuple_insert (the driver has no table of rules)"),
    ];
    for (machine, words) in rows {
        let output = terrace(&["--replay", &fixture(machine)]).output().unwrap();
        let told = answer(&output);
        assert!(told.contains(words), "{machine}: {told}");
    }
}

#[test]
fn root_trials_of_the_command_are_told_with_the_kernels_words() {
    let ns = Netns::new("nicact").unwrap();
    ns.ip([
        "link add q0 numrxqueues 1 numtxqueues 1 type veth peer name q1 numrxqueues 4 numtxqueues 4",
        "link set q0 up",
    ])
    .unwrap();
    let args = [
        "q0",
        "--mode",
        "active",
        "--allow",
        "attach,xsk,flower,ntuple",
        "--json",
    ];
    let report: Value =
        serde_json::from_str(&answer(&ns.output(&mut terrace(&args)).unwrap())).unwrap();
    let iface = &report["interfaces"][0];
    let native = &iface["facts"]["xdp.native"];
    assert_eq!(native["value"], false, "{native}");
    assert_eq!(native["confidence"], "verified", "{native}");
    let words = "XDP expects number of rx queues not less than peer tx queues";
    assert!(
        native["evidence"].as_str().unwrap().contains(words),
        "{native}"
    );
    let told = answer(&ns.output(&mut terrace(&args[..5])).unwrap());
    assert!(told.contains("verified"), "{told}");
    let after = ns.run("ip", &["-d", "link", "show", "q0"]).unwrap();
    assert!(!after.contains("xdp"), "{after}");
}

#[test]
fn root_a_watched_report_is_told_again_when_something_changes() {
    let ns = Netns::new("nicwatch").unwrap();
    ns.ip(["link add v0 type veth peer name v1"]).unwrap();
    let mut watching = ns.spawn(terrace(&["v0", "--watch"])).unwrap();
    let limit = Duration::from_secs(30);
    watching.wait_for_log("BEST TIER", limit).unwrap();
    ns.ip(["link set v0 mtu 1400"]).unwrap();
    watching
        .wait_for_log("v0 link.mtu: 1500 -> 1400", limit)
        .unwrap();
    watching.kill();
}

#[test]
fn what_nobody_could_tell_is_unknown_and_never_no() {
    let output = terrace(&["--replay", &fixture("unknown-driver"), "--json"])
        .output()
        .unwrap();
    let report: Value = serde_json::from_str(&answer(&output)).unwrap();
    for iface in report["interfaces"].as_array().unwrap() {
        for (key, fact) in iface["facts"].as_object().unwrap() {
            let unknown = fact["confidence"] == "unknown";
            assert!(!unknown || fact["value"].is_null(), "{key}: {fact}");
        }
        for line in iface["tiers"].as_array().unwrap() {
            let sure = line["confidence"] != "unknown";
            assert!(sure || line["verdict"] == "unknown", "{line}");
        }
    }
}

#[test]
fn wrong_arguments_say_what_to_do() {
    #[rustfmt::skip]
    let rows: &[(&[&str], i32, &str)] = &[
        (&["--mode", "active"], USAGE, "name them"),
        (&["lo", "--allow", "attach"], USAGE, "--mode active"),
        (&["none0"], FAILURE, "there are: lo"),
        (&["--replay", "/none"], REFUSED, "/none"),
        (&["--replay", "Cargo.toml"], REFUSED, "no recording"),
        (&["lo", "--mode", "wild"], USAGE, "passive"),
    ];
    for (args, code, word) in rows {
        let output = terrace(args).output().unwrap();
        let told = text(&output.stderr);
        assert_eq!(output.status.code(), Some(*code), "{args:?}: {told}");
        assert!(told.contains(word), "{args:?}: {told}");
    }
}

#[test]
fn root_a_recording_gives_the_same_report_and_names_nobody() {
    let ns = Netns::new("nicrec").unwrap();
    ns.ip([
        "link add v0 type veth peer name v1",
        "link set v0 address 02:de:ad:be:ef:01",
        "link set v0 up",
        "addr add 192.0.2.77/24 dev v0",
    ])
    .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder
        .path()
        .join("host.json")
        .to_string_lossy()
        .into_owned();
    let here = ns
        .output(&mut terrace(&["v0", "--json", "--record", &file]))
        .unwrap();
    let there = terrace(&["--json", "--replay", &file]).output().unwrap();
    assert_eq!(answer(&here), answer(&there));
    for told in [answer(&here), std::fs::read_to_string(&file).unwrap()] {
        for secret in [
            "02:de:ad:be:ef:01",
            "02deadbeef01",
            "192.0.2.77",
            "c000024d",
        ] {
            assert!(!told.contains(secret), "{secret} in {told}");
        }
    }
    let named = ns
        .output(&mut terrace(&["v0", "--json", "--identify"]))
        .unwrap();
    assert!(answer(&named).contains("02:de:ad:be:ef:01"));
}

#[test]
fn root_an_ordinary_user_gets_the_passive_report() {
    let ns = Netns::new("nicuser").unwrap();
    ns.ip(["link add v0 type veth peer name v1", "link set v0 up"])
        .unwrap();
    let program = env!("CARGO_BIN_EXE_terrace");
    let args = [
        "--inh-caps=-all",
        "--bounding-set=-all",
        "--",
        program,
        "nic",
        "v0",
        "--json",
    ];
    let output = ns.output(Command::new("setpriv").args(args)).unwrap();
    let report: Value = serde_json::from_str(&answer(&output)).unwrap();
    let iface = &report["interfaces"][0];
    assert_eq!(report["host"]["caps"], serde_json::json!([]));
    assert_eq!(iface["facts"]["id.driver"]["value"], "veth");
    assert_eq!(iface["facts"]["xdp.native"]["value"], true);
    assert_eq!(iface["best"], "tc");
}
