//! Routes of manifests as the router's, and what is done with their requests.

use terrace_l7::rules::{
    Action, FieldChanges, Match, PathChange, PathMatch, Redirect, RedirectPath, Rewrite, Route,
    RouteRule, RuleError, Share, Timeouts,
};
use terrace_mesh::{Filters, ObjectName, PortRoutes, RouteMatch, RouteRedirect};

use super::PortRules;
use super::heads::HeadSet;
use super::sets::value_rule;

/// What a rule of a route does.
#[derive(Debug)]
pub struct RouteAction {
    /// Number of the rule in the directory.
    pub number: u32,
    pub action: Action,
    /// To the first byte of the answer; 0 = no limit.
    pub timeout_ms: u32,
    pub mirrors: Vec<Mirror>,
}

/// A pool that gets copies of `numerator` of `denominator` requests.
#[derive(Debug, Clone, Copy)]
pub struct Mirror {
    pub pool: u32,
    numerator: u32,
    denominator: u32,
}

impl Mirror {
    /// Whether it gets a copy, for an evenly spread `random`.
    pub fn takes(&self, random: u32) -> bool {
        let point = (u64::from(random) * u64::from(self.denominator)) >> 32;
        point < u64::from(self.numerator)
    }
}

impl RouteAction {
    /// The pool of a rule that does nothing else than lead there; 0 = none.
    fn plain_pool(&self) -> u32 {
        let Action {
            redirect: None,
            rewrite: None,
            shares,
            ..
        } = &self.action
        else {
            return 0;
        };
        match shares.as_slice() {
            [share] if share.weight > 0 && self.timeout_ms == 0 && self.mirrors.is_empty() => {
                share.pool
            }
            _ => 0,
        }
    }
}

impl PortRules {
    /// `number` names a rule of a route.
    ///
    /// # Errors
    /// The expressions are too large together.
    pub fn compile(
        source: &PortRoutes,
        number: impl Fn(&ObjectName, &str) -> u32,
    ) -> Result<Self, RuleError> {
        let (mut routes, mut actions) = (Vec::new(), Vec::new());
        for route in &source.routes {
            let mut rules = Vec::new();
            for rule in &route.rules {
                rules.push(RouteRule {
                    matches: rule.matches.iter().map(matched).collect(),
                    action: actions.len() as u32,
                });
                actions.push(RouteAction {
                    number: number(&route.name, &rule.path),
                    timeout_ms: sooner(rule.request_timeout_ms, rule.backend_timeout_ms),
                    action: action(rule, source),
                    mirrors: mirrors(rule, source),
                });
            }
            routes.push(Route {
                name: route.name.to_string(),
                created: route.created,
                hostnames: route.hostnames.clone(),
                rules,
            });
        }
        let router = terrace_l7::rules::Router::compile(&routes)?;
        let heads = router.head_rules(|action| actions[action as usize].plain_pool());
        Ok(Self {
            router,
            heads: HeadSet::of_routes(heads),
            source: source.clone(),
            actions,
        })
    }
}

/// 0 = no limit.
fn sooner(a: u32, b: u32) -> u32 {
    match (a, b) {
        (0, other) | (other, 0) => other,
        (a, b) => a.min(b),
    }
}

fn matched(which: &RouteMatch) -> Match {
    Match {
        path: which.path.as_ref().map(|path| match path {
            terrace_mesh::PathMatch::Exact(path) => PathMatch::Exact(path.clone()),
            terrace_mesh::PathMatch::Prefix(path) => PathMatch::Prefix(path.clone()),
            terrace_mesh::PathMatch::Regex(path) => PathMatch::Regex(path.clone()),
        }),
        method: which.method.clone(),
        headers: which.headers.iter().map(value_rule).collect(),
        query: which.query.iter().map(value_rule).collect(),
    }
}

/// Pool 0 has nobody: its share of the requests gets 503.
fn pool_of(source: &PortRoutes, service: &ObjectName, port: u16) -> u32 {
    let key = (service.clone(), port);
    source.pools.get(&key).copied().unwrap_or(0)
}

fn mirrors(rule: &terrace_mesh::RouteRule, source: &PortRoutes) -> Vec<Mirror> {
    let mirrors = rule.filters.mirrors.iter();
    let mirror = |mirror: &terrace_mesh::RouteMirror| Mirror {
        pool: pool_of(source, &mirror.service, mirror.port),
        numerator: mirror.numerator,
        denominator: mirror.denominator,
    };
    mirrors.map(mirror).collect()
}

fn action(rule: &terrace_mesh::RouteRule, source: &PortRoutes) -> Action {
    let share = |backend: &terrace_mesh::RouteBackend| Share {
        pool: pool_of(source, &backend.service, backend.port),
        weight: backend.weight,
    };
    Action {
        redirect: rule.filters.redirect.as_ref().map(redirect),
        rewrite: rewrite(&rule.filters),
        shares: rule.backends.iter().map(share).collect(),
        timeouts: Timeouts {
            request_ms: rule.request_timeout_ms,
            backend_ms: rule.backend_timeout_ms,
        },
    }
}

fn redirect(redirect: &RouteRedirect) -> Redirect {
    Redirect {
        status: redirect.status,
        scheme: redirect.scheme.clone(),
        host: redirect.host.clone(),
        port: redirect.port,
        path: redirect.path.as_ref().map(|path| match path {
            terrace_mesh::PathChange::Full(path) => RedirectPath::Full(path.clone()),
            terrace_mesh::PathChange::Prefix(path) => RedirectPath::Prefix(path.clone()),
        }),
    }
}

fn rewrite(filters: &Filters) -> Option<Rewrite> {
    let rewrite = Rewrite {
        host: filters.rewrite_host.clone(),
        path: filters.rewrite_path.as_ref().map(|path| match path {
            terrace_mesh::PathChange::Full(path) => PathChange::Full(path.clone()),
            terrace_mesh::PathChange::Prefix(path) => PathChange::Prefix(path.clone()),
        }),
        fields: FieldChanges {
            set: filters.set.clone(),
            add: filters.add.clone(),
            remove: filters.remove.clone(),
        },
    };
    (rewrite != Rewrite::default()).then_some(rewrite)
}
