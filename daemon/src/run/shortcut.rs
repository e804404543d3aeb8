//! The same-host shortcut in the daemon: tried out, armed, tended.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use terrace_offload::plan::HOST;
use terrace_sock::Cgroup;
use terrace_sock::shortcut::check::{self, Decision, Report};
use terrace_sock::shortcut::{self, Shortcut};

use super::events::Kind;
use super::shared::Shared;
use crate::api::{Change, MoveRequest, Task, Tier};
use crate::config::ShortcutMode;

/// How long a start waits for readers when the shortcut is taken away.
const DRAIN: Duration = Duration::from_secs(5);

/// What became of the shortcut at this start.
#[derive(Debug)]
pub struct State {
    /// None = not wanted, or refused.
    pub armed: Option<Shortcut>,
    pub report: Report,
    /// Why it is armed, or is not.
    pub reason: String,
}

/// Tries it out and arms it, or takes an earlier daemon's away. It runs once.
///
/// # Errors
/// It is required and can't be had.
pub fn arm(shared: &Shared) -> Result<()> {
    let config = &shared.config.shortcut;
    let state = if config.is_wanted() {
        try_and_load(shared)
    } else {
        let reason = match config.mode {
            ShortcutMode::Off => "switched off in the configuration",
            _ => "no cgroup is chosen ([shortcut] cgroups)",
        };
        State::refused(Report::default(), reason.to_owned())
    };
    if state.armed.is_none() {
        take_away(shared);
    }
    if config.is_wanted() {
        let kind = match state.armed {
            Some(_) => Kind::ShortcutArmed,
            None => Kind::ShortcutRefused,
        };
        shared.events.tell(kind, state.reason.clone());
    }
    if config.mode == ShortcutMode::Require && state.armed.is_none() {
        bail!("the shortcut is required, but {}", state.reason);
    }
    // Set once: this runs once.
    let _ = shared.shortcut.set(state);
    Ok(())
}

impl State {
    fn refused(report: Report, reason: String) -> Self {
        Self {
            armed: None,
            report,
            reason,
        }
    }
}

fn try_and_load(shared: &Shared) -> State {
    let config = &shared.config.shortcut;
    let report = match Cgroup::find() {
        // This program again, as the process in the throw-away cgroup.
        Ok(root) => check::run(Command::new("/proc/self/exe"), &root, check::LIMIT),
        Err(error) => Report {
            trouble: Some(error.to_string()),
            ..Report::default()
        },
    };
    if let Decision::Refuse(why) = report.decide(&config.accept) {
        return State::refused(report, why);
    }
    match load(shared) {
        Ok((shortcut, reason)) => State {
            armed: Some(shortcut),
            report,
            reason,
        },
        Err(error) => State::refused(report, format!("{error:#}")),
    }
}

fn load(shared: &Shared) -> Result<(Shortcut, String)> {
    let config = &shared.config.shortcut;
    let cgroups = config.cgroups.iter().map(|path| Cgroup::open(path));
    let cgroups: Vec<Cgroup> = cgroups.collect::<Result<_, _>>()?;
    let shortcut = Shortcut::load(&shared.maps, config.max_pairs)?;
    shortcut.configure(&config.settings)?;
    let attached = shortcut.attach(&cgroups)?;
    let taken = attached.iter().filter(|one| one.taken_over).count();
    let mut reason = format!(
        "the self-test allows it; {} programs, {taken} of them in place of an earlier daemon's",
        attached.len()
    );
    reason += &match config.settings.bulk_bytes {
        0 => "; every size of messages, as none was measured slower".to_owned(),
        bytes => format!("; from {bytes} bytes in one direction on the stack takes over"),
    };
    if !config.accept.is_empty() {
        reason += &format!("; accepted: {}", config.accept.join(", "));
    }
    Ok((shortcut, reason))
}

/// An earlier daemon's, if there is one. What a reader holds back stays until
/// it has read: no byte is lost.
fn take_away(shared: &Shared) {
    if let Err(error) = shortcut::detach(shared.maps.root(), DRAIN) {
        let error = anyhow::Error::from(error);
        shared
            .events
            .tell(Kind::KernelRefused, format!("{error:#}"));
    }
}

/// Takes all of it off; for `terrace detach`.
///
/// # Errors
/// A program has not read all that came by socket: nothing is removed then.
pub fn remove(root: &Path) -> Result<()> {
    shortcut::detach(root, 2 * DRAIN).context("detach the shortcut")
}

/// The live switch.
///
/// # Errors
/// It is not armed.
pub fn switch(shared: &Shared, enabled: bool) -> Result<()> {
    let state = shared.shortcut.get();
    let Some(armed) = state.and_then(|state| state.armed.as_ref()) else {
        let why = state.map_or("the daemon is starting", |state| state.reason.as_str());
        bail!("the shortcut is not armed: {why}");
    };
    armed.set_enabled(enabled)?;
    let word = if enabled { "on" } else { "off" };
    shared
        .events
        .tell(Kind::ShortcutSwitched, format!("new data: {word}"));
    Ok(())
}

/// `terrace move` of the socket layer's tasks: the live switch by another name.
///
/// # Errors
/// What is in the way, and what to do.
pub fn move_to(shared: &Shared, request: &MoveRequest) -> Result<Vec<Change>, String> {
    if request.task == Task::Connect {
        return Err("it is chosen at the start: write [socket] services, then restart".to_owned());
    }
    if request.iface != HOST {
        return Err(format!(
            "{} is of the whole host: name `{HOST}`",
            request.task
        ));
    }
    let enabled = match request.tier {
        Some(Tier::Tc) => false,
        Some(Tier::Socket) | None => true,
        Some(other) => return Err(format!("it never runs on {other}: name socket or tc")),
    };
    switch(shared, enabled).map_err(|error| format!("{error:#}"))?;
    Ok(Vec::new())
}

/// Removes entries of sockets that went without a word.
pub fn tend(shared: &Shared) {
    let state = shared.shortcut.get();
    let Some(armed) = state.and_then(|state| state.armed.as_ref()) else {
        return;
    };
    if let Err(error) = armed.observe() {
        let error = anyhow::Error::from(error);
        shared
            .events
            .tell(Kind::KernelRefused, format!("{error:#}"));
    }
}
