//! From manifests and the host's facts to tables.
//!
//! [`Compiler`] keeps what it knows between changes, so that a change costs
//! what it touches; [`compile`] is the same from nothing. Both keep every
//! index and ring slot of the previous tables that can stay.

mod addresses;
mod check;

mod identities;
mod model;
mod policy;
mod pools;
mod routes;
mod services;
mod transaction;

use std::collections::BTreeSet;
use std::path::PathBuf;

use terrace_abi::consts::IDENTITY_WORLD;
use terrace_abi::types::endpoint;

use crate::error::{Error, Errors};
use crate::facts::HostFacts;
use crate::objects::{Object, ObjectName, Pod};
use crate::parse::{Manifests, SourceFile};
use crate::tables::{Op, Tables};
use addresses::Addresses;
use identities::Identities;
use model::{Delta, Model, Touched};
use policy::Policies;
use routes::Routes;
use services::Services;

/// A change of one manifest file.
#[derive(Debug, Clone)]
pub enum Change {
    /// New, or with new text.
    Put(SourceFile),
    Remove(PathBuf),
}

/// What all parts of a compilation are given.
struct Host<'f> {
    facts: &'f HostFacts,
}

/// Compiles everything. The steps from `previous` to the result are
/// [`diff`](crate::diff) of the two.
pub fn compile(
    manifests: &Manifests,
    facts: &HostFacts,
    previous: Option<&Tables>,
) -> Result<Tables, Errors> {
    Compiler::new(manifests.clone(), facts.clone(), previous).map(|compiler| compiler.tables)
}

/// A compilation that is kept up to date.
///
/// The steps that one call returns must be carried out, all of them and in
/// order, before the next call; after a refusal those of
/// [`take_owed`](Compiler::take_owed).
#[derive(Debug)]
pub struct Compiler {
    manifests: Manifests,
    facts: HostFacts,
    model: Model,
    services: Services,
    identities: Identities,
    addresses: Addresses,
    policies: Policies,
    routes: Routes,
    tables: Tables,
    /// At the last lot of changes.
    policy_rev: u32,
    /// Steps that a refused change has left.
    owed: Vec<Op>,
    /// A refused change could not be undone: only the tables are right.
    broken: bool,
}

/// A table is full.
fn full(limit: &str, what: &str) -> Error {
    Error::of_host(
        &format!("limits.{limit}"),
        format!("no room for more {what}: raise limits.{limit} in terrace.toml and restart"),
    )
}

impl Compiler {
    /// Compiles everything, keeping what it can of the previous tables.
    pub fn new(
        manifests: Manifests,
        facts: HostFacts,
        previous: Option<&Tables>,
    ) -> Result<Self, Errors> {
        let limits = facts.limits.rounded();
        let mut tables = match previous {
            Some(previous) if previous.limits != limits => {
                let message = "differ from those of the tables in use: restart to apply them";
                return Err(Error::of_host("limits", message).into());
            }
            Some(previous) => previous.clone(),
            None => Tables::new(&limits),
        };
        tables.restart();
        let mut compiler = Self {
            services: Services::new(&tables),
            identities: Identities::new(&tables, &facts),
            addresses: Addresses::new(&tables),
            policies: Policies::new(previous.is_none(), &tables),
            routes: Routes::default(),
            model: Model::default(),
            manifests: Manifests::default(),
            facts,
            tables,
            policy_rev: 0,
            owed: Vec::new(),
            broken: false,
        };
        compiler.start(manifests)?;
        compiler.policy_rev = compiler.tables.policy_rev;
        Ok(compiler)
    }

    fn start(&mut self, manifests: Manifests) -> Result<(), Errors> {
        let world = endpoint {
            identity: IDENTITY_WORLD,
            ..Default::default()
        };
        self.tables.endpoints.write(0, &world);
        let delta = Delta {
            removed: Vec::new(),
            added: manifests.objects().cloned().collect(),
        };
        self.manifests = manifests;
        let mut touched = Touched::default();
        self.model.apply(&delta, &self.facts, &mut touched);
        touched.addresses.extend(&self.facts.addresses);
        touched.addresses.extend(&self.facts.remote_nodes);
        check::check(&self.model, &self.facts, &touched)?;
        self.prepare(&touched, true)?;
        self.sync(&touched, true)?;
        self.services.drop_unclaimed(&mut self.tables);
        let flows_changed = self.services.flows_changed;
        self.policies.finish(flows_changed, &mut self.tables);
        self.addresses.drop_unclaimed(&mut self.tables);
        self.deny_list()?;
        Ok(())
    }

    pub fn tables(&self) -> &Tables {
        &self.tables
    }

