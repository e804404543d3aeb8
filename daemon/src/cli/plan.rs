//! `terrace plan`: where each task runs.

use anyhow::Context;

use super::args::{Global, PlanArgs};
use super::daemon;
use super::exit::{Code, Failure};
use super::output::Output;
use crate::api::Plan;
use crate::config::Config;
use crate::netlink::{Netlink, Network};
use crate::render;

pub(super) fn plan(global: &Global, args: &PlanArgs, output: &Output) -> Result<Code, Failure> {
    let plan = match args.offline {
        true => of_this_host(global)?,
        false => match daemon::get(global, "/v1/plan") {
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

/// What a daemon that started now would plan.
fn of_this_host(global: &Global) -> Result<Plan, Failure> {
    Ok(crate::run::plan(&Config::load(&global.config)?)?)
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
