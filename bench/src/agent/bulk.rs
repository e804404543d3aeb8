//! Bytes: one TCP stream, one body over HTTP, datagrams.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::serve::header;
use super::{Said, Target, response};

const CHUNK: usize = 256 << 10;
const DEAD: Duration = Duration::from_secs(10);

/// A stream to our server, which says at its end how much arrived.
pub fn send(target: &Target) -> Result<Said> {
    let mut stream = TcpStream::connect_timeout(&target.to, DEAD)?;
    stream.set_read_timeout(Some(DEAD))?;
    stream.set_write_timeout(Some(DEAD))?;
    stream.write_all(&header(0, 0))?;
    let chunk = vec![7; CHUNK];
    let start = Instant::now();
    let mut sent = 0;
    while start.elapsed() < target.duration() {
        stream.write_all(&chunk).context("the stream stalled")?;
        sent += CHUNK as u64;
    }
    stream.shutdown(Shutdown::Write)?;
    let mut arrived = [0; 8];
    stream.read_exact(&mut arrived).context("what arrived")?;
    let seconds = start.elapsed().as_secs_f64();
    let arrived = u64::from_ne_bytes(arrived);
    ensure!(arrived == sent, "{arrived} of {sent} bytes arrived");
    Ok(Said {
        seconds,
        bytes: arrived,
        requests: 1,
        connections: 1,
        ..Said::default()
    })
}

/// GET of the first path, whole, until the time is over.
pub fn download(target: &Target) -> Result<Said> {
    let mut buffer = vec![0; CHUNK];
    let path = target.paths.first().map_or("/", String::as_str);
    let start = Instant::now();
    let mut said = Said::default();
    while said.requests == 0 || start.elapsed() < target.duration() {
        let mut stream = TcpStream::connect_timeout(&target.to, DEAD)?;
        stream.set_read_timeout(Some(DEAD))?;
        stream.write_all(response::request(path, true).as_bytes())?;
        let mut head = Vec::new();
        let (length, mut got) = loop {
            let n = stream.read(&mut buffer)?;
            ensure!(n > 0, "the answer ends in its head");
            head.extend(&buffer[..n]);
            if let Some(found) = response::head(&head)? {
                ensure!(found.status == 200, "status {}", found.status);
                break (found.body as u64, (head.len() - found.head) as u64);
            }
        };
        while got < length {
            let n = stream.read(&mut buffer).context("the body stalled")?;
            ensure!(n > 0, "the body ends after {got} of {length} bytes");
            got += n as u64;
        }
        said.requests += 1;
        said.connections += 1;
        said.bytes += got;
    }
    said.seconds = start.elapsed().as_secs_f64();
    Ok(said)
}

/// Datagrams as fast as one socket sends them.
pub fn datagrams(target: &Target) -> Result<Said> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.connect(target.to)?;
    let datagram = vec![7; target.size];
    let start = Instant::now();
    let mut said = Said::default();
    while start.elapsed() < target.duration() {
        for _ in 0..64 {
            match socket.send(&datagram) {
                Ok(_) => said.requests += 1,
                // Refused: an ICMP error of an earlier one.
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => said.errors += 1,
                Err(error) => return Err(error).context("send a datagram"),
            }
        }
    }
    said.seconds = start.elapsed().as_secs_f64();
    said.connections = 1;
    said.bytes = said.requests * target.size as u64;
    Ok(said)
}
