//! What backends get: heads that filters have changed, tunnels, and requests
//! that wait for `100 Continue`.

use crate::life::Talk;
use crate::stage::{Shape, Stage, VIP, route, urls};

/// Says in its answer what it was asked. `/b/ws` and CONNECT become a tunnel
/// that says everything twice.
const MIRROR: &str = r#"
import socket
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
class Handler(BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'
    def log_message(self, *_): pass
    def tell(self):
        body = self.rfile.read(int(self.headers.get('Content-Length', 0))).decode()
        out = (self.requestline + '\n' + str(self.headers).strip() + '\n\n' + body).encode()
        self.send_response(200); self.send_header('Content-Length', str(len(out))); self.end_headers()
        self.wfile.write(out)
    def tunnel(self, status):
        self.send_response(status)
        if status == 101:
            self.send_header('Upgrade', 'websocket'); self.send_header('Connection', 'Upgrade')
        self.end_headers(); self.wfile.flush()
        while part := self.connection.recv(4096):
            self.connection.sendall(part * 2)
        self.close_connection = True
    def do_GET(self):
        self.tunnel(101) if self.headers.get('Upgrade') else self.tell()
    def do_CONNECT(self): self.tunnel(200)
    do_POST = tell
class Server(ThreadingHTTPServer):
    address_family = socket.AF_INET6
Server(('::', 8080), Handler).serve_forever()
"#;

const RULES: &str = r#"    - matches: [{ path: { type: PathPrefix, value: /fields } }]
      filters:
        - type: RequestHeaderModifier
          requestHeaderModifier:
            set: [{ name: X-Set, value: ours }]
            add: [{ name: X-Add, value: ours }]
            remove: [X-Secret]
      backendRefs: [{ name: b, port: 80 }]
    - matches: [{ path: { type: PathPrefix, value: /prefix } }]
      filters:
        - { type: URLRewrite, urlRewrite: { hostname: inner.example, path: { type: ReplacePrefixMatch, replacePrefixMatch: /b/deep } } }
      backendRefs: [{ name: b, port: 80 }]
    - matches: [{ path: { type: PathPrefix, value: /whole } }]
      filters:
        - { type: URLRewrite, urlRewrite: { path: { type: ReplaceFullPath, replaceFullPath: /one } } }
      backendRefs: [{ name: b, port: 80 }]
    - matches: [{ path: { type: PathPrefix, value: /moved } }]
      filters:
        - type: RequestRedirect
          requestRedirect: { scheme: https, port: 8443, statusCode: 301, path: { type: ReplacePrefixMatch, replacePrefixMatch: /new } }
    - matches: [{ path: { type: PathPrefix, value: /ws }, headers: [{ name: Upgrade, value: websocket }] }]
      backendRefs: [{ name: b, port: 80 }]
    - matches:
        - { path: { type: PathPrefix, value: /either }, headers: [{ name: Upgrade, value: websocket }] }
        - { path: { type: PathPrefix, value: /either } }
      backendRefs: [{ name: b, port: 80 }]
    - matches: [{ method: CONNECT }]
      backendRefs: [{ name: b, port: 80 }]
    - matches: [{ path: { type: PathPrefix, value: / } }]
      backendRefs: [{ name: b, port: 80 }]
"#;

/// What is asked, and lines that the backend must have got, and must not.
type Row<'r> = (&'r str, &'r [&'r str], &'r [&'r str], &'r [&'r str]);

const ROWS: &[Row<'_>] = &[
    (
        "/fields/x?a=1",
        &["X-Set: theirs", "x-add: theirs", "X-Secret: s", "X-Keep: k"],
        &[
            "GET /fields/x?a=1 HTTP/1.1",
            "X-Set: ours",
            "X-Add: ours",
            "x-add: theirs",
            "X-Keep: k",
        ],
        &["X-Set: theirs", "X-Secret: s"],
    ),
    (
        "/prefix/x?a=1",
        &[],
        &["GET /b/deep/x?a=1 HTTP/1.1", "Host: inner.example"],
        &["Host: front"],
    ),
    ("/prefix", &[], &["GET /b/deep HTTP/1.1"], &[]),
    ("/whole/x?a=1", &[], &["GET /one?a=1 HTTP/1.1"], &[]),
    (
        "/plain?q",
        &["X-Keep: k"],
        &["GET /plain?q HTTP/1.1", "X-Keep: k"],
        &["X-Set: ours"],
    ),
];

