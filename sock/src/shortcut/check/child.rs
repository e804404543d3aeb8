//! The process in the throw-away cgroup.

use std::io::{self, Write as _};
use std::time::Instant;

use super::lab::Lab;
use super::{Check, Verdict, cases, raw};

/// Set for a process that is to call [`child`].
pub const CHILD_VARIABLE: &str = "TERRACE_SHORTCUT_CHECK";

/// Enters the throw-away cgroup and runs all checks, a line of JSON on standard
/// output each. Does nothing and says `false` when the process is no such child.
pub fn child() -> io::Result<bool> {
    let Ok(ticket) = std::env::var(CHILD_VARIABLE) else {
        return Ok(false);
    };
    let mut parts = ticket.lines();
    let mut next = || parts.next().ok_or(io::ErrorKind::InvalidInput);
    let (cgroup, stats, pairs) = (next()?, next()?, next()?);
    std::fs::write(
        std::path::Path::new(cgroup).join("cgroup.procs"),
        std::process::id().to_string(),
    )?;
    raw::own_namespace()?;
    let lab = Lab::open(stats.as_ref(), pairs.as_ref())?;
    for case in cases::ALL {
        let start = Instant::now();
        // A busy host may be late once; a kernel that can't do it is so twice.
        let outcome = (case.run)(&lab).or_else(|_| (case.run)(&lab));
        let (verdict, words) = match outcome {
            Ok((verdict, words)) => (verdict, words),
            Err(trouble) => (Verdict::Fail, trouble.0),
        };
        let check = Check {
            name: case.name.to_owned(),
            verdict,
            words,
            micros: start.elapsed().as_micros() as u64,
        };
        let line = serde_json::to_string(&check).map_err(io::Error::other)?;
        let mut out = io::stdout().lock();
        // A test harness may have written the start of a line.
        writeln!(out, "\n{line}")?;
        out.flush()?;
    }
    Ok(true)
}
