//! `terrace check`: everything that `run` would refuse, without running.

use std::fmt::Write;

use serde::Serialize;

use super::args::{CheckArgs, Global};
use super::exit::{Code, Failure};
use super::output::Output;
use crate::config::{Config, Fault, deny, manifests};
use crate::render::{Style, units::plural};

/// What was read, and what is wrong with it.
#[derive(Debug, Default, Serialize)]
struct Findings {
    files: usize,
    denied_prefixes: usize,
    faults: Vec<Fault>,
}

pub(super) fn check(global: &Global, args: &CheckArgs, output: &Output) -> Result<Code, Failure> {
    let findings = look(global, args);
    output.print(&findings, render)?;
    Ok(if findings.faults.is_empty() {
        Code::Ok
    } else {
        Code::Refused
    })
}

fn look(global: &Global, args: &CheckArgs) -> Findings {
    let mut findings = Findings::default();
    // Named manifests are checked even where there is no configuration.
    let config = match Config::load(&global.config) {
        Ok(config) => Some(config),
        Err(_) if !args.manifests.is_empty() && !global.config.exists() => None,
        Err(faults) => {
            findings.faults.extend(faults.0);
            None
        }
    };
    if let Some(config) = &config {
        match deny::load(&config.deny_lists) {
            Ok(prefixes) => findings.denied_prefixes = prefixes.len(),
            Err(faults) => findings.faults.extend(faults.0),
        }
    }
    let paths = match args.manifests.is_empty() {
        true => config
            .iter()
            .map(|config| config.manifests.clone())
            .collect(),
        false => args.manifests.clone(),
    };
    match manifests::read(&paths) {
        Ok(texts) => {
            findings.files = texts.len();
        }
        Err(faults) => findings.faults.extend(faults.0),
    }
    findings
}

fn render(findings: &Findings, _style: &Style) -> String {
    if findings.faults.is_empty() {
        let files = plural(findings.files, "manifest");
        let denied = plural(findings.denied_prefixes, "denied address");
        return format!("all is right: the configuration, {files}, {denied}\n");
    }
    let mut text = String::new();
    for fault in &findings.faults {
        let _ = writeln!(text, "{fault}");
    }
    text + &format!("{}\n", plural(findings.faults.len(), "fault"))
}
