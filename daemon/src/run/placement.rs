//! From the configuration and this machine to the planner.

use std::collections::BTreeMap;

use terrace_offload::ask::Live;
use terrace_offload::facts::{Fact, HostFacts, InterfaceFacts};
use terrace_offload::plan::{Held, NicState};
use terrace_offload::probe::{self, Options, Survey};
use terrace_offload::{
    Demand, Machine, Placement, Plan, Policy, Profiles, Refusal, Role, Tier, Wishes,
};

use crate::config::InterfaceRule;
use crate::netlink::{Link, Network};

/// XDP programs that the kernel refused: by interface, the tier and why.
pub type Refused = BTreeMap<(String, Tier), String>;

/// What the interfaces that have a role can do. Uplinks are asked everything that
/// can be asked without touching them; of workloads, which are always served in
/// tc, the kind is enough.
pub fn survey<'i>(
    network: &Network,
    wanted: impl Iterator<Item = &'i (Link, Role)> + Clone,
) -> Survey {
    let uplinks: Vec<&Link> = uplinks(wanted.clone()).collect();
    with_rest(&survey_uplinks(&uplinks), network, wanted)
}

/// The interfaces whose abilities decide what is planned.
pub fn uplinks<'i>(
    wanted: impl Iterator<Item = &'i (Link, Role)>,
) -> impl Iterator<Item = &'i Link> {
    let uplinks = wanted.filter(|(_, role)| *role == Role::Uplink);
    uplinks.map(|(link, _)| link)
}

/// The survey of the uplinks, and what is known of the others without asking.
pub fn with_rest<'i>(
    uplinks: &Survey,
    network: &Network,
    wanted: impl Iterator<Item = &'i (Link, Role)>,
) -> Survey {
    let mut survey = uplinks.clone();
    let is_known = |link: &Link| uplinks.interfaces.iter().any(|i| i.name == link.name);
    let rest = wanted.filter(|(link, _)| !is_known(link));
    survey
        .interfaces
        .extend(rest.map(|(link, _)| of_link(network, link)));
    survey
}

/// An interface may go at any moment: then the others are known all the same.
pub fn survey_uplinks(uplinks: &[&Link]) -> Survey {
    let options = |names: Vec<String>| Options {
        interfaces: names,
        ..Options::default()
    };
    let names: Vec<String> = uplinks.iter().map(|link| link.name.clone()).collect();
    if names.is_empty() {
        return Survey {
            host: host(),
            interfaces: Vec::new(),
        };
    }
    match probe::survey(&mut Live::default(), &options(names)) {
        Ok(survey) => survey,
        Err(error) => {
            tracing::warn!("the interfaces can't be surveyed: {error}");
            Survey {
                host: host(),
                interfaces: Vec::new(),
            }
        }
    }
}

/// What is needed of the host where no interface is surveyed.
fn host() -> HostFacts {
    HostFacts {
        kernel: probe::kernel().unwrap_or_default().to_string(),
        tcx: Some(probe::has_tcx()),
        ..HostFacts::default()
    }
}

fn of_link(network: &Network, link: &Link) -> InterfaceFacts {
    let mut facts = InterfaceFacts {
        ifindex: link.ifindex,
        name: link.name.clone(),
        ..InterfaceFacts::default()
    };
    let source = "rtnl.GETLINK";
    facts
        .facts
        .learn("link.mtu", Fact::declared(link.mtu, source));
    if !link.kind.is_empty() {
        let kind = Fact::declared(link.kind.as_str(), source);
        facts.facts.learn("id.kind", kind);
    }
    if let Some(controller) = network.links.get(&link.controller) {
        let name = Fact::declared(controller.name.as_str(), source);
        facts.facts.learn("link.controller", name);
    }
    facts
}

/// The wishes of the configuration's rules, interface by interface.
pub fn wishes<'i>(
    rules: &[InterfaceRule],
    interfaces: impl Iterator<Item = &'i (Link, Role)>,
) -> Wishes {
    let mut wishes = Wishes::default();
    for (link, _) in interfaces {
        let Some(rule) = rules.iter().find(|rule| rule.matcher.is_match(&link.name)) else {
            continue;
        };
        for (task, tiers) in &rule.tiers {
            for (tier, wish) in tiers {
                wishes.set(&link.name, *task, *tier, *wish);
            }
        }
    }
    wishes
}

/// What a daemon knows of an interface that it serves.
#[derive(Debug, Clone, Default)]
pub struct Served {
    /// Where XDP runs; `None` = at tc only.
    pub running: Option<Tier>,
    /// It is armed already.
    pub armed: bool,
    /// Why it does not move now.
    pub held: Option<Held>,
    /// What became of the deny list in its NIC.
    pub nic: Option<NicState>,
    /// And of what policy closes.
    pub nic_policy: Option<NicState>,
    /// And of hot flows.
    pub nic_flows: Option<NicState>,
}

