//! Where a packet goes next: decided, then done.

use terrace_abi::{Reason, consts};

use crate::flows::Tuple;
use crate::frame::{pop_tags, set_macs};
use crate::model::{Hook, Out, Pass};
use crate::world::{Endpoint, Hop};

#[derive(Debug, Clone, Copy)]
pub(crate) enum To {
    /// Into a local workload's namespace, or out of its interface.
    Workload([u8; 6], [u8; 6]),
    /// To this host's stack.
    Stack,
    /// To this host's stack, which makes fragments of it.
    Fragments,
    /// The kernel resolves the next hop.
    Neighbour,
    /// Out of an interface.
    Out(u32, [u8; 6], [u8; 6]),
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Way {
    pub to: To,
    pub hops: u8,
}

/// Why a way can't be taken; the MTU that a packet is too big for.
pub(crate) type Blocked = (Reason, u32);

impl Pass<'_> {
    /// The way for a packet whose headers become `to`; `local` = its
    /// destination may be this host or a workload.
    pub fn find_way(&self, to: &Tuple, local: bool) -> Result<Way, Blocked> {
        if local && self.hook == Hook::Xdp {
            return Err((Reason::ToTc, 0));
        }
        let (_, dst) = self.world().endpoint(to.dst);
        if local && dst.has(consts::ENDPOINT_WORKLOAD) {
            return self.way_to_workload(&dst);
        }
        if local && dst.has(consts::ENDPOINT_HOST) {
            if self.hook.is_egress() {
                return Err((Reason::Loop, 0));
            }
            return Ok(Way {
                to: To::Stack,
                hops: 0,
            });
        }
        self.way_out(to, 0)
    }

    fn way_to_workload(&self, dst: &Endpoint) -> Result<Way, Blocked> {
        let hops = u8::from(self.hook.is_ingress());
        if hops > 0 && self.facts.ttl <= 1 {
            return Err((Reason::TtlExpired, 0));
        }
        let to = if !self.hook.is_ingress() && self.iface.ifindex == dst.ifindex {
            To::Stack
        } else if dst.mac == [0; 6] {
            To::Neighbour
        } else {
            To::Workload(dst.mac, dst.iface_mac)
        };
        Ok(Way { to, hops })
    }

    /// Out into the network; `extra` bytes are put in front.
    pub fn way_out(&self, to: &Tuple, extra: u32) -> Result<Way, Blocked> {
        let is_xdp = self.hook == Hook::Xdp;
        let hops = u8::from(!self.hook.is_egress());
        let hop = self.world().hop(to.dst);
        if hop == Hop::None {
            return Err((Reason::NoRoute, 0));
        }
        if hops > 0 && self.facts.ttl <= 1 {
            return Err((Reason::TtlExpired, 0));
        }
        let (ifindex, mtu, smac, dmac) = match hop {
            Hop::Known {
                ifindex,
                mtu,
                smac,
                dmac,
            } => (ifindex, mtu - extra, smac, dmac),
            Hop::Unresolved { .. } if is_xdp => return Err((Reason::NoNeighbour, 0)),
            Hop::Unresolved { .. } => {
                let to = To::Neighbour;
                return Ok(Way { to, hops });
            }
            Hop::None => unreachable!("has returned"),
        };
        if is_xdp && !self.xdp_can_send(ifindex) {
            return Err((Reason::ToTc, 0));
        }
        if self.facts.len <= mtu as usize {
            let to = To::Out(ifindex, dmac, smac);
            return Ok(Way { to, hops });
        }
        match (self.facts.dont_fragment, is_xdp) {
            (true, _) => Err((Reason::TooBig, mtu)),
            (false, true) => Err((Reason::ToTc, 0)),
            (false, false) => Ok(Way {
                to: To::Fragments,
                hops: 0,
            }),
        }
    }

    fn xdp_can_send(&self, ifindex: u32) -> bool {
        let to = self.world().iface(ifindex);
        ifindex == self.iface.ifindex || to.is_some_and(|iface| iface.xdp)
    }

    /// Sends the translated packet; the reason says where to.
    pub fn take_way(&mut self, way: &Way) -> Reason {
        match way.to {
            To::Stack => Reason::ToHost,
            To::Fragments => Reason::ToFragment,
            To::Neighbour => {
                self.out = Out::Elsewhere;
                Reason::ToNeighbour
            }
            To::Workload(dmac, smac) => {
                self.out = Out::Elsewhere;
                set_macs(&mut self.frame, dmac, smac);
                pop_tags(&mut self.frame, &self.facts);
                Reason::ToWorkload
            }
            To::Out(ifindex, dmac, smac) => {
                set_macs(&mut self.frame, dmac, smac);
                let (reason, out) = match (ifindex == self.iface.ifindex, self.hook.is_egress()) {
                    (true, true) => (Reason::Redirect, Out::Stack),
                    (true, false) => (Reason::Tx, Out::Back),
                    (false, _) => (Reason::Redirect, Out::Elsewhere),
                };
                self.out = out;
                reason
            }
        }
    }
}
