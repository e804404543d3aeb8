//! Trials: what is found out by doing it, and undone at once. Here it is decided
//! what may be tried, and what an answer means; [`crate::ask`] does it.

use super::survey::{Entries, Entry, Mode, Options, probe};
use crate::ask::{Answers, No, Question, Said};
use crate::decode::netdev;
use crate::facts::{Fact, HostFacts, Probe, ProbeResult, SideEffect};

/// One thing that can be tried.
struct Trial {
    name: &'static str,
    /// From this mode on.
    mode: Mode,
    effect: SideEffect,
    /// The word of `--allow`; empty = the mode is enough.
    allow: &'static str,
}

const fn preload(name: &'static str, effect: SideEffect) -> Trial {
    Trial {
        name,
        mode: Mode::Preload,
        effect,
        allow: "",
    }
}

const fn active(name: &'static str, effect: SideEffect, allow: &'static str) -> Trial {
    Trial {
        name,
        mode: Mode::Active,
        effect,
        allow,
    }
}

const TRIALS: &[Trial] = &[
    preload("prog_load", SideEffect::ProgramLoadedAndFreed),
    preload("prog_load_dev_bound", SideEffect::ProgramLoadedAndFreed),
    preload("prog_load_ifindex", SideEffect::ProgramLoadedAndFreed),
    preload("map_create_ifindex", SideEffect::ProgramLoadedAndFreed),
    preload("xsk_bind_copy", SideEffect::None),
    active("attach_drv", SideEffect::LinkFlap, "attach"),
    active("attach_drv_frags", SideEffect::LinkFlap, "attach"),
    active("xsk_bind_zc", SideEffect::QueueReset, "xsk"),
    active("flower_skip_sw", SideEffect::RuleAddedAndRemoved, "flower"),
    active("ntuple_insert", SideEffect::RuleAddedAndRemoved, "ntuple"),
];

/// Tries what the options allow, and lists what was not tried.
pub(super) fn ask(
    machine: &mut dyn Answers,
    host: &HostFacts,
    options: &Options,
    entries: &mut Entries,
) {
    for entry in entries.values_mut() {
        for trial in TRIALS {
            if let Some(why_not) = why_not(trial, host, options, entry) {
                entry.facts.probes.push(Probe {
                    name: trial.name.to_owned(),
                    result: ProbeResult::NotRun,
                    why_not: Some(why_not),
                    ..Probe::default()
                });
                continue;
            }
            let answer = machine.ask(&Question::Trial {
                name: trial.name,
                ifindex: entry.link.ifindex,
                iface: entry.facts.name.clone(),
            });
            let mut told = probe(trial.name, answer.as_ref().map(drop));
            told.side_effect = trial.effect;
            entry.facts.probes.push(told);
            learn(trial.name, &answer, entry);
        }
    }
}

/// Why something is not tried; `None` = it is.
fn why_not(trial: &Trial, host: &HostFacts, options: &Options, entry: &Entry) -> Option<String> {
    let facts = &entry.facts.facts;
    let is = |key: &str, value: bool| facts.bool(key) == Some(value);
    if trial.mode == Mode::Preload {
        let later = options.mode < Mode::Preload;
        return later.then(|| "needs --mode preload".to_owned());
    }
    let consent = &options.consent;
    let allowed = match trial.allow {
        "attach" => consent.attach,
        "xsk" => consent.xsk,
        "flower" => consent.flower,
        _ => consent.ntuple,
    };
    let named = options.interfaces.contains(&entry.facts.name);
    if trial.name == "flower_skip_sw" && host.config("NET_CLS_FLOWER") == Some("n") {
        Some("this kernel has no cls_flower".to_owned())
    } else if trial.name == "ntuple_insert" && is("ntuple", false) {
        Some("the driver has no table of rules".to_owned())
    } else if options.mode < Mode::Active || !allowed {
        Some(format!(
            "needs consent: --mode active --allow {}",
            trial.allow
        ))
    } else if !named {
        Some("not named".to_owned())
    } else if is("link.default_route", true) && !consent.default_route {
        let why = "the default route leaves here: --allow default-route";
        Some(why.to_owned())
    } else if trial.allow == "attach" || trial.allow == "xsk" {
        occupied(entry)
    } else {
        None
    }
}

/// Other programs and controllers are never displaced.
fn occupied(entry: &Entry) -> Option<String> {
    let facts = &entry.facts.facts;
    if facts
        .text("xdp.attached_mode")
        .is_some_and(|mode| mode != "none")
    {
        return Some("a program is attached already".to_owned());
    }
    let elsewhere = entry
        .facts
        .attach_to
        .iter()
        .find(|place| **place != entry.facts.name);
    elsewhere.map(|place| format!("its programs go to {place}"))
}

