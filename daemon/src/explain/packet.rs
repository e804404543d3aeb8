//! Builds the frame of a five-tuple, with right lengths and checksums.

use std::net::IpAddr;

use etherparse::{
    IcmpEchoHeader, Icmpv4Type, Icmpv6Type, IpHeaders, IpNumber, Ipv4Extensions, Ipv4Header,
    Ipv6Extensions, Ipv6Header, PacketBuilder, TcpHeader,
};

use super::ExplainError;
use crate::api::TupleSpec;

/// TTL of a packet that one router has passed.
const TTL: u8 = 63;

/// Addresses of the Ethernet header.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Macs {
    pub source: [u8; 6],
    pub destination: [u8; 6],
}

/// One Ethernet frame; its payload is zeros.
///
/// # Errors
/// Addresses of two families, or a protocol or TCP flag that is not known.
pub fn frame_of(spec: &TupleSpec, macs: Macs) -> Result<Vec<u8>, ExplainError> {
    let ip = ip_of(spec)?;
    let step = PacketBuilder::ethernet2(macs.source, macs.destination).ip(ip);
    let payload = vec![0; spec.payload_len.into()];
    let (sport, dport) = (spec.source.port(), spec.destination.port());
    let mut frame = Vec::with_capacity(128 + payload.len());
    let written = match (spec.protocol.as_str(), spec.source.is_ipv4()) {
        ("tcp", _) => step.tcp_header(tcp_of(spec)?).write(&mut frame, &payload),
        ("udp", _) => step.udp(sport, dport).write(&mut frame, &payload),
        ("icmp", true) => step
            .icmpv4(Icmpv4Type::EchoRequest(echo(sport)))
            .write(&mut frame, &payload),
        ("icmp", false) => step
            .icmpv6(Icmpv6Type::EchoRequest(echo(sport)))
            .write(&mut frame, &payload),
        ("sctp", _) => step.write(
            &mut frame,
            IpNumber::SCTP,
            &sctp_init(sport, dport, payload),
        ),
        (other, _) => return Err(ExplainError::Protocol(other.to_owned())),
    };
    written.map_err(|error| ExplainError::Build(error.to_string()))?;
    Ok(frame)
}

fn ip_of(spec: &TupleSpec) -> Result<IpHeaders, ExplainError> {
    match (spec.source.ip(), spec.destination.ip()) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            // The builder fills in length, protocol and checksum.
            let header =
                Ipv4Header::new(0, TTL, IpNumber::TCP, source.octets(), destination.octets())
                    .map_err(|error| ExplainError::Build(error.to_string()))?;
            Ok(IpHeaders::Ipv4(header, Ipv4Extensions::default()))
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let header = Ipv6Header {
                hop_limit: TTL,
                source: source.octets(),
                destination: destination.octets(),
                ..Ipv6Header::default()
            };
            Ok(IpHeaders::Ipv6(header, Ipv6Extensions::default()))
        }
        _ => Err(ExplainError::Families(spec.source, spec.destination)),
    }
}

fn tcp_of(spec: &TupleSpec) -> Result<TcpHeader, ExplainError> {
    let mut header = TcpHeader::new(spec.source.port(), spec.destination.port(), 1, 65_535);
    let flags = if spec.tcp_flags.is_empty() {
        "S"
    } else {
        spec.tcp_flags.as_str()
    };
    for flag in flags.chars() {
        match flag.to_ascii_uppercase() {
            'F' => header.fin = true,
            'S' => header.syn = true,
            'R' => header.rst = true,
            'P' => header.psh = true,
            'A' => header.ack = true,
            'U' => header.urg = true,
            other => return Err(ExplainError::TcpFlag(other)),
        }
    }
    Ok(header)
}

fn echo(id: u16) -> IcmpEchoHeader {
    IcmpEchoHeader { id, seq: 1 }
}

/// RFC 9260: the common header (its checksum is not looked at), an INIT chunk.
fn sctp_init(sport: u16, dport: u16, payload: Vec<u8>) -> Vec<u8> {
    let mut packet = Vec::with_capacity(32 + payload.len());
    packet.extend(sport.to_be_bytes());
    packet.extend(dport.to_be_bytes());
    packet.extend([0; 8]);
    packet.extend([1, 0, 0, 20]);
    packet.extend([0; 16]);
    packet.extend(payload);
    packet
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(protocol: &str, source: &str, destination: &str, flags: &str) -> TupleSpec {
        TupleSpec {
            protocol: protocol.into(),
            source: source.parse().unwrap(),
            destination: destination.parse().unwrap(),
            tcp_flags: flags.into(),
            payload_len: 10,
        }
    }

    #[test]
    fn a_frame_reads_back_as_the_tuple_it_was_made_of() {
        let rows = [
            (
                "tcp",
                "10.0.0.1:4000",
                "10.96.0.10:80",
                "tcp 10.0.0.1:4000 > 10.96.0.10:80",
            ),
            (
                "udp",
                "10.0.0.1:4000",
                "10.96.0.10:53",
                "udp 10.0.0.1:4000 > 10.96.0.10:53",
            ),
            (
                "sctp",
                "10.0.0.1:4000",
                "10.96.0.10:99",
                "sctp 10.0.0.1:4000 > 10.96.0.10:99",
            ),
            (
                "icmp",
                "10.0.0.1:7",
                "10.96.0.10:0",
                "icmp 10.0.0.1:0 > 10.96.0.10:0",
            ),
            (
                "tcp",
                "[fd00::1]:4000",
                "[fd00::2]:80",
                "tcp [fd00::1]:4000 > [fd00::2]:80",
            ),
            (
                "icmp",
                "[fd00::1]:7",
                "[fd00::2]:0",
                "icmpv6 [fd00::1]:0 > [fd00::2]:0",
            ),
        ];
        for (protocol, source, destination, summary) in rows {
            let frame =
                frame_of(&spec(protocol, source, destination, ""), Macs::default()).unwrap();
            let tuple = super::super::headers::tuple_of(&frame).unwrap();
            assert_eq!(tuple.to_string(), summary);
        }
    }

    #[test]
    fn what_cannot_be_a_packet_is_refused() {
        let rows = [
            (spec("gre", "10.0.0.1:1", "10.0.0.2:2", ""), "gre"),
            (spec("tcp", "10.0.0.1:1", "[fd00::1]:2", ""), "fd00::1"),
            (spec("tcp", "10.0.0.1:1", "10.0.0.2:2", "SX"), "X"),
        ];
        for (spec, part) in rows {
            let error = frame_of(&spec, Macs::default()).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}
