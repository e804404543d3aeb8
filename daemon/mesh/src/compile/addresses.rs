//! The address table: what every known address and prefix is.

use std::net::IpAddr;

use ipnet::IpNet;
use rustc_hash::{FxHashMap, FxHashSet};
use terrace_abi::Plain;
use terrace_abi::consts::{
    ENDPOINT_EGRESS, ENDPOINT_HOST, ENDPOINT_INGRESS, ENDPOINT_REMOTE_NODE, ENDPOINT_SERVICE,
    ENDPOINT_VIRTUAL, ENDPOINT_WORKLOAD, IDENTITY_HOST, IDENTITY_REMOTE_NODE, IDENTITY_UNMANAGED,
};
use terrace_abi::hash::address_bytes;
use terrace_abi::types::endpoint;

use super::identities::Identities;
use super::model::{Model, Touched, is_workload};
use super::policy::Policies;
use super::{Host, full};
use crate::directory;
use crate::error::Error;
use crate::objects::Pod;
use crate::tables::{Prefix, Slots, Tables};

/// Bytes of an endpoint; equal endpoints share one index.
type Record = [u8; size_of::<endpoint>()];

#[derive(Debug)]
pub struct Addresses {
    entries: FxHashMap<IpNet, Record>,
    records: FxHashMap<Record, Held>,
    adopted: FxHashMap<Record, u32>,
    strays: Vec<u32>,
    slots: Slots,
}

#[derive(Debug, Clone, Copy)]
struct Held {
    index: u32,
    uses: u32,
}

/// What one look at an address needs.
struct Look<'a> {
    model: &'a Model,
    host: &'a Host<'a>,
    identities: &'a Identities,
    policies: &'a Policies,
}

impl Addresses {
    pub fn new(tables: &Tables) -> Self {
        let mut adopted = FxHashMap::default();
        let mut strays = Vec::new();
        for index in
            (1..tables.endpoints.entries()).filter(|index| !tables.endpoints.is_zero(*index))
        {
            let record: Record = tables
                .endpoints
                .get(index)
                .try_into()
                .expect("the size of an endpoint");
            if *adopted.entry(record).or_insert(index) != index {
                strays.push(index);
            }
        }
        Self {
            entries: FxHashMap::default(),
            records: FxHashMap::default(),
            adopted,
            strays,
            slots: Slots::of(&tables.endpoints),
        }
    }

    /// Brings touched addresses up to date, or `all`. True when a flow's
    /// verdict may have changed: an identity, or what is enforced, did.
    pub fn update(
        &mut self,
        model: &Model,
        host: &Host<'_>,
        (touched, all): (&Touched, bool),
        (identities, policies): (&Identities, &Policies),
        tables: &mut Tables,
    ) -> Result<bool, Error> {
        let look = Look {
            model,
            host,
            identities,
            policies,
        };
        let mut nets: FxHashSet<IpNet> = touched
            .addresses
            .iter()
            .map(|address| IpNet::from(*address))
            .collect();
        for pod in &touched.pods {
            let held = model.pods.get(pod).into_iter().flatten();
            nets.extend(
                held.flat_map(|pod| &pod.addresses)
                    .map(|address| IpNet::from(*address)),
            );
        }
        for namespace in &touched.namespaces {
            let held = model.namespace_pods.get(namespace).into_iter().flatten();
            nets.extend(
                held.flat_map(|pod| &pod.addresses)
                    .map(|address| IpNet::from(*address)),
            );
        }
        if all {
            nets.extend(self.entries.keys());
            nets.extend(look.all());
        }
        let mut judged = false;
        let mut nets: Vec<IpNet> = nets.into_iter().collect();
        nets.sort_unstable();
        for net in nets {
            judged |= self.one(net, &look, tables)?;
        }
        Ok(judged)
    }

