//! A world of one client, three servers and the engine between them.

use smoltcp::wire::IpAddress;
use terrace_l7::flow::{Arrival, Config, Engine, Offer};
use terrace_l7::splice::{Direction, Splice, Verdict, translate};
use terrace_l7::tcp::{Endpoint, wire};

use crate::apps::{Ask, Client, Server};
use crate::channel::{Channel, Faults};
use crate::host::{Kernel, Rules, head_rules};
use crate::random::Random;
use crate::stack::{Stack, Traits, set_clock};

/// What differs from world to world.
#[derive(Debug, Clone)]
pub struct Setting {
    pub seed: u64,
    pub v6: bool,
    pub faults: Faults,
    pub client: Traits,
    pub server: Traits,
    pub hold_answers: bool,
    pub max_half_open: u32,
    pub snat: bool,
    /// Requests without bodies may pass without the engine.
    pub in_kernel: bool,
    /// Requests are copied to the server behind the others.
    pub mirrors: bool,
    /// The client's numbers begin near the end of their range.
    pub wrap: bool,
    pub pipelines: bool,
    pub write_size: usize,
    /// Copies to the worker that are lost, in thousandths.
    pub lost_copies: u64,
    pub scripts: Vec<Vec<Ask>>,
}

pub struct World {
    pub now: u64,
    pub engine: Engine,
    pub kernel: Kernel,
    pub rules: Rules,
    pub clients: Vec<Client>,
    client: Stack,
    pub servers: Vec<Server>,
    addresses: Vec<IpAddress>,
    /// Client to host, host to client, then the same of each server.
    to_host: Channel,
    to_client: Channel,
    from_servers: Channel,
    to_servers: Channel,
    random: Random,
    lost_copies: u64,
    /// Added to the client's numbers on the way, so that they wrap.
    shift: Option<u32>,
    wrap: bool,
    verbose: bool,
}

const SERVICE_PORT: u16 = 80;

fn address(v6: bool, host: u8) -> IpAddress {
    match v6 {
        false => IpAddress::v4(10, 0, host, 1),
        true => IpAddress::v6(0xfd00, u16::from(host), 0, 0, 0, 0, 0, 1),
    }
}

fn endpoint(address: IpAddress, port: u16) -> Endpoint {
    std::net::SocketAddr::from((std::net::IpAddr::from(address), port)).into()
}

impl World {
    pub fn new(setting: &Setting) -> Self {
        let at = |host| address(setting.v6, host);
        let addresses: Vec<IpAddress> = (1..=4).map(at).collect();
        let mut client = Stack::new(at(0), setting.seed ^ 1, setting.client);
        let mut clients = Vec::new();
        for (i, script) in setting.scripts.iter().enumerate() {
            let handle = client.socket();
            client.connect(handle, (at(9), SERVICE_PORT), 40_000 + i as u16);
            let script = script.clone();
            clients.push(Client::new(
                handle,
                script,
                setting.pipelines,
                setting.write_size,
            ));
        }
        let servers = addresses.iter().enumerate().map(|(i, address)| {
            let seed = setting.seed ^ (i as u64 + 7);
            Server::new(Stack::new(*address, seed, setting.server), 8_080)
        });
        let servers = servers.collect();
        let header = if setting.v6 { 60 } else { 40 };
        let rules = Rules {
            service: endpoint(at(9), SERVICE_PORT),
            servers: addresses.iter().map(|a| endpoint(*a, 8_080)).collect(),
            offer: Offer {
                mss: (setting.client.mtu.min(setting.server.mtu) - header) as u16,
                window: setting.server.receive_buffer.min(16_384) as u16,
                scale: 5,
                sack: true,
                timestamps: setting.server.timestamps,
            },
            snat: setting.snat.then(|| endpoint(at(8), 0)),
            timeout_ms: 0,
            in_kernel: setting.in_kernel,
            mirror: setting.mirrors.then(|| endpoint(at(8), 20_000)),
            ends: Vec::new(),
        };
        let channel = |n| Channel::new(setting.faults, setting.seed.wrapping_mul(31) + n);
        Self {
            now: 0,
            engine: Engine::new(Config {
                max_flows: 32,
                buffers: 16,
                mirrors: 4,
                max_half_open: setting.max_half_open,
                secret: [7; 16],
                idle_ms: 300_000,
                // smoltcp backs off to a minute.
                head_ms: 200_000,
                hold_answers: setting.hold_answers,
                ..Config::default()
            }),
            kernel: Kernel {
                rules: head_rules(),
                ..Kernel::default()
            },
            rules,
            clients,
            client,
            servers,
            addresses,
            to_host: channel(0),
            to_client: channel(1),
            from_servers: channel(2),
            to_servers: channel(3),
            random: Random(setting.seed ^ 0xbeef),
            lost_copies: setting.lost_copies,
            shift: None,
            wrap: setting.wrap,
            verbose: std::env::var_os("SIM_VERBOSE").is_some(),
        }
    }

