//! One program's answer, in words.

use terrace_abi::{Class, PacketRun, Reason, consts, sys, types};
use terrace_mesh::directory::Directory;

use super::Host;
use super::headers::{changes, tuple_of};
use crate::api::{
    Direction, Hop, Interface, PolicyHit, RuleVerdict, Source, Tier, Tuple, short_labels,
};
use crate::control::names;

/// A program's run on a packet.
pub(super) struct Run<'a> {
    pub hook: &'static str,
    pub tier: Tier,
    pub before: &'a [u8],
    pub run: &'a PacketRun,
}

pub(super) fn hop_of(host: &Host<'_>, iface: &Interface, seen: &Run<'_>) -> Hop {
    let trace = &seen.run.trace;
    let directory = host.directory;
    let reason = Reason::from_number(trace.reason);
    let tuple = tuple_of(seen.before);
    Hop {
        iface: iface.name.clone(),
        hook: seen.hook.to_owned(),
        tier: seen.tier,
        number: trace.reason,
        reason: reason.map_or("unknown", Reason::name).to_owned(),
        class: reason
            .map_or("pass", |reason| reason.class().name())
            .to_owned(),
        text: reason
            .map_or("the program left no reason", Reason::text)
            .to_owned(),
        action: action(seen.hook, seen.run.action, reason),
        service: service(directory, trace.service),
        backend: backend(directory, trace.backend),
        flow: flow(trace),
        source_identity: identity(directory, trace.src_identity),
        destination_identity: identity(directory, trace.dst_identity),
        policy: policy(directory, trace, reason),
        tuple,
        translated: translated(trace).filter(|new| Some(*new) != tuple),
        changes: changes(seen.before, &seen.run.packet),
        out_iface: out_iface(trace, reason),
        frame: seen
            .run
            .packet
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect(),
    }
}

/// The kernel's name of what a program returned (linux/bpf.h, linux/pkt_cls.h).
/// Answers are made by live programs only; they go back where the packet came from.
fn action(hook: &str, action: u32, reason: Option<Reason>) -> String {
    match (hook, reason.map(Reason::class)) {
        ("xdp", Some(Class::Answer)) => return "XDP_TX".into(),
        (_, Some(Class::Answer)) => return "TC_ACT_REDIRECT".into(),
        _ => {}
    }
    let names: &[(i32, &str)] = match hook {
        "xdp" => &[
            (0, "XDP_ABORTED"),
            (1, "XDP_DROP"),
            (2, "XDP_PASS"),
            (3, "XDP_TX"),
            (4, "XDP_REDIRECT"),
        ],
        _ => &[
            (-1, "TC_ACT_UNSPEC"),
            (0, "TC_ACT_OK"),
            (2, "TC_ACT_SHOT"),
            (4, "TC_ACT_STOLEN"),
            (7, "TC_ACT_REDIRECT"),
        ],
    };
    let action = action.cast_signed();
    let known = names.iter().find(|(number, _)| *number == action);
    known.map_or_else(
        || format!("action {action}"),
        |(_, name)| (*name).to_owned(),
    )
}

/// None when nothing was translated: the program leaves zeroes.
fn translated(trace: &types::trace) -> Option<Tuple> {
    let any = trace.new_daddr.iter().any(|word| *word != 0);
    any.then(|| Tuple {
        protocol: trace.key.proto,
        source: names::socket(&trace.new_saddr, trace.new_sport),
        destination: names::socket(&trace.new_daddr, trace.new_dport),
    })
}

fn service(directory: &Directory, index: u32) -> Option<String> {
    (index != 0).then(|| names::service(directory, index))
}

fn backend(directory: &Directory, index: u32) -> Option<String> {
    let address = names::backend(directory, index);
    let pod = directory
        .backends
        .get(&index)
        .map_or("", |backend| &backend.pod);
    match (index, pod) {
        (0, _) => None,
        (_, "") => Some(address),
        (_, pod) => Some(format!("{address} ({pod})")),
    }
}

fn identity(directory: &Directory, number: u32) -> String {
    let name = directory
        .identities
        .get(&number)
        .map(|identity| match identity.name.as_str() {
            "" => short_labels(&identity.labels),
            name => name.to_owned(),
        });
    match (number, name) {
        (0, _) => String::new(),
        (number, Some(name)) if !name.is_empty() => format!("{number} {name}"),
        (number, _) => number.to_string(),
    }
}

