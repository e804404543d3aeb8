//! The directory's part on policy: rules as people read them.

use std::collections::BTreeMap;

use rustc_hash::FxHashSet;
use terrace_abi::consts::IDENTITY_FIRST_CIDR;

use super::super::Host;
use super::super::identities::Identities;
use super::super::model::{Model, is_workload};
use super::Policies;
use crate::directory::{self, Source};
use crate::error::Origin;
use crate::objects::{
    Direction, Labels, ObjectName, Peer, Peers, Policy, PortMatch, PortRule, Ports, ROW_NAMES, Rule,
};
use crate::tables::Tables;

pub fn describe(
    policies: &Policies,
    model: &Model,
    host: &Host<'_>,
    identities: &Identities,
    policies_changed: bool,
    tables: &mut Tables,
) {
    if policies_changed {
        tables.directory.rules = rules(policies, model);
    }
    let sets = tables.l7.sets.iter();
    tables.directory.rule_sets = sets.map(|(number, set)| (*number, set.numbers())).collect();
    tables.directory.policies = selections(policies, model, host, identities);
    let cidrs: FxHashSet<u32> = policies.cidrs.values().copied().collect();
    let named = &mut tables.directory.identities;
    named.retain(|number, _| *number < IDENTITY_FIRST_CIDR || cidrs.contains(number));
    for (net, number) in &policies.cidrs {
        named.entry(*number).or_default().name = format!("cidr:{net}");
    }
    mark(policies, tables);
}

/// Says of each identity what is enforced on it.
pub fn mark(policies: &Policies, tables: &mut Tables) {
    for (number, identity) in &mut tables.directory.identities {
        identity.enforced = policies.enforced(*number);
    }
}

fn rules(policies: &Policies, model: &Model) -> BTreeMap<u32, directory::Rule> {
    let all = model.policies.values().filter_map(|held| held.first());
    let rules = all.flat_map(|policy| {
        let rules = policy.parts.iter().flat_map(|part| &part.rules);
        rules.map(move |rule| (policy, rule))
    });
    rules
        .map(|(policy, rule)| {
            (
                policies.numbers.of(policy, rule),
                describe_rule(policy, rule),
            )
        })
        .collect()
}

fn describe_rule(policy: &Policy, rule: &Rule) -> directory::Rule {
    let origin = Origin {
        file: policy.origin.file.clone(),
        line: rule.line,
    };
    directory::Rule {
        policy: policy.name.clone(),
        kind: policy.kind,
        direction: rule.direction,
        deny: rule.deny,
        path: rule.path.clone(),
        peers: match &rule.peers {
            Peers::Any => vec!["all".to_owned()],
            Peers::Some(peers) => peers.iter().map(peer).collect(),
        },
        ports: match &rule.ports {
            Ports::All => Vec::new(),
            Ports::Some(ports) => ports.iter().flat_map(port).collect(),
        },
        source: Source::from(&origin),
    }
}

fn peer(peer: &Peer) -> String {
    match peer {
        Peer::Select(selector) => selector.to_string(),
        Peer::Entity(entity) => entity.to_string(),
        Peer::Cidr { net, except } if except.is_empty() => net.to_string(),
        Peer::Cidr { net, except } => {
            let except: Vec<String> = except.iter().map(ToString::to_string).collect();
            format!("{net} except {}", except.join(", "))
        }
        Peer::Service(name) => format!("service {name}"),
        Peer::Services {
            namespace,
            selector,
        } if namespace.is_empty() => format!("services {selector}"),
        Peer::Services {
            namespace,
            selector,
        } => format!("services {selector} in {namespace}"),
    }
}

fn port(port: &PortRule) -> Vec<String> {
    let rows = (0..5).filter(|row| port.rows >> row & 1 != 0);
    rows.map(|row: usize| match &port.what {
        PortMatch::Range(0, u16::MAX) => ROW_NAMES[row].to_owned(),
        PortMatch::Range(first, last) if first == last => format!("{}/{first}", ROW_NAMES[row]),
        PortMatch::Range(first, last) => format!("{}/{first}-{last}", ROW_NAMES[row]),
        PortMatch::Named(name) => format!("{}/{name}", ROW_NAMES[row]),
    })
    .collect()
}

fn selections(
    policies: &Policies,
    model: &Model,
    host: &Host<'_>,
    identities: &Identities,
) -> Vec<directory::Policy> {
    let held = identities.iter(true);
    let labels: BTreeMap<u32, &Labels> = held
        .map(|(number, traits)| (number, &traits.labels))
        .collect();
    let pods = model
        .interfaces
        .values()
        .flatten()
        .filter(|pod| is_workload(pod, host.facts));
    let pods: Vec<(&ObjectName, &Labels)> = pods
        .filter_map(|pod| Some((&pod.name, *labels.get(&identities.of_pod(&pod.name)?)?)))
        .collect();
    let all = model.policies.values().filter_map(|held| held.first());
    all.map(|policy| selection(policies, policy, &pods))
        .collect()
}

fn selection(
    policies: &Policies,
    policy: &Policy,
    pods: &[(&ObjectName, &Labels)],
) -> directory::Policy {
    let selects = |labels: &Labels| policy.parts.iter().any(|part| part.subject.matches(labels));
    let mut selected: Vec<ObjectName> = pods
        .iter()
        .filter(|(_, labels)| selects(labels))
        .map(|(name, _)| (*name).clone())
        .collect();
    selected.sort();
    let denies = |direction: &Direction| {
        policy
            .parts
            .iter()
            .any(|part| part.default_deny[*direction as usize])
    };
    let rules = policy.parts.iter().flat_map(|part| &part.rules);
    directory::Policy {
        name: policy.name.clone(),
        kind: policy.kind,
        selects: selected,
        directions: Direction::BOTH.into_iter().filter(denies).collect(),
        rules: rules
            .map(|rule| policies.numbers.of(policy, rule))
            .collect(),
        source: Source::from(&policy.origin),
    }
}
