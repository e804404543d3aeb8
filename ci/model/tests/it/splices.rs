//! Splices of the rows' world, and as the tables have them.

use std::collections::BTreeMap;

use terrace_abi::hash::address_words;
use terrace_abi::{consts, types};
use terrace_l7::splice::{Progress, Splice, mode};
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
        ..Default::default()
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
