//! Segments that somebody else puts on the wire with the ports of a live connection:
//! they end nothing and no byte of theirs arrives.

use std::net::SocketAddr;

use terrace_testkit::{Agent, wait};

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
const STRIKES: [(&str, u8, &str); 10] = [
    ("SYN", 0x02, ""),
    ("SYN and ACK", 0x12, ""),
    ("RST", 0x04, ""),
    ("RST and ACK", 0x14, ""),
    ("FIN", 0x11, ""),
    ("no flag at all", 0x00, "x"),
    ("ACK", 0x10, ""),
    ("urgent", 0x38, "x"),
    ("a SYN after the RST", 0x02, ""),
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

/// Reads what is on the wire between two ends: whether it is from the first, flags,
/// numbers and payload's length of each segment since the last time.
const EYE: &str = r#"
import select
eye = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
def look(source, to):
    out, ends = [], [(socket.inet_pton(socket.AF_INET6 if ':' in a else socket.AF_INET, a), p) for a, p in (source, to)]
    while select.select([eye], [], [], 0)[0]:
        packet = eye.recv(70000)[14:]
        if packet[0] >> 4 == 6:
            proto, size, src, dst, l4 = packet[6], 40 + (packet[4] << 8 | packet[5]), packet[8:24], packet[24:40], 40
        else:
            proto, size, src, dst, l4 = packet[9], packet[2] << 8 | packet[3], packet[12:16], packet[16:20], (packet[0] & 15) * 4
        if proto != 6: continue
        p, q, seq, ack, off, flags = struct.unpack('!HHIIBB', packet[l4:l4 + 14])
        way = [(src, p), (dst, q)]
        if sorted(way) == sorted(ends):
            out.append([way == ends, flags, seq, ack, size - l4 - (off >> 4) * 4])
    return out
"#;

struct Stranger(Agent);

/// A segment as it was seen.
#[derive(Debug, Clone, Copy, serde::Deserialize)]
struct Seen(bool, u8, u32, u32, u32);

fn end(end: SocketAddr) -> String {
    format!("('{}', {})", end.ip(), end.port())
}

impl Stranger {
    fn send(&mut self, [from, to]: [SocketAddr; 2], flags: u8, seq: u32, ack: u32) {
        let (from, to) = (end(from), end(to));
        let sent = self
            .0
            .run(&format!("send({from}, {to}, {flags}, {seq}, {ack}, b'')"));
        assert_eq!(sent, "null", "{flags:#x}");
    }

    /// What passed between the two since the last look.
    fn look(&mut self, [from, to]: [SocketAddr; 2]) -> Vec<Seen> {
        let (from, to) = (end(from), end(to));
        let seen = self.0.run(&format!("result = look({from}, {to})"));
        serde_json::from_str(&seen).unwrap_or_else(|e| panic!("{e}: {seen}"))
    }

    /// The numbers of the client's next byte, and of the service's.
    fn numbers(&mut self, ends: [SocketAddr; 2]) -> (u32, u32) {
        let seen = self.look(ends);
        let next = |from: bool| {
            let last = seen.iter().rev().find(|seen| seen.0 == from)?;
            let syn = u32::from(last.1 & 0x02 != 0);
            Some(last.2.wrapping_add(last.4 + syn))
        };
        let numbers = next(true).zip(next(false));
        numbers.unwrap_or_else(|| panic!("{seen:?}"))
    }

    fn strike(&mut self, from: SocketAddr, to: SocketAddr, strike: &(&str, u8, &str)) {
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
    assert_eq!(agent.run(EYE), "null");
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

const RST: u8 = 0x04;
const ACK: u8 = 0x10;
/// Behind the next byte, inside every window.
const OFF: u32 = 1_000;

/// RST beside the number, then RST at it.
fn reset_beside_and_at(stage: &Stage, beside: &mut Stranger, vip: &str, asks: bool) {
    let _ = beside.0.run("look(('10.0.0.1', 1), ('10.0.0.1', 1))");
    let mut talk = Talk::open(stage, vip);
    if asks {
        assert_eq!(talk.ask("/a").unwrap(), (200, "a\n".into()));
    }
    let ends = talk.ends();
    let (seq, ack) = beside.numbers(ends);
    let before = stage.counted(&["terrace_l7_challenges_total"]);
    beside.send(ends, RST, seq.wrapping_add(OFF), ack);
    let challenge = wait::until("a challenge on the wire", wait::PATIENCE, || {
        let seen = beside.look(ends).into_iter();
        let mut asking = seen.filter(|seen| !seen.0 && (seen.1, seen.4) == (ACK, 0));
        asking.find(|seen| seen.3 == seq)
    });
    assert!(challenge.is_ok(), "{vip}: {}", stage.report());
    stage.wait_counted(&["terrace_l7_challenges_total"], before + 1);
    assert_eq!(talk.ask("/a").unwrap(), (200, "a\n".into()), "{vip}");
    let (seq, ack) = beside.numbers(ends);
    beside.send(ends, RST, seq, ack);
    stage.wait_empty();
    assert!(talk.ask("/a").is_err(), "{vip}: the exact number ends it");
}

#[test]
fn root_a_reset_beside_the_number_is_challenged_on_the_wire_and_one_at_it_ends() {
    for (label, config) in [("l7-rst", ""), ("l7-rst-up", "[l7]\nin_kernel = false")] {
        let shape = Shape {
            config,
            ..Shape::default()
        };
        let stage = Stage::start(label, &shape);
        let mut beside = stranger(stage.client());
        for vip in VIP {
            reset_beside_and_at(&stage, &mut beside, vip, true);
            reset_beside_and_at(&stage, &mut beside, vip, false);
        }
        let before = stage.counted(&["terrace_l7_strays_total"]);
        let mut talk = Talk::open(&stage, VIP[0]);
        assert_eq!(talk.ask("/a").unwrap(), (200, "a\n".into()));
        let ends = talk.ends();
        let (seq, ack) = beside.numbers(ends);
        beside.send(ends, RST, seq.wrapping_add(0x4000_0000), ack);
        stage.wait_counted(&["terrace_l7_strays_total"], before + 1);
        assert_eq!(talk.ask("/a").unwrap(), (200, "a\n".into()));
    }
}
