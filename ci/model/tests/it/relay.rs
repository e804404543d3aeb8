//! Spliced connections of real TCP stacks: a relay in a worker's place answers
//! nothing itself, but translates what comes up, as the programs do with the
//! rest. Whole GSO packets, offloaded checksums, timestamps and SACK of two
//! kernels meet the translation; each byte is checked at both ends.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use terrace_abi::consts::*;
use terrace_abi::{L7Tables, Reason, sys};
use terrace_l7::splice::{Direction, Progress, Splice, mode, translate};
use terrace_l7::tcp::{Endpoint, flags, wire};
use terrace_model::{Endpoint as Party, Family, Frontend, Iface, L7, Service, Spliced, World};
use terrace_testkit::{Netns, PinRoot, Topology, tcp};
use terrace_xdp::port::PortProgram;
use terrace_xdp::xsk::{Bind, Memory, MemorySize, Sender, Xsk};

use crate::lab::Lab;
use crate::splices;

const PORT: u16 = 8080;
/// Routed to the host by the topology.
const VIP: [&str; 2] = ["10.96.0.1", "fd00:96::1"];
/// Of each transfer.
const BYTES: u64 = 24 << 20;
/// Numbers of a round: what is late of one before belongs to nobody.
const FLOWS: u32 = 16;
const MEMORY: MemorySize = MemorySize {
    sockets: 1,
    frames_in: 4096,
    frames_out: 4096,
};

/// What the splices of a round do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Everything passes.
    Tunnel,
    /// The client's bytes pass as a body, the server's with a copy.
    Copies,
    /// A tunnel that is taken away and put back all the time.
    Flapping,
}

impl Way {
    /// What comes up passes through one thread here: less of it.
    fn bytes(self) -> u64 {
        match self {
            Self::Tunnel | Self::Copies => BYTES,
            Self::Flapping => BYTES / 4,
        }
    }
}

/// How often a splice is taken away or put back.
const FLAP: Duration = Duration::from_millis(5);

const WAYS: [Way; 3] = [Way::Tunnel, Way::Copies, Way::Flapping];

/// Where connections come from and go to.
struct Case {
    name: &'static str,
    client: &'static str,
    server: &'static str,
}

const CASES: [Case; 3] = [
    Case {
        name: "a remote client and a workload",
        client: "client",
        server: "w",
    },
    Case {
        name: "a workload and a remote server",
        client: "w",
        server: "far",
    },
    Case {
        name: "a remote client and a remote server",
        client: "client",
        server: "far",
    },
];

#[test]
fn root_every_byte_of_a_spliced_connection_arrives_whatever_comes_up_meanwhile() {
    let net = Topology::new("relay")
        .client("client")
        .workload("w")
        .backend("far")
        .build()
        .unwrap();
    port(&net.host);
    let nodes: BTreeMap<&str, (&Netns, [IpAddr; 2])> = [
        ("client", net.client("client")),
        ("w", &net.workload("w").node),
        ("far", net.backend("far")),
    ]
    .map(|(name, node)| (name, (&node.ns, node.addresses())))
    .into();
    let _servers = ["w", "far"].map(|name| tcp::Server::start(nodes[name].0, name, PORT).unwrap());
    let root = PinRoot::new().unwrap();
    let armed = net.host.enter(|| arm(&net, &root)).unwrap();
    let mut round = 0;
    let mut exchange = |case: &Case, xdp: bool| {
        for (f, family) in Family::ALL.into_iter().enumerate() {
            for way in WAYS {
                let source = (case.client == "client" && case.server == "far")
                    .then(|| [net.uplinks[0].v4.into(), net.uplinks[0].v6.into()][f]);
                let relay = Relay {
                    way,
                    server: Endpoint::from(SocketAddr::new(nodes[case.server].1[f], PORT)),
                    source,
                    first: FLOWS * round,
                };
                round += 1;
                let vip = SocketAddr::new(VIP[f].parse().unwrap(), 80);
                let what = format!("{}, {family:?}, {way:?}, XDP {xdp}", case.name);
                let client = nodes[case.client].0;
                let seen = exchange(&armed, &net.host, &relay, client, vip, &what);
                println!("{what}: {seen:?}");
                seen.check(way, &what);
            }
        }
    };
    CASES.iter().for_each(|case| exchange(case, false));
    net.host.enter(|| armed.attach_xdp()).unwrap();
    exchange(&CASES[2], true);
    let by_xdp = armed.count(HOOK_XDP, Reason::Spliced);
    assert!(by_xdp > 1000, "{by_xdp}: {}", armed.reasons());
}

