//! The answering end of [`super`]'s conversations.

use super::{CHUNK, Header, Kind, Pattern, patient};
use crate::{Error, Netns, Result, wait};
use rustix::net::{Shutdown, shutdown};
use std::io::{self, Read, Write};
use std::net::{Ipv6Addr, Shutdown as StdShutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

type Streams = Arc<Mutex<Vec<TcpStream>>>;

/// A server on IPv4 and IPv6, one thread a connection; ends on drop, with all
/// its connections.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    streams: Streams,
    accepting: Option<JoinHandle<()>>,
}

impl Server {
    pub fn start(ns: &Netns, name: &str, port: u16) -> Result<Self> {
        let what = format!("listen on port {port} in {}", ns.name());
        let any = SocketAddr::from((Ipv6Addr::UNSPECIFIED, port));
        let listener = ns
            .enter(|| TcpListener::bind(any))?
            .map_err(Error::io(what.clone()))?;
        let listening = listener.try_clone().map_err(Error::io(what))?;
        let streams = Streams::default();
        let name = name.as_bytes()[..name.len().min(255)].to_vec();
        let accepting = std::thread::spawn({
            let streams = streams.clone();
            move || accept(&listening, &name, &streams)
        });
        Ok(Self {
            listener,
            streams,
            accepting: Some(accepting),
        })
    }

    /// Connections accepted so far.
    pub fn accepted(&self) -> usize {
        locked(&self.streams).len()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Wakes accept(), which then fails.
        let _ = shutdown(&self.listener, Shutdown::Both);
        if let Some(thread) = self.accepting.take() {
            let _ = thread.join();
        }
        for stream in locked(&self.streams).iter() {
            let _ = stream.shutdown(StdShutdown::Both);
        }
    }
}

fn locked(streams: &Streams) -> std::sync::MutexGuard<'_, Vec<TcpStream>> {
    streams.lock().unwrap_or_else(PoisonError::into_inner)
}

fn accept(listener: &TcpListener, name: &[u8], streams: &Streams) {
    while let Ok((stream, _)) = listener.accept() {
        let Ok(kept) = stream.try_clone() else {
            continue;
        };
        locked(streams).push(kept);
        let name = name.to_vec();
        std::thread::spawn(move || {
            // The client's end sees and reports what went wrong.
            let _ = answer(&stream, &name);
            let _ = stream.shutdown(StdShutdown::Both);
        });
    }
}

fn answer(mut stream: &TcpStream, name: &[u8]) -> io::Result<()> {
    patient(stream)?;
    let header = Header::read(&mut stream)?;
    stream.write_all(&[name.len() as u8])?;
    stream.write_all(name)?;
    match header.kind {
        Kind::Echo => echo(stream),
        Kind::Download => {
            Pattern::new(header.seed).send(&mut stream, header.length)?;
            // The client closes when it has everything.
            wait::whole(|| stream.read(&mut [0])).map(drop)
        }
        Kind::Upload => {
            let right = Pattern::new(header.seed).expect(&mut stream, header.length)?;
            stream.write_all(&right.to_be_bytes())
        }
    }
}

fn echo(mut stream: &TcpStream) -> io::Result<()> {
    stream.set_read_timeout(None)?;
    let mut chunk = vec![0; CHUNK];
    loop {
        let n = wait::whole(|| stream.read(&mut chunk))?;
        if n == 0 {
            return Ok(());
        }
        stream.write_all(&chunk[..n])?;
    }
}
