//! Changes of manifests, deny lists and facts: compiled all or nothing, then
//! carried out.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use ipnet::IpNet;
use terrace_mesh::{
    Change, Closed, Compiler, Errors, HostFacts, Manifests, Op, SourceFile, Tables, diff,
};

use super::owners::Owners;
use super::shared::{Mesh, Shared};
use super::watch::Stamps;
use crate::apply::{apply, recover};
use crate::config::{Config, deny, manifests};
use crate::l7::rules::{Rules, heads};

/// What is wrong, one line each.
pub type Faults = Vec<String>;

/// A start that the manifests, the deny lists or the operator's wishes don't
/// allow.
#[derive(Debug, thiserror::Error)]
#[error("{what}:\n  {}", .faults.join("\n  "))]
pub struct Refused {
    pub what: &'static str,
    pub faults: Faults,
}

impl Refused {
    pub fn manifests(faults: Faults) -> anyhow::Error {
        let what = "the manifests are refused";
        Self { what, faults }.into()
    }

    pub fn profiles(faults: Faults) -> anyhow::Error {
        let what = "the NIC profiles are refused";
        Self { what, faults }.into()
    }

    pub fn plan(faults: Faults) -> anyhow::Error {
        let what = "the plan can't be met";
        Self { what, faults }.into()
    }
}

/// All manifests and deny lists of the configuration.
#[derive(Debug)]
pub struct Sources {
    pub manifests: Manifests,
    pub deny: Arc<[IpNet]>,
}

/// # Errors
/// Every fault of every file.
pub fn read_sources(config: &Config) -> Result<Sources, Faults> {
    let mut faults = Faults::new();
    let mut note = |fault: String| faults.push(fault);
    let files = manifests::read(std::slice::from_ref(&config.manifests))
        .map_err(|faults| faults.0.iter().for_each(|fault| note(fault.to_string())))
        .unwrap_or_default();
    let files: Vec<_> = files
        .into_iter()
        .map(|(path, text)| SourceFile { path, text })
        .collect();
    let manifests = terrace_mesh::parse(&files)
        .map_err(|errors| errors.0.iter().for_each(|error| note(error.to_string())))
        .unwrap_or_default();
    let deny = deny::load(&config.deny_lists)
        .map_err(|faults| faults.0.iter().for_each(|fault| note(fault.to_string())))
        .unwrap_or_default();
    if faults.is_empty() {
        let deny = deny.into();
        Ok(Sources { manifests, deny })
    } else {
        Err(faults)
    }
}

/// Puts changed facts and files into the tables. Only the main loop has one.
#[derive(Debug)]
pub struct Changer {
    /// Of the files that the tables were made from.
    applied: Stamps,
    deny: Arc<[IpNet]>,
    /// What policy drops whatever the port, and of which change that is.
    closed: Arc<[Closed]>,
    closed_at: Option<u64>,
    /// Ends at which a worker takes requests.
    l7_fronts: Arc<[SocketAddr]>,
    owners: Owners,
    /// The kernel refused a step: the tables must be read back.
    torn: bool,
}

/// How much was done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Done {
    pub changes: usize,
    pub took: Duration,
}

impl Changer {
    /// `applied` = the stamps from before the files were read.
    pub fn new(applied: Stamps, deny: Arc<[IpNet]>, held: &Tables) -> Self {
        Self {
            applied,
            deny,
            closed: Arc::default(),
            closed_at: None,
            l7_fronts: Arc::default(),
            owners: Owners::of(held),
            torn: false,
        }
    }

    pub fn deny(&self) -> &Arc<[IpNet]> {
        &self.deny
    }

    pub fn closed(&self) -> &Arc<[Closed]> {
        &self.closed
    }

    pub fn l7_fronts(&self) -> &Arc<[SocketAddr]> {
        &self.l7_fronts
    }

    /// Looks what policy closes now, and where workers take requests; true = something
    /// else than before.
    pub fn see_closed(&mut self, shared: &Shared) -> bool {
        let applies = shared.totals.applies.load(Ordering::Relaxed);
        let offload = &shared.config.offload;
        if self.closed_at == Some(applies) {
            return false;
        }
        self.closed_at = Some(applies);
        let limit = if offload.policy { offload.entries } else { 0 };
        let (closed, l7_fronts) = match &*shared.mesh() {
            Mesh::Compiled(compiler) => {
                let tables = compiler.tables();
                (tables.closed(limit as usize), tables.l7_fronts())
            }
            // Nobody knows what rules these are.
            Mesh::Recovered(_) => (Vec::new(), Vec::new()),
        };
        let changed = *self.closed != *closed || *self.l7_fronts != *l7_fronts;
        if changed {
            self.closed = closed.into();
            self.l7_fronts = l7_fronts.into();
        }
        changed
    }