#[derive(Debug)]
struct Seen {
    up: u64,
    copies: u64,
    /// Bytes that programs passed.
    passed: u64,
}

impl Seen {
    fn check(&self, way: Way, what: &str) {
        let right = match way {
            Way::Tunnel => self.up < 100,
            Way::Copies => self.up < 100 && self.copies > 1000,
            Way::Flapping => self.up > 0,
        };
        let all = self.passed > way.bytes() || way == Way::Flapping;
        assert!(right && all, "{what}: {self:?}");
    }
}

/// An upload and a download, with a relay beside them.
fn exchange(
    armed: &Armed,
    host: &Netns,
    relay: &Relay,
    client: &Netns,
    vip: SocketAddr,
    what: &str,
) -> Seen {
    let (stop, counts) = (AtomicBool::new(false), [const { AtomicU64::new(0) }; 2]);
    std::thread::scope(|scope| {
        let work = scope.spawn(|| host.enter(|| relay.run(armed, &stop, &counts)).unwrap());
        let sent = tcp::upload(client, vip, relay.way.bytes());
        let fetched = tcp::download(client, vip, relay.way.bytes());
        stop.store(true, Ordering::Relaxed);
        let passed = work.join().unwrap();
        let reasons = armed.reasons();
        assert!(sent.is_ok(), "{what}: {sent:?}\n{reasons}");
        assert!(fetched.is_ok(), "{what}: {fetched:?}\n{reasons}");
        let [up, copies] = counts.each_ref().map(|n| n.load(Ordering::Relaxed));
        Seen { up, copies, passed }
    })
}

/// The l7 port, as the daemon makes it.
fn port(host: &Netns) {
    host.ip([
        "link add l7 mtu 1500 type veth peer name l7x mtu 1500",
        "link set l7 addrgenmode none",
        "link set l7x addrgenmode none",
        "link set l7 up",
        "link set l7x up",
    ])
    .unwrap();
    for end in ["l7", "l7x"] {
        host.run(
            "ethtool",
            &["-K", end, "tx", "off", "tso", "off", "gso", "off"],
        )
        .unwrap();
    }
    for sysctl in [
        "net.ipv4.conf.l7.forwarding",
        "net.ipv6.conf.l7.forwarding",
        "net.ipv4.conf.l7.accept_local",
    ] {
        host.sysctl(sysctl, "1").unwrap();
    }
}

/// Programs on all interfaces, and the worker's socket.
struct Armed {
    lab: Lab,
    tables: L7Tables,
    _port: PortProgram,
    socket: std::sync::Mutex<Xsk>,
    _memory: Memory,
}

fn arm(net: &Topology, root: &PinRoot) -> Armed {
    let all: BTreeMap<String, u32> = sys::interfaces()
        .unwrap()
        .into_iter()
        .map(|(index, name)| (name, index))
        .collect();
    let workload = net.workload("w");
    let (up, w) = (all["up0"], all[&workload.host_iface]);
    let mut lab = Lab::new(root.path(), [up, w, all["l7"], up, up, up, up, up, up]);
    lab.install(&world(net, up, w, all["l7"]));
    lab.tc.arm("up0", up, terrace_tc::Role::Uplink).unwrap();
    lab.tc
        .arm(&workload.host_iface, w, terrace_tc::Role::Workload)
        .unwrap();
    lab.tc.attach_l7_port("l7", all["l7"]).unwrap();
    let mut memory = Memory::new(MEMORY).unwrap();
    let port = PortProgram::load(&lab.maps).unwrap();
    let socket = memory.bind("l7x", 0, Bind::Copy).unwrap();
    port.give(0, socket.fd()).unwrap();
    port.attach("l7x", all["l7x"]).unwrap();
    Armed {
        tables: lab.maps.l7_tables().unwrap(),
        lab,
        _port: port,
        socket: std::sync::Mutex::new(socket),
        _memory: memory,
    }
}

impl Armed {
    fn attach_xdp(&self) {
        self.lab.xdp.install(&self.lab.maps).unwrap();
        let up = self.lab.ifaces[0];
        let attached = self.lab.xdp.attach("up0", up, terrace_xdp::Mode::Native);
        attached.unwrap();
    }

