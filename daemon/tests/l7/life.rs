//! The daemon comes, changes and goes while connections live.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use terrace_testkit::wait;

use crate::stage::{Shape, Stage, VIP, routes};

const PATIENCE: Duration = Duration::from_secs(30);

/// A keep-alive connection of the client to the front.
pub struct Talk(TcpStream);

impl Talk {
    pub fn open(stage: &Stage, vip: &str) -> Self {
        let to: SocketAddr = match vip.contains(':') {
            true => format!("[{vip}]:80"),
            false => format!("{vip}:80"),
        }
        .parse()
        .expect("an address");
        let connect = || TcpStream::connect_timeout(&to, PATIENCE);
        let stream = stage.client().enter(connect).expect("the namespace");
        let stream = stream.expect("a connection");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        Self(stream)
    }

    /// This end and the other one.
    pub fn ends(&self) -> [SocketAddr; 2] {
        let ends = [self.0.local_addr(), self.0.peer_addr()];
        ends.map(|end| end.expect("a connection"))
    }

    /// Status and body; an error when the connection ends.
    pub fn ask(&mut self, path: &str) -> std::io::Result<(u16, String)> {
        let head = format!("GET {path} HTTP/1.1\r\nHost: front\r\n\r\n");
        self.0.write_all(head.as_bytes())?;
        self.answer()
    }

    pub fn answer(&mut self) -> std::io::Result<(u16, String)> {
        let mut bytes = Vec::new();
        let mut part = [0; 4096];
        loop {
            let n = wait::whole(|| self.0.read(&mut part))?;
            if n == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            bytes.extend_from_slice(&part[..n]);
            let text = String::from_utf8_lossy(&bytes);
            let Some((head, body)) = text.split_once("\r\n\r\n") else {
                continue;
            };
            let length = head.lines().find_map(|line| {
                let (name, value) = line.split_once(": ")?;
                name.eq_ignore_ascii_case("content-length")
                    .then(|| value.parse::<usize>().ok())?
            });
            if body.len() >= length.unwrap_or(0) {
                let status = head.split(' ').nth(1).and_then(|word| word.parse().ok());
                return Ok((status.unwrap_or(0), body.to_owned()));
            }
        }
    }

    /// Everything that comes until the connection ends, in whatever way.
    pub fn rest(&mut self) -> String {
        let (mut bytes, mut part) = (Vec::new(), [0; 4096]);
        while let Ok(n @ 1..) = wait::whole(|| self.0.read(&mut part)) {
            bytes.extend_from_slice(&part[..n]);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The next bytes that come.
    pub fn some(&mut self) -> String {
        let mut part = [0; 4096];
        let n = wait::whole(|| self.0.read(&mut part)).expect("more bytes");
        String::from_utf8_lossy(&part[..n]).into_owned()
    }

    pub fn be_patient_for(&self, time: Duration) {
        self.0.set_read_timeout(Some(time)).expect("a timeout");
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).expect("sent");
    }
}

#[test]
fn root_the_next_request_on_a_live_connection_obeys_changed_routes() {
    let stage = Stage::start("l7-change", &Shape::default());
    for vip in VIP {
        stage.change("routes.yaml", &routes(&[("/a", "a"), ("/b", "b")]));
        let mut talk = Talk::open(&stage, vip);
        assert_eq!(talk.ask("/a").unwrap(), (200, "a\n".into()));
        assert_eq!(
            talk.ask("/b").unwrap(),
            (200, "b\n".into()),
            "other backend"
        );
        stage.change("routes.yaml", &routes(&[("/a", "far")]));
        assert_eq!(talk.ask("/a").unwrap(), (200, "far\n".into()));
        assert_eq!(talk.ask("/b").unwrap().0, 404, "{}", stage.report());
    }
}

#[test]
fn root_workers_come_back_after_a_killed_daemon_and_unknown_flows_are_reset() {
    let mut stage = Stage::start("l7-kill", &Shape::default());
    let mut talk = Talk::open(&stage, VIP[0]);
    assert_eq!(talk.ask("/a").unwrap(), (200, "a\n".into()));
    stage.kill();
    stage.run();
    let ended = talk.ask("/a");
    assert!(ended.is_err(), "nobody knows what was inspected: {ended:?}");
    let mut again = Talk::open(&stage, VIP[0]);
    assert_eq!(
        again.ask("/b").unwrap(),
        (200, "b\n".into()),
        "{}",
        stage.report()
    );
}

#[test]
fn root_a_spliced_download_goes_on_while_no_daemon_runs() {
    let mut stage = Stage::start("l7-alone", &Shape::default());
    let size = 64 << 20;
    let big: Vec<u8> = (0..size).map(|i: u32| (i >> 3) as u8).collect();
    stage.servers[0].add_file("big", &big).unwrap();
    stage.change("routes.yaml", &routes(&[("/files", "a")]));
    let mut talk = Talk::open(&stage, VIP[0]);
    talk.send(b"GET /files/big HTTP/1.1\r\nHost: front\r\n\r\n");
    // The answer has begun: the flow is spliced.
    let mut first = [0; 1000];
    talk.0.read_exact(&mut first).unwrap();
    stage.kill();
    let mut rest = Vec::new();
    let mut part = vec![0; 1 << 16];
    let head_end = first.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
    let left = head_end + big.len() - first.len();
    while rest.len() < left {
        let n = wait::whole(|| talk.0.read(&mut part)).expect("the splice goes on");
        assert!(n > 0, "cut at {}", rest.len());
        rest.extend_from_slice(&part[..n]);
    }
    let body = [&first[head_end..], &rest].concat();
    assert!(body == big, "other bytes");
    stage.run();
}

#[test]
fn root_stopping_and_detaching_leaves_no_port() {
    let mut stage = Stage::start("l7-detach", &Shape::default());
    let there = |stage: &Stage| {
        let links = stage.net.host.run("ip", &["link"]).unwrap();
        links.contains("terrace-l7x@")
    };
    wait::until("the port", PATIENCE, || there(&stage).then_some(())).unwrap();
    stage.stop();
    assert!(there(&stage), "a stop leaves forwarding");
    let (done, text) = stage.terrace(&["detach", "--yes"]);
    assert!(done, "{text}");
    assert!(!there(&stage), "{text}");
}
