//! Instructions of a piece of work, where the CPU and the kernel count them.

use anyhow::{Context as _, Result};
use perf_event::events::Hardware;
use perf_event::{Builder, Counter};

fn counter() -> std::io::Result<Counter> {
    Builder::new(Hardware::INSTRUCTIONS)
        .exclude_kernel(false)
        .exclude_hv(true)
        .build()
}

/// `yes`, or why there are no counters.
pub fn availability() -> String {
    match count(|| std::hint::black_box((0..1000u64).sum::<u64>())) {
        Ok((_, n)) if n > 0 => "yes".to_owned(),
        Ok(_) => "no: the counter stands still".to_owned(),
        Err(error) => format!("no: {error:#}"),
    }
}

/// Instructions that this thread retires while `work` runs, the kernel's too.
pub fn count<T>(work: impl FnOnce() -> T) -> Result<(T, u64)> {
    let mut counter = counter().context("open the instruction counter")?;
    counter.enable().context("start the instruction counter")?;
    let done = work();
    counter.disable().context("stop the instruction counter")?;
    Ok((
        done,
        counter.read().context("read the instruction counter")?,
    ))
}