#[test]
fn root_backends_get_what_filters_made_of_a_request() {
    let mut stage = Stage::start("l7-mirror", &Shape::default());
    let _server = stage.python(1, &[MIRROR]);
    stage.change("routes.yaml", &route(RULES));
    for (path, fields, has, has_not) in ROWS {
        for url in urls(path) {
            let mut args = vec![];
            fields.iter().for_each(|field| args.extend(["-H", field]));
            // Twice on one connection: the second head meets a bound flow.
            args.extend(["-H", "Host: front", &url, &url]);
            let (_, text) = stage.curl(&args);
            let count = |line: &str| text.lines().filter(|got| got.trim_end() == line).count();
            for line in *has {
                assert_eq!(count(line), 2, "{url}: {line}: {text}\n{}", stage.report());
            }
            for line in *has_not {
                assert_eq!(count(line), 0, "{url}: {line}: {text}");
            }
        }
    }
    let [url, _] = urls("/moved/x?y=1");
    let form = [
        "-o",
        "/dev/null",
        "-w",
        "%{http_code} %{redirect_url}",
        &url,
    ];
    let (_, text) = stage.curl(&form);
    assert_eq!(text, format!("301 https://{}:8443/new/x?y=1", VIP[0]));
    bodies_go_with_changed_heads(&stage);
    stage.wait_empty();
}

/// The body's numbers are moved by what the head's length has changed.
fn bodies_go_with_changed_heads(stage: &Stage) {
    let body = "z".repeat(200_000);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("body");
    std::fs::write(&file, &body).unwrap();
    let data = format!("@{}", file.display());
    for url in urls("/prefix/body") {
        for expect in ["Expect:", "Expect: 100-continue"] {
            let (_, text) = stage.curl(&["-H", expect, "--data-binary", &data, &url]);
            assert!(
                text.starts_with("POST /b/deep/body HTTP/1.1"),
                "{expect}: {text:.200}"
            );
            assert!(
                text.ends_with(&format!("\n\n{body}")),
                "{expect}: {}",
                text.len()
            );
        }
    }
}

#[test]
fn root_tunnels_open_where_the_route_names_them_and_a_client_waits_for_100() {
    let mut stage = Stage::start("l7-tunnels", &Shape::default());
    let _server = stage.python(1, &[MIRROR]);
    stage.change("routes.yaml", &route(RULES));
    let to = |path, protocol| {
        format!(
            "GET {path} HTTP/1.1\r\nHost: front\r\nConnection: Upgrade\r\nUpgrade: {protocol}\r\n\r\n"
        )
    };
    let upgrade = |path| to(path, "websocket");
    let rows = [
        (upgrade("/ws"), "HTTP/1.1 101 "),
        (upgrade("/either"), "HTTP/1.1 101 "),
        // The same rule, by the match that does not speak of it.
        (to("/either", "another"), "HTTP/1.1 403 "),
        (
            "CONNECT front:80 HTTP/1.1\r\nHost: front:80\r\n\r\n".to_owned(),
            "HTTP/1.1 200 ",
        ),
        (upgrade("/plain"), "HTTP/1.1 403 "),
    ];
    for vip in VIP {
        for (request, expected) in &rows {
            let mut talk = Talk::open(&stage, vip);
            talk.send(request.as_bytes());
            let said = talk.some();
            assert!(
                said.starts_with(expected),
                "{request}: {said}\n{}",
                stage.report()
            );
            if *expected == "HTTP/1.1 403 " {
                continue;
            }
            // Not a request: nobody looks at it any more.
            for part in ["\0\r\n\r\n", "GET /denied HTTP/1.1\r\n\r\n"] {
                talk.send(part.as_bytes());
                let mut got = String::new();
                while got.len() < 2 * part.len() {
                    got += &talk.some();
                }
                assert_eq!(got, part.repeat(2), "{request}");
            }
        }
        let mut talk = Talk::open(&stage, vip);
        talk.send(b"POST /plain HTTP/1.1\r\nHost: front\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n");
        assert!(
            talk.some().starts_with("HTTP/1.1 100 "),
            "{}",
            stage.report()
        );
        talk.send(b"body");
        let (status, text) = talk.answer().unwrap();
        assert!(
            status == 200 && text.ends_with("\n\nbody"),
            "{status} {text}"
        );
        assert_eq!(talk.ask("/plain").unwrap().0, 200, "the connection goes on");
    }
    stage.wait_empty();
}
