//! Changes: of manifests, of the network, of backends' health.

use std::time::Duration;

use terrace_testkit::{tcp, wait};

use crate::stage::{PORT, Stage};

#[test]
fn root_a_changed_manifest_is_applied_and_a_broken_one_refused() {
    let stage = Stage::start("change", "");
    let first = stage.status()["manifests"]["revision"].as_u64().unwrap();
    assert_eq!(stage.backends().len(), 2);
    let far = stage.net.backend("remote").v4.to_string();
    let without: String = stage
        .manifests("")
        .lines()
        .filter(|line| !line.contains(&far))
        .map(|line| format!("{line}\n"))
        .collect();
    stage.write("web.yaml", &without);
    stage.until("the change", |status| {
        status["manifests"]["revision"].as_u64() > Some(first)
    });
    assert_eq!(stage.backends().len(), 1);

    stage.write(
        "broken.yaml",
        "apiVersion: v1\nkind: Service\nmetadata: {name: x}\nspce: {}\n",
    );
    let status = stage.until("the refusal", |status| {
        status["manifests"]["refused"] != serde_json::json!([])
    });
    let refused = status["manifests"]["refused"].to_string();
    assert!(
        refused.contains("broken.yaml") && refused.contains("spce"),
        "{refused}"
    );
    assert_eq!(stage.backends().len(), 1, "the old state serves");
    let (code, text) = stage.terrace(&["reload"]);
    assert_eq!(code, 3, "{text}");
    assert!(text.contains("spce"), "{text}");
    assert!(stage.events().contains(&"manifests-refused".to_owned()));

    // What was refused is applied with the next good change.
    stage.write("web.yaml", &stage.manifests(""));
    std::fs::remove_file(stage.path("manifests").join("broken.yaml")).unwrap();
    stage.until("the mended folder", |status| {
        status["manifests"]["refused"] == serde_json::json!([])
    });
    assert_eq!(stage.backends().len(), 2);
}

#[test]
fn root_a_restart_on_broken_manifests_serves_the_old_state() {
    let mut stage = Stage::new("degraded", "deny_lists = [\"deny.txt\"]");
    std::fs::write(stage.path("deny.txt"), "192.0.2.0/24\n").unwrap();
    stage.run();
    let denies = |stage: &Stage| {
        let maps = terrace_abi::Maps::open_existing(stage.pins.path()).unwrap();
        let flags = maps.config().unwrap().flags;
        let table = maps.read_table(terrace_abi::Table::DenyCells).unwrap();
        flags & terrace_abi::consts::CONFIG_DENY_LIST != 0 && table.iter().any(|byte| *byte != 0)
    };
    assert!(denies(&stage));
    let attached = stage.attached();
    stage.kill();
    stage.write("broken.yaml", "kind: Nothing\n");
    stage.run();
    let status = stage.status();
    assert_ne!(status["manifests"]["refused"], serde_json::json!([]));
    assert_eq!(stage.attached().len(), attached.len());
    assert!(denies(&stage));
    std::fs::remove_file(stage.path("manifests").join("broken.yaml")).unwrap();
    let status = stage.until("the mended folder", |status| {
        status["manifests"]["refused"] == serde_json::json!([])
    });
    assert_eq!(status["manifests"]["denied_prefixes"], 1);
    assert_eq!(stage.backends().len(), 2);
    assert!(denies(&stage));
}

#[test]
fn root_a_folder_that_is_away_removes_no_service() {
    let stage = Stage::start("away", "");
    let (here, away) = (stage.path("manifests"), stage.path("away"));
    std::fs::rename(&here, &away).unwrap();
    let status = stage.until("the refusal", |status| {
        status["manifests"]["refused"] != serde_json::json!([])
    });
    let refused = status["manifests"]["refused"].to_string();
    assert!(refused.contains("manifests: can't be read"), "{refused}");
    assert_eq!(stage.backends().len(), 2);
    std::fs::rename(&away, &here).unwrap();
    stage.until("the folder again", |status| {
        status["manifests"]["refused"] == serde_json::json!([])
    });
    assert_eq!(stage.backends().len(), 2);
}

#[test]
fn root_the_deny_list_is_watched() {
    let stage = Stage::new("deny", "deny_lists = [\"deny.txt\"]");
    let mut stage = stage;
    std::fs::write(stage.path("deny.txt"), "192.0.2.0/24\n").unwrap();
    stage.run();
    assert_eq!(stage.status()["manifests"]["denied_prefixes"], 1);
    std::fs::write(
        stage.path("deny.txt"),
        "192.0.2.0/24\n2001:db8::/32 # documentation\n",
    )
    .unwrap();
    stage.until("the longer list", |status| {
        status["manifests"]["denied_prefixes"] == 2
    });
    std::fs::write(stage.path("deny.txt"), "192.0.2.0/33\n").unwrap();
    let status = stage.until("the refusal", |status| {
        status["manifests"]["refused"] != serde_json::json!([])
    });
    assert!(
        status["manifests"]["refused"]
            .to_string()
            .contains("deny.txt:1")
    );
    assert_eq!(status["manifests"]["denied_prefixes"], 2);
}