/// What an answer means.
fn learn(trial: &str, answer: &Result<Said, No>, entry: &mut Entry) {
    let source = format!("trial:{trial}");
    match trial {
        "prog_load_dev_bound" => driver_entry(&source, answer, entry),
        "prog_load_ifindex" => {
            let fact = plain(&source, answer, &["EINVAL", "EOPNOTSUPP"]);
            entry.fact("xdp.hw_offload", fact);
        }
        "xsk_bind_copy" => {
            let refused = ["EOPNOTSUPP", "EAFNOSUPPORT", "EPROTONOSUPPORT"];
            entry.fact("af_xdp.copy", plain(&source, answer, &refused));
        }
        "xsk_bind_zc" => {
            entry.fact("af_xdp.zero_copy", plain(&source, answer, &["EOPNOTSUPP"]));
        }
        "attach_drv" => {
            entry.fact("xdp.single_buffer", attached(&source, answer));
            while_attached(&source, answer, entry);
        }
        "attach_drv_frags" => frags(&source, answer, entry),
        "flower_skip_sw" => entry.fact("tc.flower_hw", flower(&source, answer)),
        "ntuple_insert" => {
            let refused = ["EOPNOTSUPP", "EINVAL"];
            entry.fact("ntuple.drop", plain(&source, answer, &refused));
        }
        _ => {}
    }
}

/// Yes, or no for these errors; anything else says nothing of the ability.
fn plain(source: &str, answer: &Result<Said, No>, refused: &[&str]) -> Fact {
    match answer {
        Ok(_) => Fact::verified(true, source),
        Err(no) if refused.contains(&no.no.as_str()) => {
            Fact::verified(false, source).with(no.evidence())
        }
        Err(no) => Fact::unknown(source, no.evidence()),
    }
}

/// Without an entry for XDP in the driver nothing native can be.
fn driver_entry(source: &str, answer: &Result<Said, No>, entry: &mut Entry) {
    let fact = plain(source, answer, &["EOPNOTSUPP"]);
    if fact.value.as_bool() == Some(false) {
        entry.fact("xdp.native", fact.clone());
        entry.fact("xdp.hw_offload", fact.clone());
    }
    entry.fact("xdp.ndo_bpf", fact);
}

/// Whether a program could be attached. Conflicts with other programs, and
/// missing rights, are no answer about the driver.
fn attached(source: &str, answer: &Result<Said, No>) -> Fact {
    match answer {
        Ok(said) if said.field("native").as_bool() == Some(false) => {
            Fact::verified(false, source).with("accepted, but no program is listed")
        }
        Ok(_) => Fact::verified(true, source),
        Err(no)
            if no.is_permission() || matches!(no.no.as_str(), "EBUSY" | "EEXIST" | "ENOMEM") =>
        {
            Fact::unknown(source, no.evidence())
        }
        Err(no) if no.no == No::RECORDED => Fact::unknown(source, no.evidence()),
        Err(no) => Fact::verified(false, source).with(no.evidence()),
    }
}

fn while_attached(source: &str, answer: &Result<Said, No>, entry: &mut Entry) {
    let features = answer
        .as_ref()
        .ok()
        .and_then(|said| said.field("xdp_features").as_int());
    let Some(word) = features.and_then(|word| u64::try_from(word).ok()) else {
        return;
    };
    for (key, bit) in [
        ("xdp.redirect_target", netdev::NDO_XMIT),
        ("xdp.frags_xmit", netdev::NDO_XMIT_SG),
    ] {
        let fact = Fact::verified(word & bit != 0, source).with(format!("{word:#x}"));
        entry.fact(key, fact);
    }
}

/// The second attach: with it, native XDP is known either way.
fn frags(source: &str, answer: &Result<Said, No>, entry: &mut Entry) {
    let with = attached(source, answer);
    let single = entry
        .facts
        .facts
        .get("xdp.single_buffer")
        .cloned()
        .unwrap_or_default();
    let native = match (single.value.as_bool(), with.value.as_bool()) {
        (Some(true), _) => single,
        (_, Some(true)) => {
            let only = single.evidence.unwrap_or_default();
            with.clone()
                .with(format!("with frags only; without: {only}"))
        }
        (Some(false), Some(false)) => single,
        _ => Fact::unknown(source, with.evidence.clone().unwrap_or_default()),
    };
    entry.fact("xdp.native", native);
    entry.fact("xdp.frags", with);
}

fn flower(source: &str, answer: &Result<Said, No>) -> Fact {
    match answer {
        Ok(said) => Fact::verified(said.field("in_hw"), source),
        Err(_) => plain(source, answer, &["EOPNOTSUPP", "EINVAL"]),
    }
}
