//! Full tables and missing backends.

use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use terrace_testkit::tcp::{Echo, Pulse};

use crate::manifests;
use crate::stage::{SERVICE, Shape, Stage, vips};

const QUICK: Duration = Duration::from_secs(3);

#[test]
fn root_a_full_flow_table_refuses_new_flows_and_keeps_the_old() {
    let shape = Shape {
        config: "[limits]\nflows = 64\n",
        ..Shape::default()
    };
    let stage = Stage::start("full", &shape);
    let client = &stage.net.client("client").ns;
    let to = vips(SERVICE)[0];
    let kept = Pulse::start(client, to, 4).expect("the first connections");
    kept.wait_rounds(10).expect("established");
    let mut opened = Vec::new();
    for _ in 0..60 {
        match terrace_testkit::http::Connection::open_within(client, to, Duration::from_millis(300))
        {
            Ok(stream) => opened.push(stream),
            Err(_) => break,
        }
    }
    assert!(stage.count("flows_full") > 0, "{}", stage.report());
    kept.wait_rounds(40)
        .unwrap_or_else(|error| panic!("{error}\n{}", stage.report()));
    println!("{} more connections fitted, then none", opened.len());
    kept.finish().expect("nothing established is lost");
}

fn connect(stage: &Stage, to: SocketAddr) -> std::io::Result<TcpStream> {
    stage
        .net
        .client("client")
        .ns
        .enter(|| TcpStream::connect_timeout(&to, QUICK))
        .expect("the namespace")
}

#[test]
fn root_a_service_without_backends_refuses_at_once() {
    let stage = Stage::start("nobackend", &Shape::default());
    stage.change("echo-slices.yaml", &manifests::slices("echo", &[]));
    for to in vips(SERVICE) {
        let error = connect(&stage, to).expect_err("nobody can answer");
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused, "{to}");
    }
    for to in vips(4444) {
        let error = connect(&stage, to).expect_err("no such port");
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionRefused, "{to}");
    }
    for to in vips(SERVICE + 1) {
        let mut client = terrace_testkit::udp::Client::open(&stage.net.client("client").ns, to)
            .expect("a socket");
        let error = client.ask(100, QUICK).expect_err("nobody can answer");
        assert!(error.to_string().contains("refused"), "{to}: {error}");
    }
    assert!(stage.count("no_backend_reset") > 0, "{}", stage.report());
    assert!(stage.count("no_backend_reject") > 0, "{}", stage.report());
    assert!(stage.count("no_service_reset") > 0, "{}", stage.report());
    let all = stage.behind_echo();
    stage.change("echo-slices.yaml", &manifests::slices("echo", &all));
    Echo::open(&stage.net.client("client").ns, vips(SERVICE)[0]).expect("served again");
}
