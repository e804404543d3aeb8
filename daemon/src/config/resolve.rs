//! From the text of `terrace.toml` to the resolved configuration.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value as Json;
use terrace_abi::Limits;
use terrace_offload::damper::Patience;
use terrace_offload::verdict::Disruption;
use toml::de::DeTable;

use super::l7;
use super::offload;
use super::section::{Section, Source, Wrong};
use super::shortcut;
use super::socket;
use super::values::{
    address, boolean, duration, integer, loopback, path, pattern, ports, prefix, prime, text, word,
};
use super::{
    Config, FailMode, Faults, HealthCheck, HealthDefaults, InterfaceRule, Moves, NoBackend,
    PolicyDefaults, Role, Services, Task, Tier, Timeouts, Wish,
};

const ROLES: [(&str, Role); 2] = [("uplink", Role::Uplink), ("workload", Role::Workload)];
const TASKS: [(&str, Task); 4] = [
    ("prefilter", Task::Prefilter),
    ("steer", Task::Steer),
    ("policy", Task::Policy),
    ("deliver", Task::Deliver),
];
const TIERS: [(&str, Tier); 4] = [
    ("nic", Tier::Nic),
    ("xdp-native", Tier::XdpNative),
    ("xdp-generic", Tier::XdpGeneric),
    ("tc", Tier::Tc),
];
const WISHES: [(&str, Wish); 3] = [
    ("auto", Wish::Auto),
    ("require", Wish::Require),
    ("forbid", Wish::Forbid),
];
const DISRUPTIONS: [(&str, Disruption); 3] = [
    ("none", Disruption::None),
    ("traffic_pause", Disruption::TrafficPause),
    ("link_flap", Disruption::LinkFlap),
];
const NO_BACKEND: [(&str, NoBackend); 2] =
    [("reject", NoBackend::Reject), ("drop", NoBackend::Drop)];
const FAIL_MODES: [(&str, FailMode); 3] = [
    ("last", FailMode::Last),
    ("open", FailMode::Open),
    ("closed", FailMode::Closed),
];
const CHECKS: [(&str, HealthCheck); 3] = [
    ("off", HealthCheck::Off),
    ("tcp", HealthCheck::Tcp),
    ("http", HealthCheck::Http),
];

pub(super) fn resolve(file: &Path, text: &str) -> Result<Config, Faults> {
    let source = Source::new(file, text);
    let (document, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        let wrong = Wrong::new(error.message(), "see https://toml.io for the format");
        source.fault(error.span().map(|span| span.start), "", wrong);
    }
    if !errors.is_empty() {
        // What follows a fault of syntax is guesswork.
        return source.finish(Config::default());
    }
    let top = Section::top(&source, document.get_ref());
    let config = host(&top, file);
    top.refuse_unknown();
    source.finish(config)
}

fn host(top: &Section<'_>, file: &Path) -> Config {
    let folder = file.parent().unwrap_or(Path::new(""));
    let default = Config::default();
    Config {
        file: file.to_owned(),
        manifests: top.read("manifests", default.manifests, |v| path(v, folder)),
        deny_lists: top.list("deny_lists", |v| path(v, folder)),
        node_name: top.read("node_name", default.node_name, text),
        remote_nodes: top.list("remote_nodes", address),
        cluster_cidrs: top.list("cluster_cidrs", prefix),
        control_socket: top.read("control_socket", default.control_socket, |v| {
            path(v, folder)
        }),
        metrics_listen: top.read("metrics_listen", default.metrics_listen, loopback),
        pin_root: top.read("pin_root", default.pin_root, |v| path(v, folder)),
        manage_sysctls: top.read("manage_sysctls", default.manage_sysctls, boolean),
        interfaces: interfaces(top),
        moves: moves(top.section("moves")),
        offload: offload::read(top.section("offload")),
        services: services(top.section("services")),
        shortcut: shortcut::read(top.section("shortcut"), folder),
        socket: socket::read(top.section("socket"), folder),
        l7: l7::read(top.section("l7")),
        policy: policy(top.section("policy")),
        health: health(top.section("health")),
        timeouts: timeouts(top.section("timeouts")),
        limits: limits(top.section("limits")),
    }
}

fn interfaces(top: &Section<'_>) -> Vec<InterfaceRule> {
    let fix = "name one: [[interfaces]] match = \"eth0\" role = \"uplink\"";
    let sections = top.sections("interfaces", Wrong::new("no interface is named", fix));
    let mut rules: Vec<InterfaceRule> = Vec::with_capacity(sections.len());
    for section in sections {
        let name = section.required("match", "write a name or a glob", pattern);
        let fix = "write role = \"uplink\" (towards the network) or \"workload\"";
        let role = section.required("role", fix, |v| word(v, &ROLES));
        let tiers = tiers(section.section("tiers"), role);
        if let (Some((pattern, matcher)), Some(role)) = (name, role) {
            if let Some(earlier) = rules.iter().find(|rule| rule.matcher.is_match(&pattern)) {
                let what = format!(
                    "{pattern:?} is already matched by {:?} above",
                    earlier.pattern
                );
                section.fault(
                    "match",
                    Wrong::new(what, "remove it, or move it further up"),
                );
            }
            rules.push(InterfaceRule {
                pattern,
                matcher,
                role,
                tiers,
            });
        }
        section.refuse_unknown();
    }
    rules
}

