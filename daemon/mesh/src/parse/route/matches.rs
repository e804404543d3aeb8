//! `rules[].matches`.

use super::super::doc::Doc;
use super::super::http;
use super::super::route_types::{MatchRaw, PathRaw, RuleRaw, ValueRaw};
use super::super::values;
use crate::objects::{PathMatch, RouteMatch, ValueRule};

const METHODS: [&str; 9] = [
    "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH",
];

pub fn read(doc: &Doc<'_, '_>, path: &str, raw: &RuleRaw) -> Vec<RouteMatch> {
    let raw = raw.matches.as_deref().unwrap_or_default();
    let one = |(i, raw)| one(doc, &format!("{path}[{i}]"), raw);
    raw.iter().enumerate().map(one).collect()
}

fn one(doc: &Doc<'_, '_>, path: &str, raw: &MatchRaw) -> RouteMatch {
    let method = raw.method.as_deref();
    let choices = METHODS.map(|method| (method, method));
    let method = method.and_then(|m| values::choice(doc, &format!("{path}.method"), m, &choices));
    let path_match = raw.path.as_ref();
    let headers = rules(
        doc,
        &format!("{path}.headers"),
        raw.headers.as_deref(),
        true,
    );
    let query = rules(
        doc,
        &format!("{path}.queryParams"),
        raw.query_params.as_deref(),
        false,
    );
    RouteMatch {
        path: path_match.and_then(|raw| path_of(doc, &format!("{path}.path"), raw)),
        method: method.map(str::to_owned),
        headers,
        query,
    }
}

fn path_of(doc: &Doc<'_, '_>, path: &str, raw: &PathRaw) -> Option<PathMatch> {
    let text = raw.value.as_deref().unwrap_or("/");
    let value_path = format!("{path}.value");
    match raw.kind.as_deref() {
        None | Some("PathPrefix") => http::path(doc, &value_path, text).map(PathMatch::Prefix),
        Some("Exact") => http::path(doc, &value_path, text).map(PathMatch::Exact),
        Some("RegularExpression") => http::regex(doc, &value_path, text).map(PathMatch::Regex),
        Some(other) => {
            let message = format!("{other:?} is not one of Exact, PathPrefix, RegularExpression");
            doc.error(&format!("{path}.type"), message);
            None
        }
    }
}

/// Headers or query parameters; of equal names the first counts.
fn rules(
    doc: &Doc<'_, '_>,
    path: &str,
    raw: Option<&[ValueRaw]>,
    is_header: bool,
) -> Vec<ValueRule> {
    let mut found: Vec<ValueRule> = Vec::new();
    for (i, raw) in raw.unwrap_or_default().iter().enumerate() {
        let path = format!("{path}[{i}]");
        let name_path = format!("{path}.name");
        let name = raw.name.as_deref().unwrap_or_default();
        let name = match is_header {
            true => http::header_name(doc, &name_path, name),
            false if name.is_empty() => {
                doc.error(&name_path, "needs the name of a query parameter");
                None
            }
            false => Some(name.to_owned()),
        };
        let value = raw.value.as_deref().unwrap_or_default();
        let rule = http::value_rule(doc, &path, name, (raw.kind.as_deref(), value));
        let same = |rule: &ValueRule, other: &ValueRule| match is_header {
            true => rule.name.eq_ignore_ascii_case(&other.name),
            false => rule.name == other.name,
        };
        let rule = rule.filter(|rule| !found.iter().any(|other| same(rule, other)));
        found.extend(rule);
    }
    found
}
