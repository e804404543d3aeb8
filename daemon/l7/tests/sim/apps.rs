//! The programs at both ends: servers that answer by the path, and a client
//! that knows what each answer must be.

use smoltcp::iface::SocketHandle;
use smoltcp::socket::tcp::State;

use crate::oracle::{self, Seen};
use crate::stack::Stack;

/// How the server answers; the client writes it into the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Length,
    Chunked,
    Close,
}

/// A request of a client's script.
#[derive(Debug, Clone)]
pub struct Ask {
    pub bytes: Vec<u8>,
    pub path: String,
    pub body: Vec<u8>,
    /// 200, or what the engine answers.
    pub status: u16,
    pub way: Way,
    pub answer_len: usize,
    /// GET, without a body.
    pub gets: bool,
}

/// `/<server><number>.<way>.<length>`
pub fn answer_of(path: &str) -> (Way, Vec<u8>) {
    let mut parts = path.split('.').skip(1);
    let way = match parts.next() {
        Some("k") => Way::Chunked,
        Some("c") => Way::Close,
        _ => Way::Length,
    };
    let len: usize = parts.next().map_or(0, |len| len.parse().unwrap());
    (way, pattern(path, len))
}

pub fn pattern(key: &str, len: usize) -> Vec<u8> {
    let start = key
        .bytes()
        .fold(7u8, |sum, b| sum.wrapping_mul(31).wrapping_add(b));
    (0..len)
        .map(|i| start.wrapping_add((i % 251) as u8))
        .collect()
}

fn written_answer(path: &str) -> (Vec<u8>, bool) {
    let (way, body) = answer_of(path);
    let mut bytes = b"HTTP/1.1 200 OK\r\n".to_vec();
    match way {
        Way::Length => {
            bytes.extend(format!("Content-Length: {}\r\n\r\n", body.len()).bytes());
            bytes.extend(&body);
        }
        Way::Chunked => {
            bytes.extend(b"Transfer-Encoding: chunked\r\n\r\n");
            for chunk in body.chunks(700) {
                bytes.extend(format!("{:x}\r\n", chunk.len()).bytes());
                bytes.extend(chunk);
                bytes.extend(b"\r\n");
            }
            bytes.extend(b"0\r\n\r\n");
        }
        Way::Close => {
            bytes.extend(b"Connection: close\r\n\r\n");
            bytes.extend(&body);
        }
    }
    (bytes, way == Way::Close)
}

/// One listening socket of a server, again and again.
#[derive(Debug)]
struct Worker {
    handle: SocketHandle,
    received: Vec<u8>,
    answer: Vec<u8>,
    closes: bool,
    /// Since when its FIN waits to be acknowledged.
    ending: Option<u64>,
}

/// smoltcp does not send a FIN again whose segment was lost behind others that
/// were sent again. Real stacks give up a socket that can't end.
const ENDING_MS: u64 = 120_000;

pub struct Server {
    pub stack: Stack,
    workers: Vec<Worker>,
    pub seen: Vec<Seen>,
    port: u16,
}

impl Server {
    pub fn new(mut stack: Stack, port: u16) -> Self {
        let workers = (0..6).map(|_| Worker {
            handle: stack.socket(),
            received: Vec::new(),
            answer: Vec::new(),
            closes: false,
            ending: None,
        });
        let workers = workers.collect();
        Self {
            stack,
            workers,
            seen: Vec::new(),
            port,
        }
    }

    /// smoltcp gives a SYN that comes again to another socket that listens; real
    /// stacks have one socket for one pair of ends.
    fn end_doubles(&mut self) {
        let mut ends = Vec::new();
        for worker in &self.workers {
            let socket = self.stack.tcp(worker.handle);
            match socket.remote_endpoint() {
                Some(end) if ends.contains(&end) => socket.abort(),
                Some(end) => ends.push(end),
                None => {}
            }
        }
    }

    pub fn run(&mut self, now: u64) {
        self.end_doubles();
        for worker in &mut self.workers {
            let socket = self.stack.tcp(worker.handle);
            let ending = matches!(
                socket.state(),
                State::FinWait1 | State::Closing | State::LastAck
            );
            worker.ending = ending.then(|| worker.ending.unwrap_or(now));
            if worker.ending.is_some_and(|since| now > since + ENDING_MS) {
                socket.abort();
                continue;
            }
            if matches!(socket.state(), State::Closed) || !socket.is_open() {
                socket.abort();
                socket.listen(self.port).unwrap();
                (worker.received, worker.answer) = Default::default();
                worker.closes = false;
            }
            while socket.can_recv() {
                socket
                    .recv(|bytes| {
                        worker.received.extend(&*bytes);
                        (bytes.len(), ())
                    })
                    .unwrap();
            }
            for seen in oracle::take_requests(&mut worker.received) {
                let (answer, closes) = written_answer(&seen.path);
                worker.answer.extend(answer);
                worker.closes |= closes;
                self.seen.push(seen);
            }
            if socket.can_send() && !worker.answer.is_empty() {
                let n = socket.send_slice(&worker.answer).unwrap();
                worker.answer.drain(..n);
            }
            let peer_ended = socket.state() == State::CloseWait;
            if worker.answer.is_empty() && (worker.closes || peer_ended) {
                socket.close();
            }
        }
    }
}

