//! Memory of maps and of a running daemon, and how long it takes for one change.

use std::os::fd::AsRawFd as _;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use terrace_abi::sys;

use super::given::given;
use crate::lab::{Daemon, net::Net, on_cpu, terrace_binary};
use crate::load::send_each;
use crate::run::Context;
use crate::scenario::Axis;

/// The CPU of the daemon.
const CPU: usize = 0;

/// Megabytes of the maps that are pinned in a folder: `memlock` of their fdinfo.
pub fn of_maps(pins: &Path) -> Result<f64> {
    Ok(bytes_below(pins)? as f64 / 1e6)
}

fn bytes_below(pins: &Path) -> Result<u64> {
    let mut bytes = 0;
    for entry in std::fs::read_dir(pins).with_context(|| format!("read {}", pins.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            bytes += bytes_below(&path)?;
            continue;
        }
        let pin = sys::open_pin(&path)?;
        let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", pin.as_raw_fd()))?;
        bytes += map_bytes(&info).unwrap_or(0);
    }
    Ok(bytes)
}

/// None for a program or a link.
fn map_bytes(fdinfo: &str) -> Option<u64> {
    let line = |name: &str| fdinfo.lines().find_map(|line| line.strip_prefix(name));
    line("map_type:")?;
    line("memlock:")?.trim().parse().ok()
}

/// A daemon with one table of that size: its memory, its maps', and the time
/// of one change until it is in effect.
pub fn of_daemon(axis: Axis, n: u32, context: &Context) -> Result<Vec<(String, Vec<f64>)>> {
    let given = given(axis, n);
    let net = Net::new(1500)?;
    let binary = terrace_binary(context.terrace.as_deref())?;
    let start = || Daemon::start(&net.host, &binary, &given.setup);
    let daemon = on_cpu(&net, CPU, start)?;
    if let Some(frames) = &given.frames {
        send_each(&net, frames)?;
    }
    let resident = resident(daemon.pid())?;
    let maps = of_maps(daemon.pins())?;
    if let Some(frames) = &given.frames {
        let (tracked, wanted) = (daemon.tracked(&net.host)?, frames.keys.n_keys);
        ensure!(
            tracked >= wanted as usize,
            "the daemon tracks {tracked} connections after packets of {wanted}"
        );
    }
    let (name, text) = &given.changed;
    let took = daemon.change(&net.host, name, text)?;
    Ok(vec![
        ("daemon_mb".to_owned(), vec![resident]),
        ("daemon_maps_mb".to_owned(), vec![maps]),
        ("reload_ms".to_owned(), vec![took.as_secs_f64() * 1e3]),
    ])
}

/// Megabytes of `RssAnon`: its own memory, without the maps that it has mapped.
fn resident(pid: u32) -> Result<f64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("RssAnon:"));
    let kb = line.and_then(|line| line.split_whitespace().next());
    let kb: f64 = kb.context("no RssAnon")?.parse()?;
    Ok(kb * 1024.0 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::map_bytes;

    #[test]
    fn only_maps_have_their_bytes_counted() {
        let map = "pos:\t0\nmap_type:\t2\nkey_size:\t4\nmemlock:\t4096\n";
        let program = "pos:\t0\nprog_type:\t6\nmemlock:\t8192\n";
        assert_eq!(map_bytes(map), Some(4096));
        assert_eq!(map_bytes(program), None);
    }
}