fn flow(trace: &types::trace) -> String {
    const STATES: [&str; consts::FLOW_STATES as usize] = [
        "half open",
        "established",
        "closing",
        "closed",
        "unanswered",
        "answered",
        "icmp",
        "tracked",
    ];
    let state = STATES
        .get(trace.flow_state as usize)
        .copied()
        .unwrap_or("tracked");
    match trace.flow_kind {
        consts::FLOW_ORIG => format!("{state}, this is a request"),
        consts::FLOW_REPLY => format!("{state}, this is a reply"),
        _ if trace.service != 0 => "new".into(),
        _ => String::new(),
    }
}

fn policy(
    directory: &Directory,
    trace: &types::trace,
    reason: Option<Reason>,
) -> Option<PolicyHit> {
    let by_default = matches!(reason, Some(Reason::IngressDefault | Reason::EgressDefault));
    if trace.policy == 0 && !by_default {
        return None;
    }
    let allowed = trace.policy & consts::POLICY_ALLOW != 0 && !by_default;
    let number = if by_default { 0 } else { trace.policy >> 8 };
    let rule = directory.rule(number);
    Some(PolicyHit {
        direction: match trace.policy_direction {
            consts::DIRECTION_EGRESS => Direction::Egress,
            _ => Direction::Ingress,
        },
        verdict: if allowed {
            RuleVerdict::Allow
        } else {
            RuleVerdict::Deny
        },
        rule: number,
        policy: rule
            .map(|rule| format!("{:?} {}", rule.kind, rule.policy))
            .unwrap_or_default(),
        source: rule.map_or_else(Source::default, |rule| Source {
            file: rule.source.file.display().to_string(),
            line: rule.source.line,
        }),
    })
}

/// The interface that a packet leaves by; of a packet too big for its way the
/// program notes the MTU there instead.
fn out_iface(trace: &types::trace, reason: Option<Reason>) -> Option<String> {
    if trace.out_ifindex == 0 || reason == Some(Reason::TooBig) {
        return None;
    }
    let interfaces = sys::interfaces().unwrap_or_default();
    let name = interfaces
        .into_iter()
        .find(|(index, _)| *index == trace.out_ifindex);
    Some(name.map_or_else(|| format!("link {}", trace.out_ifindex), |(_, name)| name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn actions_have_the_kernels_names() {
        let rows = [
            ("xdp", 3, Some(Reason::Tx), "XDP_TX"),
            ("xdp", 0, Some(Reason::EchoReply), "XDP_TX"),
            ("xdp", 9, None, "action 9"),
            ("tc-ingress", 7, Some(Reason::ToWorkload), "TC_ACT_REDIRECT"),
            ("tc-egress", u32::MAX, None, "TC_ACT_UNSPEC"),
        ];
        for (hook, number, reason, name) in rows {
            assert_eq!(action(hook, number, reason), name);
        }
    }

    #[test]
    fn a_trace_of_nothing_claims_nothing() {
        let trace = types::trace::default();
        let directory = Directory::default();
        assert_eq!(translated(&trace), None);
        assert_eq!(service(&directory, 0), None);
        assert_eq!(backend(&directory, 0), None);
        assert_eq!(identity(&directory, 0), "");
        assert_eq!(flow(&trace), "");
        assert_eq!(policy(&directory, &trace, Some(Reason::NotOurs)), None);
        assert_eq!(out_iface(&trace, None), None);
    }

    #[test]
    fn a_denial_by_default_is_told_without_a_rule() {
        let trace = types::trace {
            policy_direction: consts::DIRECTION_EGRESS,
            ..types::trace::default()
        };
        let hit = policy(&Directory::default(), &trace, Some(Reason::EgressDefault)).unwrap();
        assert_eq!(
            (hit.direction, hit.verdict, hit.rule),
            (Direction::Egress, RuleVerdict::Deny, 0)
        );
    }

    #[test]
    fn an_allowance_names_its_rule() {
        let trace = types::trace {
            policy: consts::POLICY_ALLOW | 7 << 8,
            policy_direction: consts::DIRECTION_INGRESS,
            ..types::trace::default()
        };
        let hit = policy(&Directory::default(), &trace, Some(Reason::ToWorkload)).unwrap();
        assert_eq!((hit.verdict, hit.rule), (RuleVerdict::Allow, 7));
    }
}
