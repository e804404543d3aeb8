//! Start, takeover, stop, detach.

use std::os::unix::fs::MetadataExt as _;

use terrace_testkit::wait;

use crate::stage::{Stage, Systemd};

#[test]
fn root_systemd_hears_of_readiness_life_and_end() {
    let mut stage = Stage::new("notify", "");
    let mut command = stage.command();
    let systemd = Systemd::new(&stage, &mut command);
    command.env("WATCHDOG_USEC", "600000");
    stage.run_command(command);
    let ready = systemd.wait_for("READY=1");
    assert!(
        ready.contains("STATUS=2 interfaces, 1 services, 2 backends"),
        "{ready}"
    );
    systemd.wait_for("WATCHDOG=1");
    systemd.wait_for("WATCHDOG=1");
    stage.stop();
    systemd.wait_for("STOPPING=1");
}

#[test]
fn root_every_interface_is_armed_and_every_program_shown() {
    let stage = Stage::start("armed", "");
    let status = stage.status();
    let mut shown = Vec::new();
    for iface in status["interfaces"].as_array().unwrap() {
        for attachment in iface["attachments"].as_array().unwrap() {
            let text = |key: &str| attachment[key].as_str().unwrap().to_owned();
            shown.push((
                iface["name"].as_str().unwrap().to_owned(),
                text("hook"),
                attachment["program_id"].as_u64().unwrap() as u32,
            ));
        }
    }
    let mut attached = stage.attached();
    for (_, hook, _) in &mut attached {
        *hook = match hook.as_str() {
            "tc ingress" => "tc-ingress".into(),
            "tc egress" => "tc-egress".into(),
            _ => "xdp".into(),
        };
    }
    shown.sort();
    attached.sort();
    assert_eq!(shown, attached);
    let hooks: Vec<_> = shown.iter().map(|(i, h, _)| format!("{i} {h}")).collect();
    let expected = [
        "up0 tc-egress",
        "up0 tc-ingress",
        "up0 xdp",
        "w0 tc-egress",
        "w0 tc-ingress",
    ];
    assert_eq!(hooks, expected);
}

#[test]
fn root_a_killed_daemon_is_succeeded_on_the_same_links_and_tables() {
    let mut stage = Stage::start("takeover", "");
    assert_eq!(stage.status()["taken_over"], false);
    let before = (pins(&stage), links(&stage));
    let backends = stage.backends();
    let index = stage.json(&["services"])[0]["backends"][1]["index"].clone();
    stage.kill();
    assert_eq!(
        links(&stage),
        before.1,
        "kill -9 leaves everything attached"
    );
    stage.run();
    assert_eq!(stage.status()["taken_over"], true);
    assert_eq!((pins(&stage), links(&stage)), before);
    assert_eq!(stage.backends(), backends);
    assert_eq!(stage.json(&["services"])[0]["backends"][1]["index"], index);
    assert!(stage.events().contains(&"taken-over".to_owned()));
}

/// The inodes of some pins: another number is another map or program.
fn pins(stage: &Stage) -> [u64; 3] {
    ["maps/config", "maps/flows", "progs/xdp_root"].map(|name| {
        let meta = std::fs::metadata(stage.pins.path().join(name));
        meta.expect("a pin").ino()
    })
}

/// What is attached where, without the programs' numbers.
fn links(stage: &Stage) -> Vec<(String, String)> {
    let attached = stage.attached().into_iter();
    attached.map(|(iface, hook, _)| (iface, hook)).collect()
}

