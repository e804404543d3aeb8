//! Which fixes a plan asks for. Pure.

use terrace_offload::judge::judge;
use terrace_offload::verdict::{Blocker, Disruption};
use terrace_offload::{Demand, Machine, Plan, Tier};

use super::{Left, Step, StepState};

/// The fixes of everything that keeps a task from a better tier, one a rule and
/// interface. Without `all` only those that do nothing to running traffic.
pub fn steps(
    machine: Machine<'_>,
    demands: &[Demand],
    plan: &Plan,
    all: bool,
) -> (Vec<Step>, Vec<Left>) {
    let mut steps = Vec::new();
    let mut left = Vec::new();
    for demand in demands {
        let Some(facts) = machine.interfaces.iter().find(|i| i.name == demand.iface) else {
            continue;
        };
        let found = judge(machine, facts, demand.needs()).blockers;
        for (tier, rule) in asked(plan, &demand.iface) {
            let Some(blocker) = found.iter().find(|blocker| blocker.id == rule) else {
                continue;
            };
            let hopeless = hopeless(plan, &demand.iface, tier, &found);
            match step(&demand.iface, tier, blocker, all, hopeless) {
                Ok(step) if !steps.contains(&step) => steps.push(step),
                Err(one) if !left.contains(&one) => left.push(one),
                _ => {}
            }
        }
    }
    steps.sort_by_key(|step: &Step| step.disruption);
    (steps, left)
}

/// Rules that keep tasks of an interface from a tier.
fn asked(plan: &Plan, iface: &str) -> Vec<(Tier, String)> {
    let of_iface = plan.placements.iter().filter(|p| p.iface == iface);
    let blockers = of_iface.flat_map(|placement| &placement.blockers);
    let mut asked: Vec<(Tier, String)> = blockers
        .filter(|blocker| !blocker.by_design)
        .flat_map(|blocker| {
            blocker
                .rules
                .iter()
                .map(|rule| (blocker.tier, rule.clone()))
        })
        .collect();
    let mut seen = Vec::new();
    asked.retain(|one| {
        let new = !seen.contains(one);
        seen.push(one.clone());
        new
    });
    asked
}

/// What no command can mend, and which so makes the other fixes useless.
fn hopeless<'b>(plan: &Plan, iface: &str, tier: Tier, found: &'b [Blocker]) -> Option<&'b Blocker> {
    let asked = asked(plan, iface);
    let of_tier = asked.iter().filter(|(of, _)| *of == tier);
    let mut blockers = of_tier.filter_map(|(_, rule)| found.iter().find(|b| b.id == *rule));
    blockers.find(|blocker| blocker.fix.as_ref().is_none_or(|fix| fix.cmd.is_empty()))
}

fn step(
    iface: &str,
    tier: Tier,
    blocker: &Blocker,
    all: bool,
    hopeless: Option<&Blocker>,
) -> Result<Step, Left> {
    let fix = blocker.fix.clone().unwrap_or_default();
    let leave = |because: String| Left {
        iface: iface.to_owned(),
        rule: blocker.id.clone(),
        why: blocker.why.clone(),
        fix: match fix.cmd.is_empty() {
            true => fix.note.clone(),
            false => fix.cmd.clone(),
        },
        because,
    };
    if fix.cmd.is_empty() {
        return Err(leave("no command on this host mends it".into()));
    }
    if fix.undo.is_empty() {
        return Err(leave("it could not be taken back".into()));
    }
    if let Some(other) = hopeless {
        return Err(leave(format!("{tier} stays closed: {}", other.why)));
    }
    if fix.disruption > Disruption::None && !all {
        return Err(leave(format!(
            "it interrupts traffic ({}); --all takes it",
            fix.disruption.name()
        )));
    }
    Ok(Step {
        iface: iface.to_owned(),
        tier,
        rule: blocker.id.clone(),
        why: blocker.why.clone(),
        cmd: fix.cmd,
        undo: fix.undo,
        disruption: fix.disruption,
        state: StepState::Planned,
    })
}

#[cfg(test)]
mod tests {
    use terrace_offload::facts::{Fact, HostFacts, InterfaceFacts, Value};
    use terrace_offload::{Policy, Profiles, Role, Wishes, plan};

    use super::*;

    fn of(driver: &str, facts: &[(&str, Value)], all: bool) -> (Vec<Step>, Vec<Left>) {
        let mut iface = InterfaceFacts {
            name: "eth0".into(),
            ..InterfaceFacts::default()
        };
        let rows = facts.iter().cloned().chain([("id.driver", driver.into())]);
        for (key, value) in rows {
            iface.facts.learn(key, Fact::declared(value, "test"));
        }
        let host = HostFacts {
            kernel: "6.12".into(),
            page_size: 4096,
            ..HostFacts::default()
        };
        let machine = Machine {
            host: &host,
            interfaces: &[iface],
            profiles: Profiles::shipped(),
        };
        let demands = [Demand::new("eth0", Role::Uplink)];
        let policy = Policy::of_daemon(Disruption::None);
        let plan = plan(machine, &demands, &Wishes::default(), policy);
        steps(machine, &demands, &plan, all)
    }

    #[test]
    fn harmless_fixes_are_steps_and_the_rest_is_left_with_its_reason() {
        let mtu = ("link.mtu", Value::Int(9001));
        let queues = [
            ("channels.combined", Value::Int(8)),
            ("channels.combined_max", Value::Int(8)),
        ];
        let one_queue = ("channels.combined_max", Value::Int(1));
        let foreign = ("xdp.foreign_prog", Value::from("xdp_fw"));
        let with_queues = [vec![mtu.clone()], queues.to_vec()].concat();
        type Row<'r> = (
            &'r str,
            &'r str,
            Vec<(&'r str, Value)>,
            bool,
            &'r [&'r str],
            &'r [&'r str],
        );
        let rows: Vec<Row<'_>> = vec![
            ("nothing in the way", "ice", vec![], false, &[], &[]),
            (
                "an MTU",
                "ena",
                vec![mtu.clone()],
                false,
                &["ip link set dev eth0 mtu 3498"],
                &[],
            ),
            (
                "queues are left",
                "ena",
                with_queues.clone(),
                false,
                &["ip link set dev eth0 mtu 3498"],
                &["interrupts traffic"],
            ),
            (
                "queues too",
                "ena",
                with_queues,
                true,
                &[
                    "ip link set dev eth0 mtu 3498",
                    "ethtool -L eth0 combined 4",
                ],
                &[],
            ),
            (
                "no command helps",
                "ena",
                vec![mtu, one_queue],
                true,
                &[],
                &["stays closed", "no command"],
            ),
            (
                "what nobody puts back",
                "ice",
                vec![foreign],
                true,
                &[],
                &["could not be taken back"],
            ),
        ];
        for (name, driver, facts, all, expected, because) in rows {
            let (steps, left) = of(driver, &facts, all);
            let commands: Vec<&str> = steps.iter().map(|step| step.cmd.as_str()).collect();
            assert_eq!(commands, expected, "{name}");
            assert_eq!(left.len(), because.len(), "{name}: {left:?}");
            for words in because {
                assert!(
                    left.iter().any(|one| one.because.contains(words)),
                    "{name}: {left:?}"
                );
            }
            assert!(steps.iter().all(|step| !step.undo.is_empty()), "{name}");
        }
    }
}
