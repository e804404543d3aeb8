//! All objects, by what they are looked up with. Maps hold every object that
//! claims a key, so that a key claimed twice is found and a change can be
//! taken back by its inverse.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::facts::HostFacts;
use crate::objects::{
    FrontendKind, Namespace, Object, ObjectName, Pod, Policy, PolicyKind, Protocol, Route, Service,
    Slice,
};

/// Where a service is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FrontKey {
    pub address: IpAddr,
    pub port: u16,
    pub protocol: Protocol,
}

/// A frontend of a Service: which port it leads to.
#[derive(Debug, Clone)]
pub struct Front {
    pub key: FrontKey,
    pub kind: FrontendKind,
    /// Index in the Service's ports.
    pub port: usize,
    pub local_only: bool,
}

#[derive(Debug, Default)]
pub struct Model {
    pub services: BTreeMap<ObjectName, Vec<Arc<Service>>>,
    /// By the Service that they belong to.
    pub slices: BTreeMap<ObjectName, Vec<Arc<Slice>>>,
    pub slice_names: FxHashMap<ObjectName, Vec<Arc<Slice>>>,
    /// Slices that have an endpoint with the address.
    pub endpoints: FxHashMap<IpAddr, Vec<Arc<Slice>>>,
    pub fronts: FxHashMap<FrontKey, Vec<Arc<Service>>>,
    /// Services that have a frontend on the address.
    pub service_addresses: FxHashMap<IpAddr, Vec<Arc<Service>>>,
    pub pods: BTreeMap<ObjectName, Vec<Arc<Pod>>>,
    pub pod_addresses: FxHashMap<IpAddr, Vec<Arc<Pod>>>,
    /// Workloads of this host by their interface.
    pub interfaces: FxHashMap<String, Vec<Arc<Pod>>>,
    pub namespaces: BTreeMap<String, Vec<Arc<Namespace>>>,
    pub namespace_pods: FxHashMap<String, Vec<Arc<Pod>>>,
    pub policies: BTreeMap<(PolicyKind, ObjectName), Vec<Arc<Policy>>>,
    pub routes: BTreeMap<ObjectName, Vec<Arc<Route>>>,
    /// Routes that name the Service, as parent or as backend.
    pub service_routes: FxHashMap<ObjectName, Vec<Arc<Route>>>,
}

/// Keys whose objects changed.
#[derive(Debug, Default)]
pub struct Touched {
    pub services: BTreeSet<ObjectName>,
    pub slice_names: BTreeSet<ObjectName>,
    pub fronts: BTreeSet<FrontKey>,
    pub addresses: BTreeSet<IpAddr>,
    pub pods: BTreeSet<ObjectName>,
    pub interfaces: BTreeSet<String>,
    pub namespaces: BTreeSet<String>,
    pub policies: BTreeSet<(PolicyKind, ObjectName)>,
    pub routes: BTreeSet<ObjectName>,
    /// Services that touched routes name.
    pub routed: BTreeSet<ObjectName>,
}

/// What changes: objects that go, objects that come.
#[derive(Debug, Default)]
pub struct Delta {
    pub removed: Vec<Object>,
    pub added: Vec<Object>,
}

impl Delta {
    pub fn inverse(self) -> Self {
        Self {
            removed: self.added,
            added: self.removed,
        }
    }
}

/// A map whose keys may be claimed by several objects.
trait Claims<K, T> {
    fn claim(&mut self, key: K, object: &Arc<T>, add: bool);
}

fn remove_one<T: PartialEq>(held: &mut Vec<Arc<T>>, object: &Arc<T>) -> bool {
    let same = |other: &Arc<T>| Arc::ptr_eq(other, object) || other == object;
    if let Some(at) = held.iter().position(same) {
        held.remove(at);
    }
    held.is_empty()
}

impl<K: Hash + Eq, T: PartialEq> Claims<K, T> for FxHashMap<K, Vec<Arc<T>>> {
    fn claim(&mut self, key: K, object: &Arc<T>, add: bool) {
        if add {
            self.entry(key).or_default().push(Arc::clone(object));
        } else if self
            .get_mut(&key)
            .is_some_and(|held| remove_one(held, object))
        {
            self.remove(&key);
        }
    }
}

impl<K: Ord, T: PartialEq> Claims<K, T> for BTreeMap<K, Vec<Arc<T>>> {
    fn claim(&mut self, key: K, object: &Arc<T>, add: bool) {
        if add {
            self.entry(key).or_default().push(Arc::clone(object));
        } else if self
            .get_mut(&key)
            .is_some_and(|held| remove_one(held, object))
        {
            self.remove(&key);
        }
    }
}

