//! The smallest HTTP/1.1 client that a test needs: GET, by Content-Length.

use crate::{Error, Netns, Result};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(10);
/// No test reads a larger body over HTTP.
const MAX_BODY: usize = 256 << 20;

/// A keep-alive connection.
#[derive(Debug)]
pub struct Connection {
    stream: BufReader<TcpStream>,
    to: SocketAddr,
}

impl Connection {
    /// Opens a connection from inside `ns`.
    pub fn open(ns: &Netns, to: SocketAddr) -> Result<Self> {
        Self::open_within(ns, to, LIMIT)
    }

    /// Like [`Connection::open`]; `limit` also holds for every later read.
    pub fn open_within(ns: &Netns, to: SocketAddr, limit: Duration) -> Result<Self> {
        let stream = ns
            .enter(|| TcpStream::connect_timeout(&to, limit))?
            .map_err(Error::io(format!("connect to {to}")))?;
        stream
            .set_read_timeout(Some(limit))
            .map_err(Error::io("read timeout"))?;
        stream.set_nodelay(true).map_err(Error::io("nodelay"))?;
        Ok(Self {
            stream: BufReader::new(stream),
            to,
        })
    }

    /// The body of a 200 answer; anything else is an error.
    pub fn get(&mut self, path: &str) -> Result<String> {
        let (status, body) = self.request(path)?;
        if status != 200 {
            return Err(Error::wrong(format!("{} answered {status}", self.to)));
        }
        Ok(String::from_utf8_lossy(&body).into_owned())
    }

    /// Status and body.
    pub fn request(&mut self, path: &str) -> Result<(u16, Vec<u8>)> {
        let to = self.to;
        self.exchange(path)
            .map_err(Error::io(format!("GET {path} from {to}")))
    }

    fn exchange(&mut self, path: &str) -> std::io::Result<(u16, Vec<u8>)> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", self.to);
        self.stream.get_mut().write_all(request.as_bytes())?;
        let status = self
            .line()?
            .split(' ')
            .nth(1)
            .and_then(|code| code.parse().ok());
        let status = status.ok_or_else(|| bad("no status line"))?;
        let mut length = 0;
        loop {
            let line = self.line()?;
            if line.is_empty() {
                break;
            }
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value
                    .trim()
                    .parse()
                    .map_err(|_| bad("bad content-length"))?;
            }
        }
        if length > MAX_BODY {
            return Err(bad("body too large"));
        }
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body)?;
        Ok((status, body))
    }

    fn line(&mut self) -> std::io::Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end().to_owned())
    }
}

/// One request on a connection of its own.
pub fn get(ns: &Netns, to: SocketAddr, path: &str) -> Result<String> {
    Connection::open(ns, to)?.get(path)
}

fn bad(what: &str) -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::InvalidData, what.to_owned())
}
