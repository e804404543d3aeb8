//! XDP on uplinks: put where the plan says, and missed when somebody takes it off.

use anyhow::{Context, Result};
use terrace_abi::consts::{HOOK_TC_INGRESS, HOOK_XDP};
use terrace_abi::{Maps, types};
use terrace_offload::Plan;

use super::{Armed, Host, Interfaces, Wanted};
use crate::api::{Attachment, Tier};
use crate::run::events::Kind;
use crate::run::hooks;

#[derive(Debug, Clone)]
pub struct Xdp {
    pub tier: Tier,
    pub attachment: Attachment,
    /// Attached or confirmed by this daemon, not only found.
    pub ours: bool,
}

impl Interfaces {
    /// Somebody took our program off an interface: it does not run there.
    pub(super) fn miss_xdp(&mut self, host: Host<'_>) {
        for armed in self.armed.values_mut() {
            let name = &armed.link.name;
            // What the kernel does not tell stays as it was known.
            let is_gone = terrace_xdp::attached(name, armed.link.ifindex)
                .is_ok_and(|attached| attached.is_empty());
            if armed.xdp.is_none() || !is_gone {
                continue;
            }
            let what = format!("{name}: somebody took the XDP program off; tc serves it");
            host.events.tell(Kind::InterfaceFailed, what);
            armed.xdp = None;
            self.passed_unlisted = true;
            if let Err(error) = armed.set_prefilter(host.maps, HOOK_TC_INGRESS) {
                host.events
                    .tell(Kind::InterfaceFailed, format!("{error:#}"));
            }
        }
    }

    /// A refusal of the kernel makes a new plan, until one works.
    pub(super) fn place_xdp(&mut self, host: Host<'_>, wanted: &Wanted) -> Result<()> {
        loop {
            let refused = self.refused.len();
            for ifindex in wanted.keys() {
                self.place_one(host, *ifindex)?;
            }
            if self.refused.len() == refused {
                return Ok(());
            }
            self.replan(host, wanted)?;
        }
    }

    fn place_one(&mut self, host: Host<'_>, ifindex: u32) -> Result<()> {
        let Some(armed) = self.armed.get_mut(&ifindex) else {
            return Ok(());
        };
        let tier = self.plan.xdp(&armed.link.name);
        let found = armed.xdp.as_ref();
        if armed.placed && found.map(|xdp| xdp.tier) != tier {
            let why = match self.chosen.has(&armed.link.name) {
                true => "as the operator asked",
                false => why(&self.plan, &armed.link.name, tier),
            };
            host.events.tell(Kind::TierMoved, moved(armed, tier, why));
        }
        armed.placed = true;
        if found.map(|xdp| xdp.tier) == tier && found.is_none_or(|xdp| xdp.ours) {
            return Ok(());
        }
        if found.map(|xdp| xdp.tier) != tier && armed.xdp.take().is_some() {
            // The deny list moves to tc before XDP goes or changes its mode.
            armed.set_prefilter(host.maps, HOOK_TC_INGRESS)?;
            terrace_xdp::detach(&armed.link.name, ifindex)?;
        }
        let Some(tier) = tier else {
            return Ok(());
        };
        match self.hooks.attach_xdp(&armed.link.name, ifindex, tier) {
            Ok(attachment) => {
                let ours = true;
                armed.xdp = Some(Xdp {
                    tier,
                    attachment,
                    ours,
                });
                armed.set_prefilter(host.maps, HOOK_XDP)
            }
            Err(error) => {
                armed.xdp = None;
                armed.set_prefilter(host.maps, HOOK_TC_INGRESS)?;
                let key = (armed.link.name.clone(), tier);
                self.refused.insert(key, format!("{error:#}"));
                Ok(())
            }
        }
    }
}

/// Why the XDP of an interface is to be there: what keeps it from a better tier, or
/// what lets it be there.
fn why<'p>(plan: &'p Plan, iface: &str, to: Option<Tier>) -> &'p str {
    let mut placements = plan.placements.iter().filter(|p| p.iface == iface);
    let found = match to {
        Some(tier) => placements.find(|placement| placement.tier == tier),
        None => placements.find(|placement| placement.is_fallback()),
    };
    found.map_or("", |placement| {
        // What a NIC holds is beside the tier of a program.
        let mut blockers = placement.blockers.iter();
        let blocker = blockers.find(|b| !b.by_design && b.tier != Tier::Nic);
        blocker.map_or(placement.reason.as_str(), |blocker| blocker.why.as_str())
    })
}

fn moved(armed: &Armed, to: Option<Tier>, why: &str) -> String {
    let name = |tier: Option<Tier>| tier.map_or("tc only", Tier::name);
    let from = armed.xdp.as_ref().map(|xdp| xdp.tier);
    format!(
        "{}: from {} to {}: {why}",
        armed.link.name,
        name(from),
        name(to)
    )
}

impl Armed {
    fn set_prefilter(&mut self, maps: &Maps, hook: u32) -> Result<()> {
        let mut entry = types::iface {
            prefilter_hook: hook as u8,
            ..self.entry
        };
        if hook != HOOK_XDP {
            // The program is about to go, or has gone: the port has all of it.
            entry.l7_sockets = 0;
        }
        maps.set_iface(&entry)
            .with_context(|| format!("move the deny list of {}", self.link.name))?;
        self.entry = entry;
        Ok(())
    }
}

/// What an earlier daemon has left on an interface.
pub fn find_xdp(ifindex: u32) -> Result<Option<Xdp>> {
    let attached = terrace_xdp::list().context("list XDP programs")?;
    let found = attached.iter().find(|a| a.ifindex == ifindex);
    Ok(found.map(|attachment| Xdp {
        tier: match attachment.mode {
            terrace_xdp::Mode::Native => Tier::XdpNative,
            terrace_xdp::Mode::Generic => Tier::XdpGeneric,
        },
        attachment: hooks::of_xdp(attachment),
        ours: false,
    }))
}
