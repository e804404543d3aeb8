//! Facts to verdicts of tiers.

use terrace_offload::facts::Confidence;
use terrace_offload::verdict::{NicTier, Verdict};

use crate::case::Case;

type Row = (
    &'static str,
    &'static str,
    &'static str,
    NicTier,
    Verdict,
    Confidence,
    &'static str,
);

fn rows() -> Vec<Row> {
    use Confidence::{Computed, Contradicted, Declared, Profile, Unknown as Nobody, Verified};
    use NicTier::{AfxdpCopy, AfxdpZc, HwEbpf, HwNic, HwSwitch, Tc, XdpGeneric, XdpNative};
    use Verdict::{AfterFix, No, Partial, Unknown, Yes};
    let fire = "virtio.f.ctrl_guest_offloads=false virtio.f.guest_csum_or_tso=true feat.rx-gro-hw=on-fixed feat.hw-tc-offload=off-fixed feat.rx-ntuple-filter=off-fixed xdp.features=[basic,redirect,xsk-zerocopy,rx-sg] ntuple=!false";
    let all = "xdp.features=[basic,redirect,xsk-zerocopy,rx-sg]";
    vec![
        (
            "Firecracker lists native XDP and refuses it",
            "virtio_net",
            fire,
            XdpNative,
            No,
            Contradicted,
            "cannot be switched off",
        ),
        (
            "zero-copy needs native XDP",
            "virtio_net",
            fire,
            AfxdpZc,
            No,
            Computed,
            "needs native XDP",
        ),
        (
            "no table of rules, no flower",
            "virtio_net",
            fire,
            HwNic,
            No,
            Declared,
            "hw-tc-offload",
        ),
        (
            "no switch",
            "virtio_net",
            fire,
            HwSwitch,
            No,
            Declared,
            "no devlink switch",
        ),
        (
            "no program in the NIC",
            "virtio_net",
            fire,
            HwEbpf,
            No,
            Declared,
            "no eBPF program",
        ),
        (
            "generic runs anywhere",
            "virtio_net",
            fire,
            XdpGeneric,
            Yes,
            Profile,
            "runs on any interface",
        ),
        (
            "copy mode runs anywhere",
            "virtio_net",
            fire,
            AfxdpCopy,
            Yes,
            Profile,
            "since 4.18",
        ),
        ("tc with TCX", "virtio_net", fire, Tc, Yes, Declared, "TCX"),
        (
            "tc with clsact",
            "virtio_net",
            "tcx=false",
            Tc,
            Yes,
            Profile,
            "clsact",
        ),
        (
            "listed and nothing against it",
            "ice",
            all,
            XdpNative,
            Yes,
            Declared,
            "kernel lists native XDP",
        ),
        (
            "an old kernel has no list",
            "ice",
            "kernel=5.15",
            XdpNative,
            Yes,
            Profile,
            "driver ice has native XDP",
        ),
        (
            "between two trees that were read",
            "rvu_nicpf",
            "kernel=6.13",
            AfxdpZc,
            Unknown,
            Nobody,
            "was not read",
        ),
        (
            "a driver that nobody knows",
            "foo",
            "link.mtu=1500",
            XdpNative,
            Unknown,
            Nobody,
            "driver foo is not known",
        ),
        (
            "a driver that nobody knows, listed",
            "foo",
            all,
            XdpNative,
            Yes,
            Declared,
            "kernel lists native XDP",
        ),
        (
            "the list is empty",
            "foo",
            "xdp.features=[]",
            XdpNative,
            No,
            Declared,
            "lists no native XDP",
        ),
        (
            "mlx5 hides its bits while LRO is on",
            "mlx5_core",
            "xdp.features=[] feat.rx-lro=on",
            XdpNative,
            AfterFix,
            Computed,
            "large receive offload",
        ),
        (
            "a listed bit and a rule with a fix",
            "ena",
            "xdp.features=[basic] link.mtu=9001",
            XdpNative,
            AfterFix,
            Contradicted,
            "MTU 9001 is above 3498",
        ),
        (
            "a fix and a hindrance without one",
            "ena",
            "xdp.features=[basic] link.mtu=9001 channels.combined_max=1",
            XdpNative,
            No,
            Contradicted,
            "one queue",
        ),
        (
            "a trial beats the rules",
            "ena",
            "xdp.native=!true link.mtu=9001",
            XdpNative,
            Yes,
            Verified,
            "it works",
        ),
        (
            "a trial beats the list",
            "ice",
            "xdp.native=!false xdp.features=[basic]",
            XdpNative,
            No,
            Verified,
            "refused (-EINVAL)",
        ),
        (
            "a refused trial with a rule that explains it",
            "ena",
            "xdp.native=!false link.mtu=9001",
            XdpNative,
            AfterFix,
            Verified,
            "refused",
        ),
        (
            "no entry for XDP at all",
            "foo",
            "xdp.ndo_bpf=!false",
            XdpNative,
            No,
            Verified,
            "no entry for XDP",
        ),
        (
            "no driver support",
            "e1000e",
            "xdp.features=[]",
            XdpNative,
            No,
            Declared,
            "driver e1000e has no native XDP",
        ),
        (
            "veth loses to tc",
            "veth",
            all,
            XdpNative,
            Partial,
            Declared,
            "loses GSO",
        ),
        (
            "veth as an uplink does not",
            "veth",
            "xdp.features=[basic,redirect,rx-sg] for=uplink",
            XdpNative,
            Yes,
            Declared,
            "kernel lists",
        ),
        (
            "veth has no zero-copy",
            "veth",
            "xdp.features=[basic,redirect,rx-sg]",
            AfxdpZc,
            No,
            Declared,
            "no AF_XDP zero-copy",
        ),
        (
            "a jumbo frame fits no chunk",
            "virtio_net",
            "xdp.features=[basic,redirect,xsk-zerocopy] virtio.f.ctrl_guest_offloads=true link.mtu=9000 af_xdp.zc_max_segs=1 frags=true kernel=6.18",
            AfxdpZc,
            AfterFix,
            Contradicted,
            "does not fit",
        ),
        (
            "a VLAN has nothing of its own",
            "8021q",
            "id.kind=vlan xdp.features=[]",
            XdpNative,
            No,
            Declared,
            "is a VLAN",
        ),
        (
            "netkit claims what it has not",
            "netkit",
            "id.kind=netkit xdp.features=[basic,redirect]",
            XdpNative,
            No,
            Contradicted,
            "takes no XDP program",
        ),
        (
            "legacy mode can become switchdev",
            "mlx5_core",
            "switch_id=1 eswitch.mode=legacy feat.hw-tc-offload=on",
            HwSwitch,
            AfterFix,
            Computed,
            "legacy mode",
        ),
        (
            "switchdev",
            "mlx5_core",
            "switch_id=1 eswitch.mode=switchdev role=uplink feat.hw-tc-offload=on",
            HwSwitch,
            Yes,
            Declared,
            "flower rules",
        ),
        (
            "switchdev with its switch off",
            "mlx5_core",
            "switch_id=1 eswitch.mode=switchdev feat.hw-tc-offload=off",
            HwSwitch,
            AfterFix,
            Contradicted,
            "hw-tc-offload is off",
        ),
        (
            "a virtual function gives no rules",
            "mlx5_core",
            "switch_id=1 eswitch.mode=switchdev role=vf feat.hw-tc-offload=on",
            HwSwitch,
            No,
            Declared,
            "virtual function",
        ),
        (
            "a BlueField's host is not in charge",
            "mlx5_core",
            "id.pci=15b3:a2dc switch_id=1 eswitch.mode=legacy feat.hw-tc-offload=on",
            HwSwitch,
            No,
            Computed,
            "Arm cores own",
        ),
        (
            "flower on the plain port",
            "cxgb4",
            "feat.hw-tc-offload=on ntuple=false",
            HwNic,
            Yes,
            Profile,
            "flower rules",
        ),
        (
            "flower switched off",
            "cxgb4",
            "feat.hw-tc-offload=off feat.rx-ntuple-filter=off-fixed",
            HwNic,
            AfterFix,
            Computed,
            "hw-tc-offload is off",
        ),
        (
            "ntuple counts rules",
            "ixgbe",
            "ntuple=true feat.rx-ntuple-filter=on",
            HwNic,
            Yes,
            Declared,
            "counts classification rules",
        ),
        (
            "ntuple switched off",
            "ixgbe",
            "ntuple=true feat.rx-ntuple-filter=off",
            HwNic,
            AfterFix,
            Contradicted,
            "classifier are off",
        ),
        (
            "a sick NIC",
            "ixgbe",
            "ntuple=true devlink.unhealthy=fw_fatal",
            HwNic,
            No,
            Computed,
            "errors of itself",
        ),
        (
            "nfp with BPF firmware",
            "nfp",
            "devlink.fw.fw.app=bpf",
            HwEbpf,
            Yes,
            Profile,
            "eBPF in the NIC",
        ),
        (
            "nfp with flower firmware",
            "nfp",
            "devlink.fw.fw.app=flower",
            HwEbpf,
            No,
            Computed,
            "no eBPF program",
        ),
        (
            "nfp, firmware unknown",
            "nfp",
            "link.mtu=1500",
            HwEbpf,
            Yes,
            Profile,
            "eBPF in the NIC",
        ),
        (
            "netdevsim is never right",
            "netdevsim",
            "xdp.features=[basic,hw-offload]",
            HwEbpf,
            No,
            Contradicted,
            "test device",
        ),
        (
            "bnxt, several buffers",
            "bnxt_en",
            "xdp.features=[basic,redirect,rx-sg] link.mtu=9000 frags=true",
            XdpNative,
            Yes,
            Declared,
            "kernel lists",
        ),
        (
            "bnxt, one buffer",
            "bnxt_en",
            "xdp.features=[basic,redirect,rx-sg] link.mtu=9000",
            XdpNative,
            AfterFix,
            Contradicted,
            "MTU 9000",
        ),
        (
            "ice in safe mode",
            "ice",
            "devlink.fw.fw.app.name=null",
            XdpNative,
            No,
            Computed,
            "safe mode",
        ),
        (
            "somebody else's program",
            "ice",
            "xdp.features=[basic] xdp.foreign_prog=xdp_fw",
            XdpGeneric,
            AfterFix,
            Computed,
            "somebody else",
        ),
        (
            "no AF_XDP in the kernel",
            "ice",
            "af_xdp.copy=!false",
            AfxdpCopy,
            No,
            Verified,
            "refused",
        ),
    ]
}

