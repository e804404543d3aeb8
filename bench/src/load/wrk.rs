//! wrk: closed loop, so what it says of tails is not used.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::{Sample, output};
use crate::lab::Arm;
use crate::proof::Sent;
use crate::scenario::Load;

pub fn run(load: &Load, arm: &Arm, seconds: f64, cpu: usize) -> Result<Sample> {
    run_with(load, arm, seconds, cpu, !load.keep_alive)
}

pub fn run_with(load: &Load, arm: &Arm, seconds: f64, cpu: usize, close: bool) -> Result<Sample> {
    let path = load.path.split(',').next().unwrap_or("/");
    let url = format!("http://{}{path}", arm.http());
    let mut command = Command::new("wrk");
    command
        .args(["-t1", "--latency", "--timeout", "5s"])
        .args(["-c", &load.connections.to_string()])
        .args(["-d", &format!("{}s", seconds.ceil().max(1.0))]);
    if close {
        command.args(["-H", "Connection: close"]);
    }
    command.arg(url);
    let text = output(arm, cpu, command)?;
    let said = parse(&text).with_context(|| format!("wrk said: {text}"))?;
    ensure!(
        said.errors.is_none(),
        "wrk: {}",
        said.errors.unwrap_or_default()
    );
    Ok(Sample {
        sent: Sent {
            packets: 2 * said.requests,
            connections: u64::from(load.connections),
            requests: said.requests,
        },
        units: said.requests as f64,
        metrics: vec![("requests", said.rate), ("p50_us", said.p50_us)],
        latency: None,
        cpu: Some(cpu),
    })
}

#[derive(Debug, Default, PartialEq)]
struct Said {
    requests: u64,
    rate: f64,
    p50_us: f64,
    errors: Option<String>,
}

fn parse(text: &str) -> Option<Said> {
    let lines = || text.lines().map(str::trim);
    let first = |line: &str| line.split_whitespace().next().map(str::to_owned);
    let requests = lines().find(|line| line.contains(" requests in "))?;
    let rate = lines().find_map(|line| line.strip_prefix("Requests/sec:"))?;
    let p50 = lines().find_map(|line| line.strip_prefix("50%"))?;
    let is_error = |line: &&str| line.starts_with("Socket errors:") || line.starts_with("Non-2xx");
    Some(Said {
        requests: first(requests)?.parse().ok()?,
        rate: rate.trim().parse().ok()?,
        p50_us: microseconds(p50.trim())?,
        errors: lines().find(is_error).map(str::to_owned),
    })
}

/// `24.00us`, `1.50ms`, `2.00s`.
fn microseconds(text: &str) -> Option<f64> {
    let scaled =
        |unit: &str, scale: f64| Some(text.strip_suffix(unit)?.parse::<f64>().ok()? * scale);
    scaled("us", 1.0)
        .or_else(|| scaled("ms", 1e3))
        .or_else(|| scaled("s", 1e6))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "Running 1s test @ http://10.40.0.2:8080/
  1 threads and 1 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency    27.44us   20.14us   1.21ms   98.20%
  Latency Distribution
     50%   24.00us
     90%   33.00us
  36113 requests in 1.10s, 5.54MB read
Requests/sec:  32833.36
Transfer/sec:      5.04MB
";

    #[test]
    fn what_wrk_says_is_read() {
        let said = Said {
            requests: 36_113,
            rate: 32_833.36,
            p50_us: 24.0,
            errors: None,
        };
        assert_eq!(parse(TEXT), Some(said));
        assert_eq!(parse("unable to connect"), None);
    }

    #[test]
    fn errors_are_not_overlooked() {
        for line in [
            "  Socket errors: connect 0, read 5, write 0, timeout 0\n",
            "  Non-2xx or 3xx responses: 12\n",
        ] {
            let said = parse(&(TEXT.to_owned() + line)).expect("all lines are there");
            assert_eq!(said.errors.as_deref(), Some(line.trim()));
        }
    }

    #[test]
    fn times_are_read_in_any_unit() {
        let rows = [
            ("24.00us", Some(24.0)),
            ("1.50ms", Some(1500.0)),
            ("2.00s", Some(2e6)),
            ("2.00m", None),
        ];
        for (text, expected) in rows {
            assert_eq!(microseconds(text), expected, "{text}");
        }
    }
}
