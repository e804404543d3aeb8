//! A deny list in front of the host: the ways into a NIC, and what became of them.
//! All words are for people.

use super::{Blocker, Front, Site};
use crate::facts::InterfaceFacts;
use crate::judge::{Abilities, of_tier};
use crate::plan::block::{NOTHING, blocker};
use crate::plan::front::Unfit;
use crate::subject::{Machine, Needs, Subject};
use crate::verdict::{NicTier, Verdict};
use crate::{Task, Tier};

use terrace_nic_profiles::Target;

/// What became of a deny list in an interface's NIC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NicState {
    /// The operator wants none there.
    Off {
        /// Who says so.
        why: String,
        /// What to write.
        fix: String,
    },
    /// The list is empty.
    Nothing,
    /// There is no way into it: nothing was tried.
    Closed {
        /// What is in the way.
        why: String,
        /// What the operator can do about it.
        fix: String,
    },
    /// A start tries it.
    Untried {
        /// How.
        how: String,
    },
    /// It was tried, and was refused.
    Refused {
        /// The kernel's words.
        why: String,
        /// What the operator can do about it.
        fix: String,
    },
    /// The NIC has entries of it, read back.
    Held {
        /// Which way.
        tier: NicTier,
        /// Entries that it has, from the start of the list.
        held: usize,
        /// Entries of the list.
        of: usize,
        /// Why it does not have the next one.
        next: Option<String>,
    },
}

/// How a way into a NIC looks from outside: open, or what is in the way and what
/// opens it.
pub type Way = Result<(), (String, String)>;

/// The ways into a NIC, by what is known before anything is tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ways {
    /// A program in the NIC.
    pub program: Way,
    /// Rules of tc flower.
    pub rules: Way,
    /// Rules of tc flower at the port under a VLAN, which take the tag off and put it on.
    pub tagged: Way,
    /// Classification rules that drop.
    pub classifier: Way,
    /// Classification rules that choose a queue.
    pub queues: Way,
}

impl Ways {
    /// Of one interface.
    pub fn of(machine: Machine<'_>, iface: &InterfaceFacts) -> Self {
        let subject = Subject::new(machine, iface, Needs::default());
        let abilities = Abilities::of(&subject);
        let program = of_tier(&subject, &abilities, NicTier::HwEbpf);
        // Trying it costs nothing, so the kernel's word is enough.
        let listed = iface.facts.bool("xdp.hw_offload") == Some(true);
        let queues = queues(&iface.name, &abilities);
        let other_nic = "use a NIC that runs programs (Netronome with BPF firmware)";
        Self {
            program: match program.verdict {
                Verdict::Yes | Verdict::Partial => Ok(()),
                _ if listed => Ok(()),
                _ => Err((program.why.join("; "), other_nic.to_owned())),
            },
            rules: rules(iface),
            tagged: tagged(machine, iface),
            classifier: queues.clone().and_then(|()| drops(&iface.name, &subject)),
            queues,
        }
    }

    /// Whether any is open.
    pub fn is_open(&self) -> bool {
        self.program.is_ok() || self.rules.is_ok() || self.classifier.is_ok()
    }

    /// Why none is open, and what opens the nearest one.
    pub fn closed(&self) -> Option<NicState> {
        match (&self.program, &self.rules, &self.classifier) {
            (Err((program, _)), Err((rules, fix)), Err((classifier, other))) => {
                let fix = if fix == NOTHING { other } else { fix };
                Some(NicState::Closed {
                    why: format!("{program}; {rules}; {classifier}"),
                    fix: fix.clone(),
                })
            }
            _ => None,
        }
    }
}

/// Whether the receive classifier takes rules, by what the driver says of itself.
fn queues(name: &str, abilities: &Abilities<'_>) -> Way {
    let ability = abilities.get(Target::HwNtuple);
    if matches!(ability.verdict, Verdict::Yes | Verdict::Partial) {
        return Ok(());
    }
    let denials = abilities.denials(Target::HwNtuple);
    let fix = denials.first().and_then(|finding| finding.fix.as_ref());
    let fix = fix
        .map(|fix| format!("`{}`", fix.cmd))
        .filter(|fix| fix != "``");
    let why = match ability.why.join("; ") {
        why if why.is_empty() => format!("nobody tells whether {name} takes classification rules"),
        why => why,
    };
    Err((why, fix.unwrap_or_else(|| NOTHING.to_owned())))
}

/// Whether such a rule may drop: a trial's word, else the profile's.
fn drops(name: &str, subject: &Subject<'_>) -> Way {
    let tried = subject.facts().bool("ntuple.drop");
    let can = tried.or_else(|| subject.driver_can("ntuple_drop"));
    match can {
        Some(true) => Ok(()),
        Some(false) => Err((
            "classification rules of this driver choose queues; they cannot drop".to_owned(),
            NOTHING.to_owned(),
        )),
        None => Err((
            "nobody tells whether classification rules of this driver can drop".to_owned(),
            format!("`terrace nic {name} --mode active --allow ntuple` tries it"),
        )),
    }
}

fn rules(iface: &InterfaceFacts) -> Way {
    let name = &iface.name;
    match iface.facts.text("feat.hw-tc-offload") {
        Some("on" | "on-fixed") => Ok(()),
        Some("off") => Err((
            format!("hw-tc-offload is off at {name}"),
            format!("`ethtool -K {name} hw-tc-offload on`"),
        )),
        Some(_) => Err((
            format!("hw-tc-offload is off at {name} and cannot be switched on"),
            NOTHING.to_owned(),
        )),
        None => Err((
            format!("nobody tells whether {name} takes rules of tc"),
            NOTHING.to_owned(),
        )),
    }
}

