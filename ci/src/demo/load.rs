//! HTTP clients: curl for single requests, wrk for load.

use super::say;
use anyhow::{Context, Result, bail};
use rustix::process::Signal;
use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;
use terrace_testkit::{Background, Netns};

/// The body of one request on a connection of its own, by curl.
pub fn curl(ns: &Netns, url: &str, source: Option<&str>) -> Result<String> {
    let mut command = Command::new("curl");
    command.args(["-sS", "--fail", "--connect-timeout", "1", "--max-time", "5"]);
    if let Some(source) = source {
        command.args(["--interface", source]);
    }
    let output = ns.output(command.arg(url))?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// How often each server answered `n` requests, each a connection of its own.
pub fn spread(ns: &Netns, url: &str, n: usize) -> Result<BTreeMap<String, usize>> {
    let mut answers = BTreeMap::new();
    for request in 1..=n {
        let name = curl(ns, url, None).with_context(|| format!("request {request} of {n}"))?;
        *answers.entry(name).or_default() += 1;
    }
    Ok(answers)
}

/// A running wrk.
pub struct Wrk(Background);

/// What a run of wrk ended with.
pub struct Figures {
    pub text: String,
    /// Socket errors and answers other than 2xx and 3xx; empty = none.
    pub errors: Vec<String>,
}

impl Wrk {
    /// Keep-alive connections that request without pause.
    pub fn start(ns: &Netns, url: &str, connections: u32, seconds: u32) -> Result<Self> {
        let (connections, seconds) = (format!("-c{connections}"), format!("-d{seconds}s"));
        let args = ["-t1", &connections, &seconds, "--latency", url];
        say::command(&format!("wrk {}", args.join(" ")));
        let mut command = Command::new("wrk");
        command.args(args);
        Ok(Self(ns.spawn(command)?))
    }

    /// Whether the load still runs.
    pub fn runs(&mut self) -> bool {
        self.0.exited().is_none()
    }

    pub fn log(&self) -> String {
        self.0.log()
    }

    /// Ends the load now; wrk tells its figures all the same.
    pub fn stop(self) -> Result<Figures> {
        self.0.signal(Signal::INT)?;
        self.finish()
    }

    /// Waits for wrk's own end.
    pub fn finish(mut self) -> Result<Figures> {
        let status = self.0.wait(Duration::from_secs(90))?;
        let text = self.0.log();
        if !status.success() {
            bail!("wrk failed ({status}): {text}");
        }
        Ok(Figures {
            errors: errors(&text),
            text,
        })
    }
}

/// wrk prints these lines only when there is something to tell.
fn errors(text: &str) -> Vec<String> {
    let lines = text.lines().map(str::trim);
    let bad = lines.filter(|line| line.starts_with("Socket errors") || line.starts_with("Non-2xx"));
    bad.map(str::to_owned).collect()
}

impl Figures {
    /// Requests that were answered.
    pub fn requests(&self) -> u64 {
        let line = self
            .text
            .lines()
            .find(|line| line.contains(" requests in "));
        let word = line.and_then(|line| line.split_whitespace().next());
        word.and_then(|word| word.parse().ok()).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failed_requests_are_found_in_wrk_output() {
        let clean = "  1 threads and 8 connections\n  1234 requests in 2.00s, 5MB read\n";
        let broken = format!("{clean}  Socket errors: connect 0, read 3, write 0, timeout 0\n");
        let refused = format!("{clean}  Non-2xx or 3xx responses: 7\n");
        for (row, text, bad) in [
            ("clean", clean, 0),
            ("broken", &broken, 1),
            ("refused", &refused, 1),
        ] {
            let figures = Figures {
                errors: errors(text),
                text: text.to_owned(),
            };
            assert_eq!(figures.errors.len(), bad, "{row}");
            assert_eq!(figures.requests(), 1234, "{row}");
        }
    }
}
