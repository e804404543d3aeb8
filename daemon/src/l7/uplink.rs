//! Whether workers read the queues of an uplink themselves. Pure.

use terrace_offload::Tier;
use terrace_offload::verdict::{Disruption, TierVerdict, Verdict};
use terrace_xdp::xsk::{Bind, FRAME_ROOM};

/// What the operator wants (`[l7] uplink_sockets`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum UplinkSockets {
    /// On NICs with native XDP; zero-copy is tried where the report expects it.
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
}

/// How to bind sockets to the queues of an uplink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ways {
    /// The better way first.
    pub binds: &'static [Bind],
    /// Why zero-copy is not among them, where it would be wanted.
    pub why: String,
}

impl Ways {
    /// The kernel is asked for zero-copy.
    pub fn try_zero_copy(&self) -> bool {
        self.binds.contains(&Bind::ZeroCopy)
    }
}

/// Whether zero-copy is worth a bind, which alone proves it: what the report
/// expects of it, and what the operator consents to.
///
/// # Errors
/// Why not.
pub fn worth_a_bind(expected: Option<&TierVerdict>, consent: Disruption) -> Result<(), String> {
    let why = match expected {
        Some(line) if matches!(line.verdict, Verdict::Yes | Verdict::Partial) => {
            // A driver sets the queue up anew for such a socket.
            return match consent >= Disruption::TrafficPause {
                true => Ok(()),
                false => Err(
                    "zero-copy is not tried: it makes the queues pause, which [moves] disruption does not allow"
                        .to_owned(),
                ),
            };
        }
        Some(line) => line.why.first().map_or("", String::as_str),
        None => "nothing is known of it",
    };
    Err(format!("zero-copy is not tried: {why}"))
}

/// How to bind sockets to its queues, or why what is for workers goes through
/// the port. `zero_copy` is what [`worth_a_bind`] says.
///
/// # Errors
/// The reason, as a person reads it.
pub fn ways(
    setting: UplinkSockets,
    uplink: &Uplink,
    zero_copy: Result<(), String>,
) -> Result<Ways, String> {
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
    let why = match (setting, zero_copy) {
        (UplinkSockets::ZeroCopy, _) | (UplinkSockets::Auto, Ok(())) => {
            return Ok(Ways {
                binds: &[Bind::ZeroCopy, Bind::Copy],
                why: String::new(),
            });
        }
        (UplinkSockets::Auto, Err(why)) => why,
        (UplinkSockets::Copy | UplinkSockets::Off, _) => String::new(),
    };
    Ok(Ways {
        binds: &[Bind::Copy],
        why,
    })
}

/// Ethernet and two VLAN tags.
const HEADERS: u32 = 14 + 8;

#[cfg(test)]
mod tests {
    use super::*;
    use terrace_offload::facts::Confidence;
    use terrace_offload::verdict::NicTier;

    fn nic() -> Uplink {
        Uplink {
            iface: "up0".to_owned(),
            kind: String::new(),
            tier: Some(Tier::XdpNative),
            mtu: 1_500,
            n_queues: 4,
        }
    }

    fn veth() -> Uplink {
        Uplink {
            kind: "veth".to_owned(),
            ..nic()
        }
    }

    const BOTH: &[Bind] = &[Bind::ZeroCopy, Bind::Copy];
    const COPY: &[Bind] = &[Bind::Copy];

    type Row = (
        &'static str,
        UplinkSockets,
        Uplink,
        Result<&'static [Bind], &'static str>,
    );

    /// Uplinks where zero-copy is worth a bind.
    fn rows() -> Vec<Row> {
        use UplinkSockets::{Auto, Copy, Off, ZeroCopy};
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
        vec![
            ("zero-copy where it is expected", Auto, nic(), Ok(BOTH)),
            ("and where it is asked for", ZeroCopy, nic(), Ok(BOTH)),
            ("copy is what it says", Copy, nic(), Ok(COPY)),
            ("auto leaves a veth out", Auto, veth(), Err("checksums")),
            ("a veth can be asked for", Copy, veth(), Ok(COPY)),
            ("off is off", Off, nic(), Err("is off")),
            ("not on generic XDP", Copy, generic, Err("xdp-generic")),
            ("not without XDP", Copy, none, Err("served on tc")),
            (
                "a large packet needs the port",
                Copy,
                jumbo,
                Err("3818 does"),
            ),
            ("the largest that fits", Auto, largest, Ok(BOTH)),
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
            let found = ways(setting, &uplink, Ok(()));
            match (found, expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found.binds, expected, "{name}"),
                (Err(why), Err(part)) => assert!(why.contains(part), "{name}: {why}"),
                (found, _) => panic!("{name}: {found:?}"),
            }
        }
    }

    #[test]
    fn zero_copy_is_tried_where_the_report_expects_it_and_else_there_is_a_reason() {
        let line = |verdict, why: &str| TierVerdict {
            tier: NicTier::AfxdpZc,
            verdict,
            why: vec![why.to_owned()],
            confidence: Confidence::Declared,
            blockers: Vec::new(),
        };
        let yes = line(Verdict::Yes, "the kernel lists it");
        let some = line(Verdict::Partial, "tc does the same for less");
        let no = line(Verdict::No, "kernel lists no AF_XDP zero-copy");
        let fixable = line(Verdict::AfterFix, "the MTU is too large");
        let (pause, none) = (Disruption::TrafficPause, Disruption::None);
        let rows = [
            ("it is expected", Some(&yes), pause, ""),
            ("also where it is worth less", Some(&some), pause, ""),
            ("never in spite of the operator", Some(&yes), none, "pause"),
            (
                "not where it is denied",
                Some(&no),
                pause,
                "kernel lists no",
            ),
            ("not before a fix", Some(&fixable), pause, "too large"),
            ("not of the unknown", None, pause, "nothing is known"),
        ];
        for (name, expected, consent, part) in rows {
            let found = worth_a_bind(expected, consent);
            let auto = ways(UplinkSockets::Auto, &nic(), found.clone()).unwrap();
            assert_eq!(auto.try_zero_copy(), found.is_ok(), "{name}");
            let why = found.err().unwrap_or_default();
            assert_eq!(why, auto.why, "{name}");
            assert!(
                why.contains(part) && why.is_empty() == part.is_empty(),
                "{name}: {why}"
            );
        }
    }
}