fn tiers(section: Section<'_>, role: Option<Role>) -> BTreeMap<Task, BTreeMap<Tier, Wish>> {
    let mut tasks = BTreeMap::new();
    for (name, task) in TASKS {
        let wishes = section.section(name);
        let mut tiers = BTreeMap::new();
        for (tier_name, tier) in TIERS {
            if let Some(wish) = wishes.optional(tier_name, |v| word(v, &WISHES)) {
                tiers.insert(tier, wish);
            }
        }
        if tiers
            .values()
            .filter(|wish| **wish == Wish::Require)
            .count()
            > 1
        {
            let what = "more than one tier is required for one task";
            wishes.fault(
                "",
                Wrong::new(what, "require one, and leave the others out"),
            );
        }
        if TIERS
            .iter()
            .all(|(_, tier)| tiers.get(tier) == Some(&Wish::Forbid))
        {
            let fix = "leave at least one tier to the task";
            wishes.fault("", Wrong::new("every tier is forbidden", fix));
        }
        wishes.refuse_unknown();
        if tiers.is_empty() {
            continue;
        }
        if role.is_some_and(|role| !role.tasks().contains(&task)) {
            let what = "interfaces of this role do not have this task";
            section.fault(
                name,
                Wrong::new(what, "remove it, or write it for an uplink"),
            );
        }
        tasks.insert(task, tiers);
    }
    section.refuse_unknown();
    tasks
}

fn moves(section: Section<'_>) -> Moves {
    let default = Moves::default();
    let patience = default.patience;
    let moves = Moves {
        disruption: section.read("disruption", default.disruption, |v| word(v, &DISRUPTIONS)),
        patience: Patience {
            settle: section.read("settle", patience.settle, duration),
            hold: section.read("hold", patience.hold, duration),
            ..patience
        },
    };
    section.refuse_unknown();
    moves
}

fn services(section: Section<'_>) -> Services {
    let default = Services::default();
    let services = Services {
        maglev_size: section.read("maglev_size", default.maglev_size, prime),
        no_backend: section.read("no_backend", default.no_backend, |v| word(v, &NO_BACKEND)),
        answer_echo: section.read("answer_echo", default.answer_echo, boolean),
        snat_ports: section.read("snat_ports", default.snat_ports, ports),
        fail_mode: section.read("fail_mode", default.fail_mode, |v| word(v, &FAIL_MODES)),
        heartbeat_timeout: section.read("heartbeat_timeout", default.heartbeat_timeout, duration),
    };
    if services.heartbeat_timeout.as_millis() < 1000 {
        let fix = "write \"1s\" or more: a busy host may delay the daemon that long";
        section.fault("heartbeat_timeout", Wrong::new("is below one second", fix));
    }
    section.refuse_unknown();
    services
}

fn policy(section: Section<'_>) -> PolicyDefaults {
    let default = PolicyDefaults::default();
    let policy = PolicyDefaults {
        allow_host_ingress: section.read("allow_host_ingress", default.allow_host_ingress, boolean),
        check_source: section.read("check_source", default.check_source, boolean),
    };
    section.refuse_unknown();
    policy
}

fn health(section: Section<'_>) -> HealthDefaults {
    let default = HealthDefaults::default();
    let count = |v: &super::section::Value<'_>| integer(v, 1..=100);
    let health = HealthDefaults {
        check: section.read("check", default.check, |v| word(v, &CHECKS)),
        interval: section.read("interval", default.interval, duration),
        timeout: section.read("timeout", default.timeout, duration),
        healthy_after: section.read("healthy_after", default.healthy_after, count),
        unhealthy_after: section.read("unhealthy_after", default.unhealthy_after, count),
        http_path: section.read("http_path", default.http_path, text),
    };
    if health.timeout > health.interval {
        let fix = "give it at most the interval, or checks of one backend overlap";
        section.fault("timeout", Wrong::new("is longer than the interval", fix));
    }
    if !health.http_path.starts_with('/') {
        let fix = format!("write \"/{}\"", health.http_path);
        section.fault("http_path", Wrong::new("does not begin with /", fix));
    }
    section.refuse_unknown();
    health
}

fn timeouts(section: Section<'_>) -> Timeouts {
    let default = Timeouts::default();
    let timeouts = Timeouts {
        new: section.read("new", default.new, duration),
        established: section.read("established", default.established, duration),
        closing: section.read("closing", default.closing, duration),
        closed: section.read("closed", default.closed, duration),
        udp: section.read("udp", default.udp, duration),
        udp_stream: section.read("udp_stream", default.udp_stream, duration),
        icmp: section.read("icmp", default.icmp, duration),
        other: section.read("other", default.other, duration),
    };
    section.refuse_unknown();
    timeouts
}

/// The keys are the fields of [`Limits`], so that a new table needs no line here.
fn limits(section: Section<'_>) -> Limits {
    let default = Limits::default();
    let Ok(Json::Object(mut fields)) = serde_json::to_value(default) else {
        return default;
    };
    for (key, size) in &mut fields {
        if let Some(wanted) = section.optional(key, |v| integer(v, 1..=1 << 26)) {
            *size = wanted.into();
        }
    }
    section.refuse_unknown();
    serde_json::from_value(Json::Object(fields)).unwrap_or(default)
}
