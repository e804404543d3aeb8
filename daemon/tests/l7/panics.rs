//! Workers whose rules panic, and packets that come to another worker's queue:
//! the tier alone, with a hand on tc's end of its port.

use std::sync::{Arc, Mutex};

use terrace::config;
use terrace::l7::Wait;
use terrace::l7::host::{Choices, Listener};
use terrace::l7::tier::Tier;
use terrace::l7::worker::{Judge, Maker};
use terrace_abi::consts::{L7_MAGIC, L7_NO_NUMBER, L7_UP};
use terrace_abi::types::l7_frame;
use terrace_abi::{Limits, Maps, Plain as _};
use terrace_l7::flow::{Backend, Decision, Event, Forward, Offer, Parties, Services, Token};
use terrace_l7::http::Request;
use terrace_l7::rules::{HeadWriter, NoRoom, Scratch};
use terrace_l7::tcp::{Endpoint, Segment, flags, wire};
use terrace_testkit::{Agent, Netns, PinRoot, wait};

pub fn endpoint(text: &str) -> Endpoint {
    text.parse::<std::net::SocketAddr>().unwrap().into()
}

/// Everything goes to one server; `/panic` panics.
pub struct Rules {
    /// While somebody else holds it, the worker stands still.
    pub gate: Arc<Mutex<()>>,
}

impl Services for Rules {
    fn offer(&self, _: Endpoint) -> Option<Offer> {
        Some(Offer {
            mss: 1_460,
            window: 15_000,
            scale: 0,
            sack: false,
            timestamps: false,
        })
    }

    fn decide(
        &mut self,
        parties: &Parties,
        request: &Request<'_, '_>,
        _: Option<&Backend>,
        _: &mut Scratch,
    ) -> Decision {
        assert_ne!(request.target.path, "/panic", "as the test wants it");
        Decision::Forward(Forward {
            backend: Backend {
                server: endpoint("10.0.1.1:8080"),
                source: parties.client,
            },
            rewrite: None,
            tunnel: false,
            timeout_ms: 0,
            heads: Default::default(),
            copies: Default::default(),
        })
    }

    fn write(&self, _: Token, _: &Request<'_, '_>, _: &mut HeadWriter<'_>) -> Result<(), NoRoom> {
        Ok(())
    }
}

impl Judge for Rules {
    fn refresh(&mut self) {
        drop(self.gate.lock().unwrap());
    }
}

pub struct Deaf;

impl Listener for Deaf {
    fn event(&mut self, _: &Parties, _: Event) {}
}

#[derive(Default)]
pub struct Plain {
    pub gate: Arc<Mutex<()>>,
}

impl Maker for Plain {
    type Judge = Rules;
    type Listener = Deaf;

    fn make(&mut self, _: &Choices) -> (Rules, Deaf) {
        let gate = self.gate.clone();
        (Rules { gate }, Deaf)
    }
}

pub const OPEN: &str = "
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3))
s.bind(('terrace-l7', 3))
s.settimeout(10)
def hear():
    while True:
        got, about = s.recvfrom(9000)
        if about[2] != 4 and got[0] == 0x6e:
            return got.hex()
";

/// tc's end of the port: what is sent there comes to the workers.
pub struct Hand(pub Agent);

/// Flags, numbers and payload of what a worker sent.
pub type Heard = (u8, u32, u32, Vec<u8>);

impl Hand {
    pub fn send(&mut self, queue: u32, number: u32, segment: &Segment<'_>) {
        let frame = l7_frame {
            magic: L7_MAGIC as u8,
            kind: L7_UP as u8,
            queue: queue as u16,
            number: [number as u16, (number >> 16) as u16],
            proto: 0x0800u16.to_be(),
            ..Default::default()
        };
        let mut packet = vec![0; wire::MAX_HEADERS + segment.payload.len()];
        let len = wire::write(segment, &mut packet);
        let bytes = [frame.as_bytes(), &packet[..len]].concat();
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let sent = self.0.run(&format!("s.send(bytes.fromhex('{hex}'))"));
        assert_eq!(sent, "null");
    }

    pub fn hear(&mut self) -> Heard {
        self.hears().expect("a segment within ten seconds")
    }