    fn count(&self, hook: u32, reason: Reason) -> u64 {
        let (slot, _) = self.lab.maps.iface(self.lab.ifaces[0]).unwrap().unwrap();
        let counts = self.lab.maps.reasons_of(slot).unwrap();
        let of = counts
            .iter()
            .filter(|count| (count.hook, count.reason) == (hook, reason));
        of.map(|count| count.packets).sum()
    }

    fn reasons(&self) -> String {
        let mut text = String::new();
        for (slot, iface) in self.lab.maps.ifaces().unwrap() {
            for count in self.lab.maps.reasons_of(slot).unwrap() {
                let (ifindex, n) = (iface.ifindex, count.packets);
                text += &format!("{ifindex} hook {} {} {n}\n", count.hook, count.reason);
            }
        }
        text
    }
}

fn world(net: &Topology, up: u32, w: u32, l7: u32) -> World {
    let workload = net.workload("w");
    let iface = |ifindex, addresses| Iface {
        ifindex,
        xdp: false,
        redirect_back: false,
        sockets: false,
        addresses,
    };
    let none = [Family::V4.ip("0.0.0.0"), Family::V6.ip("::")];
    let uplink = &net.uplinks[0];
    let own = [IpAddr::from(uplink.v4), uplink.v6.into()];
    let party = |flags| Party {
        flags,
        ..Party::default()
    };
    let mut world = World {
        seed: 7,
        flags: CONFIG_CHECK_SOURCE,
        snat_ports: (32_768, 60_999),
        timeouts: vec![600; FLOW_STATES as usize],
        ifaces: vec![iface(up, own), iface(w, none), iface(l7, none)],
        endpoints: vec![
            party(0),
            party(ENDPOINT_HOST | ENDPOINT_SERVICE),
            Party {
                ifindex: w,
                mac: workload.mac,
                iface_mac: workload.host_mac,
                ..party(ENDPOINT_WORKLOAD)
            },
            party(ENDPOINT_SERVICE | ENDPOINT_VIRTUAL),
        ],
        services: vec![
            Service::default(),
            Service {
                flags: SERVICE_L7,
                ..Service::default()
            },
        ],
        backends: vec![None],
        l7: L7 {
            port: l7,
            queues: 1,
            flows: 1024,
            ..L7::default()
        },
        ..World::default()
    };
    for (f, vip) in VIP.into_iter().enumerate() {
        let vip: IpAddr = vip.parse().unwrap();
        for (address, of) in [(own[f], 1), (workload.addresses()[f], 2), (vip, 3)] {
            world.addresses.push((address.into(), of));
        }
        world.frontends.push(Frontend {
            address: vip,
            port: 80,
            proto: 6,
            service: 1,
        });
    }
    world
}

struct Relay {
    way: Way,
    server: Endpoint,
    /// Instead of the client's address.
    source: Option<IpAddr>,
    first: u32,
}

/// A connection that the relay knows.
#[derive(Clone, Copy)]
struct Known {
    spliced: Spliced,
    number: u32,
    /// Bytes that passed under this number before.
    before: u64,
}

fn passed_by(tables: &L7Tables, number: u32) -> u64 {
    tables.progress(number).bytes.iter().sum()
}

impl Relay {
    /// Until told to stop: relays what comes up; how many bytes passed without.
    fn run(&self, armed: &Armed, stop: &AtomicBool, counts: &[AtomicU64; 2]) -> u64 {
        let mut socket = armed.socket.lock().unwrap();
        let Xsk { receiver, sender } = &mut *socket;
        let mut known: Vec<Known> = Vec::new();
        let (mut flap, mut is_there) = (Instant::now(), true);
        while !stop.load(Ordering::Relaxed) {
            let mut came = Vec::new();
            receiver.receive(|frame| came.push(frame.to_vec()));
            for frame in &came {
                match u32::from(frame[1]) {
                    L7_UP if self.pass(&armed.tables, &mut known, frame, sender) => {
                        counts[0].fetch_add(1, Ordering::Relaxed);
                    }
                    L7_UP => {}
                    _ => _ = counts[1].fetch_add(1, Ordering::Relaxed),
                }
            }
            sender.flush();
            if came.is_empty() {
                std::thread::yield_now();
            }
            if self.way == Way::Flapping && flap.elapsed() > FLAP {
                (flap, is_there) = (Instant::now(), !is_there);
                for known in known.iter().filter(|known| !known.spliced.is_opening) {
                    match is_there {
                        true => set(&armed.tables, known),
                        false => armed.tables.remove_splice(known.number),
                    }
                }
            }
        }
        let passed = known.iter().map(|known| {
            armed.tables.remove_splice(known.number);
            passed_by(&armed.tables, known.number) - known.before
        });
        passed.sum()
    }