    /// Brings the tables from what they hold to what was compiled.
    ///
    /// # Errors
    /// The kernel refused a step.
    pub fn start(&mut self, shared: &Shared, held: &Tables) -> Result<Done> {
        let mesh = shared.mesh();
        let rules =
            l7_rules(shared, mesh.tables()).map_err(|e| Refused::manifests(errors_of(&e)))?;
        let ops = diff(held, mesh.tables());
        drop(mesh);
        self.carry_out(shared, &ops, rules)
    }

    /// Looks at the files and applies what differs, manifests and deny lists as
    /// one. Faults mean that nothing has changed.
    ///
    /// # Errors
    /// What is wrong with the files, or that the kernel refused a step.
    pub fn files_changed(
        &mut self,
        shared: &Shared,
        facts: impl Fn(&Arc<[IpNet]>) -> HostFacts,
    ) -> Result<Done, Faults> {
        let config = &shared.config;
        let now = Stamps::take(&config.manifests, &config.deny_lists);
        if !now.faults().is_empty() {
            return Err(now.faults().to_vec());
        }
        let (changed, gone) = self.applied.changed_in(&now);
        let is_deny = |path: &Path| config.deny_lists.iter().any(|deny| deny == path);
        let deny_changed = changed.iter().chain(&gone).any(|path| is_deny(path));
        let started = Instant::now();
        if self.torn {
            self.facts_changed(shared, facts(&self.deny))?;
        }
        let mut deny = match deny_changed {
            true => deny::load(&config.deny_lists).map_err(lines)?.into(),
            false => Arc::clone(&self.deny),
        };
        let mut done = match &mut *shared.mesh_mut() {
            Mesh::Compiled(compiler) => {
                let changes = file_changes(&changed, &gone, is_deny)?;
                self.compile(shared, compiler, |compiler, accept| {
                    compiler.update_with_deny_if(&changes, Arc::clone(&deny), accept)
                })?
            }
            recovered @ Mesh::Recovered(_) => {
                let sources = read_sources(config)?;
                let held = recovered.tables().clone();
                let compiler = Compiler::new(sources.manifests, facts(&sources.deny), Some(&held))
                    .map_err(|errors| errors_of(&errors))?;
                let rules = l7_rules(shared, compiler.tables()).map_err(|e| errors_of(&e))?;
                let ops = diff(&held, compiler.tables());
                *recovered = Mesh::Compiled(Box::new(compiler));
                deny = sources.deny;
                self.carry_out(shared, &ops, rules).map_err(refused)?
            }
        };
        self.deny = deny;
        self.applied = now;
        done.took = started.elapsed();
        Ok(done)
    }

    /// Applies what the host has become. Equal facts cost a comparison. Of
    /// facts that are refused, health and interfaces are applied all the same:
    /// they change all the time, and packets wait for them.
    ///
    /// # Errors
    /// Why the facts don't fit the manifests, or that the kernel refused.
    pub fn facts_changed(&mut self, shared: &Shared, facts: HostFacts) -> Result<Done, Faults> {
        let mut mesh = shared.mesh_mut();
        let Mesh::Compiled(compiler) = &mut *mesh else {
            return Ok(Done::default());
        };
        if !self.torn && *compiler.facts() == facts {
            return Ok(Done::default());
        }
        let little = HostFacts {
            unhealthy: facts.unhealthy.clone(),
            interfaces: facts.interfaces.clone(),
            ..compiler.facts().clone()
        };
        let more = (little != facts).then(|| facts.clone());
        let done = self.apply_facts(shared, compiler, facts);
        match more {
            // Refused by the compiler, not by the kernel.
            Some(more) if done.is_err() && *compiler.facts() != more => {
                let also = self.apply_facts(shared, compiler, little);
                done.and(also)
            }
            _ => done,
        }
    }

    fn apply_facts(
        &mut self,
        shared: &Shared,
        compiler: &mut Compiler,
        facts: HostFacts,
    ) -> Result<Done, Faults> {
        match self.torn {
            true => self.mend(shared, compiler, facts),
            false => self.compile(shared, compiler, |compiler, accept| {
                compiler.set_facts_if(facts, accept)
            }),
        }
    }

