//! Runs packets through the live programs, and tells what they did.

pub mod capture;
pub mod headers;
pub mod packet;

use std::net::SocketAddr;
use std::path::PathBuf;

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
}
