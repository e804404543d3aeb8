//! Packets of tracked flows.

use terrace_abi::{Reason, consts};

use crate::answer;
use crate::facts::{ACK, FIN, ICMP, ICMPV6, Icmp, Part, RST, SYN, UDP};
use crate::flows::{Flow, Key, Tuple};
use crate::model::Pass;
use crate::policy::judge;
use crate::rewrite::rewrite;
use crate::way::Blocked;

impl Pass<'_> {
    /// The reason when the packet is of a flow; `None` = it may open one.
    pub fn serve(&mut self) -> Option<Reason> {
        let key = self.facts.key;
        // ICMP without state has the key of an echo whose identifier is 0.
        let facts = &self.facts;
        if facts.is_icmp()
            && !matches!(facts.icmp, Icmp::Echo | Icmp::Reply)
            && facts.part != Part::Later
        {
            return None;
        }
        let flow = *self.model.flows.get(&key)?;
        let is_local = flow.flags & consts::FLOW_LOCAL != 0;
        if self.hook == crate::Hook::Xdp && is_local && !self.may_go_up(&flow) {
            return Some(Reason::ToTc);
        }
        if flow.flags & consts::FLOW_FROM_HERE != 0 && self.is_forged() {
            return Some(Reason::BadSource);
        }
        let opens = self.facts.tcp_flags & (SYN | ACK) == SYN;
        if opens && flow.state == consts::FLOW_CLOSED {
            self.forget(key);
            return None;
        }
        if let Some(reason) = self.fail_mode(flow.flags) {
            return Some(reason);
        }
        if self.is_orphan(&flow) {
            self.forget(key);
            return None;
        }
        if let Some(reason) = self.recheck(key, &flow) {
            return Some(reason);
        }
        if flow.flags & consts::FLOW_L7 != 0 {
            return Some(self.serve_l7(key, &flow));
        }
        let reason = if flow.flags & consts::FLOW_DSR != 0 && flow.is_orig {
            self.encapsulate(&flow.to)
        } else {
            self.forward(&flow.to, flow.flags)
        };
        // The programs send nothing before they have found a way.
        let served = !matches!(reason.class(), terrace_abi::Class::Pass)
            || matches!(reason, Reason::HostAllowed | Reason::ToFragment);
        if served {
            self.follow(key);
        }
        Some(reason)
    }

    /// XDP may give a worker what it reads, also of a flow with a workload.
    fn may_go_up(&self, flow: &Flow) -> bool {
        let is_longer_than_headers = self.facts.len > 120;
        self.iface.sockets && flow.flags & consts::FLOW_L7 != 0 && is_longer_than_headers
    }

    /// Nobody in the network has an address of this host or its workloads.
    fn is_forged(&self) -> bool {
        let world = self.world();
        matches!(self.hook, crate::Hook::Xdp | crate::Hook::UplinkIngress)
            && world.flags & consts::CONFIG_CHECK_SOURCE != 0
            && world.endpoint(self.facts.key.src).1.is_local()
    }

    /// A datagram's flow whose backend is gone, after a change of the tables.
    fn is_orphan(&self, flow: &Flow) -> bool {
        let world = self.world();
        let looked_at = flow.policy_rev == world.policy_rev;
        if looked_at || !flow.is_orig || flow.backend == 0 || self.facts.key.proto != UDP {
            return false;
        }
        let backend = world.backends[flow.backend as usize];
        backend.is_none_or(|held| (held.address, held.port) != (flow.to.dst, flow.to.dport))
    }

    pub fn forget(&mut self, key: Key) {
        if let Some(flow) = self.model.flows.remove(&key) {
            self.model.flows.remove(&flow.peer);
        }
    }

    /// What to do while the daemon is silent.
    pub fn fail_mode(&self, flags: u32) -> Option<Reason> {
        if !self.world().silent {
            return None;
        }
        if flags & consts::FLOW_FAIL_OPEN != 0 {
            return Some(Reason::FailOpen);
        }
        (flags & consts::FLOW_FAIL_CLOSED != 0).then_some(Reason::FailClosed)
    }

    /// After a policy change a flow is judged again as its opener's.
    fn recheck(&mut self, key: Key, flow: &Flow) -> Option<Reason> {
        let rev = self.world().policy_rev;
        if flow.policy_rev == rev {
            return None;
        }
        if self.is_stale(flow) {
            return self.refuse_stale();
        }
        let port = self.policy_port(port_of_answerer(key, flow));
        match self.judge_flow(key, flow, port) {
            Some(Reason::ToWorker) if flow.flags & consts::FLOW_L7 == 0 => self.refuse_stale(),
            None | Some(Reason::ToWorker) => {
                self.stamp(key, rev);
                None
            }
            refused => refused,
        }
    }

    /// In the direction of its opener; `port` is the answerer's, or an ICMP type.
    fn judge_flow(&self, key: Key, flow: &Flow, port: u16) -> Option<Reason> {
        if flow.flags & consts::FLOW_POLICY == 0 {
            return None;
        }
        let (from, to) = if flow.is_orig {
            (key.src, flow.to.dst)
        } else {
            (flow.to.dst, key.src)
        };
        let world = self.world();
        let (src, dst) = (world.endpoint(from).1, world.endpoint(to).1);
        judge(world, &src, &dst, key.proto, port)
    }

    /// An ICMP error of a flow after a policy change; the next packet of the
    /// flow itself stamps it.
    pub fn recheck_related(&self, key: Key, flow: &Flow) -> Option<Reason> {
        if flow.policy_rev == self.world().policy_rev {
            return None;
        }
        // Only echoes are followed.
        let port = match key.proto {
            ICMP => 8,
            ICMPV6 => 128,
            _ => port_of_answerer(key, flow),
        };
        let judged = self.judge_flow(key, flow, port);
        judged.filter(|reason| *reason != Reason::ToWorker)
    }

    /// The flow was looked at with this revision in force.
    fn stamp(&mut self, key: Key, rev: u32) {
        if let Some(flow) = self.model.flows.get_mut(&key) {
            flow.policy_rev = rev;
        }
    }

    /// The answer to an echo, and the rest of its fragments, are judged as the
    /// echo that asked for it.
    pub fn policy_port(&self, port: u16) -> u16 {
        let facts = &self.facts;
        if !facts.is_icmp() {
            return port;
        }
        if facts.icmp == Icmp::Reply || facts.part == Part::Later {
            return if facts.key.proto == ICMP { 8 } else { 128 };
        }
        u16::from(facts.icmp_type)
    }

    /// Translates and sends.
    pub fn forward(&mut self, to: &Tuple, flags: u32) -> Reason {
        let way = match self.find_way(to, flags & consts::FLOW_LOCAL != 0) {
            Ok(way) => way,
            Err(blocked) => return self.blocked(blocked),
        };
        rewrite(&mut self.frame, &self.facts, to, way.hops);
        let reason = self.take_way(&way);
        if reason == Reason::ToHost && flags & consts::FLOW_NAT == 0 {
            return Reason::HostAllowed;
        }
        reason
    }

    pub fn blocked(&mut self, (reason, mtu): Blocked) -> Reason {
        if reason != Reason::TooBig {
            return reason;
        }
        // An error is never answered with an error.
        if self.facts.icmp == Icmp::Error {
            return Reason::ToFragment;
        }
        let frame = answer::too_big(&self.frame, &self.facts, mtu);
        self.answer(reason, frame)
    }

    /// The state by TCP's flags; a UDP flow is a stream once answered.
    pub fn follow(&mut self, key: Key) {
        let Some(flow) = self.model.flows.get(&key).copied() else {
            return;
        };
        let (state, add) = if self.facts.is_tcp() {
            tcp_state(&flow, self.facts.tcp_flags)
        } else if flow.state == consts::FLOW_UDP && !flow.is_orig {
            (consts::FLOW_UDP_STREAM, consts::FLOW_ANSWERED)
        } else {
            return;
        };
        for key in [key, flow.peer] {
            if let Some(flow) = self.model.flows.get_mut(&key) {
                flow.state = state;
                flow.flags |= add;
            }
        }
    }
}

