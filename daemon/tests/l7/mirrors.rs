//! RequestMirror: copies of requests to servers whose answers nobody gets.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use terrace_testkit::wait;

use crate::stage::{Shape, Stage, route, urls};

/// Keeps each request's bytes in a file of the folder, by its path, whole.
const KEEPER: &str = r#"
import os, socket, sys, threading
folder = sys.argv[1]
def serve(conn):
    data = b''
    while True:
        while b'\r\n\r\n' not in data:
            part = conn.recv(65536)
            if not part: return
            data += part
        head, rest = data.split(b'\r\n\r\n', 1)
        lower = head.lower()
        if b'transfer-encoding: chunked' in lower:
            done = lambda rest: rest.endswith(b'0\r\n\r\n')
        else:
            lines = [l for l in lower.split(b'\r\n') if l.startswith(b'content-length:')]
            n = int(lines[0].split(b':')[1]) if lines else 0
            done = lambda rest: len(rest) >= n
        if b'expect:' in lower: conn.sendall(b'HTTP/1.1 100 Continue\r\n\r\n')
        while not done(rest):
            part = conn.recv(65536)
            if not part: return
            rest += part
        name = head.split(b' ')[1].decode().replace('/', '_')
        path = os.path.join(folder, name)
        with open(path + '.part', 'ab') as file: file.write(head + b'\r\n\r\n' + rest)
        os.rename(path + '.part', path)
        conn.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nkept')
        data = b''
server = socket.create_server(('::', 8080), family=socket.AF_INET6, dualstack_ipv6=True, backlog=200)
while True:
    conn, _ = server.accept()
    threading.Thread(target=serve, args=(conn,), daemon=True).start()
    # Else the last one would stay open.
    del conn
"#;

/// Takes connections and never reads.
const DEAF: &str = r#"
import socket, time
server = socket.socket(socket.AF_INET6)
server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
server.bind(('::', 8080)); server.listen(500)
time.sleep(3600)
"#;

const TO_BOTH: &str = r#"    - matches: [{ path: { type: PathPrefix, value: / } }]
      filters:
        - { type: RequestHeaderModifier, requestHeaderModifier: { set: [{ name: X-Way, value: front }] } }
        - { type: RequestMirror, requestMirror: { backendRef: { name: b, port: 80 } } }
        - { type: RequestMirror, requestMirror: { backendRef: { name: far, port: 80 }, percent: 100 } }
      backendRefs: [{ name: a, port: 80 }]
"#;

fn to_one(share: &str) -> String {
    format!(
        r#"    - matches: [{{ path: {{ type: PathPrefix, value: / }} }}]
      filters:
        - {{ type: RequestMirror, requestMirror: {{ backendRef: {{ name: b, port: 80 }}{share} }} }}
      backendRefs: [{{ name: a, port: 80 }}]
"#
    )
}

/// Copies that were sent, and those that were not, by why.
fn mirrored(stage: &Stage) -> (u64, BTreeMap<String, u64>) {
    let (done, text) = stage.terrace(&["requests", "--json"]);
    assert!(done, "{text}");
    let said: Value = serde_json::from_str(&text).unwrap();
    let all = said["mirrors"].as_array().unwrap().iter();
    all.fold((0, BTreeMap::new()), |(sent, mut dropped), mirrors| {
        assert!(!mirrors["route"].as_str().unwrap().is_empty(), "{said}");
        for (why, n) in mirrors["mirror_dropped"].as_object().unwrap() {
            *dropped.entry(why.clone()).or_default() += n.as_u64().unwrap();
        }
        (sent + mirrors["mirrored"].as_u64().unwrap(), dropped)
    })
}

/// Waits until so many copies have come to an end.
fn wait_mirrored(stage: &Stage, n: u64) -> (u64, BTreeMap<String, u64>) {
    let ended = wait::until("copies", Duration::from_secs(120), || {
        let (sent, dropped) = mirrored(stage);
        (sent + dropped.values().sum::<u64>() >= n).then_some((sent, dropped))
    });
    ended.unwrap_or_else(|error| panic!("{error:?} {:?}\n{}", mirrored(stage), stage.report()))
}

/// A megabyte to send, and how curl names it.
fn megabyte() -> (tempfile::NamedTempFile, String) {
    let body = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(body.path(), vec![b'x'; 1 << 20]).unwrap();
    let data = format!("@{}", body.path().display());
    (body, data)
}

