//! Services, backends and rings: from what the model says to the tables,
//! keeping every index and every slot that can stay.

mod adopt;
mod record;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use rayon::prelude::*;
use rustc_hash::FxHashMap;
use terrace_abi::types;

use super::model::{Front, FrontKey, Model, fronts};
use super::pools::{BackendSpecs, PoolKey, PoolReader, pool_key};
use super::{Host, full, routes};
use crate::directory::BackendState;
use crate::error::Error;
use crate::maglev::{self, Member, Ring};
use crate::objects::{ObjectName, Protocol, Service};
use crate::tables::{Slots, Tables};
use adopt::Adopted;

#[derive(Debug)]
pub struct Services {
    units: BTreeMap<ObjectName, Unit>,
    service_slots: Slots,
    backend_slots: Slots,
    pool_slots: Slots,
    adopted: Adopted,
    /// Rings that this transaction must build.
    jobs: Vec<Job>,
    /// A frontend has routes that had none, or a backend of datagrams is gone:
    /// live flows are looked at again.
    pub flows_changed: bool,
    /// Rings before this transaction.
    pub old_rings: BTreeMap<u32, Option<Arc<Ring>>>,
}

/// What a Service has in the tables.
#[derive(Debug, Default)]
struct Unit {
    fronts: FxHashMap<FrontKey, u32>,
    pools: BTreeMap<PoolKey, Pool>,
}

#[derive(Debug)]
struct Pool {
    index: u32,
    size: u32,
    backends: BTreeMap<(IpAddr, u16), u32>,
    members: Vec<Member>,
}

#[derive(Debug)]
struct Job {
    pool: u32,
    size: u32,
    members: Vec<Member>,
}

/// What a Service is to have.
struct Wanted {
    service: Arc<Service>,
    fronts: Vec<(Front, PoolKey)>,
    /// Frontends that have routes, by their port's place in the Service.
    routed: Vec<bool>,
    pools: BTreeMap<PoolKey, BackendSpecs>,
}

fn wanted(model: &Model, host: &Host<'_>, name: &ObjectName) -> Option<Wanted> {
    let service = model.service_of(name)?;
    let reader = PoolReader {
        model,
        facts: host.facts,
        service,
    };
    let mut pools = BTreeMap::new();
    let mut all = Vec::new();
    for front in fronts(service, host.facts) {
        let port = &service.ports[front.port];
        let key = pool_key(port, front.key.address, front.local_only);
        if !pools.contains_key(&key) {
            pools.insert(key.clone(), reader.backends(port, &key));
        }
        all.push((front, key));
    }
    for key in routes::pools_led_to(model, host.facts, service) {
        let port = service.ports.iter();
        let mut port = port.filter(|p| p.protocol == key.protocol && p.name == key.port_name);
        if let Some(port) = port.next().filter(|_| !pools.contains_key(&key)) {
            let specs = reader.backends(port, &key);
            pools.insert(key, specs);
        }
    }
    let routed = |port| routes::is_routed(model, service, port);
    Some(Wanted {
        routed: service.ports.iter().map(routed).collect(),
        service: Arc::clone(service),
        fronts: all,
        pools,
    })
}

impl Services {
    /// Starts from tables that are there; what nobody claims goes in `finish`.
    pub fn new(tables: &Tables) -> Self {
        let adopted = Adopted::from(tables);
        Self {
            units: BTreeMap::new(),
            service_slots: Slots::of(&tables.services),
            backend_slots: Slots::of(&tables.backends),
            pool_slots: Slots::without(tables.services.entries(), &adopted.pools),
            adopted,
            jobs: Vec::new(),
            flows_changed: false,
            old_rings: BTreeMap::new(),
        }
    }

    /// Brings one Service up to date, but for its rings.
    pub fn update(
        &mut self,
        model: &Model,
        host: &Host<'_>,
        name: &ObjectName,
        tables: &mut Tables,
    ) -> Result<(), Error> {
        let mut unit = self.units.remove(name).unwrap_or_default();
        let result = match wanted(model, host, name) {
            Some(wanted) => self.reconcile(&mut unit, &wanted, host, tables),
            None => {
                self.drop_unit(std::mem::take(&mut unit), tables);
                Ok(())
            }
        };
        if !unit.pools.is_empty() {
            self.units.insert(name.clone(), unit);
        }
        result
    }

