//! Whether routes and HTTP rules go together with the rest: the Services that
//! they name are there, and the host has an L7 tier to enforce them.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::model::{Model, Touched};
use crate::error::{Error, Origin};
use crate::facts::HostFacts;
use crate::objects::{ObjectName, Policy, Protocol, Route};

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
        let origin = Origin {
            file: Arc::clone(&route.origin.file),
            line,
        };
        let mut error = Error::of(&origin, format!("HTTPRoute {}", route.name), message);
        path.clone_into(&mut error.path);
        errors.push(error);
    }
}
