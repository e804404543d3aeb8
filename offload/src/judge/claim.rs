//! Who says that an interface can do something, before the rules are asked.

use terrace_nic_profiles::Target;

use crate::facts::{Confidence, InterfaceRole};
use crate::subject::Subject;

/// What the strongest source says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Claim {
    /// Yes, no, or `None` = nobody says.
    pub can: Option<bool>,
    pub confidence: Confidence,
    pub why: String,
    /// A no that no fix of a setting turns into a yes. The kernel's list is none:
    /// some drivers empty it while a setting is in the way.
    pub is_final: bool,
}

fn claim(can: bool, confidence: Confidence, why: impl Into<String>) -> Claim {
    Claim {
        can: Some(can),
        confidence,
        why: why.into(),
        is_final: !can,
    }
}

fn nobody(why: impl Into<String>) -> Claim {
    Claim {
        can: None,
        confidence: Confidence::Unknown,
        why: why.into(),
        is_final: false,
    }
}

/// The strongest source's word on an ability.
pub(crate) fn of(subject: &Subject<'_>, target: Target) -> Claim {
    match target {
        Target::XdpNative => listed(
            subject,
            target,
            "xdp.native",
            "basic",
            "native",
            "native XDP",
        ),
        Target::XdpFrags => listed(
            subject,
            target,
            "xdp.frags",
            "rx-sg",
            "frags",
            "multi-buffer XDP",
        ),
        Target::RedirectFrom => listed(
            subject,
            target,
            "xdp.redirect_from",
            "redirect",
            "redirect",
            "XDP_REDIRECT",
        ),
        Target::RedirectTarget => redirect_target(subject),
        Target::ZeroCopy => listed(
            subject,
            target,
            "af_xdp.zero_copy",
            "xsk-zerocopy",
            "zero_copy",
            "AF_XDP zero-copy",
        ),
        Target::HwEbpf => listed(
            subject,
            target,
            "xdp.hw_offload",
            "hw-offload",
            "hw_offload",
            "eBPF in the NIC",
        ),
        Target::Copy => copy(subject),
        Target::XdpGeneric => tried(subject, "xdp.generic")
            .unwrap_or_else(|| claim(true, Confidence::Profile, "runs on any interface")),
        Target::HwSwitch => hw_switch(subject),
        Target::HwFlower => hw_flower(subject),
        Target::HwNtuple => hw_ntuple(subject),
        Target::Tc => tc(subject),
    }
}

/// A trial's result.
fn tried(subject: &Subject<'_>, key: &str) -> Option<Claim> {
    let fact = subject.facts().get(key)?;
    let can = fact.value.as_bool()?;
    let verdict = if can {
        "tried, and it works"
    } else {
        "tried, and refused"
    };
    let evidence = fact.evidence.as_deref();
    let why = match evidence {
        Some(evidence) => format!("{verdict} ({evidence})"),
        None => verdict.to_owned(),
    };
    (fact.confidence == Confidence::Verified).then(|| Claim {
        is_final: false,
        ..claim(can, Confidence::Verified, why)
    })
}

/// An ability with a bit in the kernel's XDP feature word: a trial, the bit, the
/// profile.
fn listed(
    subject: &Subject<'_>,
    target: Target,
    key: &str,
    bit: &str,
    profile: &str,
    what: &str,
) -> Claim {
    if let Some(tried) = tried(subject, key) {
        return tried;
    }
    if target == Target::XdpNative && subject.facts().bool("xdp.ndo_bpf") == Some(false) {
        let why = "the driver has no entry for XDP";
        return claim(false, Confidence::Verified, why);
    }
    if let Some(can) = subject.lists(bit) {
        let why = match can {
            true => format!("kernel lists {what}"),
            false => format!("kernel lists no {what}; {}", known(subject, profile, what)),
        };
        return Claim {
            is_final: subject.driver_can(profile) != Some(true),
            ..claim(
                can,
                Confidence::Declared,
                why.trim_end_matches("; ").to_owned(),
            )
        };
    }
    of_profile(subject, profile, what)
}

fn of_profile(subject: &Subject<'_>, profile: &str, what: &str) -> Claim {
    let Some(driver) = subject.known.driver else {
        return nobody(match subject.value("id.driver") {
            Some(name) if name.to_string() != "none" => format!("driver {name} is not known"),
            _ => format!("{} does not tell its driver", subject.iface.name),
        });
    };
    match subject.driver_can(profile) {
        Some(true) => claim(
            true,
            Confidence::Profile,
            format!("driver {} has {what}", driver.name),
        ),
        Some(false) => claim(false, Confidence::Profile, known(subject, profile, what)),
        None => nobody(format!(
            "whether driver {} has {what} in this kernel was not read",
            driver.name
        )),
    }
}

