//! Routes: whether they and HTTP rules go together with the rest (the Services
//! that they name are there, the host has an L7 tier to enforce them), and
//! which pools they lead to.

use std::collections::BTreeMap;
use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::model::{Model, Touched, fronts};
use super::pools::PoolKey;
use super::services::Services;
use crate::directory::{self, Source};
use crate::error::{Error, Origin};
use crate::facts::HostFacts;
use crate::l7::PortRoutes;
use crate::objects::{
    Forwarding, ObjectName, Policy, Protocol, Route, RouteRule, Service, ServicePort,
};
use crate::tables::Tables;

/// Numbers of the rules of routes, kept while the route has the rule.
#[derive(Debug, Default)]
pub struct Routes {
    numbers: FxHashMap<(ObjectName, String), u32>,
    last: u32,
}

impl Routes {
    /// What the routes of every Service port are.
    pub fn update(
        &mut self,
        model: &Model,
        touched: &Touched,
        services: &Services,
        tables: &mut Tables,
    ) {
        if model.routes.is_empty() && tables.l7.routed.is_empty() {
            return;
        }
        if !touched.routes.is_empty() {
            self.describe(model, tables);
        }
        let named = model.service_routes.keys();
        let ports = named.filter_map(|name| model.service_of(name));
        tables.l7.routed = ports
            .flat_map(|service| port_routes(model, service, services))
            .collect();
    }

    fn describe(&mut self, model: &Model, tables: &mut Tables) {
        let mut numbers = FxHashMap::default();
        tables.directory.route_rules.clear();
        for route in model.routes.values().filter_map(|held| held.first()) {
            for rule in &route.rules {
                let key = (route.name.clone(), rule.path.clone());
                let number = self.numbers.get(&key).copied().unwrap_or_else(|| {
                    self.last += 1;
                    self.last
                });
                numbers.insert(key, number);
                let origin = Origin {
                    file: Arc::clone(&route.origin.file),
                    line: rule.line,
                };
                let entry = directory::RouteRule {
                    route: route.name.clone(),
                    path: rule.path.clone(),
                    source: Source::from(&origin),
                };
                tables.directory.route_rules.insert(number, entry);
            }
        }
        self.numbers = numbers;
    }
}

/// The routes of a Service's ports, by pool.
fn port_routes(
    model: &Model,
    service: &Service,
    services: &Services,
) -> impl Iterator<Item = (u32, PortRoutes)> {
    let pools = services.pools_of(&service.name);
    let pools: Vec<_> = pools
        .filter_map(move |(key, pool)| {
            let port = service.ports.iter().find(|port| {
                port.protocol == Protocol::Tcp
                    && (&port.name, port.protocol) == (&key.port_name, key.protocol)
            })?;
            let routes: Vec<_> = of_port(model, &service.name, port).cloned().collect();
            let rules = routes.iter().flat_map(|route| &route.rules);
            let led_to = rules.flat_map(RouteRule::led_to);
            let led_to = led_to.filter_map(|(name, number, ..)| {
                let other = model.service_of(name)?;
                let wanted = pool_of(other, number, key.is_v6)?;
                let pool = services.pool(name, &wanted)?;
                Some(((name.clone(), number), pool))
            });
            let found = PortRoutes {
                service: service.name.clone(),
                port: port.port,
                pools: led_to.collect(),
                routes,
            };
            (!found.routes.is_empty()).then_some((pool, found))
        })
        .collect();
    pools.into_iter()
}

/// The routes whose parent is a port of a Service.
fn of_port<'m>(
    model: &'m Model,
    service: &ObjectName,
    port: &ServicePort,
) -> impl Iterator<Item = &'m Arc<Route>> {
    let routes = model.service_routes.get(service).into_iter().flatten();
    let is_parent = move |route: &&Arc<Route>| {
        let mut parents = route.parents.iter().filter(|p| p.service == *service);
        parents.any(|parent| parent.port.is_none_or(|number| number == port.port))
    };
    routes.filter(is_parent)
}

/// Whether flows to a port of a Service are the L7 tier's.
pub fn is_routed(model: &Model, service: &Service, port: &ServicePort) -> bool {
    port.protocol == Protocol::Tcp && of_port(model, &service.name, port).next().is_some()
}

