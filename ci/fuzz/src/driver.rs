//! What the fuzz targets do with their bytes. A reader of its own (httparse
//! alone, no code of ours) says what reached the server.
#![allow(clippy::unwrap_used, reason = "a test's driver")]

use std::collections::BTreeMap;

use terrace_l7::flow::{
    Arrival, Backend, Config, Decision, Engine, Event, FlowId, Forward, Host, Offer, Parties,
    Services, Splices, Token,
};
use terrace_l7::http::{Chunks, Limits, Request, parse_request, storage};
use terrace_l7::rules::{HeadWriter, NoRoom, Scratch};
use terrace_l7::splice::{Direction, Progress, Splice, Verdict, translate_segment};
use terrace_l7::tcp::{Endpoint, Segment, flags, wire};

fn endpoint(host: u8, port: u16) -> Endpoint {
    std::net::SocketAddr::from(([10, 0, 0, host], port)).into()
}

struct Rules;

impl Services for Rules {
    fn offer(&self, _: Endpoint) -> Option<Offer> {
        Some(Offer {
            mss: 1460,
            window: 16_384,
            scale: 7,
            sack: true,
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
        match request.target.path {
            "/deny" => Decision::Answer(403),
            path => Decision::Forward(Forward {
                backend: Backend {
                    server: endpoint(20 + u8::from(path.len() % 2 == 0), 8080),
                    source: parties.client,
                },
                rewrite: (path == "/rw").then_some(Token {
                    action: 0,
                    prefix_len: 0,
                }),
                tunnel: false,
                timeout_ms: 500,
                heads: Default::default(),
                copies: Default::default(),
            }),
        }
    }

    fn write(
        &self,
        _: Token,
        request: &Request<'_, '_>,
        out: &mut HeadWriter<'_>,
    ) -> Result<(), NoRoom> {
        out.put(b"GET /new HTTP/1.1\r\n")?;
        for field in request.fields.iter() {
            for part in [field.name, b": ", field.value, b"\r\n"] {
                out.put(part)?;
            }
        }
        out.put(b"\r\n")
    }
}

/// Splices, and the bytes that each connection to a server was sent.
#[derive(Default)]
struct World {
    splices: Splices,
    streams: Vec<BTreeMap<u32, u8>>,
    /// Where the last SYN to a server stood; behind what each side was sent.
    syn: Option<(Endpoint, u32)>,
    client_next: u32,
    server_next: u32,
    /// Servers get nothing of what is sent to them now: their stacks drop it.
    loses: bool,
}

impl World {
    fn sent(&mut self, direction: Direction, segment: &Segment<'_>) {
        if direction == Direction::ToClient {
            self.client_next = segment.end();
            return;
        }
        if segment.dst.port == 8080 {
            self.server_next = segment.end();
        }
        if segment.flags & flags::SYN != 0 {
            if self.syn != Some((segment.dst, segment.seq)) {
                self.streams.push(BTreeMap::new());
            }
            self.syn = Some((segment.dst, segment.seq));
        }
        if segment.flags & flags::RST != 0 && segment.dst.port == 8080 {
            // A connection from the same numbers is another one.
            self.syn = None;
        }
        let (Some((_, syn)), Some(stream)) = (self.syn, self.streams.last_mut()) else {
            return;
        };
        if self.loses {
            return;
        }
        for (i, byte) in segment.payload.iter().enumerate() {
            let at = segment.seq.wrapping_sub(syn + 1).wrapping_add(i as u32);
            stream.entry(at).or_insert(*byte);
        }
    }

    /// What the last server would acknowledge.
    fn taken(&self) -> u32 {
        let (Some((_, syn)), Some(stream)) = (self.syn, self.streams.last()) else {
            return self.server_next;
        };
        let whole = stream.keys().zip(0u32..).take_while(|(at, i)| **at == *i);
        syn.wrapping_add(1).wrapping_add(whole.count() as u32)
    }

    /// Reads what reached the servers as a server would.
    fn check(&self) -> usize {
        let mut n_requests = 0;
        for stream in &self.streams {
            let bytes = stream
                .iter()
                .zip(0u32..)
                .take_while(|((at, _), i)| *at == i);
            let bytes: Vec<u8> = bytes.map(|((_, byte), _)| *byte).collect();
            let mut at = 0;
            while let Some(len) = request_at(&bytes[at..]) {
                at += len;
                n_requests += 1;
            }
        }
        n_requests
    }
}

/// The length of the request that `bytes` begin with, when it is whole; it
/// must be one that the rules allow.
fn request_at(bytes: &[u8]) -> Option<usize> {
    let mut fields = [httparse::EMPTY_HEADER; 128];
    let mut request = httparse::Request::new(&mut fields);
    let parsed = request
        .parse(bytes)
        .expect("what reaches a server is a request");
    let httparse::Status::Complete(head) = parsed else {
        return None;
    };
    assert!(
        !matches!(request.path, Some("/deny" | "/rw")),
        "a request reached a server that was denied, or not as it was rewritten: {:?}",
        request.path
    );
    let value = |name: &str| {
        let mut fields = request.headers.iter();
        let found = fields.find(|field| field.name.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(found.value).ok()
    };
    if value("transfer-encoding").is_some() {
        return None;
    }
    let body = value("content-length").map_or(0, |text| text.trim().parse().unwrap());
    (head + body <= bytes.len()).then_some(head + body)
}

impl Host for World {
    fn send(&mut self, direction: Direction, segment: &Segment<'_>) {
        self.sent(direction, segment);
    }

    fn forward(&mut self, direction: Direction, splice: &Splice, packet: &[u8]) {
        let segment = wire::parse(packet).unwrap();
        self.sent(direction, &translate_segment(splice, direction, &segment));
    }

    fn splice(&mut self, flow: FlowId, splice: &Splice, progress: Option<&Progress>) {
        self.splices.put(flow, splice, progress);
    }

    fn unsplice(&mut self, flow: FlowId, _: &Splice) {
        self.splices.remove(flow);
    }

    fn progress(&mut self, flow: FlowId) -> Progress {
        self.splices.progress(flow)
    }

    fn event(&mut self, _: &Parties, _: Event) {}
}

/// Pieces that lead deeper than random bytes do.
const PIECES: [&[u8]; 16] = [
    b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n",
    b"GET /deny HTTP/1.1\r\nHost: h\r\n\r\n",
    b"GET /ab HTTP/1.1\r\nHost: h\r\n\r\n",
    b"GET /rw HTTP/1.1\r\nHost: h\r\n\r\n",
    b"GET /aaaa",
    b"GET /deny",
    b" HTTP/1.1\r\nHost: h\r\n\r\n",
    b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\n",
    b"POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"5\r\nhello\r\n",
    b"0\r\n\r\n",
    b"\r\n",
    b"Host: h\r\n",
    b"",
];

/// How far from its place a segment may stand.
const FAR: [u32; 4] = [1 << 30, 1 << 31, (1 << 31) + 20_000, 3 << 30];

/// Reads actions of five bytes each: who, flags, where, what, how much of it.
/// Returns how many requests reached a server.
pub fn segments(data: &[u8]) -> usize {
    let mut engine = Engine::new(Config {
        mirrors: 0,
        max_flows: 3,
        buffers: 3,
        max_half_open: u32::from(data.first().is_some_and(|b| b & 1 == 1)) * 2,
        hold_answers: data.first().is_some_and(|b| b & 2 == 2),
        ..Config::default()
    });
    let (mut world, mut now) = (World::default(), 1);
    let (mut client_seq, mut server_seq) = (100u32, 9_000u32);
    for bits in [flags::SYN, flags::ACK] {
        let numbers = (client_seq, world.client_next);
        let segment = make(endpoint(1, 4000), endpoint(9, 80), numbers, bits, b"");
        client_seq = segment.end();
        one(&mut engine, &mut world, now, &segment);
    }
    for action in data.chunks_exact(5) {
        let (who, cut) = (action[0], action[4]);
        if who % 8 == 7 {
            now += u64::from(cut) * 20;
            engine.tick(now, &mut Rules, &mut world);
            continue;
        }
        let numbers = (client_seq, server_seq);
        let Some((segment, back)) = next_segment(action, &world, numbers) else {
            continue;
        };
        world.loses = who >> 3 & 7 == 7;
        let is_client = who % 2 == 0;
        let next = segment.end();
        match is_client {
            true if back == 0 => client_seq = next,
            false if back == 0 => server_seq = next,
            _ => {}
        }
        one(&mut engine, &mut world, now, &segment);
    }
    world.check()
}

/// The segment of an action, and how far behind its side's last number it is.
fn next_segment(
    action: &[u8],
    world: &World,
    (client_seq, server_seq): (u32, u32),
) -> Option<(Segment<'static>, u32)> {
    let &[who, flag_bits, place, piece, cut] = action else {
        return None;
    };
    let piece = PIECES[usize::from(piece) % PIECES.len()];
    // Mostly whole pieces in order with good numbers; the rest is not.
    let less = if cut >= 0xc0 {
        usize::from(cut & 15)
    } else {
        0
    };
    let payload = &piece[..piece.len() - less.min(piece.len())];
    let back = if place >= 0xc0 {
        u32::from(place & 31)
    } else {
        0
    };
    if who % 2 == 0 {
        let far = if place & 0xf0 == 0xb0 {
            FAR[usize::from(place & 3)]
        } else {
            0
        };
        let told = if who >> 3 & 7 == 6 { 1_000_000 } else { 0 };
        let seq = client_seq.wrapping_sub(back).wrapping_add(far);
        let numbers = (seq, world.client_next.wrapping_add(told));
        let back = back | far;
        let (from, to) = (endpoint(1, 4000), endpoint(9, 80));
        return Some((make(from, to, numbers, odd(flag_bits), payload), back));
    }
    let (server, syn) = world.syn?;
    let taken = world.taken();
    let answers = taken == syn.wrapping_add(1);
    let bits = match answers && flag_bits < 0xf0 {
        true => flags::SYN | flags::ACK,
        false => odd(flag_bits),
    };
    let numbers = (server_seq.wrapping_sub(back), taken);
    Some((
        make(server, endpoint(1, 4000), numbers, bits, payload),
        back,
    ))
}

/// Mostly a plain ACK.
fn odd(bits: u8) -> u8 {
    match bits {
        0..=0xdf => flags::ACK | flags::PSH,
        0xe0..=0xe7 => flags::ACK | flags::FIN,
        _ => bits,
    }
}

fn make<'p>(
    src: Endpoint,
    dst: Endpoint,
    (seq, ack): (u32, u32),
    bits: u8,
    payload: &'p [u8],
) -> Segment<'p> {
    Segment {
        src,
        dst,
        seq,
        ack,
        flags: bits,
        window: 60_000,
        payload: if bits & flags::SYN != 0 { &[] } else { payload },
        ..Segment::default()
    }
}

/// Does with a segment what BPF and the worker do.
fn one(engine: &mut Engine, world: &mut World, now: u64, segment: &Segment<'_>) {
    let mut packet = vec![0; wire::MAX_HEADERS + segment.payload.len()];
    let len = wire::write(segment, &mut packet);
    let packet = &packet[..len];
    let mut arrival = Arrival::Up;
    if let Some((id, direction)) = world.splices.find(segment) {
        let (splice, progress) = world.splices.get_mut(id).unwrap();
        let splice = *splice;
        let verdict = splice.judge(direction, segment, progress);
        if verdict != Verdict::Up {
            splice.note(direction, segment, progress);
            world.sent(direction, &translate_segment(&splice, direction, segment));
            arrival = Arrival::Copy;
        }
        if verdict == Verdict::Pass {
            return;
        }
    }
    engine.packet(now, packet, arrival, &mut Rules, world);
}

/// A head that is taken must be one for a parser without our checks too, of
/// the same length; chunks must not care where they are cut.
pub fn heads(data: &[u8]) {
    let mut storage = storage();
    if let Ok(Some(request)) = parse_request(data, &mut storage, &Limits::default()) {
        let mut fields = [httparse::EMPTY_HEADER; 128];
        let mut other = httparse::Request::new(&mut fields);
        assert_eq!(
            other.parse(data),
            Ok(httparse::Status::Complete(request.len))
        );
        assert_eq!(other.method, Some(request.method));
        let read = request.fields.iter().map(|f| (f.name, f.value));
        let other = other.headers.iter().map(|h| (h.name.as_bytes(), h.value));
        assert!(read.eq(other), "fields are read alike");
    }
    let mut whole = Chunks::default();
    let at_once = whole.follow(data);
    let mut pieces = Chunks::default();
    let (mut at, mut by_piece) = (0, Ok(()));
    for piece in data.chunks(3) {
        match pieces.follow(piece) {
            Ok(followed) => at += followed.len,
            Err(fault) => {
                by_piece = Err(fault);
                break;
            }
        }
    }
    match at_once {
        Ok(followed) => assert_eq!((Ok(()), at), (by_piece, followed.len)),
        Err(fault) => assert_eq!(by_piece, Err(fault)),
    }
}
