//! Source ports of connections from remote clients to remote backends.

use terrace_testkit::Agent;

use crate::stage::{Shape, Stage, VIP, routes};

/// As many as the range has at the least.
const PORTS: usize = 1_024;

/// Answers whoever asks, on as many connections as come, and does not end one.
const PATIENT: &str = r#"
import asyncio, resource, socket
resource.setrlimit(resource.RLIMIT_NOFILE, (8192, 8192))
async def serve(reader, writer):
    try:
        while await reader.readuntil(b'\r\n\r\n'):
            writer.write(b'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'); await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError): pass
    writer.close()
async def main():
    both = socket.create_server(('::', 8080), family=socket.AF_INET6, backlog=4096, dualstack_ipv6=True)
    server = await asyncio.start_server(serve, sock=both)
    await server.serve_forever()
asyncio.run(main())
"#;

const CLIENT: &str = r#"
import resource, time
resource.setrlimit(resource.RLIMIT_NOFILE, (8192, 8192))
def ask(s):
    s.sendall(b'GET /far HTTP/1.1\r\nHost: front\r\n\r\n')
    return int(s.recv(4096).split(b' ')[1])
def call(to):
    s = socket.create_connection((to, 80), 60)
    return s, ask(s)
def again(to, seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        s, status = call(to)
        if status == 200: return status
        s.close(); time.sleep(0.2)
    return status
"#;

#[test]
fn root_each_port_of_the_range_serves_and_with_none_left_the_answer_is_503() {
    let shape = Shape {
        config: "[l7]\nworkers = 1\nsource_ports = \"30000-31023\"",
        ..Shape::default()
    };
    let mut stage = Stage::start("l7-ports", &shape);
    stage.change("routes.yaml", &routes(&[("/far", "far")]));
    let _server = stage.python(2, &[PATIENT]);
    let mut client = Agent::start(stage.client(), None).unwrap();
    assert_eq!(client.run(CLIENT), "null");
    for vip in VIP {
        let opened = client.run(&format!(
            "all = [call('{vip}') for _ in range({PORTS})]; result = [s for _, s in all].count(200)"
        ));
        assert_eq!(opened, PORTS.to_string(), "{}", stage.report());
        let more = client.run(&format!("result = call('{vip}')[1]"));
        assert_eq!(more, "503", "{}", stage.report());
        // Those that live are not touched.
        let asked = client.run("result = [ask(s) for s, _ in all].count(200)");
        assert_eq!(asked, PORTS.to_string(), "{}", stage.report());
        let again = client.run(&format!(
            "all.pop()[0].close(); result = again('{vip}', 120)"
        ));
        assert_eq!(again, "200", "{}", stage.report());
        assert_eq!(client.run("[s.close() for s, _ in all]; all = []"), "null");
        stage.wait_empty();
    }
    let refused = stage.counted(&["terrace_l7_bounded_total{", "limit=\"source_ports\""]);
    assert!(refused >= 2, "{}", stage.metrics());
}
