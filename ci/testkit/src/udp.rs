//! UDP exchanges whose every datagram is checked.

use crate::{Error, Netns, Result, wait};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// The answer's first bytes are the server's name, padded with zeros; the rest
/// is the question's, so that an answer is as long as its question.
const NAME: usize = 16;
const LARGEST: usize = 65_507;

/// Answers on IPv4 and IPv6 until it is dropped.
#[derive(Debug)]
pub struct Server {
    stop: Arc<AtomicBool>,
    wake: UdpSocket,
    answering: Option<JoinHandle<()>>,
}

impl Server {
    pub fn start(ns: &Netns, name: &str, port: u16) -> Result<Self> {
        Self::start_at(ns, name, SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)))
    }

    /// Answers at one address only, and from it: a namespace with several
    /// addresses (a DSR backend has its services') needs one server for each.
    pub fn start_at(ns: &Netns, name: &str, at: SocketAddr) -> Result<Self> {
        let what = format!("UDP {at} in {}", ns.name());
        let (socket, wake) = ns
            .enter(|| -> io::Result<_> {
                let socket = UdpSocket::bind(at)?;
                let wake = waker(at)?;
                Ok((socket, wake))
            })?
            .map_err(Error::io(what))?;
        let mut label = [0; NAME];
        let length = name.len().min(NAME);
        label[..length].copy_from_slice(&name.as_bytes()[..length]);
        let stop = Arc::new(AtomicBool::new(false));
        let answering = std::thread::spawn({
            let stop = stop.clone();
            move || answer(&socket, &label, &stop)
        });
        Ok(Self {
            stop,
            wake,
            answering: Some(answering),
        })
    }
}

/// A socket whose datagrams reach the server, from its own namespace.
fn waker(at: SocketAddr) -> io::Result<UdpSocket> {
    let (from, to) = match at {
        SocketAddr::V4(_) => (SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)), at),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => {
            let local = |port| SocketAddr::from((Ipv6Addr::LOCALHOST, port));
            (local(0), local(at.port()))
        }
        SocketAddr::V6(_) => (SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)), at),
    };
    let wake = UdpSocket::bind(from)?;
    wake.connect(to)?;
    Ok(wake)
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.wake.send(&[0; NAME]);
        if let Some(thread) = self.answering.take() {
            let _ = thread.join();
        }
    }
}

fn answer(socket: &UdpSocket, label: &[u8; NAME], stop: &AtomicBool) {
    let mut datagram = vec![0; LARGEST];
    while !stop.load(Ordering::Relaxed) {
        // An ICMP error of an earlier answer shows as an error here: go on.
        let Ok((length, from)) = wait::whole(|| socket.recv_from(&mut datagram)) else {
            continue;
        };
        if length >= NAME {
            datagram[..NAME].copy_from_slice(label);
            let _ = socket.send_to(&datagram[..length], from);
        }
    }
}

/// A connected socket: all its questions are one flow.
#[derive(Debug)]
pub struct Client {
    socket: UdpSocket,
    to: SocketAddr,
    asked: u64,
}

impl Client {
    pub fn open(ns: &Netns, to: SocketAddr) -> Result<Self> {
        let any: SocketAddr = match to {
            SocketAddr::V4(_) => ([0, 0, 0, 0], 0).into(),
            SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
        };
        let socket = ns
            .enter(|| -> io::Result<_> {
                let socket = UdpSocket::bind(any)?;
                socket.connect(to)?;
                Ok(socket)
            })?
            .map_err(Error::io(format!("UDP socket to {to}")))?;
        Ok(Self {
            socket,
            to,
            asked: 0,
        })
    }

    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.socket.local_addr().ok()
    }

    /// Asks once with `size` bytes (24 at least); the name of the server whose
    /// answer was right. Silence until `limit` and a refusal (ICMP) are errors.
    pub fn ask(&mut self, size: usize, limit: Duration) -> Result<String> {
        self.asked += 1;
        let what = format!("UDP question {} to {}", self.asked, self.to);
        let question = question(self.asked, size);
        let answer = self
            .exchange(&question, limit)
            .map_err(Error::io(what.clone()))?;
        if answer.len() != question.len() || answer[NAME..] != question[NAME..] {
            return Err(Error::wrong(format!("{what}: the answer is not its own")));
        }
        let name = answer[..NAME]
            .split(|byte| *byte == 0)
            .next()
            .unwrap_or_default();
        Ok(String::from_utf8_lossy(name).into_owned())
    }

    fn exchange(&self, question: &[u8], limit: Duration) -> io::Result<Vec<u8>> {
        self.socket.set_read_timeout(Some(limit))?;
        self.socket.send(question)?;
        let mut answer = vec![0; LARGEST];
        let length = wait::whole(|| self.socket.recv(&mut answer))?;
        answer.truncate(length);
        Ok(answer)
    }
}

fn question(number: u64, size: usize) -> Vec<u8> {
    let mut question: Vec<u8> = (0..size.clamp(NAME + 8, LARGEST))
        .map(|i| i as u8)
        .collect();
    question[NAME..NAME + 8].copy_from_slice(&number.to_be_bytes());
    question
}
