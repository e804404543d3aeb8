//! The harness on real namespaces: what it measures is proved, and what is not
//! what its label says is void. Small: no figure of these runs means anything.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use terrace_testkit::{Background, wait};

const BENCH: &str = env!("CARGO_BIN_EXE_terrace-bench");

/// `terrace`, where cargo puts it; another package's binary is not built for us.
fn terrace() -> PathBuf {
    let path = Path::new(BENCH).with_file_name("terrace");
    if !path.exists() {
        let profile = Path::new(BENCH).parent().and_then(Path::file_name);
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--locked", "-p", "terrace"]);
        if profile.is_some_and(|profile| profile == "release") {
            cargo.arg("--release");
        }
        assert!(cargo.status().expect("cargo runs").success());
    }
    path
}

fn run(scenario: &str, out: &Path) -> (Output, Value) {
    let output = Command::new(BENCH)
        .args(["run", "--quick", scenario, "--out"])
        .arg(out)
        .arg("--terrace")
        .arg(terrace())
        .env("RUST_BACKTRACE", "0")
        .output()
        .expect("terrace-bench runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let text =
        std::fs::read(out.join("result.json")).unwrap_or_else(|error| panic!("{error}: {said}"));
    (output, serde_json::from_slice(&text).expect("valid JSON"))
}

fn arms(result: &Value) -> &Vec<Value> {
    result["scenarios"][0]["arms"].as_array().expect("arms")
}

fn arm<'v>(result: &'v Value, name: &str) -> &'v Value {
    let found = arms(result).iter().find(|arm| arm["name"] == name);
    found.unwrap_or_else(|| panic!("no arm {name}"))
}

#[test]
fn root_a_wrong_label_and_a_broken_peer_void_their_runs() {
    let out = tempfile::tempdir().expect("a folder");
    let scenario = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/scenarios/void.toml");
    let (output, result) = run(scenario, out.path());
    assert!(
        !output.status.success(),
        "a void run must not pass for a good one"
    );
    for name in ["plain forwarding", "Terrace (tc)"] {
        let arm = arm(&result, name);
        assert_eq!(arm["void"], Value::Null, "{name}");
        assert_eq!(
            arm["samples"]["p50_us"].as_array().map(Vec::len),
            Some(2),
            "{name}"
        );
    }
    let rows = [
        ("tc that says it is XDP", "label xdp-native"),
        ("forwarding that says it is a proxy", "label Terminated"),
        ("a peer that nothing goes through", "counter moved by 0"),
        ("a proxy that does not start", "does not open"),
        ("a proxy that answers nothing", "an answer"),
    ];
    for (name, expected) in rows {
        let arm = arm(&result, name);
        let why = arm["void"]
            .as_str()
            .unwrap_or_else(|| panic!("{name} is not void"));
        assert!(why.contains(expected), "{name}: {why}");
    }
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("void") && said.contains("tc that says it is XDP"),
        "{said}"
    );
    let page = std::fs::read_to_string(out.path().join("report.html")).expect("a report");
    assert!(page.contains(">VOID<"));
}

#[test]
fn root_the_ways_of_packets_are_proved() {
    let out = tempfile::tempdir().expect("a folder");
    let scenario = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/scenarios/packets.toml");
    let (_, result) = run(scenario, out.path());
    for name in ["drop at the uplink", "plain forwarding", "Terrace (XDP)"] {
        let arm = arm(&result, name);
        assert_eq!(arm["void"], Value::Null, "{name}");
        assert!(arm["proof"].is_string(), "{name}");
    }
    assert!(arm(&result, "Terrace (XDP)")["samples"]["marginal_ns"].is_array());
}

#[test]
fn root_an_open_loop_has_its_percentiles() {
    let out = tempfile::tempdir().expect("a folder");
    let scenario = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/scenarios/open.toml");
    let (_, result) = run(scenario, out.path());
    for name in ["plain forwarding", "haproxy (HTTP)"] {
        let arm = arm(&result, name);
        assert_eq!(arm["void"], Value::Null, "{name}");
        let latency = arm["latency"].as_array().expect("percentiles");
        let us: Vec<f64> = latency
            .iter()
            .filter_map(|point| point[1].as_f64())
            .collect();
        assert!(us.len() > 8 && us.is_sorted(), "{name}: {us:?}");
    }
    let file = out.path().join("result.json");
    let compared = Command::new(BENCH)
        .arg("compare")
        .args([&file, &file])
        .output();
    let compared = compared.expect("it runs");
    let said = String::from_utf8_lossy(&compared.stdout).into_owned();
    assert!(
        compared.status.success() && said.contains("open, haproxy (HTTP)"),
        "{said}"
    );
    assert!(!said.contains("WORSE"), "{said}");
}

#[test]
fn root_a_growing_table_has_its_costs_and_its_memory() {
    let out = tempfile::tempdir().expect("a folder");
    let scenario = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/scenarios/growth.toml");
    let (output, result) = run(scenario, out.path());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    assert_eq!(arms(&result).len(), 1);
    for arm in arms(&result) {
        for metric in ["units", "change_ms", "reload_ms", "maps_mb", "daemon_mb"] {
            let values = arm["samples"][metric].as_array();
            let first = values.and_then(|values| values.first()?.as_f64());
            assert!(
                first.is_some_and(|value| value > 0.0),
                "{metric}: {first:?}"
            );
        }
    }
}

/// Names in a folder that carry a process's number.
fn of_process(folder: &Path, pid: u32) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names
        .filter(|name| name.contains(&format!("-{pid}-")))
        .collect()
}

#[test]
fn root_an_interrupted_run_leaves_no_namespace_pin_process_or_file() {
    let scratch = tempfile::tempdir().expect("a folder");
    let scenario = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/scenarios/open.toml");
    for signal in [Signal::INT, Signal::TERM] {
        let mut command = Command::new(BENCH);
        command.args(["run", "--repeats", "1000", scenario, "--out"]);
        command.arg(scratch.path().join("out"));
        command.arg("--terrace").arg(terrace());
        command.env("TMPDIR", scratch.path());
        let mut running = Background::spawn(command).expect("it starts");
        let pid = running.pid();
        let places = [Path::new("/run/netns"), Path::new(terrace_testkit::BPFFS)];
        let patience = Duration::from_secs(120);
        wait::until("servers at work", patience, || {
            let children = format!("/proc/{pid}/task/{pid}/children");
            let folders = of_process(scratch.path(), pid).len();
            let has = !of_process(places[0], pid).is_empty() && folders > 1;
            (has && Path::new(&children).exists()).then_some(())
        })
        .unwrap_or_else(|error| panic!("{error}: {}", running.log()));
        running.signal(signal).expect("it is told");
        let status = running.wait(patience).expect("it ends");
        assert!(!status.success(), "an interrupted run is no good one");
        assert!(running.log().contains("interrupted"), "{}", running.log());
        for place in places {
            assert_eq!(of_process(place, pid), [""; 0], "{}", place.display());
        }
        let left: Vec<_> = std::fs::read_dir(scratch.path())
            .expect("the folder")
            .flatten()
            .map(|entry| entry.file_name())
            .collect();
        assert_eq!(left, [""; 0]);
    }
}

#[test]
fn what_ships_can_be_listed_and_compared_without_root() {
    let listed = Command::new(BENCH).arg("list").output().expect("it runs");
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    for name in ["packets", "l7-latency", "services", "nft-dnat"] {
        assert!(listed.contains(name), "{name}: {listed}");
    }
}
