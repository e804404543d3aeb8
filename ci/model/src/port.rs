//! The l7 port: what workers send.

use std::net::IpAddr;

use terrace_abi::hash::address_from_bytes;
use terrace_abi::{Reason, consts};
use terrace_l7::splice::Splice;
use terrace_l7::tcp::Endpoint;

use crate::facts::{ACK, FIN, RST, SYN};
use crate::flows::{Flow, Key, Tuple};
use crate::l7::Spliced;
use crate::model::Pass;
use crate::open::from_here;
use crate::policy::judge;
use crate::rewrite::take_hops;

/// Why a frame is no worker's.
pub(crate) fn foreign(frame: &[u8]) -> Option<Reason> {
    if frame.len() < 14 {
        return Some(Reason::Truncated);
    }
    let kind = u32::from(frame[1]);
    let ours = u32::from(frame[0]) == consts::L7_MAGIC
        && (kind == consts::L7_TO_CLIENT || kind == consts::L7_TO_SERVER);
    (!ours).then_some(Reason::L7Unfit)
}

impl Pass<'_> {
    /// A SYN to a server makes the flow, FIN and RST end it; everything is
    /// delivered as it is.
    pub fn port(&mut self) -> Reason {
        let parsed = crate::facts::transport(&self.frame, &mut self.facts)
            .and_then(|()| crate::facts::addresses(&self.facts));
        if let Err(reason) = parsed {
            return reason;
        }
        if self.is_unfit() || !self.facts.is_tcp() {
            return Reason::L7Unfit;
        }
        let to_server = u32::from(self.frame[1]) == consts::L7_TO_SERVER;
        let tcp = self.facts.tcp_flags;
        if to_server && tcp & (SYN | ACK) == SYN {
            if let Err(reason) = self.open_l7() {
                return reason;
            }
        } else if to_server && tcp & (FIN | RST) != 0 {
            self.close_l7();
        }
        self.deliver()
    }

    fn close_l7(&mut self) {
        let reply = self.facts.key.reversed();
        let flow = self.model.flows.get(&reply).copied();
        if let Some(flow) = flow.filter(|flow| flow.flags & consts::FLOW_L7 != 0) {
            self.follow(flow.peer);
        }
    }

    fn open_l7(&mut self) -> Result<(), Reason> {
        let number = self.frame[4..8].try_into().expect("four bytes");
        let number = u32::from_le_bytes(number);
        let spliced = self.world().l7.splices.get(&number).copied();
        let spliced = spliced.ok_or(Reason::L7Unfit)?;
        let splice = &spliced.splice;
        let sent = self.facts.key;
        if key(splice.source, splice.server) != sent {
            return Err(Reason::L7Unfit);
        }
        let client = key(splice.client, splice.service);
        let world = self.world();
        let (src, dst) = (world.endpoint(client.src).1, world.endpoint(sent.dst).1);
        match judge(world, &src, &dst, sent.proto, sent.dport) {
            None | Some(Reason::ToWorker) => (),
            Some(refused) => return Err(refused),
        }
        let mut flags = consts::FLOW_L7 | consts::FLOW_NAT;
        if src.is_local() || dst.is_local() {
            flags |= consts::FLOW_LOCAL;
        }
        if (src.flags | dst.flags) & consts::ENDPOINT_WORKLOAD != 0 {
            flags |= consts::FLOW_POLICY;
        }
        self.bind(client, sent.tuple(), (number, flags, &spliced))
    }

    fn bind(
        &mut self,
        client: Key,
        to: Tuple,
        (number, flags, spliced): (u32, u32, &Spliced),
    ) -> Result<(), Reason> {
        let old = self.model.flows.get(&client).copied();
        let again = |flow: Flow| {
            flow.flags & consts::FLOW_L7 != 0
                && flow.is_orig
                && (flow.service, flow.to) == (number, to)
        };
        if old.is_some_and(again) {
            return Ok(());
        }
        self.forget(client);
        let reply = self.facts.key.reversed();
        let taken = self.model.flows.get(&reply).copied();
        match taken {
            Some(flow)
                if flow.flags & consts::FLOW_L7 == 0
                    || self.is_lived_in(flow.service, number, &spliced.splice) =>
            {
                return Err(Reason::SnatPortsFull);
            }
            Some(_) => self.forget(reply),
            None => (),
        }
        let from = |address| from_here(&self.world().endpoint(address).1);
        let flow = Flow {
            is_orig: true,
            to,
            peer: reply,
            state: consts::FLOW_NEW,
            flags: flags | from(client.src),
            policy_rev: self.world().policy_rev,
            backend: spliced.backend,
            service: number,
        };
        let back = Flow {
            is_orig: false,
            to: client.reversed().tuple(),
            peer: client,
            flags: flags | from(to.dst),
            ..flow
        };
        self.model.flows.insert(client, flow);
        self.model.flows.insert(reply, back);
        Ok(())
    }

    /// Another flow still has this source and server.
    fn is_lived_in(&self, by: u32, number: u32, wanted: &Splice) -> bool {
        let held = self.world().l7.splices.get(&by);
        let ends = |splice: &Splice| (splice.source, splice.server);
        by != number && held.is_some_and(|held| ends(&held.splice) == ends(wanted))
    }

    fn deliver(&mut self) -> Reason {
        let to = self.facts.key.tuple();
        match self.find_way(&to, true) {
            Ok(way) => {
                take_hops(&mut self.frame, &self.facts, way.hops);
                self.take_way(&way)
            }
            Err((Reason::TooBig, _)) => Reason::ToFragment,
            Err((reason, _)) => reason,
        }
    }
}

fn key(from: Endpoint, to: Endpoint) -> Key {
    let address = |end: Endpoint| -> IpAddr { address_from_bytes(&end.ip) };
    Key {
        src: address(from),
        dst: address(to),
        sport: from.port,
        dport: to.port,
        proto: crate::facts::TCP,
    }
}
