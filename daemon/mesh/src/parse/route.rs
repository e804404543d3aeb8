//! `gateway.networking.k8s.io/v1` HTTPRoute with Services as parents.

mod filters;
mod matches;

use std::sync::Arc;

use super::doc::Doc;
use super::route_types::{HttpRouteRaw, ReferenceRaw, RuleRaw, SpecRaw, UNSUPPORTED};
use super::{http, values};
use crate::objects::{Object, ObjectName, Route, RouteBackend, RouteParent, RouteRule};

/// The Gateway API's own limits.
const MAX_WEIGHT: i64 = 1_000_000;

pub fn read(doc: &Doc<'_, '_>) -> Option<Object> {
    let raw: HttpRouteRaw = doc.read_with(&UNSUPPORTED)?;
    doc.only_annotations(&raw.metadata, &[]);
    doc.labels(&raw.metadata);
    let name = doc.name(&raw.metadata, true);
    let Some(spec) = &raw.spec else {
        doc.error("spec", "an HTTPRoute needs a spec");
        return None;
    };
    let created = raw.metadata.creation_timestamp.as_ref();
    let route = Route {
        created: created.map(|time| time.0.as_second()),
        parents: parents(doc, &name.namespace, spec),
        hostnames: hostnames(doc, spec),
        rules: rules(doc, &name.namespace, spec),
        origin: doc.origin(),
        name,
    };
    (!doc.failed()).then(|| Object::Route(Arc::new(route)))
}

fn hostnames(doc: &Doc<'_, '_>, spec: &SpecRaw) -> Vec<String> {
    let all = spec.hostnames.iter().flatten().enumerate();
    all.filter_map(|(i, text)| http::hostname(doc, &format!("spec.hostnames[{i}]"), text, true))
        .collect()
}

fn parents(doc: &Doc<'_, '_>, namespace: &str, spec: &SpecRaw) -> Vec<RouteParent> {
    let raw = spec.parent_refs.as_deref().unwrap_or_default();
    if raw.is_empty() {
        doc.error("spec.parentRefs", "name the Service that the route is for");
    }
    let parent = |(i, raw): (usize, &ReferenceRaw)| {
        let path = format!("spec.parentRefs[{i}]");
        let kinds = (raw.group.as_deref(), raw.kind.as_deref());
        if kinds != (Some(""), Some("Service")) && kinds != (Some("core"), Some("Service")) {
            doc.error(
                &format!("{path}.kind"),
                "not supported yet: parents other than Services; write group: \"\" and kind: Service",
            );
            return None;
        }
        if raw.weight.is_some() || raw.filters.is_some() {
            doc.error(&path, "a parent has neither weight nor filters");
        }
        let (service, port) = reference(doc, &path, namespace, raw)?;
        Some(RouteParent {
            service,
            port,
            line: doc.line_of(&path),
            path,
        })
    };
    raw.iter().enumerate().filter_map(parent).collect()
}

/// Name and port; another namespace needs a ReferenceGrant, which is not read.
fn reference(
    doc: &Doc<'_, '_>,
    path: &str,
    namespace: &str,
    raw: &ReferenceRaw,
) -> Option<(ObjectName, Option<u16>)> {
    let Some(name) = raw.name.clone().filter(|name| !name.is_empty()) else {
        doc.error(&format!("{path}.name"), "needs the name of a Service");
        return None;
    };
    if raw
        .namespace
        .as_deref()
        .is_some_and(|other| other != namespace)
    {
        doc.error(
            &format!("{path}.namespace"),
            "not supported yet: Services of another namespace (ReferenceGrant)",
        );
        return None;
    }
    let port = match raw.port {
        Some(number) => Some(values::port(doc, &format!("{path}.port"), number)?),
        None => None,
    };
    let namespace = namespace.to_owned();
    Some((ObjectName { namespace, name }, port))
}

/// A port of a Service that gets requests.
fn service_port(
    doc: &Doc<'_, '_>,
    path: &str,
    namespace: &str,
    raw: &ReferenceRaw,
) -> Option<(ObjectName, u16)> {
    let is_service = matches!(raw.group.as_deref(), None | Some("" | "core"))
        && matches!(raw.kind.as_deref(), None | Some("Service"));
    if !is_service {
        let message = "not supported yet: backends other than Services";
        doc.error(&format!("{path}.kind"), message);
        return None;
    }
    let (service, port) = reference(doc, path, namespace, raw)?;
    if port.is_none() {
        doc.error(&format!("{path}.port"), "needs the port of the Service");
    }
    Some((service, port?))
}

