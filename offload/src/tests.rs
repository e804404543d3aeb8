//! Rows of the planner: one interface, wishes, what comes out.

use crate::{Capabilities, Interface, KernelVersion, Role, Task, Tier, Wish, Wishes, plan};

fn uplink(driver: &str) -> Interface {
    Interface {
        name: "up0".to_owned(),
        role: Role::Uplink,
        driver: driver.to_owned(),
        mtu: 1500,
        controller: None,
        foreign_xdp: None,
        lro: false,
    }
}

fn workload(driver: &str) -> Interface {
    Interface {
        role: Role::Workload,
        ..uplink(driver)
    }
}

fn host(iface: Interface) -> Capabilities {
    Capabilities {
        kernel: KernelVersion(6, 12),
        tcx: true,
        interfaces: vec![iface],
    }
}

fn wishes(rows: &[(Task, Tier, Wish)]) -> Wishes {
    let mut wishes = Wishes::default();
    for (task, tier, wish) in rows {
        wishes.set("up0", *task, *tier, *wish);
    }
    wishes
}

type Row = (
    &'static str,
    Interface,
    &'static [(Task, Tier, Wish)],
    Tier,
    &'static str,
);

/// Where `steer` goes, and words of its reason or of a blocker or its fix.
fn steer_rows() -> Vec<Row> {
    use Task::{Prefilter, Steer};
    use Tier::{Tc, XdpGeneric, XdpNative};
    use Wish::{Forbid, Require};
    let old = Interface {
        lro: true,
        ..uplink("ixgbe")
    };
    let port = Interface {
        controller: Some("bond0".to_owned()),
        ..uplink("ice")
    };
    let taken = Interface {
        foreign_xdp: Some("xdp_fw".to_owned()),
        ..uplink("ice")
    };
    let jumbo = Interface {
        mtu: 9000,
        ..uplink("mlx5_core")
    };
    vec![
        (
            "native driver",
            uplink("ice"),
            &[],
            XdpNative,
            "driver ice runs XDP natively",
        ),
        (
            "veth uplink",
            uplink("veth"),
            &[],
            XdpNative,
            "tc stays armed",
        ),
        (
            "no native driver",
            uplink("e1000e"),
            &[],
            Tc,
            "driver e1000e has no native XDP",
        ),
        (
            "generic loses to tc",
            uplink("e1000e"),
            &[],
            Tc,
            "generic XDP is slower than tc",
        ),
        (
            "unknown driver",
            uplink("foo"),
            &[],
            Tc,
            "driver foo is not known",
        ),
        (
            "unknown driver, asked",
            uplink("foo"),
            &[(Steer, XdpNative, Require)],
            XdpNative,
            "tried",
        ),
        (
            "no driver told",
            uplink(""),
            &[],
            Tc,
            "does not tell its driver",
        ),
        (
            "driver of a later kernel",
            uplink("idpf"),
            &[],
            Tc,
            "since Linux 6.18, this is 6.12",
        ),
        (
            "large MTU",
            jumbo,
            &[],
            Tc,
            "MTU 9000 is above the 3498 bytes",
        ),
        ("LRO on", old, &[], Tc, "ethtool -K up0 lro off"),
        ("port of a bond", port, &[], Tc, "give bond0 the role"),
        (
            "foreign program",
            taken,
            &[],
            Tc,
            "`xdp_fw` of somebody else",
        ),
        (
            "forbidden",
            uplink("ice"),
            &[(Steer, XdpNative, Forbid)],
            Tc,
            "forbids xdp-native for steer",
        ),
        (
            "companion forbidden",
            uplink("ice"),
            &[(Prefilter, XdpNative, Forbid)],
            Tc,
            "forbids xdp-native for prefilter",
        ),
        (
            "tc required",
            uplink("ice"),
            &[(Steer, Tc, Require)],
            Tc,
            "requires tc for steer",
        ),
        (
            "generic required",
            uplink("ice"),
            &[(Steer, XdpGeneric, Require)],
            XdpGeneric,
            "required by the configuration",
        ),
        (
            "companion required",
            uplink("ice"),
            &[(Prefilter, XdpGeneric, Require)],
            XdpGeneric,
            "runs in the same program",
        ),
        (
            "workload veth",
            workload("veth"),
            &[],
            Tc,
            "XDP on veth loses GSO",
        ),
        (
            "workload tap",
            workload("tun"),
            &[],
            Tc,
            "workloads are served in tc",
        ),
    ]
}

#[test]
fn steer_runs_on_the_best_tier_that_works_and_says_why_not_higher() {
    for (name, iface, wishes_of_row, tier, words) in steer_rows() {
        let plan = plan(&host(iface), &wishes(wishes_of_row));
        let steer = plan
            .placements
            .iter()
            .find(|placement| placement.task == Task::Steer);
        let steer = steer.unwrap_or_else(|| panic!("{name}: {:?}", plan.refusals));
        assert_eq!(steer.tier, tier, "{name}");
        let said = serde_json::to_string(steer).unwrap();
        assert!(said.contains(words), "{name}: {said}");
        assert!(plan.refusals.is_empty(), "{name}");
    }
}

