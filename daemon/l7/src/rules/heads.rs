//! What of routes and policies the programs can decide themselves: methods and
//! paths, as entries of a trie of bytes. Wherever more is to be looked at the
//! entry says 0, which no flow wants, so the request goes to a worker.

use std::collections::BTreeMap;

use super::paths::PathIndex;
use super::policy::Policy;
use super::router::Router;
use crate::splice::{HeadRule, PATH_MAX, scan};

/// A path with what follows it in a head.
fn exactly(path: &str) -> Vec<u8> {
    path.bytes().chain([b' ']).collect()
}

impl Router {
    /// Entries of a set of routes: the longest that fits a request says where
    /// it goes. `value` is an action's, 0 = a worker's. Empty where hosts or
    /// expressions decide.
    pub fn head_rules(&self, value: impl Fn(u32) -> u32) -> Vec<HeadRule> {
        let Some(table) = self.only_table() else {
            return Vec::new();
        };
        let mut found: BTreeMap<(Vec<u8>, u8), u32> = BTreeMap::new();
        for (path, lists) in by_key(&table.paths) {
            // Paths longer than a key have to be read by a worker.
            let is_whole = path.len() <= PATH_MAX;
            let key = path[..path.len().min(PATH_MAX)].to_vec();
            for (name, method) in scan::methods() {
                let mut entries = lists.iter().flat_map(|list| *list);
                let first = entries.find_map(|index| table.plain_action(*index, name));
                let Some(action) = first else { continue };
                let value = action.filter(|_| is_whole).map_or(0, &value);
                let held = found.entry((key.clone(), method)).or_insert(value);
                *held = if *held == value { value } else { 0 };
            }
        }
        let rule = |((path, method), value)| HeadRule {
            method,
            path,
            value,
        };
        found.into_iter().map(rule).collect()
    }
}

/// Lists of entries by what a path must begin with, the first to be asked first.
fn by_key(paths: &PathIndex<u32>) -> BTreeMap<Vec<u8>, Vec<&[u32]>> {
    let mut keys: BTreeMap<Vec<u8>, Vec<&[u32]>> = BTreeMap::new();
    for (path, list) in paths.all_exact() {
        keys.entry(exactly(path)).or_default().push(list);
    }
    for (prefix, list) in paths.all_prefixes() {
        keys.entry(format!("{prefix}/").into_bytes())
            .or_default()
            .push(list);
        if !prefix.is_empty() {
            keys.entry(exactly(prefix)).or_default().push(list);
        }
    }
    keys
}

impl Policy {
    /// Entries of a set of a policy: any that fits a request allows it. What
    /// finds none may be allowed by a rule that looks at more.
    pub fn head_rules(&self) -> Vec<HeadRule> {
        let exact = self.paths.all_exact();
        let exact = exact.map(|(path, list)| (exactly(path), list));
        let prefixes = self.paths.all_prefixes();
        let prefixes = prefixes.map(|(path, list)| (path.as_bytes().to_vec(), list));
        let mut rules = Vec::new();
        for (path, list) in exact.chain(prefixes).filter(|(p, _)| p.len() <= PATH_MAX) {
            for (name, method) in scan::methods() {
                if list.iter().any(|index| self.is_plain(*index, name)) {
                    rules.push(HeadRule {
                        method,
                        path: path.clone(),
                        value: 1,
                    });
                }
            }
        }
        rules
    }
}
