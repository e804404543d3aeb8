//! Where a pod's processes are: the network namespace that has its addresses,
//! or the cgroup that its manifest names. Known before its first connection,
//! never learnt from one that failed.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::Path;

use terrace_mesh::Pod;
use terrace_sock::netns::{self, Inside, Namespace};
use terrace_sock::workloads::{Key, Lists, Proxy, Workload};

use crate::config::{Redirect as Defaults, WhenDown};
use crate::netlink::Network;

/// A workload and where it is; None = it is a cgroup of the host's namespace.
pub type Found = (Workload, Option<Namespace>);

/// The network namespaces by the addresses in them.
#[derive(Debug, Default)]
pub struct Map {
    inside: Vec<(Namespace, Inside)>,
    by_address: BTreeMap<IpAddr, Vec<usize>>,
    /// Why some could not be looked into.
    pub faults: BTreeSet<String>,
}

impl Map {
    /// Looks into every network namespace of this host. One that ends
    /// meanwhile is left out.
    pub fn take() -> Self {
        let mut map = Self::default();
        for namespace in netns::all() {
            let inside = match namespace.look() {
                Ok(inside) => inside,
                Err(error) => {
                    map.faults.extend(forbidden(&error));
                    continue;
                }
            };
            for address in &inside.addresses {
                let at = map.by_address.entry(*address).or_default();
                at.push(map.inside.len());
            }
            map.inside.push((namespace, inside));
        }
        map
    }

    /// Several hosts in one machine may have pods of the same address; the
    /// interface of this one's leads to its namespace.
    fn of(&self, pod: &Pod, network: &Network) -> Result<Option<&(Namespace, Inside)>, String> {
        let mut found: Vec<usize> = Vec::new();
        for address in &pod.addresses {
            found.extend(self.by_address.get(address).into_iter().flatten());
        }
        found.sort_unstable();
        found.dedup();
        if let Some(wanted) = peer_netns(pod, network).filter(|_| found.len() > 1) {
            found.retain(|at| self.inside[*at].0.number_here().ok().flatten() == Some(wanted));
        }
        match found[..] {
            [] => Ok(None),
            [one] => Ok(Some(&self.inside[one])),
            [one, other, ..] => Err(format!(
                "pod {}: its addresses are in two network namespaces, {} and {}: none of them is \
                 redirected; remove one of them",
                pod.name,
                self.inside[one].0.path.display(),
                self.inside[other].0.path.display()
            )),
        }
    }
}

/// A namespace that this service may not enter; one that has ended is no fault.
fn forbidden(error: &terrace_sock::Error) -> Option<String> {
    let terrace_sock::Error::Ask { source, .. } = error else {
        return None;
    };
    (source.kind() == std::io::ErrorKind::PermissionDenied).then(|| {
        "network namespaces can't be entered, so no pod in them is redirected: the service needs \
         CAP_SYS_ADMIN, and RestrictNamespaces=net in its unit"
            .to_owned()
    })
}

/// What is told of a pod that is in no namespace that was found.
pub fn unseen(pod: &Pod) -> Option<String> {
    let hidden = netns::hidden();
    (hidden > 0).then(|| {
        format!(
            "pod {}: not found yet, and the network namespaces of some processes can't be asked \
             for: the service needs CAP_SYS_PTRACE, or the namespace a name under /run/netns",
            pod.name
        )
    })
}

/// The number of the namespace that the pod's interface leads to.
fn peer_netns(pod: &Pod, network: &Network) -> Option<i32> {
    let name = pod.interface.as_ref()?;
    let mut links = network.links.values();
    links.find(|link| link.name == *name)?.peer_netns
}

/// The workload of a pod with a proxy; `None` while it is not there yet.
///
/// # Errors
/// Why it can't be served, for people.
pub fn workload(
    pod: &Pod,
    number: u32,
    map: &Map,
    (network, defaults): (&Network, &Defaults),
) -> Result<Option<Found>, String> {
    let Some(redirect) = &pod.redirect else {
        return Ok(None);
    };
    let cgroup_of = |folder: &String| {
        terrace_sock::cgroup_id(Path::new(folder))
            .map_err(|error| format!("pod {}: cgroup {folder}: {error}", pod.name))
    };
    let proxy_cgroup = redirect.proxy_cgroup.as_ref().map(cgroup_of).transpose()?;
    let by_cgroup = redirect.cgroup.as_ref().map(cgroup_of).transpose()?;
    let place = map.of(pod, network)?;
    let (key, inside) = match (by_cgroup, place) {
        (Some(id), place) => (Key::Cgroup(id), place),
        (None, Some(place)) => (Key::Netns(place.1.cookie), Some(place)),
        (None, None) => return Ok(None),
    };
    let dns = redirect.dns.unwrap_or(defaults.dns);
    let by_netns = matches!(key, Key::Netns(_));
    let workload = Workload {
        key,
        netns: inside.map_or(0, |(_, inside)| inside.cookie),
        addresses: pod.addresses.iter().copied().collect(),
        lists: Lists {
            all_nets: redirect.all_outbound,
            nets_included: redirect.outbound_nets.clone(),
            nets_excluded: redirect.outbound_nets_excluded.clone(),
            outbound_included: redirect.outbound_ports.clone(),
            outbound_excluded: redirect.outbound_ports_excluded.clone(),
            all_inbound: redirect.all_inbound,
            inbound_included: redirect.inbound_ports.clone(),
            inbound_excluded: redirect.inbound_ports_excluded.clone(),
        },
        proxy: Proxy {
            outbound_port: defaults.outbound_port,
            // What comes in is told by the network namespace.
            inbound_port: if by_netns { defaults.inbound_port } else { 0 },
            dns_port: if dns { defaults.dns_port } else { 0 },
            uid: defaults.uid,
            gid: defaults.gid,
            mark: defaults.mark,
            cgroup: proxy_cgroup,
            fail_direct: defaults.when_down == WhenDown::Direct,
        },
        number,
    };
    let namespace = inside.filter(|_| by_netns).map(|(place, _)| place.clone());
    Ok(Some((workload, namespace)))
}
