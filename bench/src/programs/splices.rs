//! Flows of workers: spliced segments, what goes up to a worker, and what a
//! worker sends.

use std::net::Ipv4Addr;

use anyhow::Result;
use terrace_abi::hash::{address_bytes, address_words};
use terrace_abi::{L7Tables, Plain as _, Reason, consts, types};

use super::case::{self, Case};
use super::cases::{Bench, TC_REDIRECT};
use super::frame::{Keys, Order, SEQ_AT, TCP_ACK, TCP_SYN};
use super::harness::{Hook, Settings, XDP_TX};
use super::stage::SPLICES;
use super::tables;

/// Numbers of a body that pass, both ways; requests begin behind it.
pub(super) const BODY: u32 = 1 << 29;
const BEHIND: u32 = 3 << 29;
/// What translation adds to the numbers of either side.
pub(super) const DOWN_DELTA: u32 = 0x1234_5678;
pub(super) const UP_DELTA: u32 = 7;
const REMOTE_SERVER: Ipv4Addr = Ipv4Addr::new(10, 30, 0, 2);

/// The ends of many flows, each key one of them.
pub(super) struct Ends {
    pub(super) client: Keys,
    /// Towards the server, as it is after translation.
    source: Keys,
    server: (Ipv4Addr, u16),
}

impl Ends {
    /// Each client comes as itself.
    pub(super) fn local(bench: &Bench<'_>, n: u32) -> Self {
        let server = (bench.stage.net.workload("web").v4, tables::LOCAL_PORT);
        let client = one_port_each(n, tables::LOCAL_SERVICE, tables::SERVICE_PORT);
        let (dst, dport) = server;
        Self {
            client,
            source: Keys {
                dst,
                dport,
                ..client
            },
            server,
        }
    }

    /// Clients come as the host, a port each.
    fn remote(bench: &Bench<'_>, n: u32) -> Self {
        let server = (REMOTE_SERVER, tables::LOCAL_PORT);
        let client = one_port_each(n, tables::SERVICE, tables::SERVICE_PORT);
        let (dst, dport) = server;
        Self {
            client,
            source: Keys {
                src: bench.stage.net.uplinks[0].v4,
                src_mul: 0,
                sport_mask: n - 1,
                dst,
                dport,
                ..client
            },
            server,
        }
    }

    fn answers(&self) -> Keys {
        let source = self.source;
        Keys {
            src: source.dst,
            src_mul: 0,
            sport: source.dport,
            sport_mask: 0,
            dst: source.src,
            dst_mask: match source.src_mul {
                0 => 0,
                _ => source.n_keys - 1,
            },
            dport: source.sport,
            dport_mask: source.sport_mask,
            ..source
        }
    }

    fn bind(&self, tables: &L7Tables) {
        for number in 0..self.client.n_keys {
            let note = types::splice_note {
                server_edge: 2 * BODY,
                ..Default::default()
            };
            tables.start(number, 0, &note);
            tables.set_splice(number, &self.splice(number));
        }
    }

    pub(super) fn splice(&self, number: u32) -> types::splice {
        let words = |address: Ipv4Addr| address_words(&address_bytes(address.into()));
        let end = |keys: Keys| {
            let shifted = number.wrapping_mul(keys.src_mul) >> keys.src_shift;
            let address = Ipv4Addr::from_bits(keys.src.to_bits() + shifted);
            (
                words(address),
                keys.sport + (number & keys.sport_mask) as u16,
            )
        };
        let (client, client_port) = end(self.client);
        let (source, source_port) = end(self.source);
        let (server, server_port) = self.server;
        types::splice {
            client,
            service: words(self.client.dst),
            source,
            server: words(server),
            client_port: client_port.to_be(),
            service_port: self.client.dport.to_be(),
            source_port: source_port.to_be(),
            server_port: server_port.to_be(),
            down_delta: DOWN_DELTA,
            up_delta: UP_DELTA,
            ts_delta: 99,
            open_until: BODY,
            quiet_until: BODY,
            window_cap: u32::MAX,
            backend: 1,
            ..Default::default()
        }
    }
}

