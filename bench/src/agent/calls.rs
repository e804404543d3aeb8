//! System calls at which the programs of the socket tier run.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd as _;

use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};

use super::Said;

#[derive(Debug, Clone, Args)]
pub struct Calls {
    #[arg(long)]
    what: What,
    /// Where to, and where that ends up: this process listens there
    #[arg(long)]
    to: SocketAddr,
    #[arg(long)]
    at: SocketAddr,
    #[arg(long)]
    count: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum What {
    /// TCP connections
    Connect,
    /// Datagrams with an address, and their answers
    Send,
    /// getpeername() of one connection
    Peer,
    /// bind() to a chosen port
    Bind,
    /// 64 bytes each way over one connection
    Exchange,
}

pub fn run(calls: &Calls) -> Result<Said> {
    match calls.what {
        What::Connect => connect(calls)?,
        What::Send => send(calls)?,
        What::Peer => peer(calls)?,
        What::Bind => bind(calls)?,
        What::Exchange => exchange(calls)?,
    }
    Ok(Said {
        requests: calls.count,
        ..Said::default()
    })
}

fn connect(calls: &Calls) -> Result<()> {
    let listener = TcpListener::bind(calls.at).context("listen")?;
    for _ in 0..calls.count {
        let stream = TcpStream::connect(calls.to)?;
        let (other, _) = listener.accept()?;
        // Without TIME_WAIT ports would run out.
        for end in [&stream, &other] {
            rustix::net::sockopt::set_socket_linger(end, Some(std::time::Duration::ZERO))?;
        }
    }
    Ok(())
}

fn send(calls: &Calls) -> Result<()> {
    let server = UdpSocket::bind(calls.at).context("a server of datagrams")?;
    let client = UdpSocket::bind(any(calls.to))?;
    let mut buffer = [7; 64];
    for _ in 0..calls.count {
        client.send_to(&buffer, calls.to)?;
        let (n, from) = server.recv_from(&mut buffer)?;
        server.send_to(&buffer[..n], from)?;
        client.recv_from(&mut buffer)?;
    }
    Ok(())
}

fn peer(calls: &Calls) -> Result<()> {
    let _listener = TcpListener::bind(calls.at).context("listen")?;
    let stream = TcpStream::connect(calls.to)?;
    for _ in 0..calls.count {
        stream.peer_addr()?;
    }
    Ok(())
}

fn bind(calls: &Calls) -> Result<()> {
    for _ in 0..calls.count {
        drop(UdpSocket::bind(calls.at)?);
    }
    Ok(())
}

fn exchange(calls: &Calls) -> Result<()> {
    let listener = TcpListener::bind(calls.at).context("listen")?;
    let mut client = TcpStream::connect(calls.to)?;
    let (mut server, _) = listener.accept()?;
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let mut bytes = [7; 64];
    for _ in 0..calls.count {
        client.write_all(&bytes)?;
        server.read_exact(&mut bytes)?;
        server.write_all(&bytes)?;
        client.read_exact(&mut bytes)?;
        // Waiting for all of it takes the stack: the program of that option runs.
        rustix::net::sockopt::set_tcp_nodelay(client.as_fd(), true)?;
    }
    Ok(())
}

fn any(like: SocketAddr) -> SocketAddr {
    match like {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    }
}