/// The pool that a route's backend means.
fn pool_of(service: &Service, port: u16, is_v6: bool) -> Option<PoolKey> {
    let mut ports = service.ports.iter();
    let port = ports.find(|p| p.port == port && p.protocol == Protocol::Tcp)?;
    Some(PoolKey {
        port_name: port.name.clone(),
        protocol: Protocol::Tcp,
        is_v6,
        local_only: service.internal_local,
    })
}

/// The pools of a Service that routes lead to, in the families in which their
/// parents are reached.
pub fn pools_led_to(model: &Model, facts: &HostFacts, service: &Service) -> Vec<PoolKey> {
    let routes = model.service_routes.get(&service.name);
    let mut keys = Vec::new();
    for route in routes.into_iter().flatten() {
        let parents = route.parents.iter();
        let parents = parents.filter_map(|parent| model.service_of(&parent.service));
        let families: Vec<bool> = parents
            .flat_map(|parent| fronts(parent, facts))
            .map(|front| front.key.address.is_ipv6())
            .collect();
        let led_to = route.rules.iter().flat_map(RouteRule::led_to);
        for (_, port, ..) in led_to.filter(|(name, ..)| **name == service.name) {
            for is_v6 in [false, true] {
                let key = pool_of(service, port, is_v6);
                keys.extend(key.filter(|_| families.contains(&is_v6)));
            }
        }
    }
    keys
}

pub fn faults(model: &Model, facts: &HostFacts, touched: &Touched) -> Vec<Error> {
    let mut routes: BTreeMap<&ObjectName, &Arc<Route>> = BTreeMap::new();
    let own = touched
        .routes
        .iter()
        .filter_map(|name| model.routes.get(name));
    let named = touched
        .services
        .iter()
        .filter_map(|name| model.service_routes.get(name));
    for route in own.chain(named).flatten() {
        routes.insert(&route.name, route);
    }
    let mut errors = Vec::new();
    for route in routes.values() {
        services(model, route, &mut errors);
        if !facts.l7 {
            errors.push(no_tier(&route.origin, format!("HTTPRoute {}", route.name)));
        }
    }
    let policies = touched
        .policies
        .iter()
        .filter_map(|key| model.policies.get(key));
    for policy in policies.flatten().filter(|_| !facts.l7) {
        errors.extend(first_http_rule(policy));
    }
    errors
}

fn no_tier(origin: &Origin, title: String) -> Error {
    Error::of(
        origin,
        title,
        "not supported yet: L7 rules need the L7 tier, which this host does not run",
    )
}

fn first_http_rule(policy: &Policy) -> Option<Error> {
    let mut rules = policy.parts.iter().flat_map(|part| &part.rules);
    let rule = rules.find(|rule| rule.http.is_some())?;
    let origin = Origin {
        file: Arc::clone(&policy.origin.file),
        line: rule.line,
    };
    let mut error = no_tier(&origin, format!("{} {}", policy.kind, policy.name));
    error.path.clone_from(&rule.path);
    Some(error)
}

fn services(model: &Model, route: &Route, errors: &mut Vec<Error>) {
    for (name, port, path, line) in route.services() {
        let message = match (model.service_of(name), port) {
            (None, _) => format!("there is no Service {name}: add it, or remove the reference"),
            (Some(service), Some(number)) => {
                let mut ports = service.ports.iter();
                if ports.any(|port| port.port == number && port.protocol == Protocol::Tcp) {
                    continue;
                }
                format!("Service {name} has no TCP port {number}")
            }
            (Some(_), None) => continue,
        };
        errors.push(fault(route, path, line, message));
    }
    for parent in &route.parents {
        let service = model.service_of(&parent.service);
        if service.is_some_and(|service| service.forwarding == Forwarding::Dsr) {
            let message = format!(
                "answers of Service {} do not come back through this host: take away its annotation terrace.io/forwarding: dsr, or the route",
                parent.service
            );
            errors.push(fault(route, &parent.path, parent.line, message));
        }
    }
}

fn fault(route: &Route, path: &str, line: u32, message: String) -> Error {
    let origin = Origin {
        file: Arc::clone(&route.origin.file),
        line,
    };
    let mut error = Error::of(&origin, format!("HTTPRoute {}", route.name), message);
    path.clone_into(&mut error.path);
    error
}