    /// Runs until all clients are done, or `limit` milliseconds have passed.
    pub fn run(&mut self, limit: u64) -> bool {
        while self.now <= limit {
            self.step();
            if self.clients.iter().all(|client| client.done) {
                return true;
            }
            self.now = self.next();
        }
        false
    }

    /// Runs on until no flow is left, for `ms` at most.
    pub fn run_on(&mut self, ms: u64) {
        let until = self.now + ms;
        while self.now < until && self.engine.n_flows() > 0 {
            self.step();
            self.now = self.next().min(until);
        }
    }

    /// How far each client came, for messages.
    pub fn states(&mut self) -> Vec<String> {
        let client = &mut self.client;
        let state = |one: &Client| {
            let socket = client.tcp(one.handle);
            let script = one.script().len();
            format!(
                "{} of {script}, {:?}, queue {}",
                one.answered,
                socket.state(),
                socket.send_queue()
            )
        };
        self.clients.iter().map(state).collect()
    }

    fn step(&mut self) {
        set_clock(self.now);
        // What one stack does another may answer at once.
        for _ in 0..3 {
            self.ends();
            self.middle();
        }
    }

    fn next(&mut self) -> u64 {
        let now = self.now;
        let channels = [
            &self.to_host,
            &self.to_client,
            &self.from_servers,
            &self.to_servers,
        ];
        let mut times: Vec<u64> = channels.iter().filter_map(|c| c.next()).collect();
        times.extend(self.client.next(now));
        times.extend(self.servers.iter_mut().filter_map(|s| s.stack.next(now)));
        times.extend(self.engine.next_tick());
        times.into_iter().min().unwrap_or(now + 1000).max(now + 1)
    }

    fn ends(&mut self) {
        while let Some(packet) = self.to_client.arrived(self.now) {
            let packet = self.unshifted(packet);
            self.client.receive(packet);
        }
        while let Some(packet) = self.to_servers.arrived(self.now) {
            let Ok(segment) = wire::parse(&packet) else {
                continue;
            };
            let to = segment.dst.address();
            let server = self
                .addresses
                .iter()
                .position(|a| std::net::IpAddr::from(*a) == to);
            if let Some(server) = server {
                self.servers[server].stack.receive(packet);
            }
        }
        for client in &mut self.clients {
            client.run(&mut self.client, self.now);
        }
        for packet in self.client.poll(self.now) {
            let packet = self.shifted(packet);
            self.to_host.send(self.now, packet);
        }
        for client in &mut self.clients {
            client.run(&mut self.client, self.now);
        }
        for server in &mut self.servers {
            server.run(self.now);
            for packet in server.stack.poll(self.now) {
                self.from_servers.send(self.now, packet);
            }
            server.run(self.now);
        }
    }

