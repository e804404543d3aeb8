//! `terrace detach`: removes every trace, then looks again.

use std::io::{self, BufRead, IsTerminal, Write};
use std::path::PathBuf;

use anyhow::Context;
use serde::Serialize;
use terrace_abi::pins;
use terrace_offload::flower;

use super::args::{DetachArgs, Global};
use super::daemon;
use super::exit::{Code, Failure};
use super::output::Output;
use crate::api::Status;
use crate::config::{Config, DEFAULT_PIN_ROOT, DEFAULT_SOCKET};
use crate::l7::port;
use crate::lifecycle::nic_rules::NicRules;
use crate::lifecycle::{self, sysctls};
use crate::render::{Style, units::plural};

/// Where traces of one daemon can be.
struct Places {
    pin_root: PathBuf,
    socket: PathBuf,
    /// Where the daemon keeps its record of sysctls.
    state: PathBuf,
}

/// What there is of Terrace, one line a thing.
#[derive(Debug, Default, Serialize)]
struct Traces {
    programs: Vec<String>,
    pins: Vec<PathBuf>,
    sysctls: Vec<String>,
    /// The l7 port.
    interfaces: Vec<String>,
    socket: Option<PathBuf>,
}

#[derive(Debug, Serialize)]
struct Report {
    found: Traces,
    /// What became of the sysctls.
    restored: Vec<String>,
    /// What is there after all; empty = the proof that nothing is left.
    left: Option<Traces>,
}

pub(super) fn detach(global: &Global, args: &DetachArgs, output: &Output) -> Result<Code, Failure> {
    if !rustix::process::geteuid().is_root() {
        let what = "only root can see and remove BPF programs";
        return Err(Failure::new(Code::NotPermitted, what, "run it with sudo"));
    }
    let places = places(global, args)?;
    let found = look(&places)?;
    if args.dry_run {
        let report = Report {
            found,
            restored: Vec::new(),
            left: None,
        };
        return output.print(&report, render);
    }
    refuse_while_running(global)?;
    if !found.is_empty() && !args.yes {
        ask(&found)?;
    }
    let restored = lifecycle::remove(&places.pin_root, &places.socket)?;
    let report = Report {
        found,
        restored,
        left: Some(look(&places)?),
    };
    output.print(&report, render)?;
    match report.left.is_some_and(|left| !left.is_empty()) {
        true => Ok(Code::Failure),
        false => Ok(Code::Ok),
    }
}

/// Of the configuration; of the defaults when there is none.
fn places(global: &Global, args: &DetachArgs) -> Result<Places, Failure> {
    let (pin_root, socket) = match Config::load(&global.config) {
        Ok(config) => (config.pin_root, config.control_socket),
        Err(_) if args.pin_root.is_some() || !global.config.exists() => (
            PathBuf::from(DEFAULT_PIN_ROOT),
            PathBuf::from(DEFAULT_SOCKET),
        ),
        Err(faults) => {
            let fix = "mend it, or name the pins with --pin-root".into();
            return Err(Failure {
                fix,
                ..Failure::from(faults)
            });
        }
    };
    let socket = global.socket.clone().unwrap_or(socket);
    let state = lifecycle::state_folder(&socket).to_owned();
    Ok(Places {
        pin_root: args.pin_root.clone().unwrap_or(pin_root),
        socket,
        state,
    })
}

fn refuse_while_running(global: &Global) -> Result<(), Failure> {
    match daemon::client(global).get::<Status>("/v1/status") {
        Ok(status) => {
            let what = format!(
                "the daemon runs (pid {}) and would arm everything again",
                status.pid
            );
            Err(Failure::new(
                Code::Failure,
                what,
                "stop it first: `systemctl stop terrace`",
            ))
        }
        Err(_) => Ok(()),
    }
}

fn look(places: &Places) -> Result<Traces, Failure> {
    let xdp = terrace_xdp::list().context("look for XDP programs")?;
    let tc = terrace_tc::list().context("look for tc programs")?;
    let xdp = xdp
        .iter()
        .map(|a| format!("{}: xdp {}, program {}", a.iface, a.mode, a.program_id));
    let tc = tc.iter().map(|a| {
        format!(
            "{}: tc {} {}, program {}",
            a.iface, a.direction, a.kind, a.program_id
        )
    });
    let sock = terrace_sock::links::list(&places.pin_root).context("look for socket programs")?;
    let sock = sock.iter().map(|a| {
        format!(
            "cgroup or namespace {}: {}, program {}",
            a.target, a.pin, a.program_id
        )
    });
    // Kernels without tc have no rules of it.
    let rules = flower::holders().unwrap_or_default().into_iter();
    let rules =
        rules.map(|(ifindex, n)| format!("link {ifindex}: {n} rules of tc flower in the NIC"));
    let recorded = NicRules::beside(&places.socket).held();
    let recorded = recorded.context("read what is in NICs")?.into_iter();
    let recorded =
        recorded.map(|(ifindex, n)| format!("link {ifindex}: {n} classification rules in the NIC"));
    Ok(Traces {
        programs: xdp
            .chain(tc)
            .chain(sock)
            .chain(rules)
            .chain(recorded)
            .collect(),
        pins: pins::list(&places.pin_root).context("look for pins")?,
        sysctls: sysctls::left(&places.state)?,
        interfaces: port::exists()?
            .then(|| port::TC_END.to_owned())
            .into_iter()
            .collect(),
        socket: places.socket.exists().then(|| places.socket.clone()),
    })
}

