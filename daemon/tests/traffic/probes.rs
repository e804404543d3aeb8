//! Numbered datagrams to a service and back: which ones were lost, and how long
//! nothing came.

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use terrace_testkit::{Netns, wait};

/// Where an answer has the server's name, and then the number.
const NAME: usize = 16;
const SIZE: usize = NAME + 8;
/// On a loaded machine an answer may be late; later than this it is lost.
const LATE: Duration = Duration::from_secs(5);

/// A stream of them, until it is finished.
pub struct Probes {
    state: Arc<Mutex<State>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct State {
    /// The last number sent.
    sent: u64,
    /// The highest number answered.
    answered: u64,
    lost: Vec<u64>,
    latest: Option<Instant>,
    gap: Duration,
}

/// What became of the datagrams of a stretch of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stretch {
    pub sent: u64,
    pub lost: u64,
    /// The longest time without an answer.
    pub silent: Duration,
}

impl Probes {
    /// Opens flows until one leads to a server that is wanted, and probes on it
    /// with so many unanswered datagrams at most.
    pub fn start(ns: &Netns, to: SocketAddr, window: usize, wanted: impl Fn(&str) -> bool) -> Self {
        let socket = wait::until("a flow to the wanted server", wait::PATIENCE, || {
            let socket = ns.enter(|| connected(to)).ok()?.ok()?;
            let server = ask(&socket).ok()?;
            wanted(&server).then_some(socket)
        })
        .expect("a flow");
        let state = Arc::new(Mutex::new(State::default()));
        let stop = Arc::new(AtomicBool::new(false));
        let thread = std::thread::spawn({
            let (state, stop) = (state.clone(), stop.clone());
            move || run(&socket, window, &state, &stop)
        });
        Self {
            state,
            stop,
            thread: Some(thread),
        }
    }

    /// Does something, and tells what became of what was sent meanwhile: it ends
    /// when so many that were sent after it are answered.
    pub fn during(&self, more: u64, work: impl FnOnce()) -> Stretch {
        let first = {
            let mut state = self.lock();
            state.gap = Duration::ZERO;
            state.sent + 1
        };
        work();
        let last = self.lock().sent;
        let limit = wait::PATIENCE;
        let settled = wait::until("answers after the move", limit, || {
            (self.lock().answered > last + more).then_some(())
        });
        settled.expect("answers after the move");
        let state = self.lock();
        let lost = state.lost.iter().filter(|n| (first..=last).contains(n));
        Stretch {
            sent: last + 1 - first,
            lost: lost.count() as u64,
            silent: state.gap,
        }
    }

    /// All that were sent and lost.
    pub fn finish(mut self) -> (u64, usize) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.join().expect("the probes end");
        }
        let state = self.lock();
        (state.sent, state.lost.len())
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn connected(to: SocketAddr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.connect(to)?;
    Ok(socket)
}

fn ask(socket: &UdpSocket) -> io::Result<String> {
    socket.set_read_timeout(Some(Duration::from_secs(2)))?;
    socket.send(&[0; SIZE])?;
    let mut answer = [0; SIZE];
    wait::whole(|| socket.recv(&mut answer))?;
    let name = answer[..NAME].split(|byte| *byte == 0).next();
    Ok(String::from_utf8_lossy(name.unwrap_or_default()).into_owned())
}

fn run(socket: &UdpSocket, window: usize, state: &Mutex<State>, stop: &AtomicBool) {
    let mut pending: BTreeMap<u64, Instant> = BTreeMap::new();
    let mut number: u64 = 0;
    socket
        .set_read_timeout(Some(Duration::from_millis(1)))
        .expect("a time-out");
    while !stop.load(Ordering::Relaxed) || !pending.is_empty() {
        let going = !stop.load(Ordering::Relaxed);
        if going && pending.len() < window {
            number += 1;
            let mut question = [0; SIZE];
            question[NAME..].copy_from_slice(&number.to_be_bytes());
            // A refusal (ICMP) is told at the next call; then it counts as lost.
            let _ = socket.send(&question);
            pending.insert(number, Instant::now());
        }
        let mut answer = [0; SIZE];
        let answered = wait::whole(|| socket.recv(&mut answer)).ok().map(|_| {
            let mut bytes = [0; 8];
            bytes.copy_from_slice(&answer[NAME..]);
            u64::from_be_bytes(bytes)
        });
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        state.sent = number;
        let now = Instant::now();
        if let Some(number) = answered
            && pending.remove(&number).is_some()
        {
            state.answered = state.answered.max(number);
            let silent = state
                .latest
                .replace(now)
                .map_or(Duration::ZERO, |at| now - at);
            state.gap = state.gap.max(silent);
        }
        // What was overtaken long ago will not come any more.
        while let Some((&first, &at)) = pending.first_key_value() {
            if now - at < LATE {
                break;
            }
            pending.remove(&first);
            state.lost.push(first);
        }
    }
}
