//! A cgroup, a namespace, the programs on it, and processes in both.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;
use terrace_abi::{Limits, Maps, Plain as _, Table, consts, types};
use terrace_sock::Cgroup;
use terrace_sock::shortcut::{Pair, Settings, Shortcut};
use terrace_testkit::{Netns, PinRoot, wait};

const PEER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/shortcut/peer.py");
pub const LOOPBACK: [&str; 2] = ["127.0.0.1", "::1"];
static NEXT: AtomicU32 = AtomicU32::new(0);

/// A cgroup that is removed with everything in it.
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Self {
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("terrace-test-{}-{n}", std::process::id());
        let path = Cgroup::find().unwrap().path().join(name);
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    pub fn open(&self) -> Cgroup {
        Cgroup::open(&self.0).unwrap()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let end = Instant::now() + Duration::from_secs(5);
        while std::fs::remove_dir(&self.0).is_err() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Fields are dropped in this order: links go with the pins, the cgroup last.
pub struct Stage {
    pub ns: Netns,
    pub shortcut: Shortcut,
    pub maps: Maps,
    pub pins: PinRoot,
    pub folder: Folder,
}

impl Stage {
    /// The programs with their usual settings, on a cgroup of their own.
    pub fn new() -> Self {
        // A limit for bulk is a matter of speed alone.
        let settings = Settings {
            bulk_bytes: 0,
            ..Settings::default()
        };
        Self::with(1024, &settings)
    }

    pub fn with(max_pairs: u32, settings: &Settings) -> Self {
        let folder = Folder::new();
        let pins = PinRoot::new().unwrap();
        let maps = Maps::open(pins.path(), &Limits::small()).unwrap();
        let shortcut = Shortcut::load(&maps, max_pairs).unwrap();
        shortcut.configure(settings).unwrap();
        shortcut.attach(&[folder.open()]).unwrap();
        Self {
            ns: Netns::new("cut").unwrap(),
            shortcut,
            maps,
            pins,
            folder,
        }
    }

    /// A program in the cgroup and the namespace of the stage.
    pub fn run(&self, program: &str, args: &[&str]) -> Process {
        Process::start(&self.ns, Some(self.folder.path()), program, args)
    }

    /// A role of peer.py there.
    pub fn peer(&self, role: &str, host: &str, port: u16, args: &[&str]) -> Process {
        self.peer_in(&self.ns, Some(self.folder.path()), role, host, port, args)
    }

    pub fn peer_in(
        &self,
        ns: &Netns,
        cgroup: Option<&Path>,
        role: &str,
        host: &str,
        port: u16,
        args: &[&str],
    ) -> Process {
        let port = port.to_string();
        let mut all = vec![PEER, role, host, &port];
        all.extend(args);
        Process::start(ns, cgroup, "/usr/bin/python3", &all)
    }

    /// A role that listens; its port.
    pub fn server(&self, role: &str, host: &str) -> (Process, u16) {
        let mut server = self.peer(role, host, 0, &[]);
        let port = server.line()["listening"].as_u64().unwrap() as u16;
        (server, port)
    }

    /// Bytes that went from socket to socket so far.
    pub fn joined_bytes(&self) -> u64 {
        self.shortcut.counters().unwrap().joined().bytes
    }

    pub fn pairs(&self) -> Vec<Pair> {
        self.shortcut.pairs().unwrap()
    }

    /// All connections are over and their entries gone.
    pub fn await_no_pairs(&self) {
        wait::until("an empty table of pairs", wait::PATIENCE, || {
            self.pairs().is_empty().then_some(())
        })
        .unwrap();
    }

    /// Waits until more bytes went from socket to socket than `before`.
    pub fn await_joined(&self, before: u64) {
        wait::until("bytes from socket to socket", wait::PATIENCE, || {
            (self.joined_bytes() > before).then_some(())
        })
        .unwrap();
    }
}

/// Killed and reaped on drop.
pub struct Process {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
}

impl Process {
    pub fn start(ns: &Netns, cgroup: Option<&Path>, program: &str, args: &[&str]) -> Self {
        let mut command = Command::new("sh");
        let enter = match cgroup {
            Some(path) => format!("echo $$ > {}/cgroup.procs && ", path.display()),
            None => String::new(),
        };
        command.args(["-c", &format!("{enter}exec \"$@\""), "sh", program]);
        command
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = ns.enter(|| command.spawn()).unwrap().unwrap();
        Self {
            stdin: child.stdin.take(),
            stdout: BufReader::new(child.stdout.take().unwrap()),
            child,
        }
    }

    /// The next line of JSON that it says.
    pub fn line(&mut self) -> Value {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|_| panic!("it said `{line}`"))
    }

    pub fn tell(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().unwrap();
        writeln!(stdin, "{line}").unwrap();
        stdin.flush().unwrap();
    }

    /// Waits for its end, which must be a good one; the last line that it said.
    pub fn finish(mut self) -> Value {
        drop(self.stdin.take());
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).unwrap();
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}: {rest}");
        let last = rest.lines().last().unwrap_or("null");
        serde_json::from_str(last).unwrap()
    }

    /// Everything that it says up to its good end.
    pub fn text(mut self) -> Vec<u8> {
        drop(self.stdin.take());
        let mut all = Vec::new();
        self.stdout.read_to_end(&mut all).unwrap();
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}");
        all
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Two namespaces with a link between them: addresses of both ends, by family.
pub fn linked(label: &str) -> (Netns, Netns, [(IpAddr, IpAddr); 2]) {
    let (a, b) = (
        Netns::new(&format!("{label}-a")).unwrap(),
        Netns::new(&format!("{label}-b")).unwrap(),
    );
    a.ip([format!(
        "link add wa type veth peer name wb netns {}",
        b.name()
    )])
    .unwrap();
    a.ip([
        "addr add 10.77.0.1/24 dev wa",
        "addr add fd77::1/64 dev wa",
        "link set wa up",
    ])
    .unwrap();
    b.ip([
        "addr add 10.77.0.2/24 dev wb",
        "addr add fd77::2/64 dev wb",
        "link set wb up",
    ])
    .unwrap();
    let pair = |a: &str, b: &str| (a.parse().unwrap(), b.parse().unwrap());
    (
        a,
        b,
        [pair("10.77.0.1", "10.77.0.2"), pair("fd77::1", "fd77::2")],
    )
}

/// Of every address of [`linked`] that [`announce`] gives flags.
pub const IDENTITY: u32 = 300;

/// Gives 10.77.0.0/16 and fd77::/16, the addresses of [`linked`], these flags.
pub fn announce(stage: &Stage, flags: u32) {
    let endpoint = types::endpoint {
        identity: IDENTITY,
        flags,
        ..Default::default()
    };
    let root = types::prefix_root {
        value: 1,
        ..Default::default()
    };
    let write = |table, index, value: &[u8]| {
        stage
            .maps
            .write_table(table, &[(index, value.to_vec())])
            .unwrap();
    };
    write(Table::Endpoints, 1, endpoint.as_bytes());
    write(Table::AddressRoots, 10 << 8 | 77, root.as_bytes());
    write(
        Table::AddressRoots,
        consts::PREFIX_V6_ROOT + 0xfd77,
        root.as_bytes(),
    );
}
