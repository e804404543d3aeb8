//! Reads the headers of a frame, and tells what changed between two.

use std::fmt::Display;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use etherparse::{InternetSlice, LinkSlice, SlicedPacket, TransportSlice};

use crate::api::{HeaderChange, Tuple};

/// The five-tuple; ports are 0 where the protocol has none.
pub fn tuple_of(frame: &[u8]) -> Option<Tuple> {
    let packet = SlicedPacket::from_ethernet(frame).ok()?;
    let (source, destination, protocol, payload) = match packet.net.as_ref()? {
        InternetSlice::Ipv4(ip) => {
            let header = ip.header();
            let payload = ip.payload();
            (
                IpAddr::from(header.source()),
                IpAddr::from(header.destination()),
                payload.ip_number.0,
                payload.payload,
            )
        }
        InternetSlice::Ipv6(ip) => {
            let header = ip.header();
            let payload = ip.payload();
            (
                IpAddr::from(header.source()),
                IpAddr::from(header.destination()),
                payload.ip_number.0,
                payload.payload,
            )
        }
        InternetSlice::Arp(_) => return None,
    };
    let (sport, dport) = match (protocol, payload) {
        (6 | 17 | 132, [s0, s1, d0, d1, ..]) => (
            u16::from_be_bytes([*s0, *s1]),
            u16::from_be_bytes([*d0, *d1]),
        ),
        _ => (0, 0),
    };
    Some(Tuple {
        protocol,
        source: SocketAddr::new(source, sport),
        destination: SocketAddr::new(destination, dport),
    })
}

/// The five-tuple in words, or what the frame is instead.
pub fn summary_of(frame: &[u8]) -> String {
    match (tuple_of(frame), SlicedPacket::from_ethernet(frame)) {
        (Some(tuple), _) => tuple.to_string(),
        (None, Ok(packet)) => match packet.ether_payload() {
            Some(payload) => format!("ethertype 0x{:04x}", payload.ether_type.0),
            None => "an Ethernet frame without a payload".into(),
        },
        (None, Err(error)) => format!("not readable ({error})"),
    }
}

/// The fields that differ, in the order of the packet.
pub fn changes(before: &[u8], after: &[u8]) -> Vec<HeaderChange> {
    let old = fields(before);
    let mut new = fields(after);
    let mut changes = Vec::new();
    for (field, before) in old {
        let found = new.iter().position(|(name, _)| *name == field);
        let after = found.map_or_else(|| "gone".to_owned(), |i| new.remove(i).1);
        if before != after {
            changes.push(HeaderChange {
                field: field.into(),
                before,
                after,
            });
        }
    }
    changes.extend(new.into_iter().map(|(field, after)| HeaderChange {
        field: field.into(),
        before: "none".into(),
        after,
    }));
    changes
}

