//! Whether workers read the queues of an uplink themselves. Pure.

use terrace_offload::Tier;
use terrace_xdp::xsk::{Bind, FRAME_ROOM};

/// What the operator wants (`[l7] uplink_sockets`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UplinkSockets {
    /// On NICs with native XDP; zero-copy where that was tried.
    #[default]
    Auto,
    /// Wherever native XDP is, also on a veth; the kernel copies.
    Copy,
    /// The same, and the device writes into the workers' memory if it can.
    ZeroCopy,
    Off,
}

impl UplinkSockets {
    pub const NAMES: [(&str, Self); 4] = [
        ("auto", Self::Auto),
        ("copy", Self::Copy),
        ("zero-copy", Self::ZeroCopy),
        ("off", Self::Off),
    ];
}

/// What is known of an uplink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Uplink {
    pub iface: String,
    /// Of a virtual device; empty for hardware.
    pub kind: String,
    /// Where XDP runs.
    pub tier: Option<Tier>,
    pub mtu: u32,
    pub n_queues: u32,
    /// A zero-copy socket was tried on it, and worked.
    pub has_zero_copy: bool,
}

/// How to bind sockets to its queues, the better way first; or why what is for
/// workers goes through the port.
///
/// # Errors
/// The reason, as a person reads it.
pub fn ways(setting: UplinkSockets, uplink: &Uplink) -> Result<&'static [Bind], String> {
    if setting == UplinkSockets::Off {
        return Err("[l7] uplink_sockets is off".to_owned());
    }
    if uplink.tier != Some(Tier::XdpNative) {
        let tier = uplink.tier.map_or("tc", Tier::name);
        return Err(format!("its packets are served on {tier}, not xdp-native"));
    }
    let is_hardware = uplink.kind.is_empty();
    if !is_hardware && uplink.kind != "veth" {
        let kind = &uplink.kind;
        return Err(format!("a {kind} has no queues of its own"));
    }
    if !is_hardware && setting == UplinkSockets::Auto {
        let why = "a veth passes packets whose checksums nobody has computed yet";
        let fix = "with `ethtool -K PEER tx off` at its other end, [l7] uplink_sockets = \"copy\" reads it";
        return Err(format!("{why}; {fix}"));
    }
    let largest = uplink.mtu + HEADERS;
    if largest > FRAME_ROOM {
        let mtu = uplink.mtu;
        return Err(format!(
            "packets of MTU {mtu} do not fit into one frame; {} does",
            FRAME_ROOM - HEADERS
        ));
    }
    let zero_copy = match setting {
        UplinkSockets::ZeroCopy => true,
        UplinkSockets::Auto => uplink.has_zero_copy,
        UplinkSockets::Copy | UplinkSockets::Off => false,
    };
    Ok(match zero_copy {
        true => &[Bind::ZeroCopy, Bind::Copy],
        false => &[Bind::Copy],
    })
}

/// Ethernet and two VLAN tags.
const HEADERS: u32 = 14 + 8;

#[cfg(test)]
mod tests {
    use super::*;

    fn nic() -> Uplink {
        Uplink {
            iface: "up0".to_owned(),
            kind: String::new(),
            tier: Some(Tier::XdpNative),
            mtu: 1_500,
            n_queues: 4,
            has_zero_copy: false,
        }
    }

    fn veth() -> Uplink {
        Uplink {
            kind: "veth".to_owned(),
            ..nic()
        }
    }

    type Row = (
        &'static str,
        UplinkSockets,
        Uplink,
        Result<&'static [Bind], &'static str>,
    );

    fn rows() -> Vec<Row> {
        use UplinkSockets::{Auto, Copy, Off, ZeroCopy};
        let tried = Uplink {
            has_zero_copy: true,
            ..nic()
        };
        let generic = Uplink {
            tier: Some(Tier::XdpGeneric),
            ..nic()
        };
        let none = Uplink {
            tier: None,
            ..nic()
        };
        let jumbo = Uplink {
            mtu: 9_000,
            ..veth()
        };
        let largest = Uplink {
            mtu: 3_818,
            ..nic()
        };
        let bond = Uplink {
            kind: "bond".to_owned(),
            ..nic()
        };
        let both: &[Bind] = &[Bind::ZeroCopy, Bind::Copy];
        vec![
            ("a NIC is read in copy mode", Auto, nic(), Ok(&[Bind::Copy])),
            (
                "zero-copy where it was tried",
                Auto,
                tried.clone(),
                Ok(both),
            ),
            ("zero-copy where it is asked for", ZeroCopy, nic(), Ok(both)),
            ("copy is what it says", Copy, tried, Ok(&[Bind::Copy])),
            ("auto leaves a veth out", Auto, veth(), Err("checksums")),
            ("a veth can be asked for", Copy, veth(), Ok(&[Bind::Copy])),
            ("off is off", Off, nic(), Err("is off")),
            ("not on generic XDP", Copy, generic, Err("xdp-generic")),
            ("not without XDP", Copy, none, Err("served on tc")),
            (
                "a large packet needs the port",
                Copy,
                jumbo,
                Err("3818 does"),
            ),
            ("the largest that fits", Auto, largest, Ok(&[Bind::Copy])),
            (
                "a bond's packets are its ports'",
                Copy,
                bond,
                Err("a bond has no queues"),
            ),
        ]
    }

    #[test]
    fn an_uplink_is_read_where_that_is_right_and_else_there_is_a_reason() {
        for (name, setting, uplink, expected) in rows() {
            let found = ways(setting, &uplink);
            match (found, expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{name}"),
                (Err(why), Err(part)) => assert!(why.contains(part), "{name}: {why}"),
                (found, _) => panic!("{name}: {found:?}"),
            }
        }
    }
}
