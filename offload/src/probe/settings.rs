//! What the families `netdev` and `ethtool` tell of all interfaces at once.

use std::collections::BTreeMap;

use super::survey::{Entries, Entry, probe};
use crate::ask::{Answers, Ask, No, Question, Said};
use crate::decode::{Learned, ethtool as decode, netdev};
use crate::facts::{Fact, HostFacts, Queue};
use crate::wire::{Form, ethtool, netdev as wire};

/// Asks both families.
pub(super) fn ask(machine: &mut dyn Answers, entries: &mut Entries) {
    devices(machine, entries);
    queues(machine, entries);
    page_pools(machine, entries);
    queue_errors(machine, entries);
    let names = Names::ask(machine);
    for group in groups(&names) {
        ask_group(machine, entries, &group);
    }
}

/// Names of bits, by string set.
struct Names {
    features: Vec<String>,
    functions: Vec<String>,
    stamping: Vec<String>,
}

impl Names {
    fn ask(machine: &mut dyn Answers) -> Self {
        let mut names = |set| match machine.ask(&Question::Netlink(Ask::names(set))) {
            Ok(said) => said
                .messages()
                .first()
                .map(|m| decode::names(m))
                .unwrap_or_default(),
            Err(_) => Vec::new(),
        };
        Self {
            features: names(ethtool::SS_FEATURES),
            functions: names(ethtool::SS_RSS_HASH_FUNCS),
            stamping: names(ethtool::SS_TS_CAPS),
        }
    }
}

/// From a reply to facts.
type Decode<'n> = Box<dyn Fn(&[u8]) -> Learned + 'n>;

/// One command of ethtool, and what its answers mean.
struct Group<'n> {
    command: u8,
    name: &'static str,
    form: &'static Form,
    decode: Decode<'n>,
}

fn groups(names: &Names) -> Vec<Group<'_>> {
    use ethtool as e;
    fn group<'n>(
        command: u8,
        name: &'static str,
        form: &'static Form,
        decode: impl Fn(&[u8]) -> Learned + 'n,
    ) -> Group<'n> {
        Group {
            command,
            name,
            form,
            decode: Box::new(decode),
        }
    }
    vec![
        group(e::FEATURES_GET, "FEATURES_GET", e::FEATURES, |m| {
            decode::features(m, &names.features)
        }),
        group(e::RINGS_GET, "RINGS_GET", e::RINGS, decode::rings),
        group(
            e::CHANNELS_GET,
            "CHANNELS_GET",
            e::CHANNELS,
            decode::channels,
        ),
        group(
            e::LINKMODES_GET,
            "LINKMODES_GET",
            e::LINKMODES,
            decode::link_modes,
        ),
        group(
            e::LINKSTATE_GET,
            "LINKSTATE_GET",
            e::LINKSTATE,
            decode::link_state,
        ),
        group(
            e::PRIVFLAGS_GET,
            "PRIVFLAGS_GET",
            e::PRIVFLAGS,
            decode::private_flags,
        ),
        group(e::TSINFO_GET, "TSINFO_GET", e::TSINFO, |m| {
            decode::time_stamping(m, &names.stamping)
        }),
        group(e::RSS_GET, "RSS_GET", e::RSS, |m| {
            decode::hashing(m, &names.functions)
        }),
    ]
}

fn ask_group(machine: &mut dyn Answers, entries: &mut Entries, group: &Group<'_>) {
    let ask = Ask::ethtool(group.command, group.name, group.form);
    let answer = machine.ask(&Question::Netlink(ask));
    let replies = by_interface(&answer, |message| decode::ifindex(group.form, message));
    let has_contexts = group.command == ethtool::RSS_GET;
    let is_main = |message: &&&[u8]| !has_contexts || !decode::is_further_context(message);
    for (ifindex, entry) in entries.iter_mut() {
        let replies = replies.get(ifindex).map_or(&[][..], Vec::as_slice);
        asked(
            entry,
            &format!("ethtool.{}", group.name),
            &answer,
            replies.is_empty(),
        );
        if has_contexts {
            contexts(entry, replies);
        }
        if let Some(message) = replies.iter().find(is_main) {
            entry.learn((group.decode)(message));
        }
    }
}