    fn reconcile(
        &mut self,
        unit: &mut Unit,
        wanted: &Wanted,
        host: &Host<'_>,
        tables: &mut Tables,
    ) -> Result<(), Error> {
        self.drop_unwanted(unit, wanted, tables);
        for (key, specs) in &wanted.pools {
            if !unit.pools.contains_key(key) {
                let index = self
                    .pool_index(wanted, key)
                    .ok_or_else(|| full("services", "services"))?;
                let pool = Pool {
                    index,
                    size: 0,
                    backends: BTreeMap::new(),
                    members: Vec::new(),
                };
                unit.pools.insert(key.clone(), pool);
            }
            let pool = unit.pools.get_mut(key).expect("inserted above");
            self.backends(pool, key, specs, tables)?;
            self.ring(
                pool,
                wanted.service.maglev_size.unwrap_or(host.facts.maglev_size),
                specs,
            )?;
            record::describe_pool(pool, key, wanted, host, tables);
        }
        for (front, key) in &wanted.fronts {
            let pool = &unit.pools[key];
            let index = match unit.fronts.get(&front.key) {
                Some(index) => *index,
                None => self.front_index(&front.key, tables)?,
            };
            unit.fronts.insert(front.key, index);
            let newly = record::write_front(index, front, pool, wanted, host, tables);
            self.flows_changed |= newly;
        }
        Ok(())
    }

    fn drop_unwanted(&mut self, unit: &mut Unit, wanted: &Wanted, tables: &mut Tables) {
        let keys: std::collections::HashSet<FrontKey> =
            wanted.fronts.iter().map(|(front, _)| front.key).collect();
        unit.fronts.retain(|key, index| {
            let keep = keys.contains(key);
            if !keep {
                self.drop_front(key, *index, tables);
            }
            keep
        });
        unit.pools.retain(|key, pool| {
            let keep = wanted.pools.contains_key(key);
            if !keep {
                self.drop_pool(pool, tables);
            }
            keep
        });
    }

    fn drop_unit(&mut self, unit: Unit, tables: &mut Tables) {
        for (key, index) in &unit.fronts {
            self.drop_front(key, *index, tables);
        }
        for pool in unit.pools.values() {
            self.drop_pool(pool, tables);
        }
    }

    fn drop_front(&mut self, key: &FrontKey, index: u32, tables: &mut Tables) {
        tables.service_cells.remove(&record::cell_key(key));
        tables.services.clear(index);
        tables.directory.frontends.remove(&index);
        self.service_slots.give_back(index);
    }

    fn drop_pool(&mut self, pool: &Pool, tables: &mut Tables) {
        for index in pool.backends.values() {
            self.drop_backend(*index, tables);
        }
        tables.directory.pools.remove(&pool.index);
        self.set_ring(pool.index, None, tables);
        self.pool_slots.give_back(pool.index);
    }

    fn drop_backend(&mut self, index: u32, tables: &mut Tables) {
        let gone: types::backend = tables.backends.read(index);
        self.flows_changed |= gone.proto == Protocol::Udp.number();
        tables.backends.clear(index);
        tables.directory.backends.remove(&index);
        self.backend_slots.give_back(index);
    }

    fn front_index(&mut self, key: &FrontKey, tables: &mut Tables) -> Result<u32, Error> {
        if let Some(front) = self.adopted.fronts.remove(key) {
            return Ok(front.index);
        }
        let index = self
            .service_slots
            .take()
            .ok_or_else(|| full("services", "services"))?;
        let inserted = tables.service_cells.insert(&record::cell_key(key), index);
        inserted.map_err(|_| full("service_cells", "service cells"))?;
        Ok(index)
    }

    /// The group of the first frontend that was there before, else a new one.
    fn pool_index(&mut self, wanted: &Wanted, key: &PoolKey) -> Option<u32> {
        let fronts = wanted.fronts.iter().filter(|(_, pool)| pool == key);
        for (front, _) in fronts {
            let group = self.adopted.fronts.get(&front.key).map(|front| front.group);
            if let Some(group) = group.filter(|group| self.adopted.pools.remove(group)) {
                return Some(group);
            }
        }
        self.pool_slots.take()
    }

