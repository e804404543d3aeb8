//! What runs in a machine: which cases of which test binaries.

use super::binaries::{Binary, LAB};
use super::list::Test;
use crate::shell;
use anyhow::Result;

/// One test binary.
pub struct Step<'a> {
    pub binary: &'a Binary,
    pub cases: Vec<String>,
    /// What makes it run these.
    pub arguments: Vec<String>,
}

/// The binaries of a test that have a case with `filter` in its name.
pub fn of<'a>(test: &Test, all: &'a [Binary], filter: Option<&str>) -> Result<Vec<Step<'a>>> {
    let mut steps = Vec::new();
    for binary in all.iter().filter(|binary| belongs(test, binary)) {
        let arguments = arguments(test);
        let cases = listed(binary, &arguments)?;
        let (cases, arguments) = match filter {
            Some(filter) => filtered(cases, filter),
            None => (cases, arguments),
        };
        if !cases.is_empty() {
            steps.push(Step {
                binary,
                cases,
                arguments,
            });
        }
    }
    Ok(steps)
}

fn belongs(test: &Test, binary: &Binary) -> bool {
    match &test.file {
        Some(file) if binary.package == LAB => *file == binary.target,
        _ => test.suites.contains(&binary.package) && is_named(test, &binary.target),
    }
}

fn is_named(test: &Test, target: &String) -> bool {
    let chosen = test.binaries.is_empty() || test.binaries.contains(target);
    chosen && !test.without_binaries.contains(target)
}

fn arguments(test: &Test) -> Vec<String> {
    let without = test.without.iter();
    let without = without.flat_map(|part| ["--skip".to_owned(), part.clone()]);
    test.only.iter().cloned().chain(without).collect()
}

/// Several names mean "one of them" to a test binary, so a filter of names that
/// are chosen already is a list of whole names.
fn filtered(cases: Vec<String>, filter: &str) -> (Vec<String>, Vec<String>) {
    let is_meant = |case: &String| case.contains(filter);
    let cases: Vec<String> = cases.into_iter().filter(is_meant).collect();
    let exact = cases.iter().cloned().chain(["--exact".to_owned()]);
    (cases.clone(), exact.collect())
}

/// The binary is the host's too, and listing runs nothing.
fn listed(binary: &Binary, arguments: &[String]) -> Result<Vec<String>> {
    let mut command = shell::command(&binary.executable.to_string_lossy(), &["--list"]);
    command.args(["--format", "terse"]).args(arguments);
    Ok(names(&shell::captured(&mut command)?))
}

fn names(list: &str) -> Vec<String> {
    let names = list.lines().filter_map(|line| line.strip_suffix(": test"));
    names.map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_chooses_among_the_cases_of_the_test_and_adds_none() {
        let cases = names("sockets::igb_a: test\nsockets::virtio: test\nbench: benchmark\n");
        assert_eq!(cases, ["sockets::igb_a", "sockets::virtio"]);
        let (cases, arguments) = filtered(cases, "igb");
        assert_eq!(cases, ["sockets::igb_a"]);
        assert_eq!(arguments, ["sockets::igb_a", "--exact"]);
    }

    #[test]
    fn binaries_are_left_to_another_test_by_name() {
        let test: Test = toml::from_str(
            "name = 'a'\nabout = 'b'\nkernel = 'old'\nsuites = ['x']\nwithout_binaries = ['it']",
        )
        .unwrap();
        let other = Test {
            binaries: test.without_binaries.clone(),
            without_binaries: Vec::new(),
            ..toml::from_str("name = 'a'\nabout = 'b'\nkernel = 'old'\nsuites = ['x']").unwrap()
        };
        for target in ["it", "new"] {
            let target = target.to_owned();
            let taken = [&test, &other].map(|test| is_named(test, &target));
            assert_eq!(taken, [target != "it", target == "it"], "{target}");
        }
    }
}
