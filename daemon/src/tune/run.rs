//! Running steps and taking them back.

use std::fs;
use std::io;
use std::process::{Command, Stdio};

use super::{Journal, Place, StepState};

/// Runs a command of a rule, without a shell: words, or `echo VALUE > FILE`.
///
/// # Errors
/// What the command said.
pub fn command(text: &str) -> Result<(), String> {
    let words: Vec<&str> = text.split_whitespace().collect();
    match words[..] {
        ["echo", value, ">", file] => {
            fs::write(file, value).map_err(|error| format!("write {value} to {file}: {error}"))
        }
        [program, ref arguments @ ..] => program_of(text, program, arguments),
        [] => Err("there is no command".into()),
    }
}

fn program_of(text: &str, program: &str, arguments: &[&str]) -> Result<(), String> {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => {
                format!("{program} is not installed (apt install {program})")
            }
            _ => format!("{text}: {error}"),
        })?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("`{text}`: {}", said.trim().replace('\n', "; ")))
}

/// Runs all steps, each noted in the journal before and after it is run. The
/// first failure takes everything back.
///
/// # Errors
/// The step that failed, and what could not be taken back.
pub fn apply(
    place: &Place,
    journal: &mut Journal,
    run: &mut dyn FnMut(&str) -> Result<(), String>,
) -> Result<(), String> {
    for at in 0..journal.steps.len() {
        set(place, journal, at, StepState::Begun)?;
        let done = run(&journal.steps[at].cmd);
        let state = match done {
            Ok(()) => StepState::Done,
            Err(_) => StepState::Failed,
        };
        set(place, journal, at, state)?;
        if let Err(why) = done {
            return match take_back(place, journal, run) {
                Ok(()) => Err(format!("{why}; everything before it is taken back")),
                Err(also) => Err(format!("{why}; taking back what was before it: {also}")),
            };
        }
    }
    Ok(())
}

/// Takes back what took effect, or may have, the latest first.
///
/// # Errors
/// What could not be taken back; the rest was.
pub fn take_back(
    place: &Place,
    journal: &mut Journal,
    run: &mut dyn FnMut(&str) -> Result<(), String>,
) -> Result<(), String> {
    let mut faults = Vec::new();
    for at in (0..journal.steps.len()).rev() {
        let step = &journal.steps[at];
        if !matches!(step.state, StepState::Done | StepState::Begun) {
            continue;
        }
        let state = match run(&step.undo) {
            Ok(()) => StepState::Undone,
            Err(why) => {
                faults.push(why);
                StepState::Stuck
            }
        };
        faults.extend(set(place, journal, at, state).err());
    }
    match faults.is_empty() {
        true => Ok(()),
        false => Err(faults.join("; ")),
    }
}

fn set(place: &Place, journal: &mut Journal, at: usize, state: StepState) -> Result<(), String> {
    journal.steps[at].state = state;
    let path = place.path().display();
    place
        .write(journal)
        .map_err(|error| format!("write the journal in {path}: {error}"))
}

#[cfg(test)]
mod tests {
    use terrace_offload::Tier;
    use terrace_offload::verdict::Disruption;

    use super::super::Step;
    use super::*;

    fn journal(states: &[StepState]) -> Journal {
        let steps = states.iter().enumerate().map(|(at, state)| Step {
            iface: "eth0".into(),
            tier: Tier::XdpNative,
            rule: format!("rule.{at}"),
            why: String::new(),
            cmd: format!("do {at}"),
            undo: format!("undo {at}"),
            disruption: Disruption::None,
            state: *state,
        });
        Journal {
            steps: steps.collect(),
            guardian: 0,
        }
    }

    /// Runs with the commands that fail; what was run, and the states after it.
    fn applied(steps: usize, fails: &[&str]) -> (Vec<String>, Vec<StepState>, bool) {
        let tmp = tempfile::tempdir().unwrap();
        let place = Place::folder(tmp.path());
        let mut journal = journal(&vec![StepState::Planned; steps]);
        let mut ran = Vec::new();
        let mut run = |text: &str| {
            ran.push(text.to_owned());
            match fails.contains(&text) {
                true => Err(format!("{text} failed")),
                false => Ok(()),
            }
        };
        let done = apply(&place, &mut journal, &mut run).is_ok();
        assert_eq!(place.read().unwrap().unwrap(), journal);
        let states = journal.steps.iter().map(|step| step.state).collect();
        (ran, states, done)
    }

    #[test]
    fn all_steps_or_none() {
        use StepState::{Done, Failed, Planned, Stuck, Undone};
        type Row<'r> = (&'r str, &'r [&'r str], &'r [&'r str], Vec<StepState>, bool);
        let rows: Vec<Row<'_>> = vec![
            (
                "all",
                &[],
                &["do 0", "do 1", "do 2"],
                vec![Done, Done, Done],
                true,
            ),
            (
                "the first fails",
                &["do 0"],
                &["do 0"],
                vec![Failed, Planned, Planned],
                false,
            ),
            (
                "the last fails",
                &["do 2"],
                &["do 0", "do 1", "do 2", "undo 1", "undo 0"],
                vec![Undone, Undone, Failed],
                false,
            ),
            (
                "an undo fails too",
                &["do 2", "undo 1"],
                &["do 0", "do 1", "do 2", "undo 1", "undo 0"],
                vec![Undone, Stuck, Failed],
                false,
            ),
        ];
        for (name, fails, expected, states, done) in rows {
            let (ran, after, ok) = applied(3, fails);
            assert_eq!(ran, expected, "{name}");
            assert_eq!((after, ok), (states, done), "{name}");
        }
    }

    #[test]
    fn a_step_that_was_begun_by_who_died_is_taken_back() {
        let tmp = tempfile::tempdir().unwrap();
        let place = Place::folder(tmp.path());
        let mut journal = journal(&[StepState::Done, StepState::Begun, StepState::Planned]);
        let mut ran = Vec::new();
        let mut run = |text: &str| {
            ran.push(text.to_owned());
            Ok(())
        };
        take_back(&place, &mut journal, &mut run).unwrap();
        assert_eq!(ran, ["undo 1", "undo 0"]);
    }

    #[test]
    fn commands_are_words_and_never_a_shell() {
        let tmp = tempfile::tempdir().unwrap();
        let file = tmp.path().join("numvfs");
        command(&format!("echo 0 > {}", file.display())).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "0");
        let marker = tmp.path().join("marker");
        let tricky = format!("true ; touch {}", marker.display());
        command(&tricky).unwrap();
        assert!(!marker.exists());
        assert!(command("false").is_err());
        let missing = command("terrace-no-such-program x").unwrap_err();
        assert!(missing.contains("not installed"), "{missing}");
        assert!(command("").is_err());
    }
}
