//! The splice model: bytes and segments are translated alike, and what may
//! pass is what the engine opened.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use proptest::prelude::*;
use terrace_l7::splice::{
    Direction, Progress, Splice, Verdict, digest, mode, translate, translate_segment,
};
use terrace_l7::tcp::{Endpoint, Options, Segment, Timestamps, flags, wire};

fn endpoint(text: &str) -> Endpoint {
    text.parse::<std::net::SocketAddr>().unwrap().into()
}

fn splice(v6: bool) -> Splice {
    let ends = match v6 {
        false => [
            "10.0.0.1:4000",
            "10.96.0.1:80",
            "10.0.9.9:5000",
            "10.0.1.1:8080",
        ],
        true => [
            "[fd00::1]:4000",
            "[fd00:9::1]:80",
            "[fd00:8::1]:5000",
            "[fd00:1::1]:8080",
        ],
    };
    let [client, service, source, server] = ends.map(endpoint);
    Splice {
        client,
        service,
        source,
        server,
        window_cap: u32::MAX,
        ..Splice::default()
    }
}

/// What a packet of the options is on the wire, with blocks of SACK blanked.
fn expected<'p>(mut segment: Segment<'p>, blanked: bool, was: &Options) -> Segment<'p> {
    if blanked {
        segment.options.n_sacks = 0;
        segment.options.sacks = [(0, 0); 4];
    } else {
        segment.options.n_sacks = was.n_sacks;
    }
    segment
}

proptest! {
    #[test]
    fn bytes_and_segments_are_translated_alike(
        v6: bool, up: bool, seq: u32, ack: u32, window: u16, down_delta: u32, up_delta: u32,
        ts_delta: u32, timestamps in proptest::option::of((any::<u32>(), any::<u32>())),
        sacks in proptest::collection::vec((any::<u32>(), any::<u32>()), 0..3),
        keep_sacks: bool, scales in (0u8..15, 0u8..15, 0u8..15, 0u8..15), ack_floor: u32,
        cap in proptest::option::of(0u32..70_000),
        payload in proptest::collection::vec(any::<u8>(), 0..50),
    ) {
        let mut splice = splice(v6);
        (splice.down_delta, splice.up_delta, splice.ts_delta) = (down_delta, up_delta, ts_delta);
        (splice.client_scale, splice.client_scale_told) = (scales.0, scales.1);
        (splice.server_scale, splice.server_scale_told) = (scales.2, scales.3);
        splice.mode = if keep_sacks { mode::SACK } else { 0 };
        splice.ack_floor = ack_floor;
        splice.window_cap = cap.unwrap_or(u32::MAX);
        let direction = if up { Direction::ToServer } else { Direction::ToClient };
        let (src, dst) = match direction {
            Direction::ToServer => (splice.client, splice.service),
            Direction::ToClient => (splice.server, splice.source),
        };
        let mut options = Options {
            timestamps: timestamps.map(|(value, echo)| Timestamps { value, echo }),
            n_sacks: sacks.len() as u8,
            ..Options::default()
        };
        options.sacks[..sacks.len()].copy_from_slice(&sacks);
        let segment = Segment {
            src, dst, seq, ack, flags: flags::ACK, window, options, payload: &payload,
        };
        let mut packet = [0; 300];
        let len = wire::write(&segment, &mut packet);
        translate(&splice, direction, &mut packet[..len]).unwrap();
        let found = wire::parse(&packet[..len]).unwrap();
        let blanked = up && !keep_sacks;
        let wanted = translate_segment(&splice, direction, &segment);
        prop_assert_eq!(found, expected(wanted, blanked, &options));
    }

    /// There and back again is where it was.
    #[test]
    fn numbers_come_back_as_they_went(seq: u32, ack: u32, down_delta: u32, up_delta: u32) {
        let splice = Splice { down_delta, up_delta, ..splice(false) };
        let segment = Segment { seq, ack, flags: flags::ACK, ..Segment::default() };
        let there = translate_segment(&splice, Direction::ToServer, &segment);
        let turned = Segment { seq: there.ack, ack: there.seq, ..there };
        let back = translate_segment(&splice, Direction::ToClient, &turned);
        prop_assert_eq!((back.ack, back.seq), (seq, ack));
    }
}

