//! The interfaces that are armed, and making them what they should be.
//!
//! Order for each: its entry in the table, tc, then XDP. Until the last step
//! its deny list runs in tc, so that no moment is without one.

mod chosen;
mod disarm;
mod host;
mod nics;
mod shown;
mod steer;
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
use self::steer::{Xdp, find_xdp};
use self::uplinks::Uplinks;
use super::change;
use super::events::Kind;
use super::facts;
use super::hardware::{Hardware, Part};
use super::hooks::Hooks;
use super::moves::{Moves, Seen};
use super::placement::{self, Refused, Served};
use crate::api::{self, Attachment, Role};
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
}
