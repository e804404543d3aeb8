//! The steps before flows: deny list, transport header, addresses, fragments,
//! echo.

use terrace_abi::{Reason, consts};

use crate::answer;
use crate::facts::{self, Icmp, Part};
use crate::model::{Hook, Pass};

impl Pass<'_> {
    /// What the packet is, and whether this program has to do with it.
    pub fn classify(&mut self) -> Option<Reason> {
        let src = self.facts.key.src;
        let deny = self.world().flags & consts::CONFIG_DENY_LIST != 0;
        let here = match self.hook {
            Hook::Xdp => self.iface.xdp,
            Hook::UplinkIngress | Hook::WorkloadIngress => !self.iface.xdp,
            _ => false,
        };
        if deny && here && self.world().is_denied(src) {
            return Some(Reason::DenyList);
        }
        let parsed = facts::transport(&self.frame, &mut self.facts)
            .and_then(|()| facts::addresses(&self.facts));
        if let Err(reason) = parsed {
            return Some(reason);
        }
        let (_, dst) = self.dst;
        if self.hook.is_from_network() {
            let mine = consts::ENDPOINT_SERVICE | consts::ENDPOINT_HOST;
            return match (self.hook, dst.has(consts::ENDPOINT_WORKLOAD)) {
                _ if dst.has(mine) => None,
                (Hook::Xdp, true) => Some(Reason::ToTc),
                (_, true) => None,
                (_, false) => Some(Reason::NotOurs),
            };
        }
        let (_, src) = self.world().endpoint(src);
        let own = src.has(consts::ENDPOINT_WORKLOAD) && src.ifindex == self.iface.ifindex;
        let checked = self.hook == Hook::WorkloadIngress
            && self.world().flags & consts::CONFIG_CHECK_SOURCE != 0;
        (checked && !own).then_some(Reason::SpoofedSource)
    }

    /// A first fragment tells the later ones their ports.
    pub fn fragment(&mut self) -> Option<Reason> {
        let facts = &mut self.facts;
        let id = (
            facts.key.src,
            facts.key.dst,
            facts.fragment_id,
            facts.key.proto,
        );
        match facts.part {
            Part::Whole => return None,
            Part::First => {
                let ports = (facts.key.sport, facts.key.dport);
                self.model.fragments.insert(id, ports);
                return None;
            }
            Part::Later => (),
        }
        if let Some(&(sport, dport)) = self.model.fragments.get(&id) {
            (facts.key.sport, facts.key.dport) = (sport, dport);
            return None;
        }
        let workloads = matches!(self.hook, Hook::WorkloadIngress | Hook::WorkloadEgress);
        let ours = consts::ENDPOINT_WORKLOAD | consts::ENDPOINT_VIRTUAL;
        Some(if workloads || self.dst.1.has(ours) {
            Reason::FragmentUnknown
        } else {
            Reason::NotOurs
        })
    }

    /// An echo to a service address that no host owns.
    pub fn echo(&mut self) -> Option<Reason> {
        let answered = self.world().flags & consts::CONFIG_ANSWER_ECHO != 0;
        if self.facts.icmp != Icmp::Echo || !self.dst.1.has(consts::ENDPOINT_VIRTUAL) || !answered {
            return None;
        }
        if self.facts.part != Part::Whole {
            return Some(Reason::NoService);
        }
        let frame = answer::echo(&self.frame, &self.facts);
        Some(self.answer(Reason::EchoReply, frame))
    }
}