fn port_of_answerer(key: Key, flow: &Flow) -> u16 {
    if flow.is_orig {
        flow.to.dport
    } else {
        key.sport
    }
}

fn tcp_state(flow: &Flow, tcp: u8) -> (u32, u32) {
    const FINS: u32 = consts::FLOW_FIN_ORIG | consts::FLOW_FIN_REPLY;
    let fin = if flow.is_orig {
        consts::FLOW_FIN_ORIG
    } else {
        consts::FLOW_FIN_REPLY
    };
    let mut add = 0;
    if !flow.is_orig {
        add |= consts::FLOW_ANSWERED;
    }
    if tcp & FIN != 0 {
        add |= fin;
    }
    let all = flow.flags | add;
    // With direct server return the answer does not come by here.
    let answered = all & (consts::FLOW_ANSWERED | consts::FLOW_DSR) != 0;
    let state = if flow.state == consts::FLOW_CLOSED || tcp & RST != 0 || all & FINS == FINS {
        consts::FLOW_CLOSED
    } else if all & FINS != 0 {
        consts::FLOW_CLOSING
    } else if flow.state == consts::FLOW_NEW && flow.is_orig && answered && tcp & ACK != 0 {
        consts::FLOW_ESTABLISHED
    } else {
        flow.state
    };
    (state, add)
}