type Fields = Vec<(&'static str, String)>;

fn fields(frame: &[u8]) -> Fields {
    let mut fields = vec![("length", frame.len().to_string())];
    let Ok(packet) = SlicedPacket::from_ethernet(frame) else {
        return fields;
    };
    if let Some(LinkSlice::Ethernet2(link)) = &packet.link {
        fields.push(("eth.dst", mac(link.destination())));
        fields.push(("eth.src", mac(link.source())));
    }
    net_fields(&packet, &mut fields);
    transport_fields(&packet, &mut fields);
    fields
}

fn net_fields(packet: &SlicedPacket<'_>, fields: &mut Fields) {
    match &packet.net {
        Some(InternetSlice::Ipv4(ip)) => {
            let header = ip.header();
            fields.push(("ip.src", header.source_addr().to_string()));
            fields.push(("ip.dst", header.destination_addr().to_string()));
            fields.push(("ip.ttl", header.ttl().to_string()));
            fields.push(("ip.tos", header.dcp().value().to_string()));
            fields.push(("ip.protocol", header.protocol().0.to_string()));
            fields.push(("ip.length", header.total_len().to_string()));
            fields.push(("ip.checksum", hex16(header.header_checksum())));
            inner_fields(ip.payload().ip_number.0, ip.payload().payload, fields);
        }
        Some(InternetSlice::Ipv6(ip)) => {
            let header = ip.header();
            fields.push(("ip.src", header.source_addr().to_string()));
            fields.push(("ip.dst", header.destination_addr().to_string()));
            fields.push(("ip.hoplimit", header.hop_limit().to_string()));
            fields.push(("ip.next", header.next_header().0.to_string()));
            fields.push(("ip.length", header.payload_length().to_string()));
            inner_fields(ip.payload().ip_number.0, ip.payload().payload, fields);
        }
        _ => {}
    }
}

/// Of a packet in a packet (direct server return).
fn inner_fields(protocol: u8, payload: &[u8], fields: &mut Fields) {
    let address = |from: usize, len: usize| payload.get(from..from + len);
    let (source, destination) = match protocol {
        4 => (address(12, 4), address(16, 4)),
        41 => (address(8, 16), address(24, 16)),
        _ => return,
    };
    let text = |bytes: &[u8]| match bytes {
        [a, b, c, d] => Ipv4Addr::new(*a, *b, *c, *d).to_string(),
        _ => <[u8; 16]>::try_from(bytes).map_or(String::new(), |b| Ipv6Addr::from(b).to_string()),
    };
    if let (Some(source), Some(destination)) = (source, destination) {
        fields.push(("inner.src", text(source)));
        fields.push(("inner.dst", text(destination)));
    }
}

fn transport_fields(packet: &SlicedPacket<'_>, fields: &mut Fields) {
    let mut push = |name, value: &dyn Display| fields.push((name, value.to_string()));
    match &packet.transport {
        Some(TransportSlice::Tcp(tcp)) => {
            push("tcp.sport", &tcp.source_port());
            push("tcp.dport", &tcp.destination_port());
            push("tcp.seq", &tcp.sequence_number());
            push("tcp.ack", &tcp.acknowledgment_number());
            push("tcp.flags", &flags(tcp));
            push("tcp.checksum", &hex16(tcp.checksum()));
        }
        Some(TransportSlice::Udp(udp)) => {
            push("udp.sport", &udp.source_port());
            push("udp.dport", &udp.destination_port());
            push("udp.checksum", &hex16(udp.checksum()));
        }
        Some(TransportSlice::Icmpv4(icmp)) => {
            push("icmp.type", &icmp.type_u8());
            push("icmp.code", &icmp.code_u8());
            push("icmp.checksum", &hex16(icmp.checksum()));
        }
        Some(TransportSlice::Icmpv6(icmp)) => {
            push("icmp.type", &icmp.type_u8());
            push("icmp.code", &icmp.code_u8());
            push("icmp.checksum", &hex16(icmp.checksum()));
        }
        _ => {}
    }
}

fn flags(tcp: &etherparse::TcpSlice<'_>) -> String {
    let set = [
        ('F', tcp.fin()),
        ('S', tcp.syn()),
        ('R', tcp.rst()),
        ('P', tcp.psh()),
        ('A', tcp.ack()),
        ('U', tcp.urg()),
    ];
    set.iter()
        .filter(|(_, set)| *set)
        .map(|(flag, _)| *flag)
        .collect()
}

fn hex16(value: u16) -> String {
    format!("0x{value:04x}")
}

pub(crate) fn mac(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

#[cfg(test)]
mod tests {
    use super::super::packet::{Macs, frame_of};
    use super::*;
    use crate::api::TupleSpec;

    fn frame(source: &str, destination: &str) -> Vec<u8> {
        let spec = TupleSpec {
            protocol: "tcp".into(),
            source: source.parse().unwrap(),
            destination: destination.parse().unwrap(),
            tcp_flags: "SA".into(),
            payload_len: 0,
        };
        frame_of(&spec, Macs::default()).unwrap()
    }

    #[test]
    fn equal_frames_have_no_changes() {
        let frame = frame("10.0.0.1:1", "10.0.0.2:2");
        assert_eq!(changes(&frame, &frame), []);
    }

    #[test]
    fn every_changed_field_is_named_once() {
        let before = frame("10.0.0.1:1", "10.0.0.2:2");
        let mut after = frame("10.0.0.1:1", "10.0.0.3:8080");
        after[22] -= 1;
        let changed: Vec<String> = changes(&before, &after)
            .into_iter()
            .map(|change| change.field)
            .collect();
        assert_eq!(
            changed,
            [
                "ip.dst",
                "ip.ttl",
                "ip.checksum",
                "tcp.dport",
                "tcp.checksum"
            ]
        );
    }

    #[test]
    fn a_frame_that_cannot_be_read_says_so() {
        let rows: [(&[u8], &str); 3] = [
            (&[0; 4], "not readable"),
            (
                &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x88, 0xcc, 1],
                "ethertype 0x88cc",
            ),
            (
                &[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x08, 0x00, 0x45],
                "not readable",
            ),
        ];
        for (frame, part) in rows {
            assert!(summary_of(frame).contains(part), "{}", summary_of(frame));
        }
    }
}
