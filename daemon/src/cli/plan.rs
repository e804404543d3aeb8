//! `terrace plan`: where each task runs, or would run.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Context;
use terrace_offload::facts::InterfaceRole;
use terrace_offload::plan::changes;
use terrace_offload::probe::Survey;
use terrace_offload::report::Report;
use terrace_offload::{Demand, Machine, Policy, Wishes};

use super::args::{Global, PlanArgs};
use super::daemon;
use super::exit::{Code, Failure};
use super::offline;
use super::output::Output;
use crate::api::{Interface, Placement, Plan, Role, Task, Tier};
use crate::config::Config;
use crate::netlink::{Netlink, Network};
use crate::render;
use crate::run::sockets::placed;
use crate::run::{Planning, profiles};

pub(super) fn plan(global: &Global, args: &PlanArgs, output: &Output) -> Result<Code, Failure> {
    let plan = match (&args.nic, args.offline) {
        (Some(report), _) => of_report(global, report, args.trust_profile)?,
        (None, true) => of_this_host(global)?,
        (None, false) => match daemon::get(global, "/v1/plan") {
            Err(failure) if failure.code == Code::NoDaemon => of_this_host(global)?,
            answer => answer?,
        },
    };
    output.print(&plan, render::plan)?;
    Ok(if plan.refusals.is_empty() {
        Code::Ok
    } else {
        Code::Refused
    })
}

/// What a daemon that started now would plan, and what that would change.
fn of_this_host(global: &Global) -> Result<Plan, Failure> {
    let config = Config::load(&global.config)?;
    let mut plan = Planning::of_host(&config)?.plan();
    // Who may not look at programs gets the plan without the comparison.
    let running = match network().and_then(|network| offline::interfaces(&config, &network)) {
        Ok(interfaces) => Some(running(&interfaces)),
        Err(_) => None,
    };
    plan.changes = running.map_or_else(Vec::new, |running| changes(&running, &plan));
    placed::add_wanted(&mut plan, &config);
    Ok(plan)
}

/// Where tasks run now, by what is attached.
fn running(interfaces: &[Interface]) -> Plan {
    let mut plan = Plan::default();
    for iface in interfaces {
        let xdp = iface.attachments.iter().find(|a| a.hook == "xdp");
        let xdp = xdp.map(|attachment| match attachment.kind.as_str() {
            "generic" => Tier::XdpGeneric,
            _ => Tier::XdpNative,
        });
        if iface.attachments.is_empty() {
            continue;
        }
        for &task in iface.role.tasks() {
            let in_xdp =
                matches!(task, Task::Prefilter | Task::Steer) && iface.role == Role::Uplink;
            plan.placements.push(Placement {
                task,
                iface: iface.name.clone(),
                tier: xdp.filter(|_| in_xdp).unwrap_or(Tier::Tc),
                reason: String::new(),
                confidence: Default::default(),
                blockers: Vec::new(),
                front: None,
            });
        }
    }
    plan
}

/// What would be planned on the machine that a report is of. Without a
/// configuration every interface that leads somewhere is an uplink.
fn of_report(global: &Global, path: &Path, trust_profile: bool) -> Result<Plan, Failure> {
    let refused = |why: String| {
        let fix = "write one on that machine: terrace nic --json > report.json";
        Failure::new(Code::Refused, why, fix)
    };
    let report = Report::load(path).map_err(|error| refused(error.to_string()))?;
    let survey = Survey {
        host: report.host,
        interfaces: report.interfaces.into_iter().map(|i| i.known).collect(),
    };
    let config = match global.config.exists() {
        true => Some(Config::load(&global.config)?),
        false => None,
    };
    let demands = demands(&survey, config.as_ref());
    let profiles = profiles()?;
    let machine = Machine {
        host: &survey.host,
        interfaces: &survey.interfaces,
        profiles: &profiles,
    };
    let policy = Policy {
        trust_profile,
        ..Policy::of_daemon(terrace_offload::verdict::Disruption::None)
    };
    let wishes = config
        .map(|config| wishes(&config, &demands))
        .unwrap_or_default();
    Ok(terrace_offload::plan(machine, &demands, &wishes, policy))
}

fn demands(survey: &Survey, config: Option<&Config>) -> Vec<Demand> {
    let role = |name: &str, role: InterfaceRole| match config {
        Some(config) => config.rule_of(name).map(|rule| rule.role),
        None => {
            let leads_on = !matches!(role, InterfaceRole::Virtual | InterfaceRole::Loopback);
            leads_on.then_some(Role::Uplink)
        }
    };
    let interfaces = survey.interfaces.iter();
    interfaces
        .filter_map(|iface| Some(Demand::new(&iface.name, role(&iface.name, iface.role)?)))
        .collect()
}

fn wishes(config: &Config, demands: &[Demand]) -> Wishes {
    let of = |demand: &Demand| {
        let tiers: BTreeMap<_, _> = config.rule_of(&demand.iface)?.tiers.clone();
        Some((demand.iface.clone(), tiers))
    };
    Wishes(demands.iter().filter_map(of).collect())
}

/// Links and addresses of this network namespace, as they are now.
pub(super) fn network() -> Result<Network, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start the client")?;
    let network = runtime.block_on(async {
        let (netlink, _changes) = Netlink::open()?;
        netlink.network().await
    });
    Ok(network.context("ask the kernel for the interfaces")?)
}