    /// Brings some prefixes up to date.
    pub fn prefixes(
        &mut self,
        model: &Model,
        host: &Host<'_>,
        nets: &[IpNet],
        (identities, policies): (&Identities, &Policies),
        tables: &mut Tables,
    ) -> Result<(), Error> {
        let look = Look {
            model,
            host,
            identities,
            policies,
        };
        nets.iter()
            .try_for_each(|net| self.one(*net, &look, tables).map(|_| ()))
    }

    fn one(&mut self, net: IpNet, look: &Look<'_>, tables: &mut Tables) -> Result<bool, Error> {
        let wanted = look.endpoint(net);
        let record = wanted.as_ref().map(record_of);
        if record.as_ref() == self.entries.get(&net) {
            look.describe(
                net,
                wanted.as_ref(),
                self.records.get(&record.unwrap_or_default()),
                tables,
            );
            return Ok(false);
        }
        let before = judged_as(net, tables);
        let mut was_there = false;
        if let Some(record) = record {
            let index = self.take(record, tables)?;
            let prefix = Prefix::from(net);
            was_there = tables
                .addresses
                .values_of(&prefix)
                .any(|value| value == index);
            let inserted = tables.addresses.insert(&prefix, index);
            inserted.map_err(|_| full("address_cells", "addresses and prefixes"))?;
            if let Some(old) = self.entries.insert(net, record) {
                self.give_back(&old, tables);
            }
        } else if let Some(old) = self.entries.remove(&net) {
            tables.addresses.remove(&Prefix::from(net));
            self.give_back(&old, tables);
        }
        look.describe(
            net,
            wanted.as_ref(),
            self.records.get(&record.unwrap_or_default()),
            tables,
        );
        // Of a prefix not all addresses are as the first one.
        let single = net.prefix_len() == net.max_prefix_len();
        Ok(!was_there && (!single || before != judged_as(net, tables)))
    }

    /// The index of an endpoint, shared by all addresses that have it.
    fn take(&mut self, record: Record, tables: &mut Tables) -> Result<u32, Error> {
        if let Some(held) = self.records.get_mut(&record) {
            held.uses += 1;
            return Ok(held.index);
        }
        let index = self.adopted.remove(&record).or_else(|| self.slots.take());
        let index = index.ok_or_else(|| full("endpoints", "endpoints"))?;
        tables.endpoints.set(index, &record);
        self.records.insert(record, Held { index, uses: 1 });
        Ok(index)
    }

    fn give_back(&mut self, record: &Record, tables: &mut Tables) {
        let Some(held) = self.records.get_mut(record) else {
            return;
        };
        held.uses -= 1;
        if held.uses == 0 {
            let index = held.index;
            self.records.remove(record);
            tables.endpoints.clear(index);
            self.slots.give_back(index);
        }
    }

    /// Removes what was adopted and nobody claimed.
    pub fn drop_unclaimed(&mut self, tables: &mut Tables) {
        let entries: FxHashSet<Prefix> =
            self.entries.keys().map(|net| Prefix::from(*net)).collect();
        tables
            .addresses
            .retain_claimed(|prefix| entries.contains(prefix));
        let adopted = std::mem::take(&mut self.adopted);
        for index in adopted
            .into_values()
            .chain(std::mem::take(&mut self.strays))
        {
            tables.endpoints.clear(index);
            self.slots.give_back(index);
        }
    }

    pub fn settle(&mut self) {
        self.slots.settle();
    }
}

fn record_of(endpoint: &endpoint) -> Record {
    endpoint
        .as_bytes()
        .try_into()
        .expect("the size of an endpoint")
}

/// What verdicts and the data plane's short ways rely on, of the first address
/// of a prefix: they remember an address by its record's number.
fn judged_as(net: IpNet, tables: &Tables) -> Record {
    let index = tables.addresses.lookup(&address_bytes(net.network()));
    record_of(&tables.endpoints.read(index))
}