#[test]
fn payload_passes_only_inside_what_was_opened_and_the_servers_window() {
    use Verdict::*;
    let splice = Splice {
        open_from: 1_000,
        open_until: 2_000,
        quiet_until: 500,
        ..splice(false)
    };
    let progress = Progress {
        server_edge: 1_800,
        ..Progress::default()
    };
    let hold = mode::HOLD;
    let (up, down) = (Direction::ToServer, Direction::ToClient);
    let rows = [
        ("a pure ACK of the client", 0, up, 0, 900, 0, Pass),
        ("inside the open range", 0, up, 0, 1_000, 100, Pass),
        ("before it", 0, up, 0, 999, 1, Up),
        ("into it", 0, up, 0, 999, 10, Up),
        ("up to the server's window", 0, up, 0, 1_700, 100, Pass),
        ("beyond the server's window", 0, up, 0, 1_701, 100, Up),
        ("beyond the open range", 0, up, 0, 1_990, 11, Up),
        ("FIN of the client", 0, up, flags::FIN, 1_000, 0, Up),
        ("RST of the client", 0, up, flags::RST, 1_000, 0, Up),
        ("urgent data", 0, up, flags::URG, 1_000, 10, Up),
        ("SYN again", 0, up, flags::SYN, 1_000, 0, Up),
        (
            "an ACK when all comes up",
            mode::ALL_UP,
            up,
            0,
            1_000,
            0,
            Up,
        ),
        ("a tunnel's bytes", mode::TUNNEL, up, 0, 5, 10, Pass),
        ("a pure ACK of the server", 0, down, 0, 700, 0, Pass),
        ("a quiet body", 0, down, 0, 400, 100, Pass),
        ("behind the quiet body", 0, down, 0, 401, 100, PassAndCopy),
        ("the same, held", hold, down, 0, 401, 100, Up),
        (
            "FIN of the server",
            0,
            down,
            flags::FIN,
            500,
            0,
            PassAndCopy,
        ),
        (
            "RST of the server",
            hold,
            down,
            flags::RST,
            500,
            0,
            PassAndCopy,
        ),
        ("SYN-ACK again", 0, down, flags::SYN, 1, 0, Up),
    ];
    for (name, modes, direction, more, seq, len, expected) in rows {
        let payload = vec![0; len];
        let segment = Segment {
            seq,
            flags: flags::ACK | more,
            payload: &payload,
            ..Segment::default()
        };
        let splice = Splice {
            mode: modes,
            ..splice
        };
        assert_eq!(
            splice.judge(direction, &segment, &progress),
            expected,
            "{name}"
        );
    }
}

#[test]
fn a_packet_that_is_no_whole_segment_is_not_taken() {
    let segment = Segment {
        src: endpoint("10.0.0.1:1"),
        dst: endpoint("10.0.0.2:2"),
        flags: flags::ACK,
        payload: b"abc",
        ..Segment::default()
    };
    let mut good = [0; 120];
    let len = wire::write(&segment, &mut good);
    assert!(wire::parse(&good[..len]).is_ok());
    let changed = |at: usize, value: u8| {
        let mut packet = good;
        packet[at] = value;
        wire::parse(&packet[..len]).is_ok()
    };
    let rows = [
        ("another protocol", 9, 17),
        ("a fragment", 6, 0x20),
        ("a checksum that is wrong", 36, good[36] ^ 1),
        ("other bytes than the checksum's", len - 1, b'x'),
        ("a header that is too short", 32, 0x40),
        ("a header longer than the packet", 32, 0xf0),
        ("a version that is none", 0, 0x55),
    ];
    for (name, at, value) in rows {
        assert!(!changed(at, value), "{name}");
    }
    for cut in 0..len {
        assert!(wire::parse(&good[..cut]).is_err(), "cut at {cut}");
    }
}

#[test]
fn heads_a_few_bits_apart_have_other_digests_under_every_secret() {
    let head = *b"GET /public/0123J56789 HTTP/1.1\r\nHost: h\r\n\r\n";
    // 0x80 thrice; and, leaving plain text, J to LF with any pair behind it.
    let plain = (1..128).map(|pair| (b'J' ^ b'\n', pair));
    let changes: Vec<(u8, u8)> = [(0x80, 0x80)].into_iter().chain(plain).collect();
    for secret in (1..=1_000u64).map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15)) {
        let of_head = digest(&head, secret);
        for (first, pair) in &changes {
            let mut twin = head;
            twin[15] ^= first;
            twin[19] ^= pair;
            twin[23] ^= pair;
            assert_ne!(
                digest(&twin, secret),
                of_head,
                "{secret:x}: {first:x} {pair:x}"
            );
        }
        assert_ne!(
            digest(&[&head[..], b"\0"].concat(), secret),
            of_head,
            "{secret:x}: longer"
        );
    }
}
