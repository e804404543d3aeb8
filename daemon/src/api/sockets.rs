//! Sockets that were given another address than they asked for.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Sockets {
    /// Whether each part of the socket tier is armed.
    pub services: bool,
    pub proxy: bool,
    /// The folder of the cgroup; empty when nothing is armed.
    pub cgroup: String,
    /// Workloads that have a proxy: `namespace/name`.
    pub workloads: Vec<String>,
    pub sockets: Vec<Socket>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Socket {
    pub cookie: u64,
    /// `tcp` or `udp`.
    pub protocol: String,
    pub local: SocketAddr,
    /// What the process asked for, and is shown.
    pub remote: SocketAddr,
    /// Where its packets go.
    pub peer: SocketAddr,
    /// `service`, `outbound`, `dns`, `accepted` (the proxy's end), or `local`: known
    /// to the shortcut only, without namespace, cgroup, user and received bytes.
    pub kind: String,
    /// `namespace/name:port-name`; empty for none.
    pub service: String,
    /// `address:port` of the backend; empty for none.
    pub backend: String,
    /// Of the kernel: `established`, ...
    pub state: String,
    /// False = a datagram socket that names the destination each time.
    pub connected: bool,
    /// Whether payload goes from socket to socket; None = not in use.
    #[serde(default)]
    pub shortcut: Option<bool>,
    /// Why it does, or does not.
    #[serde(default)]
    pub shortcut_reason: String,
    /// Inode number of the network namespace.
    pub netns: u64,
    pub cgroup: u64,
    pub uid: u32,
    /// Bytes of payload; TCP only.
    pub sent: u64,
    pub received: u64,
}

/// A connect() that nobody makes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ConnectRequest {
    pub destination: SocketAddr,
    /// `tcp` or `udp`.
    pub protocol: String,
    /// Of this process; what else is named counts more.
    #[serde(default)]
    pub pid: Option<u32>,
    /// A file of a network namespace; none = the daemon's.
    #[serde(default)]
    pub netns: Option<String>,
    /// The folder of a cgroup.
    #[serde(default)]
    pub cgroup: Option<String>,
    #[serde(default)]
    pub uid: Option<u32>,
    #[serde(default)]
    pub gid: Option<u32>,
    #[serde(default)]
    pub mark: u32,
    /// The address that the socket is bound to.
    #[serde(default)]
    pub source: Option<IpAddr>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ConnectAnswer {
    pub destination: SocketAddr,
    pub protocol: String,
    pub number: u32,
    pub reason: String,
    /// `pass`, `forward`, `answer` or `drop`.
    pub class: String,
    pub text: String,
    /// The address that the call goes on with.
    pub goes_to: SocketAddr,
    /// The pod whose lists were asked; empty for none.
    pub workload: String,
    /// What they say, and why; empty for none.
    pub redirect: String,
    pub redirect_text: String,
    pub service: String,
    pub backend: String,
    pub netns: String,
    pub uid: u32,
    /// Whether payload would go from socket to socket, if the server's side lets it.
    #[serde(default)]
    pub shortcut: bool,
    /// What that hangs on, or what is in the way.
    #[serde(default)]
    pub shortcut_reason: String,
    /// What this answer leaves open.
    pub notes: Vec<String>,
}
