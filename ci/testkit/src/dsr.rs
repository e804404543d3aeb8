//! The far end of direct server return: takes IPIP and IP6IP6 packets apart.
//!
//! A remote backend of a DSR service gets the client's packet inside another
//! one and answers the client itself, from the service address. Kernels for
//! tests often lack the tunnel devices, so raw sockets do their work here.

mod checksum;

use crate::{Error, Node, Result};
use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketType, ipproto, recv, sendto, socket};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// How long the end of a receiver takes at most.
const TICK: Duration = Duration::from_millis(100);
const LARGEST: usize = 65_535;

/// Receives for the service addresses in the node's namespace until dropped.
#[derive(Debug)]
pub struct DsrReceiver {
    stop: Arc<AtomicBool>,
    packets: Arc<AtomicU64>,
    threads: Vec<JoinHandle<()>>,
}

impl DsrReceiver {
    /// Gives `node` the service addresses and starts to take apart. The node
    /// itself merges no packets from now on.
    pub fn start(node: &Node, services: &[IpAddr]) -> Result<Self> {
        node.ns.run("ethtool", &["-K", "net0", "gro", "off"])?;
        for scope in ["all", "default", "net0", "lo"] {
            let name = format!("net.ipv4.conf.{scope}.rp_filter");
            node.ns.sysctl(&name, "0")?;
        }
        for address in services {
            let (length, nodad) = if address.is_ipv4() {
                (32, "")
            } else {
                (128, " nodad")
            };
            node.ns
                .ip([format!("address add {address}/{length} dev lo{nodad}")])?;
        }
        let mut receiver = Self {
            stop: Arc::default(),
            packets: Arc::default(),
            threads: Vec::new(),
        };
        for family in [AddressFamily::INET, AddressFamily::INET6] {
            receiver.listen(node, family)?;
        }
        Ok(receiver)
    }

    /// Packets taken apart so far; what the kernel has merged on the way counts
    /// as the full packets of the link's MTU that it fills.
    pub fn packets(&self) -> u64 {
        self.packets.load(Ordering::Relaxed)
    }

    fn listen(&mut self, node: &Node, family: AddressFamily) -> Result<()> {
        let (input, output) = node
            .ns
            .enter(|| sockets(family))?
            .map_err(Error::errno("raw sockets of a DSR receiver"))?;
        let (stop, packets) = (self.stop.clone(), self.packets.clone());
        let mtu = mtu(node)?;
        self.threads.push(std::thread::spawn(move || {
            let mut buffer = vec![0; LARGEST];
            while !stop.load(Ordering::Relaxed) {
                // Nothing within a tick, or an ICMP error: look at `stop` again.
                let Ok((length, _)) = recv(&input, &mut buffer[..], RecvFlags::empty()) else {
                    continue;
                };
                if let Some((packet, to)) = inner(family, &mut buffer[..length])
                    && sendto(&output, packet, SendFlags::empty(), &to).is_ok()
                {
                    packets.fetch_add(packet.len().div_ceil(mtu) as u64, Ordering::Relaxed);
                }
            }
        }));
        Ok(())
    }
}

impl Drop for DsrReceiver {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn mtu(node: &Node) -> Result<usize> {
    let shown = node.ns.run("ip", &["-o", "link", "show", "net0"])?;
    let mut words = shown.split_whitespace().skip_while(|word| *word != "mtu");
    let mtu = words.nth(1).and_then(|mtu| mtu.parse().ok());
    mtu.ok_or_else(|| Error::wrong(format!("no MTU in `{shown}`")))
}

fn sockets(family: AddressFamily) -> std::result::Result<(OwnedFd, OwnedFd), Errno> {
    let outer = if family == AddressFamily::INET {
        ipproto::IPIP
    } else {
        ipproto::IPV6
    };
    let input = socket(family, SocketType::RAW, Some(outer))?;
    set_socket_timeout(&input, Timeout::Recv, Some(TICK))?;
    // IPPROTO_RAW takes whole packets, header included.
    let output = socket(family, SocketType::RAW, Some(ipproto::RAW))?;
    Ok((input, output))
}

/// The packet inside and where it goes. A raw IPv4 socket gives the outer
/// header too, a raw IPv6 socket does not.
fn inner(family: AddressFamily, received: &mut [u8]) -> Option<(&[u8], SocketAddr)> {
    let outer = match family {
        AddressFamily::INET => usize::from(received.first()? & 0xf) * 4,
        _ => 0,
    };
    let packet = received.get_mut(outer..)?;
    // None = there was nothing to complete.
    let _ = checksum::complete(packet);
    let to = if family == AddressFamily::INET {
        let to: [u8; 4] = packet.get(16..20)?.try_into().ok()?;
        (Ipv4Addr::from(to), 0).into()
    } else {
        let to: [u8; 16] = packet.get(24..40)?.try_into().ok()?;
        (Ipv6Addr::from(to), 0).into()
    };
    Some((packet, to))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_inner_packet_goes_to_its_own_destination() {
        let mut v4 = vec![0x45; 40];
        v4[36..40].copy_from_slice(&[10, 96, 0, 1]);
        let (packet, to) = inner(AddressFamily::INET, &mut v4).unwrap();
        assert_eq!(
            (packet.len(), to.to_string()),
            (20, "10.96.0.1:0".to_owned())
        );
        let mut v6 = vec![0x60; 40];
        v6[24..40].copy_from_slice(&Ipv6Addr::LOCALHOST.octets());
        let (packet, to) = inner(AddressFamily::INET6, &mut v6).unwrap();
        assert_eq!((packet.len(), to.to_string()), (40, "[::1]:0".to_owned()));
        assert!(inner(AddressFamily::INET, &mut v4[..30]).is_none());
    }
}
