//! From the tables of a change to the rules of the workers.

use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};
use terrace_mesh::directory::Directory;
use terrace_mesh::{Error, Errors, ObjectName, PortRoutes, Protocol, RuleSet, Tables};

use super::{Frontend, MAX_ACTIONS, PolicyView, Pool, PortRules, RequestSet, Rules};

impl Rules {
    /// Compiles what `tables` say; what `previous` has already is kept.
    ///
    /// # Errors
    /// Which rule can't be compiled, and why.
    pub fn build(tables: &Tables, host_may: bool, previous: &Self) -> Result<Self, Errors> {
        if tables.l7.is_empty() {
            return Ok(Self {
                owners: previous.owners.of_nobody(),
                ..Self::default()
            });
        }
        let mut rules = Self {
            policy: policy(tables, host_may, previous),
            owners: previous.owners.next(&tables.directory),
            ..Self::default()
        };
        for (number, set) in &tables.l7.sets {
            let kept = previous.sets.get(number).cloned();
            let compiled = kept.map_or_else(|| compile_set(set, tables), Ok)?;
            rules.sets.insert(*number, compiled);
        }
        let mut places = FxHashMap::default();
        for (pool, source) in &tables.l7.routed {
            places.insert(*pool, rules.ports.len() as u16);
            rules.ports.push(port_rules(source, tables, previous)?);
        }
        let directory = &tables.directory;
        let pools = directory
            .pools
            .iter()
            .filter(|(_, pool)| pool.protocol == Protocol::Tcp);
        for (index, pool) in pools {
            let ring = tables.rings.get(index).cloned();
            rules
                .pools
                .insert(*index, Pool::of(directory, pool, ring, &rules.owners));
        }
        let frontends = directory.frontends.iter();
        for (index, front) in frontends.filter(|(_, f)| f.protocol == Protocol::Tcp) {
            let endpoint = std::net::SocketAddr::new(front.address, front.port).into();
            let frontend = Frontend {
                index: *index,
                owner: rules.owners.service(*index),
                pool: front.pool,
                routes: places.get(&front.pool).copied(),
            };
            rules.frontends.insert(endpoint, frontend);
        }
        Ok(rules)
    }
}

/// Addresses change without a new revision when nothing is judged otherwise;
/// then the identities are what they were.
fn policy(tables: &Tables, host_may: bool, previous: &Rules) -> Arc<PolicyView> {
    let held = &previous.policy;
    match held.policy_rev == tables.policy_rev && !previous.frontends.is_empty() {
        true => Arc::clone(held),
        false => Arc::new(PolicyView::of(tables, host_may)),
    }
}

fn compile_set(set: &RuleSet, tables: &Tables) -> Result<Arc<RequestSet>, Error> {
    let compiled = RequestSet::compile(set);
    compiled.map(Arc::new).map_err(|error| {
        let number = set.rules.first().map_or(0, |rule| rule.number);
        let Some(rule) = tables.directory.rule(number) else {
            return Error::of_host("", error.to_string());
        };
        Error {
            file: rule.source.file.clone(),
            line: rule.source.line,
            document: format!("{} {}", rule.kind, rule.policy),
            path: format!("{}.rules.http", rule.path),
            message: error.to_string(),
        }
    })
}

fn port_rules(
    source: &PortRoutes,
    tables: &Tables,
    previous: &Rules,
) -> Result<Arc<PortRules>, Error> {
    let kept = previous.ports.iter().find(|held| held.source == *source);
    if let Some(kept) = kept {
        return Ok(Arc::clone(kept));
    }
    let numbers = numbers(&tables.directory, source);
    let number = |route: &ObjectName, path: &str| *numbers.get(&(route, path)).unwrap_or(&0);
    let refused = |why: String| match source.routes.first() {
        Some(route) => Error::of(&route.origin, format!("HTTPRoute {}", route.name), why),
        None => Error::of_host("", why),
    };
    let compiled =
        PortRules::compile(source, number).map_err(|error| refused(error.to_string()))?;
    if compiled.actions.len() >= MAX_ACTIONS {
        let (service, port) = (&source.service, source.port);
        return Err(refused(format!(
            "port {port} of Service {service} has {} rules of routes: {} are the most",
            compiled.actions.len(),
            MAX_ACTIONS - 1
        )));
    }
    Ok(Arc::new(compiled))
}

/// Numbers of the rules of a port's routes, by route and path.
fn numbers<'d>(
    directory: &'d Directory,
    source: &PortRoutes,
) -> FxHashMap<(&'d ObjectName, &'d str), u32> {
    let routes: FxHashSet<&ObjectName> = source.routes.iter().map(|route| &route.name).collect();
    let all = directory.route_rules.iter();
    all.filter(|(_, rule)| routes.contains(&rule.route))
        .map(|(number, rule)| ((&rule.route, rule.path.as_str()), *number))
        .collect()
}
