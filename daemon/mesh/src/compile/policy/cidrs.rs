//! Identities of prefixes, kept while a rule names the prefix.

use std::collections::{BTreeMap, BTreeSet};

use ipnet::IpNet;
use rustc_hash::FxHashSet;
use terrace_abi::consts::IDENTITY_FIRST_CIDR;
use terrace_abi::types::endpoint;

use crate::tables::{Prefix, Tables};

#[derive(Debug)]
pub struct CidrNumbers {
    next: u32,
    /// The tables in use were made by another run: numbers are to be found
    /// in them.
    adopts: bool,
}

impl CidrNumbers {
    pub fn new(fresh: bool) -> Self {
        Self {
            next: IDENTITY_FIRST_CIDR,
            adopts: !fresh,
        }
    }

    /// Numbers for all prefixes; true when some prefix came or went.
    pub fn number(
        &mut self,
        nets: &BTreeSet<IpNet>,
        known: &BTreeMap<IpNet, u32>,
        tables: &Tables,
    ) -> (BTreeMap<IpNet, u32>, bool) {
        if self.adopts {
            self.adopts = false;
            return self.adopt(nets, tables);
        }
        let mut numbers = BTreeMap::new();
        let mut new = false;
        for net in nets {
            let number = known.get(net).copied().unwrap_or_else(|| {
                new = true;
                self.take()
            });
            numbers.insert(*net, number);
        }
        let gone = known.len() != numbers.len();
        (numbers, new || gone)
    }

    fn take(&mut self) -> u32 {
        self.next += 1;
        self.next - 1
    }

    /// Longer prefixes first: what remains of a short one's roots is its own.
    fn adopt(&mut self, nets: &BTreeSet<IpNet>, tables: &Tables) -> (BTreeMap<IpNet, u32>, bool) {
        let held = numbers_in(tables);
        self.next = held
            .iter()
            .max()
            .map_or(IDENTITY_FIRST_CIDR, |last| last + 1);
        let mut order: Vec<&IpNet> = nets.iter().collect();
        order.sort_by_key(|net| std::cmp::Reverse(net.prefix_len()));
        let mut taken = FxHashSet::default();
        let mut numbers = BTreeMap::new();
        for net in order {
            let values = tables.addresses.values_of(&Prefix::from(*net));
            let mut found = values.map(|value| tables.endpoints.read::<endpoint>(value).identity);
            let number =
                found.find(|number| *number >= IDENTITY_FIRST_CIDR && taken.insert(*number));
            numbers.insert(*net, number.unwrap_or_else(|| self.take()));
        }
        (
            numbers,
            taken.len() != nets.len() || taken.len() != held.len(),
        )
    }
}

fn numbers_in(tables: &Tables) -> FxHashSet<u32> {
    let endpoints = 1..tables.endpoints.entries();
    endpoints
        .map(|index| tables.endpoints.read::<endpoint>(index).identity)
        .filter(|number| *number >= IDENTITY_FIRST_CIDR)
        .collect()
}
