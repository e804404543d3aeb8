//! The program as people and scripts run it: output, JSON, exit codes, help.
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "cli/answers.rs"]
mod answers;
#[path = "cli/server.rs"]
mod server;

use std::path::Path;
use std::process::{Command, Output};

use axum::http::StatusCode;
use serde_json::Value;
use server::Server;
use terrace::api;

const OK: i32 = 0;
const FAILURE: i32 = 1;
const REFUSED: i32 = 3;
const NO_DAEMON: i32 = 4;
const NOT_PERMITTED: i32 = 5;

fn terrace(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_terrace"));
    command
        .args(args)
        .env_remove("TERRACE_CONFIG")
        .env_remove("TERRACE_SOCKET");
    command
}

fn run(args: &[&str]) -> Output {
    terrace(args).output().unwrap()
}

fn ask(server: &Server, args: &[&str]) -> Output {
    terrace(args)
        .arg("--socket")
        .arg(&server.socket)
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_owned()).unwrap()
}

fn expected(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli/expected");
    std::fs::read_to_string(folder.join(format!("{name}.txt"))).unwrap()
}

#[test]
fn every_answer_of_the_daemon_is_printed() {
    let server = Server::start();
    let rows: &[(&[&str], &str)] = &[
        (&["status"], "status"),
        (&["plan"], "plan"),
        (&["services"], "services"),
        (&["policy"], "policy"),
        (&["identities"], "identities"),
        (&["flows"], "flows"),
        (&["reasons"], "reasons"),
        (&["reasons", "--all"], "reasons-all"),
    ];
    for (args, name) in rows {
        let output = ask(&server, args);
        assert_eq!(
            output.status.code(),
            Some(OK),
            "{args:?}: {}",
            text(&output.stderr)
        );
        assert_eq!(text(&output.stdout), expected(name), "{args:?}");
        assert_eq!(text(&output.stderr), "", "{args:?}");
    }
}

#[test]
fn json_is_the_answer_of_the_daemon() {
    fn value(data: impl serde::Serialize) -> Value {
        serde_json::to_value(data).unwrap()
    }
    let server = Server::start();
    let flows = api::Flows::select(answers::all_flows(), &api::FlowQuery::default());
    let rows = [
        ("status", value(answers::status())),
        ("plan", value(answers::plan())),
        ("services", value(answers::services())),
        ("policy", value(answers::policies())),
        ("identities", value(answers::identities())),
        ("flows", value(flows)),
        ("reasons", value(answers::reasons())),
        (
            "reload",
            value(api::Reload {
                revision: 4,
                changes: 17,
                took_ms: 12,
            }),
        ),
    ];
    for (command, expected) in rows {
        let output = ask(&server, &[command, "--json"]);
        let found: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(found, expected, "{command}");
    }
}

#[test]
fn filters_and_names_choose() {
    let server = Server::start();
    let rows: &[(&[&str], &str, usize)] = &[
        (&["services", "web"], "", 1),
        (&["services", "default/empty"], "", 1),
        (&["policy", "default/web"], "", 1),
        (&["identities", "app=web"], "", 1),
        (&["identities", "2"], "", 1),
        (&["flows", "--tier", "tc"], "/flows", 1),
        (&["flows", "--state", "established"], "/flows", 2),
        (
            &[
                "flows",
                "--service",
                "default/web:http",
                "--from",
                "203.0.113.0/24",
            ],
            "/flows",
            1,
        ),
        (&["flows", "--limit", "2"], "/flows", 2),
        (&["flows", "--limit", "0"], "/flows", 3),
        (&["reasons", "--class", "drop"], "", 1),
        (&["reasons", "--iface", "eth0"], "", 3),
    ];
    for (args, pointer, count) in rows {
        let output = ask(&server, &[args, ["--json"].as_slice()].concat());
        assert_eq!(
            output.status.code(),
            Some(OK),
            "{args:?}: {}",
            text(&output.stderr)
        );
        let found: Value = serde_json::from_slice(&output.stdout).unwrap();
        let list = found.pointer(pointer).and_then(Value::as_array);
        assert_eq!(list.map(Vec::len), Some(*count), "{args:?}");
    }
}

