//! The kernel's pktgen, through its files in the client's namespace
//! (Documentation/networking/pktgen.rst). Never into generic XDP: its clones
//! have no room in front, and the kernel panics.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};

use super::{Sample, packets};
use crate::cpu;
use crate::lab::Arm;
use crate::lab::net::{NIC, OUTSIDE, UPLINK_MAC, received};
use terrace_testkit::link::mac_text;

const FOLDER: &str = "/proc/net/pktgen";
/// Ports, and with them flows.
const FLOWS: u16 = 256;

/// Why there is no pktgen here.
pub fn availability() -> Result<()> {
    ensure!(
        Path::new(FOLDER).exists(),
        "this kernel has no pktgen: `modprobe pktgen`, or use the load `frames`"
    );
    Ok(())
}

pub fn run(arm: &Arm, size: u32, seconds: f64, cpu: usize) -> Result<Sample> {
    let mode = arm.counters()?.xdp;
    ensure!(
        mode.as_deref() != Some("generic"),
        "pktgen into generic XDP panics the kernel: use the load `frames`"
    );
    let before = received(&arm.net.outside)?;
    let said = arm.net.outside.enter(|| -> Result<Said> {
        cpu::pin(cpu)?;
        send(arm, size, seconds, cpu)
    })??;
    let arrived = received(&arm.net.outside)? - before;
    Ok(packets(said.sent, arrived, said.seconds, Some(cpu)))
}

fn send(arm: &Arm, size: u32, seconds: f64, cpu: usize) -> Result<Said> {
    let thread = format!("{FOLDER}/kpktgend_{cpu}");
    let device = format!("{FOLDER}/{NIC}");
    write(&thread, "rem_device_all")?;
    write(&thread, &format!("add_device {NIC}"))?;
    for line in settings(arm.remote(), size, seconds) {
        write(&device, &line)?;
    }
    // Returns when all is sent.
    write(&format!("{FOLDER}/pgctrl"), "start")?;
    let text = fs::read_to_string(&device)?;
    let said = parse(&text).with_context(|| format!("pktgen said: {text}"));
    write(&thread, "rem_device_all")?;
    said
}

fn write(path: &str, line: &str) -> Result<()> {
    fs::write(path, format!("{line}\n")).with_context(|| format!("write `{line}` to {path}"))
}

/// Packets are counted, not timed: more than a CPU sends within the time.
fn settings((to, port): (std::net::Ipv4Addr, u16), size: u32, seconds: f64) -> Vec<String> {
    const MOST: f64 = 1e6;
    vec![
        format!("count {}", (seconds * MOST) as u64),
        "clone_skb 0".to_owned(),
        format!("pkt_size {}", size.max(60)),
        "delay 0".to_owned(),
        format!("dst {to}"),
        format!("src_min {OUTSIDE}"),
        format!("src_max {OUTSIDE}"),
        format!("dst_mac {}", mac_text(UPLINK_MAC)),
        format!("udp_dst_min {port}"),
        format!("udp_dst_max {port}"),
        "udp_src_min 20000".to_owned(),
        format!("udp_src_max {}", 20_000 + FLOWS),
        "flag UDPSRC_RND".to_owned(),
    ]
}

#[derive(Debug, PartialEq)]
struct Said {
    sent: u64,
    seconds: f64,
}

/// `Result: OK: 1234(c1200+d34) usec, 1000000 (60byte,0frags)`.
fn parse(text: &str) -> Option<Said> {
    let line = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("Result: OK:"))?;
    let (time, packets) = line.split_once(" usec,")?;
    let number = |text: &str| text.trim().split(['(', ' ']).next()?.parse::<u64>().ok();
    Some(Said {
        sent: number(packets)?,
        seconds: number(time)? as f64 / 1e6,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_pktgen_says_is_read() {
        let text = "Params: count 1000\nCurrent:\n     pkts-sofar: 1000  errors: 0\nResult: OK: 2500000(c2400000+d100000) usec, 1000000 (60byte,0frags)\n  400000pps\n";
        let said = Said {
            sent: 1_000_000,
            seconds: 2.5,
        };
        assert_eq!(parse(text), Some(said));
        assert_eq!(parse("Result: NA"), None);
    }

    #[test]
    fn every_packet_is_fresh_and_of_another_flow() {
        let lines = settings(([10, 96, 0, 11].into(), 53), 64, 0.5);
        for line in [
            "count 500000",
            "clone_skb 0",
            "dst 10.96.0.11",
            "flag UDPSRC_RND",
        ] {
            assert!(lines.iter().any(|found| found == line), "{line}");
        }
    }
}
