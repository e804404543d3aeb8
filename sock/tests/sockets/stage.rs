//! A client's namespace and cgroup, backends in another namespace, and the
//! programs on the cgroup.
//!
//! Backends `b0`, `b1`, `b2` are the addresses 10.1.0.2, .3, .4 and fd01::2,
//! ::3, ::4 of one namespace, each with a TCP and a UDP server on port 9000
//! that says its name first and then echoes.

use std::net::{IpAddr, SocketAddr};

use terrace_sock::Cgroup as Target;
use terrace_sock::connect::{ConnectPrograms, Options, netns_cookie};
use terrace_testkit::link::{self, End};
use terrace_testkit::scripts::DIAL;
use terrace_testkit::{Agent, Cgroup, Netns};

use crate::tables::Tables;

pub const PORT: u16 = 9000;
pub const BACKENDS: usize = 3;

const SERVERS: &str = r#"
def tcp(listener, name):
    def serve(conn):
        with conn:
            conn.sendall((name + '\n').encode())
            while True:
                data = conn.recv(65536)
                if not data:
                    return
                conn.sendall(data)
    while True:
        conn, _ = listener.accept()
        threading.Thread(target=serve, args=(conn,), daemon=True).start()
def udp(sock, name):
    while True:
        data, source = sock.recvfrom(65536)
        sock.sendto(name.encode() + b':' + data, source)
def serve(address, name):
    family = socket.AF_INET6 if ':' in address else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((address, 9000))
    listener.listen(4096)
    sock = socket.socket(family, socket.SOCK_DGRAM)
    sock.bind((address, 9000))
    threading.Thread(target=tcp, args=(listener, name), daemon=True).start()
    threading.Thread(target=udp, args=(sock, name), daemon=True).start()
for i in range(3):
    serve('10.1.0.%d' % (i + 2), 'b%d' % i)
    serve('fd01::%d' % (i + 2), 'b%d' % i)
result = 'ready'
"#;

/// What every script may use.
const TOOLS: &str = r#"
def ask(s, text, to=None):
    if to:
        s.sendto(text.encode(), to)
    else:
        s.send(text.encode())
    data, source = s.recvfrom(65536)
    return [data.decode()] + list((source or ('', 0))[:2])
def datagram(family=socket.AF_INET):
    s = socket.socket(family, socket.SOCK_DGRAM)
    s.settimeout(10)
    return s
"#;

fn tools() -> String {
    [DIAL, TOOLS].concat()
}

pub struct Stage {
    // In the order of removal.
    pub client: Agent,
    _servers: Agent,
    pub programs: Option<ConnectPrograms>,
    pub tables: Tables,
    pub cgroup: Cgroup,
    pub near: Netns,
    pub far: Netns,
}

impl Stage {
    /// Services are translated in the client's cgroup, and its namespace is
    /// the host's.
    pub fn new(label: &str) -> Self {
        let mut stage = Self::bare(label);
        stage.attach(|_| {});
        stage
    }

    /// The same without programs.
    pub fn bare(label: &str) -> Self {
        let near = Netns::new(label).expect("namespace");
        let far = Netns::new(label).expect("namespace");
        connect(&near, &far);
        let cgroup = Cgroup::new().expect("cgroup");
        let mut servers = Agent::start(&far, None).expect("servers");
        assert_eq!(servers.run(SERVERS), "\"ready\"");
        let mut client = Agent::start(&near, Some(&cgroup)).expect("client");
        assert_eq!(client.run(&tools()), "null");
        Self {
            client,
            _servers: servers,
            programs: None,
            tables: Tables::new(),
            cgroup,
            near,
            far,
        }
    }

    pub fn options(&self) -> Options {
        let cookie = self.near.enter(netns_cookie).expect("enter");
        Options {
            host_netns: cookie.expect("cookie"),
            ..Options::default()
        }
    }

    pub fn attach(&mut self, change: impl FnOnce(&mut Options)) {
        let mut options = self.options();
        change(&mut options);
        let programs = ConnectPrograms::load(&self.tables.maps, &options).expect("load");
        programs.attach(&self.target()).expect("attach");
        self.programs = Some(programs);
    }

    pub fn target(&self) -> Target {
        Target::open(self.cgroup.path()).expect("open the cgroup")
    }

    /// Another process in the client's cgroup and namespace.
    pub fn another(&self) -> Agent {
        self.agent(&self.near, &[])
    }

    pub fn agent(&self, ns: &Netns, by: &[&str]) -> Agent {
        let mut agent = Agent::start_as(ns, Some(&self.cgroup), by).expect("client");
        assert_eq!(agent.run(&tools()), "null");
        agent
    }
}

/// How many namespaces come and go in tests of what they leave. `SOCK_NAMESPACES`
/// chooses fewer for a machine that takes long to make one.
pub fn namespaces() -> u32 {
    let chosen = std::env::var("SOCK_NAMESPACES").ok();
    chosen.map_or(1000, |n| n.parse().expect("SOCK_NAMESPACES is a number"))
}

/// The addresses of the backends in the family of `like`.
pub fn backends(like: IpAddr) -> Vec<SocketAddr> {
    let text = |i: usize| match like {
        IpAddr::V4(_) => format!("10.1.0.{}", i + 2),
        IpAddr::V6(_) => format!("fd01::{}", i + 2),
    };
    let place = |i| SocketAddr::new(text(i).parse().expect("an address"), PORT);
    (0..BACKENDS).map(place).collect()
}

fn connect(near: &Netns, far: &Netns) {
    let addresses = |n: usize| -> [(IpAddr, u8); 2] {
        let v4 = format!("10.1.0.{n}").parse().expect("an address");
        let v6 = format!("fd01::{n}").parse().expect("an address");
        [(v4, 24), (v6, 64)]
    };
    let near_end = End {
        ns: near,
        name: "net0",
        mac: [2, 0, 0, 0, 0, 1],
        addresses: &addresses(1),
    };
    let all: Vec<_> = (0..BACKENDS).flat_map(|i| addresses(i + 2)).collect();
    let far_end = End {
        ns: far,
        name: "net0",
        mac: [2, 0, 0, 0, 0, 2],
        addresses: &all,
    };
    link::veth(&near_end, &far_end, 1500).expect("veth");
}