    /// False: it belongs to no connection.
    fn pass(
        &self,
        tables: &L7Tables,
        known: &mut Vec<Known>,
        frame: &[u8],
        sender: &mut Sender,
    ) -> bool {
        let Ok(segment) = wire::parse(&frame[14..]) else {
            panic!("the port brings whole segments: {frame:02x?}");
        };
        let at = known
            .iter()
            .position(|known| known.spliced.splice.direction(&segment).is_some());
        let is_first = segment.flags & (flags::SYN | flags::ACK) == flags::SYN;
        let at = at.or_else(|| {
            let number = self.first + known.len() as u32;
            is_first.then(|| known.push(self.open(tables, number, segment.src, segment.dst)))?;
            Some(known.len() - 1)
        });
        let Some(at) = at else {
            return false;
        };
        let known = &mut known[at];
        let direction = known.spliced.splice.direction(&segment).unwrap();
        if direction == Direction::ToServer && segment.has(flags::SYN) {
            known.spliced.splice.open_from = segment.seq.wrapping_add(1);
            known.spliced.splice.open_until = segment.seq.wrapping_add(1 << 30);
            // 0 would be a floor as well, for numbers that are about to wrap.
            known.spliced.splice.ack_floor = segment.seq.wrapping_add(1);
        }
        if direction == Direction::ToClient && segment.has(flags::SYN) {
            self.bind(known, &segment);
            let start = splices::note(&known.spliced.start);
            tables.start(known.number, known.spliced.binding, &start);
            set(tables, known);
        }
        let mut packet = frame.to_vec();
        translate(&known.spliced.splice, direction, &mut packet[14..]).unwrap();
        let kind = match direction {
            Direction::ToServer => L7_TO_SERVER,
            Direction::ToClient => L7_TO_CLIENT,
        };
        packet[1] = kind as u8;
        packet[4..8].copy_from_slice(&known.number.to_le_bytes());
        sender.send(packet.len(), |room| {
            room.copy_from_slice(&packet);
            packet.len()
        })
    }

    /// A connection begins: its ends, and numbers that are far apart.
    fn open(&self, tables: &L7Tables, number: u32, client: Endpoint, service: Endpoint) -> Known {
        let source = self.source.map_or(client, |address| {
            Endpoint::from(SocketAddr::new(address, 20_000 + number as u16))
        });
        let known = Known {
            spliced: Spliced {
                splice: Splice {
                    client,
                    service,
                    source,
                    server: self.server,
                    down_delta: 0x9abc_def0,
                    up_delta: 0xffff_fffb,
                    ts_delta: 0x7654_3210,
                    window_cap: u32::MAX,
                    mode: match self.way {
                        Way::Copies => mode::TIMESTAMPS | mode::SACK,
                        _ => mode::TIMESTAMPS | mode::SACK | mode::TUNNEL,
                    },
                    ..Splice::default()
                },
                is_opening: true,
                binding: tables.splice(number).binding.wrapping_add(1),
                start: Progress::default(),
                backend: 0,
            },
            number,
            before: passed_by(tables, number),
        };
        set(tables, &known);
        known
    }

    /// The server has answered: where the binding starts.
    fn bind(&self, known: &mut Known, segment: &terrace_l7::tcp::Segment<'_>) {
        let Spliced { splice, start, .. } = &mut known.spliced;
        splice.quiet_until = segment.seq;
        let scale = segment.options.scale.unwrap_or(0);
        (splice.server_scale, splice.server_scale_told) = (scale, scale);
        *start = Progress {
            server_nxt: segment.end(),
            server_ack: segment.ack,
            server_edge: segment.ack.wrapping_add(segment.window.into()),
            ..Progress::default()
        };
        known.spliced.is_opening = false;
    }
}

fn set(tables: &L7Tables, known: &Known) {
    tables.set_splice(known.number, &splices::entry(&known.spliced));
}
