//! An interface as `terrace status` shows it.

use super::{Armed, nics};
use crate::api::{Attachment, Interface, NicFront};
use crate::explain::headers::mac;
use crate::netlink::Network;

pub(super) fn shown(armed: &Armed, nics: &[NicFront], network: &Network) -> Interface {
    let link = &armed.link;
    let addresses = network.addresses_of(link.ifindex);
    let of_it = nics.iter().filter(|nic| nic.ifindex == link.ifindex);
    let nic: Option<Attachment> = of_it.filter_map(nics::attachment).next();
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
