//! Times programs in short interleaved slices.

use std::sync::OnceLock;

use anyhow::{Result, ensure};

use super::harness::{Driver, Hook, context, run};
use crate::{instructions, interrupt};

/// How long and how often.
#[derive(Debug, Clone, Copy)]
pub struct Effort {
    /// Runs of one slice: a few milliseconds, so that most slices see neither
    /// the scheduler nor an interrupt.
    pub slice: u32,
    /// Slices of one round; `slice * slices` is 1 million or more.
    pub slices: u32,
    pub rounds: u32,
}

impl Effort {
    pub const FULL: Self = Self {
        slice: 100_000,
        slices: 10,
        rounds: 9,
    };
    /// Of the standard set, which has ten minutes for all.
    pub const SHORT: Self = Self {
        slice: 100_000,
        slices: 5,
        rounds: 3,
    };
    pub const QUICK: Self = Self {
        slice: 100_000,
        slices: 1,
        rounds: 3,
    };

    pub fn runs(&self) -> u64 {
        u64::from(self.slice) * u64::from(self.slices) * u64::from(self.rounds)
    }
}

/// One thing that is timed.
#[derive(Debug)]
pub struct Arm<'a> {
    pub driver: &'a Driver,
    pub hook: Hook,
    pub ifindex: u32,
    /// The verdict of every slice's last run, where all must have the same.
    pub verdict: Option<u32>,
}

/// Nanoseconds of a run, by arm.
#[derive(Debug, Clone)]
pub struct Times {
    /// The fastest slice: what is left when nobody disturbs.
    pub best: Vec<f64>,
    /// Medians of the slices, to see how much disturbance there was.
    pub median: Vec<f64>,
    /// Instructions of a packet over the floor (arm 1), where the CPU counts them.
    pub instructions: Option<f64>,
    /// Further runs of the last arm, for that count.
    pub counted: u32,
}

/// Times the arms in turns; `between` runs before each slice of an arm.
///
/// The time is the kernel's own, in whole nanoseconds: around the system call
/// stands the change of the XDP dispatcher, which waits for a grace period.
pub fn time(
    arms: &[Arm<'_>],
    effort: &Effort,
    mut between: impl FnMut(usize) -> Result<()>,
) -> Result<Times> {
    let contexts: Vec<_> = arms
        .iter()
        .map(|arm| context(arm.hook, arm.ifindex))
        .collect();
    let mut slices = vec![Vec::new(); arms.len()];
    for _ in 0..effort.rounds * effort.slices {
        interrupt::check()?;
        for (at, arm) in arms.iter().enumerate() {
            between(at)?;
            let output = run(arm.driver, &contexts[at], effort.slice)?;
            ensure!(
                arm.verdict.is_none_or(|verdict| output.action == verdict),
                "arm {at}: last verdict {}, expected {:?}",
                output.action,
                arm.verdict
            );
            slices[at].push(f64::from(output.nanoseconds));
        }
    }
    for times in &mut slices {
        times.sort_by(f64::total_cmp);
    }
    between(0)?;
    let instructions = per_packet(arms, &contexts, effort.slice);
    Ok(Times {
        counted: instructions.map_or(0, |_| effort.slice),
        instructions,
        best: slices.iter().map(|times| times[0]).collect(),
        median: slices.iter().map(|times| times[times.len() / 2]).collect(),
    })
}

/// Instructions of a run of the last arm over one of the floor; None without
/// counters.
fn per_packet(arms: &[Arm<'_>], contexts: &[Vec<u8>], runs: u32) -> Option<f64> {
    if arms.len() < 3 || !is_counted() {
        return None;
    }
    let count = |at: usize| {
        let (done, n) = instructions::count(|| run(arms[at].driver, &contexts[at], runs)).ok()?;
        done.ok().map(|_| n as f64)
    };
    Some((count(2)? - count(1)?) / f64::from(runs))
}

fn is_counted() -> bool {
    static COUNTED: OnceLock<bool> = OnceLock::new();
    *COUNTED.get_or_init(|| instructions::availability() == "yes")
}
