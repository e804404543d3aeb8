//! Real servers and proxies.

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use tempfile::{NamedTempFile, TempDir};
use terrace_testkit::wait;

use crate::stage::{Process, Stage};

const SERVER: u16 = 8080;
const PROXY: u16 = 15001;
const FILE_BYTES: usize = 20_000_000;

fn await_port(stage: &Stage, port: u16) {
    let to = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    wait::port(&stage.ns, to, wait::PATIENCE).unwrap();
}

fn config(text: &str) -> NamedTempFile {
    let mut file = NamedTempFile::with_prefix("terrace-cut-").unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

/// nginx that serves one large file with sendfile().
struct Nginx {
    _process: Process,
    content: Vec<u8>,
    _dir: TempDir,
    _config: NamedTempFile,
}

fn nginx(stage: &Stage) -> Nginx {
    let dir = TempDir::with_prefix("terrace-cut-").unwrap();
    let content: Vec<u8> = (0..FILE_BYTES as u32)
        .map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    std::fs::write(dir.path().join("file"), &content).unwrap();
    let config = config(&nginx_config(
        dir.path(),
        &format!(
            "listen {SERVER}; location / {{ root {}; sendfile on; }}",
            dir.path().display()
        ),
    ));
    let process = run_nginx(stage, dir.path(), config.path());
    await_port(stage, SERVER);
    Nginx {
        _process: process,
        content,
        _dir: dir,
        _config: config,
    }
}

fn nginx_config(dir: &Path, server: &str) -> String {
    let dir = dir.display();
    let temp: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {dir}/{kind};"))
        .concat();
    format!(
        "user root; daemon off; master_process off; pid {dir}/pid; error_log stderr warn;
         events {{ }} http {{ {temp} access_log off; server {{ {server} }} }}"
    )
}

fn run_nginx(stage: &Stage, dir: &Path, config: &Path) -> Process {
    let (dir, config) = (dir.to_str().unwrap(), config.to_str().unwrap());
    stage.run("nginx", &["-e", "stderr", "-p", dir, "-c", config])
}

/// Fetches the file through `port` with curl, in the cgroup; all of it must be
/// right, and bytes must have gone from socket to socket.
fn fetch(stage: &Stage, port: u16, content: &[u8]) {
    let before = stage.joined_bytes();
    let url = format!("http://127.0.0.1:{port}/file");
    let args = ["-sS", "--fail", "--max-time", "60", &url, &url];
    let got = stage.run("curl", &args).text();
    assert_eq!(got.len(), 2 * content.len());
    assert!(
        got.chunks(content.len()).all(|part| part == content),
        "other bytes arrived"
    );
    let moved = stage.joined_bytes() - before;
    assert!(moved > 100_000, "only {moved} bytes by socket");
}

#[test]
fn root_nginx_serves_files_through_joined_sockets() {
    let stage = Stage::new();
    let nginx = nginx(&stage);
    fetch(&stage, SERVER, &nginx.content);
}

#[test]
fn root_haproxy_in_front_of_nginx_is_joined_on_both_sides() {
    let stage = Stage::new();
    let nginx = nginx(&stage);
    let config = config(&format!(
        "global\n  nbthread 1\ndefaults\n  mode tcp\n  timeout connect 5s\n  timeout client 60s\n  \
         timeout server 60s\nlisten cut\n  bind 127.0.0.1:{PROXY}\n  server s 127.0.0.1:{SERVER}\n"
    ));
    let _haproxy = stage.run("haproxy", &["-db", "-f", config.path().to_str().unwrap()]);
    await_port(&stage, PROXY);
    let before = stage.shortcut.counters().unwrap().paired;
    fetch(&stage, PROXY, &nginx.content);
    assert!(stage.shortcut.counters().unwrap().paired >= before + 2);
}

#[test]
fn root_socat_relays_through_joined_sockets() {
    let stage = Stage::new();
    let nginx = nginx(&stage);
    let listen = format!("TCP4-LISTEN:{PROXY},bind=127.0.0.1,fork,reuseaddr");
    let _socat = stage.run("socat", &[&listen, &format!("TCP4:127.0.0.1:{SERVER}")]);
    await_port(&stage, PROXY);
    fetch(&stage, PROXY, &nginx.content);
}

#[test]
fn root_wrk_through_haproxy_sees_no_error_while_it_is_switched() {
    let stage = Stage::new();
    let nginx = nginx(&stage);
    let config = config(&format!(
        "global\n  nbthread 1\ndefaults\n  mode tcp\n  timeout connect 5s\n  timeout client 60s\n  \
         timeout server 60s\nlisten cut\n  bind 127.0.0.1:{PROXY}\n  server s 127.0.0.1:{SERVER}\n"
    ));
    let _haproxy = stage.run("haproxy", &["-db", "-f", config.path().to_str().unwrap()]);
    await_port(&stage, PROXY);
    std::fs::write(nginx._dir.path().join("small"), "hello\n").unwrap();
    let url = format!("http://127.0.0.1:{PROXY}/small");
    let wrk = stage.run("wrk", &["-t1", "-c16", "-d2s", &url]);
    for _ in 0..10 {
        stage.shortcut.set_enabled(true).unwrap();
        stage.await_joined(stage.joined_bytes());
        stage.shortcut.set_enabled(false).unwrap();
    }
    stage.shortcut.set_enabled(true).unwrap();
    let said = String::from_utf8(wrk.text()).unwrap();
    assert!(
        said.contains("requests in") && !said.contains("errors"),
        "{said}"
    );
}
