//! Ways to receive.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::net::RecvFlags;
use rustix::pipe::SpliceFlags;

use super::super::lab::{Lab, Outcome, PATIENCE, Trouble, connect, expect, hand_over, receive};
use super::super::{Verdict, raw};

/// Between two messages of a slow sender.
const PAUSE: Duration = Duration::from_millis(50);

/// Waits until the socket is readable; the kernel must say so.
fn await_readable(socket: &TcpStream) -> Result<(), Trouble> {
    let mut events = [PollFd::new(socket, PollFlags::IN)];
    let limit = Timespec::try_from(PATIENCE).ok();
    let n = rustix::event::poll(&mut events, limit.as_ref())?;
    expect(n == 1, "poll() does not say that bytes are there")
}

pub(super) fn poll(lab: &Lab) -> Outcome {
    let (mut client, mut server) = lab.pair()?;
    lab.joined(10, || {
        client.write_all(b"0123456789")?;
        await_readable(&server)?;
        receive(&mut server, b"01234")?;
        // Some are left: still readable.
        await_readable(&server)?;
        receive(&mut server, b"56789")
    })?;
    Ok((Verdict::Pass, "readable until all is read".to_owned()))
}

pub(super) fn pending_bytes(lab: &Lab) -> Outcome {
    let (mut client, mut server) = lab.pair()?;
    lab.joined(5, || Ok(client.write_all(b"12345")?))?;
    await_readable(&server)?;
    let count = raw::readable_bytes(&server)?;
    receive(&mut server, b"12345")?;
    expect(count == 5, format!("FIONREAD says {count} of 5 bytes"))?;
    Ok((Verdict::Pass, "FIONREAD counts them".to_owned()))
}

/// Bytes that came through the stack to a socket in the table. nginx asks so
/// how much is left, and waits for the next edge of epoll when it hears 0.
pub(super) fn pending_mixed(_: &Lab) -> Outcome {
    let (mut client, mut server) = connect(Ipv4Addr::LOCALHOST.into())?;
    client.write_all(b"12345")?;
    await_readable(&server)?;
    let count = raw::readable_bytes(&server)?;
    receive(&mut server, b"12345")?;
    expect(
        count == 5,
        format!(
            "FIONREAD says {count} of 5 bytes that came through the stack: readers that trust it \
             (nginx as a proxy) may wait for ever"
        ),
    )?;
    Ok((Verdict::Pass, "FIONREAD counts both".to_owned()))
}

pub(super) fn peek(lab: &Lab) -> Outcome {
    let (mut client, mut server) = lab.pair()?;
    lab.joined(4, || Ok(client.write_all(b"peek")?))?;
    await_readable(&server)?;
    let mut bytes = [0; 8];
    let n = server.peek(&mut bytes)?;
    expect(&bytes[..n] == b"peek", "MSG_PEEK shows other bytes")?;
    receive(&mut server, b"peek")?;
    Ok((Verdict::Pass, "and read again".to_owned()))
}

/// A reader that splices from its first byte on.
pub(super) fn splice_first(lab: &Lab) -> Outcome {
    let (mut client, server) = connect(Ipv4Addr::LOCALHOST.into())?;
    let before = lab.joined_bytes()?;
    for _ in 0..4 {
        client.write_all(b"spliced")?;
        await_readable(&server)?;
        splice_in(&server, b"spliced")?;
    }
    let joined = lab.joined_bytes()? - before;
    Ok(if joined == 0 {
        (Verdict::Guarded, "its bytes take the stack".to_owned())
    } else {
        (Verdict::Pass, "spliced".to_owned())
    })
}

/// A reader that has read otherwise before.
pub(super) fn splice_later(lab: &Lab) -> Outcome {
    let (mut client, server) = lab.pair()?;
    lab.joined(7, || Ok(client.write_all(b"spliced")?))?;
    await_readable(&server)?;
    splice_in(&server, b"spliced")?;
    Ok((Verdict::Pass, "spliced".to_owned()))
}

fn splice_in(server: &TcpStream, bytes: &[u8]) -> Result<(), Trouble> {
    let (read, write) = rustix::pipe::pipe()?;
    let flags = SpliceFlags::NONBLOCK;
    server.set_nonblocking(true)?;
    let moved = rustix::pipe::splice(server, None, &write, None, bytes.len(), flags);
    server.set_nonblocking(false)?;
    let moved = moved
        .map_err(|errno| Trouble(format!("splice() does not see bytes by socket: {errno}")))?;
    let mut got = vec![0; moved];
    File::from(read).read_exact(&mut got)?;
    expect(got == bytes, "splice() returned other bytes")
}

/// A reader that waits for all bytes from its first call on.
pub(super) fn waitall_first(lab: &Lab) -> Outcome {
    let (mut client, server) = connect(Ipv4Addr::LOCALHOST.into())?;
    let before = lab.joined_bytes()?;
    for _ in 0..2 {
        wait_for_all(&mut client, &server)?;
    }
    let joined = lab.joined_bytes()? - before;
    Ok(if joined == 0 {
        (Verdict::Guarded, "its bytes take the stack".to_owned())
    } else {
        (Verdict::Pass, "all bytes at once".to_owned())
    })
}

pub(super) fn waitall_later(lab: &Lab) -> Outcome {
    let (mut client, mut server) = lab.pair()?;
    hand_over(&mut client, &mut server, b"first")?;
    wait_for_all(&mut client, &server)?;
    Ok((Verdict::Pass, "all bytes at once".to_owned()))
}

fn wait_for_all(client: &mut TcpStream, server: &TcpStream) -> Result<(), Trouble> {
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut bytes = [0; 8];
            rustix::net::recv(server, &mut bytes, RecvFlags::WAITALL).map(|(_, n)| (n, bytes))
        });
        client.write_all(b"1234")?;
        std::thread::sleep(PAUSE);
        client.write_all(b"5678")?;
        let read = reader
            .join()
            .map_err(|_| Trouble("the reader panicked".to_owned()))?;
        let (n, bytes) = read?;
        expect(
            &bytes[..n] == b"12345678",
            format!("MSG_WAITALL returned {n} of 8 bytes"),
        )
    })
}
