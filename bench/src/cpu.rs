//! Where a measurement runs.

use anyhow::{Context as _, Result, ensure};
use rustix::process::setpriority_process;
use rustix::thread::{CpuSet, sched_setaffinity};

/// Ties this thread, and what it starts from now on, to one CPU and puts it
/// before all ordinary threads there.
pub fn pin(cpu: usize) -> Result<()> {
    ensure!(cpu < CpuSet::MAX_CPU, "there is no CPU {cpu}");
    let mut cpus = CpuSet::new();
    cpus.set(cpu);
    sched_setaffinity(None, &cpus).with_context(|| format!("run on CPU {cpu}"))?;
    setpriority_process(None, -20).context("raise the priority")
}

/// The CPU that a process ran on last: field 39 of /proc/PID/stat.
pub fn last_of(pid: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(36)?.parse().ok()
}
