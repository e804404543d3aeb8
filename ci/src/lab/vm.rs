//! One virtual machine: QEMU, its console, its end.

use super::cache::Cache;
use super::job::Job;
use super::kernel::Kernel;
use super::lacks::Lacks;
use super::list::Test;
use super::{Options, Outcome};
use crate::workspace;
use anyhow::{Context, Result};
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

/// QEMU's own exit code is 0 after a panic of the guest too: only this counts.
const PASSED: &str = "LAB-VERDICT passed";
const FAILED: &str = "lab: failed steps:";
/// A host that is busy elsewhere looks like a stalled CPU from within.
const STEADY: &str =
    "no_timer_check lapic=notscdeadline nowatchdog rcupdate.rcu_cpu_stall_suppress=1";
/// What costs a translated machine much and has nothing to do with what is tested.
const LEAN: &str = "init_on_alloc=0 randomize_kstack_offset=off apparmor=0 audit=0";
/// The guest's first word.
const UP: &str = "lab: up";
/// On a busy host a translated CPU now and then starts without its timer, or QEMU
/// 10.0.2 ends with `iotlb_to_section: Assertion failed`, before any of it is
/// ours: the machine is started again.
const BOOT: Duration = Duration::from_secs(90);
const BOOTS: u32 = 3;

pub fn run(
    cache: &Cache,
    kernel: &Kernel,
    test: &Test,
    job: &Job,
    options: &Options,
) -> Result<Outcome> {
    let mut command = command(cache, kernel, test, job, options.shell);
    if options.shell {
        println!("lab: a shell follows the test; Ctrl-A and x end the machine at once");
        let status = command.status().context("start QEMU")?;
        return Ok(match status.success() {
            true => {
                Outcome::Skipped("a run by hand: LAB-VERDICT above says how it went".to_owned())
            }
            false => Outcome::Failed(format!("QEMU ended with {status}")),
        });
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    for _ in 0..BOOTS {
        let mut child = command.spawn().context("start QEMU")?;
        let mut lacks = Lacks::default();
        let outcome = watch(&mut child, Duration::from_secs(test.limit_s), &mut lacks);
        // By its id; it may have ended by itself.
        let _ = child.kill();
        child.wait().context("the end of QEMU")?;
        if let Some(outcome) = outcome? {
            lacks.print(test);
            let fault = lacks.fault(test, options.filter.is_none());
            return Ok(match (outcome, fault) {
                (Outcome::Passed, Some(fault)) => Outcome::Failed(fault),
                (outcome, _) => outcome,
            });
        }
        println!("lab: the machine did not come up: again");
    }
    Ok(Outcome::Failed("the machine did not come up".to_owned()))
}

/// Shows the console until the machine ends or has had its time. `None` = it
/// did not come up.
fn watch(child: &mut Child, limit: Duration, lacks: &mut Lacks) -> Result<Option<Outcome>> {
    let stdout = child.stdout.take().context("QEMU's output")?;
    let (send, lines) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).trim_end().to_owned();
            if send.send(line).is_err() {
                return;
            }
        }
    });
    let mut end = Instant::now() + BOOT;
    let mut up = false;
    let mut why = "the machine ended without a verdict".to_owned();
    loop {
        match lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(line) if line == PASSED => return Ok(Some(Outcome::Passed)),
            Ok(line) if line == UP => {
                up = true;
                end = Instant::now() + limit;
            }
            Ok(line) => {
                println!("  {line}");
                lacks.hear(&line);
                if let Some(steps) = line.strip_prefix(FAILED) {
                    why = format!("failed:{steps}");
                }
            }
            Err(_) if !up => return Ok(None),
            Err(RecvTimeoutError::Timeout) => {
                why = format!("no end within {} s", limit.as_secs());
                return Ok(Some(Outcome::Failed(why)));
            }
            Err(RecvTimeoutError::Disconnected) => return Ok(Some(Outcome::Failed(why))),
        }
    }
}

