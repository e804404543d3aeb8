//! Plans, refusals and rules in front of them, row by row.

use terrace_offload::plan::{Held, Step, changes};
use terrace_offload::rules::{Action, Matches, NicRule, Ports, Prefix};
use terrace_offload::verdict::Disruption;
use terrace_offload::{Demand, Plan, Policy, Role, Task, Tier, Wish, Wishes, plan};

use crate::case::Case;

fn rows(text: &'static str) -> impl Iterator<Item = Vec<&'static str>> {
    let lines = text
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| line.split('|').map(str::trim).collect())
}

fn named<T: serde::de::DeserializeOwned>(name: &str) -> T {
    serde_json::from_value(name.into()).unwrap_or_else(|_| panic!("{name}"))
}

/// One planned interface.
struct Planned {
    case: Case,
    demand: Demand,
    wishes: Wishes,
    policy: Policy,
}

impl Planned {
    fn new(driver: &str, role: &str, facts: &str, options: &str) -> Self {
        let facts = facts
            .replace("NT", "ntuple=true feat.rx-ntuple-filter=on")
            .replace(
                "SW",
                "switch_id=1 eswitch.mode=switchdev role=uplink feat.hw-tc-offload=on",
            );
        let mut planned = Self {
            case: Case::new(driver, &facts),
            demand: Demand::new("eth0", named::<Role>(role)),
            wishes: Wishes::default(),
            policy: Policy::of_daemon(Disruption::LinkFlap),
        };
        for option in options.split_whitespace().filter(|option| *option != "-") {
            let (key, value) = option.split_once('=').unwrap_or_else(|| panic!("{option}"));
            match key {
                "consent" => planned.policy.consent = named::<Disruption>(value),
                "served" => planned.demand.served = value == "yes",
                "refused" => {
                    let why = value.replace('_', " ");
                    planned.demand.refused.insert(Tier::XdpNative, why);
                }
                "held" => {
                    planned.demand.held = Some(Held {
                        why: "it has to last".to_owned(),
                        flaps: value == "flaps",
                    });
                }
                "trust" => planned.policy.trust_profile = value == "yes",
                "nic_rules" => planned.policy.nic_rules = value == "yes",
                "frags" => planned.demand.frags = value == "yes",
                "running" => planned.demand.running = Some(named(value)),
                wish => {
                    let (task, tier) = wish.split_once('.').unwrap_or_else(|| panic!("{wish}"));
                    planned
                        .wishes
                        .set("eth0", named(task), named(tier), named::<Wish>(value));
                }
            }
        }
        planned
    }

    fn plan(&self) -> Plan {
        plan(
            self.case.machine(),
            std::slice::from_ref(&self.demand),
            &self.wishes,
            self.policy,
        )
    }
}

