//! Facts to verdicts of tiers.

use terrace_offload::facts::Confidence;
use terrace_offload::verdict::{NicTier, Verdict};

use crate::case::Case;

/// Name, driver, facts, and what they lead to.
struct Row {
    name: &'static str,
    driver: &'static str,
    facts: String,
    tier: &'static str,
    verdict: &'static str,
    confidence: &'static str,
    words: &'static str,
}

fn rows() -> Vec<Row> {
    let text = include_str!("tiers.txt");
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let short: Vec<(&str, &str)> = lines
        .clone()
        .filter(|line| line.starts_with('$'))
        .filter_map(|line| line.split_once(" = "))
        .collect();
    let rows = lines.filter(|line| line.contains('|'));
    rows.map(|line| {
        let parts: Vec<&'static str> = line.split('|').map(str::trim).collect();
        let [name, driver, facts, tier, verdict, confidence, words] = parts[..] else {
            panic!("{line}");
        };
        let long = short.iter().find(|(name, _)| *name == facts);
        Row {
            name,
            driver,
            facts: long.map_or(facts, |(_, long)| long).to_owned(),
            tier,
            verdict,
            confidence,
            words,
        }
    })
    .collect()
}

#[test]
fn facts_lead_to_verdicts_with_reason_and_confidence() {
    let mut wrong = Vec::new();
    for row in rows() {
        let judged = Case::new(row.driver, &row.facts).judge();
        let line = judged
            .tiers
            .iter()
            .find(|line| line.tier.name() == row.tier)
            .unwrap();
        let verdict = line.verdict.name().replace(' ', "_");
        let says = line.why.iter().any(|why| why.contains(row.words));
        if (verdict.as_str(), line.confidence.name(), says) != (row.verdict, row.confidence, true) {
            wrong.push(format!("{}: {line:?}", row.name));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_line_has_a_reason_and_what_is_unknown_is_never_no() {
    for row in rows() {
        let name = row.name;
        let judged = Case::new(row.driver, &row.facts).judge();
        assert_eq!(judged.tiers.len(), NicTier::ALL.len(), "{name}");
        for line in &judged.tiers {
            assert!(
                !line.why.is_empty() && line.why.iter().all(|why| !why.is_empty()),
                "{name}"
            );
            if line.confidence == Confidence::Unknown {
                assert_eq!(line.verdict, Verdict::Unknown, "{name}: {line:?}");
            }
        }
    }
}

#[test]
fn the_best_tier_is_the_first_that_works_and_does_not_lose() {
    use NicTier::{AfxdpZc, HwEbpf, Tc, XdpNative};
    let rows = [
        ("veth", "veth", "xdp.features=[basic,redirect,rx-sg]", Tc),
        (
            "Firecracker",
            "virtio_net",
            "virtio.f.ctrl_guest_offloads=false virtio.f.guest_csum_or_tso=true xdp.features=[basic,redirect,xsk-zerocopy]",
            Tc,
        ),
        (
            "ice",
            "ice",
            "xdp.features=[basic,redirect,xsk-zerocopy]",
            AfxdpZc,
        ),
        (
            "bnxt",
            "bnxt_en",
            "xdp.features=[basic,redirect]",
            XdpNative,
        ),
        ("nfp", "nfp", "devlink.fw.fw.app=bpf", HwEbpf),
        ("lo", "lo", "xdp.features=[]", Tc),
        (
            "netdevsim",
            "netdevsim",
            "xdp.features=[basic,hw-offload]",
            Tc,
        ),
    ];
    for (name, driver, facts, expected) in rows {
        assert_eq!(
            Case::new(driver, facts).judge().best,
            Some(expected),
            "{name}"
        );
    }
}

#[test]
fn what_has_a_remedy_is_numbered_and_the_tiers_name_the_number() {
    let judged = Case::new("ena", "xdp.features=[basic] link.mtu=9001").judge();
    let numbered: Vec<_> = judged
        .blockers
        .iter()
        .filter(|b| b.number.is_some())
        .collect();
    assert_eq!(numbered.len(), 1);
    assert_eq!(numbered[0].id, "xdp.mtu");
    assert_eq!(
        numbered[0].fix.as_ref().unwrap().cmd,
        "ip link set dev eth0 mtu 3498"
    );
    assert_eq!(
        numbered[0].fix.as_ref().unwrap().undo,
        "ip link set dev eth0 mtu 9001"
    );
    let native = judged
        .tiers
        .iter()
        .find(|line| line.tier == NicTier::XdpNative)
        .unwrap();
    assert_eq!(native.blockers, [1]);
}

#[test]
fn a_rule_that_cannot_be_checked_is_told_with_what_it_needs() {
    let judged = Case::new("ena", "xdp.features=[basic]").judge();
    let queues = judged
        .unchecked
        .iter()
        .find(|rule| rule.id == "ena.queues")
        .unwrap();
    assert!(queues.needs.contains(&"channels.combined".to_owned()));
}

#[test]
fn every_fact_of_a_rule_is_one_that_reports_have() {
    use terrace_nic_profiles::Profiles;
    let pseudo = ["demand.", "driver.", "peer.", "bond.ports_"];
    let single = [
        "ifname",
        "role",
        "switch_id",
        "host.kernel_name",
        "xsk.chunk",
    ];
    let profiles = Profiles::shipped();
    let situations = profiles
        .situations()
        .flat_map(|s| s.rules.iter().flat_map(|r| &r.when).chain(&s.matches.when));
    let drivers = profiles.drivers().flat_map(|d| &d.rules);
    let rules = drivers
        .chain(profiles.common_rules())
        .flat_map(|rule| &rule.when);
    for predicate in rules.chain(situations) {
        for key in predicate.keys() {
            let known = terrace_offload::facts::keys::is_known(key)
                || single.contains(&key)
                || pseudo.iter().any(|prefix| key.starts_with(prefix));
            assert!(known, "{key} in {predicate}");
        }
    }
}
