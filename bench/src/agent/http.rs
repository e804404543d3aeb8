//! Open loop: request `i` is due at `i / rate`, whatever became of those before
//! it, and its latency counts from then (no coordinated omission: Tene 2013).
//! A request that finds every connection busy waits, and its wait counts.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use hdrhistogram::Histogram;
use rustix::event::{Timespec, epoll};
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use super::response::{expected, head, request};
use super::{Said, Target, histogram, recorded};

const BUFFER: usize = 64 << 10;
/// After the last request was due, answers are awaited for so long.
const PATIENCE: Duration = Duration::from_secs(5);

/// When each request is due.
#[derive(Debug, Clone, Copy)]
struct Schedule {
    interval_ns: f64,
    total: u64,
}

impl Schedule {
    fn new(rate: f64, seconds: f64) -> Self {
        Self {
            interval_ns: 1e9 / rate,
            total: (rate * seconds).max(1.0) as u64,
        }
    }

    /// Nanoseconds after the start.
    fn due(&self, index: u64) -> u64 {
        (index as f64 * self.interval_ns) as u64
    }
}

/// One connection, at most one request in flight.
struct Slot {
    stream: Option<TcpStream>,
    /// When the request in flight was due, and which path it asks for.
    due: u64,
    path: usize,
    /// Not sent yet: the connection is being opened.
    opening: bool,
    got: Vec<u8>,
}

struct Client<'t> {
    target: &'t Target,
    requests: Vec<(String, Option<u8>)>,
    poll: OwnedFd,
    slots: Vec<Slot>,
    idle: VecDeque<usize>,
    start: Instant,
    latency: Histogram<u64>,
    said: Said,
    buffer: Vec<u8>,
}

pub fn run(target: &Target) -> Result<Said> {
    // Wake-ups come when they were asked for, not 50 us later.
    rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1))?;
    let mut client = Client::new(target)?;
    let schedule = Schedule::new(target.rate, target.seconds);
    client.start = Instant::now();
    let end = client.start + target.duration() + PATIENCE;
    let mut next = 0;
    let mut done_at = 0;
    while client.said.requests + client.said.errors < schedule.total {
        let now = client.now();
        while next < schedule.total && schedule.due(next) <= now {
            let Some(slot) = client.idle.pop_front() else {
                break;
            };
            client.begin(slot, schedule.due(next), next)?;
            next += 1;
        }
        let has_idle = next < schedule.total && !client.idle.is_empty();
        client.wait(has_idle.then(|| schedule.due(next)))?;
        done_at = client.now();
        ensure!(
            Instant::now() < end,
            "{} of {} requests got no answer within {PATIENCE:?}",
            schedule.total - client.said.requests,
            schedule.total
        );
    }
    client.said.seconds = done_at as f64 / 1e9;
    client.said.latency = recorded(&client.latency);
    Ok(client.said)
}

impl<'t> Client<'t> {
    fn new(target: &'t Target) -> Result<Self> {
        let mut client = Self {
            target,
            requests: target
                .paths
                .iter()
                .map(|path| (request(path, !target.close), expected(path)))
                .collect(),
            poll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            slots: Vec::new(),
            idle: VecDeque::new(),
            start: Instant::now(),
            latency: histogram(),
            said: Said::default(),
            buffer: vec![0; BUFFER],
        };
        for slot in 0..target.connections as usize {
            client.slots.push(Slot {
                stream: None,
                due: 0,
                path: 0,
                opening: false,
                got: Vec::new(),
            });
            client.idle.push_back(slot);
            if !target.close {
                let stream = TcpStream::connect_timeout(&target.to, PATIENCE)
                    .with_context(|| format!("connect to {}", target.to))?;
                client.opened(slot, stream)?;
            }
        }
        Ok(client)
    }

    fn now(&self) -> u64 {
        self.start.elapsed().as_nanos() as u64
    }

    fn opened(&mut self, slot: usize, stream: TcpStream) -> Result<()> {
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let key = epoll::EventData::new_u64(slot as u64);
        let events = match self.target.close {
            true => epoll::EventFlags::IN | epoll::EventFlags::OUT | epoll::EventFlags::ET,
            false => epoll::EventFlags::IN,
        };
        epoll::add(&self.poll, &stream, key, events)?;
        self.slots[slot].stream = Some(stream);
        self.said.connections += 1;
        Ok(())
    }

