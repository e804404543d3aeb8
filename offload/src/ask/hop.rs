//! The next hop towards an address, from the kernel's routes.

use std::net::IpAddr;

use super::{No, Socket};
use crate::wire::{Attrs, push};

const RTM_GETROUTE: u16 = 26;
/// `struct rtmsg`.
const HEADER: usize = 12;
const UNICAST: u8 = 1;

/// The link and the gateway, or the address itself; `None` = no route, or one to this
/// host or nowhere.
///
/// # Errors
/// The kernel can't be asked.
pub fn hop(to: IpAddr) -> Result<Option<(u32, IpAddr)>, No> {
    let (family, octets) = match to {
        IpAddr::V4(v4) => (libc::AF_INET, v4.octets().to_vec()),
        IpAddr::V6(v6) => (libc::AF_INET6, v6.octets().to_vec()),
    };
    let mut body = vec![0; HEADER];
    body[0] = u8::try_from(family).unwrap_or(0);
    body[1] = u8::try_from(8 * octets.len()).unwrap_or(0);
    push(&mut body, 1, &octets);
    let answers = match Socket::route()?.request(RTM_GETROUTE, 0, &body) {
        Ok(answers) => answers,
        Err(no) if no.no == "ENETUNREACH" || no.no == "EHOSTUNREACH" => return Ok(None),
        Err(no) => return Err(no),
    };
    Ok(answers.first().and_then(|answer| read(answer, to)))
}

fn read(answer: &[u8], to: IpAddr) -> Option<(u32, IpAddr)> {
    if answer.get(7) != Some(&UNICAST) {
        return None;
    }
    let attrs = Attrs::after(answer, HEADER);
    let out = u32::try_from(attrs.uint(4)?).ok()?;
    let gateway = match attrs.get(5) {
        Some(gateway) => address(gateway)?,
        // RTA_VIA: a family, then an address of it.
        None => match attrs.get(18) {
            Some(via) => address(via.get(2..)?)?,
            None => to,
        },
    };
    Some((out, gateway))
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => Some(IpAddr::from(<[u8; 4]>::try_from(bytes).ok()?)),
        16 => Some(IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?)),
        _ => None,
    }
}
