//! Backends that die, in every state of a connection.

use crate::life::Talk;
use crate::stage::{Shape, Stage, VIP, urls};

/// Answers `/a/fine`; dies where the path says.
const MORTAL: &str = r#"
import os, socket, sys
when = sys.argv[1]
def die(): os.kill(os.getpid(), 9)
s = socket.socket(socket.AF_INET6)
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(('::', 8080)); s.listen(64)
while True:
    c, peer = s.accept()
    if peer[0] in ('::1', '::ffff:127.0.0.1'):
        c.close(); continue
    if when == 'accepted': die()
    while True:
        head = b''
        while b'\r\n\r\n' not in head:
            part = c.recv(4096)
            if not part: break
            head += part
        if not head: break
        if when == 'asked': die()
        if when == 'head':
            c.sendall(b'HTTP/1.1 200 OK\r\nContent-Le'); die()
        if when == 'body':
            c.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n' + b'x' * 50000); die()
        if when == 'chunk':
            c.sendall(b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n5\r\nhe'); die()
        c.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfine\n')
        if when == 'idle': die()
"#;

/// Where it dies, and what of an answer the client gets before its connection
/// ends: `None` = nothing.
const STATES: [(&str, Option<&str>); 6] = [
    ("accepted", None),
    ("asked", None),
    ("head", None),
    ("body", Some("x")),
    ("chunk", Some("hello")),
    ("idle", Some("fine\n")),
];

#[test]
fn root_a_backend_that_dies_ends_its_connections_and_no_flow_stays() {
    let mut stage = Stage::start("l7-dying", &Shape::default());
    for vip in VIP {
        for (when, expected) in STATES {
            let _server = stage.python(0, &[MORTAL, when]);
            let mut talk = Talk::open(&stage, vip);
            talk.send(b"GET /a/x HTTP/1.1\r\nHost: front\r\n\r\n");
            let said = talk.rest();
            let body = said.split_once("\r\n\r\n").map(|(_, body)| body);
            let right = match expected {
                None => body.is_none(),
                Some(part) => body.is_some_and(|body| body.contains(part)),
            };
            assert!(right, "{when}: {said:?}\n{}", stage.report());
        }
        // Nobody listens: refused before it was connected.
        let mut talk = Talk::open(&stage, vip);
        assert_eq!(talk.ask("/a/x").unwrap().0, 503, "{}", stage.report());
        let _server = stage.python(0, &[MORTAL, "never"]);
        let mut talk = Talk::open(&stage, vip);
        assert_eq!(talk.ask("/a/x").unwrap(), (200, "fine\n".into()));
        assert_eq!(talk.ask("/a/x").unwrap(), (200, "fine\n".into()));
    }
    stage.wait_empty();
}

#[test]
fn root_a_backend_that_cannot_be_reached_is_answered_for_with_504() {
    let stage = Stage::start("l7-unreached", &Shape::default());
    let far = stage.net.backend("far");
    // It takes the SYN, and never answers.
    far.ns.ip(["addr flush dev net0"]).unwrap();
    for url in urls("/far") {
        let form = ["-o", "/dev/null", "-w", "%{http_code}", &url];
        let (_, text) = stage.curl(&form);
        assert_eq!(text, "504", "{url}\n{}", stage.report());
    }
    stage.wait_empty();
}
