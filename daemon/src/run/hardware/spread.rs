//! Requests for workers, led by NICs to the queues that workers read.
//!
//! Only where workers read some of an uplink's queues: where they read all of them, the
//! NIC's own hash spreads requests over them. What comes by another queue goes by the l7
//! port, so that rules may be missing, all or some.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

use terrace_offload::classifier::{self, Kind, Nic, Rule};
use terrace_offload::plan::{NicState, Ways};
use terrace_offload::verdict::NicTier;

use super::{Hardware, Host};
use crate::api;
use crate::netlink::Link;
use crate::render::units::plural;
use crate::run::events::Kind as Event;

/// So many of an uplink's queues have readers, the first ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reach {
    pub read: u32,
    pub of: u32,
}

/// What leads requests in one NIC, and what it was put there for.
#[derive(Debug)]
pub struct Led {
    link: Link,
    tried: Tried,
    rules: BTreeSet<Rule>,
    state: NicState,
}

#[derive(Debug)]
struct Tried {
    fronts: Arc<[SocketAddr]>,
    reach: Reach,
    way: Result<(), (String, String)>,
}

impl Tried {
    fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.fronts, &other.fronts)
            && self.reach == other.reach
            && self.way == other.way
    }
}

impl Hardware {
    /// Leads requests to the queues of one uplink that workers read; says what comes by
    /// the others, and why. Empty = all are read.
    pub fn lead(
        &mut self,
        host: Host<'_>,
        link: &Link,
        ways: Option<Ways>,
        reach: Reach,
    ) -> String {
        if reach.read >= reach.of {
            self.unlead(host, link.ifindex);
            return String::new();
        }
        let wish = match host.config.offload.l7_queues {
            true => ways.map(|ways| ways.queues),
            false => Some(Err(off())),
        };
        let unknown = || {
            Err((
                "nobody knows the NIC".to_owned(),
                "nothing to do".to_owned(),
            ))
        };
        let tried = Tried {
            fronts: Arc::clone(host.l7_fronts),
            reach,
            way: wish.unwrap_or_else(unknown),
        };
        let before = self.led.get(&link.ifindex);
        if !before.is_some_and(|led| led.tried.is_same(&tried) && led.is_there()) {
            self.lead_anew(host, link, tried);
        }
        let led = self.led.get(&link.ifindex);
        led.map_or_else(String::new, |led| words(&led.state, reach))
    }

    fn lead_anew(&mut self, host: Host<'_>, link: &Link, tried: Tried) {
        let was = self.led.remove(&link.ifindex);
        let (rules, state) = match &tried.way {
            Ok(()) => self.put_queues(host, link, &tried),
            Err((why, fix)) => {
                self.clear_queues(host, link.ifindex);
                let (why, fix) = (why.clone(), fix.clone());
                (BTreeSet::new(), NicState::Closed { why, fix })
            }
        };
        if was.is_none_or(|was| was.state != state) {
            tell(host, &link.name, &state);
        }
        let led = Led {
            link: link.clone(),
            tried,
            rules,
            state,
        };
        self.led.insert(link.ifindex, led);
    }

    fn put_queues(&self, host: Host<'_>, link: &Link, tried: &Tried) -> (BTreeSet<Rule>, NicState) {
        let limit = host.config.offload.entries as usize;
        let mut refusals = Vec::new();
        for mut wanted in ways(&tried.fronts, tried.reach) {
            let of = wanted.len();
            wanted.truncate(limit);
            let outcome = match self.record.sync(link.ifindex, Kind::Queue, &wanted) {
                Ok(outcome) => outcome,
                Err(no) => {
                    refusals.push(no.evidence());
                    break;
                }
            };
            let why = outcome.refused.map(|refused| refused.no.evidence());
            if outcome.held > 0 {
                let state = NicState::Held {
                    tier: NicTier::HwNic,
                    held: outcome.held,
                    of,
                    next: why,
                };
                return (outcome.owned, state);
            }
            refusals.extend(why);
        }
        refusals.dedup();
        let state = match refusals.join("; ") {
            why if why.is_empty() => NicState::Nothing,
            why => NicState::Refused {
                why,
                fix: "set offload.l7_queues to false, or read all queues".to_owned(),
            },
        };
        (BTreeSet::new(), state)
    }

    /// Nobody reads queues there.
    pub fn unlead(&mut self, host: Host<'_>, ifindex: u32) {
        if self.led.remove(&ifindex).is_some() {
            self.clear_queues(host, ifindex);
        }
    }

    fn clear_queues(&self, host: Host<'_>, ifindex: u32) {
        if let Err(no) = self.record.clear(ifindex, Kind::Queue) {
            let what = format!("rules in the NIC of link {ifindex}: {}", no.evidence());
            host.events.tell(Event::KernelRefused, what);
        }
    }

    pub(super) fn shown_queues(&self) -> impl Iterator<Item = api::NicFront> {
        self.led.iter().filter_map(|(ifindex, led)| {
            let NicState::Held { held, of, .. } = led.state else {
                return None;
            };
            Some(api::NicFront {
                iface: led.link.name.clone(),
                ifindex: *ifindex,
                part: "l7-queues".to_owned(),
                way: NicTier::HwNic.name().to_owned(),
                held,
                of,
                program_id: None,
                packets: 0,
                bytes: 0,
            })
        })
    }
}

impl Led {
    /// Somebody may have taken rules out.
    fn is_there(&self) -> bool {
        if self.rules.is_empty() {
            return true;
        }
        let iface = self.link.name.clone();
        classifier::holds(&mut Nic { iface }, &self.rules).unwrap_or(false)
    }
}

