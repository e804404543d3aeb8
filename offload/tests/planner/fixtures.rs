//! Recorded and constructed machines: the best tier of each interface, and what
//! stands before a better one.

use std::path::PathBuf;

use terrace_offload::ask::Recording;
use terrace_offload::judge::verdicts;
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
