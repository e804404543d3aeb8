//! Where a request goes: the HTTPRoutes of one Service port, by the precedence
//! of Gateway API.

use std::cmp::Reverse;

use rustc_hash::FxHashMap;

use super::paths::{PathIndex, PathKind};
use super::patterns::Scratch;
use super::values::Values;
use super::{RuleError, ValueRule};
use crate::http::Request;

/// An HTTPRoute.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Route {
    /// `namespace/name`.
    pub name: String,
    /// Seconds since 1970; the older of two wins. `None` counts as youngest.
    pub created: Option<i64>,
    /// Lower case; `*.` in front stands for one or more labels. None = all.
    pub hostnames: Vec<String>,
    pub rules: Vec<RouteRule>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RouteRule {
    /// None = all requests.
    pub matches: Vec<Match>,
    /// What the caller does with a request of this rule.
    pub action: u32,
}

/// All that is set must match.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Match {
    /// `None` = all.
    pub path: Option<PathMatch>,
    pub method: Option<String>,
    pub headers: Vec<ValueRule>,
    pub query: Vec<ValueRule>,
}

impl Match {
    fn names_tunnel(&self) -> bool {
        let mut fields = self.headers.iter();
        fields.any(|field| field.name.eq_ignore_ascii_case("upgrade"))
            || self.method.as_deref() == Some("CONNECT")
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathMatch {
    Exact(String),
    /// By path elements: `/a` matches `/a` and `/a/b`, not `/ab`.
    Prefix(String),
    /// On the whole path, without the query.
    Regex(String),
}

/// What was found for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Routed {
    pub action: u32,
    /// Bytes of the path that a prefix match took (Gateway API's
    /// ReplacePrefixMatch replaces them), without a slash at the end.
    pub prefix_len: usize,
    /// The match that was met asks for CONNECT or an Upgrade by name.
    pub names_tunnel: bool,
}

/// The routes of one Service port.
#[derive(Debug, Clone, Default)]
pub struct Router {
    hosts: FxHashMap<Box<str>, Table>,
    /// By what follows the `*`, with its dot.
    wildcards: FxHashMap<Box<str>, Table>,
    any: Option<Table>,
}

#[derive(Debug, Clone)]
pub(super) struct Table {
    entries: Vec<Entry>,
    pub(super) paths: PathIndex<u32>,
}

#[derive(Debug, Clone)]
struct Entry {
    method: Option<Box<str>>,
    headers: Values,
    query: Values,
    action: u32,
    names_tunnel: bool,
}

/// A match while its table is sorted.
#[derive(Clone)]
struct Candidate<'r> {
    route: &'r Route,
    action: u32,
    rule: usize,
    which: Match,
}

impl Candidate<'_> {
    /// Gateway API's precedence behind the path, the first wins.
    fn rank(&self) -> impl Ord + '_ {
        let pattern = match &self.which.path {
            Some(PathMatch::Regex(pattern)) => pattern.len(),
            _ => 0,
        };
        let created = self.route.created.unwrap_or(i64::MAX);
        (
            // Among expressions the longer goes first; the API leaves it open.
            Reverse(pattern),
            Reverse(self.which.method.is_some()),
            Reverse(self.which.headers.len()),
            Reverse(self.which.query.len()),
            created,
            &self.route.name,
            self.rule,
        )
    }
}

impl Router {
    pub fn compile(routes: &[Route]) -> Result<Self, RuleError> {
        let mut by_host: FxHashMap<&str, Vec<Candidate<'_>>> = FxHashMap::default();
        let all = [String::new()];
        for route in routes {
            let hostnames = match route.hostnames.as_slice() {
                [] => &all,
                some => some,
            };
            for hostname in hostnames {
                let list = by_host.entry(hostname).or_default();
                list.extend(candidates(route));
            }
        }
        let mut router = Self::default();
        for (hostname, candidates) in by_host {
            let table = Table::compile(candidates)?;
            match hostname.strip_prefix('*') {
                _ if hostname.is_empty() => router.any = Some(table),
                Some(suffix) => drop(router.wildcards.insert(suffix.into(), table)),
                None => drop(router.hosts.insert(hostname.into(), table)),
            }
        }
        Ok(router)
    }

    /// The table that any request meets, when there is no other and no
    /// expression in it.
    pub(super) fn only_table(&self) -> Option<&Table> {
        let is_only = self.hosts.is_empty() && self.wildcards.is_empty();
        let table = self.any.as_ref().filter(|_| is_only);
        table.filter(|table| !table.paths.has_patterns())
    }

