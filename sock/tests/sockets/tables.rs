//! Services in the tables, by hand: this crate knows no manifests.

use std::net::{IpAddr, SocketAddr};

use terrace_abi::consts::{
    BACKEND_READY, CELL_PROBES, SERVICE_AFFINITY, SERVICE_NODE_PORT, SERVICE_REJECT,
};
use terrace_abi::hash::{CellKey, address_bytes, address_words, cell_hash, service_key_word};
use terrace_abi::{Limits, Maps, Plain as _, Table, types};
use terrace_testkit::PinRoot;

pub const TCP: u8 = 6;
pub const UDP: u8 = 17;
const RING: u32 = 251;

/// The tables of a pin root of their own, and what was written into them.
pub struct Tables {
    pub maps: Maps,
    _pins: PinRoot,
    cells: Vec<types::cell_bucket>,
    services: u32,
    backends: u32,
}

/// What a service is like.
#[derive(Debug, Clone, Copy)]
pub struct Kind {
    pub proto: u8,
    pub flags: u32,
    pub fail_mode: u32,
    pub affinity_secs: u32,
}

impl Kind {
    pub fn new(proto: u8) -> Self {
        Self {
            proto,
            flags: SERVICE_REJECT,
            fail_mode: 0,
            affinity_secs: 0,
        }
    }

    pub fn affine(proto: u8) -> Self {
        Self {
            flags: SERVICE_REJECT | SERVICE_AFFINITY,
            affinity_secs: 600,
            ..Self::new(proto)
        }
    }

    pub fn node_port(proto: u8) -> Self {
        Self {
            flags: SERVICE_REJECT | SERVICE_NODE_PORT,
            ..Self::new(proto)
        }
    }
}

/// A service in the tables: its index and those of its backends.
#[derive(Debug, Clone)]
pub struct Service {
    pub index: u32,
    pub kind: Kind,
    pub backends: Vec<(u32, SocketAddr)>,
}

impl Tables {
    pub fn new() -> Self {
        Self::with(&Limits::small())
    }

    pub fn with(limits: &Limits) -> Self {
        let pins = PinRoot::new().expect("pin root");
        let maps = Maps::open(pins.path(), limits).expect("tables");
        maps.beat().expect("heartbeat");
        let buckets = limits.rounded().service_cells as usize;
        Self {
            maps,
            _pins: pins,
            cells: vec![types::cell_bucket::default(); buckets],
            services: 0,
            backends: 0,
        }
    }

    /// A service at `at` with these ready backends.
    pub fn service(&mut self, at: SocketAddr, kind: Kind, backends: &[SocketAddr]) -> Service {
        self.services += 1;
        let index = self.services;
        let backends = backends
            .iter()
            .map(|place| (self.backend(*place, kind), *place));
        let service = Service {
            index,
            kind,
            backends: backends.collect(),
        };
        self.choose(&service, &service.backends.clone());
        self.cell(at, kind.proto, index);
        service
    }

    /// Another service with the backends of `like`.
    pub fn alike(&mut self, at: SocketAddr, like: &Service) {
        self.services += 1;
        let index = self.services;
        let mut record = self.record(like.kind, like.index, like.backends.len());
        record.group = index;
        self.write(Table::Services, index, record.as_bytes());
        self.cell(at, like.kind.proto, index);
    }

    fn backend(&mut self, place: SocketAddr, kind: Kind) -> u32 {
        self.backends += 1;
        self.set_backend(self.backends, place, kind, BACKEND_READY);
        self.backends
    }

    /// New connections go to these of its backends only; the others are gone.
    pub fn keep(&mut self, service: &Service, keep: impl Fn(SocketAddr) -> bool) {
        let (kept, gone): (Vec<_>, Vec<_>) =
            service.backends.iter().partition(|(_, place)| keep(*place));
        self.choose(service, &kept);
        for (index, place) in gone {
            self.set_backend(index, place, service.kind, 0);
        }
    }

    pub fn set_backend(&self, index: u32, place: SocketAddr, kind: Kind, flags: u32) {
        let record = types::backend {
            addr: words(place.ip()),
            port: place.port().to_be(),
            proto: kind.proto,
            flags: flags as u8,
            group: 1,
            ..Default::default()
        };
        self.write(Table::Backends, index, record.as_bytes());
    }

    fn choose(&self, service: &Service, backends: &[(u32, SocketAddr)]) {
        let kind = service.kind;
        let ring = |slot: u32| match backends.len() {
            0 => 0,
            n => u64::from(backends[slot as usize % n].0),
        };
        let entries: Vec<u64> = (0..RING.div_ceil(2))
            .map(|pair| ring(2 * pair) | ring(2 * pair + 1) << 32)
            .collect();
        self.maps.set_ring(service.index, &entries).expect("ring");
        let record = self.record(kind, service.index, backends.len());
        self.write(Table::Services, service.index, record.as_bytes());
    }

    fn record(&self, kind: Kind, ring: u32, n_backends: usize) -> types::service {
        types::service {
            n_backends: n_backends as u32,
            maglev: ring,
            maglev_size: if n_backends == 0 { 0 } else { RING },
            affinity_secs: kind.affinity_secs,
            flags: kind.flags as u16,
            fail_mode: kind.fail_mode as u8,
            proto: kind.proto,
            group: ring,
            ..Default::default()
        }
    }

    fn cell(&mut self, at: SocketAddr, proto: u8, value: u32) {
        let [a, b, c, d] = words(at.ip());
        let key: CellKey = [a, b, c, d, service_key_word(at.port(), proto)];
        let n = self.cells.len() as u32;
        for probe in 0..CELL_PROBES {
            let place = (cell_hash(&key).wrapping_add(probe)) % n;
            let bucket = &mut self.cells[place as usize];
            let free = bucket.cells.iter_mut().find(|cell| cell.value == 0);
            let done = match free {
                Some(cell) => {
                    (cell.key, cell.value) = (key, value);
                    true
                }
                None => {
                    bucket.overflow += 1;
                    false
                }
            };
            let bytes = self.cells[place as usize].as_bytes().to_vec();
            self.write(Table::ServiceCells, place, &bytes);
            if done {
                return;
            }
        }
        panic!("no room for {at}");
    }

    fn write(&self, table: Table, index: u32, bytes: &[u8]) {
        let entries = [(index, bytes.to_vec())];
        self.maps.write_table(table, &entries).expect("write");
    }

    /// How often the socket tier counted a reason.
    pub fn count(&self, reason: terrace_abi::Reason) -> u64 {
        let counts = self.maps.socket_reasons().expect("reasons");
        let found = counts.iter().find(|count| count.reason == reason);
        found.map_or(0, |count| count.packets)
    }
}

pub fn words(address: IpAddr) -> [u32; 4] {
    address_words(&address_bytes(address))
}