fn off() -> (String, String) {
    let why = "the configuration leads no requests by NICs".to_owned();
    (why, "set offload.l7_queues to true".to_owned())
}

/// Rules for all requests, the better way first: those of one service over all queues by
/// the clients' ports; each service whole to one queue, for NICs that match whole ports.
fn ways(fronts: &[SocketAddr], reach: Reach) -> Vec<Vec<Rule>> {
    let bits = reach.read.checked_ilog2().unwrap_or(0).min(8);
    let whole = fronts.iter().zip((0..reach.read).cycle());
    let whole = whole.map(|(to, queue)| Rule::Queue {
        to: *to,
        ports: [0, 0],
        queue,
    });
    let whole: Vec<Rule> = whole.collect();
    if bits == 0 {
        return vec![whole];
    }
    let n = 1_u16 << bits;
    // Linux gives connecting sockets even ports first, so that the lowest bit tells little.
    let by_port = fronts.iter().flat_map(|to| {
        (0..n).map(|part| Rule::Queue {
            to: *to,
            ports: [part << 1, (n - 1) << 1],
            queue: u32::from(part),
        })
    });
    vec![by_port.collect(), whole]
}

fn words(state: &NicState, reach: Reach) -> String {
    let Reach { read, of } = reach;
    let some = format!("{read} of its {} are read", plural(of as usize, "queue"));
    let rest = "what comes by the others goes by the l7 port";
    match state {
        NicState::Held { held, of, .. } if held == of => {
            format!(
                "{some}; the NIC leads requests there by {}",
                plural(*held, "rule")
            )
        }
        NicState::Held { held, of, next, .. } => {
            let next = next.as_deref().unwrap_or("the budget of rules is spent");
            format!("{some}; the NIC leads requests there by {held} of {of} rules ({next}); {rest}")
        }
        NicState::Closed { why, fix } | NicState::Refused { why, fix } => {
            format!("{some}; {rest}: {why} ({fix})")
        }
        _ => format!("{some}; {rest}"),
    }
}

fn tell(host: Host<'_>, iface: &str, state: &NicState) {
    match state {
        NicState::Held { held, of, .. } => {
            let what = format!("{iface}: {held} of {of} rules lead requests to workers' queues");
            host.events.tell(Event::NicHolds, what);
        }
        NicState::Refused { why, .. } => {
            let what = format!("{iface}: the NIC leads no requests to workers' queues: {why}");
            host.events.tell(Event::TierFallback, what);
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_spread_over_the_queues_that_are_read() {
        let ends = ["10.96.0.1:80", "[2001:db8::1]:443", "10.96.0.2:8080"];
        let fronts: Vec<SocketAddr> = ends
            .iter()
            .map(|end| end.parse().expect("an end"))
            .collect();
        // Queues that are read | of each way its rules: service, port's bits, queue.
        let rows = [
            (1, vec!["0:0/0>0 1:0/0>0 2:0/0>0"]),
            (
                2,
                vec![
                    "0:0/2>0 0:2/2>1 1:0/2>0 1:2/2>1 2:0/2>0 2:2/2>1",
                    "0:0/0>0 1:0/0>1 2:0/0>0",
                ],
            ),
            // A power of two is what bits can tell apart; whole services use the third, too.
            (
                3,
                vec![
                    "0:0/2>0 0:2/2>1 1:0/2>0 1:2/2>1 2:0/2>0 2:2/2>1",
                    "0:0/0>0 1:0/0>1 2:0/0>2",
                ],
            ),
        ];
        for (read, expected) in rows {
            let found = ways(&fronts, Reach { read, of: 8 });
            let text = |rules: &Vec<Rule>| {
                let one = |rule: &Rule| match rule {
                    Rule::Queue { to, ports, queue } => {
                        let at = fronts.iter().position(|front| front == to).expect("one");
                        format!("{at}:{}/{}>{queue}", ports[0], ports[1])
                    }
                    Rule::Deny(_) => String::new(),
                };
                rules.iter().map(one).collect::<Vec<_>>().join(" ")
            };
            let found: Vec<String> = found.iter().map(text).collect();
            assert_eq!(found, expected, "{read}");
        }
        let none = ways(&[], Reach { read: 2, of: 8 });
        assert!(none.iter().all(Vec::is_empty));
    }

    #[test]
    fn what_comes_by_other_queues_is_said_with_the_reason() {
        let held = |held, next: Option<&str>| NicState::Held {
            tier: NicTier::HwNic,
            held,
            of: 4,
            next: next.map(str::to_owned),
        };
        let refused = NicState::Refused {
            why: "-EOPNOTSUPP".to_owned(),
            fix: "nothing to do".to_owned(),
        };
        let rows = [
            (
                held(4, None),
                "2 of its 8 queues are read; the NIC leads requests there by 4 rules",
            ),
            (
                held(3, Some("-ENOSPC")),
                "by 3 of 4 rules (-ENOSPC); what comes by the others goes",
            ),
            (held(3, None), "the budget of rules is spent"),
            (refused, "goes by the l7 port: -EOPNOTSUPP (nothing to do)"),
            (
                NicState::Nothing,
                "what comes by the others goes by the l7 port",
            ),
        ];
        for (state, part) in rows {
            let said = words(&state, Reach { read: 2, of: 8 });
            assert!(said.contains(part), "{said}");
        }
    }
}