fn contexts(entry: &mut Entry, replies: &[&[u8]]) {
    if !replies.is_empty() {
        let further = replies.iter().filter(|m| decode::is_further_context(m));
        let count = u32::try_from(further.count()).unwrap_or(u32::MAX);
        entry.fact("rss.contexts", Fact::declared(count, "ethtool.RSS.2"));
    }
}

/// An answer's messages by the interface that they are about.
fn by_interface(
    answer: &Result<Said, No>,
    ifindex: impl Fn(&[u8]) -> Option<u32>,
) -> BTreeMap<u32, Vec<&[u8]>> {
    let mut by_interface: BTreeMap<u32, Vec<&[u8]>> = BTreeMap::new();
    let messages = answer.as_ref().map_or(&[][..], Said::messages);
    for message in messages {
        if let Some(ifindex) = ifindex(message) {
            by_interface.entry(ifindex).or_default().push(message);
        }
    }
    by_interface
}

/// Notes that an interface was asked. A dump leaves out who has no answer.
fn asked(entry: &mut Entry, name: &str, answer: &Result<Said, No>, silent: bool) {
    let unsupported = No::word("EOPNOTSUPP");
    let answer = match answer {
        Err(no) => Err(no),
        Ok(_) if silent => Err(&unsupported),
        Ok(_) => Ok(()),
    };
    entry.facts.probes.push(probe(name, answer));
}

fn devices(machine: &mut dyn Answers, entries: &mut Entries) {
    let ask = Ask::generic("netdev", wire::DEV_GET, "DEV_GET", wire::DEV);
    let answer = machine.ask(&Question::Netlink(ask));
    let replies = by_interface(&answer, |message| wire::DEV.attrs(message).u32(1));
    for (ifindex, entry) in entries.iter_mut() {
        let reply = replies.get(ifindex).and_then(|replies| replies.first());
        asked(entry, "netdev.DEV_GET", &answer, reply.is_none());
        let Some(message) = reply else {
            let why = match &answer {
                Err(no) => no.evidence(),
                Ok(_) => "no answer for this interface".to_owned(),
            };
            for key in ["xdp.native", "xdp.hw_offload", "af_xdp.zero_copy"] {
                entry.fact(key, Fact::unknown("netdev.DEV_GET", why.clone()));
            }
            continue;
        };
        if let Some((_, learned)) = netdev::device(message) {
            entry.learn(learned);
        }
        let native = entry.link.programs[0] != 0;
        entry.learn(netdev::redirect_target(message, native).unwrap_or_default());
    }
}

fn queues(machine: &mut dyn Answers, entries: &mut Entries) {
    let ask = Ask::generic("netdev", wire::NAPI_GET, "NAPI_GET", wire::NAPI);
    let napis = machine.ask(&Question::Netlink(ask));
    let messages = napis.as_ref().map_or(&[][..], Said::messages);
    let irqs: BTreeMap<u32, u32> = messages.iter().filter_map(|m| netdev::napi(m)).collect();
    let ask = Ask::generic("netdev", wire::QUEUE_GET, "QUEUE_GET", wire::QUEUE);
    let answer = machine.ask(&Question::Netlink(ask));
    let messages = answer.as_ref().map_or(&[][..], Said::messages);
    for (ifindex, mut queue) in messages.iter().filter_map(|m| netdev::queue(m)) {
        queue.irq = queue.napi.and_then(|napi| irqs.get(&napi).copied());
        queue.irq_source = queue.irq.map(|_| "netdev.NAPI_GET.3".to_owned());
        if let Some(entry) = entries.get_mut(&ifindex) {
            entry.facts.queues.push(queue);
        }
    }
    for entry in entries.values_mut() {
        let queues = &mut entry.facts.queues;
        queues.sort_by(|a, b| (&a.kind, a.id).cmp(&(&b.kind, b.id)));
        let bound = queues
            .iter()
            .filter(|queue| queue.xsk == Some(true))
            .count();
        let bound = u32::try_from(bound).unwrap_or(u32::MAX);
        let silent = queues.is_empty();
        asked(entry, "netdev.QUEUE_GET", &answer, silent);
        if !silent {
            let value = Fact::declared(bound, "netdev.QUEUE_GET.7").transient();
            entry.fact("af_xdp.bound_queues", value);
        }
    }
}

