//! The clients: wrk and iperf3.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::arm::Arm;

/// Seconds of one measurement.
const SECONDS: &str = "1";

/// Median latency of one keep-alive connection, in microseconds.
pub fn wrk_p50_us(arm: &Arm) -> Result<f64> {
    let url = format!("http://{}/", arm.http());
    let args = ["-t1", "-c1", "-d", SECONDS, "--latency", &url];
    let text = arm.net.outside.run("wrk", &args)?;
    ensure!(
        !text.contains("Non-2xx"),
        "{}: wrk got errors: {text}",
        arm.name()
    );
    p50_us(&text).with_context(|| format!("{}: no p50 in: {text}", arm.name()))
}

/// The value of wrk's line `50%   24.00us`.
fn p50_us(text: &str) -> Option<f64> {
    let line = text
        .lines()
        .map(str::trim)
        .find(|line| line.starts_with("50%"))?;
    let value = line.split_whitespace().nth(1)?;
    let scaled =
        |unit: &str, scale: f64| Some(value.strip_suffix(unit)?.parse::<f64>().ok()? * scale);
    scaled("us", 1.0)
        .or_else(|| scaled("ms", 1e3))
        .or_else(|| scaled("s", 1e6))
}

/// What one TCP stream carries to the workload, in Gbit/s.
pub fn iperf_gbits(arm: &Arm, cpu: usize) -> Result<f64> {
    let to = arm.bulk();
    let mut command = Command::new("taskset");
    command.args(["-c", &cpu.to_string(), "iperf3", "-J", "-t", SECONDS]);
    command.args(["-c", &to.ip().to_string(), "-p", &to.port().to_string()]);
    let output = arm.net.outside.output(&mut command)?;
    let said: Value = serde_json::from_slice(&output.stdout).context("iperf3 -J")?;
    let rate = said["end"]["sum_received"]["bits_per_second"].as_f64();
    let rate = rate.with_context(|| format!("{}: iperf3: {}", arm.name(), said["error"]))?;
    Ok(rate / 1e9)
}

#[cfg(test)]
mod tests {
    use super::p50_us;

    #[test]
    fn the_median_of_wrk_is_read_in_any_unit() {
        let rows = [
            ("     50%   24.00us", Some(24.0)),
            ("     50%    1.50ms", Some(1500.0)),
            ("     50%    2.00s", Some(2e6)),
            ("     90%   24.00us", None),
        ];
        for (text, expected) in rows {
            assert_eq!(p50_us(text), expected, "{text}");
        }
    }
}