/// What is wanted of each interface.
pub fn demands<'i>(
    interfaces: impl Iterator<Item = &'i (Link, Role)>,
    refused: &Refused,
    served: impl Fn(u32) -> Served,
) -> Vec<Demand> {
    let demand = |(link, role): &(Link, Role)| {
        let served = served(link.ifindex);
        let of_iface = refused.iter().filter(|((name, _), _)| *name == link.name);
        Demand {
            running: served.running,
            served: served.armed,
            held: served.held,
            nic: served.nic,
            nic_policy: served.nic_policy,
            nic_flows: served.nic_flows,
            refused: of_iface
                .map(|((_, tier), why)| (*tier, why.clone()))
                .collect(),
            ..Demand::new(&link.name, *role)
        }
    };
    interfaces.map(demand).collect()
}

/// Plans.
///
/// # Errors
/// Wishes that can't be met, one line each.
pub fn plan(
    survey: &Survey,
    profiles: &Profiles,
    demands: &[Demand],
    wishes: &Wishes,
    policy: Policy,
) -> Result<Plan, Vec<String>> {
    let machine = Machine {
        host: &survey.host,
        interfaces: &survey.interfaces,
        profiles,
    };
    met(terrace_offload::plan(machine, demands, wishes, policy))
}

/// A plan that meets all wishes.
///
/// # Errors
/// Those that can't be met, one line each.
pub fn met(plan: Plan) -> Result<Plan, Vec<String>> {
    if plan.refusals.is_empty() {
        return Ok(plan);
    }
    Err(plan.refusals.iter().map(unmet_wish).collect())
}

fn unmet_wish(refusal: &Refusal) -> String {
    format!(
        "{}: {} can't run on {}: {}; {}",
        refusal.iface, refusal.task, refusal.tier, refusal.why, refusal.fix
    )
}

/// What keeps a task from better tiers, a line for the NIC in front of the programs and
/// one for the programs; none when it is nothing that an operator should hear of.
pub fn fallbacks(placement: &Placement) -> Vec<String> {
    let first = |is_nic: bool| {
        let mut blockers = placement.blockers.iter();
        blockers.find(|b| !b.by_design && (b.tier == Tier::Nic) == is_nic)
    };
    let told = [first(true), first(false)].into_iter().flatten();
    told.map(|blocker| {
        format!(
            "{} of {} runs on {} and not on {}: {}; {}",
            placement.task, placement.iface, placement.tier, blocker.tier, blocker.why, blocker.fix
        )
    })
    .collect()
}

/// The settings that decide whether a refused tier is worth another trial.
pub fn settings(facts: &InterfaceFacts) -> BTreeMap<String, Fact> {
    const OF_SETTINGS: [&str; 6] = [
        "feat.",
        "priv.",
        "channels.",
        "rings.",
        "sriov.",
        "link.mtu",
    ];
    let is_setting = |key: &str| OF_SETTINGS.iter().any(|start| key.starts_with(start));
    let settings = facts.facts.0.iter().filter(|(key, _)| is_setting(key));
    settings
        .map(|(key, fact)| (key.clone(), fact.clone()))
        .collect()
}

#[cfg(test)]
mod tests {
    use terrace_offload::verdict::Disruption;
    use terrace_offload::{Task, Wish};

    use super::*;

    fn planned(refused: &Refused, wishes: &Wishes) -> Result<Plan, Vec<String>> {
        let mut facts = InterfaceFacts {
            name: "eth0".into(),
            ..InterfaceFacts::default()
        };
        facts
            .facts
            .learn("id.driver", Fact::declared("virtio_net", "test"));
        let survey = Survey {
            host: HostFacts {
                kernel: "6.12".into(),
                tcx: Some(true),
                ..HostFacts::default()
            },
            interfaces: vec![facts],
        };
        let link = Link {
            name: "eth0".into(),
            ..Link::default()
        };
        let wanted = [(link, Role::Uplink)];
        let demands = demands(wanted.iter(), refused, |_| Served::default());
        let policy = Policy::of_daemon(Disruption::None);
        plan(&survey, Profiles::shipped(), &demands, wishes, policy)
    }

    fn refused() -> Refused {
        let key = ("eth0".to_owned(), Tier::XdpNative);
        Refused::from([(key, "too few queues".to_owned())])
    }

    #[test]
    fn what_the_kernel_refused_is_a_fallback_with_its_reason() {
        let before = planned(&Refused::new(), &Wishes::default()).unwrap();
        assert_eq!(before.xdp("eth0"), Some(Tier::XdpNative));
        let after = planned(&refused(), &Wishes::default()).unwrap();
        assert_ne!(after.xdp("eth0"), Some(Tier::XdpNative));
        let told: Vec<_> = after.placements.iter().flat_map(fallbacks).collect();
        assert!(told[0].contains("too few queues"), "{told:?}");
    }

    #[test]
    fn a_required_tier_that_the_kernel_refused_is_an_error() {
        let mut wishes = Wishes::default();
        let (task, tier) = (Task::Steer, Tier::XdpNative);
        wishes.set("eth0", task, tier, Wish::Require);
        let unmet = planned(&refused(), &wishes).unwrap_err();
        assert!(unmet[0].contains("too few queues"), "{unmet:?}");
    }
}
