//! The rows of `programs`, and how each one is measured and proved.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use anyhow::{Context as _, Result};
use terrace_abi::Reason;

use super::case::{self, Anew, Case};
use super::frame::{Keys, Order, TCP_ACK, TCP_SYN};
use super::harness::{self, Hook, Settings, XDP_DROP, XDP_PASS};
use super::stage::{LARGE_FLOWS, Stage};
use super::tables::{self, DENY_SCATTER, FIRST_RULE, RULE_PORT, RULE_PORTS};
use super::timing::{Effort, Times};
use crate::report::{Outcome, Row, Section};

const DENIED: u32 = 1 << 20;
const MILLION: u32 = 1 << 20;
const TC_DROP: u32 = 2;
pub(super) const TC_REDIRECT: u32 = 7;
/// TCX_NEXT, -1.
pub(super) const TC_NEXT: u32 = u32::MAX;
/// New keys never repeat within so many packets.
const NEW_KEYS: u32 = 1 << 24;
const RULES: [u32; 5] = [10, 100, 1_000, 10_000, 100_000];
/// Cost of 100,000 rules over that of 10.
const FLAT: f64 = 1.10;

/// The section that [`run`] fills.
pub fn section(effort: &Effort) -> Section {
    let mut section = Section::new(
        "programs: net cost of a packet over the empty program behind the same driver",
        &[
            "packet", "net ns", "units", "target", "total ns", "floor ns", "unit ns",
        ],
    );
    section.notes = notes(effort);
    section
}

/// Adds the rows of a stage, by the size of its connection table.
pub fn run(stage: &mut Stage, effort: &Effort, only: &str, section: &mut Section) -> Result<()> {
    let is_large = stage.maps.limits().flows == LARGE_FLOWS;
    let denied = if is_large { 0 } else { DENIED };
    let deny = tables::deny_list(denied);
    let tables = tables::tables(&stage.net, stage.workload, 0, deny, &stage.tables)?;
    stage.install(tables)?;
    stage.deny_list(false)?;
    let mut bench = Bench {
        stage,
        effort,
        only,
        section,
    };
    if is_large {
        bench.established(&[(MILLION, Some(7.0), false)])?;
        bench.new_flows(*effort, Some(13.0))?;
        return bench.lru();
    }
    bench.established(&[
        (1, Some(3.2), false),
        (4096, Some(3.2), false),
        (4096, None, true),
        (65_536, None, false),
    ])?;
    bench.local()?;
    // A slice fills less than half of the table.
    let slice = effort.slice / 2;
    let slices = effort.slices * 2;
    let halved = Effort {
        slice,
        slices,
        ..*effort
    };
    bench.new_flows(halved, Some(13.0))?;
    bench.passing_and_dropped()?;
    bench.egress()?;
    bench.spliced()?;
    bench.policy()
}

fn notes(effort: &Effort) -> Vec<String> {
    vec![
        "unit = the empty XDP program under BPF_PROG_TEST_RUN in the same run, no packet written"
            .to_owned(),
        format!(
            "best of {} interleaved slices of {} runs; the last verdict and the reason counters are checked",
            effort.rounds * effort.slices,
            effort.slice
        ),
        "a request that is judged passes once: its slices have as many runs as there are flows"
            .to_owned(),
    ]
}

pub(super) struct Bench<'a> {
    pub(super) stage: &'a mut Stage,
    pub(super) effort: &'a Effort,
    only: &'a str,
    section: &'a mut Section,
}