    fn middle(&mut self) {
        while let Some(packet) = self.to_host.arrived(self.now) {
            self.at_host(&packet);
        }
        while let Some(packet) = self.from_servers.arrived(self.now) {
            self.at_host(&packet);
        }
        self.engine
            .tick(self.now, &mut self.rules, &mut self.kernel);
        for (direction, packet) in std::mem::take(&mut self.kernel.out) {
            self.trace("out", &packet);
            let to = wire::parse(&packet).expect("what goes out is whole").dst;
            // RSTs to strangers say where they go by their address.
            let to_server = self
                .addresses
                .iter()
                .any(|a| std::net::IpAddr::from(*a) == to.address());
            match direction {
                _ if to_server => self.to_servers.send(self.now, packet),
                Direction::ToServer => self.to_servers.send(self.now, packet),
                Direction::ToClient => self.to_client.send(self.now, packet),
            }
        }
    }

    /// Prints a packet when `SIM_VERBOSE` is set: to find what a seed does.
    fn trace(&self, what: &str, packet: &[u8]) {
        if let (true, Ok(s)) = (self.verbose, wire::parse(packet)) {
            let options = s.options;
            eprintln!(
                "{:6} {what} {:?}>{:?} {:#04x} seq {} +{} ack {} win {} ts {:?} mss {:?} {:?}",
                self.now,
                s.src,
                s.dst,
                s.flags,
                s.seq,
                s.payload.len(),
                s.ack,
                s.window,
                options.timestamps.map(|t| (t.value, t.echo)),
                options.mss,
                String::from_utf8_lossy(&s.payload[..s.payload.len().min(30)]),
            );
        }
    }

    /// What BPF does with a packet, then the worker.
    fn at_host(&mut self, packet: &[u8]) {
        self.trace("in ", packet);
        let Ok(segment) = wire::parse(packet) else {
            return;
        };
        let (engine, rules, kernel) = (&mut self.engine, &mut self.rules, &mut self.kernel);
        let Some((id, direction)) = kernel.splices.find(&segment) else {
            engine.packet(self.now, packet, Arrival::Up, rules, kernel);
            return;
        };
        match kernel.judge(id, direction, &segment) {
            Verdict::Pass | Verdict::Request => kernel.pass(id, direction, packet),
            Verdict::PassAndCopy => {
                kernel.pass(id, direction, packet);
                if !self.random.per_mille(self.lost_copies) {
                    engine.packet(self.now, packet, Arrival::Copy, rules, kernel);
                }
            }
            Verdict::Up => engine.packet(self.now, packet, Arrival::Up, rules, kernel),
        }
    }

    /// Moves the client's numbers by `delta`, with the splice's own means.
    fn moved(&self, mut packet: Vec<u8>, delta: u32, direction: Direction) -> Vec<u8> {
        let Ok(segment) = wire::parse(&packet) else {
            return packet;
        };
        let (client, service) = match direction {
            Direction::ToServer => (segment.src, segment.dst),
            Direction::ToClient => (segment.dst, segment.src),
        };
        let splice = Splice {
            client,
            service,
            source: client,
            server: service,
            up_delta: delta,
            window_cap: u32::MAX,
            mode: terrace_l7::splice::mode::SACK,
            ..Splice::default()
        };
        translate(&splice, direction, &mut packet).unwrap();
        packet
    }

    fn shifted(&mut self, packet: Vec<u8>) -> Vec<u8> {
        if !self.wrap {
            return packet;
        }
        let Ok(segment) = wire::parse(&packet) else {
            return packet;
        };
        let near = 0u32.wrapping_sub(600).wrapping_sub(segment.seq);
        let delta = *self.shift.get_or_insert(near);
        self.moved(packet, delta, Direction::ToServer)
    }

    fn unshifted(&mut self, packet: Vec<u8>) -> Vec<u8> {
        match self.shift {
            Some(delta) => self.moved(packet, delta, Direction::ToClient),
            None => packet,
        }
    }
}