    /// Compiles a change and carries it out, or undoes it.
    fn compile(
        &mut self,
        shared: &Shared,
        compiler: &mut Compiler,
        change: impl FnOnce(&mut Compiler, &mut Accept<'_>) -> Result<Vec<Op>, Errors>,
    ) -> Result<Done, Faults> {
        let started = Instant::now();
        let mut rules = Arc::default();
        let mut accept = |tables: &Tables| l7_rules(shared, tables).map(|new| rules = new);
        let changed = change(compiler, &mut accept);
        let took = micros(started.elapsed());
        let totals = &shared.totals;
        totals.last_compile_us.store(took, Ordering::Relaxed);
        match changed {
            Ok(ops) => self.carry_out(shared, &ops, rules).map_err(refused),
            Err(errors) => {
                let mut faults = errors_of(&errors);
                faults.extend(self.undo(shared, compiler).err().into_iter().flatten());
                Err(faults)
            }
        }
    }

    /// Carries out what a refused change has left to do.
    fn undo(&mut self, shared: &Shared, compiler: &mut Compiler) -> Result<(), Faults> {
        let owed = compiler.take_owed();
        if owed.is_empty() {
            return Ok(());
        }
        // Until it is done, the tables are unlike what was compiled.
        self.torn = true;
        let rules = l7_rules(shared, compiler.tables()).map_err(|e| errors_of(&e))?;
        self.carry_out(shared, &owed, rules).map_err(refused)?;
        Ok(())
    }

    /// Every flow is judged again when it is next seen.
    ///
    /// # Errors
    /// The kernel refused.
    pub fn look_again(&mut self, shared: &Shared) -> Result<Done> {
        let step = match &mut *shared.mesh_mut() {
            Mesh::Compiled(compiler) => compiler.look_again(),
            Mesh::Recovered(tables) => tables.look_again(),
        };
        self.apply(shared, &[step])
    }

    /// Manifest files that the tables were made from.
    pub fn files(&self) -> usize {
        self.applied.manifests()
    }

    pub fn is_torn(&self) -> bool {
        self.torn
    }

    /// After a refusal of the kernel: what is there is read, and all compiled
    /// against it.
    fn mend(
        &mut self,
        shared: &Shared,
        compiler: &mut Compiler,
        facts: HostFacts,
    ) -> Result<Done, Faults> {
        let held = recover(&shared.maps).map_err(refused)?;
        let manifests = compiler.manifests().clone();
        let next = Compiler::new(manifests, facts, Some(&held)).map_err(|e| errors_of(&e))?;
        let rules = l7_rules(shared, next.tables()).map_err(|e| errors_of(&e))?;
        let ops = diff(&held, next.tables());
        *compiler = next;
        self.carry_out(shared, &ops, rules).map_err(refused)
    }

    /// The workers get their rules before the programs send them flows that
    /// need these.
    fn carry_out(&mut self, shared: &Shared, ops: &[Op], rules: Arc<Rules>) -> Result<Done> {
        let old = shared.l7.get();
        crate::run::l7::publish(shared, &old, &rules)?;
        let done = self.apply(shared, ops)?;
        heads::remove(&shared.maps, &old, &rules).context("remove rules on requests")?;
        Ok(done)
    }

    fn apply(&mut self, shared: &Shared, ops: &[Op]) -> Result<Done> {
        if ops.is_empty() {
            return Ok(Done::default());
        }
        self.torn = true;
        for index in self.owners.new_of(ops) {
            shared.maps.reset_backend_stats(index)?;
        }
        let applied = apply(&shared.maps, ops).context("update the tables")?;
        self.torn = false;
        let totals = &shared.totals;
        let took = micros(applied.took);
        totals.applies.fetch_add(1, Ordering::Relaxed);
        totals
            .changes
            .fetch_add(applied.steps as u64, Ordering::Relaxed);
        totals.last_apply_us.store(took, Ordering::Relaxed);
        tracing::debug!(
            steps = applied.steps,
            entries = applied.entries,
            took_us = took,
            "applied"
        );
        Ok(Done {
            changes: applied.entries,
            took: applied.took,
        })
    }
}

/// Whether the workers can live with tables.
type Accept<'a> = dyn FnMut(&Tables) -> Result<(), Errors> + 'a;

/// What the workers are to enforce with these tables.
fn l7_rules(shared: &Shared, tables: &Tables) -> Result<Arc<Rules>, Errors> {
    let host_may = shared.config.policy.allow_host_ingress;
    let mut rules = Rules::build(tables, host_may, &shared.l7.get())?;
    let before = || shared.maps.config().map_or(0, |held| held.l7_generation);
    rules.generation = shared.l7.next_generation(before);
    Ok(Arc::new(rules))
}

fn file_changes(
    changed: &[PathBuf],
    gone: &[PathBuf],
    is_deny: impl Fn(&Path) -> bool,
) -> Result<Vec<Change>, Faults> {
    let changed: Vec<PathBuf> = changed
        .iter()
        .filter(|path| !is_deny(path))
        .cloned()
        .collect();
    let texts = match changed.is_empty() {
        true => Vec::new(),
        false => manifests::read(&changed).map_err(lines)?,
    };
    let puts = texts
        .into_iter()
        .map(|(path, text)| Change::Put(SourceFile { path, text }));
    let gone = gone.iter().filter(|path| !is_deny(path));
    let removes = gone.map(|path| Change::Remove(path.clone()));
    Ok(removes.chain(puts).collect())
}

fn lines(faults: crate::config::Faults) -> Faults {
    faults.0.iter().map(ToString::to_string).collect()
}

pub fn errors_of(errors: &terrace_mesh::Errors) -> Faults {
    errors.0.iter().map(ToString::to_string).collect()
}

fn refused(error: anyhow::Error) -> Faults {
    vec![format!("{error:#}")]
}

fn micros(time: Duration) -> u64 {
    time.as_micros() as u64
}