    fn begin(&mut self, slot: usize, due: u64, index: u64) -> Result<()> {
        let path = (index % self.requests.len() as u64) as usize;
        self.slots[slot].due = due;
        self.slots[slot].path = path;
        self.slots[slot].got.clear();
        if self.slots[slot].stream.is_some() {
            return self.send(slot);
        }
        let family = match self.target.to.is_ipv4() {
            true => AddressFamily::INET,
            false => AddressFamily::INET6,
        };
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, None)?;
        match rustix::net::connect(&socket, &self.target.to) {
            Ok(()) | Err(rustix::io::Errno::INPROGRESS) => {}
            Err(error) => return self.fail(slot, &format!("connect: {error}")),
        }
        self.slots[slot].opening = true;
        self.opened(slot, socket.into())
    }

    /// A request is far smaller than a socket's buffer.
    fn send(&mut self, slot: usize) -> Result<()> {
        let (request, _) = &self.requests[self.slots[slot].path];
        let stream = self.slots[slot].stream.as_mut();
        let written = stream
            .context("an open slot")?
            .write_all(request.as_bytes());
        match written {
            Ok(()) => Ok(()),
            Err(error) => self.fail(slot, &format!("send: {error}")),
        }
    }

    /// Waits for answers, at most until the next request is due.
    fn wait(&mut self, until: Option<u64>) -> Result<()> {
        let limit = until.map_or(100_000_000, |due| due.saturating_sub(self.now()));
        let limit = Timespec {
            tv_sec: (limit / 1_000_000_000) as i64,
            tv_nsec: (limit % 1_000_000_000) as i64,
        };
        let mut events = Vec::with_capacity(256);
        match epoll::wait(
            &self.poll,
            rustix::buffer::spare_capacity(&mut events),
            Some(&limit),
        ) {
            Ok(_) => {}
            Err(rustix::io::Errno::INTR) => return Ok(()),
            Err(error) => return Err(error).context("epoll_wait"),
        }
        for event in &events {
            let slot = event.data.u64() as usize;
            let flags = event.flags;
            if self.slots[slot].opening && flags.contains(epoll::EventFlags::OUT) {
                self.slots[slot].opening = false;
                self.send(slot)?;
            }
            if flags.intersects(epoll::EventFlags::IN | epoll::EventFlags::HUP) {
                self.receive(slot)?;
            }
        }
        Ok(())
    }

    fn receive(&mut self, slot: usize) -> Result<()> {
        loop {
            let Some(stream) = self.slots[slot].stream.as_mut() else {
                return Ok(());
            };
            match stream.read(&mut self.buffer) {
                Ok(0) => return self.fail(slot, "the server closed the connection"),
                Ok(n) => {
                    let held = &mut self.slots[slot];
                    held.got.extend_from_slice(&self.buffer[..n]);
                    if self.finished(slot)? {
                        return Ok(());
                    }
                    // Level-triggered: the rest wakes us again.
                    if !self.target.close {
                        return Ok(());
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return self.fail(slot, &format!("receive: {error}")),
            }
        }
    }

    /// Whether the answer is whole; then the slot is idle again.
    fn finished(&mut self, slot: usize) -> Result<bool> {
        let now = self.now();
        let held = &self.slots[slot];
        let Some(found) = head(&held.got)? else {
            return Ok(false);
        };
        if held.got.len() < found.head + found.body {
            return Ok(false);
        }
        let (_, letter) = &self.requests[held.path];
        let first = held.got.get(found.head).copied();
        if found.status != 200 || letter.is_some() && first != *letter {
            let said = format!("status {}, or another backend's answer", found.status);
            self.fail(slot, &said)?;
            return Ok(true);
        }
        self.latency.record(now.saturating_sub(held.due).max(1))?;
        self.said.requests += 1;
        if self.target.close {
            self.slots[slot].stream = None;
        }
        self.idle.push_back(slot);
        Ok(true)
    }

    /// Counts an error and opens the slot anew.
    fn fail(&mut self, slot: usize, said: &str) -> Result<()> {
        self.said.errors += 1;
        self.said.error.get_or_insert_with(|| said.to_owned());
        self.slots[slot].stream = None;
        self.slots[slot].opening = false;
        if !self.target.close {
            let stream = TcpStream::connect_timeout(&self.target.to, PATIENCE)
                .with_context(|| format!("after `{said}`: connect to {}", self.target.to))?;
            self.opened(slot, stream)?;
        }
        self.idle.push_back(slot);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead as _, BufReader};
    use std::net::TcpListener;

    #[test]
    fn requests_are_due_at_a_constant_rate() {
        let schedule = Schedule::new(1000.0, 2.0);
        assert_eq!(schedule.total, 2000);
        assert_eq!(schedule.due(1500), 1_500_000_000);
    }

    /// Answers each request; the first one only after `stall`.
    fn server(stall: Duration) -> std::net::SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a client");
            let reader = BufReader::new(stream.try_clone().expect("a clone"));
            let mut stall = Some(stall);
            for line in reader.lines().map_while(Result::ok) {
                if line.is_empty() {
                    std::thread::sleep(stall.take().unwrap_or_default());
                    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\na\n";
                    if stream.write_all(answer).is_err() {
                        return;
                    }
                }
            }
        });
        address
    }

    #[test]
    fn those_that_wait_behind_a_stall_count_their_wait() {
        let stall = Duration::from_millis(300);
        let target = Target {
            to: server(stall),
            seconds: 0.4,
            connections: 1,
            size: 0,
            rate: 100.0,
            paths: vec!["/a/".to_owned()],
            close: false,
        };
        let said = run(&target).expect("answers");
        assert_eq!((said.requests, said.errors), (40, 0));
        // A closed loop would have had one slow request. Here all those that
        // were due meanwhile are slow: some 30, each less than the one before.
        let slow = said.latency.iter().filter(|(ns, _)| *ns > 50_000_000);
        let slow: u64 = slow.map(|(_, count)| count).sum();
        assert!(slow >= 20, "{slow} slow requests");
    }

    #[test]
    fn another_backend_s_answer_is_an_error() {
        let target = Target {
            to: server(Duration::ZERO),
            seconds: 0.01,
            connections: 1,
            size: 0,
            rate: 100.0,
            paths: vec!["/b/".to_owned()],
            close: false,
        };
        // The server of this test takes one connection only.
        let said = run(&target);
        assert!(said.is_err() || said.is_ok_and(|said| said.errors == 1));
    }
}