fn page_pools(machine: &mut dyn Answers, entries: &mut Entries) {
    let ask = Ask::generic(
        "netdev",
        wire::PAGE_POOL_GET,
        "PAGE_POOL_GET",
        wire::PAGE_POOL,
    );
    let Ok(said) = machine.ask(&Question::Netlink(ask)) else {
        return;
    };
    let pools: Vec<u32> = said
        .messages()
        .iter()
        .filter_map(|m| netdev::page_pool(m))
        .collect();
    for (ifindex, entry) in entries.iter_mut() {
        let count = pools.iter().filter(|pool| *pool == ifindex).count();
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        entry.fact(
            "page_pool.pools",
            Fact::declared(count, "netdev.PAGE_POOL_GET"),
        );
    }
}

fn queue_errors(machine: &mut dyn Answers, entries: &mut Entries) {
    let ask = Ask::generic("netdev", wire::QSTATS_GET, "QSTATS_GET", wire::QSTATS);
    let Ok(said) = machine.ask(&Question::Netlink(ask)) else {
        return;
    };
    for (ifindex, learned) in said
        .messages()
        .iter()
        .filter_map(|m| netdev::queue_errors(m))
    {
        if let Some(entry) = entries.get_mut(&ifindex) {
            entry.learn(learned);
        }
    }
}

/// What follows from the kernel alone, whatever the driver.
pub(super) fn conclude(host: &HostFacts, entries: &mut Entries) {
    for entry in entries.values_mut() {
        let copy = match host.config("XDP_SOCKETS") {
            Some("n") => Fact::computed(false, "kernel option XDP_SOCKETS").with("n"),
            Some(option) => Fact::computed(true, "kernel option XDP_SOCKETS").with(option),
            None => Fact::unknown(
                "kernel option XDP_SOCKETS",
                "the kernel's options are not told",
            ),
        };
        entry.fact("af_xdp.copy", copy);
        let ether = matches!(
            entry.facts.facts.text("link.type"),
            Some("ether" | "loopback")
        );
        let generic = match ether {
            true => Fact::profile(true, "kernel: any Ethernet link since 4.12"),
            false => Fact::unknown("kernel", "the link has no Ethernet header"),
        };
        entry.fact("xdp.generic", generic);
    }
}

/// Queues whose interrupts the driver does not tell: by the interrupts' names.
pub(super) fn match_interrupts(queues: &mut [Queue], irqs: &BTreeMap<u32, String>) {
    for queue in queues.iter_mut().filter(|queue| queue.irq.is_none()) {
        let words: &[&str] = match queue.kind.as_str() {
            "rx" => &["input.", "rx-", "TxRx-", "rxtx-", "comp", "Rx-"],
            _ => &["output.", "tx-", "TxRx-", "rxtx-", "comp", "Tx-"],
        };
        let ends = |name: &str| {
            let suffix = |word: &&str| name.ends_with(&format!("{word}{}", queue.id));
            words.iter().any(suffix)
        };
        if let Some((irq, name)) = irqs.iter().find(|(_, name)| ends(name)) {
            queue.irq = Some(*irq);
            queue.irq_source = Some(format!("/proc/interrupts {name}"));
        }
    }
}
