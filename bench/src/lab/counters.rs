//! The host's own counters.

use anyhow::{Context as _, Result};
use terrace_abi::sys;
use terrace_testkit::Netns;

use super::net::UPLINK;
use crate::proof::Counters;

/// Of the kernel in a host's namespace.
pub fn of_kernel(host: &Netns) -> Result<Counters> {
    host.enter(|| {
        let snmp =
            std::fs::read_to_string("/proc/thread-self/net/snmp").context("read /proc/net/snmp")?;
        let value = |protocol, name| snmp_value(&snmp, protocol, name).unwrap_or(0);
        let interfaces = sys::interfaces()?;
        let uplink = interfaces.iter().find(|(_, name)| name == UPLINK);
        let mode = uplink.and_then(|(index, _)| {
            let state = sys::xdp_query(*index).ok()?;
            state.programs().next().map(|(_, mode)| mode.to_owned())
        });
        Ok(Counters {
            forwarded: value("Ip", "ForwDatagrams"),
            terminated: value("Tcp", "InSegs") + value("Udp", "InDatagrams"),
            xdp: mode,
            ..Counters::default()
        })
    })?
}

/// A value of /proc/net/snmp: a line of names, then a line of numbers.
fn snmp_value(text: &str, protocol: &str, name: &str) -> Option<u64> {
    let mut lines = text.lines().filter_map(|line| line.split_once(": "));
    let mut row = || {
        let (_, fields) = lines.find(|(found, _)| *found == protocol)?;
        Some(fields.split_whitespace())
    };
    let at = row()?.position(|found| found == name)?;
    row()?.nth(at)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::snmp_value;

    #[test]
    fn a_number_is_found_by_its_name() {
        let text = "Ip: Forwarding TTL ForwDatagrams\nIp: 1 64 12\nIcmp: InMsgs\nIcmp: 3\nTcp: RtoMin InSegs\nTcp: -1 44\n";
        let rows = [
            ("Ip", "ForwDatagrams", Some(12)),
            ("Tcp", "InSegs", Some(44)),
            ("Tcp", "RtoMin", None),
            ("Udp", "InDatagrams", None),
        ];
        for (protocol, name, expected) in rows {
            assert_eq!(
                snmp_value(text, protocol, name),
                expected,
                "{protocol} {name}"
            );
        }
    }
}
