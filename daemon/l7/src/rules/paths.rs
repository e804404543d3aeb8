//! Which entries a path leads to: exact ones by a hash, prefixes by a hash for
//! each length that a prefix has, all others by one automaton.

use rustc_hash::FxHashMap;

use super::RuleError;
use super::patterns::{Patterns, Scratch};

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathKind {
    Exact(String),
    /// Bytes that the path begins with.
    Prefix(String),
    /// An expression on the whole path.
    Regex(String),
}

/// Lists of entries by path. `E` stands in the lists in the order that
/// [`PathIndex::build`] was given.
#[derive(Debug, Clone)]
pub struct PathIndex<E> {
    exact: FxHashMap<Box<str>, Vec<E>>,
    prefixes: FxHashMap<Box<str>, Vec<E>>,
    /// Lengths of prefixes, the longest first.
    lengths: Vec<usize>,
    patterns: Patterns,
    pattern_entries: Vec<E>,
}

impl<E: Copy> PathIndex<E> {
    pub fn build(rows: impl IntoIterator<Item = (PathKind, E)>) -> Result<Self, RuleError> {
        let mut exact: FxHashMap<Box<str>, Vec<E>> = FxHashMap::default();
        let mut prefixes: FxHashMap<Box<str>, Vec<E>> = FxHashMap::default();
        let (mut patterns, mut pattern_entries) = (Vec::new(), Vec::new());
        for (kind, entry) in rows {
            match kind {
                PathKind::Exact(path) => exact.entry(path.into()).or_default().push(entry),
                PathKind::Prefix(path) => prefixes.entry(path.into()).or_default().push(entry),
                PathKind::Regex(pattern) => {
                    patterns.push(pattern);
                    pattern_entries.push(entry);
                }
            }
        }
        let mut lengths: Vec<usize> = prefixes.keys().map(|prefix| prefix.len()).collect();
        lengths.sort_unstable_by(|a, b| b.cmp(a));
        lengths.dedup();
        Ok(Self {
            exact,
            prefixes,
            lengths,
            patterns: Patterns::new(&patterns)?,
            pattern_entries,
        })
    }

    pub fn exact(&self, path: &str) -> &[E] {
        self.exact.get(path).map_or(&[], Vec::as_slice)
    }

    pub fn all_exact(&self) -> impl Iterator<Item = (&str, &[E])> {
        let all = self.exact.iter();
        all.map(|(path, list)| (path.as_ref(), list.as_slice()))
    }

    pub fn all_prefixes(&self) -> impl Iterator<Item = (&str, &[E])> {
        let all = self.prefixes.iter();
        all.map(|(path, list)| (path.as_ref(), list.as_slice()))
    }

    pub fn has_patterns(&self) -> bool {
        !self.pattern_entries.is_empty()
    }

    /// Entries whose expressions match, in the order of `build`.
    pub fn patterns<'s>(
        &'s self,
        path: &str,
        scratch: &'s mut Scratch,
    ) -> impl Iterator<Item = E> + 's {
        let numbers = self.patterns.matches(path.as_bytes(), scratch);
        numbers.map(|number| self.pattern_entries[number])
    }

    /// The prefixes of a path with their entries, the longest first.
    pub fn prefixes<'s>(&'s self, path: &'s str) -> impl Iterator<Item = (usize, &'s [E])> + 's {
        self.lengths.iter().filter_map(move |len| {
            let entries = self.prefixes.get(path.get(..*len)?)?;
            Some((*len, entries.as_slice()))
        })
    }
}
