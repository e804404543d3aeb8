//! Files to profiles, with every fault at its file and line.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;

use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, Deserializer};

use super::Profiles;
use crate::driver::Driver;
use crate::fault::{Fault, Faults, line_of};
use crate::files;
use crate::merge::merge;
use crate::rule::Rule;
use crate::situation::Situation;

/// A file of rules that hold for all drivers.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleFile {
    #[serde(rename = "schema")]
    _schema: String,
    #[serde(default, rename = "rule")]
    rules: Vec<Rule>,
}

type Read<T> = Result<T, Vec<Fault>>;

/// The shipped files.
pub fn shipped() -> Result<Profiles, Faults> {
    let mut profiles = Profiles::default();
    let files = [files::DRIVERS, files::SITUATIONS, files::RULES].concat();
    let faults = files
        .iter()
        .filter_map(|(file, text)| profiles.add(file, text, true).err())
        .flatten();
    done(faults.collect(), profiles)
}

/// An operator's folder over them.
pub fn with_folder(folder: &Path) -> Result<Profiles, Faults> {
    match toml_files(folder) {
        Ok(files) => with_files(&files),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Profiles::shipped().clone()),
        Err(error) => {
            let name = folder.display().to_string();
            let what = format!("can't be read: {error}");
            Err(Faults(vec![Fault::new(&name, 0, what)]))
        }
    }
}

/// Name and text of an operator's files over them.
pub fn with_files(files: &[(String, String)]) -> Result<Profiles, Faults> {
    let mut profiles = Profiles::shipped().clone();
    let faults = files
        .iter()
        .filter_map(|(file, text)| profiles.add(file, text, false).err())
        .flatten();
    done(faults.collect(), profiles)
}

fn toml_files(folder: &Path) -> io::Result<Vec<(String, String)>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "toml")
        {
            paths.push(path);
        }
    }
    paths.sort();
    let read =
        |path: &std::path::PathBuf| Ok((path.display().to_string(), fs::read_to_string(path)?));
    paths.iter().map(read).collect()
}

fn done(faults: Vec<Fault>, profiles: Profiles) -> Result<Profiles, Faults> {
    let mut faults = faults;
    if faults.is_empty() {
        faults = across_files(&profiles);
    }
    match faults.is_empty() {
        true => Ok(profiles),
        false => Err(Faults(faults)),
    }
}

impl Profiles {
    /// One file, of the kind that its `schema` says.
    fn add(&mut self, file: &str, text: &str, is_shipped: bool) -> Read<()> {
        let table = parse(file, text)?;
        let of = |key: &str| {
            let value = table.get_ref().get(key)?.get_ref().as_str()?;
            Some(value.to_owned())
        };
        let fault = |line, what: String| Err(vec![Fault::new(file, line, what)]);
        match of("schema").as_deref() {
            Some("nic-driver/1") => match of("name") {
                Some(name) => self.add_driver(file, text, table, &name, is_shipped),
                None => fault(0, "a driver needs a `name`".into()),
            },
            Some("nic-situation/1") => match of("id") {
                Some(id) => self.add_situation(file, text, table, &id, is_shipped),
                None => fault(0, "a situation needs an `id`".into()),
            },
            Some("nic-rules/1") => self.add_rules(file, text, table),
            Some(other) => fault(
                line_of(text, "schema"),
                format!(
                    "schema {other:?} is not known: write nic-driver/1, nic-situation/1 or nic-rules/1"
                ),
            ),
            None => fault(0, "the first key must be `schema`".into()),
        }
    }

    fn add_driver(
        &mut self,
        file: &str,
        text: &str,
        table: Spanned<DeTable<'_>>,
        name: &str,
        is_shipped: bool,
    ) -> Read<()> {
        let base = base(files::DRIVERS, "drivers", name, is_shipped);
        let driver: Driver = read(file, text, table, base)?;
        check_rules(file, text, &driver.rules)?;
        self.drivers.insert(name.to_owned(), driver);
        Ok(())
    }

    fn add_situation(
        &mut self,
        file: &str,
        text: &str,
        table: Spanned<DeTable<'_>>,
        id: &str,
        is_shipped: bool,
    ) -> Read<()> {
        let base = base(files::SITUATIONS, "situations", id, is_shipped);
        let situation: Situation = read(file, text, table, base)?;
        check_rules(file, text, &situation.rules)?;
        check_caps(file, text, &situation)?;
        self.situations.insert(id.to_owned(), situation);
        Ok(())
    }

