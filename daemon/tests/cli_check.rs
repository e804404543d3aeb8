//! `terrace check` and `terrace plan --offline`: what is refused before a
//! daemon starts.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;
use terrace_testkit::Netns;

const OK: i32 = 0;
const REFUSED: i32 = 3;

const UPLINK: &str = "manifests = \"m\"\n[[interfaces]]\nmatch = \"up0\"\nrole = \"uplink\"\n";
const SERVICE: &str = "apiVersion: v1\nkind: Service\nmetadata: { name: web, namespace: shop }\n\
                       spec: { clusterIP: 10.96.0.10, ports: [{ port: 80 }] }\n";

fn terrace(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_terrace"));
    command
        .args(args)
        .env_remove("TERRACE_CONFIG")
        .env_remove("TERRACE_SOCKET");
    command
}

/// A folder with terrace.toml and, in m, a file of each text.
fn folder(config: &str, manifests: &[&str]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("terrace.toml"), config).unwrap();
    std::fs::create_dir(folder.path().join("m")).unwrap();
    for (i, text) in manifests.iter().enumerate() {
        std::fs::write(folder.path().join(format!("m/{i}.yaml")), text).unwrap();
    }
    folder
}

fn check(folder: &Path, args: &[&str]) -> Output {
    terrace(&[&["check", "-c", "terrace.toml"], args].concat())
        .current_dir(folder)
        .output()
        .unwrap()
}

#[test]
fn check_tells_every_fault_with_its_place() {
    let broken = SERVICE.replace("port: 80", "prot: 80");
    let denied = format!("deny_lists = [\"deny.txt\"]\n{UPLINK}");
    let small = format!("{UPLINK}[limits]\nservices = 2\n");
    let other = SERVICE
        .replace("10.96.0.10", "10.96.0.11")
        .replace("name: web", "name: db");
    type Row<'a> = (&'a str, &'a str, &'a [&'a str], i32, &'a [&'a str]);
    let rows: &[Row<'_>] = &[
        (
            "right",
            UPLINK,
            &[SERVICE],
            OK,
            &["all is right: the configuration, 1 manifest,"],
        ),
        ("no manifest", UPLINK, &[], OK, &["0 manifests"]),
        (
            "key",
            "manifest = 1",
            &[],
            REFUSED,
            &[
                "terrace.toml:1: manifest:",
                "did you mean",
                "no interface",
                "2 faults; the manifests are checked when",
            ],
        ),
        (
            "yaml",
            UPLINK,
            &["a: [1"],
            REFUSED,
            &["m/0.yaml:", "1 fault"],
        ),
        (
            "field",
            UPLINK,
            &[&broken],
            REFUSED,
            &["m/0.yaml:4: Service shop/web: spec.ports[0].prot: unknown field"],
        ),
        (
            "kind",
            UPLINK,
            &["apiVersion: v1\nkind: Secret\nmetadata: { name: a }\n"],
            REFUSED,
            &["m/0.yaml:", "Secret"],
        ),
        (
            "twice",
            UPLINK,
            &[SERVICE, SERVICE],
            REFUSED,
            &["m/1.yaml:", "second time", "m/0.yaml"],
        ),
        (
            "full",
            &small,
            &[SERVICE, &other],
            REFUSED,
            &["terrace.toml: limits.services: no room"],
        ),
        (
            "no deny list",
            &denied,
            &[SERVICE],
            REFUSED,
            &["deny.txt: can't be read"],
        ),
    ];
    for (name, config, manifests, code, parts) in rows {
        let folder = folder(config, manifests);
        let output = check(folder.path(), &[]);
        let text = String::from_utf8(output.stdout).unwrap();
        assert_eq!(output.status.code(), Some(*code), "{name}: {text}");
        for part in *parts {
            assert!(text.contains(part), "{name}: {part:?} is not in:\n{text}");
        }
    }
}

#[test]
fn check_takes_other_manifests_without_a_configuration() {
    let folder = folder("", &[SERVICE]);
    std::fs::remove_file(folder.path().join("terrace.toml")).unwrap();
    let rows: &[(&[&str], i32)] = &[
        (&["m"], OK),
        (&["m/0.yaml"], OK),
        (&["none.yaml"], REFUSED),
        (&[], REFUSED),
    ];
    for (args, code) in rows {
        let output = check(folder.path(), args);
        let text = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(*code), "{args:?}: {text}");
    }
}

#[test]
fn check_tells_faults_as_json() {
    let folder = folder("manifest = 1", &[]);
    let output = check(folder.path(), &["--json"]);
    assert_eq!(output.status.code(), Some(REFUSED));
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    let faults = found["faults"].as_array().unwrap();
    assert_eq!(faults.len(), 2, "{found}");
    assert_eq!(
        (&faults[1]["line"], &faults[1]["key"]),
        (&1.into(), &"manifest".into())
    );
}

#[test]
fn the_examples_are_right() {
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let output = terrace(&["check", "-c", "terrace.toml", "manifests"])
        .current_dir(examples)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(OK), "{text}");
}

#[test]
fn root_a_plan_that_cannot_be_met_is_refused_with_its_reason() {
    let ns = Netns::new("cliplan").unwrap();
    ns.ip(["link add up0 type bridge"]).unwrap();
    let required = format!(
        "{UPLINK}tiers.steer.xdp-native = \"require\"\n\
                            tiers.prefilter.xdp-native = \"forbid\"\n"
    );
    let rows = [
        (
            "auto",
            UPLINK,
            OK,
            "up0 is a bridge: programs go to its ports",
        ),
        (
            "required",
            &required,
            REFUSED,
            "steer on up0 can't run as required: the configuration forbids xdp-native",
        ),
        (
            "nothing",
            &UPLINK.replace("up0", "none0"),
            OK,
            "host       connect   tc",
        ),
    ];
    for (name, config, code, part) in rows {
        let folder = folder(config, &[]);
        let mut command = terrace(&["plan", "--offline", "-c", "terrace.toml"]);
        let output = ns.output(command.current_dir(folder.path())).unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(code), "{name}: {text}");
        assert!(text.contains(part), "{name}: {text}");
    }
}

#[test]
fn a_plan_for_another_machine_follows_its_report() {
    let fixture = |name: &str| {
        let offload = Path::new(env!("CARGO_MANIFEST_DIR")).join("../offload/tests/fixtures");
        offload.join(format!("{name}.json"))
    };
    let rows = [
        ("virtio-net-firecracker", "tc", "guest offloads"),
        ("ena-default", "tc", "mtu 3498"),
        ("ice", "xdp-native", "driver ice runs XDP natively"),
        (
            "mlx5-switchdev",
            "xdp-native",
            "driver mlx5_core runs XDP natively",
        ),
    ];
    for (name, tier, words) in rows {
        let tmp = tempfile::tempdir().unwrap();
        let report = tmp.path().join("report.json");
        let mut command = terrace(&["nic", "--json", "--replay"]);
        let output = command.arg(fixture(name)).output().unwrap();
        std::fs::write(&report, &output.stdout).unwrap();
        let mut command = terrace(&["plan", "--json", "-c", "none.toml", "--nic"]);
        let output = command
            .arg(&report)
            .current_dir(tmp.path())
            .output()
            .unwrap();
        let failed = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(OK), "{name}: {failed}");
        let plan: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let placements = plan["placements"].as_array().unwrap();
        let steers = placements.iter().any(|placement| {
            placement["task"] == "steer"
                && placement["tier"] == tier
                && placement.to_string().contains(words)
        });
        assert!(steers, "{name}: {plan}");
    }
}
