//! `rules[].filters`.

use super::super::doc::Doc;
use super::super::route_types::{
    FilterRaw, ModifierRaw, PathChangeRaw, RedirectRaw, RewriteRaw, ValueRaw,
};
use super::super::{http, values};
use crate::objects::{Filters, PathChange, PathMatch, RouteMatch, RouteRedirect};

/// Headers that frame or route a request; changing them would make its end
/// or its way another than the one that was checked.
const FRAMING: [&str; 9] = [
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "upgrade",
    "expect",
    "te",
    "trailer",
    "keep-alive",
];

pub fn read(doc: &Doc<'_, '_>, path: &str, raw: &[FilterRaw]) -> Filters {
    let mut filters = Filters::default();
    let mut seen: Vec<&str> = Vec::new();
    for (i, raw) in raw.iter().enumerate() {
        let path = format!("{path}[{i}]");
        let type_path = format!("{path}.type");
        let kind = raw.kind.as_deref().unwrap_or_default();
        if seen.contains(&kind) {
            doc.error(&type_path, format!("{kind} stands twice in one rule"));
        }
        seen.push(kind);
        let known = match kind {
            "RequestHeaderModifier" => raw.request_header_modifier.as_ref().map(|raw| {
                modifier(
                    doc,
                    &format!("{path}.requestHeaderModifier"),
                    raw,
                    &mut filters,
                );
            }),
            "RequestRedirect" => raw.request_redirect.as_ref().map(|raw| {
                filters.redirect = redirect(doc, &format!("{path}.requestRedirect"), raw);
            }),
            "URLRewrite" => raw.url_rewrite.as_ref().map(|raw| {
                rewrite(doc, &format!("{path}.urlRewrite"), raw, &mut filters);
            }),
            _ => {
                doc.error(&type_path, unsupported(kind));
                continue;
            }
        };
        if known.is_none() {
            doc.error(&path, format!("a filter of type {kind} needs its field"));
        }
    }
    if filters.redirect.is_some() && seen.contains(&"URLRewrite") {
        doc.error(
            path,
            "RequestRedirect and URLRewrite cannot stand in one rule",
        );
    }
    filters
}

fn unsupported(kind: &str) -> String {
    match kind {
        "RequestMirror" => {
            "not supported yet: mirrors; Terrace hands requests over without a copy of them"
        }
        "ResponseHeaderModifier" => {
            "not supported yet: changed answers; they go from the backend to the client by the kernel"
        }
        "ExtensionRef" | "CORS" | "ExternalAuth" => "not supported yet: this type of filter",
        _ => return format!("{kind:?} is not one of RequestHeaderModifier, RequestRedirect, URLRewrite"),
    }
    .to_owned()
}

fn modifier(doc: &Doc<'_, '_>, path: &str, raw: &ModifierRaw, filters: &mut Filters) {
    filters.set = pairs(doc, &format!("{path}.set"), raw.set.as_deref());
    filters.add = pairs(doc, &format!("{path}.add"), raw.add.as_deref());
    for (i, name) in raw.remove.iter().flatten().enumerate() {
        filters
            .remove
            .extend(changeable(doc, &format!("{path}.remove[{i}]"), name));
    }
    let mut names: Vec<String> = Vec::new();
    let changed = filters.set.iter().chain(&filters.add).map(|(name, _)| name);
    for name in changed.chain(&filters.remove) {
        let name = name.to_ascii_lowercase();
        if names.contains(&name) {
            doc.error(path, format!("{name} is changed twice"));
        }
        names.push(name);
    }
}

fn pairs(doc: &Doc<'_, '_>, path: &str, raw: Option<&[ValueRaw]>) -> Vec<(String, String)> {
    let pair = |(i, raw): (usize, &ValueRaw)| {
        let path = format!("{path}[{i}]");
        if raw.kind.is_some() {
            doc.error(&format!("{path}.type"), "a change has no type: remove it");
        }
        let name = raw.name.as_deref().unwrap_or_default();
        let name = changeable(doc, &format!("{path}.name"), name)?;
        let value = raw.value.as_deref().unwrap_or_default();
        let value = http::header_value(doc, &format!("{path}.value"), value)?;
        Some((name, value))
    };
    raw.unwrap_or_default()
        .iter()
        .enumerate()
        .filter_map(pair)
        .collect()
}