fn command(cache: &Cache, kernel: &Kernel, test: &Test, job: &Job, shell: bool) -> Command {
    let tools = cache.tools.join("usr");
    // A lab that is killed takes its machine along.
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]);
    command.arg(tools.join("bin/qemu-system-x86_64"));
    command.env("LD_LIBRARY_PATH", tools.join("lib/x86_64-linux-gnu"));
    for data in ["share/qemu", "share/seabios", "lib/ipxe/qemu"] {
        command.arg("-L").arg(tools.join(data));
    }
    let serial = if shell { "mon:stdio" } else { "stdio" };
    command.args([
        "-M",
        "q35",
        "-smp",
        "2",
        "-nodefaults",
        "-no-user-config",
        "-no-reboot",
        "-display",
        "none",
        "-serial",
        serial,
        "-device",
        "virtio-rng-pci",
    ]);
    if !shell {
        command.args(["-monitor", "none"]);
    }
    command.args(accelerator());
    command.args(["-m", &test.memory_mb.to_string()]);
    command.arg("-kernel").arg(kernel.image());
    command.arg("-initrd").arg(job.initrd());
    let tree = workspace::root();
    let target = workspace::target();
    for (tag, path) in [
        ("lab", cache.dir.as_path()),
        ("usr", "/usr".as_ref()),
        ("etc", "/etc".as_ref()),
        ("tree", tree),
    ] {
        share(&mut command, tag, path);
    }
    let mut words = format!(
        "console=ttyS0 quiet loglevel=4 panic=-1 oops=panic mitigations=off nokaslr {STEADY} {LEAN} lab.tree={} lab.kernel={} lab.tools={} lab.job={}",
        tree.display(),
        cache.in_guest(&kernel.dir).display(),
        cache.in_guest(&cache.tools).display(),
        job.name()
    );
    if !target.starts_with(tree) {
        share(&mut command, "target", &target);
        words.push_str(&format!(" lab.target={}", target.display()));
    }
    command.args(["-append", &words]);
    nics(&mut command, &test.nics);
    command
}

/// Read-only, as the user who runs QEMU.
fn share(command: &mut Command, tag: &str, path: &Path) {
    let path = path.display();
    let what = format!(
        "local,path={path},mount_tag={tag},readonly=on,security_model=none,multidevs=remap"
    );
    command.args(["-virtfs", &what]);
}

/// Two NICs of each kind on a wire of their own, each behind its own port of the
/// bus: two igb side by side collide. The MAC address says kind and end.
fn nics(command: &mut Command, kinds: &[String]) {
    for (kind, device) in kinds.iter().enumerate() {
        for end in 0..2 {
            let id = 1 + kind * 2 + end;
            command.args([
                "-device",
                &format!("pcie-root-port,id=rp{id},chassis={id},slot={id}"),
            ]);
            command.args(["-netdev", &format!("hubport,id=n{id},hubid={kind}")]);
            let mac = format!("02:00:00:00:{kind:02x}:{end:02x}");
            command.args([
                "-device",
                &format!("{device},bus=rp{id},netdev=n{id},mac={mac}"),
            ]);
        }
    }
}

/// A /dev/kvm alone says nothing: one that runs guests without the CPU's help
/// (kvm-pvm) fails at Debian's kernels with an emulation error.
fn accelerator() -> [&'static str; 4] {
    let flags = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let helps = flags
        .split_whitespace()
        .any(|flag| matches!(flag, "vmx" | "svm"));
    let may = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/kvm")
        .is_ok();
    match helps && may {
        true => ["-accel", "kvm", "-cpu", "host"],
        // Page tables of five levels and SMAP are looked after by QEMU, slowly.
        false => [
            "-accel",
            "tcg,thread=multi",
            "-cpu",
            "max,la57=off,smap=off",
        ],
    }
}
