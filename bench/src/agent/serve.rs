//! The server of requests and bulk: one thread, epoll. A connection begins
//! with two words in the sender's byte order, the bytes of a request and of an
//! answer; a request of no bytes is a stream, counted and answered at its end.

use std::collections::HashMap;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

use anyhow::Result;
use rustix::event::epoll;

const BUFFER: usize = 256 << 10;
pub const HEADER: usize = 8;
/// epoll's key of the listener.
const LISTENER: u64 = 0;

/// The two words.
pub fn header(request: usize, answer: usize) -> [u8; HEADER] {
    let mut bytes = [0; HEADER];
    bytes[..4].copy_from_slice(&(request as u32).to_ne_bytes());
    bytes[4..].copy_from_slice(&(answer as u32).to_ne_bytes());
    bytes
}

struct Client {
    stream: TcpStream,
    header: [u8; HEADER],
    read: usize,
    /// Bytes of the request that are still to come.
    left: usize,
    streamed: u64,
}

pub fn serve(port: u16) -> Result<()> {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let all = rustix::process::Rlimit {
        current: limit.maximum,
        ..limit
    };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, all)?;
    let listener = TcpListener::bind(("0.0.0.0", port))?;
    // std's backlog is 128: too few for a flood of connections.
    rustix::net::listen(&listener, 4096)?;
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let key = epoll::EventData::new_u64;
    epoll::add(&poll, &listener, key(LISTENER), epoll::EventFlags::IN)?;
    let mut clients: HashMap<u64, Client> = HashMap::new();
    let mut next = LISTENER + 1;
    let mut buffer = vec![0; BUFFER];
    let mut events = Vec::with_capacity(256);
    loop {
        events.clear();
        epoll::wait(&poll, rustix::buffer::spare_capacity(&mut events), None)?;
        for event in &events {
            let id = event.data.u64();
            if id == LISTENER {
                let (stream, _) = listener.accept()?;
                stream.set_nodelay(true)?;
                stream.set_nonblocking(true)?;
                epoll::add(&poll, &stream, key(next), epoll::EventFlags::IN)?;
                clients.insert(next, Client::new(stream));
                next += 1;
            } else if let Some(client) = clients.get_mut(&id)
                && !client.ready(&mut buffer)
            {
                clients.remove(&id);
            }
        }
    }
}

impl Client {
    fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            header: [0; HEADER],
            read: 0,
            left: 0,
            streamed: 0,
        }
    }

    fn word(&self, at: usize) -> usize {
        let bytes = self.header[at..at + 4].try_into().unwrap_or_default();
        u32::from_ne_bytes(bytes) as usize
    }

    /// Takes what is there; false at the end of the connection.
    fn ready(&mut self, buffer: &mut [u8]) -> bool {
        match self.stream.read(buffer) {
            Ok(0) => {
                if self.streamed > 0 {
                    let _ = self.stream.write_all(&self.streamed.to_ne_bytes());
                }
                false
            }
            Ok(n) => self.take(&buffer[..n]).is_ok(),
            Err(error) => matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted),
        }
    }

    fn take(&mut self, mut bytes: &[u8]) -> std::io::Result<()> {
        if self.read < HEADER {
            let n = bytes.len().min(HEADER - self.read);
            self.header[self.read..self.read + n].copy_from_slice(&bytes[..n]);
            self.read += n;
            bytes = &bytes[n..];
            self.left = self.word(0);
        }
        if self.read == HEADER && self.word(0) == 0 {
            self.streamed += bytes.len() as u64;
            return Ok(());
        }
        while !bytes.is_empty() {
            let n = bytes.len().min(self.left);
            self.left -= n;
            bytes = &bytes[n..];
            if self.left == 0 {
                self.answer()?;
                self.left = self.word(0);
            }
        }
        Ok(())
    }

    /// A client that asks for more than fits reads it soon.
    fn answer(&mut self) -> std::io::Result<()> {
        let answer = vec![7; self.word(4)];
        let mut left = &answer[..];
        while !left.is_empty() {
            match self.stream.write(left) {
                Ok(n) => left = &left[n..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    std::thread::yield_now();
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}
