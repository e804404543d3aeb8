//! CPU time of the whole machine and of those that are not part of a
//! measurement: softirq is billed to whoever was running, so only the sum counts.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::Instant;

/// CPU seconds between two readings.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Usage {
    pub elapsed: f64,
    /// All that was not idle, without what the hypervisor took.
    pub busy: f64,
    pub softirq: f64,
    pub steal: f64,
    /// Of processes that are neither ours nor the kernel's.
    pub foreign: f64,
}

/// Counters of one moment, in ticks.
#[derive(Debug, Clone)]
pub struct Reading {
    at: Instant,
    busy: u64,
    softirq: u64,
    steal: u64,
    foreign: u64,
}

impl Usage {
    /// Seconds that the measurement itself cost; a tick at least, for less is
    /// not told from nothing.
    pub fn own(&self) -> f64 {
        let tick = 1.0 / rustix::param::clock_ticks_per_second() as f64;
        (self.busy - self.foreign).max(tick)
    }
}

pub fn read() -> Reading {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let (busy, softirq, steal) = machine(&stat);
    Reading {
        at: Instant::now(),
        busy,
        softirq,
        steal,
        foreign: foreign(&processes(), std::process::id()),
    }
}

impl Reading {
    /// What happened from this reading until now.
    pub fn until_now(&self) -> Usage {
        let now = read();
        let ticks = rustix::param::clock_ticks_per_second() as f64;
        let seconds = |now: u64, then: u64| now.saturating_sub(then) as f64 / ticks;
        Usage {
            elapsed: now.at.duration_since(self.at).as_secs_f64(),
            busy: seconds(now.busy, self.busy),
            softirq: seconds(now.softirq, self.softirq),
            steal: seconds(now.steal, self.steal),
            foreign: seconds(now.foreign, self.foreign),
        }
    }
}

/// Busy, softirq and steal of the line `cpu` of /proc/stat (proc(5)): user,
/// nice, system, idle, iowait, irq, softirq, steal.
fn machine(stat: &str) -> (u64, u64, u64) {
    let line = stat.lines().find(|line| line.starts_with("cpu "));
    let numbers = line.unwrap_or_default().split_whitespace().skip(1);
    let numbers: Vec<u64> = numbers.filter_map(|number| number.parse().ok()).collect();
    let at = |index: usize| numbers.get(index).copied().unwrap_or(0);
    let busy = at(0) + at(1) + at(2) + at(5) + at(6);
    (busy, at(6), at(7))
}

/// One process of /proc.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Process {
    parent: u32,
    /// Its own and its reaped children's.
    ticks: u64,
}

fn processes() -> BTreeMap<u32, Process> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let read = |pid: u32| {
        Some((
            pid,
            process(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)?,
        ))
    };
    pids.filter_map(read).collect()
}

/// A line of /proc/PID/stat: the name may hold anything, so count from its end.
fn process(stat: &str) -> Option<Process> {
    let (_, rest) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
    Some(Process {
        parent: number(1)? as u32,
        ticks: (11..15).filter_map(number).sum(),
    })
}

/// Ticks of all but our tree and kthreadd's.
fn foreign(processes: &BTreeMap<u32, Process>, me: u32) -> u64 {
    const KTHREADD: u32 = 2;
    let mut ours = BTreeSet::from([me, KTHREADD]);
    // A parent may have a higher number than its child.
    loop {
        let before = ours.len();
        for (pid, process) in processes {
            if ours.contains(&process.parent) {
                ours.insert(*pid);
            }
        }
        if ours.len() == before {
            break;
        }
    }
    let others = processes.iter().filter(|(pid, _)| !ours.contains(pid));
    // What our shell has reaped is not what somebody else does now.
    others.map(|(_, process)| process.ticks).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn busy_is_all_but_idle_waiting_and_stolen() {
        let stat = "cpu  100 10 50 9000 7 3 20 5 0 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n";
        assert_eq!(machine(stat), (183, 20, 5));
    }

    #[test]
    fn a_process_is_read_whatever_its_name_is() {
        let stat = "42 (a) b (c) S 7 1 1 0 -1 0 0 0 0 0 11 22 3 4 20 0 1";
        let expected = Process {
            parent: 7,
            ticks: 40,
        };
        assert_eq!(process(stat), Some(expected));
    }

    #[test]
    fn only_those_outside_our_tree_and_the_kernel_s_are_foreign() {
        let one = |parent, ticks| Process { parent, ticks };
        let all = [
            (1, one(0, 1)),
            (2, one(0, 2)),
            (3, one(2, 4)),
            (10, one(1, 8)),
            (20, one(10, 16)),
            (15, one(20, 32)),
            (30, one(1, 64)),
        ];
        assert_eq!(foreign(&all.into(), 20), 1 + 8 + 64);
    }
}
