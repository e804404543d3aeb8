//! Ways to send.

use std::fs::File;
use std::io::{ErrorKind, Read as _, Seek as _, Write as _};
use std::net::TcpStream;
use std::os::fd::AsFd as _;

use rustix::net::{RecvFlags, SendFlags};

use super::super::Verdict;
use super::super::lab::{Lab, Outcome, PATIENCE, Trouble, expect, hand_over, pattern, receive};
use super::super::{lab::while_writing, raw};

/// Sizes of messages.
const SIZES: [usize; 8] = [1, 2, 63, 1000, 4096, 16_384, 16_385, 65_536];
/// A slow reader must stop its writer before this.
const RUNAWAY: usize = 64 << 20;
/// MSG_ZEROCOPY (linux/socket.h), which rustix has no name for.
const ZEROCOPY: SendFlags = SendFlags::from_bits_retain(0x400_0000);

pub(super) fn bytes4(lab: &Lab) -> Outcome {
    let (client, server) = lab.pair()?;
    bytes(lab, client, server)
}

pub(super) fn bytes6(lab: &Lab) -> Outcome {
    let (client, server) = lab.pair6()?;
    bytes(lab, client, server)
}

fn bytes(lab: &Lab, mut client: TcpStream, mut server: TcpStream) -> Outcome {
    let total: usize = SIZES.iter().sum();
    lab.joined(2 * total as u64, || {
        for (seed, size) in (0..).zip(SIZES) {
            let sent = pattern(size, seed);
            hand_over(&mut client, &mut server, &sent)?;
            hand_over(&mut server, &mut client, &sent)?;
        }
        Ok(())
    })?;
    Ok((
        Verdict::Pass,
        format!("{} sizes in both directions", SIZES.len()),
    ))
}

/// Writes until the kernel takes no more, again and again, while it is read.
pub(super) fn partial_writes(lab: &Lab) -> Outcome {
    let (client, mut server) = lab.pair()?;
    let sent = pattern(8 << 20, 7);
    let mut read = vec![0; sent.len()];
    lab.joined(1, || {
        while_writing(client, &sent, 50_000, || Ok(server.read_exact(&mut read)?))
    })?;
    expect(read == sent, "bytes arrived in another order")?;
    Ok((Verdict::Pass, "8 MB in order".to_owned()))
}

pub(super) fn slow_reader(lab: &Lab) -> Outcome {
    let (mut client, mut server) = lab.pair()?;
    let sent = pattern(RUNAWAY, 3);
    client.set_nonblocking(true)?;
    let mut written = 0;
    while written < sent.len() {
        let end = (written + 4096).min(sent.len());
        match client.write(&sent[written..end]) {
            Ok(count) => written += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) => return Err(error.into()),
        }
    }
    expect(
        written < sent.len(),
        format!("nothing stopped the writer at {written} bytes"),
    )?;
    receive(&mut server, &sent[..written])?;
    Ok((
        Verdict::Pass,
        format!("the writer had to wait at {} kB", written >> 10),
    ))
}

pub(super) fn sendfile(lab: &Lab) -> Outcome {
    let (client, mut server) = lab.pair()?;
    let sent = pattern(100_000, 11);
    let mut file = temporary_file()?;
    file.write_all(&sent)?;
    file.rewind()?;
    lab.joined(1, || {
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| -> Result<(), Trouble> {
                let mut left = sent.len();
                while left > 0 {
                    let moved = rustix::fs::sendfile(&client, &file, None, left)?;
                    expect(moved > 0, "sendfile() stopped")?;
                    left -= moved;
                }
                Ok(())
            });
            receive(&mut server, &sent)?;
            writer
                .join()
                .unwrap_or_else(|_| Err(Trouble("the writer panicked".to_owned())))
        })
    })?;
    Ok((Verdict::Pass, "100 kB of a file".to_owned()))
}

fn temporary_file() -> Result<File, Trouble> {
    let flags = rustix::fs::MemfdFlags::CLOEXEC;
    Ok(rustix::fs::memfd_create("terrace-selftest", flags)?.into())
}

pub(super) fn splice_out(lab: &Lab) -> Outcome {
    let (client, mut server) = lab.pair()?;
    let sent = pattern(10_000, 13);
    let (read, write) = rustix::pipe::pipe()?;
    File::from(write).write_all(&sent)?;
    lab.joined(sent.len() as u64, || {
        let mut left = sent.len();
        while left > 0 {
            let flags = rustix::pipe::SpliceFlags::empty();
            left -= rustix::pipe::splice(&read, None, &client, None, left, flags)?;
        }
        receive(&mut server, &sent)
    })?;
    Ok((Verdict::Pass, "a pipe spliced into a socket".to_owned()))
}

/// The kernel must say when it is done with the pages.
pub(super) fn zerocopy(lab: &Lab) -> Outcome {
    let (client, mut server) = lab.pair()?;
    let one = 1i32.to_ne_bytes();
    if let Err(error) = raw::set_option(&client, libc::SOL_SOCKET, raw::SO_ZEROCOPY, &one) {
        return Ok((
            Verdict::Guarded,
            format!("SO_ZEROCOPY is refused on joined sockets: {error}"),
        ));
    }
    let sent = pattern(32_768, 5);
    rustix::net::send(&client, &sent, ZEROCOPY)?;
    receive(&mut server, &sent)?;
    let mut events = [rustix::event::PollFd::new(
        &client,
        rustix::event::PollFlags::empty(),
    )];
    let limit = rustix::event::Timespec::try_from(PATIENCE / 4).ok();
    let n = rustix::event::poll(&mut events, limit.as_ref())?;
    expect(n == 1, "no completion: the sender would wait for ever")?;
    Ok((Verdict::Pass, "completed".to_owned()))
}

/// An urgent byte stays out of the stream.
pub(super) fn out_of_band(lab: &Lab) -> Outcome {
    let (mut client, mut server) = lab.pair()?;
    client.write_all(b"before")?;
    rustix::net::send(&client, b"!", SendFlags::OOB)?;
    receive(&mut server, b"before")?;
    let mut byte = [0; 1];
    let deadline = std::time::Instant::now() + PATIENCE / 4;
    let urgent = loop {
        match rustix::net::recv(server.as_fd(), &mut byte, RecvFlags::OOB) {
            Ok((_, n)) => break n == 1 && byte == *b"!",
            Err(rustix::io::Errno::INVAL | rustix::io::Errno::AGAIN)
                if std::time::Instant::now() < deadline => {}
            Err(_) => break false,
        }
    };
    expect(urgent, "the urgent byte did not arrive as such")?;
    hand_over(&mut client, &mut server, b"after")?;
    let mut rest = [0; 1];
    server.set_nonblocking(true)?;
    let nothing = server.read(&mut rest);
    expect(
        nothing.is_err_and(|error| error.kind() == ErrorKind::WouldBlock),
        "a byte too many arrived",
    )?;
    Ok((
        Verdict::Guarded,
        "its sender goes back to the stack".to_owned(),
    ))
}
