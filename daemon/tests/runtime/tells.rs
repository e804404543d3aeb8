//! The control socket and the metrics.

use std::collections::BTreeSet;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;

use terrace_testkit::http;

use crate::stage::{METRICS, Stage};

pub fn scrape(stage: &Stage) -> String {
    let to = ([127, 0, 0, 1], METRICS).into();
    http::get(&stage.net.host, to, "/metrics").expect("metrics")
}

#[test]
fn root_only_root_and_the_group_get_an_answer() {
    let stage = Stage::start("socket", "");
    let mode = std::fs::metadata(stage.socket())
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o660);
    let as_nobody = || {
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid", "65534", "--regid", "65534", "--clear-groups"])
            .arg(env!("CARGO_BIN_EXE_terrace"))
            .args(["status", "--socket"])
            .arg(stage.socket());
        let output = stage.net.host.output(&mut command).unwrap();
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    // The test's folder and the program must be reachable for the file's own
    // mode to be what keeps nobody out.
    std::fs::set_permissions(stage.daemon.folder(), Permissions::from_mode(0o755)).unwrap();
    let (code, text) = as_nobody();
    assert_eq!(code, Some(5), "{text}");
    // Even an open socket does not let a stranger in.
    std::fs::set_permissions(stage.socket(), Permissions::from_mode(0o666)).unwrap();
    let (code, text) = as_nobody();
    assert_eq!(code, Some(5), "{text}");
    assert!(text.contains("not permitted"), "{text}");
    assert_eq!(stage.status()["phase"], "ready");
}

#[test]
fn root_metrics_are_text_that_prometheus_reads() {
    let stage = Stage::start("metrics", "");
    let text = scrape(&stage);
    assert!(text.ends_with("# EOF\n"));
    let mut types = BTreeSet::new();
    let mut samples = BTreeSet::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# ") {
            let mut words = rest.split(' ');
            if words.next() == Some("TYPE") {
                types.insert(words.next().unwrap().to_owned());
            }
            continue;
        }
        let (name, value) = line.rsplit_once(' ').expect("a value");
        value.parse::<f64>().unwrap_or_else(|_| panic!("{line}"));
        let bare = name.split('{').next().unwrap();
        assert!(bare.starts_with("terrace_"), "{line}");
        let family = bare.strip_suffix("_total").unwrap_or(bare);
        assert!(types.contains(family), "{line} has no type");
        assert!(samples.insert(name.to_owned()), "{name} is there twice");
        let labels = name.strip_prefix(bare).unwrap();
        assert!(
            labels.is_empty() || labels.starts_with('{') && labels.ends_with('}'),
            "{line}"
        );
    }
    for family in [
        "terrace_packets",
        "terrace_backend_connections",
        "terrace_backend_ready",
        "terrace_flows",
        "terrace_table_used",
        "terrace_placement",
        "terrace_events",
        "terrace_config_generation",
        "terrace_policy_revision",
        "terrace_heartbeat_age_seconds",
        "terrace_health_checked_backends",
    ] {
        assert!(types.contains(family), "no {family}");
    }
}

#[test]
fn root_a_fault_of_the_request_is_told_as_one() {
    let stage = Stage::start("requests", "");
    let rows: [(&[&str], i32, &str); 3] = [
        (&["flows", "--from", "nowhere"], 2, "nowhere"),
        (
            &[
                "explain",
                "tcp",
                "10.20.0.2:1",
                "10.96.0.10:80",
                "--iface",
                "eth9",
            ],
            1,
            "eth9",
        ),
        (&["flows", "--limit", "1"], 0, ""),
    ];
    for (args, expected, part) in rows {
        let (code, text) = stage.terrace(args);
        assert_eq!(code, expected, "{args:?}: {text}");
        assert!(text.contains(part), "{args:?}: {text}");
    }
}

#[test]
fn root_sysctls_are_only_told_when_they_are_not_to_be_managed() {
    let mut stage = Stage::new("sysctls", "manage_sysctls = false");
    stage
        .net
        .host
        .sysctl("net.ipv4.conf.up0.forwarding", "0")
        .unwrap();
    stage.run();
    assert_eq!(stage.sysctl("ipv4/conf/up0/forwarding"), "0");
    let status = stage.status();
    let events = status["events"].to_string();
    assert!(
        events.contains("net.ipv4.conf.up0.forwarding is 0, should be 1"),
        "{events}"
    );
}

#[test]
fn root_a_lower_tier_is_told_in_plan_event_and_metric() {
    // A veth takes frames for native XDP up to 3506 bytes.
    let mut stage = Stage::with_mtu("fallback", "", 9000);
    stage.run();
    let plan = stage.json(&["plan"]);
    let placements = plan["placements"].as_array().unwrap();
    let steer = placements
        .iter()
        .find(|placement| placement["iface"] == "up0" && placement["task"] == "steer")
        .unwrap();
    assert_ne!(steer["tier"], "xdp-native", "{plan}");
    let blockers = steer["blockers"].to_string();
    assert!(blockers.contains("MTU 9000"), "{blockers}");
    let events = stage.status()["events"].to_string();
    assert!(events.contains("steer of up0 runs on"), "{events}");
    let text = scrape(&stage);
    let metric = |part: &str| text.lines().find(|line| line.contains(part));
    let tier = steer["tier"].as_str().unwrap();
    let placement = format!("terrace_placement{{task=\"steer\",iface=\"up0\",tier=\"{tier}\"}} 1");
    assert!(text.contains(&placement), "{text}");
    let told = metric("terrace_events_total{kind=\"tier-fallback\"").unwrap();
    assert!(!told.ends_with(" 0"), "{told}");
    assert!(
        stage
            .attached()
            .iter()
            .all(|(_, hook, _)| hook != "xdp native")
    );
}
