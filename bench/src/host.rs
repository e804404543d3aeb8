//! Facts about the machine, without which a figure means nothing.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;
use std::time::Instant;

use serde::{Deserialize, Serialize};

/// System calls of the measurement of one.
const CALLS: u32 = 20_000;

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Host {
    pub kernel: String,
    pub cpu: String,
    pub n_cpus: usize,
    /// `none` on bare metal.
    pub hypervisor: String,
    pub memory_mb: u64,
    pub clock_source: String,
    pub governor: String,
    /// Vulnerability -> what is done about it.
    pub mitigations: BTreeMap<String, String>,
    /// A system call that does nothing, in nanoseconds.
    pub syscall_ns: f64,
    /// Hardware counters: `yes`, or why not.
    pub counters: String,
    pub load_average: f64,
    /// Of Terrace.
    pub commit: String,
    pub version: String,
}

pub fn facts() -> Host {
    Host {
        kernel: kernel(),
        cpu: cpu_info("model name"),
        n_cpus: std::thread::available_parallelism().map_or(1, usize::from),
        hypervisor: hypervisor(),
        memory_mb: memory_mb(),
        clock_source: read("/sys/devices/system/clocksource/clocksource0/current_clocksource"),
        governor: read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        mitigations: mitigations(),
        syscall_ns: syscall_ns(),
        counters: crate::instructions::availability(),
        load_average: load_average(),
        commit: commit(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    }
}

fn read(path: &str) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    match text.trim() {
        "" => "unknown".to_owned(),
        text => text.to_owned(),
    }
}

fn kernel() -> String {
    let name = rustix::system::uname();
    format!(
        "{} {} {}",
        name.release().to_string_lossy(),
        name.version().to_string_lossy(),
        name.machine().to_string_lossy()
    )
}

fn cpu_info(key: &str) -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with(key));
    let value = line.and_then(|line| line.split_once(':'));
    value.map_or("unknown".to_owned(), |(_, value)| value.trim().to_owned())
}

fn hypervisor() -> String {
    let flags = cpu_info("flags");
    if flags.split(' ').any(|flag| flag == "hypervisor") {
        let vendor = read("/sys/class/dmi/id/sys_vendor");
        format!("virtual machine ({vendor})")
    } else {
        "none".to_owned()
    }
}

fn memory_mb() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("MemTotal:"));
    let kb = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    kb.unwrap_or(0) / 1024
}

fn mitigations() -> BTreeMap<String, String> {
    let entries = fs::read_dir("/sys/devices/system/cpu/vulnerabilities");
    let entries = entries.into_iter().flatten().flatten();
    let all = entries.map(|entry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        (name, read(&entry.path().to_string_lossy()))
    });
    all.filter(|(_, state)| state != "Not affected").collect()
}

fn load_average() -> f64 {
    let text = read("/proc/loadavg");
    let first = text.split(' ').next().and_then(|first| first.parse().ok());
    first.unwrap_or(0.0)
}

fn syscall_ns() -> f64 {
    let best = (0..5).map(|_| {
        let start = Instant::now();
        for _ in 0..CALLS {
            std::hint::black_box(rustix::process::getppid());
        }
        start.elapsed().as_nanos() as f64 / f64::from(CALLS)
    });
    best.fold(f64::INFINITY, f64::min)
}

/// Of the folder that this program was built in. What only tells of results is
/// no change of what is measured: a run may write it while it goes on.
fn commit() -> String {
    const CODE: [&str; 3] = [
        ":(top)",
        ":(top,exclude)bench/results",
        ":(top,exclude,glob)**/*.md",
    ];
    let git = |args: &[&str]| {
        let output = Command::new("git")
            .args(["-C", env!("CARGO_MANIFEST_DIR")])
            .args(args)
            .output();
        let output = output.ok().filter(|output| output.status.success());
        output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let Some(commit) = git(&["rev-parse", "--short=10", "HEAD"]) else {
        return "unknown".to_owned();
    };
    let status = ["status", "--porcelain", "--untracked-files=no", "--"];
    let changed = git(&[&status[..], &CODE[..]].concat());
    if changed.is_some_and(|changed| !changed.is_empty()) {
        commit + " with changes"
    } else {
        commit
    }
}

impl Host {
    /// One line for a document.
    pub fn line(&self) -> String {
        format!(
            "{}, a system call {:.0} ns, {}",
            self.machine(),
            self.syscall_ns,
            self.build()
        )
    }

    /// What figures are of, the program aside.
    pub fn machine(&self) -> String {
        format!(
            "Linux {}, {} x {}, {}, clock source {}",
            self.kernel.split(' ').next().unwrap_or_default(),
            self.n_cpus,
            self.cpu,
            match self.hypervisor.as_str() {
                "none" => "bare metal",
                other => other,
            },
            self.clock_source
        )
    }

    pub fn build(&self) -> String {
        format!("Terrace {} at {}", self.version, self.commit)
    }
}