fn rules(doc: &Doc<'_, '_>, namespace: &str, spec: &SpecRaw) -> Vec<RouteRule> {
    let raw = spec.rules.as_deref().unwrap_or_default();
    if raw.is_empty() {
        doc.error("spec.rules", "a route needs at least one rule");
    }
    let rule = |(i, raw)| rule(doc, namespace, format!("spec.rules[{i}]"), raw);
    raw.iter().enumerate().map(rule).collect()
}

fn rule(doc: &Doc<'_, '_>, namespace: &str, path: String, raw: &RuleRaw) -> RouteRule {
    let filters_path = format!("{path}.filters");
    let matches = matches::read(doc, &format!("{path}.matches"), raw);
    let filters = filters::read(
        doc,
        namespace,
        &filters_path,
        raw.filters.as_deref().unwrap_or_default(),
    );
    let backends = backends(doc, namespace, &path, raw);
    if backends.is_empty() == filters.redirect.is_none() {
        let message = match backends.is_empty() {
            true => "needs backendRefs, or a RequestRedirect filter",
            false => "a RequestRedirect answers itself: remove the backendRefs",
        };
        doc.error(&format!("{path}.backendRefs"), message);
    }
    filters::check_prefixes(doc, &filters_path, &filters, &matches);
    let timeout = |field: &str, text: Option<&String>| {
        let path = format!("{path}.timeouts.{field}");
        text.and_then(|text| duration(doc, &path, text))
            .unwrap_or(0)
    };
    let timeouts = raw.timeouts.as_ref();
    let request = timeout("request", timeouts.and_then(|t| t.request.as_ref()));
    let backend = timeout(
        "backendRequest",
        timeouts.and_then(|t| t.backend_request.as_ref()),
    );
    if request > 0 && backend > request {
        doc.error(
            &format!("{path}.timeouts.backendRequest"),
            "must not be longer than request",
        );
    }
    RouteRule {
        matches,
        filters,
        backends,
        request_timeout_ms: request,
        backend_timeout_ms: backend,
        line: doc.line_of(&path),
        path,
    }
}

fn backends(doc: &Doc<'_, '_>, namespace: &str, path: &str, raw: &RuleRaw) -> Vec<RouteBackend> {
    let backend = |(i, raw): (usize, &ReferenceRaw)| {
        let path = format!("{path}.backendRefs[{i}]");
        if raw.filters.is_some() {
            let message = "not supported yet: filters of one backend; write them at the rule";
            doc.error(&format!("{path}.filters"), message);
        }
        let (service, port) = service_port(doc, &path, namespace, raw)?;
        let weight = raw.weight.unwrap_or(1);
        let weight = u32::try_from(weight).ok().filter(|_| weight <= MAX_WEIGHT);
        if weight.is_none() {
            let message = format!("write 0 to {MAX_WEIGHT}");
            doc.error(&format!("{path}.weight"), message);
        }
        Some(RouteBackend {
            service,
            port,
            weight: weight?,
            line: doc.line_of(&path),
            path,
        })
    };
    let raw = raw.backend_refs.as_deref().unwrap_or_default();
    raw.iter().enumerate().filter_map(backend).collect()
}

/// GEP-2257: up to four numbers with h, m, s or ms; 0 = none.
fn duration(doc: &Doc<'_, '_>, path: &str, text: &str) -> Option<u32> {
    let mut total: u64 = 0;
    let mut rest = text;
    let mut parts = 0;
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(rest.len());
        let units = &rest[digits..];
        let (factor, width) = match units {
            _ if units.starts_with("ms") => (1, 2),
            _ if units.starts_with('h') => (3_600_000, 1),
            _ if units.starts_with('m') => (60_000, 1),
            _ if units.starts_with('s') => (1_000, 1),
            _ => (0, 0),
        };
        parts += 1;
        let number = rest[..digits].parse::<u64>().ok().filter(|_| digits <= 5);
        let (Some(number), 1.., ..=4) = (number, factor, parts) else {
            doc.error(
                path,
                format!("{text:?} is not a duration: write it like 500ms, 10s or 1m30s"),
            );
            return None;
        };
        total += number * factor;
        rest = &units[width..];
    }
    match u32::try_from(total) {
        Ok(total) if parts > 0 => Some(total),
        _ => {
            doc.error(
                path,
                format!("{text:?} is not a duration: write it like 500ms, 10s or 1m30s"),
            );
            None
        }
    }
}
