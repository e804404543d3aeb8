//! `control`: 10,000 services with 100,000 backends. How long they take to
//! load, and how long one changed endpoint takes, while packets go through.

pub mod mesh;
mod traffic;

use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};
use clap::Args;
use terrace_mesh::{Change, Compiler, Op, Tables, diff, parse};

use crate::programs::stage::Stage;
use crate::report::{Outcome, Row, Section};
use crate::result::{ArmResult, Measured};
use crate::run::Context;
use crate::scenario::Scenario;
use crate::stats::median;
use terrace::apply::apply;
use traffic::Traffic;

/// Milliseconds that one endpoint may take.
const TARGET_MS: f64 = 10.0;

#[derive(Debug, Args)]
pub struct Options {
    #[arg(long, default_value_t = 10_000)]
    pub services: u32,
    /// Backends of each service
    #[arg(long, default_value_t = 10)]
    backends: u32,
    /// Slots of a service's Maglev ring
    #[arg(long, default_value_t = 16_381)]
    ring: u32,
    /// Endpoints that change, one after the other
    #[arg(long, default_value_t = 41)]
    changes: u32,
    /// The CPU that the packets go through
    #[arg(long, default_value_t = 1)]
    cpu: usize,
}

/// As a scenario: with fewer changes when it has to be quick.
pub fn measure(scenario: &Scenario, context: &Context) -> Result<Measured> {
    let options = match context.quick {
        true => Options {
            services: 100,
            changes: 5,
            ..Options::default()
        },
        false => Options::default(),
    };
    let section = run(&options)?;
    let mut measured = context.empty(scenario);
    measured.load = section.title.clone();
    measured.arms = section.rows.iter().map(ArmResult::of_row).collect();
    measured.notes = section.notes;
    Ok(measured)
}

impl Options {
    /// The defaults with another number of services.
    pub fn of(services: u32) -> Self {
        Self {
            services,
            ..Self::default()
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            services: 10_000,
            backends: 10,
            ring: 16_381,
            changes: 41,
            cpu: 1,
        }
    }
}

pub fn run(options: &Options) -> Result<Section> {
    let mut section = Section::new(
        &format!(
            "control: {} services, {} backends, rings of {} slots",
            options.services,
            options.services * options.backends,
            options.ring
        ),
        &["step", "ms", "longest", "target"],
    );
    let limits = mesh::limits(options);
    let stage = Stage::new(&limits, None)?;
    let files: Vec<_> = (0..options.services)
        .map(|service| mesh::file(options, service, None))
        .collect();
    let (manifests, took) = timed(|| parse(&files).map_err(|errors| anyhow!("{errors}")))?;
    add(&mut section, "parse all manifests", &[took], None);
    let facts = mesh::facts(&stage.net, options, &limits);
    let compile = || Compiler::new(manifests, facts, None).map_err(|errors| anyhow!("{errors}"));
    let (mut compiler, took) = timed(compile)?;
    add(&mut section, "compile all", &[took], None);
    let load = || apply(&stage.maps, &diff(&Tables::new(&limits), compiler.tables()));
    let (_, took) = timed(load)?;
    add(&mut section, "write all to the kernel", &[took], None);
    let traffic = Traffic::new(&stage)?;
    let (changes, packets) = traffic.during(options.cpu, || {
        (0..options.changes)
            .map(|n| change(&stage, &mut compiler, options, n))
            .collect::<Result<Vec<_>>>()
    })?;
    let changes = changes?;
    let entries = add_changes(&mut section, &changes);
    section.notes = vec![
        format!(
            "{} changes under traffic on CPU {}: {} packets of established and new flows to services that changed, {} of them not forwarded",
            changes.len(),
            options.cpu,
            packets.all,
            packets.lost
        ),
        format!(
            "{} entries written a change",
            entries / changes.len().max(1)
        ),
    ];
    ensure!(
        packets.lost == 0,
        "{} packets lost: {}",
        packets.lost,
        packets.ways
    );
    Ok(section)
}

/// What a row is about.
type Part = fn(&Times) -> Duration;

/// The rows of one changed endpoint; the entries that all changes wrote.
fn add_changes(section: &mut Section, changes: &[Times]) -> usize {
    let part = |of: Part| changes.iter().map(of).collect::<Vec<_>>();
    let rows: [(&str, Part, Option<f64>); 4] = [
        (
            "one endpoint changed: compile and diff",
            |t| t.compile,
            None,
        ),
        (
            "one endpoint changed: write to the kernel",
            |t| t.apply,
            None,
        ),
        (
            "one endpoint changed: in effect after",
            |t| t.compile + t.apply,
            Some(TARGET_MS),
        ),
        (
            "then: grace periods, clearing what nobody uses",
            |t| t.clear,
            None,
        ),
    ];
    for (name, of, target) in rows {
        add(section, name, &part(of), target);
    }
    changes.iter().map(|times| times.entries).sum()
}

/// What one change took.
pub struct Times {
    pub compile: Duration,
    /// Until every new packet is served the new way.
    pub apply: Duration,
    /// From the first grace period on: what is left only looks tidier.
    clear: Duration,
    entries: usize,
}

/// Endpoint 0 of a service gets another address; every second change is of the
/// service that the packets are for.
pub fn change(stage: &Stage, compiler: &mut Compiler, options: &Options, n: u32) -> Result<Times> {
    let service = if n.is_multiple_of(2) {
        0
    } else {
        n * 97 % options.services
    };
    let changed = Change::Put(mesh::file(options, service, Some(n + 1)));
    let update = || {
        compiler
            .update(&[changed])
            .map_err(|errors| anyhow!("{errors}"))
    };
    let (ops, compile) = timed(update)?;
    let grace = ops.iter().position(|op| matches!(op, Op::Grace));
    let (now, later) = ops.split_at(grace.unwrap_or(ops.len()));
    let (_, applied) = timed(|| apply(&stage.maps, now))?;
    let (_, clear) = timed(|| apply(&stage.maps, later))?;
    Ok(Times {
        compile,
        apply: applied,
        clear,
        entries: ops.iter().map(entries).sum(),
    })
}

fn entries(op: &Op) -> usize {
    match op {
        Op::Write { entries, .. } => entries.len(),
        Op::NewRing { ring, .. } => ring.size().div_ceil(2) as usize,
        Op::PatchRing { entries, .. } => entries.len(),
        _ => 0,
    }
}

fn timed<T>(work: impl FnOnce() -> Result<T>) -> Result<(T, Duration)> {
    let start = Instant::now();
    Ok((work()?, start.elapsed()))
}

fn add(section: &mut Section, name: &str, times: &[Duration], target: Option<f64>) {
    let ms: Vec<f64> = times.iter().map(|time| time.as_secs_f64() * 1e3).collect();
    let longest = ms.iter().copied().fold(0.0, f64::max);
    let middle = median(&ms);
    let outcome = match target {
        Some(target) if middle < target => Outcome::Pass,
        Some(_) => Outcome::Short,
        None => Outcome::Info,
    };
    section.rows.push(Row {
        cells: vec![
            name.to_owned(),
            format!("{middle:.2}"),
            format!("{longest:.2}"),
            target.map_or("-".to_owned(), |target| format!("< {target:.0}")),
        ],
        outcome,
        target: target.map(|target| format!("< {target:.0}")),
        figures: [
            ("median_ms".to_owned(), middle),
            ("longest_ms".to_owned(), longest),
        ]
        .into(),
    });
}
