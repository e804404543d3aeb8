//! Policy on identities: deny beats allow, default deny once selected.

use terrace_abi::{Reason, consts};

use crate::facts::TCP;
use crate::world::{Endpoint, Rule, World};

/// The reason why a connection is refused, if it is; [`Reason::ToWorker`] = it
/// is allowed, and its requests are for a worker to judge. `port` is the backend's,
/// or the ICMP type.
pub(crate) fn judge(
    world: &World,
    src: &Endpoint,
    dst: &Endpoint,
    proto: u8,
    port: u16,
) -> Option<Reason> {
    if src == dst && src.has(consts::ENDPOINT_WORKLOAD) {
        return None;
    }
    let mut worker = None;
    if src.has(consts::ENDPOINT_EGRESS)
        && let Some(deny) = verdict(world, src, dst, consts::DIRECTION_EGRESS, proto, port)
    {
        worker = Some(match deny {
            Refusal::Rule => return Some(Reason::EgressDenied),
            Refusal::Default => return Some(Reason::EgressDefault),
            Refusal::Worker => Reason::ToWorker,
        });
    }
    let from_host =
        src.has(consts::ENDPOINT_HOST) && world.flags & consts::CONFIG_HOST_INGRESS != 0;
    if !dst.has(consts::ENDPOINT_INGRESS) || from_host {
        return worker;
    }
    match verdict(world, dst, src, consts::DIRECTION_INGRESS, proto, port) {
        Some(Refusal::Rule) => Some(Reason::IngressDenied),
        Some(Refusal::Default) => Some(Reason::IngressDefault),
        Some(Refusal::Worker) => Some(Reason::ToWorker),
        None => worker,
    }
}

enum Refusal {
    Rule,
    Default,
    /// Not refused, but a worker has to look at the requests.
    Worker,
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
    let rules: Vec<&Rule> = world.rules.iter().filter(of).collect();
    if rules.is_empty() {
        return Some(Refusal::Default);
    }
    if rules.iter().any(|rule| rule.deny) {
        return Some(Refusal::Rule);
    }
    let all_l7 = proto == TCP && rules.iter().all(|rule| rule.l7);
    all_l7.then_some(Refusal::Worker)
}

impl Rule {
    fn names(&self, proto: u8, port: u16) -> bool {
        self.ports
            .is_none_or(|(of, first, last)| of == proto && (first..=last).contains(&port))
    }
}
