//! Reports follow the schema that is shipped, and come back from JSON as they were.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use terrace_offload::Profiles;
use terrace_offload::ask::Recording;
use terrace_offload::probe::replay;
use terrace_offload::report::{Report, SCHEMA};

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn schema() -> Value {
    let text = std::fs::read_to_string(folder().join("schema/nic-report.schema.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn report(path: &Path) -> Report {
    let recording = Recording::load(path).unwrap();
    let taken = "2026-11-22T00:49:10Z".to_owned();
    Report::of(
        replay(&recording).unwrap(),
        Profiles::shipped(),
        recording.mode,
        taken,
    )
}

#[test]
fn the_report_of_every_fixture_follows_the_schema() {
    let schema = schema();
    assert!(jsonschema::meta::is_valid(&schema));
    assert_eq!(schema["$id"], SCHEMA);
    let validator = jsonschema::validator_for(&schema).unwrap();
    let mut count = 0;
    for entry in std::fs::read_dir(folder().join("tests/fixtures")).unwrap() {
        let path = entry.unwrap().path();
        let report = report(&path);
        let value = serde_json::to_value(&report).unwrap();
        let faults: Vec<String> = validator
            .iter_errors(&value)
            .map(|fault| format!("{}: {fault}", fault.instance_path()))
            .collect();
        assert!(faults.is_empty(), "{}: {faults:#?}", path.display());
        let read: Report = serde_json::from_value(value).unwrap();
        assert_eq!(read, report, "{}", path.display());
        count += 1;
    }
    assert!(count >= 25, "{count}");
}

#[test]
fn the_schema_refuses_what_is_no_report() {
    let validator = jsonschema::validator_for(&schema()).unwrap();
    let good =
        serde_json::to_value(report(&folder().join("tests/fixtures/veth-container.json"))).unwrap();
    assert!(validator.is_valid(&good));
    #[rustfmt::skip]
    let rows: [(&str, &str, Value); 6] = [
        ("another version", "/schema", json!("terrace-nic-report/2")),
        ("a mode that is none", "/mode", json!("wild")),
        ("no reason", "/interfaces/0/tiers/0/why", json!([])),
        ("unknown told as no", "/interfaces/0/tiers/0/confidence", json!("unknown")),
        ("a tier too few", "/interfaces/0/tiers", json!([])),
        ("an unknown fact with a value", "/interfaces/0/facts/link.mtu/confidence", json!("unknown")),
    ];
    for (name, pointer, value) in rows {
        let mut bad = good.clone();
        *bad.pointer_mut(pointer).unwrap() = value;
        assert!(!validator.is_valid(&bad), "{name}");
    }
}

#[test]
fn a_report_of_another_version_is_refused_with_both_versions() {
    let folder_of_test = tempfile::tempdir().unwrap();
    let path = folder_of_test.path().join("report.json");
    let mut report = report(&folder().join("tests/fixtures/veth-container.json"));
    report.schema = "terrace-nic-report/9".to_owned();
    std::fs::write(&path, serde_json::to_string(&report).unwrap()).unwrap();
    let error = Report::load(&path).unwrap_err().to_string();
    assert!(
        error.contains("report/9") && error.contains(SCHEMA),
        "{error}"
    );
}

#[test]
fn changes_are_told_by_fact_and_tier() {
    let old = report(&folder().join("tests/fixtures/ena-default.json"));
    let new = report(&folder().join("tests/fixtures/ena-ready.json"));
    let changes = new.changes_since(&old);
    for line in [
        "ens5 link.mtu: 9001 -> 3498",
        "ens5 tier xdp-native: after fix -> yes",
    ] {
        assert!(
            changes.iter().any(|change| change == line),
            "{line}: {changes:#?}"
        );
    }
    assert_eq!(new.changes_since(&new), Vec::<String>::new());
}