#[test]
fn facts_lead_to_verdicts_with_reason_and_confidence() {
    let mut wrong = Vec::new();
    for (name, driver, facts, tier, verdict, confidence, words) in rows() {
        let judged = Case::new(driver, facts).judge();
        let line = judged.tiers.iter().find(|line| line.tier == tier).unwrap();
        let says = line.why.iter().any(|why| why.contains(words));
        if (line.verdict, line.confidence, says) != (verdict, confidence, true) {
            wrong.push(format!("{name}: {line:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_line_has_a_reason_and_what_is_unknown_is_never_no() {
    for (name, driver, facts, ..) in rows() {
        let judged = Case::new(driver, facts).judge();
        assert_eq!(judged.tiers.len(), NicTier::ALL.len(), "{name}");
        for line in &judged.tiers {
            assert!(
                !line.why.is_empty() && line.why.iter().all(|why| !why.is_empty()),
                "{name}"
            );
            if line.confidence == Confidence::Unknown {
                assert_eq!(line.verdict, Verdict::Unknown, "{name}: {line:?}");
            }
        }
    }
}

#[test]
fn the_best_tier_is_the_first_that_works_and_does_not_lose() {
    use NicTier::{AfxdpZc, HwEbpf, Tc, XdpNative};
    let rows = [
        ("veth", "veth", "xdp.features=[basic,redirect,rx-sg]", Tc),
        (
            "Firecracker",
            "virtio_net",
            "virtio.f.ctrl_guest_offloads=false virtio.f.guest_csum_or_tso=true xdp.features=[basic,redirect,xsk-zerocopy]",
            Tc,
        ),
        (
            "ice",
            "ice",
            "xdp.features=[basic,redirect,xsk-zerocopy]",
            AfxdpZc,
        ),
        (
            "bnxt",
            "bnxt_en",
            "xdp.features=[basic,redirect]",
            XdpNative,
        ),
        ("nfp", "nfp", "devlink.fw.fw.app=bpf", HwEbpf),
        ("lo", "lo", "xdp.features=[]", Tc),
        (
            "netdevsim",
            "netdevsim",
            "xdp.features=[basic,hw-offload]",
            Tc,
        ),
    ];
    for (name, driver, facts, expected) in rows {
        assert_eq!(
            Case::new(driver, facts).judge().best,
            Some(expected),
            "{name}"
        );
    }
}

#[test]
fn what_has_a_remedy_is_numbered_and_the_tiers_name_the_number() {
    let judged = Case::new("ena", "xdp.features=[basic] link.mtu=9001").judge();
    let numbered: Vec<_> = judged
        .blockers
        .iter()
        .filter(|b| b.number.is_some())
        .collect();
    assert_eq!(numbered.len(), 1);
    assert_eq!(numbered[0].id, "xdp.mtu");
    assert_eq!(
        numbered[0].fix.as_ref().unwrap().cmd,
        "ip link set dev eth0 mtu 3498"
    );
    assert_eq!(
        numbered[0].fix.as_ref().unwrap().undo,
        "ip link set dev eth0 mtu 9001"
    );
    let native = judged
        .tiers
        .iter()
        .find(|line| line.tier == NicTier::XdpNative)
        .unwrap();
    assert_eq!(native.blockers, [1]);
}

#[test]
fn a_rule_that_cannot_be_checked_is_told_with_what_it_needs() {
    let judged = Case::new("ena", "xdp.features=[basic]").judge();
    let queues = judged
        .unchecked
        .iter()
        .find(|rule| rule.id == "ena.queues")
        .unwrap();
    assert!(queues.needs.contains(&"channels.combined".to_owned()));
}

#[test]
fn every_fact_of_a_rule_is_one_that_reports_have() {
    use terrace_nic_profiles::Profiles;
    let pseudo = ["demand.", "driver.", "peer.", "bond.ports_"];
    let single = [
        "ifname",
        "role",
        "switch_id",
        "host.kernel_name",
        "xsk.chunk",
    ];
    let profiles = Profiles::shipped();
    let situations = profiles
        .situations()
        .flat_map(|s| s.rules.iter().flat_map(|r| &r.when).chain(&s.matches.when));
    let drivers = profiles.drivers().flat_map(|d| &d.rules);
    let rules = drivers
        .chain(profiles.common_rules())
        .flat_map(|rule| &rule.when);
    for predicate in rules.chain(situations) {
        for key in predicate.keys() {
            let known = terrace_offload::facts::keys::is_known(key)
                || single.contains(&key)
                || pseudo.iter().any(|prefix| key.starts_with(prefix));
            assert!(known, "{key} in {predicate}");
        }
    }
}
