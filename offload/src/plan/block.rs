//! What keeps a task from a tier.

use terrace_nic_profiles::Target;

use super::{Blocker, Front, Site, companions};
use crate::facts::Confidence;
use crate::judge::Finding;
use crate::verdict::{Disruption, Verdict};
use crate::{Role, Task, Tier, Wish};

pub(super) const NOTHING: &str = "nothing to do";
const OTHER_NIC: &str =
    "use a NIC whose driver has it (ice, i40e, mlx5, bnxt, ena, virtio_net, ...)";

pub(super) fn blocker(
    tier: Tier,
    why: impl Into<String>,
    fix: impl Into<String>,
    by_design: bool,
) -> Blocker {
    Blocker {
        tier,
        why: why.into(),
        fix: fix.into(),
        undo: String::new(),
        disruption: Disruption::None,
        rules: Vec::new(),
        by_design,
    }
}

impl Site<'_> {
    /// What keeps a task from a tier; `None` = nothing.
    pub(super) fn blocker(
        &self,
        task: Task,
        tier: Tier,
        required: bool,
        front: Option<&Front>,
    ) -> Option<Blocker> {
        let design = |why: String, fix: &str| Some(blocker(tier, why, fix, true));
        let forbids = |other: &&Task| self.wish(**other, tier) == Wish::Forbid;
        if let Some(by) = companions(task, self.demand.role).iter().find(forbids) {
            let why = format!(
                "the configuration forbids {tier} for {by} on {}",
                self.name()
            );
            return design(why, &format!("set tiers.{by}.{tier} to \"auto\""));
        }
        match (tier, self.demand.role, task) {
            (Tier::Tc, ..) => None,
            (Tier::Nic, ..) => self.nic_blocker(task, front, required),
            (_, Role::Workload, _) if self.is_veth() => design(
                "XDP on veth loses GSO, GRO and checksum offload: slower than tc".to_owned(),
                NOTHING,
            ),
            (_, Role::Workload, _) => design(
                "workloads are served in tc, where GSO and checksum offload stay".to_owned(),
                NOTHING,
            ),
            (_, Role::Uplink, Task::Policy | Task::Deliver) => design(
                format!(
                    "XDP passes packets of local workloads on to tc, where {task} keeps their offloads"
                ),
                NOTHING,
            ),
            (Tier::XdpNative, Role::Uplink, _) => self.native_blocker(required),
            (_, Role::Uplink, _) if required => self.generic_blocker(),
            _ => design(
                "generic XDP is slower than tc, and is taken only when it is asked for".to_owned(),
                &format!("set tiers.{task}.{tier} to \"require\" to have it all the same"),
            ),
        }
    }

    fn is_veth(&self) -> bool {
        let facts = self.subject.facts();
        facts.text("id.driver") == Some("veth") || facts.text("id.kind") == Some("veth")
    }

    /// Rules stand in front of a tier; a task is in the NIC when all its rules
    /// are, and it has no other work.
    fn nic_blocker(&self, task: Task, front: Option<&Front>, required: bool) -> Option<Blocker> {
        let no = |why: String| Some(blocker(Tier::Nic, why, NOTHING, true));
        if let Some(state) = self.nic(task) {
            return state.blocker(required);
        }
        if let Some((noun, state)) = self.share(task) {
            return Some(state.share_blocker(noun));
        }
        if task != Task::Prefilter {
            return no("it needs tables that no NIC has".to_owned());
        }
        if !self.policy.nic_rules {
            let could = match front {
                Some(front) if front.fit > 0 => {
                    format!(
                        " ({} of {} rules would fit {})",
                        front.fit, front.of, front.tier
                    )
                }
                _ => String::new(),
            };
            return no(format!("only a daemon puts rules into its NICs{could}"));
        }
        let Some(front) = front else {
            return no("there are no rules that a NIC could take".to_owned());
        };
        let unfit = front.unfit.as_ref()?;
        let by_design = front.blocked_by.is_none();
        Some(Blocker {
            rules: front.blocked_by.iter().cloned().collect(),
            ..blocker(
                Tier::Nic,
                format!("rule {} of {}: {}", front.fit + 1, front.of, unfit.why),
                unfit.fix.as_deref().unwrap_or(NOTHING),
                by_design,
            )
        })
    }

    fn native_blocker(&self, required: bool) -> Option<Blocker> {
        let tier = Tier::XdpNative;
        let first = self.port_blocker(tier).or_else(|| self.refused(tier));
        if let Some(blocker) = first.or_else(|| self.held(tier, required)) {
            return Some(blocker);
        }
        let runs = self.demand.running == Some(Tier::XdpNative);
        let taken = |finding: &&Finding<'_>| finding.rule.id == "xdp.foreign";
        let mut denials = self.abilities.denials(Target::XdpNative);
        if runs {
            denials.retain(|finding| taken(finding));
        }
        let ability = self.abilities.get(Target::XdpNative);
        let proved = ability.confidence == Confidence::Verified && ability.verdict == Verdict::Yes;
        if !denials.is_empty() && !proved {
            return Some(of_denials(tier, &denials));
        }
        if runs || proved {
            return self.guard(required);
        }
        match ability.verdict {
            Verdict::Yes | Verdict::Partial => {
                self.trust(required).or_else(|| self.guard(required))
            }
            Verdict::Unknown if required => None,
            Verdict::Unknown => Some(blocker(
                Tier::XdpNative,
                ability.why.join("; "),
                "set the tier to \"require\" to try it all the same",
                false,
            )),
            Verdict::No | Verdict::AfterFix => Some(blocker(
                Tier::XdpNative,
                ability.why.join("; "),
                match ability.confidence {
                    Confidence::Verified => "see the kernel's log (dmesg), or forbid the tier",
                    _ => OTHER_NIC,
                },
                false,
            )),
        }
    }

    /// The kernel was asked, and refused; a rule may know why.
    fn refused(&self, tier: Tier) -> Option<Blocker> {
        let why = self.demand.refused.get(&tier)?;
        let rule = self.subject.known.explain_text("attach_drv", why);
        let facts = |key: &str| self.subject.value(key);
        let fix = rule.and_then(|rule| rule.fix.as_ref()).map(|fix| {
            let (cmd, note) = (fix.cmd.fill(&facts), fix.note.fill(&facts));
            if cmd.is_empty() {
                note
            } else {
                format!("`{cmd}`")
            }
        });
        let fix = fix.unwrap_or_else(|| "see the kernel's log (dmesg), or forbid the tier".into());
        Some(Blocker {
            rules: rule.iter().map(|rule| rule.id.clone()).collect(),
            ..blocker(tier, why, fix, false)
        })
    }

    /// A better tier than the running one has to wait.
    fn held(&self, tier: Tier, required: bool) -> Option<Blocker> {
        let held = self.demand.held.as_ref().filter(|_| !required)?;
        let better = self.demand.running.is_none_or(|running| tier < running);
        let fix = match held.flaps {
            true => "find out what changes so often; `terrace status` has the events",
            false => NOTHING,
        };
        better.then(|| blocker(tier, held.why.as_str(), fix, !held.flaps))
    }

    /// What only a profile says is not planned on where nothing proves it.
    fn trust(&self, required: bool) -> Option<Blocker> {
        let ability = self.abilities.get(Target::XdpNative);
        let only_profile = ability.confidence < Confidence::Declared;
        if required || self.policy.trust_profile || !only_profile {
            return None;
        }
        Some(blocker(
            Tier::XdpNative,
            format!("only the profile says so: {}", ability.why.join("; ")),
            "`terrace nic --mode active` on that machine proves it; --trust-profile believes it",
            false,
        ))
    }

    /// Attaching would interrupt the link, and nobody has said that it may.
    fn guard(&self, required: bool) -> Option<Blocker> {
        let effect = self.attach_effect();
        let disruption = effect.as_ref().map_or(Disruption::None, |(_, d)| *d);
        let runs = self.demand.running == Some(Tier::XdpNative);
        let felt = self.demand.served && !runs;
        if !felt || required || disruption <= self.policy.consent {
            return None;
        }
        let effect = effect.map_or_else(String::new, |(name, _)| name);
        let name = self.name();
        Some(Blocker {
            disruption,
            ..blocker(
                Tier::XdpNative,
                format!(
                    "attaching does a {effect} of {name} ({})",
                    disruption.name()
                ),
                "restart the daemon at a quiet time, or set moves.disruption in the configuration",
                false,
            )
        })
    }

    /// What the first attach does, by the report or by the profile.
    pub(super) fn attach_effect(&self) -> Option<(String, Disruption)> {
        let name = match self.subject.facts().text("xdp.attach_effect") {
            Some(name) => name.to_owned(),
            None => match self.subject.driver("attach_effect")? {
                terrace_nic_profiles::Value::Text(name) => name,
                _ => return None,
            },
        };
        let disruption = match name.as_str() {
            "none" => Disruption::None,
            "pause" | "pool_reload" => Disruption::TrafficPause,
            _ => Disruption::LinkFlap,
        };
        Some((name, disruption))
    }

    fn generic_blocker(&self) -> Option<Blocker> {
        let denials = self.abilities.denials(Target::XdpGeneric);
        self.port_blocker(Tier::XdpGeneric)
            .or_else(|| self.refused(Tier::XdpGeneric))
            .or_else(|| (!denials.is_empty()).then(|| of_denials(Tier::XdpGeneric, &denials)))
    }

    /// A port's packets belong to what it is a port of.
    fn port_blocker(&self, tier: Tier) -> Option<Blocker> {
        let name = self.name();
        let controller = self.subject.facts().text("link.controller")?;
        Some(blocker(
            tier,
            format!("{name} is a port of {controller}, to which its packets belong"),
            format!("give {controller} the role of uplink in place of {name}"),
            false,
        ))
    }
}

