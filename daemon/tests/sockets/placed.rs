//! `connect` and `shortcut` in the plan, what keeps them from the socket layer, and
//! policy that decides who is joined.

use serde_json::Value;
use terrace_testkit::wait;

use crate::faults::{event, metric};
use crate::services::ON;
use crate::stage::Stage;

/// Failures of Linux 6.18 that the programs of these tests don't mind.
const ACCEPT: &str = r#"accept = ["pending-mixed", "splice-later", "waitall-later"]"#;

fn shortcut(stage: &Stage) -> String {
    let cgroup = stage.cgroup.path().display();
    format!("{ON}[shortcut]\ncgroups = [\"{cgroup}\"]\n{ACCEPT}\n")
}

fn placement(plan: &Value, task: &str) -> Value {
    let rows = plan["placements"].as_array().expect("placements");
    let found = rows.iter().find(|row| row["task"] == task);
    found.expect("every task has a placement").clone()
}

#[test]
fn root_the_plan_shows_the_tasks_of_the_socket_layer() {
    let mut stage = Stage::new("skplan", ON);
    stage.configure(&shortcut(&stage));
    let before = stage.json(&["plan", "--offline"]);
    stage.run();
    let plan = stage.json(&["plan"]);
    for task in ["connect", "shortcut"] {
        assert_eq!(placement(&before, task)["tier"], "socket", "{before}");
        let row = placement(&plan, task);
        assert_eq!(
            (&row["tier"], &row["iface"]),
            (&"socket".into(), &"host".into())
        );
        let line = format!("terrace_placement{{task=\"{task}\",iface=\"host\",tier=\"socket\"}}");
        assert!(metric(&stage, &line).ends_with(" 1.0"), "{line}");
    }
    let (done, text) = stage.terrace(&["plan"]);
    assert!(done && text.contains("13 programs"), "{text}");
    stage.stop();
    stage.configure("");
    stage.run();
    let plan = stage.json(&["plan"]);
    for task in ["connect", "shortcut"] {
        let row = placement(&plan, task);
        assert_eq!(row["tier"], "tc", "{plan}");
        let blocker = &row["blockers"][0];
        assert_eq!(
            (&blocker["tier"], &blocker["by_design"]),
            (&"socket".into(), &true.into())
        );
        assert!(blocker["fix"].to_string().contains('['), "{blocker}");
    }
}

/// What a mount namespace of its own makes of the host's cgroups, then Terrace.
fn run_behind(stage: &mut Stage, mounts: &str) {
    let script = format!("{mounts} && exec \"$@\"");
    let by = ["unshare", "--mount", "sh", "-c", &script, "sh"];
    assert!(stage.try_run_by(&by), "not ready:\n{}", stage.log());
}

#[test]
fn root_a_host_without_cgroup_v2_is_told_and_tc_serves() {
    let mut stage = Stage::new(
        "sknov2",
        "[socket]\nservices = true\n[shortcut]\ncgroups = [\"/sys/fs/cgroup\"]\n",
    );
    run_behind(&mut stage, "mount -t tmpfs none /sys/fs/cgroup");
    let told = event(&stage, "socket-fallback");
    assert!(
        told.contains("only version 1") && told.contains("tc serves"),
        "{told}"
    );
    let plan = stage.json(&["plan"]);
    for task in ["connect", "shortcut"] {
        let row = placement(&plan, task);
        let why = row["blockers"][0]["why"].to_string();
        assert!(
            row["tier"] == "tc" && why.contains("cgroup of version 2"),
            "{row}"
        );
    }
    let armed = metric(&stage, "terrace_socket_armed{part=\"services\"}");
    assert!(armed.ends_with(" 0.0"), "{armed}");
    let mut client = stage.inside("app");
    assert_eq!(
        client.run("result = greet(dial('10.96.0.10', 80)) != ''"),
        "true",
        "by tc"
    );
}

#[test]
fn root_cgroups_that_cannot_be_written_cost_the_shortcut_only() {
    let mut stage = Stage::new("skro", ON);
    stage.configure(&shortcut(&stage));
    let root = terrace_sock::Cgroup::find().expect("cgroup v2");
    let root = root.path().display();
    run_behind(
        &mut stage,
        &format!("mount --bind {root} {root} && mount -o remount,bind,ro {root}"),
    );
    let told = event(&stage, "shortcut-refused");
    assert!(told.contains("needs to write there"), "{told}");
    let plan = stage.json(&["plan"]);
    assert_eq!(placement(&plan, "connect")["tier"], "socket", "{plan}");
    let row = placement(&plan, "shortcut");
    let why = row["blockers"][0]["why"].to_string();
    assert!(
        row["tier"] == "tc" && why.contains("needs to write there"),
        "{row}"
    );
    let armed = metric(&stage, "terrace_shortcut_armed");
    assert!(armed.ends_with(" 0.0"), "{armed}");
}

