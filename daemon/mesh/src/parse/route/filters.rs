//! `rules[].filters`.

use super::super::doc::Doc;
use super::super::route_types::{
    FilterRaw, MirrorRaw, ModifierRaw, PathChangeRaw, RedirectRaw, RewriteRaw, ValueRaw,
};
use super::super::{http, values};
use crate::objects::{Filters, PathChange, PathMatch, RouteMatch, RouteMirror, RouteRedirect};

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

/// Mirrors of one rule, as the engine has them.
const MAX_MIRRORS: usize = 4;

pub fn read(doc: &Doc<'_, '_>, namespace: &str, path: &str, raw: &[FilterRaw]) -> Filters {
    let mut filters = Filters::default();
    let mut seen: Vec<&str> = Vec::new();
    for (i, raw) in raw.iter().enumerate() {
        let path = format!("{path}[{i}]");
        let type_path = format!("{path}.type");
        let kind = raw.kind.as_deref().unwrap_or_default();
        if seen.contains(&kind) && kind != "RequestMirror" {
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
            "RequestMirror" => raw.request_mirror.as_ref().map(|raw| {
                let path = format!("{path}.requestMirror");
                filters.mirrors.extend(mirror(doc, namespace, &path, raw));
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
    check_mirrors(doc, path, &seen);
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
        "ResponseHeaderModifier" => {
            "not supported yet: changed answers; they go from the backend to the client by the kernel"
        }
        "ExtensionRef" | "CORS" | "ExternalAuth" => "not supported yet: this type of filter",
        _ => return format!("{kind:?} is not one of RequestHeaderModifier, RequestRedirect, URLRewrite, RequestMirror"),
    }
    .to_owned()
}

fn check_mirrors(doc: &Doc<'_, '_>, path: &str, seen: &[&str]) {
    let n = seen.iter().filter(|kind| **kind == "RequestMirror").count();
    if n > MAX_MIRRORS {
        let message = format!("{n} mirrors: {MAX_MIRRORS} are the most of one rule");
        doc.error(path, message);
    }
    if n > 0 && seen.contains(&"RequestRedirect") {
        doc.error(
            path,
            "a RequestRedirect goes to no backend: there is nothing to mirror",
        );
    }
}

fn mirror(doc: &Doc<'_, '_>, namespace: &str, path: &str, raw: &MirrorRaw) -> Option<RouteMirror> {
    let ref_path = format!("{path}.backendRef");
    let Some(to) = &raw.backend_ref else {
        doc.error(&ref_path, "needs the Service that gets the copies");
        return None;
    };
    if to.weight.is_some() || to.filters.is_some() {
        doc.error(&ref_path, "a mirror has neither weight nor filters");
    }
    let (numerator, denominator) = share(doc, path, raw)?;
    let (service, port) = super::service_port(doc, &ref_path, namespace, to)?;
    Some(RouteMirror {
        service,
        port,
        numerator,
        denominator,
        line: doc.line_of(&ref_path),
        path: ref_path,
    })
}

/// The part of the requests that a mirror gets.
fn share(doc: &Doc<'_, '_>, path: &str, raw: &MirrorRaw) -> Option<(u32, u32)> {
    let (n, of, field) = match (raw.percent, &raw.fraction) {
        (None, None) => return Some((1, 1)),
        (Some(percent), None) => (percent, 100, "percent"),
        (None, Some(fraction)) => (
            fraction.numerator.unwrap_or(-1),
            fraction.denominator.unwrap_or(100),
            "fraction",
        ),
        (Some(_), Some(_)) => {
            doc.error(path, "percent and fraction cannot stand together");
            return None;
        }
    };
    let parts = (u32::try_from(n).ok(), u32::try_from(of).ok());
    match parts {
        (Some(n), Some(of)) if of > 0 && n <= of => Some((n, of)),
        _ => {
            let message = format!("{n} of {of} is no part of the requests");
            doc.error(&format!("{path}.{field}"), message);
            None
        }
    }
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
