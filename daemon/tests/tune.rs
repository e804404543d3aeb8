//! `terrace tune` on a link of its own: all or nothing, and back again unless it is
//! confirmed.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use terrace_testkit::{Netns, wait};

const LARGE: &str = "9000";
const SMALL: &str = "3506";

/// An uplink whose MTU is too large for native XDP.
struct Stage {
    ns: Netns,
    folder: TempDir,
}

impl Stage {
    fn new(label: &str) -> Self {
        let ns = Netns::new(label).unwrap();
        let link = format!("link add up0 mtu {LARGE} type veth peer name far0 mtu {LARGE}");
        ns.ip([link.as_str(), "link set up0 up", "link set far0 up"])
            .unwrap();
        let folder = TempDir::with_prefix("terrace-tune-").unwrap();
        let config = "manifests = \"manifests\"\ncontrol_socket = \"terrace.sock\"\n\
                      [[interfaces]]\nmatch = \"up0\"\nrole = \"uplink\"\n";
        std::fs::write(folder.path().join("terrace.toml"), config).unwrap();
        Self { ns, folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_terrace"));
        command.arg("tune").args(args).arg("--config");
        command.arg(self.path("terrace.toml"));
        command
    }

    fn tune(&self, args: &[&str]) -> Output {
        self.ns.output(&mut self.command(args)).unwrap()
    }

    fn json(&self, args: &[&str]) -> Value {
        let output = self.tune(&[args, &["--json"]].concat());
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let failed = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{args:?}: {failed}");
        serde_json::from_str(&text).unwrap()
    }

    fn mtu(&self) -> String {
        let links = self.ns.run("ip", &["-j", "link", "show", "up0"]).unwrap();
        let links: Value = serde_json::from_str(&links).unwrap();
        links[0]["mtu"].to_string()
    }

    /// Waits until the transaction is over.
    fn over(&self) {
        wait::until("the end of the transaction", wait::PATIENCE, || {
            (!self.path("tune.json").exists()).then_some(())
        })
        .unwrap();
        assert!(!self.path("tune.sock").exists());
    }
}

#[test]
fn root_a_plan_of_tuning_shows_each_step_with_its_undo_and_changes_nothing() {
    let stage = Stage::new("tuneplan");
    let tuned = stage.json(&["--plan"]);
    assert_eq!(tuned["outcome"], "planned");
    let step = &tuned["steps"][0];
    assert_eq!(
        step["cmd"],
        json!(format!("ip link set dev up0 mtu {SMALL}"))
    );
    assert_eq!(
        step["undo"],
        json!(format!("ip link set dev up0 mtu {LARGE}"))
    );
    assert_eq!(step["disruption"], "none");
    assert_eq!(stage.mtu(), LARGE);
    assert!(!stage.path("tune.json").exists());
}

#[test]
fn root_what_is_not_confirmed_in_time_is_taken_back() {
    let stage = Stage::new("tuneback");
    let tuned = stage.json(&["--apply", "--confirm", "1"]);
    assert_eq!(tuned["outcome"], "applied");
    stage.over();
    assert_eq!(stage.mtu(), LARGE);
}

#[test]
fn root_what_is_confirmed_stays_and_what_is_not_wanted_goes() {
    let stage = Stage::new("tunekeep");
    stage.json(&["--apply", "--confirm", "600"]);
    assert_eq!(stage.mtu(), SMALL);
    let second = stage.tune(&["--apply", "--confirm", "600"]);
    assert!(
        !second.status.success(),
        "a second one before the first is confirmed"
    );
    assert_eq!(stage.json(&["--take-back"])["outcome"], "taken-back");
    assert_eq!(stage.mtu(), LARGE);
    stage.over();
    stage.json(&["--apply", "--confirm", "600"]);
    assert_eq!(stage.json(&["--confirm-now"])["outcome"], "confirmed");
    stage.over();
    assert_eq!(stage.mtu(), SMALL);
    assert_eq!(stage.json(&["--plan"])["outcome"], "nothing-to-do");
}

#[test]
fn root_who_dies_while_applying_leaves_nothing_changed() {
    let stage = Stage::new("tunedies");
    // As if the command had been killed after its step was begun.
    let step = stage.json(&["--plan"])["steps"][0].clone();
    let mut step = step.as_object().unwrap().clone();
    step.insert("state".to_owned(), json!("begun"));
    let journal = json!({ "steps": [step], "guardian": 0 });
    std::fs::write(stage.path("tune.json"), journal.to_string()).unwrap();
    stage.ns.ip([format!("link set up0 mtu {SMALL}")]).unwrap();
    let mut guardian = Command::new(env!("CARGO_BIN_EXE_terrace"));
    guardian.args(["tune", "--guard"]).arg(stage.folder.path());
    guardian.args(["--confirm", "600"]);
    guardian.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut guardian = stage.ns.enter(|| guardian.spawn()).unwrap().unwrap();
    let mut ready = String::new();
    let mut stdout = BufReader::new(guardian.stdout.take().unwrap());
    stdout.read_line(&mut ready).unwrap();
    assert_eq!(ready.trim(), "ready");
    drop(guardian.stdin.take());
    stage.over();
    assert!(guardian.wait().unwrap().success());
    assert_eq!(stage.mtu(), LARGE);
}

#[test]
fn root_when_the_guardian_died_too_the_journal_takes_it_back() {
    let stage = Stage::new("tunedead");
    stage.json(&["--apply", "--confirm", "600"]);
    let journal = std::fs::read_to_string(stage.path("tune.json")).unwrap();
    let journal: Value = serde_json::from_str(&journal).unwrap();
    let guardian = journal["guardian"].as_i64().unwrap();
    let pid = rustix::process::Pid::from_raw(i32::try_from(guardian).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    let gone = || {
        let stat = std::fs::read_to_string(format!("/proc/{guardian}/stat")).unwrap_or_default();
        (stat.is_empty() || stat.contains(") Z")).then_some(())
    };
    wait::until("the guardian's end", Duration::from_secs(20), gone).unwrap();
    assert_eq!(stage.mtu(), SMALL);
    assert_eq!(stage.json(&["--take-back"])["outcome"], "taken-back");
    assert_eq!(stage.mtu(), LARGE);
    stage.over();
}

#[test]
fn wrong_arguments_are_refused() {
    let rows: [&[&str]; 4] = [
        &[],
        &["--apply"],
        &["--plan", "--apply", "--confirm", "5"],
        &["--apply", "--confirm", "0"],
    ];
    for args in rows {
        let mut command = Command::new(env!("CARGO_BIN_EXE_terrace"));
        let output = command.arg("tune").args(args).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}");
    }
}
