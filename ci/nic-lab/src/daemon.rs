//! A daemon on the machine's own interfaces.

use crate::terrace;
use serde_json::Value;
use std::time::Duration;
use terrace_testkit::manifests::LIMITS;
use terrace_testkit::{Background, Netns, wait};

/// Verifying every program takes a translated machine long.
const START: Duration = Duration::from_secs(150);
const PATIENCE: Duration = Duration::from_secs(90);
const RUN: [&str; 3] = ["run", "--log", "debug"];

/// `terrace run` with every interface `up*` as an uplink; detached when dropped.
pub struct Daemon(terrace_testkit::Daemon);

impl Daemon {
    /// Starts it and waits until it is ready.
    pub fn start() -> Self {
        Self::with("", "")
    }

    /// With more in its configuration, and a deny list.
    pub fn with(extra: &str, deny: &str) -> Self {
        let mut daemon = Self::configured(extra);
        daemon.deny(deny);
        daemon.run();
        daemon
    }

    /// In a namespace, with more in its configuration, and with manifests.
    pub fn within(ns: &Netns, extra: &str, manifests: &[(&str, String)]) -> Self {
        let mut daemon = Self::configured(extra);
        daemon.deny("");
        for (file, text) in manifests {
            daemon.manifest(file, text);
        }
        let command = daemon.0.command(&RUN);
        daemon.await_ready(ns.spawn(command).expect("start terrace"));
        daemon
    }

    fn configured(extra: &str) -> Self {
        let daemon = terrace_testkit::Daemon::new(terrace(), "lab").expect("a folder");
        let config = format!("{CONFIG}{extra}{LIMITS}");
        daemon.configure(&config).expect("write a configuration");
        Self(daemon)
    }

    fn run(&mut self) {
        let command = self.0.command(&RUN);
        self.await_ready(Background::spawn(command).expect("start terrace"));
    }

    fn await_ready(&mut self, running: Background) {
        let ready = self.0.start(running, START);
        assert!(ready.is_ok(), "not ready:\n{}", self.0.log());
    }

    /// Another deny list; it counts when the daemon has seen it.
    pub fn deny(&self, list: &str) {
        let new = self.0.path("deny.new");
        std::fs::write(&new, list).expect("write a deny list");
        std::fs::rename(new, self.0.path("deny.txt")).expect("put it in place");
    }

    /// Prefixes of the deny list that counts now.
    pub fn n_denied(&self) -> u64 {
        let status = self.json("status");
        let n = &status["manifests"]["denied_prefixes"];
        n.as_u64().unwrap_or_else(|| panic!("{status}"))
    }

    /// A manifest; it counts when the daemon has seen it.
    pub fn manifest(&self, file: &str, text: &str) {
        self.0.write(file, text).expect("write a manifest");
    }

    /// What a command says, and whether it succeeded.
    pub fn command(&self, command: &str) -> (bool, String) {
        let words: Vec<&str> = command.split_whitespace().collect();
        let output = self.0.command(&words).output().expect("start terrace");
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        (output.status.success(), said)
    }

    /// Ends it as a crash would, and starts it with another deny list.
    pub fn crash_and_restart(&mut self, deny: &str) {
        self.0.kill().expect("it ran");
        self.deny(deny);
        self.run();
    }

    /// Ends it as its service manager would.
    pub fn stop(&mut self) {
        let ended = self.0.stop(PATIENCE);
        ended.unwrap_or_else(|error| panic!("{error}"));
    }

    pub fn json(&self, command: &str) -> Value {
        let words: Vec<&str> = command.split_whitespace().chain(["--json"]).collect();
        let output = self.0.command(&words).output().expect("start terrace");
        let complaint = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{command}: {complaint}");
        serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{command}: {error}: {complaint}"))
    }

    /// Waits until `there` finds what it looks for.
    pub fn until<T>(&self, what: &str, mut there: impl FnMut() -> Option<T>) -> T {
        let found = wait::until(what, PATIENCE, &mut there);
        found.unwrap_or_else(|error| {
            let (_, status) = self.command("status --json");
            panic!("{error}:\n{status}\n{}", self.0.log())
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

    /// The row of one task of an interface in the plan.
    pub fn row(&self, iface: &str, task: &str) -> Value {
        let plan = self.json("plan");
        let mut rows = plan["placements"].as_array().into_iter().flatten();
        let row = rows.find(|row| row["iface"] == iface && row["task"] == task);
        row.cloned().unwrap_or(Value::Null)
    }

    /// Whether an event of this kind has said this.
    pub fn has_told(&self, kind: &str, words: &str) -> bool {
        let status = self.json("status");
        let mut events = status["events"].as_array().into_iter().flatten();
        events.any(|event| event["kind"] == kind && event["message"].to_string().contains(words))
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
        // What a test left running or stopped: either way nothing stays.
        let _ = self.0.kill();
        let _ = self.0.command(&["detach", "--yes"]).output();
    }
}

/// Every disruption is allowed: the machine is ours.
const CONFIG: &str = r#"
manifests = "manifests"
deny_lists = ["deny.txt"]
node_name = "lab"
control_socket = "terrace.sock"
pin_root = "/sys/fs/bpf/terrace-lab"

[moves]
disruption = "link_flap"

[[interfaces]]
match = "up*"
role = "uplink"

"#;