    fn backends(
        &mut self,
        pool: &mut Pool,
        key: &PoolKey,
        specs: &BackendSpecs,
        tables: &mut Tables,
    ) -> Result<(), Error> {
        pool.backends.retain(|place, index| {
            let keep = specs.contains_key(place);
            if !keep {
                self.drop_backend(*index, tables);
            }
            keep
        });
        for (place, spec) in specs {
            let index = match pool.backends.get(place) {
                Some(index) => *index,
                None => {
                    let adopted = self
                        .adopted
                        .backends
                        .remove(&(pool.index, *place, key.protocol));
                    let index = adopted.or_else(|| self.backend_slots.take());
                    index.ok_or_else(|| full("backends", "backends"))?
                }
            };
            pool.backends.insert(*place, index);
            record::write_backend(index, *place, spec, pool.index, key, tables);
        }
        Ok(())
    }

    /// Notes that a pool's ring must be built, if its members changed.
    fn ring(&mut self, pool: &mut Pool, size: u32, specs: &BackendSpecs) -> Result<(), Error> {
        let members: Vec<Member> = pool
            .backends
            .iter()
            .filter(|(place, _)| specs[*place].state == BackendState::Ready)
            .map(|(place, index)| Member {
                backend: *index,
                weight: u32::from(specs[place].weight),
                seed: record::seed(*place),
            })
            .collect();
        if members == pool.members && size == pool.size {
            return Ok(());
        }
        if members.len() > maglev::MAX_MEMBERS {
            let message = format!(
                "a Service can have at most {} ready backends",
                maglev::MAX_MEMBERS
            );
            return Err(Error::of_host("", message));
        }
        pool.members = members;
        pool.size = size;
        self.jobs.push(Job {
            pool: pool.index,
            size,
            members: pool.members.clone(),
        });
        Ok(())
    }

    fn set_ring(&mut self, index: u32, ring: Option<Arc<Ring>>, tables: &mut Tables) {
        let old = match ring {
            Some(ring) => tables.rings.insert(index, ring),
            None => tables.rings.remove(&index),
        };
        self.old_rings.entry(index).or_insert(old);
    }

    /// Builds and repairs the rings, on all CPUs.
    pub fn build_rings(&mut self, tables: &mut Tables) {
        let jobs = std::mem::take(&mut self.jobs);
        let rings: Vec<Option<Arc<Ring>>> = jobs
            .par_iter()
            .map(|job| job.run(tables.rings.get(&job.pool)))
            .collect();
        for (job, ring) in jobs.iter().zip(rings) {
            if ring.as_ref() != tables.rings.get(&job.pool) {
                self.set_ring(job.pool, ring, tables);
            }
        }
    }

    /// Removes what was adopted and nobody claimed.
    pub fn drop_unclaimed(&mut self, tables: &mut Tables) {
        let adopted = std::mem::take(&mut self.adopted);
        for (key, front) in &adopted.fronts {
            self.drop_front(key, front.index, tables);
        }
        for index in adopted.backends.values().chain(&adopted.strays) {
            self.drop_backend(*index, tables);
        }
        for index in &adopted.pools {
            self.set_ring(*index, None, tables);
            self.pool_slots.give_back(*index);
        }
    }

    /// The pools of a Service.
    pub fn pools_of(&self, service: &ObjectName) -> impl Iterator<Item = (&PoolKey, u32)> {
        let pools = self.units.get(service).into_iter();
        let pools = pools.flat_map(|unit| &unit.pools);
        pools.map(|(key, pool)| (key, pool.index))
    }

    pub fn pool(&self, service: &ObjectName, key: &PoolKey) -> Option<u32> {
        Some(self.units.get(service)?.pools.get(key)?.index)
    }

    /// The transaction is over: freed indexes may be used again.
    pub fn settle(&mut self) {
        self.service_slots.settle();
        self.backend_slots.settle();
        self.pool_slots.settle();
        self.flows_changed = false;
        self.old_rings.clear();
    }
}

impl Job {
    fn run(&self, previous: Option<&Arc<Ring>>) -> Option<Arc<Ring>> {
        if self.members.is_empty() {
            return None;
        }
        let ring = match previous {
            Some(ring) if ring.size() == self.size => maglev::repair(ring, &self.members),
            _ => maglev::build(&self.members, self.size),
        };
        match previous {
            Some(previous) if **previous == ring => Some(Arc::clone(previous)),
            _ => Some(Arc::new(ring)),
        }
    }
}
