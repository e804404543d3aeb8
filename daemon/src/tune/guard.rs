//! The guardian: it outlives who applied, and takes everything back unless it is
//! told in time that all is well.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::{Place, command, take_back};

/// Applying must not take longer than this.
const APPLYING: Duration = Duration::from_secs(600);

/// What is said to the guardian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Said {
    /// Keep it.
    Confirm,
    /// Take it back now.
    TakeBack,
}

impl Said {
    fn word(self) -> &'static str {
        match self {
            Self::Confirm => "confirm",
            Self::TakeBack => "take-back",
        }
    }
}

/// Tells the guardian, and waits for what comes of it.
///
/// # Errors
/// There is no guardian, or what it could not take back.
pub fn tell(place: &Place, said: Said) -> Result<String> {
    let path = place.socket();
    let mut stream = UnixStream::connect(&path)
        .with_context(|| format!("nobody listens at {}", path.display()))?;
    writeln!(stream, "{}", said.word())?;
    let mut answer = String::new();
    BufReader::new(stream).read_line(&mut answer)?;
    Ok(answer.trim().to_owned())
}

/// How it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Confirmed,
    TakeBack,
}

/// Is the guardian, in its own session: says `ready` on stdout, then waits. On
/// stdin comes `applied` when all steps are done; an end without it means that
/// who applied has died.
///
/// # Errors
/// It can't listen, or something could not be taken back.
pub fn guard(place: &Place, confirm: Duration) -> Result<()> {
    // In the session of a terminal it would die with it. A session leader stays one.
    let _ = rustix::process::setsid();
    let _ = std::fs::remove_file(place.socket());
    let listener = UnixListener::bind(place.socket()).context("listen for the confirmation")?;
    listener.set_nonblocking(true)?;
    println!("ready");
    io::stdout().flush()?;
    let (end, caller) = wait(&listener, confirm)?;
    let answer = match end {
        End::Confirmed => "confirmed".to_owned(),
        End::TakeBack => match place.read()? {
            None => "nothing to take back".to_owned(),
            Some(mut journal) => match take_back(place, &mut journal, &mut command) {
                Ok(()) => "taken back".to_owned(),
                Err(why) => format!("failed: {why}"),
            },
        },
    };
    let failed = answer.starts_with("failed");
    if !failed {
        place.clear()?;
    }
    if let Some(mut caller) = caller {
        // Whoever asked may have gone.
        let _ = writeln!(caller, "{answer}");
    }
    anyhow::ensure!(!failed, "{answer}");
    Ok(())
}

fn wait(listener: &UnixListener, confirm: Duration) -> Result<(End, Option<UnixStream>)> {
    let stdin = io::stdin();
    let mut deadline = Instant::now() + APPLYING;
    let mut applying = true;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok((End::TakeBack, None));
        }
        let timeout = Timespec::try_from(left).ok();
        let mut fds = vec![PollFd::new(listener, PollFlags::IN)];
        if applying {
            fds.push(PollFd::from_borrowed_fd(stdin.as_fd(), PollFlags::IN));
        }
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => continue,
            Err(error) => return Err(error).context("wait for the confirmation"),
        }
        let spoke = fds.get(1).is_some_and(|fd| !fd.revents().is_empty());
        if spoke {
            if !is_applied(&mut stdin.lock())? {
                return Ok((End::TakeBack, None));
            }
            applying = false;
            deadline = Instant::now() + confirm;
        }
        if let Some((end, caller)) = asked(listener) {
            return Ok((end, Some(caller)));
        }
    }
}

fn is_applied(stdin: &mut impl io::Read) -> Result<bool> {
    let mut word = [0; 8];
    Ok(stdin.read_exact(&mut word).is_ok() && &word == b"applied\n")
}

/// A request that makes sense; anything else is hung up on.
fn asked(listener: &UnixListener) -> Option<(End, UnixStream)> {
    let (stream, _) = listener.accept().ok()?;
    stream.set_nonblocking(false).ok()?;
    stream.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    let mut line = String::new();
    BufReader::new((&stream).take(32))
        .read_line(&mut line)
        .ok()?;
    match line.trim() {
        word if word == Said::Confirm.word() => Some((End::Confirmed, stream)),
        word if word == Said::TakeBack.word() => Some((End::TakeBack, stream)),
        _ => None,
    }
}
