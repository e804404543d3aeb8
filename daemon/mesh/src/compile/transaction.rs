//! Changes as transactions: all of it, or nothing.

use std::collections::BTreeMap;
use std::mem;
use std::sync::Arc;

use ipnet::IpNet;
use rayon::prelude::*;
use terrace_abi::Table;

use super::model::{Delta, Touched};
use super::{Change, Compiler, check, object_key, pools};
use crate::error::{Error, Errors};
use crate::facts::HostFacts;
use crate::maglev::Ring;
use crate::objects::Object;
use crate::parse::{Manifests, parse_file};
use crate::tables::{Changes, Journal, Op, Tables, diff};

impl Compiler {
    /// Applies changed files and returns the steps to carry out. With errors
    /// nothing has changed.
    pub fn update(&mut self, changes: &[Change]) -> Result<Vec<Op>, Errors> {
        self.update_if(changes, |_| Ok(()))
    }

    /// The same, if the caller can live with the tables that come of it.
    pub fn update_if(
        &mut self,
        changes: &[Change],
        accept: impl FnOnce(&Tables) -> Result<(), Errors>,
    ) -> Result<Vec<Op>, Errors> {
        self.mend()?;
        let read = read(changes)?;
        let mut delta = Delta::default();
        let mut files: BTreeMap<_, Option<Vec<Object>>> = BTreeMap::new();
        for (change, objects) in changes.iter().zip(read) {
            let path = match change {
                Change::Put(file) => &file.path,
                Change::Remove(path) => path,
            };
            let old = match files.get(path) {
                Some(objects) => Option::clone(objects).unwrap_or_default(),
                None => self.manifests.files.get(path).cloned().unwrap_or_default(),
            };
            let new = differences(old, objects, &mut delta);
            files.insert(
                path.clone(),
                matches!(change, Change::Put(_)).then_some(new),
            );
        }
        let mut touched = Touched::default();
        self.model.apply(&delta, &self.facts, &mut touched);
        if let Err(errors) = check::check(&self.model, &self.facts, &touched) {
            self.model
                .apply(&delta.inverse(), &self.facts, &mut Touched::default());
            return Err(errors);
        }
        let ops = self.commit(&touched, None, accept)?;
        for (path, objects) in files {
            match objects {
                Some(objects) => self.manifests.files.insert(path, objects),
                None => self.manifests.files.remove(&path),
            };
        }
        Ok(ops)
    }

    /// Applies changed facts about the host. With errors nothing has changed.
    pub fn set_facts(&mut self, facts: HostFacts) -> Result<Vec<Op>, Errors> {
        self.set_facts_if(facts, |_| Ok(()))
    }

    /// The same, if the caller can live with the tables that come of it.
    pub fn set_facts_if(
        &mut self,
        facts: HostFacts,
        accept: impl FnOnce(&Tables) -> Result<(), Errors>,
    ) -> Result<Vec<Op>, Errors> {
        if self.broken || !self.differs_little(&facts) {
            return self.anew(self.manifests.clone(), facts, accept);
        }
        let mut touched = Touched::default();
        let unhealthy = self.facts.unhealthy.symmetric_difference(&facts.unhealthy);
        for (address, _) in unhealthy {
            touched
                .services
                .extend(pools::services_with_backend(&self.model, *address).cloned());
        }
        for (name, pods) in &self.model.interfaces {
            if self.facts.interfaces.get(name) != facts.interfaces.get(name) {
                touched
                    .addresses
                    .extend(pods.iter().flat_map(|pod| &pod.addresses));
            }
        }
        self.commit(&touched, Some(facts), accept)
    }

    /// Applies changed files and another deny list as one. With errors nothing
    /// has changed.
    pub fn update_with_deny_if(
        &mut self,
        changes: &[Change],
        deny: Arc<[IpNet]>,
        accept: impl FnOnce(&Tables) -> Result<(), Errors>,
    ) -> Result<Vec<Op>, Errors> {
        if deny == self.facts.deny {
            return self.update_if(changes, accept);
        }
        let mut manifests = self.manifests.clone();
        for (change, objects) in changes.iter().zip(read(changes)?) {
            match change {
                Change::Put(file) => manifests.files.insert(file.path.clone(), objects),
                Change::Remove(path) => manifests.files.remove(path),
            };
        }
        let facts = HostFacts {
            deny,
            ..self.facts.clone()
        };
        self.anew(manifests, facts, accept)
    }

    /// Every flow is judged again when it is next seen; the tables stay.
    pub fn look_again(&mut self) -> Op {
        let step = self.tables.look_again();
        self.policy_rev = self.tables.policy_rev;
        step
    }

    /// The steps that a refused change has left, which are to be carried out
    /// like those of a change: what it used of the tables is free again, and
    /// numbers may have been given anew. Empty after all other calls.
    pub fn take_owed(&mut self) -> Vec<Op> {
        mem::take(&mut self.owed)
    }

    /// Compiles everything on what the tables are.
    fn anew(
        &mut self,
        manifests: Manifests,
        facts: HostFacts,
        accept: impl FnOnce(&Tables) -> Result<(), Errors>,
    ) -> Result<Vec<Op>, Errors> {
        let next = Self::new(manifests, facts, Some(&self.tables))?;
        accept(&next.tables)?;
        let mut ops = self.take_owed();
        ops.extend(diff(&self.tables, &next.tables));
        *self = next;
        Ok(ops)
    }

    /// After a refused change that could not be undone either.
    fn mend(&mut self) -> Result<(), Errors> {
        if self.broken {
            let (manifests, facts) = (self.manifests.clone(), self.facts.clone());
            self.owed = self.anew(manifests, facts, |_| Ok(()))?;
        }
        Ok(())
    }