    /// The rule of the highest precedence that matches.
    pub fn route(&self, request: &Request<'_, '_>, scratch: &mut Scratch) -> Option<Routed> {
        if self.hosts.is_empty() && self.wildcards.is_empty() {
            return self.any.as_ref()?.find(request, scratch);
        }
        let host = request.host_name();
        // Most are written in lower case already.
        let mut buffer;
        let host = match host.bytes().any(|byte| byte.is_ascii_uppercase()) {
            false => host,
            true => {
                buffer = [0; 255];
                lower_case(host, &mut buffer)
            }
        };
        let exact = self
            .hosts
            .get(host)
            .and_then(|table| table.find(request, scratch));
        if exact.is_some() {
            return exact;
        }
        // The longest suffix first; the first label is what `*` stands for.
        let dots = host.match_indices('.').map(|(at, _)| &host[at..]);
        for suffix in dots.filter(|_| !self.wildcards.is_empty()) {
            let table = self.wildcards.get(suffix);
            let found = table.and_then(|table| table.find(request, scratch));
            if found.is_some() {
                return found;
            }
        }
        self.any.as_ref()?.find(request, scratch)
    }
}

/// A host in lower case; one that is longer than names can be is none.
fn lower_case<'b>(host: &str, buffer: &'b mut [u8; 255]) -> &'b str {
    let Some(place) = buffer.get_mut(..host.len()) else {
        return "";
    };
    place.copy_from_slice(host.as_bytes());
    place.make_ascii_lowercase();
    std::str::from_utf8(place).unwrap_or_default()
}

fn candidates(route: &Route) -> Vec<Candidate<'_>> {
    let mut found = Vec::new();
    for (rule, raw) in route.rules.iter().enumerate() {
        let candidate = |which: Match| Candidate {
            route,
            action: raw.action,
            rule,
            which,
        };
        match raw.matches.as_slice() {
            [] => found.push(candidate(Match::default())),
            some => found.extend(some.iter().cloned().map(candidate)),
        }
    }
    found
}

impl Table {
    fn compile(mut candidates: Vec<Candidate<'_>>) -> Result<Self, RuleError> {
        candidates.sort_by(|a, b| a.rank().cmp(&b.rank()));
        let (mut entries, mut rows) = (Vec::with_capacity(candidates.len()), Vec::new());
        for (index, candidate) in (0..).zip(candidates) {
            let names_tunnel = candidate.which.names_tunnel();
            rows.push((kind(candidate.which.path), index));
            entries.push(Entry {
                names_tunnel,
                method: candidate.which.method.map(Into::into),
                headers: Values::new(&candidate.which.headers)?,
                query: Values::new(&candidate.which.query)?,
                action: candidate.action,
            });
        }
        Ok(Self {
            entries,
            paths: PathIndex::build(rows)?,
        })
    }

    /// The action of a request with `method` at an entry; `Some(None)` = it
    /// depends on more than method and path.
    pub(super) fn plain_action(&self, index: u32, method: &str) -> Option<Option<u32>> {
        let entry = &self.entries[index as usize];
        let fits = entry.method.as_deref().is_none_or(|own| own == method);
        let is_plain = entry.headers.is_empty() && entry.query.is_empty();
        fits.then(|| is_plain.then_some(entry.action))
    }

    /// Exact paths, then expressions, then prefixes from the longest on.
    fn find(&self, request: &Request<'_, '_>, scratch: &mut Scratch) -> Option<Routed> {
        let path = request.target.path;
        let matches = |index: &&u32| self.entries[**index as usize].matches(request);
        let routed = |index: u32, prefix_len: usize| {
            let entry = &self.entries[index as usize];
            Routed {
                action: entry.action,
                prefix_len,
                names_tunnel: entry.names_tunnel,
            }
        };
        if let Some(index) = self.paths.exact(path).iter().find(matches) {
            return Some(routed(*index, path.len()));
        }
        if self.paths.has_patterns() {
            let mut found = self.paths.patterns(path, scratch);
            if let Some(index) = found.find(|index| matches(&index)) {
                return Some(routed(index, 0));
            }
        }
        let elements = |len: &usize| matches!(path.as_bytes().get(*len), None | Some(b'/'));
        let mut lists = self.paths.prefixes(path).filter(|(len, _)| elements(len));
        lists.find_map(|(len, list)| list.iter().find(matches).map(|index| routed(*index, len)))
    }
}

impl Entry {
    fn matches(&self, request: &Request<'_, '_>) -> bool {
        let method = self.method.as_deref();
        method.is_none_or(|method| method == request.method)
            && self.headers.match_fields(&request.fields)
            && self.query.match_query(request.target.query)
    }
}

fn kind(path: Option<PathMatch>) -> PathKind {
    match path {
        None => PathKind::Prefix(String::new()),
        Some(PathMatch::Exact(path)) => PathKind::Exact(path),
        Some(PathMatch::Prefix(path)) => PathKind::Prefix(path.trim_end_matches('/').to_owned()),
        Some(PathMatch::Regex(pattern)) => PathKind::Regex(pattern),
    }
}
