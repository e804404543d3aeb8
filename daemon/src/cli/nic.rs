//! `terrace nic`: what the interfaces of this host can do.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use terrace_offload::Profiles;
use terrace_offload::ask::{Live, Recorder, Recording, Watch};
use terrace_offload::probe::{Options, SurveyError, replay, survey};
use terrace_offload::report::Report;

use super::args::{Global, NicArgs, NicMode, consent};
use super::exit::{Code, Failure};
use super::output::{Output, write_while_read};
use crate::render;

/// Where an operator corrects what Terrace knows of drivers.
const OVERRIDES: &str = "/etc/terrace/nic-profiles.d";
/// Changes come in bursts; the report waits until they are over.
const CALM: Duration = Duration::from_millis(200);

pub(super) fn nic(_global: &Global, args: &NicArgs, output: &Output) -> Result<Code, Failure> {
    check(args)?;
    let profiles = profiles()?;
    if let Some(path) = &args.replay {
        return from_recording(path, &profiles, output);
    }
    if args.watch {
        return watch(args, &profiles, output);
    }
    let report = match &args.record {
        Some(path) => recorded(path, args, &profiles)?,
        None => report(args, &profiles)?,
    };
    output.print(&report, render::nic)
}

/// Active probes are never run on what was not named, nor unasked.
fn check(args: &NicArgs) -> Result<(), Failure> {
    if args.mode != NicMode::Active && !args.allow.is_empty() {
        let what = "--allow is for active probes";
        return Err(Failure::usage(what, "add --mode active"));
    }
    if args.mode == NicMode::Active && args.interfaces.is_empty() {
        let what = "active probes run on interfaces that are named only";
        return Err(Failure::usage(
            what,
            "name them: terrace nic eth1 --mode active",
        ));
    }
    Ok(())
}

fn profiles() -> Result<Profiles, Failure> {
    let folder = Path::new(OVERRIDES);
    Profiles::load(folder).map_err(|faults| Failure {
        code: Code::Refused,
        what: format!("{OVERRIDES} is refused"),
        fix: "correct the files, or take them away".to_owned(),
        details: faults.0.iter().map(ToString::to_string).collect(),
    })
}

fn options(args: &NicArgs) -> Options {
    Options {
        interfaces: args.interfaces.clone(),
        mode: args.mode.into(),
        consent: consent(&args.allow),
        identify: args.identify,
    }
}

fn report(args: &NicArgs, profiles: &Profiles) -> Result<Report, Failure> {
    let found = survey(&mut Live::default(), &options(args)).map_err(refused)?;
    Ok(Report::of(found, profiles, args.mode.into(), now()))
}

fn recorded(path: &Path, args: &NicArgs, profiles: &Profiles) -> Result<Report, Failure> {
    let mut recorder = Recorder::new(Live::default());
    let found = survey(&mut recorder, &options(args)).map_err(refused)?;
    let report = Report::of(found, profiles, args.mode.into(), now());
    let recording = Recording {
        title: format!("{} {}", report.host.arch, report.host.kernel),
        taken_at: report.taken_at.clone(),
        interfaces: args.interfaces.clone(),
        mode: report.mode,
        consent: consent(&args.allow),
        ..recorder.recording
    };
    let text = serde_json::to_string_pretty(&recording).context("write the recording as JSON")?;
    fs::write(path, text + "\n").with_context(|| format!("write {}", path.display()))?;
    Ok(report)
}

fn from_recording(path: &Path, profiles: &Profiles, output: &Output) -> Result<Code, Failure> {
    let load = |error: anyhow::Error| Failure::new(Code::Refused, format!("{error:#}"), "");
    let recording = Recording::load(path).map_err(|error| load(error.into()))?;
    let found = replay(&recording).map_err(|error| load(error.into()))?;
    let report = Report::of(found, profiles, recording.mode, recording.taken_at);
    output.print(&report, render::nic)
}

/// Prints the report, then what changed and the report again.
fn watch(args: &NicArgs, profiles: &Profiles, output: &Output) -> Result<Code, Failure> {
    let watch = Watch::open().context("listen for changes")?;
    let mut last = report(args, profiles)?;
    output.print(&last, render::nic)?;
    loop {
        watch.wait(CALM, None).context("listen for changes")?;
        // Trials would set off the next change themselves.
        let passive = NicArgs {
            interfaces: args.interfaces.clone(),
            mode: NicMode::Passive,
            allow: Vec::new(),
            watch: true,
            identify: args.identify,
            record: None,
            replay: None,
        };
        let now = report(&passive, profiles)?;
        let changes = now.changes_since(&last);
        if changes.is_empty() {
            continue;
        }
        let told = match output.is_json() {
            true => true,
            false => write_while_read(&format!("\n{}\n{}", now.taken_at, changes.join("\n")))?,
        };
        if !told {
            return Ok(Code::Ok);
        }
        output.print(&now, render::nic)?;
        last = now;
    }
}

fn refused(error: SurveyError) -> Failure {
    match error {
        SurveyError::NoInterface { .. } => {
            let fix = "name one of these; terrace nic without a name reports all";
            Failure::new(Code::Failure, error.to_string(), fix)
        }
        SurveyError::Links(_) => Failure::new(Code::Failure, error.to_string(), ""),
    }
}

fn now() -> String {
    let now = jiff::Timestamp::now();
    now.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_is_of_rfc_3339() {
        let text = now();
        assert!(text.parse::<jiff::Timestamp>().is_ok(), "{text}");
        assert_eq!(text.len(), "2026-11-22T00:49:10Z".len());
    }
}