impl Bench<'_> {
    pub(super) fn wants(&self, name: &str) -> bool {
        name.contains(self.only)
    }

    /// Whether rows with this word in their names may be asked for.
    pub(super) fn only_may(&self, word: &str) -> bool {
        self.only.is_empty() || self.only.contains(word)
    }

    pub(super) fn to_service(&self, keys: Keys, flags: u8) -> Settings {
        case::to_service(self.stage, keys, flags)
    }

    fn established(&mut self, rows: &[(u32, Option<f64>, bool)]) -> Result<()> {
        for &(n, target, deny) in rows {
            let extra = if deny {
                ", deny list of 1 M in front"
            } else {
                ""
            };
            let name = format!("established flow, NAT to a remote backend, {n} flows{extra}");
            if !self.wants(&name) {
                continue;
            }
            let keys = Keys::clients(n, Order::Random, tables::SERVICE, tables::SERVICE_PORT);
            case::open_flows(self.stage, Hook::Xdp, keys.once(), n)?;
            self.stage.deny_list(deny)?;
            let settings = self.to_service(keys, TCP_ACK);
            self.measure(&Case {
                target,
                strays: if n > 4096 { 0.01 } else { 0.0 },
                ..Case::new(&name, Hook::Xdp, settings, Reason::Tx, *self.effort)
            })?;
            self.stage.deny_list(false)?;
            case::walk(self.stage, "empty_bucket")?;
        }
        Ok(())
    }

    /// What a local workload is sent and answers: all of it is tc's.
    fn local(&mut self) -> Result<()> {
        for n in [1, 4096] {
            let to = format!("tc: established flow, NAT to a local workload, {n} flows");
            let from = format!("tc: its answers, {n} flows");
            if !self.wants(&to) && !self.wants(&from) {
                continue;
            }
            let service = tables::LOCAL_SERVICE;
            let keys = Keys {
                src_shift: 0,
                sport_mask: 0,
                ..Keys::clients(n, Order::Random, service, tables::SERVICE_PORT)
            };
            case::open_flows(self.stage, Hook::Tc, keys.once(), n)?;
            let answers = Keys {
                src: self.stage.net.workload("web").v4,
                src_mul: 0,
                sport: tables::LOCAL_PORT,
                dst: keys.src,
                dst_mask: n - 1,
                dport: keys.sport,
                ..keys
            };
            let ways = [
                (to, Hook::Tc, keys, Reason::ToWorkload),
                (from, Hook::TcWorkload, answers, Reason::Redirect),
            ];
            for (name, hook, keys, reason) in ways {
                let settings = Settings {
                    verdict: TC_REDIRECT,
                    ..self.to_service(keys, TCP_ACK)
                };
                self.measure(&Case::new(&name, hook, settings, reason, *self.effort))?;
            }
            case::walk(self.stage, "empty_bucket")?;
        }
        Ok(())
    }

    fn new_flows(&mut self, effort: Effort, target: Option<f64>) -> Result<()> {
        let slots = self.stage.maps.limits().flows;
        let name = format!("new flow, NAT to a remote backend, table of {slots} slots");
        if !self.wants(&name) {
            return Ok(());
        }
        let keys = Keys::clients(NEW_KEYS, Order::Once, tables::SERVICE, tables::SERVICE_PORT);
        let settings = self.to_service(keys, TCP_SYN);
        self.measure(&Case {
            target,
            forget: true,
            ..Case::new(&name, Hook::Xdp, settings, Reason::Tx, effort)
        })
    }

    fn passing_and_dropped(&mut self) -> Result<()> {
        let plain = "destination that is no service, 4096 sources";
        let at_tc = format!("tc: {plain}");
        self.passed(plain.to_owned(), Hook::Xdp, XDP_PASS, Some(1.5))?;
        self.passed(at_tc, Hook::Tc, TC_NEXT, None)?;
        for n in [4096, DENIED] {
            let name = format!("dropped by a deny list of 1 M addresses, {n} of them send");
            if !self.wants(&name) {
                continue;
            }
            let target = (n == DENIED).then_some(6.0);
            self.denied(name, n, target)?;
        }
        Ok(())
    }

    fn passed(
        &mut self,
        name: String,
        hook: Hook,
        verdict: u32,
        target: Option<f64>,
    ) -> Result<()> {
        if !self.wants(&name) {
            return Ok(());
        }
        let keys = Keys {
            dst_mask: 0xfff,
            ..Keys::clients(4096, Order::Random, Ipv4Addr::new(203, 0, 0, 0), 80)
        };
        let settings = Settings {
            verdict,
            ..self.to_service(keys, TCP_ACK)
        };
        self.measure(&Case {
            target,
            ..Case::new(&name, hook, settings, Reason::NotOurs, *self.effort)
        })
    }

    fn denied(&mut self, name: String, n_keys: u32, target: Option<f64>) -> Result<()> {
        let keys = Keys {
            src: Ipv4Addr::UNSPECIFIED,
            src_mul: DENY_SCATTER,
            src_shift: 0,
            ..Keys::clients(n_keys, Order::Random, tables::SERVICE, tables::SERVICE_PORT)
        };
        let settings = Settings {
            verdict: XDP_DROP,
            ..self.to_service(keys, TCP_SYN)
        };
        self.stage.deny_list(true)?;
        self.measure(&Case {
            target,
            ..Case::new(&name, Hook::Xdp, settings, Reason::DenyList, *self.effort)
        })?;
        self.stage.deny_list(false)
    }

    /// The kernel's LRU hash with as many keys as the flow table had.
    fn lru(&mut self) -> Result<()> {
        for n in [4096, MILLION] {
            let name = format!("peer: LRU_HASH lookup alone, {n} keys of {}", 2 * MILLION);
            if !self.wants(&name) {
                continue;
            }
            let keys = Keys::clients(n, Order::Random, tables::SERVICE, tables::SERVICE_PORT);
            let look = self.to_service(keys, TCP_ACK);
            let fill = self.to_service(keys.once(), TCP_ACK);
            let [fill, look_up] = harness::lru(2 * MILLION, &fill, &look)?;
            let context = harness::context(Hook::Xdp, self.stage.ifindex);
            harness::run(&fill, &context, n)?;
            let case = Case::new(&name, Hook::Xdp, look, Reason::Tx, *self.effort);
            let times = case::time(self.stage, &case, look_up)?;
            self.add(&case.name, None, &times);
        }
        Ok(())
    }

    fn policy(&mut self) -> Result<()> {
        let mut few = BTreeMap::new();
        for n_rules in RULES {
            if !self.wants("policy") {
                return Ok(());
            }
            let tables = {
                let stage = &self.stage;
                let (net, old) = (&stage.net, &stage.tables);
                tables::tables(net, stage.workload, n_rules, Vec::new(), old)?
            };
            self.stage.install(tables)?;
            for (sources, what) in [(8, "8 sources"), (1 << n_rules.ilog2(), "all sources")] {
                let name = format!("denied by policy (tc), {n_rules} rules, {what}");
                let net = self.judged(name, sources)?;
                let first = *few.entry(what).or_insert(net);
                if n_rules == RULES[RULES.len() - 1] {
                    self.flat(what, net / first);
                }
            }
        }
        Ok(())
    }

    /// Whether policy costs the same however many rules there are. With all
    /// sources sending, more rules are also more cache misses.
    fn flat(&mut self, what: &str, ratio: f64) {
        let is_claim = what == "8 sources";
        let outcome = match is_claim {
            true if ratio <= FLAT => Outcome::Pass,
            true => Outcome::Short,
            false => Outcome::Info,
        };
        let target = if is_claim {
            format!("{FLAT:.2}")
        } else {
            "-".to_owned()
        };
        let name = format!("policy: 100,000 rules over 10 rules, {what}");
        let mut cells = vec![name, "-".to_owned(), format!("{ratio:.2}"), target];
        cells.resize(self.section.columns.len(), "-".to_owned());
        self.section.rows.push(Row {
            cells,
            outcome,
            target: is_claim.then(|| format!("<= {FLAT:.2}")),
            figures: [("ratio".to_owned(), ratio)].into(),
        });
    }

    fn judged(&mut self, name: String, sources: u32) -> Result<f64> {
        let keys = Keys {
            src: FIRST_RULE,
            src_shift: 0,
            dport: RULE_PORT,
            dport_mask: RULE_PORTS - 1,
            ..Keys::clients(sources, Order::Random, self.stage.net.workload("web").v4, 0)
        };
        let settings = Settings {
            verdict: TC_DROP,
            ..self.to_service(keys, TCP_SYN)
        };
        let reason = Reason::IngressDenied;
        self.measure(&Case::new(&name, Hook::Tc, settings, reason, *self.effort))?;
        let row = self.section.rows.last().context("measure() adds a row")?;
        Ok(row.figures["net_ns"])
    }

    pub(super) fn measure(&mut self, case: &Case) -> Result<()> {
        let times = case::measure(self.stage, case)?;
        self.add(&case.name, case.target, &times);
        Ok(())
    }

    pub(super) fn measure_anew(&mut self, case: &Case, anew: Anew<'_>) -> Result<()> {
        let times = case::measure_anew(self.stage, case, anew)?;
        self.add(&case.name, case.target, &times);
        Ok(())
    }

    fn add(&mut self, name: &str, target: Option<f64>, times: &Times) {
        let [unit, floor, total] = [times.best[0], times.best[1], times.best[2]];
        let net = total - floor;
        let units = net / unit;
        let outcome = match target {
            Some(target) if units <= target => Outcome::Pass,
            Some(_) => Outcome::Short,
            None => Outcome::Info,
        };
        let row = Row {
            cells: vec![
                name.to_owned(),
                format!("{net:.1}"),
                format!("{units:.2}"),
                target.map_or("-".to_owned(), |target| format!("{target:.1}")),
                format!("{total:.1}"),
                format!("{floor:.1}"),
                format!("{unit:.1}"),
            ],
            outcome,
            target: target.map(|target| format!("<= {target:.1}")),
            figures: [
                ("net_ns", net),
                ("units", units),
                ("total_ns", total),
                ("floor_ns", floor),
                ("unit_ns", unit),
                ("median_total_ns", times.median[2]),
            ]
            .into_iter()
            .chain(times.instructions.map(|count| ("instructions", count)))
            .map(|(name, value)| (name.to_owned(), value))
            .collect(),
        };
        eprintln!("{} {:?}", row.cells.join(" | "), row.outcome);
        self.section.rows.push(row);
    }
}
