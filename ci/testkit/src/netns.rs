//! Network namespaces that go away with their guard.

use crate::{Background, Error, Faults, Result, wire};
use rustix::net::netdevice::name_to_index;
use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::fs::File;
use std::io::Write;
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread::{self, JoinHandle};

const RUN_NETNS: &str = "/run/netns";
const PREFIX: &str = "terrace-";
static NEXT: AtomicU32 = AtomicU32::new(0);

/// A named network namespace; removed, with every process in it, on drop.
///
/// Only the network namespace differs: mounts (and so the BPF file system),
/// pids and users are those of the machine.
#[derive(Debug)]
pub struct Netns {
    name: String,
    file: File,
    /// XDP links that live as long as the namespace.
    wires: Mutex<Vec<OwnedFd>>,
}

impl Netns {
    /// Makes `terrace-<label>-<pid>-<n>`, with `lo` up and IPv6 duplicate
    /// address detection off (it would hold addresses back for a second).
    pub fn new(label: &str) -> Result<Self> {
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        Self::named(&format!("{PREFIX}{label}-{}-{n}", std::process::id()))
    }

    /// Makes a namespace of exactly this name, for people to look into.
    pub fn named(name: &str) -> Result<Self> {
        ip(&["netns", "add", name])?;
        let path = Path::new(RUN_NETNS).join(name);
        let file = File::open(&path).map_err(Error::io(format!("open {}", path.display())))?;
        let ns = Self {
            name: name.to_owned(),
            file,
            wires: Mutex::default(),
        };
        for scope in ["all", "default"] {
            ns.sysctl(&format!("net.ipv6.conf.{scope}.accept_dad"), "0")?;
            ns.sysctl(&format!("net.ipv6.conf.{scope}.accept_ra"), "0")?;
        }
        ns.ip(["link set lo up"])?;
        Ok(ns)
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn path(&self) -> PathBuf {
        Path::new(RUN_NETNS).join(&self.name)
    }

    /// Runs `work` on a thread of its own inside the namespace. Sockets and
    /// processes that it makes belong to the namespace; a panic goes on here.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T> {
        thread::scope(|scope| {
            let inside = scope.spawn(|| enter_thread(&self.file).map(|()| work()));
            match inside.join() {
                Ok(Ok(value)) => Ok(value),
                Ok(Err(errno)) => Err(Error::errno(format!("enter {}", self.name))(errno)),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }

    /// Like [`Netns::enter`] for a thread that outlives the call.
    pub fn thread<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<JoinHandle<T>> {
        let file = self
            .file
            .try_clone()
            .map_err(Error::io(format!("enter {}", self.name)))?;
        Ok(thread::spawn(move || {
            enter_thread(&file).expect("setns to an open namespace needs only root");
            work()
        }))
    }

    /// Runs a program to its end; its standard output if it exits with 0.
    pub fn run(&self, program: &str, args: &[&str]) -> Result<String> {
        let output = self.output(Command::new(program).args(args))?;
        Error::unless_success(self.shown(program, args), output)
    }

    /// Runs a program to its end, whatever its exit code is.
    pub fn output(&self, command: &mut Command) -> Result<Output> {
        let shown = format!("{command:?}");
        command.stdin(Stdio::null());
        self.enter(|| command.output())?.map_err(Error::io(shown))
    }

    /// Starts a program that the returned guard kills.
    pub fn spawn(&self, command: Command) -> Result<Background> {
        self.enter(|| Background::spawn(command))?
    }

    /// `ip` commands, without the word `ip`, as one batch.
    pub fn ip<S: AsRef<str>>(&self, lines: impl IntoIterator<Item = S>) -> Result<()> {
        let mut batch = String::new();
        for line in lines {
            batch.push_str(line.as_ref());
            batch.push('\n');
        }
        let mut command = Command::new("ip");
        command.args(["-n", &self.name, "-batch", "-"]);
        let output = feed(&mut command, &batch).map_err(Error::io("ip -batch"))?;
        Error::unless_success(format!("ip -n {} -batch:\n{batch}", self.name), output)?;
        Ok(())
    }

    /// Sets a sysctl of the namespace, its name written with dots.
    pub fn sysctl(&self, name: &str, value: &str) -> Result<()> {
        let path = Path::new("/proc/sys").join(name.replace('.', "/"));
        self.enter(|| std::fs::write(&path, value))?
            .map_err(Error::io(format!("sysctl {name}={value} in {}", self.name)))
    }

    /// Makes `iface` behave like the far end of a real wire, for links where
    /// XDP runs at the near end (DESIGN section 4, facts 1 and 5). It sends no
    /// partial checksums and no oversized segments, and takes every frame that
    /// XDP sends, at once.
    pub fn act_as_wire(&self, iface: &str) -> Result<()> {
        self.run("ethtool", &["-K", iface, "tx", "off", "gro", "on"])?;
        self.keep(self.enter(|| wire::pass_everything(index(iface)?))??);
        Ok(())
    }

    /// Makes what comes in at `iface` come over a bad wire: packets are lost, or
    /// overtaken by those behind them. The sender must be one that sends no
    /// partial checksums ([`Netns::run`] of `ethtool -K ... tx off`).
    pub fn act_as_bad_wire(&self, iface: &str, faults: Faults) -> Result<()> {
        let (there, back) = (format!("{iface}-d"), format!("{iface}-e"));
        let shown = self.run("ip", &["-o", "link", "show", iface])?;
        let mac = shown.split("link/ether ").nth(1);
        let mac = mac.and_then(|rest| rest.split(' ').next());
        let mac = mac.ok_or_else(|| Error::wrong(format!("no address in {shown}")))?;
        self.ip([
            format!("link add {there} type veth peer name {back} address {mac}"),
            format!("link set {there} addrgenmode none up"),
            format!("link set {back} addrgenmode none up"),
        ])?;
        self.act_as_wire(&back)?;
        let lossy = self.enter(|| {
            let [at, detour] = [iface, &there].map(index);
            wire::lose(at?, faults, detour?)
        })??;
        self.keep(lossy);
        Ok(())
    }

    fn keep(&self, link: OwnedFd) {
        let mut wires = self.wires.lock().unwrap_or_else(PoisonError::into_inner);
        wires.push(link);
    }

    fn shown(&self, program: &str, args: &[&str]) -> String {
        format!("{program} {} (in {})", args.join(" "), self.name)
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        remove(&self.name);
    }
}

/// Removes the namespaces, cgroups and pin roots whose process is gone; their names.
pub fn sweep() -> Vec<String> {
    let mut left = left_overs_in(Path::new(RUN_NETNS));
    for name in &left {
        remove(name);
    }
    left.extend(crate::cgroup::sweep());
    left.extend(crate::pins::sweep());
    left
}

/// Removes the namespaces whose name begins with `prefix`, whoever made them:
/// for the fixed names of the demo, whose caller holds the demo's lock.
pub fn clear(prefix: &str) {
    let entries = std::fs::read_dir(RUN_NETNS).into_iter().flatten().flatten();
    for name in entries.filter_map(|entry| entry.file_name().into_string().ok()) {
        if name.starts_with(prefix) {
            remove(&name);
        }
    }
}

/// Names `terrace-...-PID-N` in `folder` whose process has ended.
pub fn left_overs_in(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    names.filter(|name| is_left_over(name)).collect()
}

/// Whether this name is `<prefix>...-<pid>-<n>` of a process that has ended.
fn is_left_over(name: &str) -> bool {
    let mut parts = name.rsplitn(3, '-');
    let n = parts.next().and_then(|n| n.parse::<u32>().ok());
    let pid = parts.next().and_then(|pid| pid.parse::<u32>().ok());
    let ours = name.starts_with(PREFIX) && parts.next().is_some();
    match (n, pid) {
        (Some(_), Some(pid)) if ours => !Path::new("/proc").join(pid.to_string()).exists(),
        _ => false,
    }
}

/// Of an interface of the calling thread's namespace.
fn index(iface: &str) -> Result<u32> {
    let what = format!("index of {iface}");
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).map_err(Error::io(&what))?;
    name_to_index(&socket, iface).map_err(Error::errno(what))
}

fn enter_thread(file: &File) -> rustix::io::Result<()> {
    move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
}

fn ip(args: &[&str]) -> Result<String> {
    let output = Command::new("ip").args(args).stdin(Stdio::null()).output();
    let shown = format!("ip {}", args.join(" "));
    Error::unless_success(shown.clone(), output.map_err(Error::io(shown))?)
}

fn feed(command: &mut Command, input: &str) -> std::io::Result<Output> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut stdin = child.stdin.take().expect("stdin is piped");
    // A program that has ended before it read all tells why on stderr.
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    child.wait_with_output()
}

/// Ends what still runs in the namespace, then removes its name. The kernel
/// frees the namespace with its last process and socket.
fn remove(name: &str) {
    let pids = ip(&["netns", "pids", name]).unwrap_or_default();
    for pid in pids.split_whitespace().filter_map(|pid| pid.parse().ok()) {
        if let Some(pid) = Pid::from_raw(pid)
            && pid != rustix::process::getpid()
        {
            let _ = kill_process(pid, Signal::KILL);
        }
    }
    let _ = ip(&["netns", "del", name]);
}

#[cfg(test)]
mod tests {
    use super::is_left_over;

    #[test]
    fn only_names_of_dead_processes_are_left_over() {
        let me = std::process::id();
        let rows = [
            ("ours, alive", format!("terrace-t-{me}-0"), false),
            ("ours, dead", "terrace-t-4194999-3".to_owned(), true),
            (
                "label with dashes, dead",
                "terrace-a-b-4194999-3".to_owned(),
                true,
            ),
            ("no pid", "terrace-demo-client".to_owned(), false),
            ("no label", "terrace-4194999".to_owned(), false),
            ("somebody else's", "other-t-4194999-3".to_owned(), false),
        ];
        for (row, name, expected) in rows {
            assert_eq!(is_left_over(&name), expected, "{row}");
        }
    }
}
