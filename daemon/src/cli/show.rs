//! The commands that ask for one thing and print it.

use std::time::Duration;

use clap::ValueEnum;
use serde::Serialize;
use terrace_abi::Reason;

use super::args::{
    FlowArgs, Global, IdentityArgs, MoveArgs, NameArgs, ReasonArgs, ShortcutArgs, Switch,
};
use super::daemon;
use super::exit::{Code, Failure};
use super::output::{Output, write_while_read};
use crate::api::{
    FlowQuery, Flows, Identity, MoveRequest, Moved, Policy, ReasonCount, Reload, Service, Shortcut,
    ShortcutSwitch, Sockets, Status, Version,
};
use crate::client::query_of;
use crate::render;

pub(super) fn status(global: &Global, output: &Output) -> Result<Code, Failure> {
    output.print(
        &daemon::get::<Status>(global, "/v1/status")?,
        render::status,
    )
}

pub(super) fn services(global: &Global, args: &NameArgs, output: &Output) -> Result<Code, Failure> {
    let mut services: Vec<Service> = daemon::look(global, "/v1/services")?;
    if let Some(name) = &args.name {
        services.retain(|service| is_named(name, &service.namespace, &service.name));
        found(!services.is_empty(), "service", name)?;
    }
    output.print(&services, |services, style| {
        render::services(services, style)
    })
}

pub(super) fn policy(global: &Global, args: &NameArgs, output: &Output) -> Result<Code, Failure> {
    let mut policies: Vec<Policy> = daemon::look(global, "/v1/policy")?;
    if let Some(name) = &args.name {
        policies.retain(|policy| is_named(name, &policy.namespace, &policy.name));
        found(!policies.is_empty(), "policy", name)?;
    }
    output.print(&policies, |policies, style| {
        render::policies(policies, style)
    })
}

pub(super) fn identities(
    global: &Global,
    args: &IdentityArgs,
    output: &Output,
) -> Result<Code, Failure> {
    let mut identities: Vec<Identity> = daemon::look(global, "/v1/identities")?;
    if let Some(which) = &args.which {
        identities.retain(|identity| identity_is(which, identity));
        found(!identities.is_empty(), "identity", which)?;
    }
    output.print(&identities, |identities, style| {
        render::identities(identities, style)
    })
}

pub(super) fn flows(global: &Global, args: &FlowArgs, output: &Output) -> Result<Code, Failure> {
    let state = args.state.and_then(|state| state.to_possible_value());
    let query = FlowQuery {
        service: args.service.clone(),
        backend: args.backend.clone(),
        state: state.map(|state| state.get_name().to_owned()),
        tier: args.tier.map(Into::into),
        from: args.from.clone(),
        to: args.to.clone(),
        limit: (args.limit > 0).then_some(args.limit),
    };
    query
        .check()
        .map_err(|what| Failure::usage(what, "see `terrace flows --help`"))?;
    let path = format!("/v1/flows?{}", query_of(&query));
    output.print(&daemon::look::<Flows>(global, &path)?, render::flows)
}

pub(super) fn sockets(global: &Global, output: &Output) -> Result<Code, Failure> {
    output.print(
        &daemon::get::<Sockets>(global, "/v1/sockets")?,
        render::sockets,
    )
}

pub(super) fn reasons(
    global: &Global,
    args: &ReasonArgs,
    output: &Output,
) -> Result<Code, Failure> {
    let first = counted(global, args)?;
    if args.watch {
        return watch(global, args, output, first);
    }
    if args.all && output.is_json() {
        return output.print(&with_zero(first), |_, _| String::new());
    }
    let render = if args.all {
        render::reasons_with_zero
    } else {
        render::reasons
    };
    output.print(&first, |reasons, style| render(reasons, style))
}

/// Each reason that nothing was counted under, once, of no interface.
fn with_zero(mut counts: Vec<ReasonCount>) -> Vec<ReasonCount> {
    let missing = Reason::ALL
        .iter()
        .filter(|reason| !counts.iter().any(|count| count.number == reason.number()));
    let zero = missing.map(|reason| ReasonCount {
        iface: String::new(),
        hook: String::new(),
        number: reason.number(),
        reason: reason.name().to_owned(),
        class: reason.class().name().to_owned(),
        text: reason.text().to_owned(),
        packets: 0,
        bytes: 0,
    });
    let zero: Vec<_> = zero.collect();
    counts.extend(zero);
    counts
}

/// What was counted between two looks.
#[derive(Debug, Serialize)]
struct Tick {
    seconds: u64,
    reasons: Vec<ReasonCount>,
}

/// Until a signal or a reader that has gone ends it.
fn watch(
    global: &Global,
    args: &ReasonArgs,
    output: &Output,
    first: Vec<ReasonCount>,
) -> Result<Code, Failure> {
    let mut before = first;
    loop {
        std::thread::sleep(Duration::from_secs(args.interval));
        let now = counted(global, args)?;
        let reasons = since(&before, &now);
        before = now;
        let text = match output.is_json() {
            true => serde_json::to_string(&Tick {
                seconds: args.interval,
                reasons,
            })
            .map_err(|error| Failure::new(Code::Failure, error.to_string(), ""))?,
            false => render::reasons_since(&reasons, args.interval, &output.style),
        };
        if !write_while_read(&text)? {
            return Ok(Code::Ok);
        }
    }
}

