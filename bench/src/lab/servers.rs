//! The servers in the workload: two HTTP backends of one nginx, and our own
//! for requests, connections and bulk.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;

use anyhow::Result;
use terrace_testkit::{Background, Netns, wait};

use super::{HTTP_A, HTTP_B, HTTP_BOTH, TCP};
use crate::cpu;
use crate::library;
use crate::peer::Values;

/// Bytes of `/a/big`, for downloads.
const BIG: u64 = 1 << 30;

#[derive(Debug, Default)]
pub struct Servers {
    http: Option<Background>,
    tcp: Option<Background>,
}

impl Servers {
    pub fn start(web: &Netns, cpu: usize, folder: &Path, values: &Values) -> Result<Self> {
        let config = folder.join("backend.conf");
        std::fs::write(&config, values.fill(library::file("backend/nginx.conf")?))?;
        let big = folder.join("a");
        std::fs::create_dir(&big)?;
        // A hole: reading it costs no disk.
        std::fs::File::create(big.join("big"))?.set_len(BIG)?;
        let mut http = Command::new("nginx");
        http.args(["-e", "stderr", "-p"])
            .arg(folder)
            .arg("-c")
            .arg(&config);
        let mut tcp = Command::new(std::env::current_exe()?);
        tcp.args(["agent", "serve", "--port", &TCP.to_string()]);
        let spawn = |command: Command| {
            web.enter(|| -> Result<Background> {
                cpu::pin(cpu)?;
                Ok(Background::spawn(command)?)
            })?
        };
        let servers = Self {
            http: Some(spawn(http)?),
            tcp: Some(spawn(tcp)?),
        };
        for port in [HTTP_A, HTTP_B, HTTP_BOTH, TCP] {
            let to = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port);
            wait::port(web, to, wait::PATIENCE)?;
        }
        Ok(servers)
    }

    /// The CPU that each was last seen on.
    pub fn seen(&self) -> Vec<(&'static str, u32)> {
        let pids = [("server", &self.http), ("server (TCP)", &self.tcp)];
        let seen = pids
            .into_iter()
            .filter_map(|(name, program)| Some((name, cpu::last_of(program.as_ref()?.pid())?)));
        seen.collect()
    }
}
