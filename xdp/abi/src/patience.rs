//! Loads that the kernel puts off. It ends a verification with EAGAIN when the
//! thread that asks for it has a signal to take, and libbpf's five tries follow
//! each other at once.

use std::fs;
use std::time::{Duration, Instant};

use libbpf_rs::ErrorKind;

use crate::{Error, sys};

const PAUSE: Duration = Duration::from_millis(20);
const PATIENCE: Duration = Duration::from_secs(30);

/// Runs `load` on a thread that takes no signals, and again on another one for
/// as long as the kernel puts it off.
pub(crate) fn undisturbed<T: Send>(load: impl Fn() -> Result<T, Error> + Sync) -> Result<T, Error> {
    let start = Instant::now();
    loop {
        match aside(&load) {
            Err(Error::Load { source, .. })
                if source.kind() == ErrorKind::WouldBlock && start.elapsed() < PATIENCE =>
            {
                std::thread::sleep(PAUSE);
            }
            result => return result,
        }
    }
}

fn aside<T: Send>(load: impl Fn() -> Result<T, Error> + Sync) -> Result<T, Error> {
    let load = || {
        sys::block_signals();
        load().map_err(|error| match error {
            Error::Load {
                object,
                source,
                log,
            } if source.kind() == ErrorKind::WouldBlock => Error::Load {
                object,
                source,
                log: format!("{log}\n  the thread's signals: {}", signals()),
            },
            error => error,
        })
    };
    std::thread::scope(|scope| scope.spawn(load).join())
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// What this thread has to take, for the error of a load that was put off to
/// the end.
fn signals() -> String {
    let status = fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    let wanted = ["State", "SigPnd", "ShdPnd", "SigBlk", "TracerPid"];
    let lines = status.lines().filter(|line| {
        let name = line.split(':').next().unwrap_or_default();
        wanted.contains(&name)
    });
    lines.collect::<Vec<_>>().join(", ").replace('\t', " ")
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::io;
    use std::sync::Mutex;

    use super::{Error, signals, undisturbed};

    fn put_off() -> Error {
        Error::Load {
            object: "some",
            source: io::Error::from_raw_os_error(libc::EAGAIN).into(),
            log: String::new(),
        }
    }

    #[test]
    fn a_load_that_is_put_off_is_tried_again_until_it_is_done() {
        let tries = Mutex::new(0);
        let done = undisturbed(|| {
            let mut tries = tries.lock().expect("lock");
            *tries += 1;
            if *tries < 30 {
                Err(put_off())
            } else {
                Ok(*tries)
            }
        });
        assert_eq!(done.expect("done"), 30);
    }

    #[test]
    fn what_fails_otherwise_is_not_tried_again() {
        let tries = Mutex::new(0);
        let failed = undisturbed(|| -> Result<(), Error> {
            *tries.lock().expect("lock") += 1;
            Err(Error::Load {
                object: "some",
                source: io::Error::from_raw_os_error(libc::EINVAL).into(),
                log: String::new(),
            })
        });
        assert!(failed.is_err());
        assert_eq!(*tries.lock().expect("lock"), 1);
    }

    #[test]
    fn a_load_takes_no_signals_and_its_caller_goes_on_taking_them() {
        thread_local!(static CALLER: Cell<bool> = const { Cell::new(false) });
        CALLER.set(true);
        let inside = undisturbed(|| {
            assert!(!CALLER.get());
            Ok(signals())
        });
        // All that were there before POSIX's, but SIGKILL and SIGSTOP.
        let all = "7ffbfeff";
        let blocked = |signals: String| signals.ends_with(all);
        assert!(blocked(inside.expect("signals")));
        assert!(!blocked(signals()), "{}", signals());
    }
}
