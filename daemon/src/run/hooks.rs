//! The loaded programs, and putting them on interfaces.

use std::os::fd::RawFd;

use anyhow::{Context, Result};
use terrace_abi::Maps;
use terrace_tc::{Direction, TcPrograms};
use terrace_xdp::{Mode, XdpPrograms};

use crate::api::{Attachment, Role, Tier};

/// Both sets of programs, joined to the tables of one pin root.
#[derive(Debug)]
pub struct Hooks {
    tc: TcPrograms,
    xdp: XdpPrograms,
}

impl Hooks {
    /// Loads the programs; attaches nothing.
    pub fn load(maps: &Maps) -> Result<Self> {
        let tc = TcPrograms::load(maps, &terrace_tc::Options::default())
            .context("load the tc programs")?;
        let xdp = XdpPrograms::load(maps).context("load the XDP programs")?;
        Ok(Self { tc, xdp })
    }

    /// Has the root programs that are attached call this daemon's program.
    pub fn install_xdp(&self, maps: &Maps) -> Result<()> {
        self.xdp.install(maps).context("exchange the XDP program")
    }

    /// Both tc programs of the interface's role, in place of an earlier daemon's.
    pub fn arm(&self, name: &str, ifindex: u32, role: Role) -> Result<Vec<Attachment>> {
        let armed = self
            .tc
            .arm(name, ifindex, tc_role(role))
            .with_context(|| format!("arm tc on {name}"))?;
        Ok(armed.iter().map(of_tc).collect())
    }

    /// The program on tc's end of the l7 port.
    pub fn arm_l7_port(&self, name: &str, ifindex: u32) -> Result<()> {
        let armed = self.tc.attach_l7_port(name, ifindex);
        armed.map(drop).with_context(|| format!("arm tc on {name}"))
    }

    /// The qdisc that filters of a NIC need.
    pub fn make_qdisc(&self, name: &str, ifindex: u32) -> Result<()> {
        Ok(self.tc.make_qdisc(name, ifindex)?)
    }

    /// Removes that qdisc, if Terrace made it.
    pub fn drop_qdisc(&self, maps: &Maps, name: &str, ifindex: u32) -> Result<()> {
        Ok(terrace_tc::remove_qdisc(maps.root(), name, ifindex)?)
    }

    /// Puts a worker's socket where the XDP program finds it.
    pub fn give_uplink_socket(&self, entry: u32, socket: RawFd) -> Result<()> {
        Ok(self.xdp.give(entry, socket)?)
    }

    pub fn attach_xdp(&self, name: &str, ifindex: u32, tier: Tier) -> Result<Attachment> {
        let mode = match tier {
            Tier::XdpGeneric => Mode::Generic,
            _ => Mode::Native,
        };
        let attached = self.xdp.attach(name, ifindex, mode)?;
        Ok(of_xdp(&attached))
    }
}

/// Takes everything of Terrace off one interface.
pub fn disarm(maps: &Maps, name: &str, ifindex: u32) -> Result<()> {
    terrace_xdp::detach(name, ifindex).with_context(|| format!("detach XDP from {name}"))?;
    terrace_tc::detach(maps.root(), name, ifindex)
        .with_context(|| format!("detach tc from {name}"))?;
    Ok(())
}

pub fn tc_role(role: Role) -> terrace_tc::Role {
    match role {
        Role::Uplink => terrace_tc::Role::Uplink,
        Role::Workload => terrace_tc::Role::Workload,
    }
}

pub fn of_tc(attachment: &terrace_tc::Attachment) -> Attachment {
    let hook = match attachment.direction {
        Direction::Ingress => "tc-ingress",
        Direction::Egress => "tc-egress",
    };
    Attachment {
        hook: hook.to_owned(),
        kind: attachment.kind.to_string(),
        program_id: attachment.program_id,
    }
}

pub fn of_xdp(attachment: &terrace_xdp::Attachment) -> Attachment {
    Attachment {
        hook: "xdp".to_owned(),
        kind: attachment.mode.to_string(),
        program_id: attachment.program_id,
    }
}