#[test]
fn each_task_runs_on_the_best_tier_that_works_and_says_why_not_higher() {
    let mut wrong = Vec::new();
    for row in rows(include_str!("plans.txt")) {
        let [name, driver, role, facts, options, task, tier, words] = row[..] else {
            panic!("{row:?}");
        };
        let plan = Planned::new(driver, role, facts, options).plan();
        let task: Task = named(task);
        let Some(placement) = plan.placements.iter().find(|p| p.task == task) else {
            wrong.push(format!("{name}: {:?}", plan.refusals));
            continue;
        };
        let said = serde_json::to_string(placement).unwrap();
        let says = match words.strip_prefix('!') {
            Some(words) => !said.contains(words.trim()),
            None => said.contains(words),
        };
        if placement.tier.name() != tier || !says || !plan.refusals.is_empty() {
            wrong.push(format!("{name}: {said}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_better_tier_has_one_blocker_with_what_to_do() {
    for row in rows(include_str!("plans.txt")) {
        let plan = Planned::new(row[1], row[2], row[3], row[4]).plan();
        for placement in plan.placements {
            let better: Vec<Tier> = [Tier::Nic, Tier::XdpNative, Tier::XdpGeneric, Tier::Tc]
                .into_iter()
                .filter(|tier| *tier < placement.tier)
                .collect();
            let blocked: Vec<Tier> = placement.blockers.iter().map(|b| b.tier).collect();
            assert_eq!(blocked, better, "{}: {}", row[0], placement.task);
            for blocker in &placement.blockers {
                assert!(
                    !blocker.why.is_empty() && !blocker.fix.is_empty(),
                    "{}: {blocker:?}",
                    row[0]
                );
            }
        }
    }
}

#[test]
fn wishes_that_cannot_be_met_are_refused() {
    for row in rows(include_str!("refusals.txt")) {
        let [name, driver, role, facts, wishes, task, words] = row[..] else {
            panic!("{row:?}");
        };
        let plan = Planned::new(driver, role, facts, wishes).plan();
        let task: Task = named(task);
        let refusal = plan.refusals.iter().find(|refusal| refusal.task == task);
        let refusal = refusal.unwrap_or_else(|| panic!("{name}: {:?}", plan.placements));
        assert!(refusal.why.contains(words), "{name}: {}", refusal.why);
        assert!(!refusal.fix.is_empty(), "{name}");
    }
}

#[test]
fn only_what_the_machine_lacks_is_a_fallback() {
    let rows = [
        (
            "native",
            "ice",
            "uplink",
            "xdp.features=[basic]",
            "-",
            false,
        ),
        (
            "no native driver",
            "e1000e",
            "uplink",
            "xdp.features=[]",
            "-",
            true,
        ),
        (
            "forbidden",
            "ice",
            "uplink",
            "xdp.features=[basic]",
            "steer.xdp-native=forbid",
            false,
        ),
        (
            "workload",
            "veth",
            "workload",
            "xdp.features=[basic]",
            "-",
            false,
        ),
        (
            "no consent",
            "ice",
            "uplink",
            "xdp.features=[basic]",
            "served=yes consent=none",
            true,
        ),
        (
            "waiting",
            "ice",
            "uplink",
            "xdp.features=[basic]",
            "served=yes held=wait",
            false,
        ),
        (
            "flapping",
            "ice",
            "uplink",
            "xdp.features=[basic]",
            "served=yes held=flaps",
            true,
        ),
    ];
    for (name, driver, role, facts, options, expected) in rows {
        let plan = Planned::new(driver, role, facts, options).plan();
        let fallback = plan
            .placements
            .iter()
            .any(|placement| placement.is_fallback());
        assert_eq!(fallback, expected, "{name}");
    }
}

#[test]
fn an_interface_has_one_xdp_program_or_none() {
    let rows = [
        ("ice", "uplink", Some(Tier::XdpNative)),
        ("e1000e", "uplink", None),
        ("veth", "workload", None),
    ];
    for (driver, role, expected) in rows {
        let plan = Planned::new(driver, role, "-", "-").plan();
        assert_eq!(plan.xdp("eth0"), expected, "{driver}");
    }
}

#[test]
fn an_interface_without_facts_is_served_in_tc() {
    let mut planned = Planned::new("ice", "uplink", "-", "-");
    planned.demand.iface = "gone0".to_owned();
    assert_eq!(planned.plan().xdp("gone0"), None);
    assert_eq!(planned.plan().placements.len(), 4);
}

/// `drop:src/24,tcp,dport`.
fn nic_rule(text: &str) -> NicRule {
    let (action, matches) = text.split_once(':').unwrap_or_else(|| panic!("{text}"));
    let mut rule = NicRule {
        name: text.to_owned(),
        matches: Matches::default(),
        action: match action {
            "drop" => Action::Drop,
            "pass" => Action::Pass,
            "queue" => Action::Queue,
            "redirect" => Action::RedirectSameSwitch,
            "elsewhere" => Action::RedirectElsewhere,
            "rewrite" => Action::Rewrite,
            "limit" => Action::RateLimit,
            _ => panic!("{text}"),
        },
    };
    for part in matches.split(',') {
        let (what, len) = part.split_once('/').unwrap_or((part, "0"));
        let prefix = Some(Prefix {
            len: len.parse().expect("a length"),
            is_ipv6: what.ends_with('6'),
        });
        let matches = &mut rule.matches;
        match what {
            "src" | "src6" => matches.source = prefix,
            "dst" | "dst6" => matches.destination = prefix,
            "tcp" => matches.protocol = Some(6),
            "sport" => matches.source_port = Some(Ports::One),
            "dport" => matches.destination_port = Some(Ports::One),
            "sports" => matches.source_port = Some(Ports::Range),
            "dports" => matches.destination_port = Some(Ports::Range),
            "flags" => matches.tcp_flags = true,
            "frag" => matches.fragments = true,
            "payload" => matches.payload = true,
            "state" => matches.state = true,
            _ => panic!("{text}"),
        }
    }
    rule
}

#[test]
fn a_nic_takes_the_longest_prefix_that_fits_and_nothing_behind_it() {
    let mut wrong = Vec::new();
    for row in rows(include_str!("fronts.txt")) {
        let [name, driver, facts, rules, way, fit, words] = row[..] else {
            panic!("{row:?}");
        };
        let mut planned = Planned::new(driver, "uplink", facts, "nic_rules=yes");
        planned.demand.rules = rules.split(' ').map(nic_rule).collect();
        let of = planned.demand.rules.len();
        let plan = planned.plan();
        let prefilter = plan
            .placements
            .iter()
            .find(|p| p.task == Task::Prefilter)
            .unwrap();
        let front = prefilter.front.as_ref().unwrap();
        let fit: usize = fit.parse().unwrap();
        let why = front.unfit.as_ref().map_or("", |unfit| unfit.why.as_str());
        let said = (words == "-" && (fit == of || fit == 0)) || why.contains(words);
        if (front.tier.name(), front.fit, front.of) != (way, fit, of) || !said {
            wrong.push(format!("{name}: {front:?}"));
        }
        assert_eq!(prefilter.tier == Tier::Nic, fit == of, "{name}");
        assert_eq!(front.installed, fit > 0, "{name}");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn without_leave_rules_stay_on_the_host_and_the_plan_says_what_would_fit() {
    let mut planned = Planned::new("ixgbe", "uplink", "NT", "-");
    planned.demand.rules = vec![nic_rule("drop:src/32"), nic_rule("pass:src/32")];
    let plan = planned.plan();
    let prefilter = plan
        .placements
        .iter()
        .find(|p| p.task == Task::Prefilter)
        .unwrap();
    assert_eq!(prefilter.tier, Tier::XdpNative);
    assert!(!prefilter.front.as_ref().unwrap().installed);
    assert!(
        prefilter.blockers[0]
            .why
            .contains("1 of 2 rules would fit hw-nic")
    );
}

#[test]
fn a_plan_depends_on_its_input_only_and_survives_json() {
    for row in rows(include_str!("plans.txt")) {
        let planned = Planned::new(row[1], row[2], row[3], row[4]);
        let plan = planned.plan();
        assert_eq!(plan, planned.plan(), "{}", row[0]);
        let json = serde_json::to_string(&plan).unwrap();
        assert_eq!(
            serde_json::from_str::<Plan>(&json).unwrap(),
            plan,
            "{}",
            row[0]
        );
    }
}

#[test]
fn what_moves_is_told_with_how_it_moves() {
    let at = |driver: &str, facts: &str, options: &str| {
        Planned::new(driver, "uplink", facts, options).plan()
    };
    let native = at("ice", "xdp.features=[basic]", "-");
    let generic = at("ice", "xdp.features=[basic]", "steer.xdp-generic=require");
    let tc = at("ice", "xdp.features=[basic]", "steer.xdp-native=forbid");
    let none = Plan::default();
    let rows = [
        ("nothing", &native, &native, 0, None),
        ("attach", &tc, &native, 2, Some(Step::AttachXdp)),
        ("detach", &native, &tc, 2, Some(Step::DetachXdp)),
        ("mode", &native, &generic, 2, Some(Step::ChangeMode)),
        ("arm", &none, &native, 4, Some(Step::Arm)),
        ("disarm", &native, &none, 4, Some(Step::Disarm)),
    ];
    for (name, running, planned, count, step) in rows {
        let changes = changes(running, planned);
        assert_eq!(changes.len(), count, "{name}: {changes:?}");
        assert_eq!(changes.first().map(|change| change.step), step, "{name}");
    }
}
