//! Identities: a number for each set of labels and named ports, kept for as
//! long as a pod has them, and never given to others after that.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use rustc_hash::FxHashMap;
use terrace_abi::consts::{
    IDENTITY_FIRST_CIDR, IDENTITY_FIRST_LABELS, IDENTITY_HOST, IDENTITY_REMOTE_NODE,
    IDENTITY_UNMANAGED, IDENTITY_WORLD,
};
use terrace_abi::types::endpoint;

use super::model::Model;
use super::{Host, full};
use crate::error::Error;
use crate::facts::HostFacts;
use crate::objects::{
    CLUSTER_LABEL, Labels, NAMESPACE_LABEL, NAMESPACE_LABELS, NamedPort, ObjectName, Pod,
    SERVICE_ACCOUNT_LABEL,
};
use crate::tables::Tables;

/// Reserved identities, with the label that selectors know them by.
pub const RESERVED: [(u32, &str); 4] = [
    (IDENTITY_HOST, "host"),
    (IDENTITY_WORLD, "world"),
    (IDENTITY_UNMANAGED, "unmanaged"),
    (IDENTITY_REMOTE_NODE, "remote-node"),
];

/// All that rules can know a pod by. Named ports are part of it, so that what
/// a name means never changes for an identity.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Traits {
    pub labels: Labels,
    pub named_ports: BTreeSet<NamedPort>,
}

#[derive(Debug)]
pub struct Identities {
    numbers: FxHashMap<Traits, u32>,
    /// With the number of pods; 0 pods = goes at the end of the transaction.
    held: BTreeMap<u32, (Traits, u32)>,
    pods: FxHashMap<ObjectName, u32>,
    next: u32,
    /// An identity came or went in this transaction.
    pub changed: bool,
}

/// The labels that selectors match a pod by.
fn labels_of(pod: &Pod, model: &Model, host: &Host<'_>) -> Labels {
    let mut labels = pod.labels.clone();
    let namespace = &pod.name.namespace;
    match model
        .namespaces
        .get(namespace)
        .and_then(|held| held.first())
    {
        Some(namespace) => {
            let named = namespace.labels.iter();
            labels.extend(
                named.map(|(key, value)| (format!("{NAMESPACE_LABELS}{key}"), value.clone())),
            );
        }
        None => {
            let key = format!("{NAMESPACE_LABELS}kubernetes.io/metadata.name");
            labels.insert(key, namespace.clone());
        }
    }
    labels.insert(NAMESPACE_LABEL.to_owned(), namespace.clone());
    labels.insert(CLUSTER_LABEL.to_owned(), host.facts.cluster_name.clone());
    if let Some(account) = &pod.service_account {
        labels.insert(SERVICE_ACCOUNT_LABEL.to_owned(), account.clone());
    }
    labels
}

impl Identities {
    pub fn new(tables: &Tables, _facts: &HostFacts) -> Self {
        let mut next = IDENTITY_FIRST_LABELS;
        for index in 1..tables.endpoints.entries() {
            let number = tables.endpoints.read::<endpoint>(index).identity;
            if (next..IDENTITY_FIRST_CIDR).contains(&number) {
                next = number + 1;
            }
        }
        Self {
            numbers: FxHashMap::default(),
            held: BTreeMap::new(),
            pods: FxHashMap::default(),
            next,
            changed: false,
        }
    }

    /// Gives a pod its identity. Of `previous` tables the number
    /// that the pod's address had is preferred.
    pub fn update(
        &mut self,
        model: &Model,
        host: &Host<'_>,
        name: &ObjectName,
        previous: Option<&Tables>,
    ) -> Result<(), Error> {
        let pod = model.pods.get(name).and_then(|held| held.first());
        let old = self.pods.remove(name);
        if let Some(pod) = pod.filter(|pod| !pod.addresses.is_empty()) {
            let traits = Traits {
                labels: labels_of(pod, model, host),
                named_ports: pod.named_ports.iter().cloned().collect(),
            };
            let number = match self.numbers.get(&traits) {
                Some(number) => *number,
                None => self.add(
                    traits,
                    previous.and_then(|tables| self.number_at(tables, pod.addresses[0])),
                )?,
            };
            if let Some((_, pods)) = self.held.get_mut(&number) {
                *pods += 1;
            }
            self.pods.insert(name.clone(), number);
        }
        if let Some((_, pods)) = old.and_then(|old| self.held.get_mut(&old)) {
            *pods -= 1;
            self.changed |= *pods == 0;
        }
        Ok(())
    }

    fn number_at(&self, tables: &Tables, address: IpAddr) -> Option<u32> {
        let number = tables.endpoint_of(address).identity;
        let is_labels = (IDENTITY_FIRST_LABELS..IDENTITY_FIRST_CIDR).contains(&number);
        (is_labels && !self.held.contains_key(&number)).then_some(number)
    }

    fn add(&mut self, traits: Traits, preferred: Option<u32>) -> Result<u32, Error> {
        let number = match preferred {
            Some(number) => number,
            None => {
                let number = self.next;
                if number >= IDENTITY_FIRST_CIDR {
                    return Err(full("endpoints", "identities"));
                }
                self.next += 1;
                number
            }
        };
        self.numbers.insert(traits.clone(), number);
        self.held.insert(number, (traits, 0));
        self.changed = true;
        Ok(number)
    }

    pub fn of_pod(&self, name: &ObjectName) -> Option<u32> {
        self.pods.get(name).copied()
    }

    /// Identities of pods; with `all`, those too that go with this
    /// transaction.
    pub fn iter(&self, all: bool) -> impl Iterator<Item = (u32, &Traits)> {
        let held = self
            .held
            .iter()
            .filter(move |(_, (_, pods))| all || *pods > 0);
        held.map(|(number, (traits, _))| (*number, traits))
    }

    /// The transaction is over: identities without pods go, new ones get their
    /// names. True when there were some.
    pub fn finish(&mut self, tables: &mut Tables) -> bool {
        if !self.changed && !tables.directory.identities.is_empty() {
            return false;
        }
        self.changed = false;
        let gone: Vec<u32> = self
            .held
            .iter()
            .filter(|(_, (_, pods))| *pods == 0)
            .map(|(n, _)| *n)
            .collect();
        for number in gone {
            if let Some((traits, _)) = self.held.remove(&number) {
                self.numbers.remove(&traits);
                tables.directory.identities.remove(&number);
            }
        }
        let directory = &mut tables.directory.identities;
        for (number, name) in RESERVED {
            directory.entry(number).or_default().name = name.to_owned();
        }
        for (number, (traits, _)) in &self.held {
            let entry = directory.entry(*number).or_default();
            if entry.labels != traits.labels {
                entry.labels.clone_from(&traits.labels);
            }
        }
        true
    }
}
