//! The interfaces that are armed, and making them what they should be.
//!
//! Order for each: its entry in the table, tc, then XDP. Until the last step
//! its deny list runs in tc, so that no moment is without one.

mod chosen;
mod disarm;
mod host;
mod nics;
mod shown;
pub mod uplinks;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use anyhow::{Context, Result};
use terrace_abi::consts::{HOOK_TC_INGRESS, HOOK_XDP};
use terrace_abi::{Maps, Plain as _, types};
use terrace_offload::plan::{Held, changes};
use terrace_offload::{Plan, Policy, Profiles, Wishes};

use self::chosen::Chosen;
use self::disarm::disarm;
pub use self::disarm::disarm_unwanted;
pub use self::host::Host;
use self::uplinks::Uplinks;
use super::change;
use super::events::Kind;
use super::facts;
use super::hardware::{Hardware, Part};
use super::hooks::{self, Hooks};
use super::moves::{Moves, Seen};
use super::placement::{self, Refused, Served};
use crate::api::{self, Attachment, Role, Tier};
use crate::config::{Config, InterfaceRule};
use crate::lifecycle::nic_rules::NicRules;
use crate::netlink::{Link, Network};

/// One interface with Terrace's programs on it.
#[derive(Debug, Clone)]
struct Armed {
    link: Link,
    role: Role,
    driver: String,
    tc: Vec<Attachment>,
    xdp: Option<Xdp>,
    /// The plan was carried out once: from now on it is served.
    placed: bool,
    entry: types::iface,
}

#[derive(Debug, Clone)]
struct Xdp {
    tier: Tier,
    attachment: Attachment,
    /// Attached or confirmed by this daemon, not only found.
    ours: bool,
}

#[derive(Debug)]
pub struct Interfaces {
    hooks: Hooks,
    /// By ifindex.
    armed: BTreeMap<u32, Armed>,
    refused: Refused,
    profiles: Profiles,
    /// Wishes that were read anew since the start.
    rules: Option<Vec<InterfaceRule>>,
    /// Tiers that the operator has chosen since.
    chosen: Chosen,
    /// One of them is being tried.
    moving: bool,
    hardware: Hardware,
    /// Where workers read queues themselves.
    uplinks: Uplinks,
    seen: Seen,
    moves: Moves,
    plan: Plan,
    /// Told once, and again when it changes.
    fallbacks: BTreeSet<String>,
    /// A program with the deny list was missing for a while.
    passed_unlisted: bool,
}

type Wanted = BTreeMap<u32, (Link, Role)>;

impl Interfaces {
    pub fn new(hooks: Hooks, config: &Config, profiles: Profiles) -> Self {
        Self {
            hooks,
            armed: BTreeMap::new(),
            refused: Refused::new(),
            profiles,
            rules: None,
            chosen: Chosen::default(),
            moving: false,
            hardware: Hardware::new(NicRules::beside(&config.control_socket)),
            uplinks: Uplinks::default(),
            seen: Seen::default(),
            moves: Moves::new(config.moves.patience),
            plan: Plan::default(),
            fallbacks: BTreeSet::new(),
            passed_unlisted: false,
        }
    }

    /// Whether packets may have passed the deny list since the last time this was asked.
    pub fn take_passed_unlisted(&mut self) -> bool {
        std::mem::take(&mut self.passed_unlisted)
    }

    /// Puts this daemon's program in the place of an earlier one's.
    pub fn hooks(&self) -> &Hooks {
        &self.hooks
    }

    pub fn install_xdp(&self, maps: &Maps) -> Result<()> {
        self.hooks.install_xdp(maps)
    }

    /// Arms what is wanted and disarms what is not. Returns the first failure
    /// after everything that can be done is done.
    pub fn sync(&mut self, host: Host<'_>) -> Result<()> {
        let wanted = facts::wanted(host.config, host.network);
        self.let_go(host, &wanted);
        let mut failed = Ok(());
        for (link, role) in wanted.values() {
            if let Err(error) = self.arm(host, link, *role) {
                let what = format!("{}: {error:#}", link.name);
                host.events.tell(Kind::InterfaceFailed, what);
                failed = failed.and(Err(error));
            }
        }
        if let Err(error) = self.replan(host, &wanted) {
            host.events
                .tell(Kind::InterfaceFailed, format!("{error:#}"));
            return Err(error);
        }
        failed.and(self.place_xdp(host, &wanted))
    }