#[test]
fn root_stop_leaves_forwarding_and_detach_leaves_nothing() {
    let mut stage = Stage::new("leave", "");
    let sysctls = [
        "ipv4/conf/up0/forwarding",
        "ipv4/conf/w0/forwarding",
        "ipv6/conf/all/forwarding",
        "ipv6/conf/up0/forwarding",
    ];
    for sysctl in sysctls {
        let name = format!("net.{}", sysctl.replace('/', "."));
        stage.net.host.sysctl(&name, "0").unwrap();
    }
    let before = sysctls.map(|sysctl| stage.sysctl(sysctl));
    stage.run();
    assert_eq!(sysctls.map(|sysctl| stage.sysctl(sysctl)), ["1"; 4]);
    let attached = stage.attached();
    stage.stop();
    assert_eq!(stage.attached(), attached);
    assert!(!stage.socket().exists());
    let (code, text) = stage.terrace(&["detach", "--yes"]);
    assert_eq!(code, 0, "{text}");
    assert_eq!(stage.attached(), []);
    assert!(!stage.pins.path().exists());
    assert_eq!(sysctls.map(|sysctl| stage.sysctl(sysctl)), before);
    let left: Vec<_> = std::fs::read_dir(stage.daemon.folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert!(!left.iter().any(|name| name.contains("sysctl")), "{left:?}");
}

#[test]
fn root_a_stop_in_the_middle_of_a_start_takes_effect_when_it_is_done() {
    let mut stage = Stage::new("early", "");
    let mut running = stage.net.host.spawn(stage.command()).unwrap();
    let tables = stage.pins.path().join("maps/config");
    let begun = || tables.exists().then_some(());
    wait::until("the first pinned table", wait::PATIENCE, begun).unwrap();
    assert_eq!(stage.attached(), [], "the start is not done");
    let ended = running.stop(wait::PATIENCE).unwrap();
    assert_eq!(ended.code(), Some(0), "{}", running.log());
    assert!(!stage.socket().exists());
    let attached = links(&stage);
    assert_eq!(attached.len(), 5, "as if it had come later: {attached:?}");
    stage.run();
    assert_eq!(stage.status()["taken_over"], true);
    assert_eq!(links(&stage), attached);
}

#[test]
fn root_a_second_daemon_is_refused_and_harms_nothing() {
    let stage = Stage::start("second", "");
    let attached = stage.attached();
    let (code, text) = stage.terrace(&["run"]);
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("another daemon"), "{text}");
    assert_eq!(stage.attached(), attached);
    assert_eq!(stage.status()["phase"], "ready");
}

#[test]
fn root_a_second_daemon_with_its_own_pins_and_socket_is_refused_too() {
    let stage = Stage::start("only", "");
    let attached = stage.attached();
    let other = terrace_testkit::PinRoot::new().unwrap();
    let text = std::fs::read_to_string(stage.config()).unwrap();
    let text = text
        .replace(
            &stage.pins.path().display().to_string(),
            &other.path().display().to_string(),
        )
        .replace("terrace.sock", "other.sock")
        .replace("metrics_listen", "# metrics_listen");
    std::fs::write(stage.path("other.toml"), text).unwrap();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_terrace"));
    command
        .args(["run", "--config"])
        .arg(stage.path("other.toml"));
    let output = stage.net.host.output(&mut command).unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let pid = stage.daemon.pid().unwrap();
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains(&format!("(process {pid})")), "{text}");
    assert_eq!(stage.attached(), attached);
    assert!(!stage.path("other.sock").exists());
}

#[test]
fn root_a_start_that_fails_leaves_nothing() {
    let rows = [
        ("broken manifest", "", "kind: Nothing\n", 3, "broken.yaml:1"),
        (
            "impossible plan",
            "\n[[interfaces]]\nmatch = \"up0\"\nrole = \"uplink\"\n[interfaces.tiers.steer]\nnic = \"require\"\n",
            "",
            3,
            "up0: steer can't run on nic",
        ),
    ];
    for (name, more, manifest, code, part) in rows {
        let stage = Stage::new("fail", more);
        if !manifest.is_empty() {
            stage.write("broken.yaml", manifest);
        }
        let (found, text) = stage.terrace(&["run"]);
        assert_eq!(found, code, "{name}: {text}");
        assert!(text.contains(part), "{name}: {text}");
        assert_eq!(stage.attached(), [], "{name}");
        let pinned = std::fs::read_dir(stage.pins.path()).map_or(0, Iterator::count);
        assert_eq!(pinned, 0, "{name}");
        assert!(!stage.socket().exists(), "{name}");
    }
}