/// All that denies a tier, and all that has to be done.
fn of_denials(tier: Tier, denials: &[&Finding<'_>]) -> Blocker {
    let fixes = || denials.iter().filter_map(|finding| finding.fix.as_ref());
    let join = |texts: Vec<String>, by: &str| {
        let mut texts: Vec<String> = texts.into_iter().filter(|text| !text.is_empty()).collect();
        texts.dedup();
        texts.join(by)
    };
    let remedy = |finding: &&Finding<'_>| match &finding.fix {
        Some(fix) if !fix.cmd.is_empty() => format!("`{}`", fix.cmd),
        Some(fix) => fix.note.clone(),
        None => String::new(),
    };
    let fix = join(denials.iter().map(remedy).collect(), ", and ");
    let hopeless = denials.iter().any(|finding| finding.fix.is_none());
    let fix = match (hopeless, fix.is_empty()) {
        (true, _) | (_, true) => OTHER_NIC.to_owned(),
        _ => fix,
    };
    Blocker {
        undo: join(fixes().map(|fix| fix.undo.clone()).collect(), " && "),
        disruption: fixes().map(|fix| fix.disruption).max().unwrap_or_default(),
        rules: denials
            .iter()
            .map(|finding| finding.rule.id.clone())
            .collect(),
        ..blocker(
            tier,
            join(
                denials.iter().map(|finding| finding.why.clone()).collect(),
                "; ",
            ),
            fix,
            false,
        )
    }
}
