//! `terrace sockets`, and `terrace explain --connect`.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use terrace_abi::consts::{
    PEER_ACCEPTED, PEER_CONNECTED, PEER_DNS, PEER_OUTBOUND, PEER_SERVICE, REASON_CONNECT_DIRECT,
    REASON_PROXY_DNS, REASON_PROXY_OUTBOUND,
};
use terrace_abi::hash::{address_bytes, address_words};
use terrace_abi::{Reason, types};
use terrace_mesh::Protocol;
use terrace_mesh::directory::Directory;
use terrace_sock::netns::Namespace;
use terrace_sock::shortcut::{End, Reason as ShortcutReason};

use super::{names, shortcut};
use crate::api;
use crate::run::shared::Shared;
use crate::run::sockets::Sockets;

pub fn sockets(shared: &Shared) -> Result<api::Sockets> {
    let mut shown = translated(shared)?;
    let pairs = shortcut::pairs(shared)?;
    let by_cookie: HashMap<u64, usize> = (0..)
        .zip(&shown.sockets)
        .map(|(at, socket)| (socket.cookie, at))
        .collect();
    for pair in &pairs {
        for end in [Some(&pair.client), pair.server.as_ref()]
            .into_iter()
            .flatten()
        {
            let known = by_cookie.get(&end.cookie).copied();
            add_shortcut(&mut shown.sockets, known, end, pair.reason());
        }
    }
    Ok(shown)
}

/// Notes the shortcut of a socket; one that only the shortcut knows is added.
fn add_shortcut(
    sockets: &mut Vec<api::Socket>,
    known: Option<usize>,
    end: &End,
    reason: ShortcutReason,
) {
    if end.cookie == 0 || !end.open {
        return;
    }
    let joined = reason == ShortcutReason::JOINED;
    let why = if joined { "" } else { reason.name() };
    if let Some(socket) = known.map(|at| &mut sockets[at]) {
        socket.shortcut = Some(joined);
        socket.shortcut_reason = why.to_owned();
        return;
    }
    sockets.push(api::Socket {
        cookie: end.cookie,
        protocol: "tcp".to_owned(),
        local: end.local,
        remote: end.remote,
        peer: end.remote,
        kind: "local".to_owned(),
        service: String::new(),
        backend: String::new(),
        state: "established".to_owned(),
        connected: true,
        shortcut: Some(joined),
        shortcut_reason: why.to_owned(),
        netns: 0,
        cgroup: 0,
        uid: 0,
        sent: end.sent.socket_bytes + end.sent.stack_bytes,
        received: 0,
    });
}

fn translated(shared: &Shared) -> Result<api::Sockets> {
    let Some(armed) = shared.sockets.get() else {
        return Ok(api::Sockets::default());
    };
    let rows = match &armed.iterators {
        Some(iterators) => iterators.list()?,
        None => Vec::new(),
    };
    let mesh = shared.mesh();
    let directory = mesh.directory();
    Ok(api::Sockets {
        services: armed.options.services,
        proxy: armed.options.proxy,
        cgroup: armed.cgroup.path().display().to_string(),
        workloads: armed.workload_names().into_values().collect(),
        sockets: rows.iter().map(|row| socket(row, directory)).collect(),
    })
}

fn socket(row: &types::socket_row, directory: &Directory) -> api::Socket {
    let peer = &row.peer;
    let flags = u32::from(peer.flags);
    api::Socket {
        cookie: row.cookie,
        protocol: protocol(peer.proto),
        local: names::socket(&row.local, row.local_port),
        remote: names::socket(&peer.asked, peer.asked_port),
        peer: names::socket(&peer.got, peer.got_port),
        kind: kind(flags).to_owned(),
        service: names::service(directory, peer.service),
        backend: names::backend(directory, peer.backend),
        state: state(row.state, peer.proto).to_owned(),
        connected: flags & (PEER_CONNECTED | PEER_ACCEPTED) != 0,
        shortcut: None,
        shortcut_reason: String::new(),
        netns: row.netns,
        cgroup: row.cgroup,
        uid: row.uid,
        sent: row.sent,
        received: row.received,
    }
}

fn protocol(number: u8) -> String {
    let known = Protocol::from_number(number);
    known.map_or_else(|| number.to_string(), |p| p.to_string().to_lowercase())
}

fn kind(flags: u32) -> &'static str {
    let kinds = [
        (PEER_ACCEPTED, "accepted"),
        (PEER_OUTBOUND, "outbound"),
        (PEER_DNS, "dns"),
        (PEER_SERVICE, "service"),
    ];
    let found = kinds.iter().find(|(flag, _)| flags & flag != 0);
    found.map_or("", |(_, name)| name)
}

/// The kernel's states of TCP; a datagram socket is connected or it is not.
fn state(number: u8, proto: u8) -> &'static str {
    match (number, proto == Protocol::Udp.number()) {
        (1, _) => "established",
        (_, true) => "open",
        (2, _) => "syn-sent",
        (3, _) => "syn-recv",
        (4 | 5, _) => "fin-wait",
        (6, _) => "time-wait",
        (7, _) => "closed",
        (8, _) => "close-wait",
        (9 | 11, _) => "closing",
        (10, _) => "listen",
        _ => "other",
    }
}

