//! From the configuration and this machine to the planner.

use std::collections::BTreeMap;

use terrace_offload::{
    Capabilities, Interface, Placement, Plan, Refusal, Role, Task, Tier, Wish, Wishes, probe,
};

use crate::config::Config;
use crate::netlink::{Link, Network};

/// What the machine can do, of the interfaces that have a role.
pub fn capabilities<'i>(
    network: &Network,
    interfaces: impl Iterator<Item = &'i (Link, Role)>,
) -> Capabilities {
    Capabilities {
        kernel: probe::kernel().unwrap_or_default(),
        tcx: probe::has_tcx(),
        interfaces: interfaces
            .map(|(link, role)| interface(network, link, *role))
            .collect(),
    }
}

fn interface(network: &Network, link: &Link, role: Role) -> Interface {
    let controller = network.links.get(&link.controller);
    Interface {
        name: link.name.clone(),
        role,
        driver: probe::driver(&link.name),
        mtu: link.mtu,
        controller: controller.map(|controller| controller.name.clone()),
        foreign_xdp: probe::foreign_xdp(link.ifindex),
        lro: probe::has_lro(&link.name),
    }
}

/// The wishes of the configuration's rules, interface by interface.
pub fn wishes<'i>(config: &Config, interfaces: impl Iterator<Item = &'i (Link, Role)>) -> Wishes {
    let mut wishes = Wishes::default();
    for (link, _) in interfaces {
        let Some(rule) = config.rule_of(&link.name) else {
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

/// XDP programs that the kernel refused: by interface, the tier and why.
pub type Refused = BTreeMap<(String, Tier), String>;

/// Plans as if what was refused were forbidden, and tells the kernel's reason.
///
/// # Errors
/// Wishes that can't be met, one line each.
pub fn plan(
    capabilities: &Capabilities,
    wishes: &Wishes,
    refused: &Refused,
) -> Result<Plan, Vec<String>> {
    let mut wishes = wishes.clone();
    let mut unmet = Vec::new();
    for ((iface, tier), why) in refused {
        for task in [Task::Prefilter, Task::Steer] {
            if wishes.of(iface, task, *tier) == Wish::Require {
                unmet.push(format!("{iface}: {task} is required on {tier}: {why}"));
            } else {
                wishes.set(iface, task, *tier, Wish::Forbid);
            }
        }
    }
    if !unmet.is_empty() {
        return Err(unmet);
    }
    let mut plan = terrace_offload::plan(capabilities, &wishes);
    if !plan.refusals.is_empty() {
        return Err(plan.refusals.iter().map(unmet_wish).collect());
    }
    for placement in &mut plan.placements {
        for blocker in &mut placement.blockers {
            if let Some(why) = refused.get(&(placement.iface.clone(), blocker.tier)) {
                blocker.why.clone_from(why);
                blocker.fix = "see the kernel's log (dmesg), or forbid the tier".into();
                blocker.by_design = false;
            }
        }
    }
    Ok(plan)
}

fn unmet_wish(refusal: &Refusal) -> String {
    format!(
        "{}: {} can't run on {}: {}; {}",
        refusal.iface, refusal.task, refusal.tier, refusal.why, refusal.fix
    )
}

/// What keeps a task from a better tier, in one line; None when nothing that
/// an operator should hear of.
pub fn fallback(placement: &Placement) -> Option<String> {
    let blocker = placement
        .blockers
        .iter()
        .find(|blocker| !blocker.by_design)?;
    Some(format!(
        "{} of {} runs on {} and not on {}: {}; {}",
        placement.task, placement.iface, placement.tier, blocker.tier, blocker.why, blocker.fix
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host() -> Capabilities {
        Capabilities {
            kernel: terrace_offload::KernelVersion(6, 12),
            tcx: true,
            interfaces: vec![Interface {
                name: "eth0".into(),
                role: Role::Uplink,
                driver: "virtio_net".into(),
                mtu: 1500,
                controller: None,
                foreign_xdp: None,
                lro: false,
            }],
        }
    }

    fn refused() -> Refused {
        let key = ("eth0".to_owned(), Tier::XdpNative);
        Refused::from([(key, "too few queues".to_owned())])
    }

    #[test]
    fn what_the_kernel_refused_is_a_fallback_with_its_reason() {
        let none = Refused::new();
        let before = plan(&host(), &Wishes::default(), &none).unwrap();
        assert_eq!(before.xdp("eth0"), Some(Tier::XdpNative));
        let after = plan(&host(), &Wishes::default(), &refused()).unwrap();
        assert_ne!(after.xdp("eth0"), Some(Tier::XdpNative));
        let told: Vec<_> = after.placements.iter().filter_map(fallback).collect();
        assert!(told[0].contains("too few queues"), "{told:?}");
    }

    #[test]
    fn a_required_tier_that_the_kernel_refused_is_an_error() {
        let mut wishes = Wishes::default();
        let (task, tier) = (Task::Steer, Tier::XdpNative);
        wishes.set("eth0", task, tier, Wish::Require);
        let unmet = plan(&host(), &wishes, &refused()).unwrap_err();
        assert!(unmet[0].contains("too few queues"), "{unmet:?}");
    }
}
