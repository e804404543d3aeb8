//! What policies and routes say about HTTP requests.

use super::ObjectName;
use crate::error::Origin;

/// One entry of `rules.http` of a CiliumNetworkPolicy; all that is set must match.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HttpRule {
    /// Regular expressions that match the whole text, each checked.
    pub method: Option<String>,
    /// On path and query.
    pub path: Option<String>,
    /// On Host with its port.
    pub host: Option<String>,
    pub headers: Vec<ValueRule>,
    pub line: u32,
}

/// What a header or a query parameter must be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ValueRule {
    pub name: String,
    pub test: ValueTest,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ValueTest {
    Present,
    Exact(String),
    Regex(String),
}

/// An HTTPRoute whose parents are Services.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    pub name: ObjectName,
    pub origin: Origin,
    /// `metadata.creationTimestamp` in seconds since 1970.
    pub created: Option<i64>,
    pub parents: Vec<RouteParent>,
    /// Lower case, `*.` in front stands for one or more labels; none = all.
    pub hostnames: Vec<String>,
    pub rules: Vec<RouteRule>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteParent {
    pub service: ObjectName,
    /// `None` = every port of the Service.
    pub port: Option<u16>,
    pub path: String,
    pub line: u32,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteRule {
    /// None = every request.
    pub matches: Vec<RouteMatch>,
    pub filters: Filters,
    pub backends: Vec<RouteBackend>,
    /// 0 = none.
    pub request_timeout_ms: u32,
    pub backend_timeout_ms: u32,
    /// `spec.rules[0]`.
    pub path: String,
    pub line: u32,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RouteMatch {
    pub path: Option<PathMatch>,
    pub method: Option<String>,
    pub headers: Vec<ValueRule>,
    pub query: Vec<ValueRule>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathMatch {
    Exact(String),
    Prefix(String),
    Regex(String),
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filters {
    pub redirect: Option<RouteRedirect>,
    pub rewrite_host: Option<String>,
    pub rewrite_path: Option<PathChange>,
    pub set: Vec<(String, String)>,
    pub add: Vec<(String, String)>,
    pub remove: Vec<String>,
    pub mirrors: Vec<RouteMirror>,
}

/// A Service that gets copies of a rule's requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteMirror {
    pub service: ObjectName,
    pub port: u16,
    /// So many of `denominator` requests.
    pub numerator: u32,
    pub denominator: u32,
    pub path: String,
    pub line: u32,
}

impl RouteRule {
    /// The Service ports that get its requests, or copies of them, and where
    /// the rule says so.
    pub fn led_to(&self) -> impl Iterator<Item = (&ObjectName, u16, &str, u32)> {
        let backends = self.backends.iter();
        let backends = backends.map(|b| (&b.service, b.port, b.path.as_str(), b.line));
        let mirrors = self.filters.mirrors.iter();
        backends.chain(mirrors.map(|m| (&m.service, m.port, m.path.as_str(), m.line)))
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteRedirect {
    /// 301 or 302.
    pub status: u16,
    pub scheme: Option<String>,
    pub host: Option<String>,
    pub port: Option<u16>,
    pub path: Option<PathChange>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathChange {
    Full(String),
    /// Instead of what the rule's prefix matched.
    Prefix(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteBackend {
    pub service: ObjectName,
    pub port: u16,
    pub weight: u32,
    pub path: String,
    pub line: u32,
}

impl Route {
    /// The Services that must exist for the route: name, port, and where it says so.
    pub fn services(&self) -> impl Iterator<Item = (&ObjectName, Option<u16>, &str, u32)> {
        let parents = self.parents.iter();
        let parents = parents.map(|p| (&p.service, p.port, p.path.as_str(), p.line));
        let led_to = self.rules.iter().flat_map(RouteRule::led_to);
        parents.chain(led_to.map(|(service, port, path, line)| (service, Some(port), path, line)))
    }
}
