//! Values of HTTP rules: expressions, names and values of headers, methods.

use regex_automata::meta;

use super::doc::Doc;
use crate::objects::{ValueRule, ValueTest};

/// What one expression may be compiled to; the L7 tier has the same limit.
const MAX_PATTERN_BYTES: usize = 1 << 20;

/// A regular expression in the syntax of RE2, which Cilium and most gateways
/// have; the L7 tier matches it on the whole text.
pub fn regex(doc: &Doc<'_, '_>, path: &str, pattern: &str) -> Option<String> {
    let config = meta::Config::new().nfa_size_limit(Some(MAX_PATTERN_BYTES));
    match meta::Regex::builder().configure(config).build(pattern) {
        Ok(_) => Some(pattern.to_owned()),
        Err(error) => {
            let why = match (error.size_limit(), error.syntax_error()) {
                (Some(limit), _) => format!("compiled it is larger than {limit} bytes"),
                (None, Some(error)) => last_line(&error.to_string()),
                (None, None) => error.to_string(),
            };
            doc.error(
                path,
                format!("{pattern:?} is not a regular expression: {why}"),
            );
            None
        }
    }
}

/// The parser's message draws the expression; what is wrong is its last line.
fn last_line(message: &str) -> String {
    let line = message.lines().last().unwrap_or_default();
    line.trim_start_matches("error: ").to_owned()
}

/// The name of a header.
pub fn header_name(doc: &Doc<'_, '_>, path: &str, name: &str) -> Option<String> {
    let is_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b);
    if name.is_empty() || !name.bytes().all(is_token) {
        doc.error(
            path,
            format!("{name:?} is not the name of a header: letters, digits and '-'"),
        );
        return None;
    }
    Some(name.to_owned())
}

/// The value of a header.
pub fn header_value(doc: &Doc<'_, '_>, path: &str, value: &str) -> Option<String> {
    let is_text = |b: u8| b >= b' ' && b != 0x7f || b == b'\t';
    if value.trim() != value || !value.bytes().all(is_text) {
        doc.error(
            path,
            format!("{value:?} is not the value of a header: no control characters, no white space around it"),
        );
        return None;
    }
    Some(value.to_owned())
}

/// A test on a header or query parameter as the Gateway API writes it.
pub fn value_rule(
    doc: &Doc<'_, '_>,
    path: &str,
    name: Option<String>,
    (kind, value): (Option<&str>, &str),
) -> Option<ValueRule> {
    let value_path = format!("{path}.value");
    let test = match kind {
        None | Some("Exact") => ValueTest::Exact(value.to_owned()),
        Some("RegularExpression") => ValueTest::Regex(regex(doc, &value_path, value)?),
        Some(other) => {
            let message = format!("{other:?} is not one of Exact, RegularExpression");
            doc.error(&format!("{path}.type"), message);
            return None;
        }
    };
    Some(ValueRule { name: name?, test })
}

/// A path that requests can have.
pub fn path(doc: &Doc<'_, '_>, path: &str, text: &str) -> Option<String> {
    let refuse = |why: &str| {
        doc.error(path, format!("{text:?} is not a path: {why}"));
        None
    };
    let has = |part: &str| text.contains(part);
    if !text.starts_with('/') {
        return refuse("it must begin with /");
    }
    if has("//") {
        return refuse("it must not have // in it");
    }
    if has("/./") || has("/../") || text.ends_with("/.") || text.ends_with("/..") {
        return refuse("it must not have dot segments");
    }
    if text
        .bytes()
        .any(|b| b <= b' ' || b >= 0x7f || b"?#\\\"<>".contains(&b))
    {
        return refuse("write other bytes percent-encoded; a query is matched by queryParams");
    }
    if text.len() > 1_024 {
        return refuse("it is longer than 1,024 bytes");
    }
    Some(text.to_owned())
}

/// A host name, `wildcard` allows `*.` in front.
pub fn hostname(doc: &Doc<'_, '_>, path: &str, text: &str, wildcard: bool) -> Option<String> {
    let name = match text.strip_prefix("*.") {
        Some(rest) if wildcard => rest,
        _ => text,
    };
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    };
    let is_address = name.parse::<std::net::IpAddr>().is_ok();
    if name.len() > 253 || is_address || !name.split('.').all(label) {
        doc.error(
            path,
            format!("{text:?} is not a host name: lower case labels and dots, no port, no address"),
        );
        return None;
    }
    Some(text.to_owned())
}