/// Whether rules of a VLAN's flows can be at the port under it: nothing tells what a driver
/// does with tags but its source, which the profiles have read.
fn tagged(machine: Machine<'_>, iface: &InterfaceFacts) -> Way {
    const NEEDED: [&str; 2] = ["vlan_push", "vlan_pop"];
    let name = &iface.name;
    let parent = iface.facts.text("link.parent");
    let mut known = machine.interfaces.iter();
    let Some(port) = known.find(|known| Some(known.name.as_str()) == parent) else {
        let why = format!("nobody tells which port is under {name}");
        return Err((why, NOTHING.to_owned()));
    };
    rules(port)?;
    let subject = Subject::new(machine, port, Needs::default());
    let driver = subject.known.driver;
    let actions = driver.map_or(&[][..], |driver| &driver.hw.tc_flower_actions);
    match NEEDED
        .iter()
        .find(|needed| !actions.iter().any(|has| has == *needed))
    {
        None => Ok(()),
        Some(missing) => Err((
            format!(
                "{name} is a VLAN, and the profile of {}'s driver does not list the action {missing}",
                port.name
            ),
            "add what the NIC can do to tc_flower_actions in /etc/terrace/nic-profiles.d"
                .to_owned(),
        )),
    }
}

impl NicState {
    /// What keeps the list out of the NIC, or a part of it; `None` = all of it is there.
    pub(super) fn blocker(&self, required: bool) -> Option<Blocker> {
        let say = |why: &str, fix: &str, by_design| Some(blocker(Tier::Nic, why, fix, by_design));
        match self {
            Self::Off { why, fix } => say(why, fix, true),
            Self::Nothing => say("the deny list is empty", NOTHING, true),
            Self::Closed { why, fix } => say(why, fix, true),
            Self::Untried { .. } if required => None,
            Self::Untried { how } => say(&format!("a start tries it: {how}"), NOTHING, true),
            Self::Refused { why, fix } => say(why, fix, false),
            Self::Held { held, of, .. } if held == of => None,
            Self::Held { held, of, next, .. } => {
                let next = next.as_deref().unwrap_or("the budget of rules is spent");
                let why = format!("entry {} of {of} of the deny list: {next}", held + 1);
                say(&why, "put what comes most to the front of the list", false)
            }
        }
    }

    /// Why a task that needs tables is not in the NIC, whatever part of its work is.
    pub(super) fn share_blocker(&self, noun: &str) -> Blocker {
        let tables = "the rest needs tables that no NIC has";
        let (why, fix, by_design) = match self {
            Self::Off { why, fix } | Self::Closed { why, fix } => (why.clone(), fix.clone(), true),
            Self::Refused { why, fix } => (why.clone(), fix.clone(), false),
            Self::Nothing | Self::Untried { .. } => {
                let why = "it needs tables that no NIC has".to_owned();
                (why, NOTHING.to_owned(), true)
            }
            Self::Held { held, of, next, .. } => {
                let next = next.as_ref().map(|next| format!(" ({next})"));
                let by_design = next.is_none();
                let next = next.unwrap_or_default();
                let why = format!("the NIC does {held} of {of} {noun} by itself{next}; {tables}");
                (why, NOTHING.to_owned(), by_design)
            }
        };
        blocker(Tier::Nic, why, fix, by_design)
    }

    /// What of it stands in front of a task.
    pub(super) fn words(&self) -> Option<String> {
        match self {
            Self::Held { tier, held, of, .. } => Some(format!(
                "the NIC drops {held} of {of} entries of the deny list by itself ({})",
                way(*tier)
            )),
            Self::Untried { how } => Some(format!("a start tries it: {how}")),
            _ => None,
        }
    }

    pub(super) fn is_held(&self) -> bool {
        matches!(self, Self::Held { .. })
    }

    pub(super) fn front(&self) -> Option<Front> {
        let Self::Held {
            tier,
            held,
            of,
            next,
        } = self
        else {
            return None;
        };
        let unfit = |why: &String| Unfit {
            rule: format!("entry {} of the deny list", held + 1),
            why: why.clone(),
            fix: None,
        };
        Some(Front {
            tier: *tier,
            fit: *held,
            of: *of,
            unfit: next.as_ref().map(unfit),
            is_open: true,
            installed: true,
            blocked_by: None,
        })
    }
}

/// How entries got into the NIC.
pub fn way(tier: NicTier) -> &'static str {
    match tier {
        NicTier::HwEbpf => "an offloaded program",
        NicTier::HwNic => "classification rules",
        _ => "rules of tc flower",
    }
}

impl Site<'_> {
    /// What became of the deny list in this NIC, for the task that it is about.
    pub(super) fn nic(&self, task: Task) -> Option<&NicState> {
        let state = self.demand.nic.as_ref();
        state.filter(|_| task == Task::Prefilter)
    }

    /// What became of a part of a task's work in this NIC, and what it is.
    pub(super) fn share(&self, task: Task) -> Option<(&'static str, &NicState)> {
        match task {
            Task::Policy => Some(("drops of policy", self.demand.nic_policy.as_ref()?)),
            Task::Steer => Some(("hot flows", self.demand.nic_flows.as_ref()?)),
            _ => None,
        }
    }
}
