//! Binding an AF_XDP socket to the last queue of an interface, and closing it.

use std::collections::BTreeMap;
use std::os::fd::{AsFd as _, OwnedFd};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::sockopt::{
    set_xdp_rx_ring_size, set_xdp_umem_completion_ring_size, set_xdp_umem_fill_ring_size,
    set_xdp_umem_reg, xdp_options,
};
use rustix::net::xdp::{
    SocketAddrXdp, SocketAddrXdpFlags, XdpOptionsFlags, XdpUmemReg, XdpUmemRegFlags,
};
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind as bind_to, socket_with};

use super::super::{No, Said, Socket};
use crate::decode::netdev;
use crate::facts::Value;
use crate::wire::{netdev as wire, push};

const CHUNK: u32 = 4096;
const CHUNKS: usize = 4;

/// The kernel gives a closed socket's queue free some time later.
const RELEASE: Duration = Duration::from_millis(500);
const PAUSE: Duration = Duration::from_millis(10);

/// Memory of the socket. The kernel gets no buffer of it to fill.
#[repr(C, align(4096))]
struct Area([u8; CHUNK as usize * CHUNKS]);

/// Binds in the mode that is named, as no mode silently means copy.
pub fn bind(ifindex: u32, zero_copy: bool) -> Result<Said, No> {
    let area = Box::new(Area([0; CHUNK as usize * CHUNKS]));
    let mode = match zero_copy {
        true => SocketAddrXdpFlags::XDP_ZEROCOPY,
        false => SocketAddrXdpFlags::XDP_COPY,
    };
    let queue = last_queue(ifindex);
    let address = SocketAddrXdp::new(mode, ifindex, queue);
    let end = Instant::now() + RELEASE;
    let bound = loop {
        let bound = prepared(&area).and_then(|socket| {
            bind_to(&socket, &address)?;
            xdp_options(socket.as_fd())
        });
        if bound != Err(Errno::BUSY) || Instant::now() > end {
            break bound;
        }
        std::thread::sleep(PAUSE);
    };
    drop(area);
    let options = bound.map_err(|error| No::errno(error.raw_os_error()))?;
    let is_zero_copy = options.contains(XdpOptionsFlags::XDP_OPTIONS_ZEROCOPY);
    Ok(Said::Fields(BTreeMap::from([
        ("queue".to_owned(), Value::from(queue)),
        ("zero_copy".to_owned(), Value::from(is_zero_copy)),
    ])))
}

fn prepared(area: &Area) -> rustix::io::Result<OwnedFd> {
    let socket = socket_with(
        AddressFamily::XDP,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        None,
    )?;
    let region = XdpUmemReg {
        addr: area.0.as_ptr() as u64,
        len: area.0.len() as u64,
        chunk_size: CHUNK,
        headroom: 0,
        flags: XdpUmemRegFlags::empty(),
        tx_metadata_len: 0,
    };
    set_xdp_umem_reg(socket.as_fd(), region)?;
    let size = u32::try_from(CHUNKS).unwrap_or(CHUNK);
    set_xdp_umem_fill_ring_size(socket.as_fd(), size)?;
    set_xdp_umem_completion_ring_size(socket.as_fd(), size)?;
    set_xdp_rx_ring_size(socket.as_fd(), size)?;
    Ok(socket)
}

/// The highest receive queue; the first, where the kernel tells none.
fn last_queue(ifindex: u32) -> u32 {
    let queues = || {
        let mut socket = Socket::generic().ok()?;
        let family = socket.family("netdev").ok()?;
        let mut body = vec![wire::QUEUE_GET, 1, 0, 0];
        push(&mut body, 2, &ifindex.to_ne_bytes());
        socket.dump(family, &body).ok()
    };
    let queues = queues().unwrap_or_default();
    let queues = queues.iter().filter_map(|message| netdev::queue(message));
    let rx = queues.filter(|(index, queue)| *index == ifindex && queue.kind == "rx");
    rx.map(|(_, queue)| queue.id).max().unwrap_or(0)
}
