//! What stands against XDP on an interface.

use crate::plan::Blocker;
use crate::{Capabilities, Interface, Tier, driver};

/// Why native XDP can't run on an uplink; `None` = it can. With `require` a
/// driver that nothing is known of is tried.
pub(crate) fn native_blocker(
    host: &Capabilities,
    iface: &Interface,
    require: bool,
) -> Option<Blocker> {
    taken(iface, Tier::XdpNative)
        .or_else(|| driver_blocker(host, iface, require))
        .or_else(|| mtu_blocker(iface))
        .or_else(|| lro_blocker(iface))
}

/// Why generic XDP can't run on an uplink; `None` = it can.
pub(crate) fn generic_blocker(iface: &Interface) -> Option<Blocker> {
    taken(iface, Tier::XdpGeneric)
}

fn blocker(tier: Tier, why: String, fix: String) -> Option<Blocker> {
    Some(Blocker {
        tier,
        why,
        fix,
        by_design: false,
    })
}

/// Somebody else has the place.
fn taken(iface: &Interface, tier: Tier) -> Option<Blocker> {
    let name = &iface.name;
    if let Some(program) = &iface.foreign_xdp {
        let why = format!("XDP program `{program}` of somebody else runs on {name}");
        return blocker(
            tier,
            why,
            format!("remove it: `ip link set dev {name} xdp off`"),
        );
    }
    let controller = iface.controller.as_ref()?;
    let why = format!("{name} is a port of {controller}, to which its packets belong");
    blocker(
        tier,
        why,
        format!("give {controller} the role of uplink in place of {name}"),
    )
}

fn driver_blocker(host: &Capabilities, iface: &Interface, require: bool) -> Option<Blocker> {
    let (tier, name) = (Tier::XdpNative, &iface.name);
    let known = driver(&iface.driver);
    let Some(known) = known else {
        if require {
            return None;
        }
        let why = match iface.driver.as_str() {
            "" => format!("{name} does not tell its driver"),
            other => format!("driver {other} is not known to run XDP natively"),
        };
        return blocker(
            tier,
            why,
            "set the tier to \"require\" to try it all the same".to_owned(),
        );
    };
    let Some(since) = known.native_since else {
        let why = format!("driver {} has no native XDP", iface.driver);
        let fix = "use a NIC whose driver has it (ice, i40e, mlx5, bnxt, ena, virtio_net, ...)";
        return blocker(tier, why, fix.to_owned());
    };
    if host.kernel < since {
        let why = format!(
            "driver {} runs XDP natively since Linux {since}, this is {}",
            iface.driver, host.kernel
        );
        return blocker(tier, why, format!("run Linux {since} or later"));
    }
    None
}

fn mtu_blocker(iface: &Interface) -> Option<Blocker> {
    let known = driver(&iface.driver)?;
    if known.max_mtu == 0 || iface.mtu <= known.max_mtu {
        return None;
    }
    let why = format!(
        "MTU {} is above the {} bytes that driver {} takes in one XDP buffer",
        iface.mtu, known.max_mtu, iface.driver
    );
    let fix = format!(
        "`ip link set dev {} mtu {}`, if the network allows",
        iface.name, known.max_mtu
    );
    blocker(Tier::XdpNative, why, fix)
}

fn lro_blocker(iface: &Interface) -> Option<Blocker> {
    if !iface.lro {
        return None;
    }
    let why = format!(
        "large receive offload is on at {}: XDP needs packets as they came",
        iface.name
    );
    blocker(
        Tier::XdpNative,
        why,
        format!("`ethtool -K {} lro off`", iface.name),
    )
}