    fn add_rules(&mut self, file: &str, text: &str, table: Spanned<DeTable<'_>>) -> Read<()> {
        let rules: RuleFile = read(file, text, table, None)?;
        check_rules(file, text, &rules.rules)?;
        for rule in rules.rules {
            self.rules.retain(|known| known.id != rule.id);
            self.rules.push(rule);
        }
        Ok(())
    }
}

/// The shipped text that an operator's file changes.
fn base(
    shipped: &'static [(&str, &str)],
    folder: &str,
    name: &str,
    is_shipped: bool,
) -> Option<&'static str> {
    if is_shipped {
        return None;
    }
    let wanted = format!("{folder}/{name}.toml");
    let mut files = shipped.iter();
    files
        .find(|(file, _)| **file == wanted)
        .map(|(_, text)| *text)
}

fn parse<'t>(file: &str, text: &'t str) -> Read<Spanned<DeTable<'t>>> {
    DeTable::parse(text).map_err(|error| vec![Fault::of_toml(file, text, &error)])
}

fn read<'t, T: Deserialize<'t>>(
    file: &str,
    text: &str,
    table: Spanned<DeTable<'t>>,
    base: Option<&'t str>,
) -> Read<T> {
    let table = match base {
        None => table,
        Some(base) => {
            let mut merged = parse(file, base)?;
            merge(merged.get_mut(), table.into_inner());
            merged
        }
    };
    T::deserialize(Deserializer::from(table))
        .map_err(|error| vec![Fault::of_toml(file, text, &error)])
}

fn check_rules(file: &str, text: &str, rules: &[Rule]) -> Read<()> {
    let mut faults = Vec::new();
    for rule in rules {
        let mut fault = |what: &str| {
            let line = line_of(text, &format!("\"{}\"", rule.id));
            faults.push(Fault::new(file, line, format!("rule {}: {what}", rule.id)));
        };
        if rule.target.is_empty() {
            fault("it has no target");
        }
        if rule.text.is_empty() {
            fault("it has no text");
        }
        if rule.source.is_empty() {
            fault("it has no source");
        }
        if let Some(fix) = &rule.fix
            && fix.cmd.is_empty()
            && fix.note.is_empty()
        {
            fault("its fix has neither a command nor a note");
        }
        for key in unknown_driver_facts(rule) {
            fault(&format!("`{key}` is nothing that a driver's file says"));
        }
    }
    match faults.is_empty() {
        true => Ok(()),
        false => Err(faults),
    }
}

/// `driver.` is a family, but only with names that a file can have.
fn unknown_driver_facts(rule: &Rule) -> BTreeSet<&str> {
    let fix = rule.fix.iter().flat_map(|fix| {
        let texts = [&fix.cmd, &fix.undo, &fix.note];
        let texts = texts.into_iter().flat_map(|text| text.keys());
        texts.chain(fix.sets.iter().flat_map(|set| set.keys()))
    });
    let when = rule.when.iter().flat_map(|predicate| predicate.keys());
    let unknown = |key: &&str| {
        let name = key.strip_prefix("driver.");
        name.is_some_and(|name| name != "in_tree" && !Driver::FACTS.contains(&name))
    };
    when.chain(rule.text.keys())
        .chain(fix)
        .filter(unknown)
        .collect()
}

fn check_caps(file: &str, text: &str, situation: &Situation) -> Read<()> {
    let unknown = situation.caps.iter().filter(|cap| {
        let name = cap.fact.strip_prefix("driver.");
        !name.is_some_and(|name| Driver::FACTS.contains(&name))
    });
    let faults: Vec<Fault> = unknown
        .map(|cap| {
            let line = line_of(text, &format!("\"{}\"", cap.fact));
            let what = format!("`{}` is nothing that a driver's file says", cap.fact);
            Fault::new(file, line, what)
        })
        .collect();
    match faults.is_empty() {
        true => Ok(()),
        false => Err(faults),
    }
}

/// What only all files together can show.
fn across_files(profiles: &Profiles) -> Vec<Fault> {
    let mut faults = Vec::new();
    for situation in profiles.situations.values() {
        let file = format!("situations/{}.toml", situation.id);
        let driver = profiles.drivers.get(&situation.driver);
        if driver.is_none() {
            let what = format!("driver {:?} has no file", situation.driver);
            faults.push(Fault::new(&file, 0, what));
        }
        let inherited = driver.map_or(&[][..], |driver| &driver.rules);
        let rules = || {
            situation
                .rules
                .iter()
                .chain(inherited)
                .chain(&profiles.rules)
        };
        for error in &situation.errors {
            if !rules().any(|rule| rule.id == error.means) {
                let what = format!("an error means {:?}, which is no rule here", error.means);
                faults.push(Fault::new(&file, 0, what));
            }
        }
    }
    faults
}