    /// `None` when nothing comes for a while.
    pub fn hears(&mut self) -> Option<Heard> {
        let hex = self.0.run("result = hear()");
        let hex = hex.trim_matches('"');
        if hex == "!TimeoutError" {
            return None;
        }
        let bytes = (0..hex.len() / 2).map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16));
        let bytes: Vec<u8> = bytes
            .collect::<Result<_, _>>()
            .unwrap_or_else(|_| panic!("{hex}"));
        let segment = wire::parse(&bytes[14..]).unwrap();
        let payload = segment.payload.to_vec();
        Some((segment.flags, segment.seq, segment.ack, payload))
    }

    /// A client's connection up to its request.
    fn ask(&mut self, queue: u32, port: u16, path: &str) {
        let from_client = |seq, ack, flags, payload| Segment {
            src: Endpoint {
                port,
                ..endpoint("10.0.0.1:1")
            },
            dst: endpoint("10.96.0.1:80"),
            seq,
            ack,
            flags,
            window: 60_000,
            payload,
            ..Segment::default()
        };
        self.send(queue, L7_NO_NUMBER, &from_client(100, 0, flags::SYN, b""));
        let (is, seq, ack, _) = self.hear();
        assert_eq!((is, ack), (flags::SYN | flags::ACK, 101));
        let head = format!("GET {path} HTTP/1.1\r\nHost: h\r\n\r\n");
        let request = from_client(101, seq + 1, flags::ACK, head.as_bytes());
        self.send(queue, L7_NO_NUMBER, &request);
    }

    /// The same, and the server takes it.
    pub fn bind(&mut self, queue: u32, port: u16) {
        self.ask(queue, port, "/fine");
        let (is, seq, ..) = self.hear();
        assert_eq!((is, seq), (flags::SYN, 100), "a SYN to the server");
        let answer = Segment {
            src: endpoint("10.0.1.1:8080"),
            dst: Endpoint {
                port,
                ..endpoint("10.0.0.1:1")
            },
            seq: 7_000,
            ack: 101,
            flags: flags::SYN | flags::ACK,
            window: 60_000,
            ..Segment::default()
        };
        self.send(queue, L7_NO_NUMBER, &answer);
        let (.., payload) = self.hear();
        assert!(payload.starts_with(b"GET /fine "), "{payload:?}");
    }
}

/// Two workers with little memory.
pub fn two_workers() -> config::L7 {
    config::L7 {
        workers: 2,
        frames: 256,
        buffers: 64,
        wait: Wait::Poll,
        ..config::L7::default()
    }
}

#[test]
fn root_a_panic_ends_what_no_splice_carries_and_packets_find_their_worker() {
    let ns = Netns::new("l7-panics").unwrap();
    let root = PinRoot::new().unwrap();
    let maps = Maps::open(root.path(), &Limits::small()).unwrap();
    let settings = two_workers();
    let tier = ns
        .enter(|| Tier::start(&maps, &settings, 1_500, |_| Plain::default()))
        .unwrap()
        .unwrap();
    let mut hand = Hand(Agent::start(&ns, None).unwrap());
    assert_eq!(hand.0.run(OPEN), "null");
    // The kernel chooses a queue by its own hash: some are the other one's.
    for port in 4_000..4_008 {
        (0..2).for_each(|queue| hand.bind(queue, port + 100 * queue as u16));
    }
    let count =
        |of: fn(&terrace::l7::Stats) -> u64| tier.workers.iter().map(|w| of(w)).collect::<Vec<_>>();
    let flows = || {
        wait::until("flows", wait::PATIENCE, || {
            (count(|stats| stats.flows.get()) == [8, 8]).then_some(())
        })
    };
    assert!(flows().is_ok(), "{:?}", count(|stats| stats.flows.get()));
    let over = count(|stats| stats.handed_over.get());
    assert!(
        over.iter().sum::<u64>() > 0,
        "{over:?}: nothing was handed over"
    );
    hand.ask(0, 4_500, "/panic");
    let orphans = wait::until("orphans", wait::PATIENCE, || {
        (count(|stats| stats.orphans.get()) == [8, 0]).then_some(())
    });
    assert!(orphans.is_ok(), "{:?}", count(|stats| stats.orphans.get()));
    assert_eq!(count(|stats| stats.panics.get()), [1, 0]);
    let tables = maps.l7_tables().unwrap();
    let spliced = (0..tables.flows()).filter(|number| tables.splice(*number).server_port != 0);
    let spliced: Vec<u32> = spliced.collect();
    assert_eq!(spliced.len(), 16, "what was spliced goes on");
    hand.bind(0, 4_600);
    hand.bind(1, 4_700);
    // The next request of an orphan: nobody knows what was inspected.
    let next = Segment {
        flags: flags::ACK,
        payload: b"GET /next HTTP/1.1\r\n\r\n",
        window: 100,
        ..Segment::default()
    };
    hand.send(0, spliced[0], &next);
    let [first, second] = [hand.hear().0, hand.hear().0];
    assert_eq!(
        [first, second],
        [flags::RST | flags::ACK; 2],
        "to both ends"
    );
    assert_eq!(tables.splice(spliced[0]).server_port, 0);
}
