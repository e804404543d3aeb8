//! New flows: service, backend, source, policy.

use terrace_abi::{Reason, consts};

use crate::answer;
use crate::facts::{ACK, Facts, Icmp, RST, SYN, UDP};
use crate::flows::{Flow, Key, Tuple};
use crate::model::{Hook, Pass};
use crate::policy::judge;
use crate::world::{Endpoint, Hop, Service};

/// How often another source port is tried.
const SNAT_ATTEMPTS: u32 = 20;

/// A flow about to be made.
struct Opening {
    to: Tuple,
    flags: u32,
    backend: u32,
    service: u32,
    src: (usize, Endpoint),
    dst: (usize, Endpoint),
}

impl Pass<'_> {
    /// The reason when the packet's way ends here; `None` = it has a flow now.
    pub fn open(&mut self) -> Option<Reason> {
        let key = self.facts.key;
        let mut opening = Opening {
            to: key.tuple(),
            flags: 0,
            backend: 0,
            service: 0,
            src: self.world().endpoint(key.src),
            dst: self.dst,
        };
        if self.hook.is_from_network()
            && self.world().flags & consts::CONFIG_CHECK_SOURCE != 0
            && opening.src.1.is_local()
        {
            return Some(Reason::BadSource);
        }
        let service = self.world().service(key.dst, key.dport, key.proto);
        match service {
            Some(index) => {
                let service = self.world().services[index].clone();
                opening.service = index as u32;
                if let Err(reason) = self.steer(&service, &mut opening) {
                    return Some(reason);
                }
            }
            None if self.dst.1.has(consts::ENDPOINT_VIRTUAL) => {
                return Some(self.refuse([
                    Reason::NoServiceReset,
                    Reason::NoServiceReject,
                    Reason::NoService,
                ]));
            }
            None => (),
        }
        let ends = opening.src.1.flags | opening.dst.1.flags;
        if service.is_none() && ends & consts::ENDPOINT_WORKLOAD == 0 {
            return Some(Reason::NotOurs);
        }
        self.admit(service.is_some(), &mut opening)
    }

    /// Policy, then the flow's slots.
    fn admit(&mut self, is_service: bool, opening: &mut Opening) -> Option<Reason> {
        let (src, dst) = (opening.src.1, opening.dst.1);
        if self.hook == Hook::Xdp && !is_service {
            return Some(Reason::ToTc);
        }
        if src.is_local() || dst.is_local() {
            opening.flags |= consts::FLOW_LOCAL;
        }
        // A policy may select either of them only later.
        if (src.flags | dst.flags) & consts::ENDPOINT_WORKLOAD != 0 {
            opening.flags |= consts::FLOW_POLICY;
        }
        if self.hook != Hook::Xdp {
            let port = self.policy_port(opening.to.dport);
            let refused = judge(self.world(), &src, &dst, self.facts.key.proto, port);
            if refused == Some(Reason::ToWorker) {
                return Some(self.give_to_worker(None, consts::FAIL_CLOSED));
            }
            if refused.is_some() {
                return refused;
            }
        }
        if self.facts.is_icmp() && self.facts.icmp != Icmp::Echo {
            return Some(self.forward(&opening.to, opening.flags));
        }
        self.track(opening)
    }

    fn refuse(&mut self, reasons: [Reason; 3]) -> Reason {
        let (reason, answer) = answer::refuse(&self.frame, &self.facts, reasons);
        match answer {
            Some(frame) => self.answer(reason, frame),
            None => reason,
        }
    }

    /// Chooses backend and source.
    fn steer(&mut self, service: &Service, opening: &mut Opening) -> Result<(), Reason> {
        opening.flags |= match service.fail_mode {
            consts::FAIL_OPEN => consts::FLOW_FAIL_OPEN,
            consts::FAIL_CLOSED => consts::FLOW_FAIL_CLOSED,
            _ => 0,
        };
        if let Some(reason) = self.fail_mode(opening.flags) {
            return Err(reason);
        }
        if service.flags & consts::SERVICE_L7 != 0 && self.facts.is_tcp() {
            return Err(self.give_to_worker(None, service.fail_mode));
        }
        self.first_segment(service)?;
        let backend = self.backend(service);
        let Some(chosen) = self.world().backends[backend as usize] else {
            return Err(if service.flags & consts::SERVICE_REJECT == 0 {
                Reason::NoBackend
            } else {
                self.refuse([
                    Reason::NoBackendReset,
                    Reason::NoBackendReject,
                    Reason::NoBackend,
                ])
            });
        };
        opening.backend = backend;
        opening.to.dst = chosen.address;
        opening.to.dport = chosen.port;
        opening.flags |= consts::FLOW_NAT;
        opening.dst = self.world().endpoint(chosen.address);
        let dst = opening.dst.1;
        if dst.has(consts::ENDPOINT_VIRTUAL) {
            return Err(Reason::Loop);
        }
        if dst.is_local() && self.hook == Hook::Xdp {
            return Err(Reason::ToTc);
        }
        if service.flags & consts::SERVICE_DSR != 0 && !dst.is_local() {
            opening.flags |= consts::FLOW_DSR;
            return Ok(());
        }
        self.choose_source(opening)
    }

    /// A TCP flow begins with a SYN.
    fn first_segment(&mut self, service: &Service) -> Result<(), Reason> {
        let flags = self.facts.tcp_flags;
        if !self.facts.is_tcp() || flags & (SYN | ACK | RST) == SYN {
            return Ok(());
        }
        if service.flags & consts::SERVICE_REJECT == 0 || flags & RST != 0 {
            return Err(Reason::NoFlow);
        }
        if self.facts.part == crate::facts::Part::Later {
            return Err(Reason::NoFlow);
        }
        let frame = answer::reset(&self.frame, &self.facts);
        Err(self.answer(Reason::NoFlowReset, frame))
    }

    fn backend(&mut self, service: &Service) -> u32 {
        let slot = self.facts.key.hash(self.world().seed) >> 32;
        let ring = &service.ring;
        let by_ring = match ring.len() {
            0 => 0,
            len => ring[slot as usize % len],
        };
        if service.flags & consts::SERVICE_AFFINITY == 0 {
            return by_ring;
        }
        let client = (self.facts.key.src, service.group);
        let ready = |index: &u32| {
            let backend = self.model.world.backends[*index as usize];
            backend.is_some_and(|backend| {
                backend.flags & consts::BACKEND_READY != 0 && backend.group == service.group
            })
        };
        let known = self.model.affinities.get(&client).copied().filter(ready);
        let chosen = known.unwrap_or(by_ring);
        if chosen != 0 {
            self.model.affinities.insert(client, chosen);
        }
        chosen
    }

    /// The client's address where the answer comes back here anyway, else one
    /// of the interface that leads to the backend.
    fn choose_source(&mut self, opening: &mut Opening) -> Result<(), Reason> {
        let family = usize::from(!self.facts.is_v4);
        let world = self.world();
        let source = if opening.src.0 == opening.dst.0 && opening.dst.1.is_local() {
            world.host.map(|host| host[family])
        } else if opening.src.1.is_local() || opening.dst.1.is_local() {
            return Ok(());
        } else {
            let ifindex = match world.hop(opening.to.dst) {
                Hop::None => return Err(Reason::NoRoute),
                Hop::Unresolved { ifindex } | Hop::Known { ifindex, .. } => ifindex,
            };
            let iface = world.iface(ifindex);
            iface.map(|iface| iface.addresses[family])
        };
        let source = source.filter(|address| !address.is_unspecified());
        opening.to.src = source.ok_or(Reason::NoRoute)?;
        opening.flags |= consts::FLOW_SNAT;
        Ok(())
    }

    /// Records both directions.
    fn track(&mut self, opening: &mut Opening) -> Option<Reason> {
        let key = self.facts.key;
        let Some(reply) = self.reply_key(opening) else {
            return Some(Reason::SnatPortsFull);
        };
        let flow = Flow {
            is_orig: true,
            to: opening.to,
            peer: reply,
            state: first_state(&self.facts),
            flags: opening.flags | from_here(&opening.src.1),
            policy_rev: self.world().policy_rev,
            backend: opening.backend,
            service: opening.service,
        };
        let back = Flow {
            is_orig: false,
            to: key.reversed().tuple(),
            peer: key,
            flags: opening.flags | from_here(&opening.dst.1),
            ..flow
        };
        self.model.flows.insert(key, flow);
        self.model.flows.insert(reply, back);
        None
    }

    /// A key for the answers that no other flow has.
    fn reply_key(&self, opening: &mut Opening) -> Option<Key> {
        let key = self.facts.key;
        if opening.flags & consts::FLOW_DSR != 0 {
            let reply = key.reversed();
            return (!self.model.flows.contains_key(&reply)).then_some(reply);
        }
        let (first, last) = self.world().snat_ports;
        let hash = key.hash(self.world().seed) as u32;
        for attempt in 0..SNAT_ATTEMPTS {
            if attempt > 0 && self.facts.has_ports() {
                opening.flags |= consts::FLOW_SNAT | consts::FLOW_NAT;
            }
            if opening.flags & consts::FLOW_SNAT != 0 {
                let range = u32::from(last - first) + 1;
                let nth = hash.wrapping_add(attempt * 0x9E37) % range;
                opening.to.sport = first + nth as u16;
            }
            let Tuple {
                src,
                dst,
                sport,
                dport,
            } = opening.to;
            let sent = Key {
                src,
                dst,
                sport,
                dport,
                proto: key.proto,
            };
            let reply = sent.reversed();
            if !self.model.flows.contains_key(&reply) {
                return Some(reply);
            }
            if opening.flags & consts::FLOW_SNAT == 0 && !self.facts.has_ports() {
                return None;
            }
        }
        None
    }
}

fn first_state(facts: &Facts) -> u32 {
    match facts.key.proto {
        _ if facts.is_tcp() => consts::FLOW_NEW,
        UDP => consts::FLOW_UDP,
        _ if facts.is_icmp() => consts::FLOW_ICMP,
        _ => consts::FLOW_OTHER,
    }
}

/// Of a flow's direction whose sender this is.
pub(crate) fn from_here(sender: &Endpoint) -> u32 {
    if sender.is_local() {
        consts::FLOW_FROM_HERE
    } else {
        0
    }
}
