//! The daemon with the capabilities of its unit file and no others.

use std::process::Command;

use terrace_testkit::tcp;

use crate::stage::{PORT, Stage};

/// `CapabilityBoundingSet` of the unit file, in the words of setpriv.
fn capabilities() -> Vec<String> {
    let unit = include_str!("../../systemd/terrace.service");
    let line = unit
        .lines()
        .find_map(|line| line.strip_prefix("CapabilityBoundingSet="))
        .expect("the unit file names its capabilities");
    line.split_whitespace()
        .map(|name| name.trim_start_matches("CAP_").to_lowercase())
        .collect()
}

/// The program lines of the unit file, in their order, for this binary.
fn programs(stage: &Stage, key: &str) -> Vec<Command> {
    let unit = include_str!("../../systemd/terrace.service");
    let lines = unit.lines().filter_map(|line| line.split_once('='));
    lines
        .filter(|(found, _)| *found == key)
        .map(|(_, line)| {
            let line = line.strip_prefix("/usr/bin/terrace ").expect("our program");
            let mut command = Command::new(env!("CARGO_BIN_EXE_terrace"));
            command.args(line.split_whitespace());
            command.arg("--config").arg(stage.config());
            command
        })
        .collect()
}

#[test]
fn root_the_units_own_lines_start_on_refused_manifests_where_it_served() {
    let mut stage = Stage::start("lines", "");
    stage.kill();
    stage.write("broken.yaml", "kind: Nothing\n");
    for mut command in programs(&stage, "ExecStartPre") {
        let output = stage.net.host.output(&mut command).unwrap();
        assert!(output.status.success(), "{command:?}: {output:?}");
    }
    let [command] = <[Command; 1]>::try_from(programs(&stage, "ExecStart")).unwrap();
    stage.run_command(command);
    let status = stage.status();
    assert_ne!(status["manifests"]["refused"], serde_json::json!([]));
    assert_eq!(status["taken_over"], true);
}

#[test]
fn the_unit_lets_the_daemon_do_what_it_does() {
    let unit = include_str!("../../systemd/terrace.service");
    let rows = [
        ("pods' namespaces are entered", "RestrictNamespaces", "net"),
        ("workers read frames", "RestrictAddressFamilies", "AF_XDP"),
        ("links are asked", "RestrictAddressFamilies", "AF_NETLINK"),
        ("programs are loaded", "SystemCallFilter", "bpf"),
    ];
    for (name, key, word) in rows {
        let lines = unit.lines().filter_map(|line| line.split_once('='));
        let mut words = lines
            .filter(|(found, _)| *found == key)
            .flat_map(|(_, value)| value.split_whitespace());
        assert!(words.any(|found| found == word), "{name}: {key}={word}");
    }
}

fn confined(stage: &Stage, capabilities: &[String]) -> Command {
    let set: String = capabilities
        .iter()
        .map(|name| format!(",+{name}"))
        .collect();
    let plain = stage.command();
    let mut command = Command::new("setpriv");
    command
        .arg(format!("--bounding-set=-all{set}"))
        .arg(format!("--inh-caps=-all{set}"))
        .arg("--no-new-privs")
        .arg(plain.get_program())
        .args(plain.get_args());
    command
}

#[test]
fn root_the_units_capabilities_are_enough_to_serve() {
    let mut stage = Stage::new("confined", "");
    // What the daemon has to change must need a change.
    stage
        .net
        .host
        .sysctl("net.ipv4.conf.w0.forwarding", "0")
        .unwrap();
    let command = confined(&stage, &capabilities());
    let web = stage.net.workload("web");
    let _server = tcp::Server::start(&web.node.ns, "web", PORT).unwrap();
    stage.run_command(command);
    let held =
        std::fs::read_to_string(format!("/proc/{}/status", stage.daemon.pid().unwrap())).unwrap();
    let bounding = held
        .lines()
        .find(|line| line.starts_with("CapBnd"))
        .unwrap();
    let bits = u64::from_str_radix(bounding.split_whitespace().nth(1).unwrap(), 16).unwrap();
    assert_eq!(
        bits.count_ones() as usize,
        capabilities().len(),
        "{bounding}"
    );
    assert_eq!(stage.sysctl("ipv4/conf/w0/forwarding"), "1");
    assert!(
        !stage.events().contains(&"kernel-refused".to_owned()),
        "{}",
        stage.log()
    );
    let far = stage.net.backend("remote").v4.to_string();
    let without: String = stage
        .manifests("")
        .lines()
        .filter(|line| !line.contains(&far))
        .map(|line| format!("{line}\n"))
        .collect();
    stage.write("web.yaml", &without);
    assert_eq!(stage.terrace(&["reload"]).0, 0);
    let client = &stage.net.client("client").ns;
    let from = tcp::download(client, stage.vip(), 100_000);
    assert_eq!(
        from.unwrap_or_else(|error| panic!("{error}\n{}", stage.log())),
        "web"
    );
    stage.stop();
    // A successor under the same rules takes over.
    let command = confined(&stage, &capabilities());
    stage.run_command(command);
    assert_eq!(stage.status()["taken_over"], true);
}

#[test]
fn root_each_of_the_units_capabilities_is_needed() {
    for missing in capabilities() {
        let stage = Stage::new("less", "");
        stage
            .net
            .host
            .sysctl("net.ipv4.conf.w0.forwarding", "0")
            .unwrap();
        let mut left = capabilities();
        left.retain(|name| *name != missing);
        let mut daemon = stage.net.host.spawn(confined(&stage, &left)).unwrap();
        let ended = daemon.wait(terrace_testkit::wait::PATIENCE);
        let ended = ended.unwrap_or_else(|_| panic!("starts without {missing}:\n{}", daemon.log()));
        assert!(!ended.success(), "without {missing}: {}", daemon.log());
    }
}
