//! Worlds by their seed, and what must hold in each.

use terrace_l7::flow::{Event, MirrorEnd};

use crate::apps::{Ask, Way, pattern};
use crate::channel::Faults;
use crate::host::MIRROR;
use crate::oracle::{Seen, allowed_server};
use crate::random::Random;
use crate::stack::Traits;
use crate::world::{Setting, World};

fn ask(random: &mut Random, number: usize, closes: bool, (tiny, in_kernel): (bool, bool)) -> Ask {
    let gets = in_kernel && random.per_mille(800);
    let server = match in_kernel && random.per_mille(850) {
        true => 0,
        false => random.below(3) as usize,
    };
    let letter = ["a", "b", "c"][server];
    let status = match random.below(20) {
        0 => 403,
        1 => 404,
        2 => 503,
        _ => 200,
    };
    let start = match status {
        403 => "/x".to_owned(),
        404 => "/q".to_owned(),
        503 => "/e".to_owned(),
        _ => format!("/{letter}"),
    };
    let way = match random.below(8) {
        0..=4 => Way::Length,
        5..=6 => Way::Chunked,
        _ if closes => Way::Close,
        _ => Way::Length,
    };
    let answer_len = random.pick(&[0, 1, 10, 500, 3_000, 20_000]);
    let letter = match way {
        Way::Length => "l",
        Way::Chunked => "k",
        Way::Close => "c",
    };
    let path = format!("{start}{number}.{letter}.{answer_len}");
    let body_len = match tiny {
        _ if gets => 0,
        true => random.pick(&[0, 5, 60]),
        false => random.pick(&[0, 0, 0, 5, 1_000, 9_000, 40_000]),
    };
    let body = pattern(&path, body_len);
    Ask {
        bytes: match gets {
            true => format!("GET {path} HTTP/1.1\r\nHost: h\r\nAccept: */*\r\n\r\n").into_bytes(),
            false => written(random, &path, &body, tiny),
        },
        gets,
        path,
        body,
        status,
        way,
        answer_len,
    }
}

fn written(random: &mut Random, path: &str, body: &[u8], tiny: bool) -> Vec<u8> {
    let filler = match tiny {
        true => random.pick(&[0, 20]),
        false => random.pick(&[0, 20, 400, 3_000]),
    };
    let filler = "f".repeat(filler);
    let mut bytes =
        format!("POST {path} HTTP/1.1\r\nHost: h\r\nX-Filler: {filler}\r\n").into_bytes();
    match random.below(3) {
        0 => {
            bytes.extend(b"Transfer-Encoding: chunked\r\n\r\n");
            for chunk in body.chunks(random.pick(&[7, 600, 5_000])) {
                bytes.extend(format!("{:x}\r\n", chunk.len()).bytes());
                bytes.extend(chunk);
                bytes.extend(b"\r\n");
            }
            bytes.extend(b"0\r\n\r\n");
        }
        _ => {
            bytes.extend(format!("Content-Length: {}\r\n\r\n", body.len()).bytes());
            bytes.extend(body);
        }
    }
    bytes
}

fn traits(random: &mut Random, mtu: usize, timestamps: bool) -> Traits {
    Traits {
        mtu,
        receive_buffer: random.pick(&[2_000, 8_000, 65_535, 200_000]),
        timestamps,
        nagle: random.per_mille(500),
    }
}

