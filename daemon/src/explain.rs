//! Runs packets through the live programs, and tells what they did.
//!
//! The programs are loaded once more with `dry_run` set, on the live tables:
//! they decide and rewrite as ever, but count, remember and send nothing.

pub mod capture;
pub mod headers;
mod hop;
pub mod packet;
mod way;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::OnceLock;

use terrace_abi::Maps;
use terrace_mesh::directory::Directory;

use crate::api;
use crate::run::shared::Shared;
pub use way::Programs;

/// Why a packet can't be explained.
#[derive(Debug, thiserror::Error)]
pub enum ExplainError {
    #[error("{file}: {why}", file = .file.display())]
    Capture { file: PathBuf, why: String },
    #[error("{0:?} is no protocol that can be explained")]
    Protocol(String),
    #[error("{0} and {1} are of two address families")]
    Families(SocketAddr, SocketAddr),
    #[error("{0:?} is no TCP flag")]
    TcpFlag(char),
    #[error("the packet can't be built: {0}")]
    Build(String),
    #[error("a packet is not hexadecimal")]
    Hex,
    #[error("no interface of Terrace is called {0}")]
    Iface(String),
    #[error("no interface of this host is configured as an uplink")]
    NoUplink,
    #[error(transparent)]
    Tables(#[from] terrace_abi::Error),
    #[error(transparent)]
    Xdp(#[from] terrace_xdp::Error),
    #[error(transparent)]
    Tc(#[from] terrace_tc::Error),
}

impl ExplainError {
    /// What to do about it.
    pub fn fix(&self) -> &'static str {
        match self {
            Self::Capture { .. } => "capture with `tcpdump -i IFACE -w FILE`",
            Self::Protocol(_) => "name tcp, udp, sctp or icmp",
            Self::Families(..) => "write both as IPv4 or both as IPv6",
            Self::TcpFlag(_) => "write letters of FSRPAU",
            Self::Build(_) | Self::Hex => "see `terrace explain --help`",
            Self::Iface(_) => "`terrace status` lists the interfaces that are served",
            Self::NoUplink => "name the interface where the packet arrives with --iface",
            Self::Tables(_) | Self::Xdp(_) | Self::Tc(_) => {
                "run it as root; `journalctl -u terrace` has the daemon's log"
            }
        }
    }
}

/// What must be known of the host to explain its packets.
#[derive(Debug, Clone, Copy)]
pub struct Host<'a> {
    pub maps: &'a Maps,
    pub directory: &'a Directory,
    pub interfaces: &'a [api::Interface],
}

/// Explains with the running daemon's tables and names.
///
/// # Errors
/// What can't be explained and what to do, as the control socket tells it.
pub fn answer(
    shared: &Shared,
    request: &api::ExplainRequest,
) -> Result<api::ExplainAnswer, api::Error> {
    let work = || {
        // Before the lock, which the main loop needs.
        let programs = programs(&shared.maps)?;
        let (view, mesh) = (shared.view(), shared.mesh());
        let host = Host {
            maps: &shared.maps,
            directory: mesh.directory(),
            interfaces: &view.interfaces,
        };
        explain(&host, programs, request)
    };
    work().map_err(|error| api::Error {
        fix: error.fix().to_owned(),
        error: chain(&error),
        details: Vec::new(),
    })
}

/// The dry-run copies of this process, which has one set of tables. They are
/// loaded at the first question: the verifier takes a second or two.
fn programs(maps: &Maps) -> Result<&'static Programs, ExplainError> {
    static PROGRAMS: OnceLock<Programs> = OnceLock::new();
    match PROGRAMS.get() {
        Some(programs) => Ok(programs),
        None => {
            let programs = Programs::load(maps)?;
            Ok(PROGRAMS.get_or_init(|| programs))
        }
    }
}

/// The way of every packet of the request.
///
/// # Errors
/// The first packet or interface that is not understood, or the kernel's
/// refusal to run a program.
pub fn explain(
    host: &Host<'_>,
    programs: &Programs,
    request: &api::ExplainRequest,
) -> Result<api::ExplainAnswer, ExplainError> {
    let packets = request.packets.iter();
    let packets = packets.map(|spec| way::walk(host, programs, request.iface.as_deref(), spec));
    Ok(api::ExplainAnswer {
        packets: packets.collect::<Result<_, _>>()?,
    })
}

/// An error with all of its causes in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}
