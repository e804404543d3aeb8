//! Requests that the program judges itself: a head is read, looked up, noted and
//! sent on. Each flow's is judged once; the next slice finds them due again.

use anyhow::Result;
use terrace_abi::{L7Tables, Reason, consts, types};

use super::case::{self, Anew, Case};
use super::cases::{Bench, TC_REDIRECT};
use super::frame::{FRAME_BYTES, TCP_ACK};
use super::harness::{Hook, Settings};
use super::splices::{BODY, DOWN_DELTA, Ends, UP_DELTA, with_seq};
use super::stage::SPLICES;
use super::timing::Effort;

/// Of the request, as one from curl with a few fields.
const HEAD_BYTES: usize = 350;
/// Of an Ethernet, IPv4 and TCP header: where the payload begins.
const PAYLOAD_AT: usize = 54;
const ACK_AT: usize = 42;
/// What the rules say of the request's path.
const POOL: u32 = 5;

impl Bench<'_> {
    pub(super) fn heads(&mut self, workers: &L7Tables) -> Result<()> {
        for (n, n_rules, set) in [(4096, 1, 1), (4096, 10_000, 2), (SPLICES, 1, 3)] {
            let rules = if n_rules == 1 { "rule" } else { "rules" };
            let name =
                format!("tc: a request that the program judges, {n} flows, {n_rules} {rules}");
            if !self.wants(&name) {
                continue;
            }
            let set = set | consts::HEAD_ROUTES;
            let keys = rules_of(set, n_rules);
            let all = keys.iter().map(|key| (key, POOL));
            self.stage.maps.add_head_rules(all)?;
            self.judged_heads(&name, workers, n, set)?;
            self.stage.maps.remove_head_rules(&keys)?;
        }
        Ok(())
    }

    fn judged_heads(&mut self, name: &str, workers: &L7Tables, n: u32, set: u32) -> Result<()> {
        let ends = Ends::local(self, n);
        self.open_spliced(workers, &ends, Reason::ToWorkload)?;
        let head = head();
        let (first, tail) = head.split_at(FRAME_BYTES - PAYLOAD_AT);
        let mut settings = with_seq(self.to_service(ends.client.once(), TCP_ACK), BODY);
        settings.verdict = TC_REDIRECT;
        let total = (PAYLOAD_AT - 14 + HEAD_BYTES) as u16;
        put(&mut settings, 16, &total.to_be_bytes());
        let ack = BODY.wrapping_add(DOWN_DELTA);
        put(&mut settings, ACK_AT, &ack.to_be_bytes());
        put(&mut settings, PAYLOAD_AT, first);
        // As many runs as flows: each has one request in a slice.
        let effort = Effort {
            slice: n,
            slices: (self.effort.slice / n).max(1) * self.effort.slices,
            ..*self.effort
        };
        let case = Case {
            // Some flows find no room in a table that is half full.
            strays: if n > 4096 { 0.01 } else { 0.0 },
            ..Case::new(name, Hook::Tc, settings, Reason::Request, effort)
        };
        let restore = || {
            ends.ask(workers, set);
            Ok(())
        };
        let anew = Anew {
            tail,
            restore: &restore,
        };
        self.measure_anew(&case, anew)?;
        case::walk(self.stage, "empty_bucket")
    }
}

impl Ends {
    /// The next request of each is due, and the rules of `set` let it pass.
    fn ask(&self, tables: &L7Tables, set: u32) {
        for number in 0..self.client.n_keys {
            let note = types::splice_note {
                server_edge: 2 * BODY,
                server_nxt: BODY,
                server_ack: BODY + UP_DELTA,
                ..Default::default()
            };
            tables.start(number, 0, &note);
            let mut splice = self.splice(number);
            splice.mode = consts::SPLICE_HEADS as u8;
            splice.heads[0] = types::head_set { set, want: POOL };
            tables.set_splice(number, &splice);
        }
    }
}

fn put(settings: &mut Settings, at: usize, bytes: &[u8]) {
    settings.frame[at..at + bytes.len()].copy_from_slice(bytes);
}

fn head() -> Vec<u8> {
    let fields = "GET /api/items/7?page=2 HTTP/1.1\r\nHost: front.example\r\n\
        User-Agent: curl/8.5.0\r\nAccept: */*\r\nAccept-Encoding: gzip, br\r\nX-Trace: ";
    let end = "\r\n\r\n";
    let rest = HEAD_BYTES - fields.len() - end.len();
    [fields, &"7".repeat(rest), end].concat().into_bytes()
}

/// Prefixes of paths: that of the request, and others of the same length.
fn rules_of(set: u32, n: u32) -> Vec<types::head_key> {
    let others = (1..n).map(|n| format!("/api/i{n:05}"));
    let paths = std::iter::once("/api/items/".to_owned()).chain(others);
    let keys = paths.map(|path| {
        let mut key = types::head_key {
            bits: 8 * (size_of::<u32>() + 1 + path.len()) as u32,
            set,
            method: consts::HEAD_GET as u8,
            ..Default::default()
        };
        key.path[..path.len()].copy_from_slice(path.as_bytes());
        key
    });
    keys.collect()
}
