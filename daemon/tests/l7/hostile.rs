//! TCP as it is seldom spoken: ends that close at once, windows that stay shut,
//! urgent bytes.

use rustix::process::Signal;
use serde_json::Value;
use terrace_testkit::{Agent, Background, wait};

use crate::stage::{Shape, Stage, VIP};
use crate::workers::freezer;

/// Answers, ends its half at SIGUSR1, and says how the other half ended.
const CLOSER: &str = r#"
import signal, socket, sys
s = socket.socket(socket.AF_INET6)
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(('::', 8080)); s.listen(64)
while True:
    c, peer = s.accept()
    if peer[0] not in ('::1', '::ffff:127.0.0.1'): break
    c.close()
signal.signal(signal.SIGUSR1, lambda *_: (c.shutdown(socket.SHUT_WR), print('closed', flush=True)))
c.recv(4096)
c.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok')
print('answered', flush=True)
try: print('end' if c.recv(4096) == b'' else 'more', flush=True)
except OSError as e: print(e, flush=True)
"#;

/// POST is answered by how many bytes came; GET /a/<n> has n bytes.
const SLOW: &str = r#"
import socket
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
class Handler(BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def log_message(self, *_): pass
    def say(self, body):
        self.send_response(200); self.send_header('Content-Length', str(len(body)))
        self.end_headers(); self.wfile.write(body)
    def do_GET(self): self.say(b'x' * int(self.path.rsplit('/', 1)[1]))
    def do_POST(self): self.say(b'%d' % len(self.rfile.read(int(self.headers['Content-Length']))))
class Server(ThreadingHTTPServer):
    address_family = socket.AF_INET6
Server(('::', 8080), Handler).serve_forever()
"#;

const CLIENT: &str = r#"
def call(to, data):
    s = socket.create_connection((to, 80), 60)
    s.sendall(data)
    return s
def all_of(s):
    got = b''
    while part := s.recv(1 << 20): got += part
    return got
"#;

/// A shut window's probes come at 0.2, 0.4, 0.8 ... s: so many are about 25 s.
const PROBES: u64 = 7;
const BYTES: usize = 20_000_000;

fn agent(stage: &Stage) -> Agent {
    let mut agent = Agent::start(stage.client(), None).unwrap();
    assert_eq!(agent.run(CLIENT), "null");
    agent
}

fn heard(server: &mut Background, line: &str) {
    let heard = server.wait_for_log(line, wait::PATIENCE);
    assert!(heard.is_ok(), "{line}: {}", server.log());
}

#[test]
fn root_ends_that_close_at_the_same_moment_both_end_cleanly() {
    // So that the worker may stand still.
    let config = "[l7]\nworkers = 1\nheartbeat_timeout = \"60s\"";
    let shape = Shape {
        config,
        ..Shape::default()
    };
    let mut stage = Stage::start("l7-both", &shape);
    let mut ice = freezer(&stage);
    for vip in VIP {
        let mut server = stage.python(0, &[CLOSER]);
        let mut client = agent(&stage);
        let get = r"b'GET /a HTTP/1.1\r\nHost: front\r\n\r\n'";
        let opened = client.run(&format!("s = call('{vip}', {get}); result = s.recv(4096)"));
        assert!(opened.contains("200 OK"), "{opened}\n{}", stage.report());
        heard(&mut server, "answered");
        // The client's FIN waits for the worker, the server's passes.
        let stopped = ice.run(&format!(
            "stopped = freeze({}); result = len(stopped)",
            stage.pid()
        ));
        assert_eq!(stopped, "1");
        let ended = client.run("s.shutdown(socket.SHUT_WR)");
        server.signal(Signal::USR1).unwrap();
        let got = client.run("result = s.recv(4096)");
        assert_eq!(ice.run("thaw(stopped)"), "null");
        assert_eq!((ended.as_str(), got.as_str()), ("null", "\"\""), "{vip}");
        heard(&mut server, "closed");
        heard(&mut server, "end");
        stage.wait_empty();
    }
}

/// Probes of a shut window that a namespace's TCP has sent for one connection.
fn n_probes(ns: &terrace_testkit::Netns) -> u64 {
    let text = ns.run("ss", &["-tniH"]).unwrap();
    let words = text.split_whitespace();
    let backoffs = words.filter_map(|word| word.strip_prefix("backoff:")?.parse().ok());
    backoffs.max().unwrap_or(0)
}

#[test]
fn root_a_window_that_stays_shut_for_long_loses_no_byte_either_way() {
    let mut stage = Stage::start("l7-shut", &Shape::default());
    let server = stage.python(0, &[SLOW]);
    let mut client = agent(&stage);
    let vip = VIP[0];
    // The client does not read.
    let get = format!(r"b'GET /a/{BYTES} HTTP/1.1\r\nHost: front\r\nConnection: close\r\n\r\n'");
    assert_eq!(client.run(&format!("s = call('{vip}', {get})")), "null");
    let probed = wait::until("probes", wait::PATIENCE * 4, || {
        (n_probes(&stage.net.workloads[0].node.ns) >= PROBES).then_some(())
    });
    assert!(probed.is_ok(), "{}", stage.report());
    let got = client.run("result = len(all_of(s).split(b'\\r\\n\\r\\n', 1)[1])");
    assert_eq!(got, BYTES.to_string(), "{}", stage.report());
    // The server does not.
    server.signal(Signal::STOP).unwrap();
    let post = format!(
        r"b'POST /a HTTP/1.1\r\nHost: front\r\nConnection: close\r\nContent-Length: {BYTES}\r\n\r\n'"
    );
    let send = format!(
        "s = call('{vip}', {post}); t = threading.Thread(target=s.sendall, args=(b'y' * {BYTES},)); s.settimeout(None); t.start()"
    );
    assert_eq!(client.run(&send), "null");
    let probed = wait::until("probes", wait::PATIENCE * 4, || {
        (n_probes(stage.client()) >= PROBES).then_some(())
    });
    server.signal(Signal::CONT).unwrap();
    assert!(probed.is_ok(), "{}", stage.report());
    let got = client.run("t.join(); result = all_of(s).split(b'\\r\\n\\r\\n', 1)[1]; s.close()");
    assert_eq!(got, format!("\"{BYTES}\""), "{}", stage.report());
    stage.wait_empty();
}

#[test]
fn root_urgent_bytes_reset_their_connection_and_reach_no_backend() {
    let stage = Stage::start("l7-urgent", &Shape::default());
    let mut client = agent(&stage);
    for vip in VIP {
        let begun = r"b'GET /b HTTP/1.1\r\nHost: front\r\n'";
        let script = format!(
            "s = call('{vip}', {begun}); s.send(b'!', socket.MSG_OOB); s.settimeout(60); result = all_of(s)"
        );
        assert_eq!(client.run(&script), "!ECONNRESET", "{vip}");
    }
    let (_, text) = stage.terrace(&["status", "--json"]);
    let status: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(status["l7_workers"][0]["resets"], 2, "{text}");
    stage.wait_empty();
}
