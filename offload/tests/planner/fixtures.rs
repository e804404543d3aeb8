//! Recorded and constructed machines: the best tier of each interface, and what
//! stands before a better one.

use std::path::PathBuf;

use terrace_offload::ask::Recording;
use terrace_offload::facts::{Fact, InterfaceFacts};
use terrace_offload::judge::verdicts;
use terrace_offload::plan::Ways;
use terrace_offload::probe::{Survey, replay};
use terrace_offload::verdict::{Disruption, Effect, NicTier};
use terrace_offload::{Demand, Machine, Policy, Profiles, Role, Wishes, plan};

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

fn surveys() -> Vec<(String, Survey)> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    let survey = |path: PathBuf| {
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        (name, replay(&Recording::load(&path).unwrap()).unwrap())
    };
    paths.into_iter().map(survey).collect()
}

fn machine(survey: &Survey) -> Machine<'_> {
    Machine {
        host: &survey.host,
        interfaces: &survey.interfaces,
        profiles: Profiles::shipped(),
    }
}

/// One line for each interface but lo.
fn told() -> String {
    let mut lines = String::new();
    for (name, survey) in surveys() {
        for iface in survey.interfaces.iter().filter(|iface| iface.name != "lo") {
            let judged = verdicts(machine(&survey), iface);
            let verdict = |tier: NicTier| {
                let line = judged.tiers.iter().find(|line| line.tier == tier).unwrap();
                format!(
                    "{}({})",
                    line.verdict.name().replace(' ', "_"),
                    line.confidence.name()
                )
            };
            let denies = judged.blockers.iter().filter(|b| b.effect == Effect::Deny);
            let denies: Vec<&str> = denies.map(|b| b.id.as_str()).collect();
            lines += &format!(
                "{name} | {} | {} | {} | native {} | zc {} | switch {} | nic {} | {}\n",
                iface.name,
                judged
                    .profile
                    .as_ref()
                    .map_or("-", |profile| profile.id.as_str()),
                judged.best.map_or("-", NicTier::name),
                verdict(NicTier::XdpNative),
                verdict(NicTier::AfxdpZc),
                verdict(NicTier::HwSwitch),
                verdict(NicTier::HwNic),
                denies.join(" "),
            );
        }
    }
    lines
}

#[test]
fn each_machine_has_its_best_tier_and_its_blockers() {
    let expected = include_str!("fixtures.txt");
    let told = told();
    for (told, expected) in told.lines().zip(expected.lines()) {
        assert_eq!(told.trim_end(), expected);
    }
    assert_eq!(told.lines().count(), expected.lines().count());
}

#[test]
fn each_machine_can_be_planned_and_every_task_has_a_place() {
    for (name, survey) in surveys() {
        let demands: Vec<Demand> = survey
            .interfaces
            .iter()
            .map(|iface| Demand::new(&iface.name, Role::Uplink))
            .collect();
        let plan = plan(
            machine(&survey),
            &demands,
            &Wishes::default(),
            Policy::of_daemon(Disruption::None),
        );
        assert_eq!(plan.placements.len(), demands.len() * 4, "{name}");
        assert!(plan.refusals.is_empty(), "{name}");
    }
}

/// Fixture, what is said of rules that drop and of rules that choose a queue; "" = open.
const CLASSIFIERS: [(&str, &str, &str); 8] = [
    ("i40e", "", ""),
    ("ice", "", ""),
    ("bnxt", "", ""),
    ("ixgbe", "are off at eno1", "are off at eno1"),
    ("igb", "are off at eno1", "are off at eno1"),
    ("mlx5-legacy", "are off at enp193s0f0np0", "are off at"),
    (
        "virtio-net-qemu",
        "cannot be switched on",
        "no table of classification rules",
    ),
    (
        "ena-ready",
        "cannot be switched on",
        "cannot be switched on",
    ),
];

#[test]
fn the_receive_classifier_is_open_where_the_recorded_machine_and_its_profile_say_so() {
    let surveys = surveys();
    for (name, drops, queues) in CLASSIFIERS {
        let survey = &surveys.iter().find(|(of, _)| of == name).unwrap().1;
        let iface = survey
            .interfaces
            .iter()
            .find(|iface| iface.name != "lo")
            .unwrap();
        let ways = Ways::of(machine(survey), iface);
        for (way, expected) in [(ways.classifier, drops), (ways.queues, queues)] {
            match (way, expected) {
                (Ok(()), "") => {}
                (Err((why, fix)), words) if !words.is_empty() => {
                    assert!(why.contains(words), "{name}: {why}");
                    assert!(!fix.is_empty(), "{name}");
                }
                (way, words) => panic!("{name}: {way:?}, not {words:?}"),
            }
        }
    }
}

/// A driver, whether the port takes rules, what is under the VLAN, and what is in the way.
const TAGGED: [(&str, &str, Option<&str>, &str); 7] = [
    ("mlx5_core", "on", Some("up0"), ""),
    ("nfp", "on-fixed", Some("up0"), ""),
    (
        "ice",
        "on",
        Some("up0"),
        "does not list the action vlan_push",
    ),
    (
        "rvu_nicpf",
        "on",
        Some("up0"),
        "the profile of up0's driver",
    ),
    (
        "mlx5_core",
        "off",
        Some("up0"),
        "hw-tc-offload is off at up0",
    ),
    ("mlx5_core", "on", Some("up9"), "which port is under up0.5"),
    ("mlx5_core", "on", None, "which port is under up0.5"),
];

#[test]
fn rules_take_tags_off_where_the_port_under_a_vlan_takes_rules_and_its_profile_lists_that() {
    for (driver, rules, under, words) in TAGGED {
        let of = |name: &str, facts: &[(&str, &str)]| {
            let mut iface = InterfaceFacts {
                name: name.to_owned(),
                ..InterfaceFacts::default()
            };
            for (key, value) in facts {
                iface.facts.learn(*key, Fact::declared(*value, "test"));
            }
            iface
        };
        let port = of(
            "up0",
            &[("id.driver", driver), ("feat.hw-tc-offload", rules)],
        );
        let mut vlan = vec![("id.kind", "vlan"), ("feat.hw-tc-offload", "off")];
        vlan.extend(under.map(|name| ("link.parent", name)));
        let survey = Survey {
            interfaces: vec![port, of("up0.5", &vlan)],
            ..Survey::default()
        };
        let ways = Ways::of(machine(&survey), &survey.interfaces[1]);
        match ways.tagged {
            Ok(()) => assert_eq!(words, "", "{driver}"),
            Err((why, fix)) => {
                assert!(!words.is_empty() && why.contains(words), "{driver}: {why}");
                assert!(!fix.is_empty(), "{driver}");
            }
        }
    }
}
