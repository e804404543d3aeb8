//! An interface as `terrace status` shows it.

use super::{Armed, nics};
use crate::api::{Interface, NicFront};
use crate::explain::headers::mac;
use crate::netlink::Network;

pub(super) fn shown(armed: &Armed, nic: Option<&NicFront>, network: &Network) -> Interface {
    let link = &armed.link;
    let addresses = network.addresses_of(link.ifindex);
    let nic = nic.and_then(nics::attachment);
    let xdp = armed.xdp.iter().map(|xdp| xdp.attachment.clone());
    Interface {
        name: link.name.clone(),
        ifindex: link.ifindex,
        role: armed.role,
        driver: armed.driver.clone(),
        up: link.up,
        mtu: link.mtu,
        mac: mac(link.mac),
        addresses: addresses.map(|(a, len)| format!("{a}/{len}")).collect(),
        attachments: nic
            .into_iter()
            .chain(xdp)
            .chain(armed.tc.iter().cloned())
            .collect(),
    }
}
