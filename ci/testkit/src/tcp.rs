//! TCP conversations whose every byte is checked at both ends.
//!
//! A client opens with a [`Header`]; the server answers with its name, so that
//! a test knows which backend it reached, then both do what the header says.
//! The bytes come from a generator that both ends run, so nothing is stored and
//! a wrong byte is found where it is.

mod pattern;
mod pulse;
mod server;

pub use pulse::Pulse;
pub use server::Server;

use crate::{Error, Netns, Result};
use pattern::Pattern;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Longest silence within a conversation.
const SILENCE: Duration = Duration::from_secs(20);
const CHUNK: usize = 64 * 1024;
/// Largest transfer: tests send to themselves only, and not without bound.
pub const MAX_TRANSFER: u64 = 1 << 30;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Echo = 0,
    Upload = 1,
    Download = 2,
}

/// First bytes of a conversation: kind, length, seed of the pattern.
#[derive(Debug, Clone, Copy)]
struct Header {
    kind: Kind,
    length: u64,
    seed: u64,
}

impl Header {
    const SIZE: usize = 17;

    fn write(self, to: &mut impl Write) -> io::Result<()> {
        let mut bytes = [0; Self::SIZE];
        bytes[0] = self.kind as u8;
        bytes[1..9].copy_from_slice(&self.length.to_be_bytes());
        bytes[9..].copy_from_slice(&self.seed.to_be_bytes());
        to.write_all(&bytes)
    }

    fn read(from: &mut impl Read) -> io::Result<Self> {
        let (mut kind, mut length, mut seed) = ([0; 1], [0; 8], [0; 8]);
        from.read_exact(&mut kind)?;
        from.read_exact(&mut length)?;
        from.read_exact(&mut seed)?;
        let kind = match kind[0] {
            0 => Kind::Echo,
            1 => Kind::Upload,
            2 => Kind::Download,
            _ => return Err(io::ErrorKind::InvalidData.into()),
        };
        Ok(Self {
            kind,
            length: u64::from_be_bytes(length).min(MAX_TRANSFER),
            seed: u64::from_be_bytes(seed),
        })
    }
}

/// Sends `length` bytes from inside `ns`; the name of the server that got
/// every one of them right.
pub fn upload(ns: &Netns, to: SocketAddr, length: u64) -> Result<String> {
    let what = format!("upload of {length} bytes to {to}");
    converse(ns, to, Kind::Upload, length, &what, |stream, seed| {
        Pattern::new(seed).send(stream, length)?;
        let mut got = [0; 8];
        stream.read_exact(&mut got)?;
        Ok(u64::from_be_bytes(got))
    })
}

/// Fetches `length` bytes into `ns`; the name of the server they came from.
pub fn download(ns: &Netns, to: SocketAddr, length: u64) -> Result<String> {
    let what = format!("download of {length} bytes from {to}");
    converse(ns, to, Kind::Download, length, &what, |stream, seed| {
        Pattern::new(seed).expect(stream, length)
    })
}

fn converse(
    ns: &Netns,
    to: SocketAddr,
    kind: Kind,
    length: u64,
    what: &str,
    body: impl FnOnce(&mut TcpStream, u64) -> io::Result<u64>,
) -> Result<String> {
    let (mut stream, server) = open(ns, to, kind, length)?;
    let right = body(&mut stream, length).map_err(Error::io(what))?;
    if right != length {
        return Err(Error::wrong(format!("{what}: byte {right} is wrong")));
    }
    Ok(server)
}

/// Connects and says the header; the stream and the server's name. The length
/// is the seed as well.
fn open(ns: &Netns, to: SocketAddr, kind: Kind, length: u64) -> Result<(TcpStream, String)> {
    let mut stream = ns
        .enter(|| TcpStream::connect_timeout(&to, SILENCE))?
        .map_err(Error::io(format!("connect to {to}")))?;
    let name = greet(&mut stream, kind, length).map_err(Error::io(format!("greet {to}")))?;
    Ok((stream, name))
}

fn greet(stream: &mut TcpStream, kind: Kind, length: u64) -> io::Result<String> {
    patient(stream)?;
    let header = Header {
        kind,
        length,
        seed: length,
    };
    header.write(stream)?;
    let mut size = [0; 1];
    stream.read_exact(&mut size)?;
    let mut name = vec![0; usize::from(size[0])];
    stream.read_exact(&mut name)?;
    Ok(String::from_utf8_lossy(&name).into_owned())
}

fn patient(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(SILENCE))?;
    stream.set_write_timeout(Some(SILENCE))
}

/// One connection whose every message comes back.
#[derive(Debug)]
pub struct Echo {
    stream: TcpStream,
    server: String,
    rounds: u64,
}

impl Echo {
    pub fn open(ns: &Netns, to: SocketAddr) -> Result<Self> {
        let (stream, server) = open(ns, to, Kind::Echo, 0)?;
        Ok(Self {
            stream,
            server,
            rounds: 0,
        })
    }

    /// Name of the server that answered the opening.
    pub fn server(&self) -> &str {
        &self.server
    }

    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.stream.local_addr().ok()
    }

    /// Sends `size` bytes (at most 64 KiB) and checks that they come back.
    pub fn round(&mut self, size: usize) -> Result<()> {
        self.rounds += 1;
        let what = format!("echo round {} of {size} bytes", self.rounds);
        let right = self
            .exchange(size as u64)
            .map_err(Error::io(what.clone()))?;
        if right != size as u64 {
            return Err(Error::wrong(format!("{what}: byte {right} is wrong")));
        }
        Ok(())
    }

    fn exchange(&mut self, size: u64) -> io::Result<u64> {
        Pattern::new(self.rounds).send(&mut self.stream, size.min(CHUNK as u64))?;
        Pattern::new(self.rounds).expect(&mut self.stream, size)
    }
}
