//! `toPorts[].rules.http`.

use super::super::cilium_types::{HeaderMatch, HttpRuleRaw};
use super::super::doc::Doc;
use super::super::http;
use crate::objects::{HttpRule, ValueRule, ValueTest};

pub fn rules(doc: &Doc<'_, '_>, path: &str, raw: &[HttpRuleRaw]) -> Vec<HttpRule> {
    let rule = |(i, raw)| rule(doc, &format!("{path}[{i}]"), raw);
    raw.iter().enumerate().map(rule).collect()
}

fn rule(doc: &Doc<'_, '_>, path: &str, raw: &HttpRuleRaw) -> HttpRule {
    let regex = |field: &str, text: &Option<String>| {
        let text = text.as_deref().filter(|text| !text.is_empty())?;
        http::regex(doc, &format!("{path}.{field}"), text)
    };
    let mut headers = Vec::new();
    for (i, text) in raw.headers.iter().flatten().enumerate() {
        headers.extend(header(doc, &format!("{path}.headers[{i}]"), text));
    }
    for (i, raw) in raw.header_matches.iter().flatten().enumerate() {
        headers.extend(header_match(
            doc,
            &format!("{path}.headerMatches[{i}]"),
            raw,
        ));
    }
    HttpRule {
        method: regex("method", &raw.method),
        path: regex("path", &raw.path),
        host: regex("host", &raw.host),
        headers,
        line: doc.line_of(path),
    }
}

/// `Name` or `Name: value`; Cilium takes the colon or leaves it.
fn header(doc: &Doc<'_, '_>, path: &str, text: &str) -> Option<ValueRule> {
    let (name, test) = match text.split_once(' ') {
        None => (text, ValueTest::Present),
        Some((name, value)) => (
            name,
            ValueTest::Exact(http::header_value(doc, path, value.trim())?),
        ),
    };
    let name = http::header_name(doc, path, name.trim_end_matches(':'))?;
    Some(ValueRule { name, test })
}

fn header_match(doc: &Doc<'_, '_>, path: &str, raw: &HeaderMatch) -> Option<ValueRule> {
    if let Some(mismatch) = raw.mismatch.as_deref().filter(|text| !text.is_empty()) {
        doc.error(
            &format!("{path}.mismatch"),
            format!("not supported yet: {mismatch}, which changes requests; without it a mismatch is denied"),
        );
    }
    let name = raw.name.as_deref().unwrap_or_default();
    let name = http::header_name(doc, &format!("{path}.name"), name)?;
    let test = match raw.value.as_deref().filter(|text| !text.is_empty()) {
        None => ValueTest::Present,
        Some(value) => ValueTest::Exact(http::header_value(doc, &format!("{path}.value"), value)?),
    };
    Some(ValueRule { name, test })
}