/// The counters that grew, by how much.
fn since(before: &[ReasonCount], now: &[ReasonCount]) -> Vec<ReasonCount> {
    let grown = now.iter().filter_map(|n| {
        let same =
            |b: &&ReasonCount| (&b.iface, &b.hook, b.number) == (&n.iface, &n.hook, n.number);
        let (packets, bytes) = before
            .iter()
            .find(same)
            .map_or((0, 0), |b| (b.packets, b.bytes));
        let packets = n.packets.saturating_sub(packets);
        let bytes = n.bytes.saturating_sub(bytes);
        (packets > 0).then(|| ReasonCount {
            packets,
            bytes,
            ..n.clone()
        })
    });
    grown.collect()
}

fn counted(global: &Global, args: &ReasonArgs) -> Result<Vec<ReasonCount>, Failure> {
    let mut reasons: Vec<ReasonCount> = daemon::look(global, "/v1/reasons")?;
    let class = args.class.and_then(|class| class.to_possible_value());
    reasons.retain(|reason| {
        class
            .as_ref()
            .is_none_or(|class| class.get_name() == reason.class)
            && args
                .iface
                .as_ref()
                .is_none_or(|iface| *iface == reason.iface)
    });
    Ok(reasons)
}

pub(super) fn shortcut(
    global: &Global,
    args: &ShortcutArgs,
    output: &Output,
) -> Result<Code, Failure> {
    let path = "/v1/shortcut";
    let shown: Shortcut = match args.switch {
        None => daemon::get(global, path)?,
        Some(switch) => {
            let enabled = switch == Switch::On;
            daemon::client(global).post(path, &ShortcutSwitch { enabled })?
        }
    };
    output.print(&shown, render::shortcut)
}

pub(super) fn move_task(
    global: &Global,
    args: &MoveArgs,
    output: &Output,
) -> Result<Code, Failure> {
    let request = MoveRequest {
        task: args.task,
        iface: args.iface.clone(),
        tier: args.tier.0,
    };
    let moved: Moved = daemon::client(global).post("/v1/move", &request)?;
    output.print(&moved, render::moved)
}

pub(super) fn reload(global: &Global, output: &Output) -> Result<Code, Failure> {
    let reload: Reload = daemon::client(global).post("/v1/reload", &())?;
    output.print(&reload, render::reload)
}

/// This program, and the daemon when one runs.
#[derive(Debug, Serialize)]
struct Versions {
    program: Version,
    daemon: Option<Version>,
}

pub(super) fn version(global: &Global, output: &Output) -> Result<Code, Failure> {
    let versions = Versions {
        program: Version::of_this_program(),
        daemon: daemon::client(global).get("/v1/version").ok(),
    };
    output.print(&versions, |versions, _| {
        let line = |name: &str, v: &Version| {
            format!(
                "{name:<9}{} (tables' layout {})\n",
                v.version, v.abi_version
            )
        };
        let daemon = match &versions.daemon {
            Some(version) => line("daemon", version),
            None => "daemon   not reachable\n".into(),
        };
        line("terrace", &versions.program) + &daemon
    })
}

fn is_named(wanted: &str, namespace: &str, name: &str) -> bool {
    match wanted.split_once('/') {
        Some((ns, n)) => (ns, n) == (namespace, name),
        None => wanted == name,
    }
}

fn identity_is(wanted: &str, identity: &Identity) -> bool {
    let label = |(key, value): (&String, &String)| match wanted.split_once('=') {
        Some((k, v)) => k == key && v == value,
        None => wanted == key,
    };
    wanted == identity.number.to_string()
        || wanted == identity.name
        || identity.addresses.iter().any(|address| address == wanted)
        || identity.labels.iter().any(label)
}

fn found(found: bool, what: &str, name: &str) -> Result<(), Failure> {
    match found {
        true => Ok(()),
        false => {
            let fix = "the command without a name lists all that there are";
            Err(Failure::new(
                Code::Failure,
                format!("there is no {what} {name:?}"),
                fix,
            ))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reason(iface: &str, number: u32, packets: u64) -> ReasonCount {
        ReasonCount {
            iface: iface.into(),
            hook: "xdp".into(),
            number,
            reason: "tx".into(),
            class: "forward".into(),
            text: String::new(),
            packets,
            bytes: packets * 100,
        }
    }

    #[test]
    fn a_look_counts_only_what_came_since_the_last() {
        let before = [reason("a", 1, 5), reason("a", 2, 7), reason("b", 1, 9)];
        let now = [
            reason("a", 1, 5),
            reason("a", 2, 10),
            reason("b", 1, 8),
            reason("b", 3, 4),
        ];
        let grown = since(&before, &now);
        assert_eq!(grown, [reason("a", 2, 3), reason("b", 3, 4)]);
    }

    #[test]
    fn a_name_may_leave_out_its_namespace() {
        let rows = [
            ("web", true),
            ("default/web", true),
            ("other/web", false),
            ("default", false),
        ];
        for (wanted, expected) in rows {
            assert_eq!(is_named(wanted, "default", "web"), expected, "{wanted}");
        }
    }

    #[test]
    fn an_identity_is_found_by_number_name_label_and_address() {
        let identity = Identity {
            number: 256,
            name: "x".into(),
            labels: [("app".to_owned(), "web".to_owned())].into(),
            addresses: vec!["10.1.0.5".into()],
            ifaces: vec![],
            ingress_enforced: false,
            egress_enforced: false,
        };
        let rows = [
            ("256", true),
            ("25", false),
            ("x", true),
            ("app", true),
            ("app=web", true),
            ("app=db", false),
            ("10.1.0.5", true),
            ("10.1.0.50", false),
        ];
        for (wanted, expected) in rows {
            assert_eq!(identity_is(wanted, &identity), expected, "{wanted}");
        }
    }
}