/// On a terminal only; scripts say --yes.
fn ask(found: &Traces) -> Result<(), Failure> {
    if !io::stdin().is_terminal() {
        let fix = "say --yes; --dry-run shows what there is";
        return Err(Failure::usage("nobody is there to confirm it", fix));
    }
    let what = found.summary();
    eprint!("Remove {what}? Connections through services end. [y/N] ");
    let _ = io::stderr().flush();
    let mut answer = String::new();
    let read = io::stdin().lock().read_line(&mut answer);
    match read.is_ok() && ["y", "yes"].contains(&answer.trim().to_lowercase().as_str()) {
        true => Ok(()),
        false => Err(Failure::new(Code::Failure, "nothing was removed", "")),
    }
}

impl Traces {
    fn is_empty(&self) -> bool {
        self.programs.is_empty()
            && self.pins.is_empty()
            && self.sysctls.is_empty()
            && self.interfaces.is_empty()
            && self.socket.is_none()
    }

    fn summary(&self) -> String {
        let mut parts = vec![
            plural(self.programs.len(), "attached program"),
            plural(self.pins.len(), "pin"),
            plural(self.sysctls.len(), "changed sysctl"),
        ];
        parts.extend(self.interfaces.iter().cloned());
        parts.extend(
            self.socket
                .as_ref()
                .map(|socket| format!("{}", socket.display())),
        );
        parts.join(", ")
    }

    fn lines(&self) -> impl Iterator<Item = String> {
        let pins = self.pins.iter().map(|pin| pin.display().to_string());
        let socket = self
            .socket
            .iter()
            .map(|socket| socket.display().to_string());
        let sysctls = self
            .sysctls
            .iter()
            .map(|sysctl| format!("{sysctl}: changed"));
        self.programs
            .iter()
            .cloned()
            .chain(pins)
            .chain(sysctls)
            .chain(
                self.interfaces
                    .iter()
                    .map(|name| format!("{name}: the l7 port")),
            )
            .chain(socket)
    }
}

fn render(report: &Report, _style: &Style) -> String {
    let list = |traces: &Traces| {
        traces
            .lines()
            .map(|line| format!("  {line}\n"))
            .collect::<String>()
    };
    let Some(left) = &report.left else {
        return match report.found.is_empty() {
            true => "nothing of Terrace is here\n".into(),
            false => format!(
                "{} would go:\n{}",
                report.found.summary(),
                list(&report.found)
            ),
        };
    };
    let mut text = match report.found.is_empty() {
        true => "nothing of Terrace was here\n".to_owned(),
        false => format!(
            "removed {}:\n{}",
            report.found.summary(),
            list(&report.found)
        ),
    };
    for line in &report.restored {
        text.push_str(&format!("  {line}\n"));
    }
    match left.is_empty() {
        true => text + "looked again: no program, pin, sysctl or socket of Terrace is left\n",
        false => {
            let why = "held by another daemon, pin root or process";
            format!("{text}still here, {why}:\n{}", list(left))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn traces(n: usize) -> Traces {
        Traces {
            programs: vec!["eth0: xdp native, program 7".into(); n],
            pins: vec!["/sys/fs/bpf/terrace/maps/flows".into(); n],
            sysctls: vec![],
            interfaces: vec![],
            socket: None,
        }
    }

    #[test]
    fn the_report_says_what_went_and_what_stayed() {
        let report = |found, left| Report {
            found: traces(found),
            restored: vec![],
            left,
        };
        let rows = [
            (
                "dry, nothing",
                report(0, None),
                "nothing of Terrace is here\n",
            ),
            (
                "dry, something",
                report(1, None),
                "would go:\n  eth0: xdp native, program 7\n",
            ),
            (
                "nothing",
                report(0, Some(traces(0))),
                "was here\nlooked again: no program",
            ),
            ("all gone", report(1, Some(traces(0))), "is left\n"),
            (
                "left",
                report(1, Some(traces(1))),
                "still here, held by another daemon",
            ),
        ];
        for (name, report, part) in rows {
            let text = render(&report, &Style::default());
            assert!(text.contains(part), "{name}: {text}");
        }
    }
}