#[test]
fn root_a_workload_interface_is_armed_when_it_comes_and_forgotten_when_it_goes() {
    let stage = Stage::start("appear", "");
    let names = |stage: &Stage| -> Vec<String> {
        let attached = stage.attached().into_iter();
        attached.map(|(iface, _, _)| iface).collect()
    };
    assert!(!names(&stage).contains(&"w9".to_owned()));
    let host = &stage.net.host;
    host.ip([
        "link add w9 type veth peer name peer9",
        "link set w9 up",
        "link set peer9 up",
    ])
    .unwrap();
    let has = |status: &serde_json::Value| {
        let interfaces = status["interfaces"].as_array().unwrap();
        interfaces.iter().any(|iface| iface["name"] == "w9")
    };
    stage.until("the new interface", has);
    assert_eq!(names(&stage).iter().filter(|name| *name == "w9").count(), 2);
    assert_eq!(stage.sysctl("ipv4/conf/w9/forwarding"), "1");
    host.ip(["link del w9"]).unwrap();
    stage.until("the interface gone", |status| !has(status));
    let links = std::fs::read_dir(stage.pins.path().join("links")).unwrap();
    let left: Vec<_> = links.map(|entry| entry.unwrap().file_name()).collect();
    assert!(
        !left.iter().any(|pin| pin.to_string_lossy().contains("w9")),
        "{left:?}"
    );
}

#[test]
fn root_a_change_of_neighbours_or_routes_makes_cached_next_hops_void() {
    let stage = Stage::start("nexthop", "");
    let rev = |stage: &Stage| metric(stage, "terrace_next_hop_revision");
    let before = rev(&stage);
    stage
        .net
        .host
        .ip(["route add 198.51.100.0/24 via 10.10.0.1"])
        .unwrap();
    wait::until("a new revision", wait::PATIENCE, || {
        (rev(&stage) > before).then_some(())
    })
    .unwrap_or_else(|error| panic!("{error}\n{}", stage.log()));
}

#[test]
fn root_the_workloads_mac_address_is_learnt_without_traffic() {
    let stage = Stage::start("macs", "");
    let web = stage.net.workload("web");
    let maps = terrace_abi::Maps::open_existing(stage.pins.path()).unwrap();
    let endpoints = || maps.read_table(terrace_abi::Table::Endpoints).unwrap();
    let known = || {
        endpoints()
            .windows(6)
            .any(|bytes| bytes == web.mac)
            .then_some(())
    };
    wait::until("the workload's MAC address", wait::PATIENCE, known)
        .unwrap_or_else(|error| panic!("{error}\n{}", stage.log()));
}

#[test]
fn root_a_backend_that_fails_its_checks_gets_no_connections_until_it_passes() {
    let mut stage = Stage::new("health", HEALTH);
    let local = stage.net.workload("web").v4.to_string();
    let far = stage.net.backend("remote");
    let _remote = tcp::Server::start(&far.ns, "remote", PORT).unwrap();
    let far = far.v4.to_string();
    let web = tcp::Server::start(&stage.net.workload("web").node.ns, "web", PORT).unwrap();
    stage.run();
    let is = |stage: &Stage, state: &str| {
        let mut found = stage.backends();
        found.sort();
        let mut expected = vec![
            (local.clone(), state.to_owned()),
            (far.clone(), "ready".to_owned()),
        ];
        expected.sort();
        (found == expected).then_some(())
    };
    is(&stage, "ready").expect("a new backend is healthy");
    drop(web);
    wait_for(&stage, "an unhealthy backend", || is(&stage, "unhealthy"));
    assert_eq!(metric(&stage, "terrace_health_unhealthy_backends"), 1.0);
    assert!(stage.events().contains(&"backend-unhealthy".to_owned()));
    let _web = tcp::Server::start(&stage.net.workload("web").node.ns, "web", PORT).unwrap();
    wait_for(&stage, "a healthy backend", || is(&stage, "ready"));
    assert_eq!(metric(&stage, "terrace_health_unhealthy_backends"), 0.0);
}

#[test]
fn root_a_backend_stays_unhealthy_over_another_check_and_a_restart_until_it_passes() {
    let mut stage = Stage::new("judged", HEALTH);
    let local = stage.net.workload("web").v4.to_string();
    let far = stage.net.backend("remote");
    let _remote = tcp::Server::start(&far.ns, "remote", PORT).unwrap();
    stage.run();
    let is = |stage: &Stage, state: &str| {
        let found = stage.backends();
        let mut found = found.iter().filter(|(address, _)| *address == local);
        found.any(|(_, found)| found == state).then_some(())
    };
    wait_for(&stage, "an unhealthy backend", || is(&stage, "unhealthy"));
    // Nobody checks for an hour: what is known is what was known.
    stage.kill();
    let text = std::fs::read_to_string(stage.config()).unwrap();
    let slow = text.replace("interval = \"50ms\"", "interval = \"1h\"");
    std::fs::write(stage.config(), slow).unwrap();
    stage.run();
    is(&stage, "unhealthy").expect("a restart forgets nothing");
    let _web = tcp::Server::start(&stage.net.workload("web").node.ns, "web", PORT).unwrap();
    let other = "terrace.io/health-check: tcp, terrace.io/health-check-interval: 100ms";
    stage.write("web.yaml", &stage.manifests(other));
    wait_for(&stage, "a healthy backend", || is(&stage, "ready"));
}

