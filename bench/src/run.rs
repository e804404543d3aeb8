//! `run`: scenario after scenario, into one result.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use crate::result::{ArmResult, Measured, RunFile};
use crate::scenario::{Kind, Scenario};
use crate::{check, control, growth, host, interrupt, library, page};
use crate::{programs, scratch, shortcut, traffic};

#[derive(Debug, Args)]
pub struct Options {
    /// Names that `list` shows, or files; without any, all that ship
    scenarios: Vec<String>,
    /// Without names: the standard set
    #[arg(long)]
    standard: bool,
    /// Few and short rounds, to see that it works
    #[arg(long)]
    quick: bool,
    /// Folder for result.json, report.html and report.md
    #[arg(long, default_value = "target/bench")]
    out: PathBuf,
    /// Measure every arm twice in so many rounds, whatever the scenarios say
    #[arg(long)]
    repeats: Option<usize>,
    /// The terrace binary; by default the one beside this program
    #[arg(long)]
    terrace: Option<PathBuf>,
}

/// What all scenarios of a run share.
#[derive(Debug)]
pub struct Context {
    pub terrace: Option<PathBuf>,
    pub envoy: Option<PathBuf>,
    pub quick: bool,
    /// The standard set was asked for: ten minutes for all.
    pub standard: bool,
}

impl Context {
    /// A result without figures.
    pub fn empty(&self, scenario: &Scenario) -> Measured {
        Measured {
            name: scenario.name.clone(),
            title: scenario.title.clone(),
            about: scenario.about.clone(),
            load: String::new(),
            axis: scenario
                .curve
                .as_ref()
                .map(|curve| curve.axis.shown().to_owned()),
            against: scenario.against.clone(),
            headline: scenario.headline.clone(),
            cpus: std::collections::BTreeMap::new(),
            arms: Vec::new(),
            notes: Vec::new(),
            noise: Vec::new(),
            seconds: 0.0,
            origin: None,
        }
    }
}

impl Context {
    /// A scenario that came to an end of its own is void; the others go on.
    fn failed(&self, scenario: &Scenario, error: &anyhow::Error) -> Measured {
        let mut measured = self.empty(scenario);
        measured.arms.push(ArmResult {
            name: "the whole scenario".to_owned(),
            void: Some(format!("{error:#}")),
            ..ArmResult::default()
        });
        measured
    }
}

pub fn run(options: &Options) -> Result<()> {
    ensure!(
        rustix::process::geteuid().is_root(),
        "measuring makes network namespaces and loads BPF programs: run this as root"
    );
    terrace_testkit::sweep();
    scratch::sweep();
    interrupt::watch()?;
    let mut scenarios = library::choose(&options.scenarios, options.standard)?;
    for scenario in &mut scenarios {
        if let Some(repeats) = options.repeats {
            scenario.rounds.repeats = repeats.max(1);
        }
        if options.standard {
            scenario.shorten();
        }
        if options.quick {
            scenario.quicken();
        }
    }
    let context = Context {
        terrace: options.terrace.clone(),
        envoy: check::envoy(),
        quick: options.quick,
        standard: options.standard,
    };
    let result = measure(&scenarios, &context)?;
    std::fs::create_dir_all(&options.out)
        .with_context(|| format!("make {}", options.out.display()))?;
    result.write(&options.out.join("result.json"))?;
    page::write(&result, &options.out)?;
    eprintln!(
        "written: {0}/result.json, {0}/report.html, {0}/report.md",
        options.out.display()
    );
    let voids = voids(&result);
    ensure!(
        voids.is_empty(),
        "void, see the report:\n{}",
        voids.join("\n")
    );
    Ok(())
}

fn measure(scenarios: &[Scenario], context: &Context) -> Result<RunFile> {
    let command: Vec<String> = std::env::args().skip(1).collect();
    let command = format!("terrace-bench {}", command.join(" "));
    let started = jiff::Timestamp::now()
        .strftime("%Y-%m-%dT%H:%M:%SZ")
        .to_string();
    let mut result = RunFile::new(command, host::facts(), started);
    let start = Instant::now();
    let style = ProgressStyle::with_template("{prefix:24} {wide_bar} {pos}/{len} {elapsed} {msg}")?;
    for scenario in scenarios {
        let bar = ProgressBar::new(steps(scenario)).with_style(style.clone());
        bar.set_prefix(scenario.name.clone());
        if bar.is_hidden() {
            eprintln!("{} ...", scenario.name);
        }
        let begun = Instant::now();
        let measured = one(scenario, context, &bar);
        bar.finish_and_clear();
        interrupt::check()?;
        let mut measured = measured.unwrap_or_else(|error| context.failed(scenario, &error));
        measured.seconds = begun.elapsed().as_secs_f64();
        println!("{}", crate::tables::text(&measured));
        result.scenarios.push(measured);
    }
    result.seconds = start.elapsed().as_secs_f64();
    Ok(result)
}

/// Steps of the progress bar.
fn steps(scenario: &Scenario) -> u64 {
    let points = scenario
        .curve
        .as_ref()
        .map_or(1, |curve| curve.values.len());
    match scenario.kind {
        Kind::Traffic => (2 * scenario.rounds.repeats * scenario.arms.len() * points) as u64,
        Kind::Growth => points as u64,
        Kind::Shortcut => scenario.rounds.repeats as u64,
        Kind::Programs | Kind::Control => 1,
    }
}

fn one(scenario: &Scenario, context: &Context, bar: &ProgressBar) -> Result<Measured> {
    match scenario.kind {
        Kind::Traffic => traffic::measure(scenario, context, bar),
        Kind::Growth => growth::measure(scenario, context, bar),
        Kind::Shortcut => shortcut::measure(scenario, context, bar),
        Kind::Programs => programs::measure(scenario, context),
        Kind::Control => control::measure(scenario, context),
    }
}

/// The arms whose figures nobody may quote, but for those that cannot run here.
fn voids(result: &RunFile) -> Vec<String> {
    let mut voids = Vec::new();
    for scenario in &result.scenarios {
        for arm in &scenario.arms {
            match &arm.void {
                Some(why) if !why.starts_with("not started") => {
                    voids.push(format!("{}, {}: {why}", scenario.name, arm.name));
                }
                _ => {}
            }
        }
    }
    voids
}
