//! Who may ask what: the union of the HTTP rules that apply to a flow.

use super::language::{self, Language};
use super::paths::{PathIndex, PathKind};
use super::patterns::{Pattern, Scratch};
use super::values::Values;
use super::{RuleError, ValueRule};
use crate::http::Request;

/// One entry of `rules.http` (CiliumNetworkPolicy). All that is set must
/// match; expressions match the whole of their text, as in Cilium.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HttpRule {
    pub method: Option<String>,
    /// On path and query as written.
    pub path: Option<String>,
    /// On Host as written, with its port.
    pub host: Option<String>,
    pub headers: Vec<ValueRule>,
    /// What the caller calls this rule.
    pub id: u32,
}

/// The rules of one subject, direction, port and peer.
#[derive(Debug, Clone)]
pub struct Policy {
    entries: Vec<Entry>,
    pub(super) paths: PathIndex<u32>,
}

#[derive(Debug, Clone)]
struct Entry {
    id: u32,
    method: Word,
    host: Word,
    headers: Values,
}

/// A method or a host.
#[derive(Debug, Clone)]
enum Word {
    Any,
    Texts(Box<[String]>),
    Regex(Pattern),
}

impl Word {
    fn new(pattern: Option<&str>) -> Result<Self, RuleError> {
        let Some(pattern) = pattern.filter(|pattern| !pattern.is_empty()) else {
            return Ok(Self::Any);
        };
        Ok(match language::of(pattern) {
            Language::Prefix(prefix) if prefix.is_empty() => Self::Any,
            Language::Texts(texts) => Self::Texts(texts.into()),
            _ => Self::Regex(Pattern::new(pattern)?),
        })
    }

    fn matches(&self, text: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Texts(texts) => texts.iter().any(|known| known == text),
            Self::Regex(pattern) => pattern.matches(text.as_bytes()),
        }
    }
}

impl Policy {
    pub fn compile(rules: &[HttpRule]) -> Result<Self, RuleError> {
        let (mut entries, mut rows) = (Vec::with_capacity(rules.len()), Vec::new());
        for (index, rule) in (0..).zip(rules) {
            entries.push(Entry {
                id: rule.id,
                method: Word::new(rule.method.as_deref())?,
                host: Word::new(rule.host.as_deref())?,
                headers: Values::new(&rule.headers)?,
            });
            rows.extend(
                kinds(rule.path.as_deref())
                    .into_iter()
                    .map(|kind| (kind, index)),
            );
        }
        Ok(Self {
            entries,
            paths: PathIndex::build(rows)?,
        })
    }

    /// An entry that allows all requests of a method at its path.
    pub(super) fn is_plain(&self, index: u32, method: &str) -> bool {
        let entry = &self.entries[index as usize];
        let is_method = match &entry.method {
            Word::Any => true,
            Word::Texts(texts) => texts.iter().any(|text| text == method),
            Word::Regex(_) => false,
        };
        is_method && matches!(entry.host, Word::Any) && entry.headers.is_empty()
    }

    /// The rule that allows a request, if one does.
    pub fn allows(&self, request: &Request<'_, '_>, scratch: &mut Scratch) -> Option<u32> {
        let path = request.target.path_and_query;
        let allows = |index: &u32| {
            let entry = &self.entries[*index as usize];
            let matches = entry.method.matches(request.method)
                && entry.host.matches(request.host)
                && entry.headers.match_fields(&request.fields);
            matches.then_some(entry.id)
        };
        let exact = self.paths.exact(path).iter().find_map(allows);
        let prefix = || {
            let mut lists = self.paths.prefixes(path);
            lists.find_map(|(_, entries)| entries.iter().find_map(allows))
        };
        exact.or_else(prefix).or_else(|| {
            let mut found = self.paths.patterns(path, scratch);
            found.find_map(|index| allows(&index))
        })
    }
}

fn kinds(path: Option<&str>) -> Vec<PathKind> {
    let Some(pattern) = path.filter(|path| !path.is_empty()) else {
        return vec![PathKind::Prefix(String::new())];
    };
    match language::of(pattern) {
        Language::Texts(texts) => texts.into_iter().map(PathKind::Exact).collect(),
        Language::Prefix(prefix) => vec![PathKind::Prefix(prefix)],
        Language::Other => vec![PathKind::Regex(pattern.to_owned())],
    }
}
