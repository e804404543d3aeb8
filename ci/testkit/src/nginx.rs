//! A real nginx that answers with its own name.

use crate::{Background, Error, Netns, Result, wait};
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

/// nginx in a namespace, on IPv4 and IPv6, one process; stopped on drop.
/// Every path answers 200 with the name and a newline, but those under
/// `/files/`, which come from [`HttpServer::add_file`].
#[derive(Debug)]
pub struct HttpServer {
    // Before the folder: nginx must be gone when its folder goes.
    nginx: Background,
    dir: TempDir,
    port: u16,
}

impl HttpServer {
    pub fn start(ns: &Netns, name: &str, port: u16) -> Result<Self> {
        let dir = TempDir::with_prefix("terrace-nginx-").map_err(Error::io("nginx folder"))?;
        let files = dir.path().join("files");
        fs::create_dir(&files).map_err(Error::io("nginx folder"))?;
        let config = dir.path().join("nginx.conf");
        fs::write(&config, config_text(dir.path(), name, port)).map_err(Error::io("nginx.conf"))?;
        let mut command = Command::new("nginx");
        command
            .arg("-e")
            .arg("stderr")
            .arg("-p")
            .arg(dir.path())
            .arg("-c")
            .arg(&config);
        let nginx = ns.spawn(command)?;
        let server = Self { nginx, dir, port };
        server.wait_ready(ns)?;
        Ok(server)
    }

    pub fn at(&self, address: IpAddr) -> SocketAddr {
        SocketAddr::new(address, self.port)
    }

    /// Serves `content` as `/files/<name>`.
    pub fn add_file(&self, name: &str, content: &[u8]) -> Result<()> {
        fs::write(self.dir.path().join("files").join(name), content)
            .map_err(Error::io(format!("file {name} of nginx")))
    }

    pub fn process(&mut self) -> &mut Background {
        &mut self.nginx
    }

    fn wait_ready(&self, ns: &Netns) -> Result<()> {
        wait::port(ns, self.at(Ipv4Addr::LOCALHOST.into()), wait::PATIENCE)
            .map_err(|error| Error::wrong(format!("{error}; nginx says:\n{}", self.nginx.log())))
    }
}

fn config_text(dir: &Path, name: &str, port: u16) -> String {
    let dir = dir.display();
    let temp: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("  {kind}_temp_path {dir}/{kind};\n"))
        .concat();
    format!(
        "daemon off;
master_process off;
pid {dir}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 8192; }}
worker_rlimit_nofile 16384;
http {{
{temp}  access_log off;
  default_type text/plain;
  keepalive_requests 1000000000;
  keepalive_timeout 600s;
  server {{
    listen {port} backlog=4096;
    listen [::]:{port} backlog=4096;
    location / {{ return 200 \"{name}\\n\"; }}
    location /files/ {{ root {dir}; }}
  }}
}}
"
    )
}