    /// Puts tc programs back that somebody took off: `tc qdisc del dev w0
    /// clsact`, or a link that was detached by force. No event of the kernel
    /// tells of it. True when there were some.
    ///
    /// # Errors
    /// The kernel does not tell what is attached.
    pub fn rearm(&mut self, host: Host<'_>) -> Result<bool> {
        let attached = terrace_tc::list().context("list tc programs")?;
        let attached: BTreeSet<(u32, u32)> =
            attached.iter().map(|a| (a.ifindex, a.program_id)).collect();
        let mut found = false;
        for (ifindex, armed) in &mut self.armed {
            let is_there = |a: &Attachment| attached.contains(&(*ifindex, a.program_id));
            if armed.tc.iter().all(is_there) {
                continue;
            }
            found = true;
            let name = &armed.link.name;
            let what = match self.hooks.arm(name, *ifindex, armed.role) {
                Ok(tc) => {
                    armed.tc = tc;
                    format!("{name}: somebody took tc programs off; they are back")
                }
                Err(error) => format!("{name}: somebody took tc programs off: {error:#}"),
            };
            host.events.tell(Kind::InterfaceFailed, what);
        }
        Ok(found)
    }

    /// Whether some wanted interface is not as it should be: try again later.
    pub fn incomplete(&self, config: &Config, network: &Network) -> bool {
        let wanted = facts::wanted(config, network);
        wanted
            .keys()
            .any(|ifindex| !self.armed.contains_key(ifindex))
    }

    /// The operator's wishes of tiers have changed.
    pub fn set_rules(&mut self, rules: Vec<InterfaceRule>) {
        self.rules = Some(rules);
    }

    /// Something may have changed that links don't tell.
    pub fn mark_stale(&mut self) {
        self.seen.mark_stale();
    }

    /// When to sync although nothing happens.
    pub fn due(&self) -> Option<Instant> {
        let due = [self.seen.due(), self.moves.due()];
        due.into_iter().flatten().min()
    }

    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    pub fn shown(&self, network: &Network) -> Vec<api::Interface> {
        let nics = self.hardware.shown();
        let armed = self.armed.values();
        armed
            .map(|armed| shown::shown(armed, &nics, network))
            .collect()
    }

    pub fn names(&self) -> Vec<(String, Role)> {
        let armed = self.armed.values();
        armed
            .map(|armed| (armed.link.name.clone(), armed.role))
            .collect()
    }

    /// Interfaces that went, were renamed, or lost their rule.
    fn let_go(&mut self, host: Host<'_>, wanted: &Wanted) {
        let keeps = |armed: &Armed| {
            let wanted = wanted.get(&armed.link.ifindex);
            wanted.is_some_and(|(link, role)| link.name == armed.link.name && *role == armed.role)
        };
        let going: Vec<u32> = self
            .armed
            .iter()
            .filter(|(_, armed)| !keeps(armed))
            .map(|(ifindex, _)| *ifindex)
            .collect();
        for ifindex in going {
            self.moves.forget(ifindex);
            if let Some(armed) = self.armed.remove(&ifindex) {
                self.hardware.forget(host, &self.hooks, ifindex);
                disarm(host, &armed.link.name, ifindex);
                host.events.tell(Kind::InterfaceGone, armed.link.name);
            }
        }
        self.refused
            .retain(|(name, _), _| wanted.values().any(|(link, _)| link.name == *name));
    }

