//! Ways to end, and connections that are no plain TCP.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::time::Instant;

use rustix::net::{AddressFamily, SocketType, ipproto};

use super::super::lab::{Lab, Outcome, PATIENCE, Trouble, expect, hand_over, pattern, receive};
use super::super::{Verdict, raw};

const SHORT_CONNECTIONS: usize = 10_000;

pub(super) fn shutdown_client(lab: &Lab) -> Outcome {
    let (client, server) = lab.pair()?;
    half_close(lab, client, server)
}

pub(super) fn shutdown_server(lab: &Lab) -> Outcome {
    let (client, server) = lab.pair()?;
    half_close(lab, server, client)
}

/// Bytes, then the end, then the other direction goes on.
fn half_close(lab: &Lab, mut one: TcpStream, mut other: TcpStream) -> Outcome {
    let sent = pattern(30_000, 17);
    lab.joined(30_000, || {
        one.write_all(&sent)?;
        one.shutdown(Shutdown::Write)?;
        let refused = one.write(b"late");
        expect(
            refused.is_err_and(|error| error.kind() == ErrorKind::BrokenPipe),
            "a write after shutdown() is not refused",
        )?;
        let mut read = Vec::new();
        other.read_to_end(&mut read)?;
        expect(read == sent, "the end came before all bytes")
    })?;
    hand_over(&mut other, &mut one, b"still open")?;
    Ok((
        Verdict::Pass,
        "all bytes, then the end; the other way stays open".to_owned(),
    ))
}

pub(super) fn shutdown_read(lab: &Lab) -> Outcome {
    let (mut client, mut server) = lab.pair()?;
    server.shutdown(Shutdown::Read)?;
    let mut byte = [0; 1];
    expect(server.read(&mut byte)? == 0, "a read does not end")?;
    hand_over(&mut server, &mut client, b"still open")?;
    Ok((Verdict::Pass, "reads end, writes go on".to_owned()))
}

/// Closes with a reset.
fn abort(socket: TcpStream) -> Result<(), Trouble> {
    let linger = [1i32.to_ne_bytes(), 0i32.to_ne_bytes()].concat();
    Ok(raw::set_option(
        &socket,
        libc::SOL_SOCKET,
        libc::SO_LINGER,
        &linger,
    )?)
}

pub(super) fn reset(lab: &Lab) -> Outcome {
    let (client, mut server) = lab.pair()?;
    abort(client)?;
    let mut byte = [0; 1];
    let read = server.read(&mut byte);
    expect(
        read.is_err_and(|error| error.kind() == ErrorKind::ConnectionReset),
        "the reader is not told of the reset",
    )?;
    let mut write = server.write(b"x");
    if write.is_ok() {
        write = server.write(b"x");
    }
    expect(write.is_err(), "a write after the reset is not refused")?;
    Ok((Verdict::Pass, "both calls are told".to_owned()))
}

/// The receiver goes without having read: the sender must learn of it.
pub(super) fn close_unread(lab: &Lab) -> Outcome {
    let (mut client, server) = lab.pair()?;
    client.write_all(b"never read")?;
    drop(server);
    let deadline = Instant::now() + PATIENCE;
    while client.write(b"x").is_ok() {
        expect(Instant::now() < deadline, "writes go on into nothing")?;
        std::thread::yield_now();
    }
    Ok((Verdict::Pass, "the sender is told".to_owned()))
}

/// Multipath TCP works, and is not joined.
pub(super) fn mptcp(lab: &Lab) -> Outcome {
    let family = AddressFamily::INET;
    let mptcp = Some(ipproto::MPTCP);
    let open = || rustix::net::socket(family, SocketType::STREAM, mptcp);
    let Ok(listener) = open() else {
        return Ok((Verdict::Absent, "this kernel has no MPTCP".to_owned()));
    };
    rustix::net::bind(&listener, &SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
    rustix::net::listen(&listener, 1)?;
    let listener = TcpListener::from(listener);
    let client = open()?;
    rustix::net::connect(&client, &listener.local_addr()?)?;
    let (mut client, (mut server, _)) = (TcpStream::from(client), listener.accept()?);
    for socket in [&client, &server] {
        socket.set_read_timeout(Some(PATIENCE))?;
    }
    let before = lab.joined_bytes()?;
    for seed in 0..4 {
        let bytes = pattern(2000, seed);
        hand_over(&mut client, &mut server, &bytes)?;
        hand_over(&mut server, &mut client, &bytes)?;
    }
    client.shutdown(Shutdown::Write)?;
    expect(server.read(&mut [0; 1])? == 0, "the end does not arrive")?;
    let joined = lab.joined_bytes()? - before;
    expect(joined == 0, "MPTCP sockets were joined")?;
    Ok((Verdict::Guarded, "works, on the stack".to_owned()))
}

/// A joined socket can't become one of kernel TLS.
pub(super) fn ktls(lab: &Lab) -> Outcome {
    let (mut client, mut server) = lab.pair()?;
    let refused = raw::set_option(&client, libc::IPPROTO_TCP, raw::TCP_ULP, b"tls\0");
    hand_over(&mut client, &mut server, b"plain")?;
    match refused {
        Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => Ok((
            Verdict::Guarded,
            format!(
                "TCP_ULP is refused on joined sockets, TLS stays in the program; {}",
                kernel_tls()
            ),
        )),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Ok((Verdict::Absent, "this kernel has no kTLS".to_owned()))
        }
        other => Err(Trouble(format!("a joined socket took TCP_ULP: {other:?}"))),
    }
}

/// Whether kTLS is loaded; it would be on first use.
fn kernel_tls() -> &'static str {
    let known = std::fs::read_to_string("/proc/sys/net/ipv4/tcp_available_ulp");
    match known.is_ok_and(|names| names.split_whitespace().any(|name| name == "tls")) {
        true => "this kernel has kTLS",
        false => "kTLS is not loaded here",
    }
}

pub(super) fn short_connections(lab: &Lab) -> Outcome {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    lab.joined(2 * SHORT_CONNECTIONS as u64, || {
        std::thread::scope(|scope| {
            let server = scope.spawn(move || -> Result<(), Trouble> {
                for _ in 0..SHORT_CONNECTIONS {
                    let (mut socket, _) = listener.accept()?;
                    socket.set_read_timeout(Some(PATIENCE))?;
                    for _ in 0..2 {
                        receive(&mut socket, b"q")?;
                        socket.write_all(b"a")?;
                    }
                }
                Ok(())
            });
            for _ in 0..SHORT_CONNECTIONS {
                let mut socket = TcpStream::connect(address)?;
                socket.set_read_timeout(Some(PATIENCE))?;
                for _ in 0..2 {
                    socket.write_all(b"q")?;
                    receive(&mut socket, b"a")?;
                }
                expect(socket.read(&mut [0; 1])? == 0, "the end does not arrive")?;
            }
            server
                .join()
                .unwrap_or_else(|_| Err(Trouble("the server panicked".to_owned())))
        })
    })?;
    let deadline = Instant::now() + PATIENCE;
    while lab.n_pairs() > 0 && Instant::now() < deadline {
        std::thread::yield_now();
    }
    let left = lab.n_pairs();
    expect(left == 0, format!("{left} entries are left in the table"))?;
    Ok((
        Verdict::Pass,
        format!("{SHORT_CONNECTIONS}, and no entry is left"),
    ))
}
