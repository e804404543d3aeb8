//! The demo's network, servers and files; all gone when it is dropped.

use super::daemon::Terrace;
use crate::workspace;
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;
use terrace_testkit::{BPFFS, HttpServer, Netns, Node, Topology, clear, mount_bpffs};

const PREFIX: &str = "terrace-demo";
const PORT: u16 = 8080;

/// Service addresses of ci/demo/manifests, IPv4 and IPv6.
pub const WEB: [&str; 2] = ["http://10.96.0.10/", "http://[fd00:96::10]/"];
pub const CART: [&str; 2] = ["http://10.96.0.20/", "http://[fd00:96::20]/"];
/// Addresses of ci/demo/deny.txt; the client has them beside its own.
pub const DENIED: [&str; 2] = ["10.20.0.66", "fd00:20::66"];

pub struct Stage {
    // In the order of removal.
    pub terrace: Terrace,
    pub before: Option<super::proof::Before>,
    _servers: Vec<HttpServer>,
    pub net: Topology,
    _pins: Pins,
    files: TempDir,
}

impl Stage {
    pub fn build(binary: &Path) -> Result<Self> {
        clear(PREFIX);
        mount_bpffs()?;
        let pins = Pins(Path::new(BPFFS).join(PREFIX));
        pins.remove();
        let files = files()?;
        let net = Topology::named(PREFIX)
            .client("client")
            .client("stranger")
            .workload("web-a")
            .workload("web-b")
            .backend("remote")
            .build()?;
        net.client("client").ns.ip([
            format!("address add {}/24 dev net0", DENIED[0]),
            // Deprecated: never a source unless asked for.
            format!(
                "address add {}/64 dev net0 nodad preferred_lft 0",
                DENIED[1]
            ),
        ])?;
        let web = |node: &Node, name| HttpServer::start(&node.ns, name, PORT);
        let servers = vec![
            web(net.workload("web-a"), "web-a")?,
            web(net.workload("web-b"), "web-b")?,
            web(net.backend("remote"), "web-far")?,
        ];
        Ok(Self {
            terrace: Terrace::new(binary, &files.path().join("terrace.toml")),
            before: None,
            _servers: servers,
            net,
            _pins: pins,
            files,
        })
    }

    pub fn host(&self) -> &Netns {
        &self.net.host
    }

    pub fn client(&self) -> &Netns {
        &self.net.client("client").ns
    }

    pub fn pin_root(&self) -> PathBuf {
        Path::new(BPFFS).join(PREFIX)
    }

    pub fn daemon_log(&self) -> String {
        self.terrace.log()
    }

    /// Puts a file of ci/demo/later in the place of its namesake, at once.
    pub fn replace_manifest(&self, name: &str) -> Result<()> {
        let later = self.files.path().join("later").join(name);
        let now = self.files.path().join("manifests").join(name);
        fs::rename(&later, &now).with_context(|| format!("replace manifests/{name}"))
    }
}

/// A copy of ci/demo, for the demo changes it.
fn files() -> Result<TempDir> {
    let from = workspace::root().join("ci/demo");
    let to = TempDir::with_prefix("terrace-demo-").context("the demo's folder")?;
    copy(&from, to.path())?;
    Ok(to)
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    for entry in fs::read_dir(from).with_context(|| format!("read {}", from.display()))? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            fs::create_dir(&target)?;
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), &target)
                .with_context(|| format!("copy {}", target.display()))?;
        }
    }
    Ok(())
}

/// The demo's pins, when `terrace detach` did not come to it.
struct Pins(PathBuf);

impl Pins {
    fn remove(&self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Drop for Pins {
    fn drop(&mut self) {
        self.remove();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::load::curl;

    #[test]
    fn root_the_stage_reaches_every_backend_and_goes_without_a_trace() {
        let _lock = crate::demo::lock().unwrap();
        let stage = Stage::build(Path::new("/bin/true")).unwrap();
        for (url, name) in [
            ("http://10.40.0.2:8080/", "web-a"),
            ("http://[fd00:40:1::2]:8080/", "web-b"),
            ("http://10.30.0.2:8080/", "web-far"),
        ] {
            assert_eq!(curl(stage.client(), url, None).unwrap(), name);
            assert_eq!(
                curl(
                    stage.client(),
                    url,
                    Some(DENIED[usize::from(url.contains('['))])
                )
                .unwrap(),
                name
            );
        }
        let folder = stage.files.path().to_owned();
        drop(stage);
        assert!(!folder.exists());
        let left = fs::read_dir("/run/netns").unwrap().flatten();
        let left = left.filter(|e| e.file_name().to_string_lossy().starts_with(PREFIX));
        assert_eq!(left.count(), 0);
    }
}