#[test]
fn root_a_foreign_program_that_allows_none_beside_it_is_told_and_tc_serves() {
    let mut stage = Stage::new("skalone", "[socket]\nservices = true\nCGROUP\n");
    let pins = terrace_testkit::PinRoot::new().expect("pin root");
    let maps = terrace_abi::Maps::open(pins.path(), &terrace_abi::Limits::small()).expect("tables");
    let foreign = terrace_sock::connect::ConnectPrograms::load(&maps, &Default::default());
    let foreign = foreign.expect("load");
    let mut programs = foreign.programs().iter();
    let program = programs.find(|program| program.name() == "terrace_connect6");
    let id = program.expect("a program").info().id.to_string();
    let cgroup = stage.cgroup.path().display().to_string();
    let args = ["cgroup", "attach", &cgroup, "connect6", "id", &id];
    stage.net.host.run("bpftool", &args).expect("bpftool");
    stage.run();
    let told = event(&stage, "socket-fallback");
    assert!(
        told.contains(&format!("(id {id})")) && told.contains("tc serves"),
        "{told}"
    );
    let shown = stage
        .net
        .host
        .run("bpftool", &["cgroup", "show", &cgroup])
        .expect("bpftool");
    let left: Vec<&str> = shown
        .lines()
        .filter(|line| line.contains("terrace_"))
        .collect();
    assert!(
        left.len() == 1 && left[0].contains(&id),
        "only theirs: {shown}"
    );
    let mut client = stage.inside("app");
    assert_eq!(
        client.run("result = greet(dial('10.96.0.10', 80)) != ''"),
        "true",
        "by tc"
    );
}

const DENY: &str = "
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: web, namespace: shop }
spec:
  podSelector: { matchLabels: { app: web } }
  policyTypes: [Ingress]
  ingress: [{ from: [{ podSelector: { matchLabels: { app: LABEL } } }] }]
";

fn reason(stage: &Stage) -> (bool, String) {
    let shown = stage.json(&["sockets"]);
    let rows = shown["sockets"].as_array().expect("sockets").clone();
    let row = rows.iter().find(|row| row["shortcut"].is_boolean());
    let row = row.cloned().unwrap_or_default();
    (row["shortcut"] == true, row["shortcut_reason"].to_string())
}

#[test]
fn root_a_networkpolicy_decides_who_is_joined_and_a_change_splits() {
    let mut stage = Stage::new("skcut", ON);
    stage.configure(&shortcut(&stage));
    stage.write("policy.yaml", &DENY.replace("LABEL", "app"));
    stage.run();
    let web = stage.net.workload("web").v4;
    let mut server = stage.inside("web");
    server.run("l = socket.socket()\nl.bind(('0.0.0.0', 7000))\nl.listen(8)");
    let mut client = stage.inside("app");
    let dial = format!("s = dial('{web}', 7000)");
    assert_eq!(client.run(&dial), "null", "{}", stage.log());
    assert_eq!(server.run("c, _ = l.accept()\nc.settimeout(10)"), "null");
    // A round trip of messages, both ways.
    let mut talk = |rounds: u32| {
        for _ in 0..rounds {
            client.run("s.sendall(b'q')");
            assert_eq!(server.run("result = c.recv(10)"), "\"q\"");
            server.run("c.sendall(b'a')");
            assert_eq!(client.run("result = s.recv(10)"), "\"a\"");
        }
    };
    let joined = wait::until("the pair to be joined", wait::PATIENCE, || {
        talk(3);
        reason(&stage).0.then_some(())
    });
    joined.unwrap_or_else(|error| panic!("{error}: {:?}", reason(&stage)));
    let answer = stage.json(&[
        "explain",
        "--connect",
        &format!("{web}:7000"),
        "--cgroup",
        &stage.cgroup.path().display().to_string(),
    ]);
    assert_eq!(answer["shortcut"], true, "{answer}");
    stage.change("policy.yaml", &DENY.replace("LABEL", "nobody"));
    client.run("s.settimeout(2)\ns.sendall(b'q')");
    let split = wait::until("the pair to be split", wait::PATIENCE, || {
        let (joined, why) = reason(&stage);
        (!joined && why.contains("policy")).then_some(())
    });
    split.unwrap_or_else(|error| panic!("{error}: {:?}", reason(&stage)));
    let splits = metric(&stage, "terrace_shortcut_split_total");
    assert!(splits.ends_with(" 1"), "{splits}");
    assert_ne!(
        server.run("c.settimeout(1)\nresult = c.recv(10)"),
        "\"q\"",
        "tc drops it"
    );
}
