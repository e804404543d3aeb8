//! Policy: from rules on labels, prefixes and ports to cells on identities
//! and port classes. Only workloads of this host are subjects; what other
//! hosts enforce is theirs.
//!
//! The verdict on a remote identity and a port is deny if a deny rule has
//! both, else allow if an allow rule has both (or nothing makes the subject
//! default deny), else none, which is refused. Rules that name everybody make
//! the row of remote 0; an identity that other rules name as well gets a row
//! of its own with all of it resolved, unless it would say the same.

mod classes;
mod describe;
mod numbers;
mod peers;
mod resolve;
mod rules;
mod universe;
mod write;

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;
use rustc_hash::FxHashMap;

use super::identities::Identities;
use super::model::{Model, Touched, is_workload};
use super::{Host, full};
use crate::error::Error;
use crate::objects::NamedPort;
use crate::tables::Tables;
use classes::Classes;
use numbers::Numbers;
use rules::Rules;
use universe::Universe;
use write::Desired;

/// Identities of workloads, with the ports that their pods name.
type Subjects = BTreeMap<u32, BTreeSet<NamedPort>>;

#[derive(Debug)]
pub struct Policies {
    /// Prefixes that rules tell apart, with their identities.
    pub cidrs: BTreeMap<IpNet, u32>,
    /// By subject and direction.
    enforced: FxHashMap<u32, [bool; 2]>,
    subjects: Subjects,
    numbers: Numbers,
    /// No tables were there before: nothing to flip away from.
    fresh: bool,
    /// The last transaction left rows that the next one removes.
    stale: bool,
    /// Rules look at services or named ports of peers.
    looks_at_pods: bool,
    verdicts_changed: bool,
    flipped: bool,
}

impl Policies {
    pub fn new(fresh: bool) -> Self {
        Self {
            cidrs: BTreeMap::new(),
            enforced: FxHashMap::default(),
            subjects: BTreeMap::new(),
            numbers: Numbers::default(),
            fresh,
            stale: true,
            looks_at_pods: false,
            verdicts_changed: false,
            flipped: false,
        }
    }

    /// Directions in which policy is enforced on workloads of an identity.
    pub fn enforced(&self, identity: u32) -> [bool; 2] {
        self.enforced.get(&identity).copied().unwrap_or_default()
    }

    /// Brings policy up to date. True when addresses that nobody touched need
    /// another look: prefixes came or went, or what is enforced changed.
    pub fn update(
        &mut self,
        model: &Model,
        host: &Host<'_>,
        touched: &Touched,
        identities: &mut Identities,
        tables: &mut Tables,
    ) -> Result<bool, Error> {
        let subjects = subjects(model, host, identities);
        let pods_touched = !(touched.pods.is_empty()
            && touched.services.is_empty()
            && touched.namespaces.is_empty());
        let dirty = self.stale
            || !touched.policies.is_empty()
            || identities.changed
            || subjects != self.subjects
            || (self.looks_at_pods && pods_touched);
        if !dirty {
            return Ok(false);
        }
        let former = std::mem::replace(&mut self.subjects, subjects);
        let policies_changed = self.stale || !touched.policies.is_empty();
        let old = (self.cidrs.clone(), self.enforced.clone());
        let subjects = self.subjects.clone();
        let mut compiled = self.compile(model, host, identities, (&subjects, false))?;
        self.stale = false;
        if !self.fresh && !compiled.classes.is_in(tables) {
            // Packets are judged by the new generation before the addresses
            // say who is who now, so it knows the former identities as well.
            let mut subjects = former;
            subjects.extend(self.subjects.clone());
            compiled = self.compile(model, host, identities, (&subjects, true))?;
            self.stale = true;
        }
        self.enforced = compiled.enforced;
        let written = write::write(
            &compiled.desired,
            &compiled.classes,
            self.fresh,
            &self.enforced,
            tables,
        )?;
        self.verdicts_changed = written.verdicts_changed;
        self.flipped = written.flipped;
        self.fresh = false;
        describe::describe(self, model, host, identities, policies_changed, tables);
        Ok(old.0 != self.cidrs || old.1 != self.enforced)
    }

    fn compile(
        &mut self,
        model: &Model,
        host: &Host<'_>,
        identities: &mut Identities,
        (subjects, all): (&Subjects, bool),
    ) -> Result<Compiled, Error> {
        self.numbers.number(model)?;
        let mut rules = Rules::select(model, &self.numbers, identities, subjects);
        self.looks_at_pods = rules.looks_at_pods();
        let nets = peers::prefixes(&rules, model, host);
        self.cidrs.retain(|net, _| nets.contains(net));
        for net in nets {
            self.cidrs
                .entry(net)
                .or_insert_with(|| identities.new_cidr());
        }
        let universe = Universe::new(model, host, identities, (&self.cidrs, all));
        peers::resolve(&mut rules, &universe);
        let classes =
            Classes::new(&rules, &universe).map_err(|_| full("policy_cells", "port classes"))?;
        let mut desired = Desired::default();
        let mut enforced = FxHashMap::default();
        for subject in subjects.keys() {
            let directions = resolve::subject(*subject, &rules, &classes, &universe, &mut desired);
            if directions != [false, false] {
                enforced.insert(*subject, directions);
            }
        }
        Ok(Compiled {
            classes,
            desired,
            enforced,
        })
    }

    /// The end of the transaction: flows are judged again when a verdict may
    /// have changed, here or because addresses are judged differently.
    pub fn finish(&mut self, judged: bool, tables: &mut Tables) {
        if self.flipped {
            tables.policy_rev = tables.policy_rev.wrapping_add(1);
        }
        if judged || (self.verdicts_changed && !self.flipped) {
            tables.policy_rev = tables.policy_rev.wrapping_add(2);
        }
        self.verdicts_changed = false;
        self.flipped = false;
    }
}

struct Compiled {
    classes: Classes,
    desired: Desired,
    enforced: FxHashMap<u32, [bool; 2]>,
}

/// The identities of this host's workloads, with their pods' named ports.
fn subjects(model: &Model, host: &Host<'_>, identities: &Identities) -> Subjects {
    let mut subjects = Subjects::new();
    let pods = model.interfaces.values().flatten();
    for pod in pods.filter(|pod| is_workload(pod, host.facts)) {
        if let Some(identity) = identities.of_pod(&pod.name) {
            subjects
                .entry(identity)
                .or_default()
                .extend(pod.named_ports.iter().cloned());
        }
    }
    subjects
}