impl Look<'_> {
    /// Every address and prefix that somebody names.
    fn all(&self) -> impl Iterator<Item = IpNet> + '_ {
        let facts = self.host.facts;
        let addresses = facts.addresses.iter().chain(&facts.remote_nodes);
        let addresses = addresses
            .chain(self.model.pod_addresses.keys())
            .chain(self.model.service_addresses.keys());
        let nets = facts.cluster_cidrs.iter().map(IpNet::trunc);
        addresses
            .map(|address| IpNet::from(*address))
            .chain(nets)
            .chain(self.policies.cidrs.keys().copied())
    }

    /// What the table is to say of a prefix; `None` when nobody names it.
    fn endpoint(&self, net: IpNet) -> Option<endpoint> {
        let address = (net.prefix_len() == net.max_prefix_len()).then(|| net.addr());
        let mut found = endpoint::default();
        let named = address.is_some_and(|address| self.address(address, &mut found));
        if found.identity != 0 {
            return Some(found);
        }
        let cidr = self.policies.cidrs.get(&net).copied();
        let cluster = self
            .host
            .facts
            .cluster_cidrs
            .iter()
            .any(|cluster| cluster.trunc() == net);
        found.identity = match cidr {
            Some(identity) => identity,
            None if cluster => IDENTITY_UNMANAGED,
            None if named => self.policies.around(net, self.host),
            None => return None,
        };
        Some(found)
    }

    /// Flags, and the identity if the address itself has one. True when
    /// somebody names the address.
    fn address(&self, address: IpAddr, found: &mut endpoint) -> bool {
        let facts = self.host.facts;
        let is_host = facts.addresses.contains(&address);
        if is_host {
            found.identity = IDENTITY_HOST;
            found.flags |= ENDPOINT_HOST;
        } else if facts.remote_nodes.contains(&address) {
            found.identity = IDENTITY_REMOTE_NODE;
            found.flags |= ENDPOINT_REMOTE_NODE;
        } else if let Some(pod) = self.model.pod_at(address) {
            self.pod(pod, address, found);
        }
        let is_service = self.model.service_addresses.contains_key(&address);
        if is_service {
            found.flags |= ENDPOINT_SERVICE;
            if found.flags & (ENDPOINT_HOST | ENDPOINT_REMOTE_NODE | ENDPOINT_WORKLOAD) == 0 {
                found.flags |= ENDPOINT_VIRTUAL;
            }
        }
        is_service || found.flags != 0 || found.identity != 0
    }

    fn pod(&self, pod: &Pod, address: IpAddr, found: &mut endpoint) {
        found.identity = self
            .identities
            .of_pod(&pod.name)
            .unwrap_or(IDENTITY_UNMANAGED);
        if !is_workload(pod, self.host.facts) {
            return;
        }
        let enforced = self.policies.enforced(found.identity);
        for (on, flag) in enforced
            .into_iter()
            .zip([ENDPOINT_INGRESS, ENDPOINT_EGRESS])
        {
            if on {
                found.flags |= flag;
            }
        }
        let interface = pod.interface.as_ref();
        let fact = interface.and_then(|name| self.host.facts.interfaces.get(name));
        if let Some(fact) = fact {
            found.flags |= ENDPOINT_WORKLOAD;
            found.ifindex = fact.ifindex;
            found.iface_mac = fact.mac;
            found.mac = fact.peer_macs.get(&address).copied().unwrap_or_default();
        }
    }

    fn describe(
        &self,
        net: IpNet,
        found: Option<&endpoint>,
        held: Option<&Held>,
        tables: &mut Tables,
    ) {
        let (Some(found), Some(held)) = (found, held) else {
            tables.directory.addresses.remove(&net);
            return;
        };
        let single = net.prefix_len() == net.max_prefix_len();
        let pod = single.then(|| self.model.pod_at(net.addr())).flatten();
        let local = pod.filter(|pod| is_workload(pod, self.host.facts));
        let entry = directory::Address {
            endpoint: held.index,
            identity: found.identity,
            pod: pod.map(|pod| pod.name.clone()),
            interface: local.and_then(|pod| pod.interface.clone()),
        };
        tables.directory.addresses.insert(net, entry);
    }
}
