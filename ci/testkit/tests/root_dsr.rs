//! The DSR receiver against packets that a raw socket encapsulates.

#![allow(clippy::unwrap_used, reason = "the helpers of a test are tests too")]

use rustix::net::{AddressFamily, SendFlags, SocketType, ipproto, sendto, socket};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;
use terrace_testkit::{DsrReceiver, Topology, udp};

const VIP4: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 9);
const VIP6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x96, 0, 0, 0, 0, 0, 9);
const PORT: u16 = 5300;

#[test]
fn root_an_encapsulated_question_is_answered_from_the_service_address() {
    let net = Topology::new("dsr")
        .client("client")
        .backend("remote")
        .build()
        .unwrap();
    let (client, remote) = (net.client("client"), net.backend("remote"));
    let receiver = DsrReceiver::start(remote, &[VIP4.into(), VIP6.into()]).unwrap();
    let _servers = [IpAddr::from(VIP4), VIP6.into()].map(|service| {
        udp::Server::start_at(&remote.ns, "remote", SocketAddr::new(service, PORT)).unwrap()
    });
    let rows: [(IpAddr, IpAddr, IpAddr); 2] = [
        (client.v4.into(), VIP4.into(), remote.v4.into()),
        (client.v6.into(), VIP6.into(), remote.v6.into()),
    ];
    for (from, service, to) in rows {
        let socket = client
            .ns
            .enter(|| UdpSocket::bind((from, 0)).unwrap())
            .unwrap();
        socket
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        let port = socket.local_addr().unwrap().port();
        client
            .ns
            .enter(|| send_encapsulated((from, port), service, to))
            .unwrap();
        let mut answer = [0; 100];
        let (length, answerer) = socket.recv_from(&mut answer).unwrap();
        assert_eq!(answerer, SocketAddr::new(service, PORT));
        assert_eq!(&answer[..6], b"remote");
        assert_eq!(length, 32);
    }
    assert_eq!(receiver.packets(), 2);
}

/// The kernel writes the outer header: the inner packet is the payload of a raw
/// socket whose protocol is IPIP or IPv6-in-IPv6.
fn send_encapsulated(from: (IpAddr, u16), service: IpAddr, to: IpAddr) {
    let (family, protocol) = match to {
        IpAddr::V4(_) => (AddressFamily::INET, ipproto::IPIP),
        IpAddr::V6(_) => (AddressFamily::INET6, ipproto::IPV6),
    };
    let socket = socket(family, SocketType::RAW, Some(protocol)).unwrap();
    let packet = match (from.0, service) {
        (IpAddr::V4(from4), IpAddr::V4(to4)) => packet4(from4, to4, from.1),
        (IpAddr::V6(from6), IpAddr::V6(to6)) => packet6(from6, to6, from.1),
        _ => panic!("one family"),
    };
    sendto(
        &socket,
        &packet,
        SendFlags::empty(),
        &SocketAddr::new(to, 0),
    )
    .unwrap();
}

fn udp_datagram(from_port: u16, checksum: u16) -> Vec<u8> {
    let mut bytes = Vec::new();
    for word in [from_port, PORT, 8 + 32, checksum] {
        bytes.extend(word.to_be_bytes());
    }
    bytes.extend([7; 32]);
    bytes
}

fn packet4(from: Ipv4Addr, to: Ipv4Addr, port: u16) -> Vec<u8> {
    let mut packet = vec![0x45, 0, 0, 20 + 40, 0, 1, 0, 0, 64, 17, 0, 0];
    packet.extend(from.octets());
    packet.extend(to.octets());
    let sum = checksum(&packet);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    // No checksum: allowed for UDP over IPv4.
    packet.extend(udp_datagram(port, 0));
    packet
}

fn packet6(from: Ipv6Addr, to: Ipv6Addr, port: u16) -> Vec<u8> {
    let mut pseudo = [from.octets(), to.octets()].concat();
    pseudo.extend([0, 0, 0, 40, 0, 0, 0, 17]);
    pseudo.extend(udp_datagram(port, 0));
    let mut packet = vec![0x60, 0, 0, 0, 0, 40, 17, 64];
    packet.extend(from.octets());
    packet.extend(to.octets());
    packet.extend(udp_datagram(port, checksum(&pseudo)));
    packet
}

/// RFC 1071, of an even number of bytes.
fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes
        .chunks(2)
        .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]])));
    let sum: u32 = words.sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    !((sum & 0xffff) + (sum >> 16)) as u16
}
