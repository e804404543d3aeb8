//! `cilium.io/v2` policies as they are written. Fields that are missing here
//! are unknown; [`UNSUPPORTED`] has what to say about those that Cilium has.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, ObjectMeta};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};

/// Fields of Cilium's that are refused, with what they are.
pub const UNSUPPORTED: [(&str, &str); 21] = [
    ("toFQDNs", "egress by host name; write toCIDR or toEntities"),
    ("listener", "redirecting to a listener"),
    ("terminatingTLS", "TLS interception"),
    ("originatingTLS", "TLS interception"),
    ("serverNames", "rules on TLS server names"),
    ("authentication", "mutual authentication"),
    ("nodeSelector", "host policies"),
    (
        "fromNodes",
        "peers by node labels; write fromEntities: [remote-node]",
    ),
    (
        "toNodes",
        "peers by node labels; write toEntities: [remote-node]",
    ),
    ("fromGroups", "peers from cloud providers' groups"),
    ("toGroups", "peers from cloud providers' groups"),
    (
        "fromRequires",
        "requirements on peers; write them into fromEndpoints",
    ),
    (
        "toRequires",
        "requirements on peers; write them into toEndpoints",
    ),
    ("cidrGroupRef", "CiliumCIDRGroup; write the prefixes out"),
    (
        "cidrGroupSelector",
        "CiliumCIDRGroup; write the prefixes out",
    ),
    ("log", "log values of a policy"),
    ("l7proto", "L7 rules other than http"),
    ("l7", "L7 rules other than http"),
    ("secret", "header values from secrets; write value"),
    ("dns", "L7 rules other than http"),
    ("kafka", "L7 rules other than http"),
];

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CiliumPolicy {
    #[serde(rename = "apiVersion")]
    pub _api_version: String,
    #[serde(rename = "kind")]
    pub _kind: String,
    pub metadata: ObjectMeta,
    pub spec: Option<CiliumRule>,
    pub specs: Option<Vec<CiliumRule>>,
    #[serde(rename = "status")]
    pub _status: Option<Accepted>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CiliumRule {
    pub endpoint_selector: Option<LabelSelector>,
    pub ingress: Option<Vec<IngressRule>>,
    pub ingress_deny: Option<Vec<IngressRule>>,
    pub egress: Option<Vec<EgressRule>>,
    pub egress_deny: Option<Vec<EgressRule>>,
    pub enable_default_deny: Option<DefaultDeny>,
    #[serde(rename = "labels")]
    pub _labels: Option<Accepted>,
    #[serde(rename = "description")]
    pub _description: Option<String>,
}

#[derive(Debug, Deserialize)]
pub struct DefaultDeny {
    pub ingress: Option<bool>,
    pub egress: Option<bool>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct IngressRule {
    pub from_endpoints: Option<Vec<LabelSelector>>,
    #[serde(rename = "fromCIDR")]
    pub from_cidr: Option<Vec<String>>,
    #[serde(rename = "fromCIDRSet")]
    pub from_cidr_set: Option<Vec<CidrRule>>,
    pub from_entities: Option<Vec<String>>,
    pub to_ports: Option<Vec<PortsRule>>,
    pub icmps: Option<Vec<IcmpRule>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EgressRule {
    pub to_endpoints: Option<Vec<LabelSelector>>,
    #[serde(rename = "toCIDR")]
    pub to_cidr: Option<Vec<String>>,
    #[serde(rename = "toCIDRSet")]
    pub to_cidr_set: Option<Vec<CidrRule>>,
    pub to_entities: Option<Vec<String>>,
    pub to_services: Option<Vec<ServiceRule>>,
    pub to_ports: Option<Vec<PortsRule>>,
    pub icmps: Option<Vec<IcmpRule>>,
}

#[derive(Debug, Deserialize)]
pub struct CidrRule {
    pub cidr: Option<String>,
    pub except: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceRule {
    pub k8s_service: Option<NamedService>,
    pub k8s_service_selector: Option<SelectedServices>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NamedService {
    pub service_name: Option<String>,
    pub namespace: Option<String>,
}

#[derive(Debug, Deserialize)]
pub struct SelectedServices {
    pub selector: Option<LabelSelector>,
    pub namespace: Option<String>,
}

#[derive(Debug, Deserialize)]
pub struct PortsRule {
    pub ports: Option<Vec<PortProtocol>>,
    pub rules: Option<L7Rules>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PortProtocol {
    pub port: Option<String>,
    pub end_port: Option<i32>,
    pub protocol: Option<String>,
}

#[derive(Debug, Deserialize)]
pub struct L7Rules {
    pub http: Option<Vec<HttpRuleRaw>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HttpRuleRaw {
    pub method: Option<String>,
    pub path: Option<String>,
    pub host: Option<String>,
    pub headers: Option<Vec<String>>,
    pub header_matches: Option<Vec<HeaderMatch>>,
}

#[derive(Debug, Deserialize)]
pub struct HeaderMatch {
    pub name: Option<String>,
    pub value: Option<String>,
    pub mismatch: Option<String>,
}

#[derive(Debug, Deserialize)]
pub struct IcmpRule {
    pub fields: Option<Vec<IcmpField>>,
}

#[derive(Debug, Deserialize)]
pub struct IcmpField {
    pub family: Option<String>,
    #[serde(rename = "type")]
    pub kind: Option<IntOrString>,
}

/// A field that is accepted and has no effect, whatever is in it.
#[derive(Debug)]
pub struct Accepted;

impl<'de> Deserialize<'de> for Accepted {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AcceptedVisitor)
    }
}

struct AcceptedVisitor;

macro_rules! accept {
    ($($method:ident($type:ty))*) => {
        $(fn $method<E>(self, _: $type) -> Result<Accepted, E> { Ok(Accepted) })*
    };
}

impl<'de> Visitor<'de> for AcceptedVisitor {
    type Value = Accepted;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("anything")
    }

    accept! { visit_bool(bool) visit_i64(i64) visit_u64(u64) visit_f64(f64) visit_str(&str) }

    fn visit_unit<E>(self) -> Result<Accepted, E> {
        Ok(Accepted)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Accepted, A::Error> {
        while items.next_element::<Accepted>()?.is_some() {}
        Ok(Accepted)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Accepted, A::Error> {
        while entries.next_entry::<String, Accepted>()?.is_some() {}
        Ok(Accepted)
    }
}
