//! Tables of documents, made of results only. A document marks where a table
//! goes; everything between the marks is written anew:
//!
//! ```text
//! <!-- bench:how-fast -->
//! <!-- bench:end -->
//! ```

mod curves;

use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize;

use crate::library;
use crate::page;
use crate::result::{ArmResult, Measured, Origin, RunFile, metric, shown};
use crate::stats::{median, paired_ratio};
use crate::tables::{interval, number, section};

const BEGIN: &str = "<!-- bench:";
const END: &str = "<!-- bench:end -->";

/// `docs.toml`: the tables of documents.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Tables {
    table: Vec<Table>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    name: String,
    #[serde(default)]
    row: Vec<Claim>,
    #[serde(default)]
    curve: Vec<curves::Curve>,
    /// Scenarios whose own tables stand there.
    #[serde(default)]
    whole: Vec<String>,
}

impl Table {
    /// The scenarios that it quotes, each once.
    fn scenarios(&self) -> Vec<&str> {
        let rows = self.row.iter().map(|claim| claim.scenario.as_str());
        let curves = self.curve.iter().map(|curve| curve.scenario.as_str());
        let mut names: Vec<&str> = Vec::new();
        let whole = self.whole.iter().map(String::as_str);
        for name in rows.chain(curves).chain(whole) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }
}

/// One row: a metric of one arm, as it is or over another arm.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Claim {
    what: String,
    scenario: String,
    arm: String,
    metric: String,
    /// Of several, the best by its median.
    over: Option<Over>,
    at: Option<f64>,
    /// Written behind the number.
    #[serde(default)]
    unit: String,
    /// `<= 1.0` or `>= 2.8`; of a ratio the far end of its interval counts.
    target: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Over {
    One(String),
    BestOf(Vec<String>),
}

/// What a claim comes to.
struct Found {
    shown: String,
    low: f64,
    high: f64,
}

/// Writes `DATE.md` and `DATE.json` into the folder of results, and every
/// marked table of the documents anew.
pub fn refresh(run: &RunFile, results: &Path, documents: &[std::path::PathBuf]) -> Result<()> {
    ensure!(
        !run.scenarios.iter().any(|held| is_quick(held, run)),
        "figures of `--quick` show that it works, and nothing else: they are not recorded"
    );
    let date = run.started.split('T').next().unwrap_or(&run.started);
    std::fs::create_dir_all(results)?;
    let path = results.join(format!("{date}.md"));
    std::fs::write(&path, page::markdown(run))
        .with_context(|| format!("write {}", path.display()))?;
    run.write(&results.join(format!("{date}.json")))?;
    let tables: Tables = toml::from_str(library::docs()).context("bench/docs.toml")?;
    for document in documents {
        let text = std::fs::read_to_string(document)
            .with_context(|| format!("read {}", document.display()))?;
        let link = format!("bench/results/{date}.md");
        let folder = document.parent().and_then(Path::file_name);
        let link = match folder.and_then(|name| name.to_str()) {
            None => link,
            Some("bench") => link.trim_start_matches("bench/").to_owned(),
            Some(_) => format!("../{link}"),
        };
        let text = replaced(&text, |name| {
            let table = tables.table.iter().find(|table| table.name == name);
            let table = table.with_context(|| format!("bench/docs.toml has no table {name}"))?;
            Ok(written(table, run, &link))
        });
        let text = text.with_context(|| document.display().to_string())?;
        std::fs::write(document, text).with_context(|| format!("write {}", document.display()))?;
    }
    Ok(())
}

/// The text with what is between marks written anew.
fn replaced(text: &str, table: impl Fn(&str) -> Result<String>) -> Result<String> {
    let mut done = String::new();
    let mut left = text;
    while let Some(at) = left.find(BEGIN) {
        let (before, from) = left.split_at(at);
        let line = from.split('\n').next().unwrap_or(from);
        let name = line
            .trim_start_matches(BEGIN)
            .trim_end_matches("-->")
            .trim();
        ensure!(name != "end", "`{END}` without its beginning");
        let Some(end) = from.find(END) else {
            bail!("`{line}` has no `{END}`");
        };
        done += before;
        done += line;
        done += "\n";
        done += &table(name)?;
        done += END;
        left = &from[end + END.len()..];
    }
    Ok(done + left)
}

fn is_quick(measured: &Measured, run: &RunFile) -> bool {
    let command = match &measured.origin {
        Some(origin) => &origin.command,
        None => &run.command,
    };
    command.split_whitespace().any(|word| word == "--quick")
}

fn written(table: &Table, run: &RunFile, link: &str) -> String {
    let scenarios = table.scenarios();
    let is_of_this_run =
        |held: &Measured| held.origin.is_none() && scenarios.contains(&held.name.as_str());
    let of = match run.scenarios.iter().any(is_of_this_run) {
        true => format!(
            "`{}`, {}, {}",
            shown(&run.command),
            run.started,
            run.host.line()
        ),
        false => run.host.machine(),
    };
    let mut text = format!("{of}. All tables: [{link}]({link}).\n");
    text += &other_runs(&scenarios, run);
    text.push('\n');
    if !table.row.is_empty() {
        text += &rows(table, run);
    }
    let curves = table.curve.iter().map(|curve| curves::table(curve, run));
    let whole = table.whole.iter().map(|name| whole(name, run));
    text + &curves.chain(whole).collect::<Vec<_>>().join("\n")
}