fn one_port_each(n: u32, dst: Ipv4Addr, dport: u16) -> Keys {
    Keys {
        src_shift: 0,
        sport_mask: 0,
        ..Keys::clients(n, Order::Random, dst, dport)
    }
}

impl Bench<'_> {
    pub(super) fn spliced(&mut self) -> Result<()> {
        if !["splice", "worker", "request"]
            .iter()
            .any(|part| self.only_may(part))
        {
            return Ok(());
        }
        let workers = self.stage.worker()?;
        for n in [1, 4096, SPLICES] {
            self.local_splices(&workers, n)?;
        }
        for n in [1, 4096] {
            self.remote_splices(&workers, n)?;
        }
        self.heads(&workers)
    }

    fn local_splices(&mut self, workers: &L7Tables, n: u32) -> Result<()> {
        let ends = Ends::local(self, n);
        self.open_spliced(workers, &ends, Reason::ToWorkload)?;
        let client = |seq| with_seq(self.to_service(ends.client, TCP_ACK), seq);
        let redirected = |settings: Settings| Settings {
            verdict: TC_REDIRECT,
            ..settings
        };
        let rows = [
            (
                "tc: splice, a client's body to a local workload",
                Hook::Tc,
                client(0),
                Reason::Spliced,
            ),
            (
                "tc: splice, a local workload's answer",
                Hook::TcWorkload,
                self.to_service(ends.answers(), TCP_ACK),
                Reason::Spliced,
            ),
            (
                "tc: a request's segment, to the worker",
                Hook::Tc,
                client(BEHIND),
                Reason::ToWorker,
            ),
            (
                "tc: a worker's segment to a local workload",
                Hook::TcPort,
                of_worker(self, ends.source, TCP_ACK, consts::L7_TO_SERVER),
                Reason::ToWorkload,
            ),
        ];
        for (name, hook, settings, reason) in rows {
            self.row(name, n, hook, redirected(settings), reason)?;
        }
        case::walk(self.stage, "empty_bucket")
    }

    /// Both servers and clients are in the network: XDP does all of it.
    fn remote_splices(&mut self, workers: &L7Tables, n: u32) -> Result<()> {
        let ends = Ends::remote(self, n);
        self.open_spliced(workers, &ends, Reason::Redirect)?;
        let rows = [
            ("splice, a client's body to a remote backend", ends.client),
            ("splice, a remote backend's answer", ends.answers()),
        ];
        for (name, keys) in rows {
            let settings = Settings {
                verdict: XDP_TX,
                ..self.to_service(keys, TCP_ACK)
            };
            self.row(name, n, Hook::Xdp, settings, Reason::Spliced)?;
        }
        case::walk(self.stage, "empty_bucket")
    }

    /// As a worker opens them: by its SYN to the server.
    pub(super) fn open_spliced(
        &self,
        workers: &L7Tables,
        ends: &Ends,
        reason: Reason,
    ) -> Result<()> {
        ends.bind(workers);
        let first = of_worker(self, ends.source.once(), TCP_SYN, consts::L7_TO_SERVER);
        case::open(self.stage, Hook::TcPort, &first, ends.client.n_keys, reason)
    }

    fn row(
        &mut self,
        name: &str,
        n: u32,
        hook: Hook,
        settings: Settings,
        reason: Reason,
    ) -> Result<()> {
        let name = format!("{name}, {n} flows");
        if !self.wants(&name) {
            return Ok(());
        }
        self.measure(&Case {
            strays: if n > 4096 { 0.01 } else { 0.0 },
            ..Case::new(&name, hook, settings, reason, *self.effort)
        })
    }
}

pub(super) fn with_seq(mut settings: Settings, seq: u32) -> Settings {
    settings.frame[SEQ_AT..SEQ_AT + 4].copy_from_slice(&seq.to_be_bytes());
    settings
}

/// A worker's segment: its flow's number is the key.
fn of_worker(bench: &Bench<'_>, keys: Keys, flags: u8, kind: u32) -> Settings {
    let mut settings = bench.to_service(keys, flags);
    let head = types::l7_frame {
        magic: consts::L7_MAGIC as u8,
        kind: kind as u8,
        ..Default::default()
    };
    settings.frame[..12].copy_from_slice(&head.as_bytes()[..12]);
    settings.numbered = true;
    settings
}
