//! A daemon on the machine's own interfaces.

use crate::{attempt, terrace};
use serde_json::Value;
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;
use terrace_testkit::{Background, wait};

/// Verifying every program takes a translated machine long.
const START: Duration = Duration::from_secs(150);
const PATIENCE: Duration = Duration::from_secs(90);

/// `terrace run` with every interface `up*` as an uplink; detached when dropped.
pub struct Daemon {
    running: Background,
    folder: TempDir,
}

impl Daemon {
    /// Starts it and waits until it is ready.
    pub fn start() -> Self {
        let folder = TempDir::with_prefix("terrace-lab-").expect("a folder");
        std::fs::create_dir(folder.path().join("manifests")).expect("a folder of manifests");
        let path = folder.path().join("terrace.toml");
        std::fs::write(&path, CONFIG).expect("write a configuration");
        let mut command = Command::new(terrace());
        command
            .args(["run", "--log", "debug", "--config"])
            .arg(&path);
        let mut running = Background::spawn(command).expect("start terrace");
        let ready = running.wait_for_log("ready: ", START);
        assert!(ready.is_ok(), "not ready:\n{}", running.log());
        Self { running, folder }
    }

    pub fn json(&self, command: &str) -> Value {
        let path = self.folder.path().join("terrace.toml");
        let line = format!(
            "{} {command} --json --config {}",
            terrace().display(),
            path.display()
        );
        let (success, said) = attempt(&line);
        assert!(success, "{line}: {said}");
        serde_json::from_str(&said).unwrap_or_else(|error| panic!("{line}: {error}: {said}"))
    }

    /// Waits until `there` finds what it looks for.
    pub fn until<T>(&self, what: &str, mut there: impl FnMut() -> Option<T>) -> T {
        let found = wait::until(what, PATIENCE, &mut there);
        found.unwrap_or_else(|error| {
            panic!(
                "{error}:\n{:#}\n{}",
                self.json("status"),
                self.running.log()
            )
        })
    }

    /// Whether both of its tc programs are on an interface. bpftool of Debian 12
    /// does not show TCX links.
    pub fn has_tc(&self, iface: &str) -> bool {
        let status = self.json("status");
        let mut all = status["interfaces"].as_array().into_iter().flatten();
        let found = all.find(|row| row["name"] == iface);
        let attached = found.map(|row| row["attachments"].to_string());
        attached.is_some_and(|text| text.contains("tc-ingress") && text.contains("tc-egress"))
    }

    /// The tier of an uplink's steering, and the reason.
    pub fn placed(&self, iface: &str) -> Option<(String, String)> {
        let plan = self.json("plan");
        let rows = plan["placements"].as_array()?;
        let row = rows
            .iter()
            .find(|row| row["iface"] == iface && row["task"] == "steer")?;
        let text = |name: &str| Some(row[name].as_str()?.to_owned());
        Some((text("tier")?, text("reason")?))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.running.kill();
        let path = self.folder.path().join("terrace.toml");
        attempt(&format!(
            "{} detach --yes --config {}",
            terrace().display(),
            path.display()
        ));
    }
}

/// Every disruption is allowed: the machine is ours.
const CONFIG: &str = r#"
manifests = "manifests"
node_name = "lab"
control_socket = "terrace.sock"
pin_root = "/sys/fs/bpf/terrace-lab"

[moves]
disruption = "link_flap"

[[interfaces]]
match = "up*"
role = "uplink"

[limits]
flows = 4096
services = 256
service_cells = 256
backends = 1024
endpoints = 1024
address_cells = 1024
deny_cells = 1024
policy_cells = 1024
affinities = 1024
fragments = 256
"#;
