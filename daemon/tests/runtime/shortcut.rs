//! The same-host shortcut: tried out, armed, shown, switched, survived, removed.

#![allow(clippy::unwrap_used, reason = "a test panics where it fails")]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use terrace_testkit::{http, wait};

use crate::stage::{METRICS, Stage};

const PEER: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../sock/tests/shortcut/peer.py"
);
/// Failures of this kernel that the programs of these tests don't mind.
const ACCEPT: &str = r#"accept = ["pending-mixed", "splice-later", "waitall-later"]"#;

/// Removed when dropped.
struct Folder(PathBuf);

impl Folder {
    fn new(label: &str) -> Self {
        let root = terrace_sock::Cgroup::find().unwrap();
        let name = format!("terrace-test-{label}-{}", std::process::id());
        let path = root.path().join(name);
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn section(&self, more: &str) -> String {
        format!("[shortcut]\ncgroups = [\"{}\"]\n{more}\n", self.0.display())
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let end = Instant::now() + Duration::from_secs(5);
        while std::fs::remove_dir(&self.0).is_err() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// One end of a connection in the cgroup and the host's namespace.
struct Peer(Child);

impl Peer {
    fn start(stage: &Stage, cgroup: &Path, role: &str, port: u16) -> Self {
        let mut command = Command::new("sh");
        let enter = format!("echo $$ > {}/cgroup.procs && exec \"$@\"", cgroup.display());
        command.args(["-c", &enter, "sh", "/usr/bin/python3", PEER]);
        command.args([role, "127.0.0.1", &port.to_string()]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let child = stage.net.host.enter(|| command.spawn()).unwrap().unwrap();
        let mut peer = Self(child);
        peer.line();
        peer
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        let out = self.0.stdout.as_mut().unwrap();
        BufReader::with_capacity(1, out)
            .read_line(&mut line)
            .unwrap();
        assert!(!line.is_empty(), "it ended");
        line
    }

    /// Ends its load; every byte of it must have been right.
    fn finish(mut self) {
        writeln!(self.0.stdin.take().unwrap(), "end").unwrap();
        let mut rest = String::new();
        self.0
            .stdout
            .take()
            .unwrap()
            .read_to_string(&mut rest)
            .unwrap();
        assert!(self.0.wait().unwrap().success(), "{rest}");
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn joined(stage: &Stage) -> u64 {
    let shown = stage.json(&["shortcut"]);
    let reasons = shown["reasons"].as_array().unwrap();
    let row = reasons.iter().find(|row| row["reason"] == "joined");
    row.map_or(0, |row| row["messages"].as_u64().unwrap())
}

fn await_joined(stage: &Stage) {
    let before = joined(stage);
    wait::until("messages from socket to socket", wait::PATIENCE, || {
        (joined(stage) > before).then_some(())
    })
    .unwrap();
}

#[test]
fn root_connections_of_the_chosen_cgroups_are_joined_shown_and_switched() {
    let folder = Folder::new("shown");
    let stage = Stage::start("cut-shown", &folder.section(ACCEPT));
    assert!(stage.events().contains(&"shortcut-armed".to_owned()));
    let status = stage.status();
    assert_eq!(status["shortcut"]["armed"], true, "{}", status["shortcut"]);
    let checks = status["shortcut"]["checks"].as_array().unwrap();
    assert!(
        checks
            .iter()
            .any(|check| check["name"] == "short-connections")
    );
    let _server = Peer::start(&stage, &folder.0, "echo", 7000);
    let client = Peer::start(&stage, &folder.0, "load", 7000);
    await_joined(&stage);
    let flows = stage.json(&["flows", "--tier", "socket"]);
    let rows = flows["flows"].as_array().unwrap();
    assert_eq!(rows.len(), 2, "{flows}");
    assert!(rows.iter().all(|row| row["bytes"].as_u64() > Some(0)));
    let sockets = stage.json(&["sockets"]);
    let rows = sockets["sockets"].as_array().unwrap();
    assert!(
        rows.len() == 2 && rows.iter().all(|row| row["shortcut"] == true),
        "{sockets}"
    );
    // The socket tier is off; the shortcut does not need it.
    let cgroup = folder.0.display().to_string();
    let rows = [("/", false), (cgroup.as_str(), true)];
    for (cgroup, joined) in rows {
        let to = ["explain", "--connect", "127.0.0.1:7000", "--cgroup", cgroup];
        let answer = stage.json(&to);
        assert_eq!(answer["reason"], "connect_direct", "{answer}");
        assert_eq!(answer["shortcut"], joined, "{answer}");
    }
    let (code, text) = stage.terrace(&["status"]);
    assert!(
        code == 0 && text.contains("from socket to socket"),
        "{text}"
    );
    let (code, text) = stage.terrace(&["shortcut", "off"]);
    assert!(code == 0 && text.contains("switched off"), "{text}");
    let before = joined(&stage);
    wait::until("messages by the stack", wait::PATIENCE, || {
        let shown = stage.json(&["shortcut"]);
        let rows = shown["reasons"].as_array().unwrap().clone();
        rows.iter().any(|row| row["reason"] == "off").then_some(())
    })
    .unwrap();
    // One message may have been under way.
    assert!(joined(&stage) <= before + 2);
    stage.terrace(&["shortcut", "on"]);
    await_joined(&stage);
    let metrics = metrics(&stage);
    for name in [
        "terrace_shortcut_armed 1",
        "terrace_shortcut_messages_total{reason=\"joined\"}",
        "terrace_shortcut_check{check=\"splice-later\",verdict=",
    ] {
        assert!(metrics.contains(name), "{name} in\n{metrics}");
    }
    client.finish();
}

fn metrics(stage: &Stage) -> String {
    let to = std::net::SocketAddr::from(([127, 0, 0, 1], METRICS));
    http::get(&stage.net.host, to, "/metrics").unwrap()
}

#[test]
fn root_joined_connections_outlive_kill_9_and_a_restart() {
    let folder = Folder::new("life");
    let mut stage = Stage::start("cut-life", &folder.section(ACCEPT));
    let _server = Peer::start(&stage, &folder.0, "echo", 7000);
    let client = Peer::start(&stage, &folder.0, "load", 7000);
    await_joined(&stage);
    stage.kill();
    stage.run();
    let shown = stage.json(&["shortcut"]);
    let reason = shown["reason"].as_str().unwrap();
    assert!(reason.contains("3 of them in place"), "{reason}");
    await_joined(&stage);
    client.finish();
}

#[test]
fn root_detach_ends_no_joined_connection_and_leaves_nothing() {
    let folder = Folder::new("detach");
    let mut stage = Stage::start("cut-detach", &folder.section(ACCEPT));
    let _server = Peer::start(&stage, &folder.0, "echo", 7000);
    let client = Peer::start(&stage, &folder.0, "load", 7000);
    await_joined(&stage);
    stage.stop();
    let (code, text) = stage.terrace(&["detach", "--yes"]);
    assert_eq!(code, 0, "{text}");
    assert!(!stage.pins.path().join("maps").exists(), "{text}");
    client.finish();
}

#[test]
fn root_without_consent_a_failed_check_refuses_and_says_why() {
    let folder = Folder::new("refused");
    let stage = Stage::start("cut-refused", &folder.section(""));
    let shown: Value = stage.json(&["shortcut"]);
    let failed = |check: &&Value| check["verdict"] == "fail";
    if shown["checks"]
        .as_array()
        .unwrap()
        .iter()
        .find(failed)
        .is_none()
    {
        println!("every check passes on this kernel: nothing to refuse");
        return;
    }
    assert_eq!(shown["armed"], false);
    let reason = shown["reason"].as_str().unwrap();
    assert!(
        reason.contains("accept = [") && reason.contains("splice-later"),
        "{reason}"
    );
    assert!(stage.events().contains(&"shortcut-refused".to_owned()));
    let (code, text) = stage.terrace(&["shortcut", "on"]);
    assert!(code != 0 && text.contains("not armed"), "{text}");
}

#[test]
fn root_a_required_shortcut_that_is_refused_fails_the_start() {
    let folder = Folder::new("required");
    let missing = "mode = \"require\"\naccept = []";
    let stage = Stage::new("cut-required", &folder.section(missing));
    let output = stage.net.host.output(&mut stage.command()).unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success() && said.contains("required"),
        "{said}"
    );
}

#[test]
fn root_a_control_request_without_a_switch_is_refused() {
    let stage = Stage::start("cut-request", "");
    let mut socket = UnixStream::connect(stage.socket()).unwrap();
    let request = "POST /v1/shortcut HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\n\
                   Content-Length: 2\r\nConnection: close\r\n\r\n{}";
    socket.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
}
