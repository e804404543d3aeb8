//! `cargo xtask budget`: how many instructions the verifier walks for each BPF
//! program, against the ceilings of ci/budget.toml.
//!
//! The number grows with every branch that the verifier can't prune; the kernel
//! refuses a program at one million. A ceiling is a tenth above what was
//! recorded, for other kernels count a little differently.

use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;
use terrace_abi::{Limits, Maps, Program};
use terrace_sock::connect;
use terrace_sock::explain::DryRun;
use terrace_sock::proxy::ProxyPrograms;
use terrace_sock::records::Records;
use terrace_sock::shortcut::Shortcut;
use terrace_sock::sockets::Sockets;
use terrace_tc::{Direction, Role, TcPrograms};
use terrace_testkit::PinRoot;
use terrace_xdp::XdpPrograms;

/// Program -> verified instructions.
type Counts = BTreeMap<String, u32>;

fn main() -> ExitCode {
    let update = std::env::args().any(|arg| arg == "--update");
    match run(update) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(update: bool) -> Result<()> {
    let measured = measure()?;
    if update {
        let ceilings = measured
            .iter()
            .map(|(name, n)| (name.clone(), ceiling(*n)))
            .collect();
        write(&ceilings)?;
    }
    let ceilings = read()?;
    print(&measured, &ceilings);
    let faults = compare(&measured, &ceilings);
    if !faults.is_empty() {
        bail!(
            "{}\n`cargo xtask budget --update` records what is",
            faults.join("\n")
        );
    }
    Ok(())
}

/// Loads every program as `terrace run` does, under a pin root of its own.
fn measure() -> Result<Counts> {
    let pins = PinRoot::new()?;
    let limits = Limits::default();
    let maps = Maps::open(pins.path(), &limits).context("open the tables")?;
    let xdp = XdpPrograms::load(&maps).context("load the XDP programs")?;
    let tc =
        TcPrograms::load(&maps, &terrace_tc::Options::default()).context("load the tc programs")?;
    let shortcut = Shortcut::load(&maps, 1024).context("load the shortcut's programs")?;
    let options = connect::Options {
        proxy: true,
        cgroups: true,
        ..connect::Options::default()
    };
    let at_connect =
        connect::ConnectPrograms::load(&maps, &options).context("load the connect programs")?;
    let entries = options.max_entries;
    let proxy = ProxyPrograms::load(&maps, entries).context("load the proxy's programs")?;
    let sockets = Sockets::load(&maps, entries).context("load the iterators of sockets")?;
    let records = Records::load(&maps, entries).context("load the iterators of records")?;
    let explain = DryRun::load(&maps, &options).context("load the dry run of connect()")?;
    let mut programs: Vec<&Program> = maps.programs().iter().collect();
    programs.extend(at_connect.programs());
    programs.extend(proxy.programs());
    programs.extend(sockets.programs());
    programs.extend(records.programs());
    programs.push(explain.program());
    programs.extend(shortcut.programs());
    programs.push(xdp.program());
    for role in [Role::Uplink, Role::Workload] {
        programs.extend(Direction::ALL.map(|direction| tc.program(role, direction)));
    }
    programs.push(tc.l7_port());
    let counts = programs.iter().map(|program| {
        (
            program.name().to_owned(),
            program.info().verified_instructions,
        )
    });
    Ok(counts.collect())
}

fn ceiling(measured: u32) -> u32 {
    measured + measured / 10 + 10
}

fn compare(measured: &Counts, ceilings: &Counts) -> Vec<String> {
    let over = measured
        .iter()
        .filter_map(|(name, n)| match ceilings.get(name) {
            Some(ceiling) if n <= ceiling => None,
            Some(ceiling) => Some(format!(
                "{name}: {n} instructions, the ceiling is {ceiling}"
            )),
            None => Some(format!("{name} has no ceiling")),
        });
    let gone = ceilings.keys().filter(|name| !measured.contains_key(*name));
    let gone = gone.map(|name| format!("{name} has a ceiling, but there is no such program"));
    over.chain(gone).collect()
}

fn print(measured: &Counts, ceilings: &Counts) {
    println!("{:32} {:>10} {:>10}", "program", "verified", "ceiling");
    for (name, n) in measured {
        let ceiling = ceilings
            .get(name)
            .map_or("none".to_owned(), ToString::to_string);
        println!("{name:32} {n:>10} {ceiling:>10}");
    }
}

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../budget.toml")
}

fn read() -> Result<Counts> {
    let text = std::fs::read_to_string(path()).context("read ci/budget.toml")?;
    toml::from_str(&text).context("parse ci/budget.toml")
}

fn write(ceilings: &Counts) -> Result<()> {
    let text = toml::to_string(ceilings).context("write the ceilings")?;
    let head = "# Ceilings of verified instructions. Written by `cargo xtask budget --update`.\n";
    std::fs::write(path(), format!("{head}{text}")).context("write ci/budget.toml")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(rows: &[(&str, u32)]) -> Counts {
        rows.iter()
            .map(|(name, n)| ((*name).to_owned(), *n))
            .collect()
    }

    #[test]
    fn growth_news_and_losses_are_faults() {
        let rows = [
            ("at the ceiling", counts(&[("a", 100)]), None),
            ("below", counts(&[("a", 1)]), None),
            ("over", counts(&[("a", 101)]), Some("the ceiling is 100")),
            (
                "new",
                counts(&[("a", 1), ("b", 1)]),
                Some("b has no ceiling"),
            ),
            ("gone", counts(&[]), Some("no such program")),
        ];
        for (row, measured, expected) in rows {
            let faults = compare(&measured, &counts(&[("a", 100)]));
            match expected {
                None => assert!(faults.is_empty(), "{row}: {faults:?}"),
                Some(part) => assert!(faults.concat().contains(part), "{row}: {faults:?}"),
            }
        }
    }

    #[test]
    fn root_no_program_needs_more_instructions_than_its_ceiling() {
        let faults = compare(&measure().unwrap(), &read().unwrap());
        assert!(faults.is_empty(), "{}", faults.join("\n"));
    }
}
