//! `gateway.networking.k8s.io/v1` HTTPRoute as it is written. Fields that are
//! missing here are unknown; [`UNSUPPORTED`] has what to say about those that
//! the Gateway API has.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;

use super::cilium_types::Accepted;

/// Fields that are refused, with what they are.
pub const UNSUPPORTED: [(&str, &str); 8] = [
    (
        "responseHeaderModifier",
        "changed answers: they go from the backend to the client by the kernel",
    ),
    ("extensionRef", "filters of other vendors"),
    ("cors", "answers to CORS preflights"),
    ("externalAuth", "asking another server for leave"),
    ("retry", "retries: a request is handed over once"),
    (
        "sessionPersistence",
        "session persistence; write sessionAffinity at the Service",
    ),
    (
        "sectionName",
        "parents by the name of a section; write port",
    ),
    ("useDefaultGateways", "parents other than Services"),
];

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpRouteRaw {
    #[serde(rename = "apiVersion")]
    pub _api_version: String,
    #[serde(rename = "kind")]
    pub _kind: String,
    pub metadata: ObjectMeta,
    pub spec: Option<SpecRaw>,
    #[serde(rename = "status")]
    pub _status: Option<Accepted>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SpecRaw {
    pub parent_refs: Option<Vec<ReferenceRaw>>,
    pub hostnames: Option<Vec<String>>,
    pub rules: Option<Vec<RuleRaw>>,
}

/// A parent or a backend.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReferenceRaw {
    pub group: Option<String>,
    pub kind: Option<String>,
    pub name: Option<String>,
    pub namespace: Option<String>,
    pub port: Option<i32>,
    pub weight: Option<i64>,
    pub filters: Option<Accepted>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RuleRaw {
    #[serde(rename = "name")]
    pub _name: Option<String>,
    pub matches: Option<Vec<MatchRaw>>,
    pub filters: Option<Vec<FilterRaw>>,
    pub backend_refs: Option<Vec<ReferenceRaw>>,
    pub timeouts: Option<TimeoutsRaw>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TimeoutsRaw {
    pub request: Option<String>,
    pub backend_request: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MatchRaw {
    pub path: Option<PathRaw>,
    pub headers: Option<Vec<ValueRaw>>,
    pub query_params: Option<Vec<ValueRaw>>,
    pub method: Option<String>,
}

#[derive(Debug, Deserialize)]
pub struct PathRaw {
    #[serde(rename = "type")]
    pub kind: Option<String>,
    pub value: Option<String>,
}

#[derive(Debug, Deserialize)]
pub struct ValueRaw {
    #[serde(rename = "type")]
    pub kind: Option<String>,
    pub name: Option<String>,
    pub value: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FilterRaw {
    #[serde(rename = "type")]
    pub kind: Option<String>,
    pub request_header_modifier: Option<ModifierRaw>,
    pub request_redirect: Option<RedirectRaw>,
    pub url_rewrite: Option<RewriteRaw>,
    pub request_mirror: Option<MirrorRaw>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MirrorRaw {
    pub backend_ref: Option<ReferenceRaw>,
    pub percent: Option<i64>,
    pub fraction: Option<FractionRaw>,
}

#[derive(Debug, Deserialize)]
pub struct FractionRaw {
    pub numerator: Option<i64>,
    pub denominator: Option<i64>,
}

#[derive(Debug, Deserialize)]
pub struct ModifierRaw {
    pub set: Option<Vec<ValueRaw>>,
    pub add: Option<Vec<ValueRaw>>,
    pub remove: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RedirectRaw {
    pub scheme: Option<String>,
    pub hostname: Option<String>,
    pub path: Option<PathChangeRaw>,
    pub port: Option<i32>,
    pub status_code: Option<i32>,
}

#[derive(Debug, Deserialize)]
pub struct RewriteRaw {
    pub hostname: Option<String>,
    pub path: Option<PathChangeRaw>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PathChangeRaw {
    #[serde(rename = "type")]
    pub kind: Option<String>,
    pub replace_full_path: Option<String>,
    pub replace_prefix_match: Option<String>,
}
