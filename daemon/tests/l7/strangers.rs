//! Segments that somebody else puts on the wire with the ports of a live connection:
//! they end nothing and no byte of theirs arrives.

use std::net::SocketAddr;

use terrace_testkit::Agent;

use crate::life::Talk;
use crate::stage::{Shape, Stage, VIP};

const SENDER: &str = r#"
import socket, struct
def send(source, to, flags, seq, ack, data):
    (a, p), (b, q) = source, to
    family = socket.AF_INET6 if ':' in a else socket.AF_INET
    ends = socket.inet_pton(family, a) + socket.inet_pton(family, b)
    def segment(check):
        urgent = 1 if flags & 0x20 else 0
        head = struct.pack('!HHIIBBHHH', p, q, seq, ack, 5 << 4, flags, 8192, check, urgent)
        return head + data
    size = len(segment(0))
    tail = struct.pack('!IHBB', size, 0, 0, 6) if ':' in a else struct.pack('!BBH', 0, 6, size)
    whole = ends + tail + segment(0)
    whole += b'\0' * (len(whole) % 2)
    total = sum(struct.unpack('!%dH' % (len(whole) // 2), whole))
    while total >> 16: total = (total & 0xffff) + (total >> 16)
    with socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_TCP) as raw:
        raw.bind((a, 0))
        raw.sendto(segment(~total & 0xffff), (b, 0))
"#;

/// What is sent, its flags and payload.
const STRIKES: [(&str, u8, &str); 9] = [
    ("SYN", 0x02, ""),
    ("SYN and ACK", 0x12, ""),
    ("RST", 0x04, ""),
    ("RST and ACK", 0x14, ""),
    ("FIN", 0x11, ""),
    ("no flag at all", 0x00, "x"),
    ("ACK", 0x10, ""),
    ("urgent", 0x38, "x"),
    (
        "a request",
        0x18,
        "GET /b HTTP/1.1\\r\\nHost: front\\r\\n\\r\\n",
    ),
];
/// Sequence numbers and acknowledgements, far from each other: few can be within a window.
const NUMBERS: [(u32, u32); 4] = [
    (0x1000_0000, 0x2000_0000),
    (0x5000_0000, 0xa000_0000),
    (0x9000_0000, 0x6000_0000),
    (0xd000_0000, 0xe000_0000),
];

struct Stranger(Agent);

impl Stranger {
    fn strike(&mut self, from: SocketAddr, to: SocketAddr, strike: &(&str, u8, &str)) {
        let end = |end: SocketAddr| format!("('{}', {})", end.ip(), end.port());
        for (seq, ack) in NUMBERS {
            let (from, to) = (end(from), end(to));
            let (_, flags, data) = strike;
            let sent = self.0.run(&format!(
                "send({from}, {to}, {flags}, {seq}, {ack}, b'{data}')"
            ));
            assert_eq!(sent, "null", "{strike:?}");
        }
    }
}

fn stranger(ns: &terrace_testkit::Netns) -> Stranger {
    let mut agent = Agent::start(ns, None).unwrap();
    assert_eq!(agent.run(SENDER), "null");
    Stranger(agent)
}

fn all_struck(label: &str, config: &'static str) {
    let shape = Shape {
        config,
        ..Shape::default()
    };
    let stage = Stage::start(label, &shape);
    let mut beside = stranger(stage.client());
    for vip in VIP {
        let mut talk = Talk::open(&stage, vip);
        assert_eq!(talk.ask("/a").unwrap(), (200, "a\n".into()));
        let [from, to] = talk.ends();
        for strike in &STRIKES {
            beside.strike(from, to, strike);
            let answer = talk.ask("/a");
            let answer = answer.unwrap_or_else(|e| panic!("{strike:?}: {e}\n{}", stage.report()));
            assert_eq!(answer, (200, "a\n".into()), "{strike:?}");
        }
        println!("{vip}: {} kinds of segments ended nothing", STRIKES.len());
    }
    stage.wait_empty();
}

#[test]
fn root_segments_of_others_end_no_connection_whose_requests_pass_in_the_kernel() {
    all_struck("l7-strangers", "");
}

#[test]
fn root_segments_of_others_end_no_connection_whose_requests_a_worker_reads() {
    all_struck("l7-strange", "[l7]\nin_kernel = false");
}
