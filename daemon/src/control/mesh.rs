//! Services, policies and identities, from the directory of the tables.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use terrace_abi::consts::{DIRECTION_INGRESS, FLOW_CLOSED, FLOW_ORIG, POLICY_L7};
use terrace_mesh::Tables;
use terrace_mesh::directory::{BackendState, Frontend, Pool, Rule};
use terrace_mesh::{FailMode, Forwarding, FrontendKind};
use terrace_offload::plan::ServiceRung;

use super::names;
use crate::api;
use crate::l7::rung;
use crate::run::shared::Shared;

/// Counters by backend index.
type Traffic = BTreeMap<u32, api::Traffic>;

pub(super) fn services(shared: &Shared) -> Result<Vec<api::Service>> {
    let traffic = traffic(shared)?;
    let mesh = shared.mesh();
    let tables = mesh.tables();
    let mut services: BTreeMap<_, api::Service> = BTreeMap::new();
    for (number, pool) in &tables.directory.pools {
        // Both address families of one port are one service to people.
        let key = (
            &pool.service,
            &pool.port_name,
            pool.protocol,
            pool.local_only,
        );
        let service = services.entry(key).or_insert_with(|| empty_service(pool));
        service.frontends.extend(frontends(tables, *number));
        service.l7 = service
            .l7
            .take()
            .or_else(|| l7_rung(shared, tables, *number, pool));
        service
            .backends
            .extend(backends(tables, *number, pool, &traffic));
    }
    Ok(services.into_values().collect())
}

/// The Services that the L7 tier serves, as the plan tells of them.
pub(super) fn rungs(shared: &Shared) -> Vec<ServiceRung> {
    let mesh = shared.mesh();
    let tables = mesh.tables();
    let mut rungs = BTreeMap::new();
    for (number, pool) in &tables.directory.pools {
        let Some(l7) = l7_rung(shared, tables, *number, pool) else {
            continue;
        };
        let service = names::pool(pool);
        rungs.entry(service.clone()).or_insert(ServiceRung {
            service,
            rung: l7.rung,
            why: l7.why,
            not_in_kernel: l7.not_in_kernel,
        });
    }
    rungs.into_values().collect()
}

fn l7_rung(shared: &Shared, tables: &Tables, number: u32, pool: &Pool) -> Option<api::L7Rung> {
    let routed = tables.l7.routed.get(&number);
    let backends = pool.backends.iter();
    let backends = backends.filter_map(|index| tables.directory.backends.get(index));
    let subjects: BTreeSet<u32> = backends
        .map(|backend| tables.endpoint_of(backend.address).identity)
        .collect();
    let named = tables.policy.iter().filter(|(key, value)| {
        value & POLICY_L7 != 0 && key[3] & 1 == DIRECTION_INGRESS && subjects.contains(&key[0])
    });
    let sets: BTreeSet<u32> = named.map(|(_, value)| value >> 8).collect();
    let known = sets.iter().filter_map(|set| tables.l7.sets.get(set));
    let rules: Vec<_> = known.flat_map(|set| &set.rules).collect();
    let mut needs = rung::Needs::default();
    needs.add_routes(routed.map_or(&[], |routed| routed.routes.as_slice()));
    let mut seen = BTreeSet::new();
    for rule in rules {
        if seen.insert((rule.number, rule.index)) {
            needs.add_rule(&rule.rule);
        }
    }
    if let Some(why) = shared.config.l7.why_not_in_kernel() {
        needs.keep_with_workers(why);
    } else if shared.l7.get().is_out(number, &sets) {
        needs.keep_with_workers("the kernel's table of rules has no room");
    }
    let rung = rung::rung(&needs)?;
    Some(api::L7Rung {
        rung: rung.name.to_owned(),
        why: rung.why,
        not_in_kernel: rung.not_in_kernel,
    })
}

fn empty_service(pool: &Pool) -> api::Service {
    api::Service {
        namespace: pool.service.namespace.clone(),
        name: pool.service.name.clone(),
        port_name: pool.port_name.clone(),
        frontends: Vec::new(),
        backends: Vec::new(),
        forwarding: match pool.forwarding {
            Forwarding::Nat => "nat".into(),
            Forwarding::Dsr => "dsr".into(),
        },
        fail_mode: match pool.fail_mode {
            FailMode::Last => "last".into(),
            FailMode::Open => "open".into(),
            FailMode::Closed => "closed".into(),
        },
        affinity_secs: pool.affinity_secs,
        l7: None,
        source: names::source(&pool.source),
    }
}

fn frontends(tables: &Tables, pool: u32) -> impl Iterator<Item = api::Frontend> {
    let all = tables.directory.frontends.iter();
    all.filter(move |(_, frontend)| frontend.pool == pool)
        .map(|(index, frontend)| frontend_of(*index, frontend))
}

fn frontend_of(index: u32, frontend: &Frontend) -> api::Frontend {
    let kind = match frontend.kind {
        FrontendKind::ClusterIp => "cluster-ip",
        FrontendKind::ExternalIp => "external-ip",
        FrontendKind::LoadBalancer => "load-balancer",
        FrontendKind::NodePort => "node-port",
    };
    api::Frontend {
        address: frontend.address,
        port: frontend.port,
        protocol: frontend.protocol.to_string().to_lowercase(),
        kind: kind.to_owned(),
        index,
    }
}

