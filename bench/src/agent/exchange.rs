//! TCP_RR and TCP_CRR: one request at a time.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::serve::header;
use super::{Said, Target, histogram, recorded};

/// A connection that gets no answer for so long is dead.
const DEAD: Duration = Duration::from_secs(5);

struct Connection {
    stream: TcpStream,
    request: Vec<u8>,
    answer: Vec<u8>,
}

impl Connection {
    fn open(target: &Target) -> Result<Self> {
        let stream = TcpStream::connect_timeout(&target.to, DEAD)
            .with_context(|| format!("connect to {}", target.to))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(DEAD))?;
        Ok(Self {
            stream,
            request: vec![7; target.size],
            answer: vec![0; target.size],
        })
    }

    /// The first request, with the sizes in front.
    fn first(&mut self) -> Result<()> {
        let size = self.request.len();
        let mut bytes = header(size, size).to_vec();
        bytes.extend(&self.request);
        self.stream.write_all(&bytes)?;
        self.read()
    }

    fn next(&mut self) -> Result<()> {
        self.stream.write_all(&self.request)?;
        self.read()
    }

    fn read(&mut self) -> Result<()> {
        self.stream
            .read_exact(&mut self.answer)
            .context("an answer")
    }
}

/// Requests over open connections in turn.
pub fn turns(target: &Target) -> Result<Said> {
    let mut open = Vec::new();
    for _ in 0..target.connections {
        let mut connection = Connection::open(target)?;
        connection.first()?;
        open.push(connection);
    }
    let mut latency = histogram();
    let start = Instant::now();
    let mut requests = 0;
    while start.elapsed() < target.duration() {
        let at = requests as usize % open.len();
        let begin = Instant::now();
        open[at].next()?;
        latency.record(begin.elapsed().as_nanos() as u64)?;
        requests += 1;
    }
    Ok(Said {
        seconds: start.elapsed().as_secs_f64(),
        requests,
        connections: open.len() as u64,
        latency: recorded(&latency),
        ..Said::default()
    })
}

/// A connection a request.
pub fn connects(target: &Target) -> Result<Said> {
    let mut latency = histogram();
    let start = Instant::now();
    let mut requests = 0;
    while start.elapsed() < target.duration() {
        let begin = Instant::now();
        let mut connection = Connection::open(target)?;
        connection.first()?;
        latency.record(begin.elapsed().as_nanos() as u64)?;
        requests += 1;
    }
    Ok(Said {
        seconds: start.elapsed().as_secs_f64(),
        requests,
        connections: requests,
        latency: recorded(&latency),
        ..Said::default()
    })
}
