//! `terrace move`: a task goes where the operator wants it, or says why not.

use serde_json::Value;
use terrace_testkit::wait;

use crate::stage::Stage;
use crate::tells::scrape;

fn tier(stage: &Stage, task: &str, iface: &str) -> String {
    let plan = stage.json(&["plan"]);
    let rows = plan["placements"].as_array().expect("placements").clone();
    let row = rows
        .iter()
        .find(|row| row["task"] == task && row["iface"] == iface);
    let found = row.and_then(|row| row["tier"].as_str());
    found
        .unwrap_or_else(|| panic!("{task} of {iface}: {plan}"))
        .to_owned()
}

fn tiers(stage: &Stage) -> Vec<String> {
    let plan = stage.json(&["plan"]);
    let rows = plan["placements"].as_array().expect("placements").clone();
    let row = |row: Value| format!("{} {} {}", row["task"], row["iface"], row["tier"]);
    rows.into_iter().map(row).collect()
}

fn with_xdp(stage: &Stage) -> usize {
    let attached = stage.attached();
    attached
        .iter()
        .filter(|(_, hook, _)| hook.starts_with("xdp"))
        .count()
}

fn message(stage: &Stage, kind: &str) -> String {
    let status = stage.status();
    let events = status["events"].as_array().expect("events").clone();
    let found = events.iter().find(|event| event["kind"] == kind);
    found
        .map_or(Value::Null, |event| event["message"].clone())
        .to_string()
}

#[test]
fn root_a_moved_task_goes_there_with_its_companion_stays_and_comes_back() {
    let stage = Stage::start("mv", "");
    let uplink = stage.net.uplinks[0].iface.clone();
    let planned = tier(&stage, "steer", &uplink);
    let xdp = with_xdp(&stage);
    for (to, attached) in [
        ("tc", xdp - 1),
        ("xdp-generic", xdp),
        ("xdp-native", xdp),
        ("tc", xdp - 1),
    ] {
        let (code, text) = stage.terrace(&["move", "steer", &uplink, to]);
        assert!(code == 0 && text.contains(to), "{to}: {text}");
        assert_eq!(tier(&stage, "steer", &uplink), to);
        assert_eq!(
            tier(&stage, "prefilter", &uplink),
            to,
            "one program does both"
        );
        assert_eq!(with_xdp(&stage), attached, "{to}");
        let told = message(&stage, "operator-moved");
        assert!(
            told.contains(&format!("steer of {uplink} on {to}")),
            "{told}"
        );
        let moved = message(&stage, "tier-moved");
        assert!(moved.contains("as the operator asked"), "{moved}");
    }
    // It stays there whatever else happens.
    assert_eq!(stage.terrace(&["reload"]).0, 0);
    assert_eq!(tier(&stage, "steer", &uplink), "tc");
    assert_eq!(stage.terrace(&["move", "steer", &uplink, "auto"]).0, 0);
    until(&stage, "the planned tier", || {
        (tier(&stage, "steer", &uplink) == planned && with_xdp(&stage) == xdp).then_some(())
    });
}

#[test]
fn root_an_uplink_that_flaps_stays_on_the_lower_tier_until_its_hold_is_over() {
    let more = "[moves]\nsettle = \"100ms\"\nhold = \"12s\"\n";
    let stage = Stage::start("flap", more);
    let uplink = stage.net.uplinks[0].iface.clone();
    let xdp = with_xdp(&stage);
    let is_up = || tier(&stage, "steer", &uplink) == "xdp-native" && with_xdp(&stage) == xdp;
    assert!(is_up(), "{:?}", tiers(&stage));
    // Four moves within a minute are too many; a slow machine may need more than four.
    let held = (0..12).find_map(|_| {
        let off = format!("link set dev {uplink} xdpdrv off");
        stage.net.host.ip([off]).expect("take it off");
        until(&stage, "the better tier, or why not", || {
            let why = why_not_native(&stage, &uplink);
            let flaps = why.filter(|why| why.contains("within 60 s"));
            (flaps.is_some() || is_up()).then_some(flaps)
        })
    });
    let held = held.expect("a hold");
    assert!(
        held.contains("it moved 4 times within 60 s: it stays below xdp-native for 12 s"),
        "{held}"
    );
    assert!(held.contains("find out what changes so often"), "{held}");
    assert_eq!(tier(&stage, "steer", &uplink), "tc");
    let told = message(&stage, "tier-flapping");
    assert!(
        told.contains(&format!("{uplink}: it moved 4 times")),
        "{told}"
    );
    let metrics = scrape(&stage);
    let flaps = metrics
        .lines()
        .find(|line| line.starts_with("terrace_events_total{kind=\"tier-flapping\""));
    assert!(flaps.is_some_and(|line| !line.ends_with(" 0")), "{flaps:?}");
    until(&stage, "the better tier again", || is_up().then_some(()));
    assert_eq!(why_not_native(&stage, &uplink), None);
}

/// What the plan has against native XDP on an uplink.
fn why_not_native(stage: &Stage, uplink: &str) -> Option<String> {
    let plan = stage.json(&["plan"]);
    let rows = plan["placements"].as_array().expect("placements");
    let mut rows = rows.iter();
    let row = rows.find(|row| row["task"] == "steer" && row["iface"] == uplink)?;
    let mut blockers = row["blockers"].as_array()?.iter();
    let native = blockers.find(|blocker| blocker["tier"] == "xdp-native")?;
    Some(native.to_string())
}

fn until<T>(stage: &Stage, what: &str, there: impl FnMut() -> Option<T>) -> T {
    let found = wait::until(what, wait::PATIENCE, there);
    found.unwrap_or_else(|error| panic!("{error}\n{}", stage.log()))
}

#[test]
fn root_a_move_that_cannot_be_made_changes_nothing_and_says_why() {
    let more = "[[interfaces]]\nmatch = \"up0\"\nrole = \"uplink\"\n[interfaces.tiers.steer]\nxdp-generic = \"require\"\n";
    let stage = Stage::start("mvno", more);
    let uplink = stage.net.uplinks[0].iface.clone();
    let workload = stage.net.workload("web").host_iface.clone();
    let before = (tiers(&stage), stage.attached());
    let rows = [
        (
            ["steer", &uplink, "tc"],
            "terrace.toml requires xdp-generic",
        ),
        (["prefilter", &uplink, "tc"], "run in the same program"),
        (["policy", &workload, "xdp-native"], "stays where it is"),
        (["steer", &uplink, "worker"], "requires xdp-generic"),
        (["deliver", &workload, "nic"], "stays where it is"),
        (["steer", "eth9", "tc"], &uplink),
        (["connect", "host", "tc"], "[socket] services"),
        (["shortcut", "host", "tc"], "not armed"),
        (["shortcut", &uplink, "tc"], "name `host`"),
        (["shortcut", "host", "nic"], "socket or tc"),
    ];
    for (args, words) in rows {
        let (code, text) = stage.terrace(&[&["move"], &args[..]].concat());
        assert!(code != 0 && text.contains(words), "{args:?}: {text}");
    }
    assert_eq!((tiers(&stage), stage.attached()), before);
    for args in [["steer", &uplink, "fast"], ["fly", &uplink, "tc"]] {
        let (code, text) = stage.terrace(&[&["move"], &args[..]].concat());
        assert!(
            code == 2 && text.contains("unknown variant"),
            "{args:?}: {text}"
        );
    }
}
