//! On which rung of the L7 ladder a Service is, and why not on a lower one.
//! Pure: what is known of its routes and rules in, words out.

use std::collections::BTreeSet;
use std::sync::Arc;

use terrace_mesh::{HttpRule, PathMatch, Route, RouteMatch, RouteRule};

/// What the L7 tier must decide for a Service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Needs {
    /// Rules of routes that choose a backend by the request.
    pub routes: usize,
    /// HTTP rules of policies on its backends.
    pub http_rules: usize,
    /// Why some of these need a worker, each reason once; none = the kernel
    /// decides all of them.
    pub workers: BTreeSet<&'static str>,
    /// So many of the rules.
    pub of_workers: usize,
}

/// The lowest rung that can enforce the needs. The worker that holds a request
/// binds late as well, so there is no rung between the kernel and the splice
/// that costs less.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rung {
    pub name: &'static str,
    pub why: String,
    /// Why the kernel does not decide alone; empty = it does, but for the first
    /// request of a connection.
    pub not_in_kernel: String,
}

/// `None` = nothing of L7: no worker sees the Service.
pub fn rung(needs: &Needs) -> Option<Rung> {
    let counted = |n: usize, what: &str| match n {
        0 => None,
        1 => Some(format!("1 {what}")),
        n => Some(format!("{n} {what}s")),
    };
    let parts = [
        counted(needs.routes, "route rule"),
        counted(needs.http_rules, "HTTP rule"),
    ];
    let why: Vec<String> = parts.into_iter().flatten().collect();
    if why.is_empty() {
        return None;
    }
    let all = needs.routes + needs.http_rules;
    let name = match needs.of_workers {
        0 => "in-kernel",
        n if n < all => "in-kernel and splice",
        _ => "splice",
    };
    let reasons: Vec<&str> = needs.workers.iter().copied().collect();
    let not_in_kernel = match (needs.of_workers, reasons.join(", ")) {
        (0, _) => String::new(),
        (n, reasons) if n < all => format!("{n} of {all}: {reasons}"),
        (_, reasons) => reasons,
    };
    Some(Rung {
        name,
        why: why.join(" and "),
        not_in_kernel,
    })
}

impl Needs {
    /// The rules of a Service's routes.
    pub fn add_routes(&mut self, routes: &[Arc<Route>]) {
        let rules = || routes.iter().flat_map(|route| &route.rules);
        let whole = if routes.iter().any(|route| !route.hostnames.is_empty()) {
            Some("hosts are matched")
        } else {
            let mut matches = rules().flat_map(|rule| &rule.matches);
            let is_regex = |which: &RouteMatch| matches!(which.path, Some(PathMatch::Regex(_)));
            matches.any(is_regex).then_some("a path is an expression")
        };
        for rule in rules() {
            self.routes += 1;
            self.note(whole.or_else(|| of_worker(rule)));
        }
    }

    /// An HTTP rule of a policy.
    pub fn add_rule(&mut self, rule: &HttpRule) {
        self.http_rules += 1;
        let reason = "a rule looks at more than method and plain path";
        self.note(looks_deeper(rule).then_some(reason));
    }

    /// All of it is the workers'.
    pub fn keep_with_workers(&mut self, why: &'static str) {
        self.workers = BTreeSet::from([why]);
        self.of_workers = self.routes + self.http_rules;
    }

    fn note(&mut self, reason: Option<&'static str>) {
        self.of_workers += usize::from(reason.is_some());
        self.workers.extend(reason);
    }
}

/// Why a rule of a route needs a worker.
fn of_worker(rule: &RouteRule) -> Option<&'static str> {
    const PATH_MAX: usize = terrace_l7::splice::PATH_MAX;
    let filters = &rule.filters;
    let changes = filters.redirect.is_some()
        || filters.rewrite_host.is_some()
        || filters.rewrite_path.is_some()
        || !(filters.set.is_empty() && filters.add.is_empty() && filters.remove.is_empty());
    let deep = |which: &RouteMatch| !(which.headers.is_empty() && which.query.is_empty());
    let long = |which: &RouteMatch| match &which.path {
        Some(PathMatch::Exact(path) | PathMatch::Prefix(path)) => path.len() >= PATH_MAX,
        _ => false,
    };
    let reasons = [
        (
            !filters.mirrors.is_empty(),
            "a filter copies requests to a mirror",
        ),
        (changes, "a filter changes or answers requests"),
        (
            rule.request_timeout_ms + rule.backend_timeout_ms > 0,
            "a timeout is watched",
        ),
        (rule.backends.len() != 1, "weights choose for each request"),
        (
            rule.matches.iter().any(deep),
            "fields or parameters are matched",
        ),
        (
            rule.matches.iter().any(long),
            "a path is longer than the kernel's keys",
        ),
    ];
    reasons.into_iter().find_map(|(is, why)| is.then_some(why))
}

/// Whether a rule looks at more than the method and an exact or prefix path.
pub fn looks_deeper(rule: &HttpRule) -> bool {
    const PLAIN: &str = "-_/~%=&,:@";
    let plain = |text: &str| {
        let text = text.strip_suffix(".*").unwrap_or(text);
        text.chars()
            .all(|c| c.is_ascii_alphanumeric() || PLAIN.contains(c))
    };
    let path = rule.path.as_deref().unwrap_or_default();
    let method = rule.method.as_deref().unwrap_or_default();
    let methods = method
        .split('|')
        .all(|m| m.chars().all(|c| c.is_ascii_alphabetic()));
    rule.host.is_some() || !rule.headers.is_empty() || !plain(path) || !methods
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_on_the_lowest_rung_that_can_enforce_it() {
        let needs = |routes, http_rules, of_workers, why: &[&'static str]| Needs {
            routes,
            http_rules,
            of_workers,
            workers: why.iter().copied().collect(),
        };
        let rows = [
            (needs(0, 0, 0, &[]), None),
            (needs(2, 0, 0, &[]), Some("in-kernel: 2 route rules; ")),
            (needs(0, 1, 1, &["deep"]), Some("splice: 1 HTTP rule; deep")),
            (
                needs(1, 3, 2, &["b", "a"]),
                Some("in-kernel and splice: 1 route rule and 3 HTTP rules; 2 of 4: a, b"),
            ),
        ];
        for (needs, expected) in rows {
            let text = rung(&needs)
                .map(|rung| format!("{}: {}; {}", rung.name, rung.why, rung.not_in_kernel));
            assert_eq!(text.as_deref(), expected, "{needs:?}");
        }
    }

    #[test]
    fn a_rule_of_method_and_plain_path_does_not_look_deeper() {
        let rows = [
            (Some("GET"), Some("/a"), false),
            (Some("GET|POST"), Some("/a/.*"), false),
            (None, None, false),
            (Some("G.T"), None, true),
            (None, Some("/a[0-9]"), true),
            (None, Some("/a.*/b"), true),
        ];
        for (method, path, expected) in rows {
            let rule = HttpRule {
                method: method.map(str::to_owned),
                path: path.map(str::to_owned),
                host: None,
                headers: Vec::new(),
                line: 0,
            };
            assert_eq!(looks_deeper(&rule), expected, "{method:?} {path:?}");
        }
    }
}
