//! Which backends a port of a Service has, from its slices.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::model::Model;
use crate::directory::BackendState;
use crate::facts::HostFacts;
use crate::objects::{Endpoint, ObjectName, Protocol, Service, ServicePort, Slice};

/// What makes a set of backends: a port of a Service, an address family, and
/// whether only backends of this host count.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PoolKey {
    pub port_name: String,
    pub protocol: Protocol,
    pub is_v6: bool,
    pub local_only: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackendSpec {
    pub weight: u16,
    pub state: BackendState,
    pub local: bool,
    pub pod: String,
    /// May serve when nothing else does: it terminates and still works.
    last_resort: bool,
}

/// Backends by address and port.
pub type BackendSpecs = BTreeMap<(IpAddr, u16), BackendSpec>;

pub struct PoolReader<'m> {
    pub model: &'m Model,
    pub facts: &'m HostFacts,
    pub service: &'m Service,
}

impl PoolReader<'_> {
    pub fn backends(&self, port: &ServicePort, key: &PoolKey) -> BackendSpecs {
        let mut specs = BackendSpecs::new();
        let slices = self.model.slices.get(&self.service.name);
        for slice in slices.into_iter().flatten() {
            let matching =
                |p: &&crate::objects::SlicePort| p.name == port.name && p.protocol == port.protocol;
            let Some(slice_port) = slice.ports.iter().find(matching) else {
                continue;
            };
            for endpoint in &slice.endpoints {
                if endpoint.address.is_ipv6() != key.is_v6
                    || (key.local_only && !self.on_this_host(endpoint))
                {
                    continue;
                }
                let spec = self.backend(slice, endpoint, slice_port.port);
                merge(&mut specs, (endpoint.address, slice_port.port), spec);
            }
        }
        use_last_resort(&mut specs);
        specs
    }

    fn on_this_host(&self, endpoint: &Endpoint) -> bool {
        let named = endpoint
            .node
            .as_ref()
            .is_some_and(|node| *node == self.facts.node_name);
        named || self.model.is_local(endpoint.address, self.facts)
    }

    fn backend(&self, slice: &Slice, endpoint: &Endpoint, port: u16) -> BackendSpec {
        let address = endpoint.address;
        let weight = slice
            .weights
            .of(address)
            .or_else(|| self.service.weights.of(address))
            .unwrap_or(1);
        let healthy = !self.facts.unhealthy.contains(&(address, port));
        let ready = endpoint.ready || self.service.publish_not_ready;
        let state = match (ready, healthy) {
            _ if !ready && endpoint.terminating => BackendState::Draining,
            (false, _) => BackendState::Unready,
            (true, false) => BackendState::Unhealthy,
            (true, true) if weight == 0 => BackendState::Draining,
            (true, true) => BackendState::Ready,
        };
        BackendSpec {
            weight,
            state,
            local: self.model.is_local(address, self.facts),
            pod: endpoint.pod.clone(),
            last_resort: !ready
                && endpoint.terminating
                && endpoint.serving
                && healthy
                && weight > 0,
        }
    }
}

/// A backend that two slices have counts as the readier one.
fn merge(specs: &mut BackendSpecs, key: (IpAddr, u16), spec: BackendSpec) {
    let better = specs.get(&key).is_none_or(|held| {
        (spec.state == BackendState::Ready, spec.last_resort)
            > (held.state == BackendState::Ready, held.last_resort)
    });
    if better {
        specs.insert(key, spec);
    }
}

/// As kube-proxy: when no backend is ready, those that terminate and still
/// serve take new flows.
fn use_last_resort(specs: &mut BackendSpecs) {
    if specs.values().any(|spec| spec.state == BackendState::Ready) {
        return;
    }
    for spec in specs.values_mut().filter(|spec| spec.last_resort) {
        spec.state = BackendState::Ready;
    }
}

/// The key of the pool that a frontend leads to.
pub fn pool_key(port: &ServicePort, address: IpAddr, local_only: bool) -> PoolKey {
    PoolKey {
        port_name: port.name.clone(),
        protocol: port.protocol,
        is_v6: address.is_ipv6(),
        local_only,
    }
}

/// The Services that have a backend at an address.
pub fn services_with_backend(model: &Model, address: IpAddr) -> impl Iterator<Item = &ObjectName> {
    model
        .endpoints
        .get(&address)
        .into_iter()
        .flatten()
        .map(|slice| &slice.service)
}
