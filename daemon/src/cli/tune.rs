//! `terrace tune`: applies what would unlock better tiers.

use std::env;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use terrace_offload::{Demand, Role};

use super::args::{Global, TuneArgs};
use super::exit::{Code, Failure};
use super::output::Output;
use crate::config::Config;
use crate::render;
use crate::run::Planning;
use crate::tune::{self, Journal, Place, Said, Tuned};

pub(super) fn tune(global: &Global, args: &TuneArgs, output: &Output) -> Result<Code, Failure> {
    if let Some(folder) = &args.guard {
        let confirm = Duration::from_secs(args.confirm.unwrap_or_default());
        tune::guard(&Place::folder(folder), confirm)?;
        return Ok(Code::Ok);
    }
    let config = Config::load(&global.config)?;
    let place = Place::beside(&config.control_socket);
    if args.confirm_now {
        return end(&place, Said::Confirm, output);
    }
    if args.take_back {
        return end(&place, Said::TakeBack, output);
    }
    if args.apply {
        refuse_pending(&place)?;
    }
    let (steps, left) = planned(&config, args)?;
    let nothing = steps.is_empty();
    let mut tuned = Tuned {
        outcome: if nothing { "nothing-to-do" } else { "planned" }.to_owned(),
        confirm_within: None,
        steps,
        left,
    };
    if args.apply && !nothing {
        let confirm = args.confirm.unwrap_or_default();
        tuned.steps = apply(&place, tuned.steps, confirm)?;
        tuned.outcome = "applied".to_owned();
        tuned.confirm_within = Some(confirm);
    }
    output.print(&tuned, render::tuned)
}

/// The steps for the interfaces that are named, else for all that have a role.
fn planned(
    config: &Config,
    args: &TuneArgs,
) -> Result<(Vec<tune::Step>, Vec<tune::Left>), Failure> {
    let mut planning = Planning::of_host(config)?;
    if !args.interfaces.is_empty() {
        let named = |demand: &Demand| args.interfaces.contains(&demand.iface);
        planning.demands.retain(named);
        if let Some(name) = args.interfaces.iter().find(|name| {
            let mut demands = planning.demands.iter();
            !demands.any(|demand| demand.iface == **name && demand.role == Role::Uplink)
        }) {
            let what = format!("{name} is no uplink of the configuration");
            let fix = "name one that is; workloads are served in tc and need no tuning";
            return Err(Failure::usage(what, fix));
        }
    }
    let plan = planning.plan();
    Ok(tune::steps(
        planning.machine(),
        &planning.demands,
        &plan,
        args.all,
    ))
}

/// One transaction at a time, or nobody knows what an undo goes back to.
fn refuse_pending(place: &Place) -> Result<(), Failure> {
    let read = place
        .read()
        .context("read the journal of an earlier tune")?;
    match read {
        None => Ok(()),
        Some(_) => {
            let fix = "terrace tune --confirm-now keeps it, terrace tune --take-back does not";
            let what = "an earlier tune is not confirmed yet";
            Err(Failure::new(Code::Failure, what, fix))
        }
    }
}

/// The guardian first, then the steps: so there is no moment in which nobody
/// would take them back.
fn apply(place: &Place, steps: Vec<tune::Step>, confirm: u64) -> Result<Vec<tune::Step>, Failure> {
    let mut journal = Journal { steps, guardian: 0 };
    place
        .write(&journal)
        .with_context(|| format!("write the journal in {}", place.path().display()))?;
    let mut guardian = match spawn(place, confirm) {
        Ok(guardian) => guardian,
        Err(error) => {
            place.clear().context("remove the journal")?;
            return Err(error.into());
        }
    };
    journal.guardian = guardian.id();
    let done = tune::apply(place, &mut journal, &mut tune::command);
    if let Err(why) = done {
        // It finds nothing to take back, and clears the journal.
        drop(guardian.stdin.take());
        guardian.wait().context("wait for the guardian")?;
        let fix = "mend what failed; nothing is changed now";
        return Err(Failure::new(Code::Failure, why, fix));
    }
    let mut pipe = guardian.stdin.take().context("the guardian's input")?;
    pipe.write_all(b"applied\n").context("tell the guardian")?;
    Ok(journal.steps)
}

fn spawn(place: &Place, confirm: u64) -> anyhow::Result<Child> {
    let program = env::current_exe().context("find this program")?;
    let mut guardian = Command::new(program)
        .args(["tune", "--guard"])
        .arg(place.path())
        .args(["--confirm", &confirm.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .context("start the guardian")?;
    let stdout = guardian.stdout.take().context("the guardian's output")?;
    let mut ready = String::new();
    BufReader::new(stdout).read_line(&mut ready)?;
    match ready.trim() {
        "ready" => Ok(guardian),
        _ => Err(anyhow!("the guardian did not start; nothing was changed")),
    }
}

/// Tells the guardian; when it has died, its work is done here.
fn end(place: &Place, said: Said, output: &Output) -> Result<Code, Failure> {
    let journal = place.read().context("read the journal")?;
    let Some(mut journal) = journal else {
        let fix = "terrace tune --plan shows what could be tuned";
        return Err(Failure::new(Code::Failure, "no tune is under way", fix));
    };
    match (tune::tell(place, said), said) {
        (Ok(answer), _) if answer.starts_with("failed") => {
            return Err(Failure::new(Code::Failure, answer, "undo the rest by hand"));
        }
        (Ok(_), _) => {}
        (Err(_), Said::Confirm) => place.clear().context("remove the journal")?,
        (Err(_), Said::TakeBack) => {
            tune::take_back(place, &mut journal, &mut tune::command)
                .map_err(|why| Failure::new(Code::Failure, why, "undo the rest by hand"))?;
            place.clear().context("remove the journal")?;
        }
    }
    if said == Said::TakeBack {
        for step in &mut journal.steps {
            step.state = tune::StepState::Undone;
        }
    }
    let tuned = Tuned {
        outcome: match said {
            Said::Confirm => "confirmed",
            Said::TakeBack => "taken-back",
        }
        .to_owned(),
        confirm_within: None,
        steps: journal.steps,
        left: Vec::new(),
    };
    output.print(&tuned, render::tuned)
}
