//! Policy: from rules on labels, prefixes and ports to cells on identities
//! and port classes. Only workloads of this host are subjects; what other
//! hosts enforce is theirs.
//!
//! The verdict on a remote identity and a port is deny if a deny rule has
//! both, else allow if an allow rule has both (or nothing makes the subject
//! default deny), else none, which is refused. Rules that name everybody make
//! the row of remote 0; an identity that other rules name as well gets a row
//! of its own with all of it resolved, unless it would say the same.

mod cidrs;
mod classes;
mod describe;
mod numbers;
mod peers;
mod resolve;
mod rules;
mod sets;
mod universe;
mod write;

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;
use rustc_hash::FxHashMap;
use terrace_abi::consts::{IDENTITY_UNMANAGED, IDENTITY_WORLD};

use super::identities::Identities;
use super::model::{Model, Touched, is_workload};
use super::{Host, full};
use crate::error::Error;
use crate::tables::{REV_STEP, Tables};
use cidrs::CidrNumbers;
use classes::Classes;
use numbers::Numbers;
use resolve::Interner;
use rules::Rules;
use sets::Sets;
use universe::Universe;
use write::Desired;

/// Identities of this host's workloads.
type Subjects = BTreeSet<u32>;

#[derive(Debug)]
pub struct Policies {
    /// Prefixes that rules tell apart, with their identities.
    pub cidrs: BTreeMap<IpNet, u32>,
    /// By subject and direction.
    enforced: FxHashMap<u32, [bool; 2]>,
    subjects: Subjects,
    numbers: Numbers,
    sets: Sets,
    cidr_numbers: CidrNumbers,
    /// No tables were there before: nothing to flip away from.
    fresh: bool,
    /// The last transaction left rows that the next one removes.
    stale: bool,
    /// Rules look at services or named ports of peers.
    looks_at_pods: bool,
    verdicts_changed: bool,
    flipped: bool,
    plan: Option<Plan>,
}

/// Policy as it is to be.
#[derive(Debug)]
struct Plan {
    compiled: Compiled,
    /// Into the other generation: the port classes or the prefixes changed.
    flips: bool,
    cidrs: BTreeMap<IpNet, u32>,
    subjects: Subjects,
    look_again: bool,
    policies_changed: bool,
}

impl Policies {
    /// `fresh` = there were no tables before.
    pub fn new(fresh: bool, tables: &Tables) -> Self {
        Self {
            cidrs: BTreeMap::new(),
            enforced: FxHashMap::default(),
            subjects: Subjects::new(),
            numbers: Numbers::after(tables),
            sets: Sets::default(),
            cidr_numbers: CidrNumbers::new(fresh),
            fresh,
            stale: true,
            looks_at_pods: false,
            verdicts_changed: false,
            flipped: false,
            plan: None,
        }
    }

    /// Directions in which policy is enforced on workloads of an identity.
    pub fn enforced(&self, identity: u32) -> [bool; 2] {
        self.enforced.get(&identity).copied().unwrap_or_default()
    }