#[test]
fn every_better_tier_has_one_blocker_with_a_fix() {
    for (name, iface, wishes_of_row, ..) in steer_rows() {
        for placement in plan(&host(iface), &wishes(wishes_of_row)).placements {
            let better: Vec<Tier> = [Tier::Nic, Tier::XdpNative, Tier::XdpGeneric, Tier::Tc]
                .into_iter()
                .filter(|tier| *tier < placement.tier)
                .collect();
            let blocked: Vec<Tier> = placement.blockers.iter().map(|b| b.tier).collect();
            assert_eq!(blocked, better, "{name}: {}", placement.task);
            assert!(
                placement
                    .blockers
                    .iter()
                    .all(|b| !b.why.is_empty() && !b.fix.is_empty())
            );
        }
    }
}

/// Name, interface, wishes, the task that is refused, words of why.
type RefusedRow = (
    &'static str,
    Interface,
    &'static [(Task, Tier, Wish)],
    Task,
    &'static str,
);

#[test]
fn wishes_that_cannot_be_met_are_refused() {
    use Task::{Deliver, Prefilter, Steer};
    use Tier::{Nic, Tc, Worker, XdpGeneric, XdpNative};
    use Wish::{Forbid, Require};
    let rows: [RefusedRow; 7] = [
        (
            "no native driver",
            uplink("e1000e"),
            &[(Steer, XdpNative, Require)],
            Steer,
            "no native XDP",
        ),
        (
            "NIC",
            uplink("ice"),
            &[(Prefilter, Nic, Require)],
            Prefilter,
            "no work into NICs",
        ),
        (
            "worker",
            uplink("ice"),
            &[(Steer, Worker, Require)],
            Steer,
            "never runs on tier worker",
        ),
        (
            "XDP for a workload",
            workload("veth"),
            &[(Steer, XdpNative, Require)],
            Steer,
            "loses GSO",
        ),
        (
            "deliver in XDP",
            uplink("ice"),
            &[(Deliver, XdpNative, Require)],
            Deliver,
            "on to tc",
        ),
        (
            "only tc, forbidden",
            uplink("e1000e"),
            &[(Steer, Tc, Forbid)],
            Steer,
            "forbids tc for steer",
        ),
        (
            "two modes at once",
            uplink("ice"),
            &[
                (Steer, XdpNative, Require),
                (Prefilter, XdpGeneric, Require),
            ],
            Steer,
            "same program",
        ),
    ];
    for (name, iface, wishes_of_row, task, words) in rows {
        let plan = plan(&host(iface), &wishes(wishes_of_row));
        let refusal = plan.refusals.iter().find(|refusal| refusal.task == task);
        let refusal = refusal.unwrap_or_else(|| panic!("{name}: {:?}", plan.placements));
        assert!(refusal.why.contains(words), "{name}: {}", refusal.why);
    }
}

#[test]
fn only_what_the_machine_lacks_is_a_fallback() {
    let rows = [
        ("native", uplink("ice"), vec![], false),
        ("no native driver", uplink("e1000e"), vec![], true),
        (
            "forbidden",
            uplink("ice"),
            vec![(Task::Steer, Tier::XdpNative, Wish::Forbid)],
            false,
        ),
        ("workload", workload("veth"), vec![], false),
    ];
    for (name, iface, wishes_of_row, expected) in rows {
        let plan = plan(&host(iface), &wishes(&wishes_of_row));
        let fallback = plan
            .placements
            .iter()
            .any(|placement| placement.is_fallback());
        assert_eq!(fallback, expected, "{name}");
    }
}

#[test]
fn an_interface_has_one_xdp_program_or_none() {
    let rows = [
        (uplink("ice"), Some(Tier::XdpNative)),
        (uplink("e1000e"), None),
        (workload("veth"), None),
    ];
    for (iface, expected) in rows {
        assert_eq!(plan(&host(iface), &Wishes::default()).xdp("up0"), expected);
    }
}

#[test]
fn without_tcx_the_reason_says_clsact() {
    let host = Capabilities {
        tcx: false,
        ..host(workload("veth"))
    };
    let plan = plan(&host, &Wishes::default());
    assert!(
        plan.placements
            .iter()
            .all(|placement| placement.reason.contains("clsact"))
    );
}

#[test]
fn kernel_versions_are_read_from_uname() {
    let rows = [
        ("6.12.43+deb13-amd64", Some(KernelVersion(6, 12))),
        ("6.1-rc2", Some(KernelVersion(6, 1))),
        ("6", None),
        ("x.y", None),
    ];
    for (text, expected) in rows {
        assert_eq!(text.parse().ok(), expected, "{text}");
    }
}
