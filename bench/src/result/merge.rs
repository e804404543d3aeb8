//! Several results as one, each scenario with the run that it is of.

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};

use super::RunFile;

/// The run that a scenario is of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    pub command: String,
    /// UTC, RFC 3339.
    pub started: String,
    /// Kernel, CPU and the rest of [`crate::host::Host::machine`].
    pub machine: String,
    /// [`crate::host::Host::build`].
    pub build: String,
}

impl Origin {
    /// For a document: what was typed, when, and on what, where that is not
    /// what it says of the others already.
    pub fn line(&self, others: Option<&Self>) -> String {
        let machine = match others {
            Some(others) if others.machine == self.machine => String::new(),
            _ => format!("{}, ", self.machine),
        };
        format!(
            "`{}`, {}, {machine}{}",
            shown(&self.command),
            self.started,
            self.build
        )
    }
}

/// A command without the folders and files of whoever typed it.
pub fn shown(command: &str) -> String {
    let mut words = command.split_whitespace();
    let mut kept = Vec::new();
    while let Some(word) = words.next() {
        match word {
            "--out" | "--terrace" => drop(words.next()),
            _ if word.starts_with("--out=") || word.starts_with("--terrace=") => {}
            _ => kept.push(word),
        }
    }
    kept.join(" ")
}

impl RunFile {
    /// What its scenarios without an origin of their own are of.
    pub fn origin(&self) -> Origin {
        Origin {
            command: self.command.clone(),
            started: self.started.clone(),
            machine: self.host.machine(),
            build: self.host.build(),
        }
    }

    /// Several results as one: of a scenario in more than one of them the last
    /// one counts. The run that most of what is left is of gives the result
    /// its date, command and machine; the others' scenarios keep theirs.
    pub fn merge(mut runs: Vec<Self>) -> Result<Self> {
        ensure!(!runs.is_empty(), "no result was given");
        let mut kept = Vec::new();
        for run in &mut runs {
            let origin = run.origin();
            for mut scenario in std::mem::take(&mut run.scenarios) {
                scenario.origin.get_or_insert_with(|| origin.clone());
                kept.retain(|old: &super::Measured| old.name != scenario.name);
                kept.push(scenario);
            }
        }
        let share = |run: &Self| {
            let origin = Some(run.origin());
            kept.iter().filter(|held| held.origin == origin).count()
        };
        let most = (0..runs.len()).max_by_key(|at| share(&runs[*at]));
        let mut merged = runs.swap_remove(most.unwrap_or_default());
        let own = Some(merged.origin());
        for scenario in kept.iter_mut().filter(|held| held.origin == own) {
            scenario.origin = None;
        }
        kept.sort_by(|a, b| a.name.cmp(&b.name));
        merged.scenarios = kept;
        Ok(merged)
    }
}

#[cfg(test)]
mod tests {
    use super::shown;
    use crate::result::tests::{measured, run};
    use crate::result::{Measured, RunFile};

    fn run_of(command: &str, names: &[&str]) -> RunFile {
        let mut made = run(names.iter().map(|name| measured(name, vec![])).collect());
        made.command = command.to_owned();
        made
    }

    /// Name and command of each scenario.
    fn origins<'r>(run: &'r RunFile) -> Vec<(&'r str, &'r str)> {
        let of = |held: &'r Measured| held.origin.as_ref().map_or("", |of| &of.command);
        let scenarios = run.scenarios.iter();
        scenarios
            .map(|held| (held.name.as_str(), of(held)))
            .collect()
    }

    #[test]
    fn the_last_run_of_a_scenario_counts_and_others_keep_their_origin() {
        let standard = run_of("standard", &["a", "b", "c"]);
        let merged = RunFile::merge(vec![run_of("old", &["b", "x"]), standard]).expect("merged");
        let expected = [("a", ""), ("b", ""), ("c", ""), ("x", "old")];
        assert_eq!(merged.command, "standard");
        assert_eq!(origins(&merged), expected);
        let again = run_of("again", &["a", "b", "c"]);
        let merged = RunFile::merge(vec![merged, again]).expect("merged");
        assert_eq!(merged.command, "again");
        assert_eq!(origins(&merged), expected, "through two results");
    }

    #[test]
    fn a_small_run_after_a_large_one_is_not_what_the_result_is_called_after() {
        let merged = RunFile::merge(vec![
            run_of("standard", &["a", "b", "c"]),
            run_of("more", &["b"]),
        ]);
        let merged = merged.expect("merged");
        assert_eq!(merged.command, "standard");
        assert_eq!(origins(&merged), [("a", ""), ("b", "more"), ("c", "")]);
    }

    #[test]
    fn a_command_is_shown_without_folders() {
        let rows = [
            (
                "terrace-bench run --standard --out target/bench",
                "terrace-bench run --standard",
            ),
            (
                "terrace-bench run --terrace /tmp/t a b --out=/tmp/x",
                "terrace-bench run a b",
            ),
            ("terrace-bench run", "terrace-bench run"),
        ];
        for (command, expected) in rows {
            assert_eq!(shown(command), expected);
        }
    }
}
