//! Tunnels: gigabytes pass and numbers go round while the engine sees nothing.

use super::*;

const UPGRADE: &[u8] =
    b"GET /tunnel HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n";
const SWITCH: &[u8] = b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n";
const END: u32 = C + 1 + UPGRADE.len() as u32;

fn open() -> Case {
    let mut case = Case::bound(UPGRADE);
    case.server(S + 1, END, ACK, SWITCH);
    case
}

/// What the kernel does with the server's acknowledgement of `ack`: as the
/// client reads it.
fn acknowledged(case: &mut Case, seq: u32, ack: u32) -> u32 {
    let segment = Segment {
        src: server(),
        dst: client(),
        seq,
        ack,
        flags: ACK,
        window: 60_000,
        ..Segment::default()
    };
    let (id, direction) = case.world.splices.find(&segment).unwrap();
    let (splice, progress) = case.world.splices.get_mut(id).unwrap();
    splice.note(direction, &segment, progress);
    terrace_l7::splice::translate_segment(splice, direction, &segment).ack
}

/// What the kernel notes of the client's acknowledgement of all up to the server's `next`.
fn taken(case: &mut Case, next: u32) {
    let segment = Segment {
        src: client(),
        dst: service(),
        seq: END,
        ack: case.iss.wrapping_add(next.wrapping_sub(S)),
        flags: ACK,
        ..Segment::default()
    };
    let (id, direction) = case.world.splices.find(&segment).unwrap();
    let (splice, progress) = case.world.splices.get_mut(id).unwrap();
    splice.note(direction, &segment, progress);
}

#[test]
fn an_upload_of_any_size_between_two_looks_of_the_engine_is_acknowledged_as_the_server_does() {
    const STEP: u32 = 10_000;
    for gib in [1u64, 2, 3, 5, 9] {
        let mut case = open();
        let next = S + 1 + SWITCH.len() as u32;
        let mut ack = END;
        for _ in 0..(gib << 30) / u64::from(STEP) {
            ack = ack.wrapping_add(STEP);
            assert_eq!(acknowledged(&mut case, next, ack), ack, "{gib} GiB");
        }
        case.tick(20_000);
        assert_eq!(case.reset(), None, "{gib} GiB");
        let out = case.client(ack, ACK | flags::FIN, b"the end");
        let last = out.iter().find(|o| o.direction == Direction::ToServer);
        let last = last.expect("the last segment goes on");
        assert_eq!(
            (last.seq, &last.payload[..]),
            (ack, &b"the end"[..]),
            "{gib} GiB"
        );
        assert_ne!(last.flags & flags::FIN, 0, "{gib} GiB");
    }
}

#[test]
fn a_download_of_any_size_through_a_tunnel_ends_where_the_server_ends() {
    const STEP: u32 = 50_000;
    for gib in [1u64, 3, 6] {
        let mut case = open();
        let mut next = S + 1 + SWITCH.len() as u32;
        for _ in 0..(gib << 30) / u64::from(STEP) {
            next = next.wrapping_add(STEP);
            acknowledged(&mut case, next, END);
            taken(&mut case, next);
        }
        case.tick(20_000);
        case.server(next, END, ACK | flags::FIN, b"");
        let told = case.iss.wrapping_add(next.wrapping_sub(S)).wrapping_add(1);
        case.client_ack(END, told, ACK | flags::FIN, b"");
        case.tick(10_000);
        assert_eq!(case.reset(), None, "{gib} GiB");
        assert_eq!(case.engine.n_flows(), 0, "{gib} GiB");
    }
}

#[test]
fn a_tunnel_opens_only_where_the_rule_and_the_backend_say_so() {
    let upgrade = b"GET /tunnel HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n";
    let end = C + 1 + upgrade.len() as u32;
    let mut case = Case::bound(upgrade);
    assert!(
        case.client(end, ACK, b"\x00\x01")
            .iter()
            .all(|o| o.payload.is_empty())
    );
    let switch = b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n";
    let out = case.server(S + 1, end, ACK, switch);
    assert_eq!(
        out.last().unwrap().payload,
        b"\x00\x01",
        "what waited goes on"
    );
    let out = case.client(end + 2, ACK, b"\x02");
    assert_eq!(out[0].payload, b"\x02");
    let mut refused = Case::bound(upgrade);
    refused.server(
        S + 1,
        end,
        ACK,
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    );
    let out = refused.client(end, ACK, b"\x00\x01");
    assert!(
        out.iter()
            .all(|o| o.direction == Direction::ToClient || o.payload.is_empty())
    );
}
