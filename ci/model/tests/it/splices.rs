//! Splices of the rows' world, and as the tables have them.

use std::collections::BTreeMap;

use terrace_abi::hash::address_words;
use terrace_abi::{consts, types};
use terrace_l7::splice::{
    HeadNote, HeadRule, HeadRules, PATH_MAX, Progress, ROUTES, Splice, mode, scan,
};
use terrace_l7::tcp::Endpoint;
use terrace_model::{Family, L7, Spliced};

use crate::order::end;

/// Numbers of a worker; there are four workers.
pub const FLOWS: u32 = 16;
/// Remote client, remote server; remote client, local server; local client,
/// remote server; no service, local server. IPv6 is one more.
pub const REMOTE: u32 = FLOWS;
pub const LOCAL: u32 = FLOWS + 2;
pub const OUTWARD: u32 = 2 * FLOWS;
pub const DIRECT: u32 = 3 * FLOWS;

/// Client, service, source, server of each.
pub const ENDS: [(u32, [&str; 4]); 4] = [
    (
        REMOTE,
        [
            "192.0.2.7:1000",
            "10.96.0.30:80",
            "10.10.0.1:20000",
            "10.30.0.5:8080",
        ],
    ),
    (
        LOCAL,
        [
            "192.0.2.8:1000",
            "10.96.0.30:80",
            "192.0.2.8:1000",
            "10.40.1.2:8080",
        ],
    ),
    (
        OUTWARD,
        [
            "10.40.1.2:1000",
            "10.96.0.30:80",
            "10.40.1.2:1000",
            "10.30.0.5:8080",
        ],
    ),
    (
        DIRECT,
        [
            "192.0.2.9:1000",
            "10.40.2.2:8080",
            "192.0.2.9:1000",
            "10.40.2.2:8080",
        ],
    ),
];

/// The number of a flow in a family.
pub fn number(family: Family, of: u32) -> u32 {
    of + u32::from(family == Family::V6)
}

pub fn l7(port: u32) -> L7 {
    let mut splices = BTreeMap::new();
    for family in Family::ALL {
        for (of, ends) in ENDS {
            let [client, service, source, server] =
                ends.map(|text| Endpoint::from(end(family, text)));
            let spliced = Spliced {
                splice: Splice {
                    client,
                    service,
                    source,
                    server,
                    ..numbers()
                },
                is_opening: false,
                binding: of,
                start: start(),
                backend: 1,
            };
            splices.insert(number(family, of), spliced);
        }
    }
    L7 {
        port,
        queues: 4,
        flows: FLOWS,
        dead: Vec::new(),
        splices,
        rules: rules(),
    }
}

/// The client's bytes 1000 to 2000 are a body; the server's head ends at 5100.
fn numbers() -> Splice {
    Splice {
        down_delta: 0xffff_f000,
        up_delta: 7,
        ts_delta: 0x8000_0001,
        open_from: 1000,
        open_until: 2000,
        quiet_until: 5100,
        ack_floor: 1500,
        window_cap: 1 << 20,
        client_scale: 7,
        client_scale_told: 7,
        server_scale: 9,
        server_scale_told: 7,
        mode: mode::TIMESTAMPS | mode::SACK,
        ..Splice::default()
    }
}

fn start() -> Progress {
    Progress {
        server_nxt: 5000,
        server_ack: 1007,
        server_edge: 60_000,
        client_ack: 5000u32.wrapping_add(0xffff_f000),
        ts_value: 0x8000_0001,
    }
}

pub fn entry(spliced: &Spliced) -> types::splice {
    let Spliced { splice, .. } = spliced;
    let words = |end: Endpoint| address_words(&end.ip);
    let opening = if spliced.is_opening {
        consts::SPLICE_OPENING as u8
    } else {
        0
    };
    types::splice {
        seq: 0,
        binding: spliced.binding,
        client: words(splice.client),
        service: words(splice.service),
        source: words(splice.source),
        server: words(splice.server),
        client_port: splice.client.port.to_be(),
        service_port: splice.service.port.to_be(),
        source_port: splice.source.port.to_be(),
        server_port: splice.server.port.to_be(),
        down_delta: splice.down_delta,
        up_delta: splice.up_delta,
        ts_delta: splice.ts_delta,
        open_from: splice.open_from,
        open_until: splice.open_until,
        quiet_until: splice.quiet_until,
        ack_floor: splice.ack_floor,
        window_cap: splice.window_cap,
        client_scale: splice.client_scale,
        client_scale_told: splice.client_scale_told,
        server_scale: splice.server_scale,
        server_scale_told: splice.server_scale_told,
        mode: splice.mode | opening,
        backend: spliced.backend,
        heads: splice
            .heads
            .sets
            .map(|(set, want)| types::head_set { set, want }),
        generation: splice.heads.generation,
        ..Default::default()
    }
}

/// A set of routes and one of a policy.
pub const ROUTED_SET: u32 = ROUTES | 5;
pub const ALLOWED_SET: u32 = 6;
pub const GENERATION: u32 = 9;

fn rules() -> HeadRules {
    let get = scan::method_number("GET").unwrap();
    let rule = |set: u32, method: u8, path: &str, value: u32| {
        let path = path.as_bytes().to_vec();
        (
            set,
            HeadRule {
                method,
                path,
                value,
            },
        )
    };
    let mut rules = vec![
        rule(ROUTED_SET, get, "/a/", 70),
        rule(ROUTED_SET, get, "/a ", 70),
        rule(ROUTED_SET, get, "/a/other ", 71),
        rule(ROUTED_SET, get, "/a/worker/", 0),
        rule(ROUTED_SET, get, &format!("/{}", "long/".repeat(24)), 70),
        rule(ALLOWED_SET, get, "/a/denied", 0),
        rule(ALLOWED_SET, get, "/a/exact?b=1 ", 1),
    ];
    for (_, method) in scan::methods() {
        rules.push(rule(ROUTED_SET, method, "/all", 70));
        rules.push(rule(ALLOWED_SET, method, "/", 1));
    }
    HeadRules {
        generation: GENERATION,
        secret: 0x0123_4567_89ab_cdef,
        rules,
    }
}

pub fn head_key(set: u32, rule: &HeadRule) -> types::head_key {
    let mut path = [0; PATH_MAX];
    path[..rule.path.len()].copy_from_slice(&rule.path);
    types::head_key {
        bits: 8 * (5 + rule.path.len()) as u32,
        set,
        method: rule.method,
        path,
    }
}

/// Without what is not in the model: `None` = of no binding.
pub fn head_note(note: &types::head_note, binding: u32) -> HeadNote {
    if note.binding != binding || note.seq == 0 {
        return HeadNote::default();
    }
    let is_known = u32::from(note.state) == consts::HEAD_ANSWER_KNOWN;
    HeadNote {
        base: Some(note.base),
        heads: note.heads,
        at: note.head_at,
        next: note.head_next,
        digest: note.digest,
        method: note.method,
        answer_at: note.answer_at,
        answer_end: is_known.then_some(note.answer_end),
    }
}

pub fn note(progress: &Progress) -> types::splice_note {
    types::splice_note {
        server_nxt: progress.server_nxt,
        server_ack: progress.server_ack,
        server_edge: progress.server_edge,
        client_ack: progress.client_ack,
        ts_value: progress.ts_value,
        packets: 0,
    }
}

pub fn progress(note: &types::splice_note) -> Progress {
    Progress {
        server_nxt: note.server_nxt,
        server_ack: note.server_ack,
        server_edge: note.server_edge,
        client_ack: note.client_ack,
        ts_value: note.ts_value,
    }
}
