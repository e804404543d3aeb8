//! `terrace nic`: reports of this machine, of namespaces, of recordings.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::PathBuf;
use std::process::{Command, Output};

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