#[test]
fn explain_sends_the_packet_that_was_described() {
    let server = Server::start();
    let rows: &[(&[&str], &str)] = &[
        (
            &["tcp", "10.0.0.1:4000", "10.96.0.10:80"],
            "Tuple(TupleSpec { protocol: \"tcp\", source: 10.0.0.1:4000, destination: 10.96.0.10:80, tcp_flags: \"S\", payload_len: 0 }) on None, 54 bytes",
        ),
        (
            &[
                "udp",
                "[::1]:1",
                "[::2]:2",
                "--payload",
                "9",
                "--iface",
                "eth0",
            ],
            "Tuple(TupleSpec { protocol: \"udp\", source: [::1]:1, destination: [::2]:2, tcp_flags: \"S\", payload_len: 9 }) on Some(\"eth0\"), 54 bytes",
        ),
        (
            &["icmp", "10.0.0.1", "10.96.0.10"],
            "Tuple(TupleSpec { protocol: \"icmp\", source: 10.0.0.1:0, destination: 10.96.0.10:0, tcp_flags: \"S\", payload_len: 0 }) on None, 54 bytes",
        ),
    ];
    for (args, first) in rows {
        let output = ask(&server, &[["explain"].as_slice(), args].concat());
        assert_eq!(
            text(&output.stdout).lines().next(),
            Some(*first),
            "{}",
            text(&output.stderr)
        );
    }
}

#[test]
fn failures_of_the_daemon_have_their_codes() {
    let error = || api::Error {
        error: "it is so".into(),
        fix: "do that".into(),
        details: vec!["web.yaml:3: one".into()],
    };
    let rows = [
        (StatusCode::FORBIDDEN, NOT_PERMITTED),
        (StatusCode::UNPROCESSABLE_ENTITY, REFUSED),
        (StatusCode::INTERNAL_SERVER_ERROR, FAILURE),
        (StatusCode::SERVICE_UNAVAILABLE, FAILURE),
    ];
    for (status, code) in rows {
        let server = Server::refusing(status, error());
        let output = ask(&server, &["reload"]);
        assert_eq!(output.status.code(), Some(code), "{status}");
        let told = "terrace: it is so\n  web.yaml:3: one\n  fix: do that\n";
        assert_eq!(text(&output.stderr), told, "{status}");
        let output = ask(&server, &["reload", "--json"]);
        let found: api::Error = serde_json::from_slice(&output.stderr).unwrap();
        assert_eq!(found, error(), "{status}");
    }
}

#[test]
fn an_answer_of_another_version_is_told_as_such() {
    let server = Server::babbling("{\"version\": 7}");
    let output = ask(&server, &["status"]);
    assert_eq!(output.status.code(), Some(FAILURE));
    assert!(
        text(&output.stderr).contains("terrace version"),
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn without_a_daemon_the_commands_that_need_it_say_how_to_start_it() {
    for command in ["status", "reload"] {
        let output = run(&[command, "--socket", "/nowhere/terrace.sock"]);
        assert_eq!(output.status.code(), Some(NO_DAEMON), "{command}");
        let error = text(&output.stderr);
        assert!(
            error.contains("systemctl start terrace"),
            "{command}: {error}"
        );
    }
}

#[test]
fn version_needs_no_daemon() {
    let output = run(&["version", "--json", "--socket", "/nowhere/terrace.sock"]);
    assert_eq!(output.status.code(), Some(OK));
    let found: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(found["program"]["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(found["daemon"], Value::Null);
    let server = Server::start();
    let found: Value =
        serde_json::from_slice(&ask(&server, &["version", "--json"]).stdout).unwrap();
    assert_eq!(found["daemon"]["abi_version"], 1);
}

#[test]
fn colour_comes_only_when_it_is_wanted() {
    let server = Server::start();
    let coloured = |args: &[&str], variable: Option<(&str, &str)>| {
        let mut command = terrace(args);
        command.arg("--socket").arg(&server.socket).envs(variable);
        text(&command.output().unwrap().stdout).contains('\x1b')
    };
    type Row<'a> = (&'a [&'a str], Option<(&'a str, &'a str)>, bool);
    let rows: [Row<'_>; 4] = [
        (&["plan"], None, false),
        (&["plan", "--color", "always"], None, true),
        (&["plan", "--color", "never"], None, false),
        (&["plan"], Some(("NO_COLOR", "1")), false),
    ];
    for (args, variable, expected) in rows {
        assert_eq!(coloured(args, variable), expected, "{args:?} {variable:?}");
    }
}

#[test]
fn a_reader_that_leaves_is_no_failure() {
    let server = Server::start();
    let mut command = terrace(&["reasons", "--watch"]);
    command
        .arg("--socket")
        .arg(&server.socket)
        .stdout(std::process::Stdio::piped());
    let mut child = command.spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(OK));
}