    fn arm(&mut self, host: Host<'_>, link: &Link, role: Role) -> Result<()> {
        let xdp = match self.armed.get(&link.ifindex) {
            Some(armed) => armed.xdp.clone(),
            None => find_xdp(link.ifindex)?,
        };
        let hook = if xdp.is_some() {
            HOOK_XDP
        } else {
            HOOK_TC_INGRESS
        };
        let mut entry = facts::iface(link, role, hook, host.network);
        if let Some(armed) = self.armed.get(&link.ifindex) {
            (entry.l7_first, entry.l7_sockets) = (armed.entry.l7_first, armed.entry.l7_sockets);
        }
        if let Some(armed) = self.armed.get_mut(&link.ifindex) {
            if armed.entry.as_bytes() != entry.as_bytes() {
                host.maps.set_iface(&entry)?;
            }
            armed.entry = entry;
            armed.link = link.clone();
            return Ok(());
        }
        host.maps.set_iface(&entry)?;
        let armed = Armed {
            link: link.clone(),
            role,
            driver: terrace_offload::probe::driver(&link.name),
            tc: self.hooks.arm(&link.name, link.ifindex, role)?,
            xdp,
            placed: false,
            entry,
        };
        self.armed.insert(link.ifindex, armed);
        host.events.tell(Kind::InterfaceArmed, &link.name);
        Ok(())
    }

    fn replan(&mut self, host: Host<'_>, wanted: &Wanted) -> Result<()> {
        if self.seen.look(host.network, wanted, &mut self.refused) {
            self.miss_xdp(host);
        }
        self.place_in_nics(host, wanted);
        let mut held = BTreeMap::new();
        let planned = match self.planned(host, wanted, &held) {
            Err(error) if self.gives_up_chosen(host, &error) => {
                self.planned(host, wanted, &held)?
            }
            planned => planned?,
        };
        for (ifindex, armed) in self.armed.iter().filter(|(_, armed)| armed.placed) {
            let running = armed.xdp.as_ref().map(|xdp| xdp.tier);
            let reason = self
                .moves
                .held(*ifindex, running, planned.xdp(&armed.link.name));
            if let Some(reason) = reason {
                if reason.flaps {
                    let what = format!("{}: {}", armed.link.name, reason.why);
                    host.events.tell(Kind::TierFlapping, what);
                }
                held.insert(*ifindex, reason);
            }
        }
        self.plan = match held.is_empty() {
            true => planned,
            false => {
                let in_effect = self.planned(host, wanted, &held)?;
                Plan {
                    changes: changes(&in_effect, &planned),
                    ..in_effect
                }
            }
        };
        self.tell_fallbacks(host);
        Ok(())
    }

    /// Somebody took our program off an interface: it does not run there.
    fn miss_xdp(&mut self, host: Host<'_>) {
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

    fn planned(&self, host: Host<'_>, wanted: &Wanted, held: &BTreeMap<u32, Held>) -> Result<Plan> {
        let served = |ifindex: u32| {
            let armed = self.armed.get(&ifindex);
            Served {
                running: armed
                    .and_then(|armed| armed.xdp.as_ref())
                    .map(|xdp| xdp.tier),
                armed: armed.is_some_and(|armed| armed.placed),
                held: held.get(&ifindex).cloned(),
                nic: self.hardware.state(ifindex, Part::Deny),
                nic_policy: self.hardware.state(ifindex, Part::Policy),
                nic_flows: self.hardware.flows(ifindex),
            }
        };
        let demands = placement::demands(wanted.values(), &self.refused, served);
        let wishes = self.wishes(host, wanted);
        let policy = Policy::of_daemon(host.config.moves.disruption);
        let survey = &self.seen.survey;
        placement::plan(survey, &self.profiles, &demands, &wishes, policy)
            .map_err(change::Refused::plan)
    }

    fn wishes(&self, host: Host<'_>, wanted: &Wanted) -> Wishes {
        let rules = self.rules.as_deref().unwrap_or(&host.config.interfaces);
        let mut wishes = placement::wishes(rules, wanted.values());
        self.chosen.add_to(&mut wishes);
        wishes
    }

    fn tell_fallbacks(&mut self, host: Host<'_>) {
        let told: BTreeSet<_> = self
            .plan
            .placements
            .iter()
            .flat_map(placement::fallbacks)
            .collect();
        for fallback in told.difference(&self.fallbacks) {
            host.events.tell(Kind::TierFallback, fallback);
        }
        self.fallbacks = told;
    }

    /// A refusal of the kernel makes a new plan, until one works.
    fn place_xdp(&mut self, host: Host<'_>, wanted: &Wanted) -> Result<()> {
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
fn find_xdp(ifindex: u32) -> Result<Option<Xdp>> {
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