/// The frontends of a Service on this host.
pub fn fronts(service: &Service, facts: &HostFacts) -> Vec<Front> {
    let mut fronts = Vec::new();
    for (index, port) in service.ports.iter().enumerate() {
        let front = |address, number, kind| Front {
            key: FrontKey {
                address,
                port: number,
                protocol: port.protocol,
            },
            kind,
            port: index,
            local_only: match kind {
                FrontendKind::ClusterIp => service.internal_local,
                _ => service.external_local,
            },
        };
        fronts.extend(
            service
                .addresses
                .iter()
                .map(|(address, kind)| front(*address, port.port, *kind)),
        );
        if let Some(number) = port.node_port {
            let nodes = facts.addresses.iter();
            fronts.extend(nodes.map(|address| front(*address, number, FrontendKind::NodePort)));
        }
    }
    fronts
}

/// Whether a pod is a workload of this host.
pub fn is_workload(pod: &Pod, facts: &HostFacts) -> bool {
    pod.interface.is_some()
        && pod
            .node
            .as_ref()
            .is_none_or(|node| *node == facts.node_name)
}

impl Model {
    /// Makes the change; the keys that it touched go into `touched`.
    pub fn apply(&mut self, delta: &Delta, facts: &HostFacts, touched: &mut Touched) {
        for object in &delta.removed {
            self.object(object, facts, touched, false);
        }
        for object in &delta.added {
            self.object(object, facts, touched, true);
        }
    }

    fn object(&mut self, object: &Object, facts: &HostFacts, touched: &mut Touched, add: bool) {
        match object {
            Object::Service(service) => self.service(service, facts, touched, add),
            Object::Slice(slice) => self.slice(slice, touched, add),
            Object::Pod(pod) => self.pod(pod, facts, touched, add),
            Object::Namespace(namespace) => {
                touched.namespaces.insert(namespace.name.clone());
                self.namespaces
                    .claim(namespace.name.clone(), namespace, add);
            }
            Object::Policy(policy) => {
                let key = (policy.kind, policy.name.clone());
                touched.policies.insert(key.clone());
                self.policies.claim(key, policy, add);
            }
            Object::Route(route) => {
                touched.routes.insert(route.name.clone());
                self.routes.claim(route.name.clone(), route, add);
                let named: BTreeSet<_> = route.services().map(|(name, ..)| name).collect();
                for name in named {
                    touched.routed.insert(name.clone());
                    self.service_routes.claim(name.clone(), route, add);
                }
            }
        }
    }

    fn service(
        &mut self,
        service: &Arc<Service>,
        facts: &HostFacts,
        touched: &mut Touched,
        add: bool,
    ) {
        touched.services.insert(service.name.clone());
        self.services.claim(service.name.clone(), service, add);
        for front in fronts(service, facts) {
            touched.fronts.insert(front.key);
            touched.addresses.insert(front.key.address);
            self.fronts.claim(front.key, service, add);
            self.service_addresses
                .claim(front.key.address, service, add);
        }
    }

    fn slice(&mut self, slice: &Arc<Slice>, touched: &mut Touched, add: bool) {
        touched.services.insert(slice.service.clone());
        touched.slice_names.insert(slice.name.clone());
        self.slices.claim(slice.service.clone(), slice, add);
        self.slice_names.claim(slice.name.clone(), slice, add);
        for endpoint in &slice.endpoints {
            self.endpoints.claim(endpoint.address, slice, add);
        }
    }

    fn pod(&mut self, pod: &Arc<Pod>, facts: &HostFacts, touched: &mut Touched, add: bool) {
        touched.pods.insert(pod.name.clone());
        self.pods.claim(pod.name.clone(), pod, add);
        self.namespace_pods
            .claim(pod.name.namespace.clone(), pod, add);
        for address in &pod.addresses {
            touched.addresses.insert(*address);
            self.pod_addresses.claim(*address, pod, add);
        }
        if let Some(interface) = pod.interface.as_ref().filter(|_| is_workload(pod, facts)) {
            touched.interfaces.insert(interface.clone());
            self.interfaces.claim(interface.clone(), pod, add);
        }
    }

    /// The only Service of a name.
    pub fn service_of(&self, name: &ObjectName) -> Option<&Arc<Service>> {
        self.services.get(name).and_then(|held| held.first())
    }

    pub fn pod_at(&self, address: IpAddr) -> Option<&Arc<Pod>> {
        self.pod_addresses
            .get(&address)
            .and_then(|held| held.first())
    }

    /// Whether packets to the address end on this host, with Terrace's help.
    pub fn is_local(&self, address: IpAddr, facts: &HostFacts) -> bool {
        facts.addresses.contains(&address)
            || self
                .pod_at(address)
                .is_some_and(|pod| is_workload(pod, facts))
    }
}
