//! Connections for the checks, and the proof that they are joined.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener, TcpStream};
use std::path::Path;
use std::time::Duration;
use std::{io, thread};

use libbpf_rs::{MapCore as _, MapHandle};
use terrace_abi::consts;

use super::super::counters::sum_stats;
use super::Verdict;

/// No answer within this time counts as none.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

/// Why a check failed.
#[derive(Debug)]
pub(super) struct Trouble(pub(super) String);

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self(error.to_string())
    }
}

impl From<rustix::io::Errno> for Trouble {
    fn from(errno: rustix::io::Errno) -> Self {
        Self(io::Error::from(errno).to_string())
    }
}

impl From<String> for Trouble {
    fn from(text: String) -> Self {
        Self(text)
    }
}

pub(super) type Outcome = Result<(Verdict, String), Trouble>;

/// Fails a check with words unless something holds.
pub(super) fn expect(holds: bool, words: impl Into<String>) -> Result<(), Trouble> {
    match holds {
        true => Ok(()),
        false => Err(Trouble(words.into())),
    }
}

/// The counters of the programs that are tried out.
#[derive(Debug)]
pub(super) struct Lab {
    stats: MapHandle,
    pairs: MapHandle,
}

impl Lab {
    pub(super) fn open(stats: &Path, pairs: &Path) -> io::Result<Self> {
        Ok(Self {
            stats: MapHandle::from_pinned_path(stats).map_err(io::Error::other)?,
            pairs: MapHandle::from_pinned_path(pairs).map_err(io::Error::other)?,
        })
    }

    /// Bytes that went from socket to socket so far.
    pub(super) fn joined_bytes(&self) -> Result<u64, Trouble> {
        let sum = sum_stats(&self.stats, consts::SHORTCUT_JOINED);
        Ok(sum.map_err(|error| Trouble(error.to_string()))?.bytes)
    }

    /// Connections in the table.
    pub(super) fn n_pairs(&self) -> usize {
        self.pairs.keys().count()
    }

    /// Runs `work`; fails unless at least `bytes` of it went past the stack.
    pub(super) fn joined<T>(
        &self,
        bytes: u64,
        work: impl FnOnce() -> Result<T, Trouble>,
    ) -> Result<T, Trouble> {
        let before = self.joined_bytes()?;
        let done = work()?;
        let moved = self.joined_bytes()? - before;
        expect(
            moved >= bytes,
            format!("only {moved} of {bytes} bytes went from socket to socket"),
        )?;
        Ok(done)
    }

    /// A connection on loopback whose both directions are joined.
    pub(super) fn pair(&self) -> Result<(TcpStream, TcpStream), Trouble> {
        self.pair_at(Ipv4Addr::LOCALHOST.into())
    }

    pub(super) fn pair6(&self) -> Result<(TcpStream, TcpStream), Trouble> {
        self.pair_at(Ipv6Addr::LOCALHOST.into())
    }

    fn pair_at(&self, address: IpAddr) -> Result<(TcpStream, TcpStream), Trouble> {
        let (mut client, mut server) = connect(address)?;
        // The first message of a direction takes the stack, the second not.
        self.joined(2, || {
            for _ in 0..2 {
                hand_over(&mut client, &mut server, b"a")?;
                hand_over(&mut server, &mut client, b"b")?;
            }
            Ok(())
        })?;
        Ok((client, server))
    }
}

/// A connection that has carried nothing yet.
pub(super) fn connect(address: IpAddr) -> Result<(TcpStream, TcpStream), Trouble> {
    let listener = TcpListener::bind((address, 0))?;
    let client = TcpStream::connect(listener.local_addr()?)?;
    let (server, _) = listener.accept()?;
    for socket in [&client, &server] {
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_write_timeout(Some(PATIENCE))?;
    }
    Ok((client, server))
}

/// One message; it must arrive as it is.
pub(super) fn hand_over(
    from: &mut TcpStream,
    to: &mut TcpStream,
    bytes: &[u8],
) -> Result<(), Trouble> {
    from.write_all(bytes)?;
    receive(to, bytes)
}

/// Reads as many bytes as these are; they must be these.
pub(super) fn receive(from: &mut TcpStream, bytes: &[u8]) -> Result<(), Trouble> {
    let mut read = vec![0; bytes.len()];
    from.read_exact(&mut read)?;
    expect(read == bytes, "other bytes arrived than were sent")
}

/// Bytes that differ from place to place.
pub(super) fn pattern(len: usize, seed: u32) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(1);
    let bytes = (0..len).map(|_| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state as u8
    });
    bytes.collect()
}

/// Writes on a thread of its own while `read` runs.
pub(super) fn while_writing<T>(
    mut from: TcpStream,
    bytes: &[u8],
    chunk: usize,
    read: impl FnOnce() -> Result<T, Trouble>,
) -> Result<(TcpStream, T), Trouble> {
    thread::scope(|scope| {
        let writer = scope.spawn(move || -> io::Result<TcpStream> {
            for part in bytes.chunks(chunk) {
                from.write_all(part)?;
            }
            Ok(from)
        });
        let read = read();
        let from = writer
            .join()
            .map_err(|_| Trouble("the writer panicked".to_owned()))??;
        Ok((from, read?))
    })
}