/// Why the profiles say no; empty when they say something else.
fn known(subject: &Subject<'_>, profile: &str, what: &str) -> String {
    let Some(driver) = subject.known.driver else {
        return String::new();
    };
    if subject.driver_can(profile) != Some(false) {
        return String::new();
    }
    if let Some(cap) = subject.known.cap(profile) {
        return cap.why.clone();
    }
    let name = &driver.name;
    match driver.since(profile).and_then(|since| since.certain()) {
        Some((major, minor)) => {
            let kernel = subject.machine.host.version().unwrap_or_default();
            format!("driver {name} has {what} since Linux {major}.{minor}, this is {kernel}")
        }
        None => format!("driver {name} has no {what}"),
    }
}

/// The bit says nothing while no program is attached, on most drivers.
fn redirect_target(subject: &Subject<'_>) -> Claim {
    if let Some(tried) = tried(subject, "xdp.redirect_target") {
        return tried;
    }
    if subject.lists("ndo-xmit") == Some(true) {
        return claim(true, Confidence::Declared, "kernel lists ndo-xmit");
    }
    of_profile(subject, "xmit", "ndo_xdp_xmit")
}

fn copy(subject: &Subject<'_>) -> Claim {
    if let Some(tried) = tried(subject, "af_xdp.copy") {
        return tried;
    }
    match subject.machine.host.config("XDP_SOCKETS") {
        Some("n") => claim(
            false,
            Confidence::Declared,
            "the kernel has no AF_XDP (XDP_SOCKETS)",
        ),
        Some(_) => claim(true, Confidence::Profile, "the kernel has AF_XDP"),
        None => claim(true, Confidence::Profile, "Linux has AF_XDP since 4.18"),
    }
}

fn hw_switch(subject: &Subject<'_>) -> Claim {
    if subject.iface.switch_id.is_none() && subject.facts().text("eswitch.mode").is_none() {
        let why = "no devlink switch, no switch id";
        return claim(false, Confidence::Declared, why);
    }
    if matches!(subject.iface.role, InterfaceRole::Vf | InterfaceRole::Sf) {
        let why = "a virtual function gives no rules to the switch";
        return claim(false, Confidence::Declared, why);
    }
    let in_charge = subject.facts().text("eswitch.mode") == Some("switchdev");
    match (tried(subject, "tc.flower_hw"), in_charge) {
        (Some(tried), _) => tried,
        (None, true) => Claim {
            confidence: Confidence::Declared,
            ..of_profile(subject, "flower", "flower rules in the switch")
        },
        (None, false) => of_profile(subject, "flower", "flower rules in the switch"),
    }
}

fn hw_flower(subject: &Subject<'_>) -> Claim {
    if let Some(tried) = tried(subject, "tc.flower_hw") {
        return tried;
    }
    match subject.facts().text("feat.hw-tc-offload") {
        Some("off-fixed") => claim(false, Confidence::Declared, "hw-tc-offload off [fixed]"),
        _ => of_profile(subject, "flower", "flower rules"),
    }
}

fn hw_ntuple(subject: &Subject<'_>) -> Claim {
    let Some(fact) = subject.facts().get("ntuple") else {
        return of_profile(subject, "ntuple", "rules of the receive classifier");
    };
    // That there is a table proves neither that it is on nor that it can drop.
    match (fact.value.as_bool(), fact.confidence) {
        (Some(true), confidence) => claim(
            true,
            confidence.min(Confidence::Declared),
            "the driver counts classification rules",
        ),
        (Some(false), confidence) => claim(false, confidence, "no table of classification rules"),
        (None, _) => of_profile(subject, "ntuple", "rules of the receive classifier"),
    }
}

fn tc(subject: &Subject<'_>) -> Claim {
    match subject.machine.host.tcx {
        Some(true) => claim(
            true,
            Confidence::Declared,
            "TCX: keeps GSO and checksum offload",
        ),
        Some(false) => claim(
            true,
            Confidence::Profile,
            "clsact: keeps GSO and checksum offload",
        ),
        None => claim(true, Confidence::Profile, "keeps GSO and checksum offload"),
    }
}
