//! Bodies of every size, both ways, in any pieces.

use std::process::Command;

use terrace_testkit::Background;

use crate::stage::{Shape, Stage, VIP};

/// GET /a/<n> answers n bytes, POST the SHA-256 of what came; chunked when asked.
const SERVER: &str = r#"
import hashlib, socket, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
def body(n): return (b'0123456789abcdef' * (n // 16 + 1))[:n]
class Handler(BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def log_message(self, *_): pass
    def do_GET(self):
        n = int(self.path.rsplit('/', 1)[1])
        self.send_response(200)
        if '/chunked/' in self.path:
            self.send_header('Transfer-Encoding', 'chunked'); self.end_headers()
            for at in range(0, n, 1000):
                part = body(n)[at:at + 1000]
                self.wfile.write(b'%x\r\n%s\r\n' % (len(part), part))
            self.wfile.write(b'0\r\n\r\n')
        else:
            self.send_header('Content-Length', str(n)); self.end_headers()
            self.wfile.write(body(n))
    def do_POST(self):
        h = hashlib.sha256()
        if self.headers.get('Transfer-Encoding') == 'chunked':
            while n := int(self.rfile.readline(), 16):
                h.update(self.rfile.read(n)); self.rfile.readline()
            self.rfile.readline()
        else:
            left = int(self.headers['Content-Length'])
            while left:
                part = self.rfile.read(min(left, 65536)); h.update(part); left -= len(part)
                if '/slow' in self.path: time.sleep(0.02)
        out = h.hexdigest().encode()
        self.send_response(200); self.send_header('Content-Length', str(len(out))); self.end_headers()
        self.wfile.write(out)
class Server(ThreadingHTTPServer):
    address_family = socket.AF_INET6
    request_queue_size = 1024
Server(('::', 8080), Handler).serve_forever()
"#;

/// Talks to the front; prints `ok` or dies.
const CLIENT: &str = r#"
import hashlib, http.client, socket, sys, time
host, kind, sizes = sys.argv[1], sys.argv[2], [int(s) for s in sys.argv[3].split(',')]
def body(n): return (b'0123456789abcdef' * (n // 16 + 1))[:n]
c = http.client.HTTPConnection(host, 80, timeout=120)
c.connect(); c.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
for n in sizes:
    want = hashlib.sha256(body(n)).hexdigest()
    if kind in ('get', 'chunked-get'):
        c.request('GET', '/a/%s%d' % ('chunked/' if kind != 'get' else '', n))
        got = hashlib.sha256(c.getresponse().read()).hexdigest()
    elif kind == 'post':
        c.request('POST', '/a', body(n)); got = c.getresponse().read().decode()
    elif kind == 'chunked-post':
        parts = (body(n)[i:i + 777] for i in range(0, n, 777))
        c.request('POST', '/a', parts, {'Transfer-Encoding': 'chunked'}, encode_chunked=True)
        got = c.getresponse().read().decode()
    elif kind == 'bytes':
        for b in b'POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n' % n + body(n):
            c.sock.send(bytes([b])); time.sleep(0.0005)
        r = http.client.HTTPResponse(c.sock, method='POST'); r.begin(); got = r.read().decode()
    elif kind == 'slow':
        c.request('GET', '/a/%d' % n); r = c.getresponse(); h = hashlib.sha256()
        while part := r.read(100_000):
            h.update(part); time.sleep(0.01)
        got = h.hexdigest()
    elif kind == 'slow-post':
        c.request('POST', '/a/slow', body(n)); got = c.getresponse().read().decode()
    elif kind == 'drip-post':
        b = body(n); c.putrequest('POST', '/a'); c.putheader('Content-Length', str(n)); c.endheaders()
        for i in range(0, n, 50_000):
            c.send(b[i:i + 50_000]); time.sleep(0.01)
        got = c.getresponse().read().decode()
    assert got == want, (kind, n, got)
print('ok')
"#;

/// The echoing server in the place of pod a's nginx.
pub fn echo(stage: &mut Stage) -> Background {
    stage.python(0, &[SERVER])
}

fn program(vip: &str, kind: &str, sizes: &str) -> Command {
    let mut program = Command::new("python3");
    program.args(["-c", CLIENT, vip, kind, sizes]);
    program
}

/// The same, while something else happens: it ends with success when all is well.
pub fn talk_in_background(stage: &Stage, vip: &str, kind: &str, sizes: &str) -> Background {
    let talking = stage.client().spawn(program(vip, kind, sizes));
    talking.unwrap()
}

pub fn check(stage: &Stage, vip: &str, kind: &str, sizes: &str) {
    let mut program = program(vip, kind, sizes);
    let output = stage.client().output(&mut program).unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(
        said == "ok\n",
        "{kind} over {vip}: {said}\n{}",
        stage.report()
    );
}

#[test]
fn root_bodies_of_every_size_arrive_whole_both_ways() {
    for mtu in [1_500, 9_000] {
        let shape = Shape {
            mtu,
            ..Shape::default()
        };
        let mut stage = Stage::start("l7-bodies", &shape);
        let _server = echo(&mut stage);
        let sizes = "0,1,100,1400,1448,1460,14000,16384,65536,1000000,20000000";
        for vip in VIP {
            for kind in ["get", "post"] {
                check(&stage, vip, kind, sizes);
            }
            for kind in ["chunked-get", "chunked-post"] {
                check(&stage, vip, kind, "0,1,776,777,778,5000,300000");
            }
        }
        stage.wait_empty();
    }
}

#[test]
fn root_one_byte_a_segment_and_slow_readers_and_writers_lose_nothing() {
    let mut stage = Stage::start("l7-slow", &Shape::default());
    let _server = echo(&mut stage);
    for vip in VIP {
        check(&stage, vip, "bytes", "0,1,300");
        for kind in ["slow", "slow-post", "drip-post"] {
            check(&stage, vip, kind, "5000000");
        }
    }
    stage.wait_empty();
}