fn setting(seed: u64, clean: bool, in_kernel: bool) -> Setting {
    let mut random = Random(seed);
    let faults = match (clean, random.below(4)) {
        (true, _) => Faults {
            delay: 1,
            ..Faults::default()
        },
        (false, 0) => Faults {
            delay: 1,
            jitter: 12,
            ..Faults::default()
        },
        (false, worse) => Faults {
            drop: 20 * worse,
            duplicate: 20,
            cut: 10,
            damage: 10,
            delay: 1,
            jitter: 4 * worse,
        },
    };
    let mtu = random.pick(&[600, 1_500, 1_500, 9_000]);
    let timestamps = random.per_mille(600);
    let write_size = match in_kernel {
        true => random.pick(&[100, 5_000, 5_000, 60_000]),
        false => random.pick(&[1, 7, 100, 5_000, 60_000]),
    };
    let tiny = write_size < 100;
    let n_clients = 1 + random.below(2) as usize;
    let most = if in_kernel { 12 } else { 5 };
    let scripts = (0..n_clients).map(|c| {
        let n = 1 + random.below(most) as usize;
        (0..n)
            .map(|i| ask(&mut random, c * 100 + i, i + 1 == n, (tiny, in_kernel)))
            .collect()
    });
    let scripts = scripts.collect();
    Setting {
        seed,
        v6: random.per_mille(300) && mtu > 1_300,
        faults,
        client: traits(&mut random, mtu, true),
        // smoltcp stops when a window shrinks, which a server with less than
        // the engine's hold would make happen.
        server: Traits {
            receive_buffer: random.pick(&[16_384, 65_535, 200_000]),
            ..traits(&mut random, mtu, timestamps)
        },
        hold_answers: random.per_mille(300),
        max_half_open: random.pick(&[0, 8]),
        snat: random.per_mille(300),
        wrap: random.per_mille(400),
        pipelines: random.per_mille(300),
        write_size,
        in_kernel,
        mirrors: !in_kernel && Random(seed ^ 0xc0b1e5).per_mille(400),
        lost_copies: if clean { 0 } else { random.pick(&[0, 0, 30]) },
        scripts,
    }
}

/// Runs a world; returns how many requests were answered and flows reset.
fn check(setting: &Setting) -> [usize; 5] {
    let what = format!("seed {}: {setting:?}", setting.seed);
    let short = format!("seed {}", setting.seed);
    let mut world = World::new(setting);
    // smoltcp backs off to a minute, and the worst paths need many tries.
    let ended = world.run(20_000_000);
    let resets = world.kernel.events.iter();
    let resets: Vec<_> = resets
        .filter(|(_, event)| matches!(event, Event::Reset(_)))
        .copied()
        .collect();
    if std::env::var_os("SIM_RESETS").is_some() {
        eprintln!("{short}: {resets:?} lost copies {}", setting.lost_copies);
    }
    for client in &world.clients {
        assert_eq!(client.failed, None, "{short}");
    }
    if std::env::var_os("SIM_VERBOSE").is_some() {
        eprintln!("{what}\n{:?}", world.kernel.events);
    }
    assert!(
        ended,
        "{short} does not end: {resets:?} {:?}",
        world.states()
    );
    let answered: usize = world.clients.iter().map(|client| client.answered).sum();
    let asked: usize = world
        .clients
        .iter()
        .map(|client| client.script().len())
        .sum();
    let is_clean = setting.faults.drop + setting.faults.jitter + setting.lost_copies == 0;
    if is_clean {
        let late: usize = world.clients.iter().map(|client| client.late).sum();
        assert_eq!(late, 0, "{short}");
        assert!(
            !world.clients.iter().any(|client| client.gave_up),
            "{short}"
        );
        assert_eq!((answered, resets.len()), (asked, 0), "{short}: {resets:?}");
    }
    assert!(
        answered == asked || !resets.is_empty() || !is_clean,
        "{short}"
    );
    servers_saw_only_what_was_allowed(setting, &world);
    world.run_on(700_000);
    assert_eq!(world.engine.n_buffers_used(), 0, "{short}: buffers leak");
    assert_eq!(world.engine.n_flows(), 0, "{short}: flows leak");
    assert_eq!(world.engine.n_mirrors_used(), 0, "{short}: copies leak");
    mirrors_saw_what_was_sent(setting, &world, is_clean);
    assert!(world.kernel.splices.is_empty(), "{short}: splices leak");
    let gave_up = world.clients.iter().filter(|client| client.gave_up);
    let gave_up = gave_up.inspect(|_| eprintln!("{short}: a client gave up"));
    [
        answered,
        resets.len(),
        gave_up.count(),
        world.kernel.n_passed,
        world.servers[MIRROR].seen.len(),
    ]
}

/// Every request that a server read was asked by the client, is allowed there,
/// and came at most once; its body is what was sent.
fn servers_saw_only_what_was_allowed(setting: &Setting, world: &World) {
    let mut asks: Vec<&Ask> = setting.scripts.iter().flatten().collect();
    for (number, server) in world.servers[..MIRROR].iter().enumerate() {
        for seen in &server.seen {
            assert_eq!(allowed_server(&seen.path), Some(number), "{}", seen.path);
            was_asked(&mut asks, seen);
        }
    }
}

