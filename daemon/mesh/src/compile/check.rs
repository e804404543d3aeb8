//! Whether the documents go together: names, addresses and interfaces that
//! are claimed twice, slices without their Service, loops.

use std::fmt::Display;
use std::net::IpAddr;
use std::sync::Arc;

use super::model::{FrontKey, Model, Touched};
use super::routes;
use crate::error::{Error, Errors, Origin};
use crate::facts::HostFacts;
use crate::objects::{ObjectName, Pod, Protocol, Service, Slice};

/// Checks everything that the change touched.
pub fn check(model: &Model, facts: &HostFacts, touched: &Touched) -> Result<(), Errors> {
    let mut check = Check {
        model,
        facts,
        errors: Vec::new(),
    };
    check.names(touched);
    check.errors.extend(routes::faults(model, facts, touched));
    for key in &touched.fronts {
        check.front(key);
    }
    for address in &touched.addresses {
        check.address(*address);
    }
    for interface in &touched.interfaces {
        check.interface(interface);
    }
    for name in &touched.services {
        check.slices(name);
    }
    Errors(check.errors).into_result()
}

struct Check<'m> {
    model: &'m Model,
    facts: &'m HostFacts,
    errors: Vec<Error>,
}

/// Every claim after the first one is a mistake.
fn repeats<T>(
    claims: Option<&Vec<Arc<T>>>,
    origin: impl Fn(&T) -> &Origin,
) -> Vec<(&Arc<T>, &Arc<T>)> {
    let mut claims: Vec<&Arc<T>> = claims.into_iter().flatten().collect();
    claims.sort_by(|a, b| origin(a).cmp(origin(b)));
    match claims.split_first() {
        Some((first, later)) => later.iter().map(|later| (*first, *later)).collect(),
        None => Vec::new(),
    }
}

fn twice(kind: impl Display, name: impl Display, later: &Origin, first: &Origin) -> Error {
    let title = format!("{kind} {name}");
    Error::of(
        later,
        title,
        format!("is defined a second time; the first is in {first}: remove one"),
    )
}

impl Check<'_> {
    fn names(&mut self, touched: &Touched) {
        for name in &touched.services {
            for (first, later) in repeats(self.model.services.get(name), |s| &s.origin) {
                self.errors
                    .push(twice("Service", name, &later.origin, &first.origin));
            }
        }
        for name in &touched.slice_names {
            for (first, later) in repeats(self.model.slice_names.get(name), |s| &s.origin) {
                self.errors
                    .push(twice("EndpointSlice", name, &later.origin, &first.origin));
            }
        }
        for name in &touched.pods {
            for (first, later) in repeats(self.model.pods.get(name), |p| &p.origin) {
                self.errors
                    .push(twice("Pod", name, &later.origin, &first.origin));
            }
        }
        for name in &touched.namespaces {
            for (first, later) in repeats(self.model.namespaces.get(name), |n| &n.origin) {
                self.errors
                    .push(twice("Namespace", name, &later.origin, &first.origin));
            }
        }
        for name in &touched.routes {
            for (first, later) in repeats(self.model.routes.get(name), |r| &r.origin) {
                self.errors
                    .push(twice("HTTPRoute", name, &later.origin, &first.origin));
            }
        }
        for key in &touched.policies {
            for (first, later) in repeats(self.model.policies.get(key), |p| &p.origin) {
                self.errors
                    .push(twice(key.0, &key.1, &later.origin, &first.origin));
            }
        }
    }

    fn front(&mut self, key: &FrontKey) {
        for (first, later) in repeats(self.model.fronts.get(key), |s| &s.origin) {
            let FrontKey {
                address,
                port,
                protocol,
            } = key;
            if first.name == later.name && first.origin != later.origin {
                continue;
            }
            let message = format!(
                "{address} {protocol} {port} is taken by Service {} in {}: every address and port has one Service",
                first.name, first.origin
            );
            self.errors
                .push(Error::of(&later.origin, service_title(later), message));
        }
    }

    fn address(&mut self, address: IpAddr) {
        let pods = self.model.pod_addresses.get(&address);
        for (first, later) in repeats(pods, |p| &p.origin) {
            if first.name != later.name {
                let message = format!(
                    "{address} is the address of Pod {} in {} too",
                    first.name, first.origin
                );
                self.pod_error(later, message);
            }
        }
        let Some(pod) = pods.and_then(|pods| pods.first()) else {
            return;
        };
        if self.facts.addresses.contains(&address) {
            self.pod_error(
                pod,
                format!("{address} is an address of this host: set hostNetwork, or correct it"),
            );
        }
        let services = self.model.service_addresses.get(&address);
        if let Some(service) = services.and_then(|services| services.first()) {
            let message = format!(
                "{address} is an address of Service {} in {} too",
                service.name, service.origin
            );
            self.pod_error(pod, message);
        }
    }

    fn interface(&mut self, interface: &str) {
        let pods = self.model.interfaces.get(interface);
        for (first, later) in repeats(pods, |p| &p.origin) {
            if first.name != later.name {
                let message = format!(
                    "the interface {interface} leads to Pod {} in {} too",
                    first.name, first.origin
                );
                self.pod_error(later, message);
            }
        }
    }

    fn pod_error(&mut self, pod: &Pod, message: String) {
        self.errors
            .push(Error::of(&pod.origin, format!("Pod {}", pod.name), message));
    }

    fn slices(&mut self, name: &ObjectName) {
        let Some(slices) = self.model.slices.get(name) else {
            return;
        };
        let Some(service) = self.model.service_of(name) else {
            for slice in slices {
                let message = format!("there is no Service {name}: add it, or remove the slice");
                self.errors
                    .push(Error::of(&slice.origin, slice_title(slice), message));
            }
            return;
        };
        for slice in slices {
            self.backends(service, slice);
        }
    }

    /// A backend whose address leads to a Service would send packets round.
    fn backends(&mut self, service: &Service, slice: &Slice) {
        for endpoint in &slice.endpoints {
            let address = endpoint.address;
            let Some(services) = self.model.service_addresses.get(&address) else {
                continue;
            };
            let is_host = self.facts.addresses.contains(&address);
            let taken = |port: u16, protocol: Protocol| {
                let key = FrontKey {
                    address,
                    port,
                    protocol,
                };
                self.model.fronts.contains_key(&key)
            };
            let mut ports = slice.ports.iter();
            if is_host && !ports.any(|port| taken(port.port, port.protocol)) {
                continue;
            }
            let origin = Origin {
                file: Arc::clone(&slice.origin.file),
                line: endpoint.line,
            };
            let message = format!(
                "the backend {address} of Service {} is an address of Service {} itself: packets would go round",
                service.name, services[0].name
            );
            self.errors
                .push(Error::of(&origin, slice_title(slice), message));
        }
    }
}

fn service_title(service: &Service) -> String {
    format!("Service {}", service.name)
}

fn slice_title(slice: &Slice) -> String {
    format!("EndpointSlice {}", slice.name)
}