fn backends(tables: &Tables, number: u32, pool: &Pool, traffic: &Traffic) -> Vec<api::Backend> {
    let shares = shares(tables, number);
    let of = |index: &u32| {
        let backend = tables.directory.backends.get(index)?;
        let state = match backend.state {
            BackendState::Ready => "ready",
            BackendState::Draining => "draining",
            BackendState::Unready => "unready",
            BackendState::Unhealthy => "unhealthy",
        };
        Some(api::Backend {
            address: backend.address,
            port: backend.port,
            protocol: backend.protocol.to_string().to_lowercase(),
            index: *index,
            state: state.to_owned(),
            local: backend.local,
            pod: backend.pod.clone(),
            share_permille: shares.get(index).copied().unwrap_or(0),
            traffic: traffic.get(index).copied().unwrap_or_default(),
        })
    };
    pool.backends.iter().filter_map(of).collect()
}

/// Thousandths of a ring's slots, by backend.
fn shares(tables: &Tables, pool: u32) -> BTreeMap<u32, u32> {
    let Some(ring) = tables.rings.get(&pool) else {
        return BTreeMap::new();
    };
    let mut slots: BTreeMap<u32, u64> = BTreeMap::new();
    for backend in ring.iter() {
        *slots.entry(backend).or_default() += 1;
    }
    let all = u64::from(ring.size()).max(1);
    let permille = |n: u64| ((n * 1000 + all / 2) / all) as u32;
    slots.into_iter().map(|(b, n)| (b, permille(n))).collect()
}

fn traffic(shared: &Shared) -> Result<Traffic> {
    let mut traffic = Traffic::new();
    for (index, stats) in shared.maps.backend_stats()? {
        let counted = api::Traffic {
            packets_to: stats.packets[0],
            bytes_to: stats.bytes[0],
            packets_from: stats.packets[1],
            bytes_from: stats.bytes[1],
            connections: stats.connections,
            live_connections: 0,
        };
        traffic.insert(index, counted);
    }
    for entry in shared.maps.flows() {
        let entry = entry?;
        let live = u32::from(entry.state) != FLOW_CLOSED && u32::from(entry.kind) == FLOW_ORIG;
        if entry.flow.backend != 0 && live {
            traffic
                .entry(entry.flow.backend)
                .or_default()
                .live_connections += 1;
        }
    }
    Ok(traffic)
}

pub(super) fn policies(shared: &Shared) -> Vec<api::Policy> {
    let mesh = shared.mesh();
    let directory = mesh.directory();
    let rules = |numbers: &[u32]| -> Vec<api::PolicyRule> {
        let of = |number: &u32| Some(rule_of(*number, directory.rules.get(number)?));
        numbers.iter().filter_map(of).collect()
    };
    let policies = directory.policies.iter();
    policies
        .map(|policy| api::Policy {
            kind: policy.kind.to_string(),
            namespace: policy.name.namespace.clone(),
            name: policy.name.name.clone(),
            selects: policy.selects.iter().map(ToString::to_string).collect(),
            directions: policy.directions.iter().copied().map(direction).collect(),
            rules: rules(&policy.rules),
            source: names::source(&policy.source),
        })
        .collect()
}

fn rule_of(number: u32, rule: &Rule) -> api::PolicyRule {
    api::PolicyRule {
        number,
        direction: direction(rule.direction),
        verdict: if rule.deny {
            api::RuleVerdict::Deny
        } else {
            api::RuleVerdict::Allow
        },
        peers: rule.peers.clone(),
        ports: rule.ports.clone(),
        source: names::source(&rule.source),
    }
}

fn direction(direction: terrace_mesh::Direction) -> api::Direction {
    match direction {
        terrace_mesh::Direction::Ingress => api::Direction::Ingress,
        terrace_mesh::Direction::Egress => api::Direction::Egress,
    }
}

pub(super) fn identities(shared: &Shared) -> Vec<api::Identity> {
    let mesh = shared.mesh();
    let directory = mesh.directory();
    let mut identities: BTreeMap<u32, api::Identity> = directory
        .identities
        .iter()
        .map(|(number, identity)| {
            let shown = api::Identity {
                number: *number,
                name: identity.name.clone(),
                labels: identity.labels.clone(),
                addresses: Vec::new(),
                ifaces: Vec::new(),
                ingress_enforced: identity.enforced[0],
                egress_enforced: identity.enforced[1],
            };
            (*number, shown)
        })
        .collect();
    for (prefix, address) in &directory.addresses {
        if let Some(identity) = identities.get_mut(&address.identity) {
            let host = prefix.prefix_len() == prefix.max_prefix_len();
            let shown = if host {
                prefix.addr().to_string()
            } else {
                prefix.to_string()
            };
            identity.addresses.push(shown);
            let iface = address.interface.iter().cloned();
            identity.ifaces.extend(iface);
        }
    }
    for identity in identities.values_mut() {
        identity.ifaces.sort();
        identity.ifaces.dedup();
    }
    identities.into_values().collect()
}