    pub fn facts(&self) -> &HostFacts {
        &self.facts
    }

    pub fn manifests(&self) -> &Manifests {
        &self.manifests
    }

    /// The pods of this host that have a proxy, by name.
    pub fn proxied_pods(&self) -> impl Iterator<Item = &Pod> {
        let here = |pod: &&Pod| {
            pod.node
                .as_ref()
                .is_none_or(|node| *node == self.facts.node_name)
        };
        let pods = self.model.pods.values().flatten().map(AsRef::as_ref);
        pods.filter(|pod| pod.redirect.is_some()).filter(here)
    }

    /// What must be in the kernel before anything else changes: identities of
    /// new prefixes, with the verdicts that their addresses have so far. True
    /// when there is something.
    fn prepare(&mut self, touched: &Touched, first: bool) -> Result<bool, Error> {
        let host = Host { facts: &self.facts };
        for pod in self.touched_pods(touched) {
            let previous = first.then_some(&self.tables);
            self.identities.update(&self.model, &host, &pod, previous)?;
        }
        self.policies
            .plan(&self.model, &host, touched, &self.identities, &self.tables)?;
        if first {
            return Ok(false);
        }
        let nets = self.policies.prepare(&host, &mut self.tables)?;
        let named = (&self.identities, &self.policies);
        self.addresses
            .prefixes(&self.model, &host, &nets, named, &mut self.tables)?;
        Ok(!nets.is_empty())
    }

    /// Brings the tables up to date with what was touched.
    fn sync(&mut self, touched: &Touched, first: bool) -> Result<(), Error> {
        let host = Host { facts: &self.facts };
        let (model, tables) = (&self.model, &mut self.tables);
        for name in &touched_services(model, touched) {
            self.services.update(model, &host, name, tables)?;
        }
        self.services.build_rings(tables);
        self.routes.update(model, touched, &self.services, tables);
        let all = self
            .policies
            .write(model, &host, &self.identities, tables)?
            || first;
        let named = (&self.identities, &self.policies);
        let judged = self
            .addresses
            .update(model, &host, (touched, all), named, tables)?;
        let judged = judged || self.services.flows_changed;
        self.policies.finish(judged, tables);
        if self.identities.finish(tables) {
            self.policies.mark(tables);
        }
        Ok(())
    }

    fn touched_pods(&self, touched: &Touched) -> BTreeSet<ObjectName> {
        let mut pods = touched.pods.clone();
        for namespace in &touched.namespaces {
            let held = self.model.namespace_pods.get(namespace);
            pods.extend(held.into_iter().flatten().map(|pod| pod.name.clone()));
        }
        pods
    }

    fn deny_list(&mut self) -> Result<(), Error> {
        let wanted: rustc_hash::FxHashSet<_> = self
            .facts
            .deny
            .iter()
            .map(|net| crate::tables::Prefix::from(*net))
            .collect();
        let before = self.tables.deny.len();
        for prefix in &wanted {
            let inserted = self.tables.deny.insert(prefix, 1);
            inserted.map_err(|_| full("deny_cells", "denied prefixes"))?;
        }
        let more = self.tables.deny.len();
        self.tables
            .deny
            .retain_claimed(|prefix| wanted.contains(prefix));
        let changed = before != more || self.tables.deny.len() != more;
        self.policies.finish(changed, &mut self.tables);
        Ok(())
    }
}

/// Services that changed, and those whose backends may have become local or
/// stopped being so.
fn touched_services(model: &Model, touched: &Touched) -> BTreeSet<ObjectName> {
    let mut names = touched.services.clone();
    names.extend(touched.routed.iter().cloned());
    // The address families of a route's parents are those of its backends' pools.
    for service in &touched.services {
        let routes = model.service_routes.get(service).into_iter().flatten();
        names.extend(routes.flat_map(|route| route.services().map(|(name, ..)| name.clone())));
    }
    for address in &touched.addresses {
        names.extend(pools::services_with_backend(model, *address).cloned());
    }
    names
}

/// What identifies an object among those of its file.
fn object_key(object: &Object) -> (u8, ObjectName) {
    match object {
        Object::Service(service) => (0, service.name.clone()),
        Object::Slice(slice) => (1, slice.name.clone()),
        Object::Pod(pod) => (2, pod.name.clone()),
        Object::Namespace(namespace) => {
            let name = namespace.name.clone();
            (
                3,
                ObjectName {
                    namespace: String::new(),
                    name,
                },
            )
        }
        Object::Policy(policy) => (4 + policy.kind as u8, policy.name.clone()),
        Object::Route(route) => (16, route.name.clone()),
    }
}
