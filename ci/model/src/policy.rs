//! Policy on identities: deny beats allow, default deny once selected.

use terrace_abi::{Reason, consts};

use crate::world::{Endpoint, Rule, World};

/// The reason why a connection is refused, if it is. `port` is the backend's,
/// or the ICMP type.
pub(crate) fn judge(
    world: &World,
    src: &Endpoint,
    dst: &Endpoint,
    proto: u8,
    port: u16,
) -> Option<Reason> {
    if src.has(consts::ENDPOINT_EGRESS)
        && let Some(deny) = verdict(world, src, dst, consts::DIRECTION_EGRESS, proto, port)
    {
        return Some(match deny {
            Refusal::Rule => Reason::EgressDenied,
            Refusal::Default => Reason::EgressDefault,
        });
    }
    let from_host =
        src.has(consts::ENDPOINT_HOST) && world.flags & consts::CONFIG_HOST_INGRESS != 0;
    if !dst.has(consts::ENDPOINT_INGRESS) || from_host {
        return None;
    }
    let deny = verdict(world, dst, src, consts::DIRECTION_INGRESS, proto, port)?;
    Some(match deny {
        Refusal::Rule => Reason::IngressDenied,
        Refusal::Default => Reason::IngressDefault,
    })
}

enum Refusal {
    Rule,
    Default,
}

fn verdict(
    world: &World,
    subject: &Endpoint,
    remote: &Endpoint,
    direction: u32,
    proto: u8,
    port: u16,
) -> Option<Refusal> {
    let of = |rule: &&Rule| {
        rule.subject == subject.identity
            && rule.direction == direction
            && (rule.remote == 0 || rule.remote == remote.identity)
            && rule.names(proto, port)
    };
    let mut rules = world.rules.iter().filter(of).peekable();
    if rules.peek().is_none() {
        return Some(Refusal::Default);
    }
    rules.any(|rule| rule.deny).then_some(Refusal::Rule)
}

impl Rule {
    fn names(&self, proto: u8, port: u16) -> bool {
        self.ports
            .is_none_or(|(of, first, last)| of == proto && (first..=last).contains(&port))
    }
}