fn changeable(doc: &Doc<'_, '_>, path: &str, name: &str) -> Option<String> {
    if FRAMING
        .iter()
        .any(|framing| framing.eq_ignore_ascii_case(name))
    {
        let message =
            format!("{name} frames the request and must stay; a host is changed by URLRewrite");
        doc.error(path, message);
        return None;
    }
    http::header_name(doc, path, name)
}

fn redirect(doc: &Doc<'_, '_>, path: &str, raw: &RedirectRaw) -> Option<RouteRedirect> {
    let status = match raw.status_code.unwrap_or(302) {
        301 => 301,
        302 => 302,
        other => {
            let message = format!("{other} is not one of 301, 302");
            doc.error(&format!("{path}.statusCode"), message);
            return None;
        }
    };
    let schemes = [("http", "http"), ("https", "https")];
    let scheme = raw.scheme.as_deref();
    let scheme = scheme.and_then(|s| values::choice(doc, &format!("{path}.scheme"), s, &schemes));
    let host = raw.hostname.as_deref();
    let port = raw.port;
    let change = raw.path.as_ref();
    Some(RouteRedirect {
        status,
        scheme: scheme.map(str::to_owned),
        host: host.and_then(|h| http::hostname(doc, &format!("{path}.hostname"), h, false)),
        port: port.and_then(|port| values::port(doc, &format!("{path}.port"), port)),
        path: change.and_then(|raw| path_change(doc, &format!("{path}.path"), raw)),
    })
}

fn rewrite(doc: &Doc<'_, '_>, path: &str, raw: &RewriteRaw, filters: &mut Filters) {
    if raw.hostname.is_none() && raw.path.is_none() {
        doc.error(path, "names neither hostname nor path");
    }
    let host = raw.hostname.as_deref();
    filters.rewrite_host =
        host.and_then(|h| http::hostname(doc, &format!("{path}.hostname"), h, false));
    let change = raw.path.as_ref();
    filters.rewrite_path = change.and_then(|raw| path_change(doc, &format!("{path}.path"), raw));
}

fn path_change(doc: &Doc<'_, '_>, path: &str, raw: &PathChangeRaw) -> Option<PathChange> {
    let (full, prefix) = (&raw.replace_full_path, &raw.replace_prefix_match);
    match (raw.kind.as_deref(), full, prefix) {
        (Some("ReplaceFullPath"), Some(text), None) => {
            http::path(doc, &format!("{path}.replaceFullPath"), text).map(PathChange::Full)
        }
        (Some("ReplacePrefixMatch"), None, Some(text)) if text.is_empty() => {
            Some(PathChange::Prefix(String::new()))
        }
        (Some("ReplacePrefixMatch"), None, Some(text)) => {
            http::path(doc, &format!("{path}.replacePrefixMatch"), text).map(PathChange::Prefix)
        }
        _ => {
            doc.error(
                path,
                "needs type ReplaceFullPath with replaceFullPath, or ReplacePrefixMatch with replacePrefixMatch",
            );
            None
        }
    }
}

/// ReplacePrefixMatch needs a prefix in every match.
pub fn check_prefixes(doc: &Doc<'_, '_>, path: &str, filters: &Filters, matches: &[RouteMatch]) {
    let redirect = filters
        .redirect
        .as_ref()
        .and_then(|redirect| redirect.path.as_ref());
    let changes = [redirect, filters.rewrite_path.as_ref()];
    let replaces = changes
        .iter()
        .flatten()
        .any(|change| matches!(change, PathChange::Prefix(_)));
    let is_prefix = |which: &RouteMatch| matches!(which.path, Some(PathMatch::Prefix(_)) | None);
    if replaces && !matches.iter().all(is_prefix) {
        doc.error(
            path,
            "ReplacePrefixMatch needs path type PathPrefix in every match of the rule",
        );
    }
}