fn wait_file(stage: &Stage, path: &Path) -> Vec<u8> {
    let there = wait::until("a request", wait::PATIENCE, || std::fs::read(path).ok());
    there.unwrap_or_else(|error| panic!("{path:?}: {error:?}\n{}", stage.report()))
}

#[test]
fn root_mirrors_get_the_bytes_that_the_backend_gets() {
    let mut stage = Stage::start("l7-copies", &Shape::default());
    let folders = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let path = |node: usize| folders[node].path().to_str().unwrap().to_owned();
    let _keepers: Vec<_> = (0..3)
        .map(|node| stage.python(node, &[KEEPER, &path(node)]))
        .collect();
    stage.change("routes.yaml", &route(TO_BOTH));
    let body = tempfile::NamedTempFile::new().unwrap();
    let bytes: Vec<u8> = (0..40_000u32).map(|i| (i / 7) as u8).collect();
    std::fs::write(body.path(), &bytes).unwrap();
    let data = format!("@{}", body.path().display());
    let post = ["-H", "Expect:", "--data-binary", &data];
    let rows: [(&str, Vec<&str>); 5] = [
        ("get", vec![]),
        ("small", vec!["-d", "a=1"]),
        ("large", post.to_vec()),
        (
            "waits",
            vec!["-H", "Expect: 100-continue", "--data-binary", &data],
        ),
        (
            "chunked",
            [&["-H", "Transfer-Encoding: chunked"], &post[..]].concat(),
        ),
    ];
    for (i, url) in urls("/").iter().enumerate() {
        for (name, args) in &rows {
            let (ok, text) = stage.curl(&[&args[..], &[&format!("{url}{name}{i}")]].concat());
            assert!(ok && text == "kept", "{name}: {text}\n{}", stage.report());
            let file = format!("_{name}{i}");
            let kept = |node: usize| wait_file(&stage, &folders[node].path().join(&file));
            let backend = kept(0);
            let head = String::from_utf8_lossy(&backend[..200.min(backend.len())]).into_owned();
            assert!(head.contains("X-Way: front"), "{name}: {head}");
            assert!(
                backend == kept(1),
                "{name}: {url}: the local mirror: {head}"
            );
            assert!(
                backend == kept(2),
                "{name}: {url}: the remote mirror: {head}"
            );
        }
    }
    let (sent, dropped) = wait_mirrored(&stage, 20);
    assert_eq!((sent, dropped), (20, BTreeMap::new()));
    let (_, plan) = stage.terrace(&["plan"]);
    assert!(
        plan.contains("a filter copies requests to a mirror"),
        "{plan}"
    );
    stage.wait_empty();
}

#[test]
fn root_every_request_of_a_connection_is_mirrored_and_a_share_is_a_share() {
    let stage = Stage::start("l7-copy-many", &Shape::default());
    let [url, _] = urls("/a");
    stage.change("routes.yaml", &route(&to_one("")));
    let ab = |n: &str| {
        let mut command = std::process::Command::new("ab");
        command.args(["-q", "-k", "-n", n, "-c", "2", &url]);
        let output = stage.client().output(&mut command).unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(said.contains("Failed requests:        0"), "{said}");
        assert!(
            said.contains(&format!("Complete requests:      {n}")),
            "{said}"
        );
    };
    ab("1000");
    let (sent, dropped) = wait_mirrored(&stage, 1_000);
    assert_eq!(
        (sent, &dropped),
        (1_000, &BTreeMap::new()),
        "{}",
        stage.report()
    );
    for share in [
        ", percent: 0",
        ", fraction: { numerator: 1, denominator: 4 }",
    ] {
        stage.change("routes.yaml", &route(&to_one(share)));
        ab("400");
    }
    let (sent, _) = wait_mirrored(&stage, 1_001);
    stage.wait_empty();
    let (sent_at_last, _) = mirrored(&stage);
    assert!(
        sent_at_last >= sent && (1_040..1_180).contains(&sent_at_last),
        "{sent_at_last}"
    );
}