    /// Only health and interfaces changed, which is what happens all the time.
    fn differs_little(&self, facts: &HostFacts) -> bool {
        let patched = HostFacts {
            unhealthy: self.facts.unhealthy.clone(),
            interfaces: self.facts.interfaces.clone(),
            ..facts.clone()
        };
        patched == self.facts
    }

    fn commit(
        &mut self,
        touched: &Touched,
        facts: Option<HostFacts>,
        accept: impl FnOnce(&Tables) -> Result<(), Errors>,
    ) -> Result<Vec<Op>, Errors> {
        let former = facts.map(|facts| mem::replace(&mut self.facts, facts));
        self.tables.settle();
        self.services.settle();
        self.addresses.settle();
        let mut written = Vec::new();
        let result = self.write(touched, &mut written).map_err(Errors::from);
        let result = result.and_then(|ops| accept(&self.tables).map(|()| ops));
        match result {
            Ok(ops) => Ok([self.take_owed(), ops].concat()),
            Err(errors) => {
                self.facts = former.unwrap_or_else(|| self.facts.clone());
                self.undo(&written);
                Err(errors)
            }
        }
    }

    /// All parts of the compiler have heard of the change, so it is compiled
    /// anew as it was before. That may write other bytes than were there.
    fn undo(&mut self, written: &[Lot]) {
        self.tables = self.restored(written);
        let (manifests, facts) = (self.manifests.clone(), self.facts.clone());
        match self.anew(manifests, facts, |_| Ok(())) {
            Ok(owed) => self.owed = owed,
            // What is in the kernel serves; the next change tries again.
            Err(_) => self.broken = true,
        }
    }

    /// Writes the tables in one or two lots; `written` has what was there
    /// before each, also when it fails.
    fn write(&mut self, touched: &Touched, written: &mut Vec<Lot>) -> Result<Vec<Op>, Error> {
        self.begin();
        let prepared = self.prepare(touched, false);
        let mut ops = Vec::new();
        if !matches!(prepared, Ok(false)) {
            written.push(self.end());
            self.begin();
            prepared?;
            ops.extend(
                written
                    .iter()
                    .flat_map(|lot| lot.changes().ops(&self.tables)),
            );
        }
        let result = self.sync(touched, false);
        let lot = self.end();
        if result.is_ok() {
            ops.extend(lot.changes().ops(&self.tables));
        }
        written.push(lot);
        result.map(|()| ops)
    }

    fn begin(&mut self) {
        for table in Table::ALL {
            self.tables.image_mut(table).begin_journal();
        }
    }

    fn end(&mut self) -> Lot {
        let journals = Table::ALL.map(|table| (table, self.tables.image_mut(table).take_journal()));
        Lot {
            journals: journals.into(),
            rings: mem::take(&mut self.services.old_rings),
            policy_rev: mem::replace(&mut self.policy_rev, self.tables.policy_rev),
        }
    }

    /// The tables as they were before all lots.
    fn restored(&self, lots: &[Lot]) -> Tables {
        let mut before = self.tables.read_back();
        let mut rings = self.tables.rings.clone();
        for lot in lots.iter().rev() {
            for (table, journal) in &lot.journals {
                let size = table.value_size();
                let bytes = before.images.entry(*table).or_default();
                for (index, old) in journal.entries(size) {
                    let start = index as usize * size;
                    bytes[start..start + size].copy_from_slice(old);
                }
            }
            for (index, ring) in &lot.rings {
                match ring {
                    Some(ring) => rings.insert(*index, ring.clone()),
                    None => rings.remove(index),
                };
            }
            before.policy_rev = lot.policy_rev;
        }
        let mut tables = Tables::recover(before);
        tables.rings = rings;
        tables
    }
}

/// What some writes overwrote.
struct Lot {
    journals: Vec<(Table, Journal)>,
    rings: BTreeMap<u32, Option<Arc<Ring>>>,
    policy_rev: u32,
}

impl Lot {
    fn changes(&self) -> Changes<'_> {
        let journals = self.journals.iter();
        let tables = journals.map(|(table, journal)| (*table, journal.entries(table.value_size())));
        Changes {
            tables: tables.collect(),
            rings: self.rings.clone(),
            policy_rev: self.policy_rev,
        }
    }
}

fn read(changes: &[Change]) -> Result<Vec<Vec<Object>>, Errors> {
    let results: Vec<_> = changes
        .par_iter()
        .map(|change| match change {
            Change::Put(file) => parse_file(file),
            Change::Remove(_) => Ok(Vec::new()),
        })
        .collect();
    let mut errors = Errors::default();
    let mut read = Vec::new();
    for result in results {
        match result {
            Ok(objects) => read.push(objects),
            Err(found) => errors.0.extend(found.0),
        }
    }
    errors.into_result().map(|()| read)
}

/// Objects that differ go into the delta; the others are the old ones.
fn differences(old: Vec<Object>, new: Vec<Object>, delta: &mut Delta) -> Vec<Object> {
    let mut held: BTreeMap<_, Vec<Object>> = BTreeMap::new();
    for object in old {
        held.entry(object_key(&object)).or_default().push(object);
    }
    let mut kept = Vec::with_capacity(new.len());
    for object in new {
        let same = held.get_mut(&object_key(&object)).and_then(|held| {
            let at = held.iter().position(|other| *other == object)?;
            Some(held.swap_remove(at))
        });
        if same.is_none() {
            delta.added.push(object.clone());
        }
        kept.push(same.unwrap_or(object));
    }
    delta.removed.extend(held.into_values().flatten());
    kept
}

impl Manifests {
    /// The files' paths.
    pub fn paths(&self) -> impl Iterator<Item = &std::path::Path> {
        self.files.keys().map(std::path::PathBuf::as_path)
    }
}
