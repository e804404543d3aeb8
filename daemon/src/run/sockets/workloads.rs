//! Workloads with a proxy: from the manifests and what is on this host to the
//! tables, and the programs on their network namespaces.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use terrace_mesh::Pod;
use terrace_sock::workloads::{Key, Workload, Workloads};
use terrace_sock::{links, proxy};

use super::Sockets;
use super::discover::{self, Found, Map};
use crate::run::events::Kind;
use crate::run::shared::{Mesh, Shared};

/// What was last written.
#[derive(Debug, Default)]
pub struct State {
    workloads: Workloads,
    /// Pods by the number of their workload.
    pub names: BTreeMap<u32, String>,
    /// Cookies of network namespaces whose inbound program is there.
    inbound: BTreeSet<u64>,
    /// Faults that were told; told again only after they were gone.
    told: BTreeSet<String>,
}

impl State {
    pub fn cgroups(&self) -> BTreeSet<u64> {
        let keys = self.workloads.held().map(|workload| workload.key);
        let ids = keys.filter_map(|key| match key {
            Key::Cgroup(id) => Some(id),
            Key::Netns(_) => None,
        });
        ids.collect()
    }
}

/// Looks where the workloads are, and writes what differs.
pub fn sync(shared: &Shared) {
    let Some(sockets) = shared.sockets.get() else {
        return;
    };
    if sockets.proxy.is_none() {
        return;
    }
    let Some(pods) = pods(shared) else {
        return;
    };
    let (found, mut faults) = look(&pods, shared);
    let mut state = sockets.state();
    state.names = found
        .iter()
        .map(|(workload, _)| (workload.number, name_of(&pods, workload.number)))
        .collect();
    if let Err(error) = write(shared, sockets, &mut state, &found) {
        faults.insert(format!("{error:#}"));
    }
    for fault in faults.difference(&state.told) {
        shared.events.tell(Kind::SocketWorkload, fault.clone());
    }
    state.told = faults;
}

/// None while the manifests are refused: what is there stays.
fn pods(shared: &Shared) -> Option<Vec<Pod>> {
    match &*shared.mesh() {
        Mesh::Recovered(_) => None,
        Mesh::Compiled(compiler) => Some(compiler.proxied_pods().cloned().collect()),
    }
}

fn name_of(pods: &[Pod], number: u32) -> String {
    let pod = pods.get(number as usize - 1);
    pod.map(|pod| pod.name.to_string()).unwrap_or_default()
}

fn look(pods: &[Pod], shared: &Shared) -> (Vec<Found>, BTreeSet<String>) {
    let map = match pods.is_empty() {
        true => Map::default(),
        false => Map::take(),
    };
    let (view, defaults) = (shared.view(), &shared.config.socket.redirect);
    let mut found = Vec::new();
    let mut faults = map.faults.clone();
    for (number, pod) in (1..).zip(pods) {
        match discover::workload(pod, number, &map, (&view.network, defaults)) {
            Ok(None) => faults.extend(discover::unseen(pod)),
            Ok(workload) => found.extend(workload),
            Err(fault) => {
                faults.insert(fault);
            }
        }
    }
    faults.extend(refuse_shared(&mut found, pods));
    (found, faults)
}

/// Two pods in one place can't be told from each other.
fn refuse_shared(found: &mut Vec<Found>, pods: &[Pod]) -> Vec<String> {
    let mut owners: BTreeMap<Key, Vec<u32>> = BTreeMap::new();
    for (workload, _) in found.iter() {
        owners
            .entry(workload.key)
            .or_default()
            .push(workload.number);
    }
    owners.retain(|_, numbers| numbers.len() > 1);
    found.retain(|(workload, _)| !owners.contains_key(&workload.key));
    let fault = |numbers: &Vec<u32>| {
        let names: Vec<String> = numbers.iter().map(|n| name_of(pods, *n)).collect();
        format!(
            "pods {} are in one network namespace or cgroup: none of them is redirected; name the \
             cgroup of each with terrace.io/cgroup",
            names.join(" and ")
        )
    };
    owners.values().map(fault).collect()
}

fn write(shared: &Shared, sockets: &Sockets, state: &mut State, found: &[Found]) -> Result<()> {
    let wanted: Vec<Workload> = found.iter().map(|(workload, _)| workload.clone()).collect();
    state.workloads.sync(sockets.programs.own(), &wanted)?;
    let mut inbound = BTreeSet::new();
    for (workload, namespace) in found {
        let Some(namespace) = namespace
            .as_ref()
            .filter(|_| workload.proxy.inbound_port != 0)
        else {
            continue;
        };
        inbound.insert(workload.netns);
        if state.inbound.contains(&workload.netns) {
            continue;
        }
        if let Some(proxy) = &sockets.proxy {
            proxy.attach_inbound(namespace, workload.netns)?;
        }
        if let Some(iterators) = &sockets.iterators {
            iterators.find_listeners(namespace)?;
        }
        state.inbound.insert(workload.netns);
    }
    let gone = |name: &str| proxy::inbound_cookie(name).is_some_and(|c| !inbound.contains(&c));
    links::detach_others(shared.maps.root(), |name| !gone(name))?;
    state.inbound.retain(|cookie| inbound.contains(cookie));
    Ok(())
}