/// A client that sees nothing for so long gives up. smoltcp stalls for good when
/// an old segment that closes its window comes behind a newer one that opens it.
const PATIENCE_MS: u64 = 1_000_000;

/// One connection of the client.
#[derive(Debug)]
pub struct Client {
    pub handle: SocketHandle,
    script: Vec<Ask>,
    /// Requests that were begun.
    asked: usize,
    to_send: Vec<u8>,
    received: Vec<u8>,
    pub answered: usize,
    pipelines: bool,
    /// Bytes a write.
    write_size: usize,
    pub was_open: bool,
    pub done: bool,
    pub failed: Option<String>,
    /// Answers with 504.
    pub late: usize,
    /// When the last byte came or went.
    moved_at: u64,
    pub gave_up: bool,
}

impl Client {
    pub fn new(handle: SocketHandle, script: Vec<Ask>, pipelines: bool, write_size: usize) -> Self {
        Self {
            handle,
            script,
            asked: 0,
            to_send: Vec::new(),
            received: Vec::new(),
            answered: 0,
            pipelines,
            write_size,
            was_open: false,
            done: false,
            failed: None,
            late: 0,
            moved_at: 0,
            gave_up: false,
        }
    }

    pub fn script(&self) -> &[Ask] {
        &self.script
    }

    pub fn run(&mut self, stack: &mut Stack, now: u64) {
        let socket = stack.tcp(self.handle);
        let before = (self.to_send.len(), self.received.len(), self.answered);
        self.was_open |= socket.may_send();
        if socket.may_send() {
            while self.asked < self.script.len() && (self.pipelines || self.asked == self.answered)
            {
                self.to_send.extend(&self.script[self.asked].bytes);
                self.asked += 1;
            }
            let n = self.to_send.len().min(self.write_size);
            if socket.can_send() && n > 0 {
                let n = socket.send_slice(&self.to_send[..n]).unwrap();
                self.to_send.drain(..n);
            }
        }
        while socket.can_recv() {
            socket
                .recv(|bytes| {
                    self.received.extend(&*bytes);
                    (bytes.len(), ())
                })
                .unwrap();
        }
        let ended = self.was_open && !socket.may_recv();
        while self.answered < self.asked && self.one_answer(ended) {}
        if before != (self.to_send.len(), self.received.len(), self.answered) {
            self.moved_at = now;
        }
        let socket = stack.tcp(self.handle);
        if now > self.moved_at + PATIENCE_MS && !self.done {
            self.gave_up = true;
            socket.abort();
        }
        if self.answered == self.script.len() || ended {
            socket.close();
        }
        self.done = (self.was_open || self.gave_up)
            && matches!(socket.state(), State::Closed | State::TimeWait);
    }

    /// Takes an answer off the front and compares it with what it must be.
    fn one_answer(&mut self, ended: bool) -> bool {
        let ask = &self.script[self.answered];
        let Some(end) = self
            .received
            .windows(4)
            .position(|four| four == b"\r\n\r\n")
        else {
            return false;
        };
        let head = String::from_utf8(self.received[..end].to_vec()).expect("an answer's head");
        let status: u16 = head[9..12].parse().unwrap();
        // A backend that loss keeps away is as good as silent.
        self.late += usize::from(status == 504);
        if status != ask.status && status != 504 {
            self.failed = Some(format!("{}: {status}, not {}", ask.path, ask.status));
            return false;
        }
        let rest = &self.received[end + 4..];
        let (body, used) = match (status, ask.way) {
            (200, Way::Chunked) => match oracle::chunks(rest) {
                Some(found) => found,
                None => return false,
            },
            (200, Way::Close) if !ended || rest.len() < ask.answer_len => return false,
            _ => {
                let length = head.split("Content-Length: ").nth(1);
                let length = length.map_or(rest.len(), |text| {
                    text.split("\r\n").next().unwrap().parse().unwrap()
                });
                if rest.len() < length {
                    return false;
                }
                (rest[..length].to_vec(), length)
            }
        };
        if status == 200 && body != pattern(&ask.path, ask.answer_len) {
            self.failed = Some(format!("{}: other bytes", ask.path));
            return false;
        }
        self.received.drain(..end + 4 + used);
        self.answered += 1;
        // Ours close behind the answer, as do those that end with the connection.
        if status != 200 || ask.way == Way::Close {
            self.asked = self.answered;
            self.to_send.clear();
            self.script.truncate(self.answered);
        }
        true
    }
}