pub fn explain(shared: &Shared, request: &api::ConnectRequest) -> Result<api::ConnectAnswer> {
    let asker = Asker::of(request)?;
    let question = asker.question(request)?;
    let armed = shared.sockets.get();
    let answer = match armed {
        Some(armed) => {
            let cgroup = asker.cgroup_id(armed)?;
            armed.ask(shared, &types::connect_question { cgroup, ..question })?
        }
        None => types::connect_answer {
            reason: REASON_CONNECT_DIRECT,
            ..Default::default()
        },
    };
    let reason = Reason::from_number(answer.reason).context("a reason that nobody knows")?;
    let redirect = Reason::from_number(answer.redirect);
    let goes_to = match answer.peer.flags {
        0 => request.destination,
        _ => names::socket(&answer.peer.got, answer.peer.got_port),
    };
    let mesh = shared.mesh();
    let directory = mesh.directory();
    let workload = armed.and_then(|armed| armed.workload_names().remove(&answer.workload));
    let wanted = shortcut::Wanted {
        tcp: request.protocol == "tcp",
        to: goes_to,
        cgroup: asker.cgroup_path(),
    };
    let joins = shortcut::joins(shared, &wanted)?;
    Ok(api::ConnectAnswer {
        destination: request.destination,
        protocol: request.protocol.clone(),
        number: reason.number(),
        reason: reason.name().to_owned(),
        class: reason.class().name().to_owned(),
        text: armed.map_or(OFF, |_| reason.text()).to_owned(),
        goes_to,
        workload: workload.unwrap_or_default(),
        redirect: redirect.map_or("", Reason::name).to_owned(),
        redirect_text: redirect.map_or("", Reason::text).to_owned(),
        service: names::service(directory, answer.peer.service),
        backend: names::backend(directory, answer.peer.backend),
        netns: asker.netns.display().to_string(),
        uid: question.uid,
        shortcut: joins.is_ok(),
        shortcut_reason: joins.unwrap_or_else(|why| why),
        notes: notes(&answer),
    })
}

const OFF: &str = "socket: the socket tier is off: left as it is, and tc serves its packets; \
                   [socket] services = true arms it";

fn notes(answer: &types::connect_answer) -> Vec<String> {
    let mut notes = Vec::new();
    if [REASON_PROXY_OUTBOUND, REASON_PROXY_DNS].contains(&answer.reason) {
        let note = "whether the proxy listens is asked at each connect(); when it does not, \
                    when_down of [socket.redirect] decides";
        notes.push(note.to_owned());
    }
    if answer.peer.backend != 0 {
        let note = "each connection chooses anew, by weight; session affinity keeps to one backend";
        notes.push(note.to_owned());
    }
    notes
}

/// Who would call connect().
struct Asker {
    netns: PathBuf,
    cgroup: Option<PathBuf>,
    uid: u32,
    gid: u32,
}

impl Asker {
    fn of(request: &api::ConnectRequest) -> Result<Self> {
        let own = PathBuf::from("/proc/self/ns/net");
        let mut asker = match request.pid {
            None => Self {
                netns: own,
                cgroup: None,
                uid: 0,
                gid: 0,
            },
            Some(pid) => Self::process(pid).with_context(|| format!("process {pid}"))?,
        };
        if let Some(netns) = &request.netns {
            asker.netns = netns.into();
        }
        if let Some(cgroup) = &request.cgroup {
            asker.cgroup = Some(cgroup.into());
        }
        asker.uid = request.uid.unwrap_or(asker.uid);
        asker.gid = request.gid.unwrap_or(asker.gid);
        Ok(asker)
    }

    fn process(pid: u32) -> Result<Self> {
        let folder = Path::new("/proc").join(pid.to_string());
        let status = std::fs::read_to_string(folder.join("status"))?;
        // The second number is the effective one.
        let id = |name: &str| -> Option<u32> {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_whitespace().nth(1)?.parse().ok()
        };
        let groups = std::fs::read_to_string(folder.join("cgroup"))?;
        let v2 = groups.lines().find_map(|line| line.strip_prefix("0::/"));
        Ok(Self {
            netns: folder.join("ns/net"),
            cgroup: v2.map(PathBuf::from),
            uid: id("Uid:").unwrap_or(0),
            gid: id("Gid:").unwrap_or(0),
        })
    }

    /// All but the cgroup.
    fn question(&self, request: &api::ConnectRequest) -> Result<types::connect_question> {
        let namespace = Namespace {
            inode: 0,
            path: self.netns.clone(),
        };
        let inside = namespace.look()?;
        let to = request.destination;
        let bound = request.source;
        Ok(types::connect_question {
            addr: address_words(&address_bytes(to.ip().to_canonical())),
            client: bound.map_or([0; 4], |source| address_words(&address_bytes(source))),
            netns: inside.cookie,
            uid: self.uid,
            gid: self.gid,
            mark: request.mark,
            port: to.port().to_be(),
            proto: match request.protocol.as_str() {
                "tcp" => Protocol::Tcp.number(),
                "udp" => Protocol::Udp.number(),
                other => bail!("{other:?} is no protocol of sockets: name tcp or udp"),
            },
            is_v4: u8::from(to.ip().to_canonical().is_ipv4()),
            ..Default::default()
        })
    }

    /// A path of /proc counts from the cgroups' root.
    fn cgroup_path(&self) -> Option<PathBuf> {
        let path = self.cgroup.as_ref()?;
        if path.is_absolute() {
            return Some(path.clone());
        }
        let root = terrace_sock::Cgroup::find().ok()?;
        Some(root.path().join(path))
    }

    /// The number of the cgroup, or of the nearest one above it that is a
    /// workload; 0 for none.
    fn cgroup_id(&self, armed: &Sockets) -> Result<u64> {
        let Some(path) = self.cgroup_path() else {
            return Ok(0);
        };
        let known = armed.cgroups();
        let mut ids = path
            .ancestors()
            .filter_map(|path| terrace_sock::cgroup_id(path).ok());
        let own =
            terrace_sock::cgroup_id(&path).with_context(|| format!("cgroup {}", path.display()))?;
        Ok(ids.find(|id| known.contains(id)).unwrap_or(own))
    }
}
