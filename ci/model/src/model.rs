//! The model: one packet through one program.

use std::collections::HashMap;
use std::net::IpAddr;

use terrace_abi::{Class, Reason, consts};
use terrace_l7::splice::{HeadNote, Progress};

use crate::facts::{self, Facts};
use crate::flows::{Flow, Key};
use crate::world::{Endpoint, Iface, World};

const XDP_DROP: u32 = 1;
const XDP_PASS: u32 = 2;
const XDP_TX: u32 = 3;
const XDP_REDIRECT: u32 = 4;
const TC_NEXT: u32 = -1i32 as u32;
const TC_DROP: u32 = 2;
const TC_REDIRECT: u32 = 7;

/// Which program runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Hook {
    /// XDP on an uplink.
    Xdp,
    /// tc on an uplink, packets from the network.
    UplinkIngress,
    /// tc on an uplink, packets to the network.
    UplinkEgress,
    /// tc on the host's side of a workload, packets from the workload.
    WorkloadIngress,
    /// The same, packets to the workload.
    WorkloadEgress,
    /// tc on the l7 port, packets of workers.
    L7Port,
}

impl Hook {
    /// `HOOK_*`, under which reasons are counted.
    pub fn number(self) -> u32 {
        match self {
            Self::Xdp => consts::HOOK_XDP,
            Self::UplinkIngress | Self::WorkloadIngress | Self::L7Port => consts::HOOK_TC_INGRESS,
            Self::UplinkEgress | Self::WorkloadEgress => consts::HOOK_TC_EGRESS,
        }
    }

    pub(crate) fn is_ingress(self) -> bool {
        matches!(
            self,
            Self::UplinkIngress | Self::WorkloadIngress | Self::L7Port
        )
    }

    pub(crate) fn is_egress(self) -> bool {
        matches!(self, Self::UplinkEgress | Self::WorkloadEgress)
    }

    pub(crate) fn is_from_network(self) -> bool {
        matches!(self, Self::Xdp | Self::UplinkIngress)
    }

    /// What the program returns.
    fn action(self, reason: Reason, out: Out) -> u32 {
        match (self, reason.class(), out) {
            (Self::Xdp, Class::Drop, _) => XDP_DROP,
            (Self::Xdp, Class::Pass, _) => XDP_PASS,
            (Self::Xdp, _, Out::Back) => XDP_TX,
            (Self::Xdp, _, _) => XDP_REDIRECT,
            (_, Class::Drop, _) => TC_DROP,
            (_, Class::Pass, _) | (_, _, Out::Stack) => TC_NEXT,
            _ => TC_REDIRECT,
        }
    }
}

/// Where a packet that is not dropped leaves the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Out {
    /// By the interface that it came from.
    Back,
    /// By another interface, or into a workload.
    Elsewhere,
    /// On, to what comes after the program.
    Stack,
}

/// What became of a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Why.
    pub reason: Reason,
    /// The program's return value.
    pub action: u32,
    /// The packet afterwards.
    pub bytes: Vec<u8>,
}

/// The programs' state: what they find, and what they remember.
#[derive(Debug, Clone, Default)]
pub struct Model {
    /// What the programs find.
    pub world: World,
    /// Flows, both directions.
    pub flows: HashMap<Key, Flow>,
    /// Backends of clients with affinity, by client and group.
    pub affinities: HashMap<(IpAddr, u32), u32>,
    /// Ports of fragments' first parts, by addresses, identification, protocol.
    pub(crate) fragments: HashMap<(IpAddr, IpAddr, u32, u8), (u16, u16)>,
    /// What has passed of workers' flows, by number and binding.
    pub progress: HashMap<(u32, u32), Progress>,
    /// Requests that passed without a worker, by the same.
    pub heads: HashMap<(u32, u32), HeadNote>,
}

/// One packet in one program.
#[derive(Debug)]
pub(crate) struct Pass<'m> {
    pub model: &'m mut Model,
    pub hook: Hook,
    pub iface: Iface,
    pub frame: Vec<u8>,
    pub facts: Facts,
    pub dst: (usize, Endpoint),
    pub out: Out,
}

impl Model {
    /// A model of programs that have seen nothing yet.
    pub fn new(world: World) -> Self {
        Self {
            world,
            ..Self::default()
        }
    }

    /// Runs a packet that no program of Terrace has handled before.
    pub fn run(&mut self, hook: Hook, ifindex: u32, frame: &[u8]) -> Outcome {
        let end = |reason: Reason| Outcome {
            reason,
            action: hook.action(reason, Out::Stack),
            bytes: frame.to_vec(),
        };
        let Some(iface) = self.world.iface(ifindex) else {
            return end(Reason::IfaceUnknown);
        };
        if hook == Hook::L7Port
            && let Some(reason) = crate::port::foreign(frame)
        {
            return end(reason);
        }
        let facts = match facts::network(frame) {
            Ok(facts) => facts,
            Err(reason) => return end(reason),
        };
        let dst = self.world.endpoint(facts.key.dst);
        let mut pass = Pass {
            model: self,
            hook,
            iface,
            frame: frame.to_vec(),
            facts,
            dst,
            out: Out::Stack,
        };
        let reason = match hook {
            Hook::L7Port => pass.port(),
            _ => pass.run(),
        };
        let out = match pass.out {
            Out::Back if iface.redirect_back => Out::Elsewhere,
            out => out,
        };
        Outcome {
            reason,
            action: hook.action(reason, out),
            bytes: pass.frame,
        }
    }
}

impl Pass<'_> {
    pub fn world(&self) -> &World {
        &self.model.world
    }

    fn run(&mut self) -> Reason {
        let steps = [Self::classify, Self::fragment, Self::related, Self::echo];
        for step in steps {
            if let Some(reason) = step(self) {
                return reason;
            }
        }
        if let Some(reason) = self.serve() {
            return reason;
        }
        match self.open() {
            Some(reason) => reason,
            None => self.serve().expect("a new flow is served"),
        }
    }

    /// Ends with an answer to the sender.
    pub fn answer(&mut self, reason: Reason, frame: Vec<u8>) -> Reason {
        self.frame = frame;
        self.out = Out::Back;
        reason
    }
}
