//! Which entries a path leads to: exact ones by a hash, prefixes by their
//! order, all others by one automaton.

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
    /// In the order of their bytes. All prefixes of a path are the greatest one
    /// that is not greater than the path and the prefixes of that one.
    prefixes: Vec<Prefix<E>>,
    patterns: Patterns,
    pattern_entries: Vec<E>,
}

#[derive(Debug, Clone)]
struct Prefix<E> {
    text: Box<str>,
    /// The longest other one that this one begins with.
    parent: Option<u32>,
    entries: Vec<E>,
}

impl<E: Copy> PathIndex<E> {
    pub fn build(rows: impl IntoIterator<Item = (PathKind, E)>) -> Result<Self, RuleError> {
        let mut exact: FxHashMap<Box<str>, Vec<E>> = FxHashMap::default();
        let mut prefixes: std::collections::BTreeMap<Box<str>, Vec<E>> = Default::default();
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
        Ok(Self {
            exact,
            prefixes: linked(prefixes),
            patterns: Patterns::new(&patterns)?,
            pattern_entries,
        })
    }

    pub fn exact(&self, path: &str) -> &[E] {
        self.exact.get(path).map_or(&[], Vec::as_slice)
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
        let after = self
            .prefixes
            .partition_point(|prefix| &*prefix.text <= path);
        let mut next = after.checked_sub(1);
        std::iter::from_fn(move || {
            let prefix = &self.prefixes[next?];
            next = prefix.parent.map(|parent| parent as usize);
            Some(prefix)
        })
        .filter(|prefix| path.starts_with(&*prefix.text))
        .map(|prefix| (prefix.text.len(), prefix.entries.as_slice()))
    }
}

fn linked<E>(sorted: std::collections::BTreeMap<Box<str>, Vec<E>>) -> Vec<Prefix<E>> {
    let mut prefixes: Vec<Prefix<E>> = Vec::with_capacity(sorted.len());
    for (text, entries) in sorted {
        let mut parent = prefixes.len().checked_sub(1);
        while let Some(at) = parent
            && !text.starts_with(&*prefixes[at].text)
        {
            parent = prefixes[at].parent.map(|at| at as usize);
        }
        prefixes.push(Prefix {
            text,
            parent: parent.and_then(|at| u32::try_from(at).ok()),
            entries,
        });
    }
    prefixes
}
