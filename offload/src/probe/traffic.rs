//! What already handles packets: tc, other tools' programs, the default route.

use super::survey::{Entries, Entry, probe};
use crate::ask::{Answers, Ask, Question, Said};
use crate::decode::tc;
use crate::facts::{Fact, Value};
use crate::wire::route;

/// How Terrace's own programs begin.
const OWN: &str = "terrace_";

/// Asks about qdiscs, filters, programs and routes; whether the kernel has TCX.
pub(super) fn ask(machine: &mut dyn Answers, entries: &mut Entries) -> Option<bool> {
    let mut has_tcx = None;
    qdiscs(machine, entries);
    for entry in entries.values_mut() {
        filters(machine, entry);
        has_tcx = tcx(machine, entry).or(has_tcx);
        programs(machine, entry);
    }
    default_route(machine, entries);
    has_tcx
}

fn qdiscs(machine: &mut dyn Answers, entries: &mut Entries) {
    let answer = machine.ask(&Question::Netlink(Ask::qdiscs()));
    for entry in entries.values_mut() {
        entry
            .facts
            .probes
            .push(probe("tc.GETQDISC", answer.as_ref().map(drop)));
    }
    let Ok(said) = answer else { return };
    for entry in entries.values_mut() {
        entry.fact(
            "tc.clsact",
            Fact::declared(false, "tc.GETQDISC").transient(),
        );
    }
    for qdisc in said.messages().iter().filter_map(|m| tc::qdisc(m)) {
        let Some(entry) = entries.get_mut(&qdisc.ifindex) else {
            continue;
        };
        if qdisc.is_root {
            let kind = Fact::declared(qdisc.kind.as_str(), "tc.GETQDISC.1");
            entry.fact("tc.qdisc", kind.transient());
            let in_hw = Fact::declared(qdisc.in_hw, "tc.GETQDISC.12");
            entry.fact("tc.qdisc_offloaded", in_hw.transient());
        }
        if qdisc.is_ingress {
            let there = Fact::declared(true, "tc.GETQDISC")
                .with(qdisc.kind)
                .transient();
            entry.facts.facts.0.insert("tc.clsact".to_owned(), there);
        }
    }
}

fn filters(machine: &mut dyn Answers, entry: &mut Entry) {
    if entry.facts.facts.bool("tc.clsact") != Some(true) {
        return;
    }
    let (mut count, mut in_hw) = (0u32, 0u32);
    let mut foreign = Vec::new();
    for egress in [false, true] {
        let ask = Ask::filters(entry.link.ifindex, &entry.facts.name, egress);
        let Ok(said) = machine.ask(&Question::Netlink(ask)) else {
            continue;
        };
        for filter in said.messages().iter().filter_map(|m| tc::filter(m)) {
            count += 1;
            in_hw += u32::from(filter.in_hw);
            foreign.extend(filter.program.filter(|name| !name.starts_with(OWN)));
        }
    }
    let source = "tc.GETTFILTER";
    entry.fact("tc.filters", Fact::declared(count, source).transient());
    entry.fact(
        "tc.filters_in_hw",
        Fact::declared(in_hw, source).transient(),
    );
    if in_hw > 0 {
        let works = Fact::verified(true, source).with(format!("{in_hw} filters in hardware"));
        entry.fact("tc.flower_hw", works);
    }
    entry.fact(
        "tc.foreign_programs",
        Fact::declared(foreign, source).transient(),
    );
}

/// Whether the kernel has TCX; without rights it doesn't say.
fn tcx(machine: &mut dyn Answers, entry: &mut Entry) -> Option<bool> {
    let name = entry.facts.name.clone();
    match machine.ask(&Question::Tcx(entry.link.ifindex, name)) {
        Ok(said) => {
            tcx_programs(entry, &said);
            Some(true)
        }
        Err(no) => (no.no == "EINVAL").then_some(false),
    }
}

fn programs(machine: &mut dyn Answers, entry: &mut Entry) {
    let Some(id) = entry.link.programs.into_iter().find(|id| *id != 0) else {
        return;
    };
    let source = "bpf.PROG_GET_FD_BY_ID";
    match machine.ask(&Question::Program(id)) {
        Ok(said) => {
            let name = said.field("name");
            let foreign = name.as_text().filter(|name| !name.starts_with(OWN));
            let foreign = foreign.map(str::to_owned);
            entry.fact(
                "xdp.attached_prog",
                Fact::declared(name, source).transient(),
            );
            entry.fact(
                "xdp.foreign_prog",
                Fact::declared(foreign, source).transient(),
            );
        }
        // Whose program it is can't be told without rights: a stranger's.
        Err(no) => {
            let unknown = Fact::unknown(source, no.evidence());
            entry.fact("xdp.attached_prog", unknown);
            let stranger = Fact::declared(format!("id {id}"), "rtnl.IFLA_XDP");
            entry.fact("xdp.foreign_prog", stranger.with(no.evidence()).transient());
        }
    }
}

fn tcx_programs(entry: &mut Entry, said: &Said) {
    let sides = ["ingress", "egress"].map(|side| said.field(side));
    let names = sides.iter().filter_map(Value::as_list).flatten();
    let mut foreign: Vec<String> = names.filter(|n| !n.starts_with(OWN)).cloned().collect();
    let known = entry.facts.facts.list("tc.foreign_programs");
    foreign.extend(known.into_iter().flatten().cloned());
    let fact = Fact::declared(foreign, "bpf.PROG_QUERY, tc.GETTFILTER").transient();
    entry
        .facts
        .facts
        .0
        .insert("tc.foreign_programs".to_owned(), fact);
}

fn default_route(machine: &mut dyn Answers, entries: &mut Entries) {
    let mut ways = Vec::new();
    for v6 in [false, true] {
        let said = machine.ask(&Question::Netlink(Ask::route_to_world(v6)));
        let messages = said.as_ref().map_or(&[][..], Said::messages);
        ways.extend(messages.iter().filter_map(|m| route::ROUTE.attrs(m).u32(4)));
    }
    for (ifindex, entry) in entries.iter_mut() {
        let here = ways.contains(ifindex);
        entry.fact(
            "link.default_route",
            Fact::declared(here, "rtnl.GETROUTE").transient(),
        );
    }
}