/// A scenario's own table, without what stands below it.
fn whole(name: &str, run: &RunFile) -> String {
    let Some(measured) = run.scenarios.iter().find(|held| held.name == name) else {
        return format!("`{name}`: {ABSENT}.\n");
    };
    let mut section = section(measured);
    section.title.clear();
    section.notes.clear();
    let table = section.markdown();
    let table = table.trim_start_matches(['#', ' ', '\n']).trim_end();
    format!("**{}** (`{name}`)\n\n{table}\n", measured.title)
}

/// Which of the scenarios are of other runs than the one that is named first.
pub fn other_runs(scenarios: &[&str], run: &RunFile) -> String {
    let mut others: Vec<(&Origin, Vec<String>)> = Vec::new();
    for held in run.scenarios.iter() {
        let Some(origin) = held.origin.as_ref() else {
            continue;
        };
        if !scenarios.contains(&held.name.as_str()) {
            continue;
        }
        let name = format!("`{}`", held.name);
        match others.iter_mut().find(|(known, _)| *known == origin) {
            Some((_, names)) => names.push(name),
            None => others.push((origin, vec![name])),
        }
    }
    let own = run.origin();
    let line = |(origin, names): &(&Origin, Vec<String>)| {
        format!("Of {}: {}.\n", names.join(", "), origin.line(Some(&own)))
    };
    others.iter().map(line).collect()
}

fn rows(table: &Table, run: &RunFile) -> String {
    let has_targets = table.row.iter().any(|claim| claim.target.is_some());
    let (head, rule) = match has_targets {
        true => (" target | |", "---|---|"),
        false => ("", ""),
    };
    let mut text = format!("| what | scenario | measured |{head}\n|---|---|---|{rule}\n");
    for claim in &table.row {
        let found = measured(claim, run);
        let figure = found.as_ref().map(|found| found.shown.as_str());
        text += &format!(
            "| {} | `{}` | {} |",
            claim.what,
            claim.scenario,
            figure.unwrap_or(ABSENT)
        );
        if has_targets {
            let target = claim.target.as_deref();
            let verdict = target
                .zip(found.as_ref())
                .map(|(target, found)| verdict(target, found));
            text += &format!(
                " {} | {} |",
                target.unwrap_or_default(),
                verdict.unwrap_or_default()
            );
        }
        text.push('\n');
    }
    text
}

const ABSENT: &str = "not measured";

fn measured(claim: &Claim, run: &RunFile) -> Option<Found> {
    let scenario = run
        .scenarios
        .iter()
        .find(|found| found.name == claim.scenario)?;
    let values = arm_of(scenario, &claim.arm, claim.at)?.values(&claim.metric)?;
    let unit = match claim.unit.as_str() {
        "" => String::new(),
        unit => format!(" {unit}"),
    };
    let Some(over) = &claim.over else {
        let value = median(values);
        return Some(Found {
            shown: format!("{}{unit}", number(value)),
            low: value,
            high: value,
        });
    };
    let ratio = paired_ratio(values, best(scenario, over, claim)?);
    ratio.median.is_finite().then(|| Found {
        shown: format!("{} times{unit}", interval(&ratio)),
        low: ratio.low,
        high: ratio.high,
    })
}

/// The values of the arm that a claim is held against.
fn best<'m>(measured: &'m Measured, over: &Over, claim: &Claim) -> Option<&'m [f64]> {
    let values = |name: &String| arm_of(measured, name, claim.at)?.values(&claim.metric);
    let names = match over {
        Over::One(name) => return values(name),
        Over::BestOf(names) => names,
    };
    let more = metric(&claim.metric)?.more_is_better;
    names.iter().filter_map(values).max_by(|a, b| {
        let by_size = median(a).total_cmp(&median(b));
        if more { by_size } else { by_size.reverse() }
    })
}

fn verdict(target: &str, found: &Found) -> &'static str {
    let limit = |text: &str| text.trim().parse::<f64>().unwrap_or(f64::NAN);
    let reached = match (target.strip_prefix("<="), target.strip_prefix(">=")) {
        (Some(most), _) => found.high <= limit(most),
        (_, Some(least)) => found.low >= limit(least),
        _ => false,
    };
    if reached { "pass" } else { "SHORT" }
}

