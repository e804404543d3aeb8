//! Programs that run beside a test and end with it.

use crate::{Error, Result, wait};
use rustix::process::{Pid, Signal, kill_process};
use std::io::Read;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;
use tempfile::NamedTempFile;

/// A running program; killed and reaped on drop. What it writes goes to a file
/// that [`Background::log`] reads, so it never blocks on a full pipe.
#[derive(Debug)]
pub struct Background {
    child: Child,
    shown: String,
    log: NamedTempFile,
}

impl Background {
    /// Starts `command` in the calling thread's namespaces.
    pub fn spawn(mut command: Command) -> Result<Self> {
        let shown = format!("{command:?}");
        let log = NamedTempFile::with_prefix("terrace-log-").map_err(Error::io("log file"))?;
        let stdout = log.reopen().map_err(Error::io("log file"))?;
        let stderr = log.reopen().map_err(Error::io("log file"))?;
        // Both descriptors would write at their own offset: append instead.
        for file in [&stdout, &stderr] {
            rustix::fs::fcntl_setfl(file, rustix::fs::OFlags::APPEND)
                .map_err(Error::errno("log file"))?;
        }
        command.stdin(Stdio::null()).stdout(stdout).stderr(stderr);
        let child = command.spawn().map_err(Error::io(shown.clone()))?;
        Ok(Self { child, shown, log })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Everything that the program has written so far.
    pub fn log(&self) -> String {
        let mut bytes = Vec::new();
        if let Ok(mut file) = self.log.reopen() {
            let _ = file.read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// `Some` once the program has ended.
    pub fn exited(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).map_err(Error::errno(format!("signal {}", self.shown)))
    }

    /// Waits for the program's own end.
    pub fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        let what = format!("end of {}", self.shown);
        let child = &mut self.child;
        wait::until(&what, limit, || child.try_wait().ok().flatten())
    }

    /// SIGTERM, then waits for the program's own end.
    pub fn stop(&mut self, limit: Duration) -> Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        self.wait(limit)
    }

    /// SIGKILL, and reaps.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Waits until the log has a line that contains `text`, or the program
    /// ends (an error that carries the log).
    pub fn wait_for_log(&mut self, text: &str, limit: Duration) -> Result<()> {
        let what = format!("`{text}` in the log of {}", self.shown);
        let ended = wait::until(&what, limit, || {
            if self.log().contains(text) {
                return Some(false);
            }
            self.exited().map(|_| true)
        })?;
        if ended && !self.log().contains(text) {
            return Err(Error::wrong(format!(
                "{} ended:\n{}",
                self.shown,
                self.log()
            )));
        }
        Ok(())
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.kill();
    }
}
