//! `terrace check`: everything that `run` would refuse, without running.

use std::fmt::Write;
use std::sync::Arc;

use ipnet::IpNet;
use serde::Serialize;
use terrace_mesh::SourceFile;

use super::args::{CheckArgs, Global};
use super::exit::{Code, Failure};
use super::output::Output;
use crate::config::{Config, Fault, deny, manifests};
use crate::netlink::Network;
use crate::render::{Style, units::plural};
use crate::run::facts::host_facts;

/// What was read, and what is wrong with it.
#[derive(Debug, Default, Serialize)]
struct Findings {
    files: usize,
    /// False when the configuration does not say where they are.
    manifests_checked: bool,
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
    let lists = config.as_ref().map(|config| deny::load(&config.deny_lists));
    let denied = match lists {
        Some(Ok(prefixes)) => prefixes,
        Some(Err(faults)) => {
            findings.faults.extend(faults.0);
            Vec::new()
        }
        None => Vec::new(),
    };
    findings.denied_prefixes = denied.len();
    let paths: Vec<_> = match args.manifests.is_empty() {
        true => config
            .iter()
            .map(|config| config.manifests.clone())
            .collect(),
        false => args.manifests.clone(),
    };
    findings.manifests_checked = !paths.is_empty();
    match manifests::read(&paths) {
        Ok(texts) => {
            findings.files = texts.len();
            let config = config.unwrap_or_default();
            let sources = texts
                .into_iter()
                .map(|(path, text)| SourceFile { path, text });
            let errors = errors_of(&sources.collect::<Vec<_>>(), &config, &denied.into());
            findings
                .faults
                .extend(errors.into_iter().map(|error| fault(error, &config)));
        }
        Err(faults) => findings.faults.extend(faults.0),
    }
    findings
}

/// What the compiler refuses: single documents first, then how they go
/// together and whether they fit the limits.
fn errors_of(
    sources: &[SourceFile],
    config: &Config,
    deny: &Arc<[IpNet]>,
) -> Vec<terrace_mesh::Error> {
    let nobody = std::iter::empty();
    let facts = host_facts(config, &Network::default(), &config.limits, deny, nobody);
    let compiled = terrace_mesh::parse(sources)
        .and_then(|manifests| terrace_mesh::compile(&manifests, &facts, None));
    compiled.err().map(|errors| errors.0).unwrap_or_default()
}

fn fault(error: terrace_mesh::Error, config: &Config) -> Fault {
    let of_host = error.file.as_os_str().is_empty();
    let key = [error.document, error.path]
        .into_iter()
        .filter(|part| !part.is_empty());
    Fault {
        file: if of_host {
            config.file.clone()
        } else {
            error.file
        },
        line: error.line as usize,
        key: key.collect::<Vec<_>>().join(": "),
        what: error.message,
        fix: String::new(),
    }
}

fn render(findings: &Findings, _style: &Style) -> String {
    if findings.faults.is_empty() {
        let files = plural(findings.files, "manifest");
        let denied = plural(findings.denied_prefixes, "denied prefix");
        return format!("all is right: the configuration, {files}, {denied}\n");
    }
    let mut text = String::new();
    for fault in &findings.faults {
        let _ = writeln!(text, "{fault}");
    }
    let not_checked = match findings.manifests_checked {
        true => "",
        false => "; the manifests are checked when the configuration is right",
    };
    text + &format!("{}{not_checked}\n", plural(findings.faults.len(), "fault"))
}
