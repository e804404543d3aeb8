//! `[socket]`: what is done where processes ask for connections.

use std::path::{Path, PathBuf};

use super::section::{Section, Wrong};
use super::values::{boolean, integer, path, word};

/// The socket tier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Socket {
    /// Service addresses are translated at connect() and sendmsg().
    pub services: bool,
    /// Workloads that have a proxy are redirected to it.
    pub proxy: bool,
    /// The programs are on this cgroup; None = the root of the host's.
    pub cgroup: Option<PathBuf>,
    /// A tier that can't be had fails the start.
    pub require: bool,
    /// Of each table of workloads.
    pub max_entries: u32,
    pub redirect: Redirect,
}

/// The proxy of every workload that has one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redirect {
    /// 0 = what goes out is not redirected.
    pub outbound_port: u16,
    /// 0 = what comes in is not redirected.
    pub inbound_port: u16,
    pub dns_port: u16,
    /// For pods that do not say.
    pub dns: bool,
    /// How the proxy's own sockets are told; None = not by this.
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    pub mark: Option<u32>,
    /// What becomes of a connection when the proxy does not listen.
    pub when_down: WhenDown,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenDown {
    Refuse,
    Direct,
}

const WHEN_DOWN: [(&str, WhenDown); 2] =
    [("refuse", WhenDown::Refuse), ("direct", WhenDown::Direct)];

impl Default for Socket {
    fn default() -> Self {
        Self {
            services: false,
            proxy: false,
            cgroup: None,
            require: false,
            max_entries: 65_536,
            redirect: Redirect::default(),
        }
    }
}

impl Default for Redirect {
    /// Istio's.
    fn default() -> Self {
        Self {
            outbound_port: 15_001,
            inbound_port: 15_006,
            dns_port: 15_053,
            dns: false,
            uid: Some(1337),
            gid: Some(1337),
            mark: None,
            when_down: WhenDown::Refuse,
        }
    }
}

impl Socket {
    pub fn is_on(&self) -> bool {
        self.services || self.proxy
    }
}

pub(super) fn read(section: Section<'_>, folder: &Path) -> Socket {
    let default = Socket::default();
    let socket = Socket {
        services: section.read("services", default.services, boolean),
        proxy: section.read("proxy", default.proxy, boolean),
        cgroup: section.optional("cgroup", |v| path(v, folder)),
        require: section.read("require", default.require, boolean),
        max_entries: section.read("max_entries", default.max_entries, |v| {
            integer(v, 1..=1 << 24)
        }),
        redirect: redirect(section.section("redirect")),
    };
    if socket.require && !socket.is_on() {
        let fix = "write services = true or proxy = true, or remove it";
        section.fault("require", Wrong::new("nothing is asked for", fix));
    }
    section.refuse_unknown();
    socket
}

fn redirect(section: Section<'_>) -> Redirect {
    let default = Redirect::default();
    let port = |v: &super::section::Value<'_>| integer(v, 0..=65_535).map(|port| port as u16);
    let id = |v: &super::section::Value<'_>| integer(v, 0..=u32::MAX).map(Some);
    let redirect = Redirect {
        outbound_port: section.read("outbound_port", default.outbound_port, port),
        inbound_port: section.read("inbound_port", default.inbound_port, port),
        dns_port: section.read("dns_port", default.dns_port, port),
        dns: section.read("dns", default.dns, boolean),
        uid: section.read("uid", default.uid, id),
        gid: section.read("gid", default.gid, id),
        mark: section.read("mark", default.mark, id),
        when_down: section.read("when_down", default.when_down, |v| word(v, &WHEN_DOWN)),
    };
    if redirect.uid == Some(0) || redirect.gid == Some(0) {
        let what = "is root, whose sockets are not all the proxy's";
        let fix = "run the proxy as a user of its own, and name that";
        section.fault("uid", Wrong::new(what, fix));
    }
    section.refuse_unknown();
    redirect
}
