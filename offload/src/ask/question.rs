//! What can be asked, and under which name the answer is recorded.

use crate::wire::{Form, NESTED, ethtool, genl, push, route, tc};

/// A netlink protocol, or a family of generic netlink.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// rtnetlink.
    Route,
    /// Generic netlink, by name.
    Generic(&'static str),
}

/// A netlink request.
#[derive(Debug, Clone)]
pub struct Ask {
    /// To whom.
    pub family: Family,
    /// The message's type, or the family's command.
    pub command: u16,
    /// Its name.
    pub name: &'static str,
    /// For everything that there is.
    pub dump: bool,
    /// What it is about, if not everything: an interface, a device.
    pub about: String,
    /// Header (rtnetlink only) and attributes.
    pub body: Vec<u8>,
    /// What the answers look like.
    pub reply: &'static Form,
}

impl Ask {
    fn route(command: u16, name: &'static str, reply: &'static Form, body: Vec<u8>) -> Self {
        Self {
            family: Family::Route,
            command,
            name,
            dump: true,
            about: String::new(),
            body,
            reply,
        }
    }

    /// All links.
    pub fn links() -> Self {
        let body = vec![0; route::LINK.header_len];
        Self::route(route::RTM_GETLINK, "GETLINK", route::LINK, body)
    }

    /// The route to an address that stands for the world.
    pub fn route_to_world(v6: bool) -> Self {
        let (family, address): (u8, &[u8]) = match v6 {
            false => (2, &[192, 0, 2, 1]),
            true => (
                10,
                &[0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1],
            ),
        };
        let mut body = vec![0; route::ROUTE.header_len];
        body[0] = family;
        body[1] = u8::try_from(address.len() * 8).unwrap_or(0);
        push(&mut body, 1, address);
        let about = if v6 { "world v6" } else { "world v4" };
        Self {
            dump: false,
            about: about.to_owned(),
            ..Self::route(route::RTM_GETROUTE, "GETROUTE", route::ROUTE, body)
        }
    }

    /// All queueing disciplines.
    pub fn qdiscs() -> Self {
        let body = vec![0; tc::QDISC.header_len];
        Self::route(tc::RTM_GETQDISC, "GETQDISC", tc::QDISC, body)
    }

    /// The filters of an interface's clsact qdisc.
    pub fn filters(ifindex: u32, name: &str, egress: bool) -> Self {
        let (parent, way) = match egress {
            false => (tc::TC_H_MIN_INGRESS, "ingress"),
            true => (tc::TC_H_MIN_EGRESS, "egress"),
        };
        let mut body = vec![0; tc::FILTER.header_len];
        body[4..8].copy_from_slice(&ifindex.to_ne_bytes());
        body[12..16].copy_from_slice(&parent.to_ne_bytes());
        Self {
            about: format!("{name} {way}"),
            ..Self::route(tc::RTM_GETTFILTER, "GETTFILTER", tc::FILTER, body)
        }
    }

    /// All generic netlink families.
    pub fn families() -> Self {
        Self {
            name: "GETFAMILY",
            ..Self::generic("nlctrl", genl::CTRL_CMD_GETFAMILY, "", genl::FAMILY)
        }
    }

    /// A dump of a family's command.
    pub fn generic(
        family: &'static str,
        command: u8,
        name: &'static str,
        reply: &'static Form,
    ) -> Self {
        Self {
            family: Family::Generic(family),
            command: command.into(),
            name,
            dump: true,
            about: String::new(),
            body: Vec::new(),
            reply,
        }
    }

    /// A dump of an ethtool command for all interfaces.
    pub fn ethtool(command: u8, name: &'static str, reply: &'static Form) -> Self {
        let mut header = Vec::new();
        push(&mut header, 3, &ethtool::FLAG_COMPACT_BITSETS.to_ne_bytes());
        let mut ask = Self::generic("ethtool", command, name, reply);
        push(&mut ask.body, 1 | NESTED, &header);
        ask
    }

    /// The names of a string set that does not depend on the interface.
    pub fn names(set: u32) -> Self {
        let (mut id, mut one, mut ask) = (
            Vec::new(),
            Vec::new(),
            Self::generic(
                "ethtool",
                ethtool::STRSET_GET,
                "STRSET_GET",
                ethtool::STRSET,
            ),
        );
        push(&mut id, 1, &set.to_ne_bytes());
        push(&mut one, 1 | NESTED, &id);
        push(&mut ask.body, 1 | NESTED, &[]);
        push(&mut ask.body, 2 | NESTED, &one);
        ask.dump = false;
        ask.about = set.to_string();
        ask
    }

    /// A devlink question about one device.
    pub fn device(mut self, bus: &str, device: &str) -> Self {
        push(&mut self.body, 1, &[bus.as_bytes(), &[0]].concat());
        push(&mut self.body, 2, &[device.as_bytes(), &[0]].concat());
        self.dump = false;
        self.about = format!("{bus}/{device}");
        self
    }
}

/// One question.
#[derive(Debug, Clone)]
pub enum Question {
    /// By netlink.
    Netlink(Ask),
    /// A file's text.
    Text(String),
    /// A folder's entries.
    Names(String),
    /// Where a symbolic link leads, all the way.
    Target(String),
    /// `ETHTOOL_GDRVINFO`: `driver`, `version`, `firmware`, `bus`.
    Driver(String),
    /// `ETHTOOL_GRXCLSRLCNT`: `rules`, `capacity`.
    Rules(String),
    /// What no file tells: `page_size`; kernel options by name.
    System,
    /// The name of a BPF program: `name`.
    Program(u32),
    /// Programs of an interface at tcx: `ingress`, `egress`.
    Tcx(u32, String),
    /// A trial, by name and interface; what it does is the trial's matter.
    Trial {
        /// `prog_load_dev_bound`.
        name: &'static str,
        /// Whose.
        ifindex: u32,
        /// Its name.
        iface: String,
    },
}

impl Question {
    /// The name under which the answer is recorded.
    pub fn key(&self) -> String {
        match self {
            Self::Netlink(ask) => {
                let family = match ask.family {
                    Family::Route => "route",
                    Family::Generic(name) => name,
                };
                format!("{family} {} {}", ask.name, ask.about)
                    .trim()
                    .to_owned()
            }
            Self::Text(path) => format!("text {path}"),
            Self::Names(path) => format!("names {path}"),
            Self::Target(path) => format!("target {path}"),
            Self::Driver(iface) => format!("ioctl GDRVINFO {iface}"),
            Self::Rules(iface) => format!("ioctl GRXCLSRLCNT {iface}"),
            Self::System => "system".to_owned(),
            Self::Program(id) => format!("program {id}"),
            Self::Tcx(_, iface) => format!("tcx {iface}"),
            Self::Trial { name, iface, .. } => format!("trial {name} {iface}"),
        }
    }

    /// What netlink answers to it look like.
    pub fn form(&self) -> Option<&'static Form> {
        match self {
            Self::Netlink(ask) => Some(ask.reply),
            _ => None,
        }
    }
}
