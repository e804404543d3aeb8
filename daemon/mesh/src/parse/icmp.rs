//! ICMP types by the names that Cilium gives them.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::cilium_types::IcmpField;
use super::doc::Doc;
use super::values;
use crate::objects::{PortMatch, PortRule};

const ROW_ICMP: u8 = 8;
const ROW_ICMPV6: u8 = 16;

/// IANA's ICMP types.
const V4: [(&str, u16); 14] = [
    ("EchoReply", 0),
    ("DestinationUnreachable", 3),
    ("Redirect", 5),
    ("Echo", 8),
    ("EchoRequest", 8),
    ("RouterAdvertisement", 9),
    ("RouterSelection", 10),
    ("TimeExceeded", 11),
    ("ParameterProblem", 12),
    ("Timestamp", 13),
    ("TimestampReply", 14),
    ("Photuris", 40),
    ("ExtendedEcho Request", 42),
    ("ExtendedEcho Reply", 43),
];

/// IANA's ICMPv6 types.
const V6: [(&str, u16); 20] = [
    ("DestinationUnreachable", 1),
    ("PacketTooBig", 2),
    ("TimeExceeded", 3),
    ("ParameterProblem", 4),
    ("EchoRequest", 128),
    ("EchoReply", 129),
    ("MulticastListenerQuery", 130),
    ("MulticastListenerReport", 131),
    ("MulticastListenerDone", 132),
    ("RouterSolicitation", 133),
    ("RouterAdvertisement", 134),
    ("NeighborSolicitation", 135),
    ("NeighborAdvertisement", 136),
    ("RedirectMessage", 137),
    ("RouterRenumbering", 138),
    ("ICMPNodeInformationQuery", 139),
    ("ICMPNodeInformationResponse", 140),
    ("InverseNeighborDiscoverySolicitation", 141),
    ("InverseNeighborDiscoveryAdvertisement", 142),
    ("HomeAgentAddressDiscoveryRequest", 144),
];

pub fn field(doc: &Doc<'_, '_>, path: &str, raw: &IcmpField) -> Option<PortRule> {
    let family = raw.family.as_deref().unwrap_or("IPv4");
    let is_v6 = values::choice(
        doc,
        &format!("{path}.family"),
        family,
        &[("IPv4", false), ("IPv6", true)],
    )?;
    let type_path = format!("{path}.type");
    let names: &[(&str, u16)] = if is_v6 { &V6 } else { &V4 };
    let number = match &raw.kind {
        Some(IntOrString::Int(number)) => u16::try_from(*number).ok().filter(|n| *n <= 255),
        Some(IntOrString::String(text)) => text
            .parse()
            .ok()
            .filter(|n| *n <= 255)
            .or_else(|| names.iter().find(|(name, _)| name == text).map(|(_, n)| *n)),
        None => {
            doc.error(&type_path, "an ICMP field needs a type");
            return None;
        }
    };
    let Some(number) = number else {
        doc.error(
            &type_path,
            format!("not an ICMP type of {family}: write 0 to 255 or a name like EchoRequest"),
        );
        return None;
    };
    Some(PortRule {
        rows: if is_v6 { ROW_ICMPV6 } else { ROW_ICMP },
        what: PortMatch::Range(number, number),
    })
}
