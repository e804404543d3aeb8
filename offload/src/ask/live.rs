//! This machine, in the network namespace of the calling thread.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::fd::AsFd as _;

use terrace_abi::sys;

use super::act;
use super::{Answers, Ask, Family, No, Question, Said, Socket};
use crate::facts::Value;

/// Kernel options that decide what can be asked and had.
const OPTIONS: &[&str] = &[
    "BPF_SYSCALL",
    "NETDEVSIM",
    "NETKIT",
    "NET_ACT_CSUM",
    "NET_ACT_CT",
    "NET_ACT_GACT",
    "NET_ACT_MIRRED",
    "NET_ACT_PEDIT",
    "NET_ACT_POLICE",
    "NET_CLS_ACT",
    "NET_CLS_BPF",
    "NET_CLS_FLOWER",
    "NET_DEVLINK",
    "NET_SCH_INGRESS",
    "NET_XGRESS",
    "PAGE_POOL_STATS",
    "XDP_SOCKETS",
];

/// Sockets are opened when they are needed first.
#[derive(Default)]
pub struct Live {
    route: Option<Socket>,
    generic: Option<Socket>,
}

impl Answers for Live {
    fn ask(&mut self, question: &Question) -> Result<Said, No> {
        match question {
            Question::Netlink(ask) => self.netlink(ask).map(Said::Messages),
            Question::Text(path) => Ok(Said::Text(fs::read_to_string(path)?)),
            Question::Names(path) => names(path),
            Question::Target(path) => {
                let target = fs::canonicalize(path)?;
                Ok(Said::Text(target.to_string_lossy().into_owned()))
            }
            Question::Driver(iface) => {
                let info = sys::ethtool_info(iface)?;
                Ok(fields([
                    ("driver", info.driver.into()),
                    ("version", info.version.into()),
                    ("firmware", info.firmware.into()),
                    ("bus", info.bus.into()),
                ]))
            }
            Question::Rules(iface) => {
                let rules = sys::classify_table(iface)?;
                Ok(fields([
                    ("rules", rules.count.into()),
                    ("capacity", rules.capacity.into()),
                    ("any_place", rules.any_place.into()),
                ]))
            }
            Question::System => Ok(system()),
            Question::Program(id) => Ok(fields([("name", program(*id)?.into())])),
            Question::Tcx(ifindex, _) => tcx(*ifindex),
            Question::Trial {
                name,
                ifindex,
                iface,
            } => act::run(name, *ifindex, iface),
        }
    }
}

impl Live {
    fn netlink(&mut self, ask: &Ask) -> Result<Vec<Vec<u8>>, No> {
        let (socket, kind, body) = match ask.family {
            Family::Route => {
                let socket = opened(&mut self.route, Socket::route)?;
                (socket, ask.command, ask.body.clone())
            }
            Family::Generic(name) => {
                let socket = opened(&mut self.generic, Socket::generic)?;
                let kind = socket.family(name)?;
                let command = u8::try_from(ask.command).unwrap_or(0);
                let body = [&[command, 1, 0, 0], ask.body.as_slice()].concat();
                (socket, kind, body)
            }
        };
        match ask.dump {
            true => socket.dump(kind, &body),
            false => socket.request(kind, 0, &body),
        }
    }
}

fn opened(
    socket: &mut Option<Socket>,
    open: impl FnOnce() -> io::Result<Socket>,
) -> Result<&mut Socket, No> {
    match socket {
        Some(socket) => Ok(socket),
        None => Ok(socket.insert(open()?)),
    }
}

fn fields<const N: usize>(fields: [(&str, Value); N]) -> Said {
    let fields = fields.map(|(name, value)| (name.to_owned(), value));
    Said::Fields(BTreeMap::from(fields))
}

fn names(path: &str) -> Result<Said, No> {
    let mut names = Vec::new();
    for entry in fs::read_dir(path)? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(Said::Names(names))
}

fn program(id: u32) -> io::Result<String> {
    let program = sys::program_by_id(id)?;
    Ok(sys::program_info(program.as_fd())?.name)
}

fn tcx(ifindex: u32) -> Result<Said, No> {
    let names = |point| -> io::Result<Vec<String>> {
        let ids = sys::tcx_query(ifindex, point)?;
        Ok(ids
            .into_iter()
            .map(|id| program(id).unwrap_or_else(|_| format!("id {id}")))
            .collect())
    };
    Ok(fields([
        ("ingress", names(sys::TcxPoint::Ingress)?.into()),
        ("egress", names(sys::TcxPoint::Egress)?.into()),
    ]))
}

fn system() -> Said {
    let page_size = u32::try_from(rustix::param::page_size()).unwrap_or(0);
    let config = config();
    let mut values = BTreeMap::from([("page_size".to_owned(), page_size.into())]);
    for option in OPTIONS {
        let value = match &config {
            None => "unknown",
            Some(config) => option_of(config, option),
        };
        values.insert((*option).to_owned(), value.into());
    }
    Said::Fields(values)
}

/// What a kernel configuration says of an option; what it doesn't list is off.
fn option_of<'a>(config: &'a str, option: &str) -> &'a str {
    let value = config.lines().find_map(|line| {
        let value = line.strip_prefix("CONFIG_")?.strip_prefix(option)?;
        value.strip_prefix('=')
    });
    value.unwrap_or("n")
}

fn config() -> Option<String> {
    if let Ok(packed) = fs::File::open("/proc/config.gz") {
        return io::read_to_string(flate2::read::GzDecoder::new(packed)).ok();
    }
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").ok()?;
    fs::read_to_string(format!("/boot/config-{}", release.trim())).ok()
}