fn arm_of<'m>(measured: &'m Measured, name: &str, at: Option<f64>) -> Option<&'m ArmResult> {
    let mut arms = measured.arms.iter().filter(|arm| arm.name == name);
    arms.find(|arm| at.is_none() || arm.at == at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::result::tests::{arm, run};
    use crate::scenario::Role;

    #[test]
    fn only_what_is_between_the_marks_changes() {
        let text = "a\n<!-- bench:x -->\nold\n<!-- bench:end -->\nb\n";
        let made = replaced(text, |name| Ok(format!("new {name}\n"))).expect("marks");
        assert_eq!(made, "a\n<!-- bench:x -->\nnew x\n<!-- bench:end -->\nb\n");
        let again = replaced(&made, |name| Ok(format!("new {name}\n"))).expect("marks");
        assert_eq!(again, made);
        assert_eq!(
            replaced("no marks", |_| bail!("none")).expect("no marks"),
            "no marks"
        );
    }

    #[test]
    fn a_mark_without_its_other_end_is_refused() {
        for text in ["<!-- bench:x -->\nold", "<!-- bench:end -->"] {
            assert!(replaced(text, |_| Ok(String::new())).is_err(), "{text}");
        }
    }

    #[test]
    fn a_claim_is_a_figure_of_the_run_or_is_not_there() {
        let mut void = arm("void", Role::Peer, &[("packets", &[1.0, 1.0])]);
        void.void = Some("no".to_owned());
        let arms = vec![
            arm("ours", Role::Ours, &[("packets", &[3.0, 3.0])]),
            arm("nft", Role::Peer, &[("packets", &[1.0, 1.0])]),
            arm("slow", Role::Peer, &[("packets", &[0.5, 0.5])]),
            void,
        ];
        let run = run(vec![crate::result::tests::measured("packets", arms)]);
        let claim = |arm: &str, over: Option<&str>| Claim {
            what: String::new(),
            scenario: "packets".to_owned(),
            arm: arm.to_owned(),
            metric: "packets".to_owned(),
            over: over.map(|over| Over::One(over.to_owned())),
            at: None,
            unit: "Mpps".to_owned(),
            target: None,
        };
        let best_of = |names: [&str; 2]| Claim {
            over: Some(Over::BestOf(names.map(str::to_owned).into())),
            ..claim("ours", None)
        };
        let rows = [
            (claim("ours", None), "3.00 Mpps"),
            (claim("ours", Some("nft")), "3.00 (3.00-3.00) times Mpps"),
            (claim("ours", Some("void")), "not measured"),
            (claim("void", None), "not measured"),
            (claim("none", None), "not measured"),
            (best_of(["nft", "slow"]), "3.00 (3.00-3.00) times Mpps"),
            (best_of(["slow", "void"]), "6.00 (6.00-6.00) times Mpps"),
        ];
        for (claim, expected) in rows {
            let shown = measured(&claim, &run).map(|found| found.shown);
            assert_eq!(
                shown.as_deref().unwrap_or(ABSENT),
                expected,
                "{}",
                claim.arm
            );
        }
    }

    #[test]
    fn a_table_names_the_runs_that_its_figures_are_of() {
        let mut older = crate::result::tests::measured("old", vec![]);
        let mut origin = run(vec![]).origin();
        origin.command = "terrace-bench run old --out /tmp/x".to_owned();
        older.origin = Some(origin);
        let new = crate::result::tests::measured("new", vec![]);
        let all = run(vec![older, new]);
        let lines = other_runs(&["old", "new"], &all);
        assert!(
            lines.starts_with("Of `old`: `terrace-bench run old`, 2026-11-22T10:00:00Z, Terrace"),
            "{lines}"
        );
        assert_eq!(other_runs(&["new"], &all), "");
    }

    #[test]
    fn quick_figures_are_not_recorded() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut quick = run(vec![crate::result::tests::measured("a", vec![])]);
        quick.command = "terrace-bench run a --quick".to_owned();
        let said = refresh(&quick, folder.path(), &[]).map_err(|error| error.to_string());
        assert!(said.is_err_and(|said| said.contains("--quick")));
    }

    #[test]
    fn a_target_is_reached_with_the_whole_interval() {
        let found = Found {
            shown: String::new(),
            low: 0.9,
            high: 1.1,
        };
        let rows = [
            ("<= 1.2", "pass"),
            ("<= 1.0", "SHORT"),
            (">= 0.9", "pass"),
            (">= 1.0", "SHORT"),
            ("fast", "SHORT"),
        ];
        for (target, expected) in rows {
            assert_eq!(verdict(target, &found), expected, "{target}");
        }
    }

    #[test]
    fn every_claim_is_about_a_scenario_and_a_metric_that_exist() {
        let tables: Tables = toml::from_str(library::docs()).expect("docs.toml");
        let scenarios = library::scenarios().expect("scenarios");
        for curve in tables.table.iter().flat_map(|table| &table.curve) {
            curve.check(&scenarios);
        }
        for name in tables.table.iter().flat_map(|table| &table.whole) {
            assert!(scenarios.iter().any(|found| found.name == *name), "{name}");
        }
        for claim in tables.table.iter().flat_map(|table| &table.row) {
            let found = scenarios.iter().find(|found| found.name == claim.scenario);
            let found = found.unwrap_or_else(|| panic!("no scenario {}", claim.scenario));
            assert!(
                crate::result::metric(&claim.metric).is_some(),
                "{}",
                claim.metric
            );
            assert!(
                found.arms.is_empty() || found.arms.iter().any(|arm| arm.name == claim.arm),
                "{}: {}",
                claim.scenario,
                claim.arm
            );
        }
    }
}
