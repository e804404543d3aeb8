//! Terrace's annotations of a Service.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::super::doc::{Doc, annotation_path};
use super::super::values;
use crate::maglev;
use crate::objects::{FailMode, Forwarding, HealthCheck, NoBackend, Weights};

const HEALTH_CHECK_MS: u64 = 5_000;

pub const ANNOTATIONS: [&str; 9] = [
    "forwarding",
    "fail-mode",
    "maglev-size",
    "no-backend",
    "weight",
    "health-check",
    "health-check-path",
    "health-check-interval",
    "terminate",
];

pub const FORWARDING: [(&str, Forwarding); 2] =
    [("nat", Forwarding::Nat), ("dsr", Forwarding::Dsr)];
pub const FAIL_MODES: [(&str, FailMode); 3] = [
    ("last", FailMode::Last),
    ("open", FailMode::Open),
    ("closed", FailMode::Closed),
];
pub const NO_BACKEND: [(&str, NoBackend); 2] =
    [("reject", NoBackend::Reject), ("drop", NoBackend::Drop)];

pub const YES_NO: [(&str, bool); 2] = [("true", true), ("false", false)];

pub fn word<T: Copy>(
    doc: &Doc<'_, '_>,
    meta: &ObjectMeta,
    name: &str,
    choices: &[(&str, T)],
) -> Option<T> {
    let text = doc.annotation(meta, name)?;
    values::choice(doc, &annotation_path(name), text, choices)
}

pub fn weights(doc: &Doc<'_, '_>, meta: &ObjectMeta) -> Weights {
    doc.annotation(meta, "weight")
        .map(|text| values::weights(doc, &annotation_path("weight"), text))
        .unwrap_or_default()
}

pub fn maglev_size(doc: &Doc<'_, '_>, meta: &ObjectMeta) -> Option<u32> {
    let text = doc.annotation(meta, "maglev-size")?;
    let path = annotation_path("maglev-size");
    let (min, max) = (maglev::MIN_SIZE, maglev::MAX_SIZE);
    match text.parse() {
        Ok(size) if (min..=max).contains(&size) && maglev::is_prime(size) => return Some(size),
        Ok(size) if (min..=max).contains(&size) => {
            let near = maglev::next_prime(size);
            doc.error(
                &path,
                format!("{size} is not a prime: the next one is {near}"),
            );
        }
        _ => doc.error(
            &path,
            format!("{text:?} is not a size: write a prime from {min} to {max}"),
        ),
    }
    None
}

pub fn health_check(doc: &Doc<'_, '_>, meta: &ObjectMeta) -> Option<HealthCheck> {
    let path = doc.annotation(meta, "health-check-path");
    let interval = doc.annotation(meta, "health-check-interval");
    let Some(kind) = doc.annotation(meta, "health-check") else {
        for (name, value) in [
            ("health-check-path", path),
            ("health-check-interval", interval),
        ] {
            if value.is_some() {
                doc.error(
                    &annotation_path(name),
                    "has no effect without terrace.io/health-check",
                );
            }
        }
        return None;
    };
    let choices = [("tcp", false), ("http", true)];
    let http = values::choice(doc, &annotation_path("health-check"), kind, &choices)?;
    if !http && path.is_some() {
        doc.error(
            &annotation_path("health-check-path"),
            "has no effect: the check is not http",
        );
    }
    let path = path.unwrap_or("/");
    if http && (!path.starts_with('/') || path.contains(|c: char| c.is_ascii_control() || c == ' '))
    {
        doc.error(
            &annotation_path("health-check-path"),
            format!("{path:?} is not a path: it starts with / and has no blanks"),
        );
    }
    let interval_ms = match interval.map(milliseconds) {
        None => HEALTH_CHECK_MS,
        Some(Some(ms)) => ms,
        Some(None) => {
            doc.error(
                &annotation_path("health-check-interval"),
                format!(
                    "{:?} is not an interval: write 100ms to 3600s",
                    interval.unwrap_or_default()
                ),
            );
            HEALTH_CHECK_MS
        }
    };
    Some(HealthCheck {
        http_path: http.then(|| path.to_owned()),
        interval_ms,
    })
}

/// `500ms`, `5s` or `5` (seconds), from 100 ms to an hour.
fn milliseconds(text: &str) -> Option<u64> {
    let ms = match text.strip_suffix("ms") {
        Some(number) => number.parse::<u64>().ok()?,
        None => {
            let number = text.strip_suffix('s').unwrap_or(text);
            number.parse::<u64>().ok()?.checked_mul(1000)?
        }
    };
    (100..=3_600_000).contains(&ms).then_some(ms)
}
