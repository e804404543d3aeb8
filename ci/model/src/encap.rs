//! Direct server return: the packet as it is, inside another.

use terrace_abi::Reason;

use crate::flows::Tuple;
use crate::frame::ip_header;
use crate::model::Pass;
use crate::rewrite::take_hops;
use crate::way::To;

const IPIP: u8 = 4;
const IP6IP6: u8 = 41;

impl Pass<'_> {
    pub fn encapsulate(&mut self, to: &Tuple) -> Reason {
        let facts = self.facts;
        let outer = Tuple {
            src: self.iface.addresses[usize::from(!facts.is_v4)],
            ..*to
        };
        let way = match self.way_out(&outer, facts.header_len() as u32) {
            Ok(way) => way,
            Err(blocked) => return self.blocked(blocked),
        };
        if matches!(way.to, To::Fragments) {
            return Reason::ToFragment;
        }
        take_hops(&mut self.frame, &facts, way.hops);
        let proto = if facts.is_v4 { IPIP } else { IP6IP6 };
        let header = ip_header(outer.src, outer.dst, proto, facts.len);
        self.frame.splice(facts.l3..facts.l3, header);
        self.take_way(&way);
        Reason::Encapsulated
    }
}
