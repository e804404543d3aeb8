//! That nothing is left, from other sources than `terrace` itself.

use super::stage::{Stage, WEB};
use super::{load, say};
use anyhow::{Context, Result, bail};
use std::collections::BTreeSet;
use std::process::Command;
use std::time::Duration;
use terrace_testkit::{Netns, wait};

/// The host's namespace as it was before Terrace came.
pub struct Before {
    links: BTreeSet<String>,
    sysctls: BTreeSet<String>,
}

impl Before {
    pub fn look(host: &Netns) -> Result<Self> {
        let links = host.run("ip", &["-o", "link"])?;
        let sysctls = host.run(
            "sysctl",
            &["-a", "-r", r"^net\.(ipv[46]\.(conf|ip_forward)|core)"],
        )?;
        Ok(Self {
            links: links.lines().map(link_name).collect(),
            sysctls: sysctls.lines().map(str::to_owned).collect(),
        })
    }
}

/// `3: w0@if2: <BROADCAST,...` -> `w0`
fn link_name(line: &str) -> String {
    let name = line.split(": ").nth(1).unwrap_or_default();
    name.split('@').next().unwrap_or_default().to_owned()
}

/// The programs that are attached, by the daemon's word while it runs.
pub fn attached_programs(stage: &Stage) -> Result<Vec<u64>> {
    let status = stage.terrace.json(stage.host(), &["status"])?;
    let interfaces = status["interfaces"]
        .as_array()
        .context("interfaces of the status")?;
    let attachments = interfaces
        .iter()
        .filter_map(|one| one["attachments"].as_array())
        .flatten();
    let ids: Vec<u64> = attachments
        .filter_map(|one| one["program_id"].as_u64())
        .collect();
    if ids.is_empty() {
        bail!("the status names no attached program");
    }
    Ok(ids)
}

/// Checks every place where something could be left.
pub fn nothing_is_left(stage: &Stage, programs: &[u64]) -> Result<()> {
    let before = stage.before.as_ref().context("what was there before")?;
    let host = stage.host();
    if stage.pin_root().exists() {
        bail!("{} is still there", stage.pin_root().display());
    }
    say::holds(&format!("no pins: {} is gone", stage.pin_root().display()));
    for id in programs {
        let what = format!("end of BPF program {id}");
        wait::until(&what, Duration::from_secs(5), || {
            (!program_exists(*id)).then_some(())
        })?;
    }
    say::holds(&format!(
        "no programs: the {} that were attached are freed",
        programs.len()
    ));
    let links = host.run("ip", &["-d", "link"])?;
    if let Some(line) = links.lines().find(|line| line.contains("prog/xdp")) {
        bail!("XDP is still attached: {line}");
    }
    let qdiscs = host.run("tc", &["qdisc", "show"])?;
    if let Some(line) = qdiscs.lines().find(|line| line.contains("clsact")) {
        bail!("a qdisc is left: {line}");
    }
    let after = Before::look(host)?;
    if after.links != before.links {
        bail!("links were {:?}, are {:?}", before.links, after.links);
    }
    say::holds("no XDP, no tc qdisc, no netdev that was not there before");
    let changed: Vec<_> = after
        .sysctls
        .symmetric_difference(&before.sysctls)
        .collect();
    if !changed.is_empty() {
        bail!("sysctls differ: {changed:?}");
    }
    say::holds(&format!(
        "all {} sysctls of the host are what they were",
        before.sysctls.len()
    ));
    if load::curl(stage.client(), WEB[0], None).is_ok() {
        bail!("{} still answers", WEB[0]);
    }
    say::holds("the service address no longer answers");
    Ok(())
}

fn program_exists(id: u64) -> bool {
    let id = id.to_string();
    let shown = Command::new("bpftool")
        .args(["prog", "show", "id", &id])
        .output();
    shown.is_ok_and(|output| output.status.success())
}

#[cfg(test)]
mod tests {
    use super::link_name;

    #[test]
    fn a_link_is_known_by_its_name_without_its_peer() {
        let rows = [
            ("1: lo: <LOOPBACK> mtu 65536", "lo"),
            ("3: w0@if2: <BROADCAST> mtu", "w0"),
        ];
        for (line, expected) in rows {
            assert_eq!(link_name(line), expected);
        }
    }
}