#[test]
fn root_manifests_are_refused_with_a_deny_list_that_does_not_fit() {
    let mut stage = Stage::new("together", "deny_lists = [\"deny.txt\"]");
    std::fs::write(stage.path("deny.txt"), "192.0.2.0/24\n").unwrap();
    stage.run();
    let nets = (0..5000).map(|i| format!("10.{}.{}.0/25\n", i / 256, i % 256));
    std::fs::write(stage.path("deny.txt"), nets.collect::<String>()).unwrap();
    let far = stage.net.backend("remote").v4.to_string();
    let text = stage.manifests("");
    let without = text.lines().filter(|line| !line.contains(&far));
    stage.write("web.yaml", &without.collect::<Vec<_>>().join("\n"));
    let (code, text) = stage.terrace(&["reload"]);
    assert_eq!(code, 3, "{text}");
    assert!(text.contains("limits.deny_cells"), "{text}");
    assert_eq!(stage.backends().len(), 2, "the old state serves");
    std::fs::write(stage.path("deny.txt"), "192.0.2.0/24\n").unwrap();
    let (code, text) = stage.terrace(&["reload"]);
    assert_eq!(code, 0, "{text}");
    assert_eq!(stage.backends().len(), 1);
}

#[test]
fn root_a_refused_address_of_the_host_holds_up_no_health_verdict() {
    let mut stage = Stage::new("fact", HEALTH);
    let local = stage.net.workload("web").v4.to_string();
    let web = tcp::Server::start(&stage.net.workload("web").node.ns, "web", PORT).unwrap();
    stage.run();
    // A pod's address can't be the host's.
    let address = format!("address add {local}/32 dev up0");
    stage.net.host.ip([address.as_str()]).unwrap();
    wait_for(&stage, "the refusal", || {
        let events = stage.events();
        events
            .contains(&"manifests-refused".to_owned())
            .then_some(())
    });
    drop(web);
    wait_for(&stage, "an unhealthy backend", || {
        let found = (local.clone(), "unhealthy".to_owned());
        stage.backends().contains(&found).then_some(())
    });
    let refused = "manifests-refused".to_owned();
    let told = stage.events().into_iter().filter(|kind| *kind == refused);
    assert_eq!(told.count(), 1, "{}", stage.log());
}

#[test]
fn root_tc_programs_that_somebody_takes_off_come_back() {
    let stage = Stage::start("taken", "");
    let attached = stage.attached();
    let of_w0 = |attached: &[(String, String, u32)]| {
        attached.iter().filter(|(iface, ..)| iface == "w0").count()
    };
    assert_eq!(of_w0(&attached), 2);
    // As `bpftool link detach` and `tc qdisc del dev w0 clsact` do.
    let pins = std::fs::read_dir(stage.pins.path().join("links")).unwrap();
    let pins = pins.map(|entry| entry.unwrap().path());
    let links: Vec<_> = pins
        .filter(|pin| pin.to_string_lossy().contains("w0-tc-"))
        .collect();
    for pin in &links {
        let link = terrace_abi::sys::open_pin(pin).unwrap();
        terrace_abi::sys::link_detach(std::os::fd::AsFd::as_fd(&link)).unwrap();
    }
    if links.is_empty() {
        let mut delete = std::process::Command::new("tc");
        delete.args(["qdisc", "del", "dev", "w0", "clsact"]);
        assert!(stage.net.host.output(&mut delete).unwrap().status.success());
    }
    stage.until("the event", |status| {
        status["events"]
            .to_string()
            .contains("w0: somebody took tc programs off; they are back")
    });
    wait_for(&stage, "the programs", || {
        (of_w0(&stage.attached()) == 2).then_some(())
    });
}

const HEALTH: &str = r#"
[health]
check = "tcp"
interval = "50ms"
timeout = "50ms"
healthy_after = 2
unhealthy_after = 2
"#;

fn wait_for(stage: &Stage, what: &str, probe: impl FnMut() -> Option<()>) {
    let limit = Duration::from_secs(30);
    wait::until(what, limit, probe)
        .unwrap_or_else(|error| panic!("{error}: {:?}\n{}", stage.backends(), stage.log()));
}

fn metric(stage: &Stage, name: &str) -> f64 {
    let text = crate::tells::scrape(stage);
    let line = text
        .lines()
        .find(|line| line.starts_with(&format!("{name} ")));
    let value = line.and_then(|line| line.split(' ').nth(1)?.parse().ok());
    value.unwrap_or_else(|| panic!("no {name} in\n{text}"))
}
