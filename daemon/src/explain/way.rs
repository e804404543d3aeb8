//! From the interface where a packet arrives, program by program.

use terrace_abi::{Class, Maps, PacketRun, Reason};
use terrace_tc::{Direction, Role};

use super::headers::{summary_of, tuple_of};
use super::hop::{Run, hop_of};
use super::packet::{Macs, frame_of};
use super::{ExplainError, Host};
use crate::api::{self, ExplainedPacket, Interface, PacketSpec, Tier};

/// The dry-run copies of the programs.
pub struct Programs {
    xdp: terrace_xdp::DryRun,
    tc: terrace_tc::DryRun,
}

impl Programs {
    /// Loads them on the live tables.
    pub fn load(maps: &Maps) -> Result<Programs, ExplainError> {
        Ok(Programs {
            xdp: terrace_xdp::DryRun::load(maps)?,
            tc: terrace_tc::DryRun::load(maps)?,
        })
    }
}

/// Locally administered; nobody answers to it.
const STRANGER: [u8; 6] = [0x02, 0, 0, 0, 0, 0x01];

/// One packet's way.
pub(super) fn walk(
    host: &Host<'_>,
    programs: &Programs,
    iface: Option<&str>,
    spec: &PacketSpec,
) -> Result<ExplainedPacket, ExplainError> {
    let mut frame = match spec {
        PacketSpec::Tuple(tuple) => frame_of(tuple, Macs::default())?,
        PacketSpec::Frame(hex) => bytes_of(hex)?,
    };
    let start = start_of(host, iface, &frame)?;
    fill_macs(&mut frame, start.iface);
    let hooks = hooks_of(&start);
    let mut packet = ExplainedPacket {
        summary: summary_of(&frame),
        len: frame.len(),
        hops: Vec::new(),
    };
    for hook in hooks {
        let run = run(host.maps, programs, &hook, &frame)?;
        let seen = Run {
            hook: hook.name(),
            tier: hook.tier(),
            before: &frame,
            run: &run,
        };
        packet.hops.push(hop_of(host, hook.iface(), &seen));
        let reason = Reason::from_number(run.trace.reason);
        if reason.is_none_or(|reason| reason.class() != Class::Pass) {
            break;
        }
        frame = run.packet;
    }
    Ok(packet)
}

/// Where a packet comes from: an interface, or the host's own stack.
struct Start<'a> {
    iface: &'a Interface,
    from_host: bool,
}

enum Hook<'a> {
    Xdp(&'a Interface, Tier),
    Tc(&'a Interface, Direction),
}

impl Hook<'_> {
    fn iface(&self) -> &Interface {
        match self {
            Hook::Xdp(iface, _) | Hook::Tc(iface, _) => iface,
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Hook::Xdp(..) => "xdp",
            Hook::Tc(_, Direction::Ingress) => "tc-ingress",
            Hook::Tc(_, Direction::Egress) => "tc-egress",
        }
    }

    fn tier(&self) -> Tier {
        match self {
            Hook::Xdp(_, tier) => *tier,
            Hook::Tc(..) => Tier::Tc,
        }
    }
}

/// The interface that was named; else the workload that owns the source, else
/// the first uplink. Packets from an address of the host leave by it.
fn start_of<'a>(
    host: &Host<'a>,
    named: Option<&str>,
    frame: &[u8],
) -> Result<Start<'a>, ExplainError> {
    let source = tuple_of(frame).map(|tuple| tuple.source.ip());
    let from_host = source.is_some_and(|source| {
        let own = host.interfaces.iter().flat_map(|iface| &iface.addresses);
        own.filter_map(|address| address.split('/').next()?.parse().ok())
            .any(|own: std::net::IpAddr| source == own)
    });
    let by_name = |name: &str| host.interfaces.iter().find(|iface| iface.name == name);
    if let Some(name) = named {
        let iface = by_name(name).ok_or_else(|| ExplainError::Iface(name.to_owned()))?;
        return Ok(Start { iface, from_host });
    }
    let owner = source.and_then(|source| {
        let address = host.directory.addresses.get(&ipnet::IpNet::from(source))?;
        by_name(address.interface.as_deref()?)
    });
    let uplink = || {
        host.interfaces
            .iter()
            .find(|iface| iface.role == api::Role::Uplink)
    };
    let iface = owner.or_else(uplink).ok_or(ExplainError::NoUplink)?;
    Ok(Start { iface, from_host })
}

/// The programs that are attached where the packet comes by.
fn hooks_of<'a>(start: &Start<'a>) -> Vec<Hook<'a>> {
    let iface = start.iface;
    if start.from_host {
        return vec![Hook::Tc(iface, Direction::Egress)];
    }
    let xdp = iface
        .attachments
        .iter()
        .find(|attachment| attachment.hook == "xdp");
    let xdp = xdp.map(|attachment| match attachment.kind.as_str() {
        "generic" => Hook::Xdp(iface, Tier::XdpGeneric),
        _ => Hook::Xdp(iface, Tier::XdpNative),
    });
    xdp.into_iter()
        .chain([Hook::Tc(iface, Direction::Ingress)])
        .collect()
}

fn run(
    maps: &Maps,
    programs: &Programs,
    hook: &Hook<'_>,
    frame: &[u8],
) -> Result<PacketRun, ExplainError> {
    match hook {
        Hook::Xdp(iface, _) => Ok(programs.xdp.run(maps, frame, iface.ifindex)?),
        Hook::Tc(iface, direction) => {
            let role = match iface.role {
                api::Role::Uplink => Role::Uplink,
                api::Role::Workload => Role::Workload,
            };
            Ok(programs
                .tc
                .run(maps, role, *direction, frame, iface.ifindex)?)
        }
    }
}

/// A frame without addresses (made from a tuple, or captured without a link
/// header) is one to the interface.
fn fill_macs(frame: &mut [u8], iface: &Interface) {
    let Some(macs) = frame.get_mut(..12) else {
        return;
    };
    if macs.iter().any(|byte| *byte != 0) {
        return;
    }
    let own: Vec<u8> = iface
        .mac
        .split(':')
        .filter_map(|byte| u8::from_str_radix(byte, 16).ok())
        .collect();
    if own.len() == 6 {
        macs[..6].copy_from_slice(&own);
    }
    macs[6..].copy_from_slice(&STRANGER);
}

fn bytes_of(hex: &str) -> Result<Vec<u8>, ExplainError> {
    let digits = hex.as_bytes().chunks(2);
    let byte = |pair: &[u8]| {
        let text = std::str::from_utf8(pair)
            .ok()
            .filter(|text| text.len() == 2)?;
        u8::from_str_radix(text, 16).ok()
    };
    digits
        .map(byte)
        .collect::<Option<Vec<u8>>>()
        .ok_or(ExplainError::Hex)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_is_read_whole_or_refused() {
        let rows = [
            ("", Some(vec![])),
            ("00ff", Some(vec![0, 255])),
            ("0", None),
            ("0g", None),
        ];
        for (hex, expected) in rows {
            assert_eq!(bytes_of(hex).ok(), expected, "{hex:?}");
        }
    }
}