    /// Compiles the policies, if anything that they depend on was touched.
    pub fn plan(
        &mut self,
        model: &Model,
        host: &Host<'_>,
        touched: &Touched,
        identities: &Identities,
        tables: &Tables,
    ) -> Result<(), Error> {
        self.plan = None;
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
            return Ok(());
        }
        self.numbers.number(model)?;
        self.sets.begin();
        let scope = Scope {
            model,
            host,
            identities,
        };
        let mut rules = self.rules(&scope, &subjects);
        let nets = peers::prefixes(&rules, model, host);
        let (cidrs, renumbered) = self.cidr_numbers.number(&nets, &self.cidrs, tables);
        let mut compiled = self.compile(&scope, &mut rules, &subjects, (&cidrs, false))?;
        let flips = !self.fresh && (renumbered || !compiled.classes.is_in(tables));
        if flips {
            compiled = self.compile_both(&scope, &subjects, &cidrs, tables)?;
        }
        self.looks_at_pods = rules.looks_at_pods();
        self.plan = Some(Plan {
            look_again: cidrs != self.cidrs || compiled.enforced != self.enforced,
            policies_changed: self.stale || !touched.policies.is_empty(),
            compiled,
            flips,
            subjects,
            cidrs,
        });
        Ok(())
    }

    /// Gives new prefixes, in the generation in use, the verdicts of what was
    /// around them so far. They may come into the address table then, and the
    /// new generation changes all verdicts at once.
    pub fn prepare(&mut self, host: &Host<'_>, tables: &mut Tables) -> Result<Vec<IpNet>, Error> {
        let Some(plan) = self.plan.as_ref().filter(|plan| plan.flips) else {
            return Ok(Vec::new());
        };
        let new = plan
            .cidrs
            .iter()
            .filter(|(net, _)| !self.cidrs.contains_key(net));
        let new: Vec<(IpNet, u32)> = new.map(|(net, number)| (*net, *number)).collect();
        let pairs = new
            .iter()
            .map(|(net, number)| (self.around(*net, host), *number));
        write::copy_remotes(&pairs.collect::<Vec<_>>(), tables)?;
        let nets = new.iter().map(|(net, _)| *net).collect();
        self.cidrs.extend(new);
        Ok(nets)
    }

    /// The identity of the longest known prefix around one.
    pub fn around(&self, net: IpNet, host: &Host<'_>) -> u32 {
        let mut around = net.supernet();
        while let Some(net) = around {
            if let Some(identity) = self.cidrs.get(&net) {
                return *identity;
            }
            if host
                .facts
                .cluster_cidrs
                .iter()
                .any(|cluster| cluster.trunc() == net)
            {
                return IDENTITY_UNMANAGED;
            }
            around = net.supernet();
        }
        IDENTITY_WORLD
    }

    /// Writes what was planned. True when addresses that nobody touched need
    /// another look: prefixes came or went, or what is enforced changed.
    pub fn write(
        &mut self,
        model: &Model,
        host: &Host<'_>,
        identities: &Identities,
        tables: &mut Tables,
    ) -> Result<bool, Error> {
        let Some(plan) = self.plan.take() else {
            return Ok(false);
        };
        self.verdicts_changed = write::write(&plan.compiled, plan.flips, tables)?;
        self.stale = plan.flips;
        self.flipped = plan.flips;
        self.fresh = false;
        self.cidrs = plan.cidrs;
        self.subjects = plan.subjects;
        self.enforced = plan.compiled.enforced;
        tables.l7.sets.clone_from(self.sets.finish());
        describe::describe(self, model, host, identities, plan.policies_changed, tables);
        Ok(plan.look_again)
    }

    /// New identities are in the directory now.
    pub fn mark(&self, tables: &mut Tables) {
        describe::mark(self, tables);
    }

    fn rules<'m>(&self, scope: &Scope<'m>, subjects: &Subjects) -> Rules<'m> {
        Rules::select(scope.model, &self.numbers, scope.identities, subjects)
    }

    /// A new generation. Packets are judged by it before the addresses say who
    /// is who now, so it knows the former identities as well; the next
    /// transaction removes what is left of them.
    fn compile_both(
        &mut self,
        scope: &Scope<'_>,
        subjects: &Subjects,
        cidrs: &BTreeMap<IpNet, u32>,
        tables: &Tables,
    ) -> Result<Compiled, Error> {
        let mut both = self.subjects.clone();
        both.extend(subjects.clone());
        let mut rules = self.rules(scope, &both);
        let nets = peers::prefixes(&rules, scope.model, scope.host);
        let mut all = self.cidrs.clone();
        all.extend(cidrs);
        let (more, _) = self.cidr_numbers.number(&nets, &all, tables);
        all.extend(more);
        self.compile(scope, &mut rules, &both, (&all, true))
    }

    fn compile(
        &mut self,
        scope: &Scope<'_>,
        rules: &mut Rules<'_>,
        subjects: &Subjects,
        (cidrs, all): (&BTreeMap<IpNet, u32>, bool),
    ) -> Result<Compiled, Error> {
        let universe = Universe::new(scope.model, scope.host, scope.identities, (cidrs, all));
        peers::resolve(rules, &universe);
        let classes =
            Classes::new(rules, &universe).map_err(|_| full("policy_cells", "port classes"))?;
        let (mut desired, mut enforced) = (Desired::default(), FxHashMap::default());
        let mut interner = Interner {
            sets: &mut self.sets,
            numbers: &mut self.numbers,
        };
        for subject in subjects {
            let out = (&mut desired, &mut interner);
            let directions = resolve::subject(*subject, rules, &classes, &universe, out)?;
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

    /// The end of the transaction: flows are looked at again when a verdict or
    /// what an address is may have changed. Even steps leave the generation as
    /// it is; there are two of them, for [`crate::diff`] to take the first one
    /// when all that can be written at once is.
    pub fn finish(&mut self, judged: bool, tables: &mut Tables) {
        if self.flipped {
            tables.policy_rev = tables.policy_rev.wrapping_add(1);
        }
        if self.flipped || judged || self.verdicts_changed {
            tables.policy_rev = tables.policy_rev.wrapping_add(2 * REV_STEP);
        }
        self.verdicts_changed = false;
        self.flipped = false;
    }
}

/// What the rules are about.
struct Scope<'m> {
    model: &'m Model,
    host: &'m Host<'m>,
    identities: &'m Identities,
}

#[derive(Debug)]
struct Compiled {
    classes: Classes,
    desired: Desired,
    enforced: FxHashMap<u32, [bool; 2]>,
}

fn subjects(model: &Model, host: &Host<'_>, identities: &Identities) -> Subjects {
    let pods = model.interfaces.values().flatten();
    pods.filter(|pod| is_workload(pod, host.facts))
        .filter_map(|pod| identities.of_pod(&pod.name))
        .collect()
}