#[test]
fn root_a_mirror_that_is_dead_or_deaf_changes_nothing_for_the_client() {
    let mut stage = Stage::start("l7-copy-dead", &Shape::default());
    stage.change("routes.yaml", &route(&to_one("")));
    let [url, _] = urls("/a");
    let (_body, data) = megabyte();
    let ask = |stage: &Stage| {
        let form = ["-o", "/dev/null", "-w", "%{http_code}", "-X", "POST"];
        let (ok, text) = stage.curl(&[&form[..], &["--data-binary", &data, &url]].concat());
        assert!(
            ok && (text == "200" || text == "405"),
            "{text}\n{}",
            stage.report()
        );
    };
    stage.servers[1].process().kill();
    ask(&stage);
    let (sent, dropped) = wait_mirrored(&stage, 1);
    assert_eq!(sent, 0);
    assert_eq!(dropped.get("unreachable"), Some(&1), "{dropped:?}");
    let _deaf = stage.python(1, &[DEAF]);
    ask(&stage);
    let (sent, dropped) = wait_mirrored(&stage, 2);
    assert_eq!(sent, 0, "{dropped:?}");
    assert_eq!(dropped.get("slow"), Some(&1), "{dropped:?}");
    stage.wait_empty();
}

#[test]
fn root_copies_under_way_end_with_the_daemon_and_the_next_one_makes_new_ones() {
    let mut stage = Stage::start("l7-copy-ends", &Shape::default());
    stage.change("routes.yaml", &route(&to_one("")));
    let [url, _] = urls("/a");
    let (_body, data) = megabyte();
    let post = [
        "-o",
        "/dev/null",
        "-w",
        "%{http_code}",
        "--data-binary",
        &data,
        &url,
    ];
    stage.servers[1].process().kill();
    let deaf = stage.python(1, &[DEAF]);
    for end in [Stage::kill, Stage::stop] {
        let (ok, text) = stage.curl(&post);
        let answered = text == "200" || text == "405";
        assert!(ok && answered, "{text}\n{}", stage.report());
        let (flows, ..) = stage.held();
        assert!(flows > 0, "the copy is under way");
        end(&mut stage);
        stage.run();
        stage.wait_empty();
    }
    drop(deaf);
    let folder = tempfile::tempdir().unwrap();
    let _keeper = stage.python(1, &[KEEPER, folder.path().to_str().unwrap()]);
    let (ok, text) = stage.curl(&[&url]);
    assert!(ok && text == "a\n", "{text}\n{}", stage.report());
    wait_file(&stage, &folder.path().join("_a"));
    stage.wait_empty();
}

const ONLY_OPEN: &str = r#"
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: { name: b, namespace: shop }
spec:
  endpointSelector: { matchLabels: { app: b } }
  ingress:
    - toPorts:
        - ports: [{ port: "8080", protocol: TCP }]
          rules: { http: [{ path: "/open.*" }] }
"#;

#[test]
fn root_what_policy_denies_a_mirror_is_not_copied_and_prometheus_says_why() {
    let mut stage = Stage::start("l7-copy-denied", &Shape::default());
    let folder = tempfile::tempdir().unwrap();
    let _keeper = stage.python(1, &[KEEPER, folder.path().to_str().unwrap()]);
    stage.change("policy.yaml", ONLY_OPEN);
    stage.change("routes.yaml", &route(&to_one("")));
    for path in ["/a", "/open", "/a?again"] {
        let [url, _] = urls(path);
        let (ok, text) = stage.curl(&[&url]);
        assert!(ok, "{path}: {text}");
    }
    let (sent, dropped) = wait_mirrored(&stage, 3);
    let denied = BTreeMap::from([("denied".to_owned(), 2)]);
    assert_eq!((sent, dropped), (1, denied), "{}", stage.report());
    let kept = std::fs::read_dir(folder.path()).unwrap();
    let kept: Vec<_> = kept.map(|file| file.unwrap().file_name()).collect();
    assert_eq!(kept, ["_open"]);
    let metrics = stage.metrics();
    let counted = |name: &str, label: &str| -> u64 {
        let lines = metrics.lines();
        let lines = lines.filter(|line| line.starts_with(name) && line.contains(label));
        let counts = lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok());
        counts.sum()
    };
    let mirrored = counted("terrace_mirrored_total{", "route=");
    let denied = counted("terrace_mirror_dropped_total{", "reason=\"denied\"");
    assert_eq!((mirrored, denied), (1, 2), "{metrics}");
    let buckets = [
        "terrace_request_duration_seconds_bucket{",
        "terrace_requests_total{",
    ];
    for name in buckets {
        for label in ["service=", "route=", "backend="] {
            assert!(counted(name, label) > 0, "{name} {label}: {metrics}");
        }
    }
    stage.wait_empty();
}
