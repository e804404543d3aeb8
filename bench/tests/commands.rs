//! What needs neither root nor a network: the commands around results.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

fn bench(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_terrace-bench"))
        .args(args)
        .output()
        .expect("terrace-bench runs")
}

fn said(args: &[&str]) -> String {
    let output = bench(args);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {errors}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

fn as_json(args: &[&str]) -> Value {
    serde_json::from_str(&said(args)).expect("valid JSON")
}

/// A result with one scenario, ours at `p50`.
fn result(folder: &Path, name: &str, command: &str, p50: f64) -> String {
    let arm = |name: &str, role: &str, value: f64| {
        let rounds: Vec<f64> = (0..5).map(|i| value + f64::from(i) / 100.0).collect();
        json!({ "name": name, "role": role, "tier": null, "at": null, "samples": { "p50_us": rounds } })
    };
    let scenario = json!({
        "name": name, "title": "a title", "about": "about it", "load": "a load", "axis": null,
        "against": null, "headline": "p50_us", "cpus": {}, "notes": [], "noise": [],
        "arms": [arm("plain forwarding", "floor", 10.0), arm("Terrace (tc)", "ours", p50)],
    });
    let host = json!({
        "kernel": "6.18.0", "cpu": "a CPU", "n_cpus": 2, "hypervisor": "none", "memory_mb": 1, "clock_source": "tsc",
        "governor": "none", "mitigations": {}, "syscall_ns": 100.0, "counters": "no", "load_average": 0.0,
        "commit": "0123456789", "version": "0.1.0",
    });
    let run = json!({
        "format": 1, "command": command, "started": "2026-01-02T03:04:05Z", "seconds": 1.0, "host": host,
        "scenarios": [scenario],
    });
    let path = folder.join(format!("{name}-{p50}.json"));
    std::fs::write(&path, run.to_string()).expect("written");
    path.to_string_lossy().into_owned()
}

#[test]
fn list_and_check_name_every_scenario_in_json_too() {
    let listed = as_json(&["list", "--json"]);
    let scenarios = listed["scenarios"].as_array().expect("scenarios");
    let text = said(&["list"]);
    let checked = as_json(&["check", "--json"]);
    assert_eq!(checked.as_array().map(Vec::len), Some(scenarios.len()));
    for scenario in scenarios {
        let name = scenario["name"].as_str().expect("a name");
        assert!(text.contains(name), "{name}");
        assert!(checked.to_string().contains(name), "{name}");
    }
    for peer in ["plain", "nft-dnat", "ipvs", "envoy-http", "terrace"] {
        assert!(listed["peers"].to_string().contains(peer), "{peer}");
    }
}

#[test]
fn compare_tells_what_became_slower() {
    let folder = tempfile::tempdir().expect("a folder");
    let a = result(folder.path(), "rr", "terrace-bench run rr", 20.0);
    let b = result(folder.path(), "rr", "terrace-bench run rr", 30.0);
    let section = as_json(&["compare", &a, &b, "--json"]);
    let row = &section["rows"][1];
    assert_eq!(row["outcome"], "short", "{row}");
    let ratio = row["figures"]["ratio"].as_f64().expect("a ratio");
    assert!((ratio - 1.5).abs() < 0.01, "{ratio}");
    assert!(said(&["compare", &a, &b]).contains("WORSE"));
}

#[test]
fn a_report_says_which_run_each_scenario_is_of() {
    let folder = tempfile::tempdir().expect("a folder");
    let old = result(
        folder.path(),
        "old",
        "terrace-bench run old --out /tmp/x",
        20.0,
    );
    let new = result(folder.path(), "new", "terrace-bench run new", 20.0);
    let out = folder.path().join("out");
    let out = out.to_str().expect("UTF-8");
    let results = folder.path().join("results");
    let record = results.to_str().expect("UTF-8");
    said(&["report", &old, &new, "--out", out, "--record", record]);
    let text = std::fs::read_to_string(results.join("2026-01-02.md")).expect("recorded");
    assert!(text.contains("`terrace-bench run new`"), "{text}");
    assert!(
        text.contains("of another run: `terrace-bench run old`, 2026-01-02"),
        "{text}"
    );
    let again = results.join("2026-01-02.json");
    let again = again.to_str().expect("UTF-8");
    said(&["report", again, &new, "--out", out, "--record", record]);
    let after = std::fs::read_to_string(results.join("2026-01-02.md")).expect("recorded");
    assert_eq!(after, text, "what was published stays as it was");
    let page = std::fs::read_to_string(Path::new(out).join("report.html")).expect("a page");
    assert!(page.contains("Of another run: terrace-bench run old"));
}

#[test]
fn every_command_has_a_man_page() {
    let folder = tempfile::tempdir().expect("a folder");
    said(&["man", folder.path().to_str().expect("UTF-8")]);
    for command in [
        "",
        "-run",
        "-list",
        "-check",
        "-compare",
        "-report",
        "-programs",
        "-control",
        "-man",
    ] {
        let page = folder.path().join(format!("terrace-bench{command}.1"));
        assert!(page.exists(), "{}", page.display());
    }
}