/// Takes what a server has read out of what the client asked.
fn was_asked(asks: &mut Vec<&Ask>, seen: &Seen) {
    let at = asks
        .iter()
        .position(|ask| ask.path == seen.path && ask.status == 200);
    let ask = asks.swap_remove(at.expect("asked, and not seen before"));
    assert_eq!(seen.body, ask.body, "{}", seen.path);
    let host = if seen.path.starts_with("/c") {
        "changed"
    } else {
        "h"
    };
    let method = if ask.gets { "GET" } else { "POST" };
    assert_eq!((seen.method.as_str(), seen.host.as_str()), (method, host));
}

/// A mirror reads whole requests as they go to the backends, each at most once,
/// and every copy that counts as sent.
fn mirrors_saw_what_was_sent(setting: &Setting, world: &World, is_clean: bool) {
    let seen = &world.servers[MIRROR].seen;
    let mut asks: Vec<&Ask> = setting.scripts.iter().flatten().collect();
    for seen in seen {
        was_asked(&mut asks, seen);
    }
    let ends = &world.rules.ends;
    let n_sent = ends.iter().filter(|end| **end == MirrorEnd::Sent).count();
    let short = format!("seed {}: {ends:?}", setting.seed);
    assert!(setting.mirrors || ends.is_empty(), "{short}");
    if is_clean {
        assert!(seen.len() >= n_sent, "{short}: {} seen", seen.len());
        let forwarded = world.servers[..MIRROR]
            .iter()
            .map(|server| server.seen.len());
        let n_copies = if setting.mirrors { forwarded.sum() } else { 0 };
        assert_eq!(ends.len(), n_copies, "{short}: each copy has one end");
    }
}

fn seeds(default: u64) -> std::ops::Range<u64> {
    match std::env::var("SIM_SEEDS") {
        Ok(text) => {
            let (from, until) = text.split_once("..").expect("SIM_SEEDS=from..until");
            from.parse().unwrap()..until.parse().unwrap()
        }
        Err(_) => 0..default,
    }
}

#[test]
fn on_clean_paths_every_request_is_answered_and_no_flow_reset() {
    let (mut answered, mut copied) = (0, 0);
    for seed in seeds(4_000) {
        let result = check(&setting(seed, true, false));
        answered += result[0];
        copied += result[4];
    }
    eprintln!("{answered} requests answered, {copied} copies");
    assert!(copied * 5 > answered, "{copied} copies of {answered}");
}

#[test]
fn on_bad_paths_every_byte_arrives_once_and_in_order_or_the_flow_is_reset() {
    let (mut answered, mut resets, mut gave_up) = (0, 0, 0);
    for seed in seeds(6_000) {
        let result = check(&setting(seed, false, false));
        answered += result[0];
        resets += result[1];
        gave_up += result[2];
    }
    eprintln!("{answered} requests answered, {resets} flows reset, {gave_up} clients gave up");
    assert_eq!(gave_up, 0, "of {answered}");
}

#[test]
fn requests_that_pass_in_the_kernel_are_answered_and_allowed_as_the_engines_are() {
    let (mut answered, mut passed) = (0, 0);
    for seed in seeds(2_000) {
        let result = check(&setting(seed, true, true));
        answered += result[0];
        passed += result[3];
    }
    eprintln!("{answered} requests answered, {passed} passed in the kernel");
    assert!(passed * 10 > answered, "{passed} of {answered}");
}

#[test]
fn on_bad_paths_requests_that_pass_in_the_kernel_lose_nothing_or_the_flow_is_reset() {
    let (mut answered, mut resets, mut gave_up, mut passed) = (0, 0, 0, 0);
    for seed in seeds(3_000) {
        let result = check(&setting(seed, false, true));
        answered += result[0];
        resets += result[1];
        gave_up += result[2];
        passed += result[3];
    }
    eprintln!("{answered} answered, {passed} in the kernel, {resets} reset, {gave_up} gave up");
    assert_eq!(gave_up, 0, "of {answered}");
    assert!(passed * 20 > answered, "{passed} of {answered}");
}
