//! One NIC's part of a list, as a program or as rules.

use anyhow::{Context, Result, anyhow};
use std::collections::BTreeSet;

use terrace_abi::Maps;
use terrace_offload::classifier;
use terrace_offload::flower::{self, Kind, Port};
use terrace_offload::plan::Ways;
use terrace_offload::verdict::NicTier;
use terrace_xdp::nic::NicFilter;

use super::list::List;
use super::meter::Meter;
use crate::config::OffloadInto;
use crate::lifecycle::nic_rules::NicRules;
use crate::netlink::Link;
use crate::run::hooks::Hooks;

/// A way into a NIC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Program,
    Rules,
    Classifier,
}

impl Way {
    pub fn tier(self) -> NicTier {
        match self {
            Self::Program => NicTier::HwEbpf,
            Self::Rules => NicTier::HwSwitch,
            Self::Classifier => NicTier::HwNic,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Program => "offloaded program",
            Self::Rules => "flower",
            Self::Classifier => "ntuple",
        }
    }
}

/// The open ways, best first.
pub fn ways(into: OffloadInto, ways: &Ways) -> Vec<Way> {
    let all = [
        (Way::Program, OffloadInto::Program, &ways.program),
        (Way::Rules, OffloadInto::Flower, &ways.rules),
        (Way::Classifier, OffloadInto::Ntuple, &ways.classifier),
    ];
    let open = all
        .into_iter()
        .filter(|(_, only, way)| way.is_ok() && (into == OffloadInto::Auto || into == *only));
    open.map(|(way, ..)| way).collect()
}

/// What is in a NIC.
#[derive(Debug)]
pub enum Front {
    Program(NicFilter),
    Rules {
        kind: Kind,
        held: usize,
        counts: flower::Counts,
    },
    /// NICs do not count what these meet.
    Classified {
        held: usize,
        rules: BTreeSet<classifier::Rule>,
    },
}

/// With what a NIC is changed.
#[derive(Clone, Copy)]
pub struct Tools<'t> {
    pub hooks: &'t Hooks,
    pub maps: &'t Maps,
    pub record: &'t NicRules,
}

impl Front {
    /// Puts the start of a list there, and says why not more of it.
    ///
    /// # Errors
    /// The kernel's words.
    pub fn put(
        way: Way,
        tools: Tools<'_>,
        link: &Link,
        (list, limit): (&List, usize),
    ) -> Result<(Self, Option<String>), String> {
        match way {
            Way::Program => {
                let filter = NicFilter::attach(link.ifindex, list.sources(limit))
                    .map_err(|no| no.to_string())?;
                let next = filter.full.clone();
                Ok((Self::Program(filter), next))
            }
            Way::Rules => rules(tools, link, (list, limit)),
            Way::Classifier => classified(tools, link, (list, limit)),
        }
    }

    pub fn is_program(&self) -> bool {
        matches!(self, Self::Program(_))
    }

    pub fn program_id(&self) -> Option<u32> {
        match self {
            Self::Program(filter) => filter.id(),
            Self::Rules { .. } | Self::Classified { .. } => None,
        }
    }

    /// Entries that it holds.
    pub fn held(&self) -> usize {
        match self {
            Self::Program(filter) => filter.held,
            Self::Rules { held, .. } | Self::Classified { held, .. } => *held,
        }
    }

    /// Counts, and whether all of it is there still.
    pub fn look(&mut self, (ifindex, iface): (u32, &str), meter: &mut Meter) -> bool {
        match self {
            Self::Classified { rules, .. } => {
                let iface = iface.to_owned();
                classifier::holds(&mut classifier::Nic { iface }, rules).unwrap_or(false)
            }
            Self::Program(filter) => {
                if let Ok(count) = filter.counts() {
                    meter.note(count);
                }
                filter.is_attached(ifindex)
            }
            Self::Rules { kind, held, counts } => {
                let Ok(now) = flower::of_kind(&mut Port { ifindex }, *kind) else {
                    return false;
                };
                counts.note(&now);
                meter.note((counts.packets, counts.bytes));
                now.iter().filter(|rule| rule.in_hw).count() == *held && now.len() == *held
            }
        }
    }

    /// Takes it out. A program goes with its link.
    pub fn remove(self, tools: Tools<'_>, link: &Link) -> Result<()> {
        let failed = || format!("remove the rules from the NIC of {}", link.name);
        match self {
            Self::Program(filter) => drop(filter),
            Self::Rules { kind, .. } => {
                flower::clear_kind(link.ifindex, kind)
                    .map_err(|no| anyhow!(no.evidence()))
                    .with_context(failed)?;
                drop_qdisc(tools.hooks, tools.maps, link);
            }
            Self::Classified { .. } => {
                let cleared = tools.record.clear(link.ifindex, classifier::Kind::Deny);
                cleared
                    .map_err(|no| anyhow!(no.evidence()))
                    .with_context(failed)?;
            }
        }
        Ok(())
    }
}

fn classified(
    tools: Tools<'_>,
    link: &Link,
    (list, limit): (&List, usize),
) -> Result<(Front, Option<String>), String> {
    let sources = list.sources(limit).iter();
    let wanted: Vec<_> = sources.copied().map(classifier::Rule::Deny).collect();
    let outcome = tools
        .record
        .sync(link.ifindex, classifier::Kind::Deny, &wanted);
    let outcome = outcome.map_err(|no| no.evidence())?;
    let next = outcome.refused.map(|refused| refused.no.evidence());
    if outcome.held == 0 {
        return Err(next.unwrap_or_else(|| "the NIC holds none of the rules".to_owned()));
    }
    let front = Front::Classified {
        held: outcome.held,
        rules: outcome.owned,
    };
    Ok((front, next))
}

fn rules(
    Tools { hooks, maps, .. }: Tools<'_>,
    link: &Link,
    (list, limit): (&List, usize),
) -> Result<(Front, Option<String>), String> {
    hooks
        .make_qdisc(&link.name, link.ifindex)
        .map_err(|error| format!("{error:#}"))?;
    let mut port = Port {
        ifindex: link.ifindex,
    };
    let (kind, rules) = (list.kind(), list.rules(limit));
    let outcome = flower::sync(&mut port, kind, &rules, rules.len());
    let outcome = outcome.map_err(|no| no.evidence())?;
    let next = outcome.refused.map(|refused| refused.why);
    if outcome.held == 0 {
        drop_qdisc(hooks, maps, link);
        return Err(next.unwrap_or_else(|| "the NIC holds none of the rules".to_owned()));
    }
    let front = Front::Rules {
        kind,
        held: outcome.held,
        counts: flower::Counts::default(),
    };
    Ok((front, next))
}

/// The qdisc goes when Terrace made it and nobody uses it.
pub fn drop_qdisc(hooks: &Hooks, maps: &Maps, link: &Link) {
    if flower::is_bare(link.ifindex).unwrap_or(false)
        && let Err(error) = hooks.drop_qdisc(maps, &link.name, link.ifindex)
    {
        tracing::debug!("{error:#}");
    }
}
