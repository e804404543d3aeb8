//! A host with smoltcp.

use std::cell::Cell;
use std::collections::VecDeque;

use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp;
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::{HardwareAddress, IpAddress, IpCidr};

thread_local! {
    /// Milliseconds, for smoltcp's generator of timestamps.
    static NOW: Cell<u64> = const { Cell::new(0) };
}

fn timestamp() -> u32 {
    NOW.with(|now| now.get() as u32)
}

pub fn set_clock(now: u64) {
    NOW.with(|clock| clock.set(now));
}

#[derive(Debug)]
struct Wire {
    mtu: usize,
    received: VecDeque<Vec<u8>>,
    sent: Vec<Vec<u8>>,
}

struct Received(Vec<u8>);
struct Sending<'a>(&'a mut Vec<Vec<u8>>);

impl RxToken for Received {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

impl TxToken for Sending<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut packet = vec![0; len];
        let result = f(&mut packet);
        self.0.push(packet);
        result
    }
}

impl Device for Wire {
    type RxToken<'a> = Received;
    type TxToken<'a> = Sending<'a>;

    fn receive(&mut self, _: Instant) -> Option<(Received, Sending<'_>)> {
        let packet = self.received.pop_front()?;
        Some((Received(packet), Sending(&mut self.sent)))
    }

    fn transmit(&mut self, _: Instant) -> Option<Sending<'_>> {
        Some(Sending(&mut self.sent))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = self.mtu;
        capabilities
    }
}

/// How the sockets of a stack behave.
#[derive(Debug, Clone, Copy)]
pub struct Traits {
    pub mtu: usize,
    pub receive_buffer: usize,
    pub timestamps: bool,
    pub nagle: bool,
}

pub struct Stack {
    wire: Wire,
    interface: Interface,
    pub sockets: SocketSet<'static>,
    traits: Traits,
}

impl Stack {
    pub fn new(address: IpAddress, seed: u64, traits: Traits) -> Self {
        let mut wire = Wire {
            mtu: traits.mtu,
            received: VecDeque::new(),
            sent: Vec::new(),
        };
        let mut config = Config::new(HardwareAddress::Ip);
        config.random_seed = seed;
        let mut interface = Interface::new(config, &mut wire, Instant::ZERO);
        let prefix = if matches!(address, IpAddress::Ipv4(_)) {
            24
        } else {
            64
        };
        interface.update_ip_addrs(|all| all.push(IpCidr::new(address, prefix)).unwrap());
        match address {
            IpAddress::Ipv4(v4) => interface.routes_mut().add_default_ipv4_route(v4).map(drop),
            IpAddress::Ipv6(v6) => interface.routes_mut().add_default_ipv6_route(v6).map(drop),
        }
        .unwrap();
        Self {
            wire,
            interface,
            sockets: SocketSet::new(Vec::new()),
            traits,
        }
    }

    pub fn socket(&mut self) -> SocketHandle {
        let traits = self.traits;
        let mut socket = tcp::Socket::new(
            tcp::SocketBuffer::new(vec![0; traits.receive_buffer]),
            tcp::SocketBuffer::new(vec![0; 16_384]),
        );
        socket.set_tsval_generator(traits.timestamps.then_some(timestamp as fn() -> u32));
        socket.set_nagle_enabled(traits.nagle);
        self.sockets.add(socket)
    }

    pub fn tcp(&mut self, handle: SocketHandle) -> &mut tcp::Socket<'static> {
        self.sockets.get_mut::<tcp::Socket<'static>>(handle)
    }

    pub fn connect(&mut self, handle: SocketHandle, to: (IpAddress, u16), port: u16) {
        let socket = self.sockets.get_mut::<tcp::Socket<'static>>(handle);
        // So that a client whose flow was reset learns it, RST lost or not.
        socket.set_keep_alive(Some(Duration::from_secs(45)));
        socket.connect(self.interface.context(), to, port).unwrap();
    }

    pub fn receive(&mut self, packet: Vec<u8>) {
        self.wire.received.push_back(packet);
    }

    /// Runs the stack; returns what it sends.
    pub fn poll(&mut self, now: u64) -> Vec<Vec<u8>> {
        let at = Instant::from_millis(now as i64);
        self.interface.poll(at, &mut self.wire, &mut self.sockets);
        std::mem::take(&mut self.wire.sent)
    }

    pub fn next(&mut self, now: u64) -> Option<u64> {
        let at = Instant::from_millis(now as i64);
        let next = self.interface.poll_at(at, &self.sockets)?;
        Some((next.total_millis() as u64).max(now))
    }
}
