//! Rules about single files: length, names, left-overs.

use crate::{shell, workspace};
use anyhow::Result;
use std::path::{Path, PathBuf};

const LONG: usize = 400;
const TOO_LONG: usize = 500;

/// Files that may be longer than [`TOO_LONG`], each with its reason.
const LONG_FILES: [(&str, &str); 1] = [(
    "xdp/abi/include/terrace/abi.h",
    "the one contract between kernel and user: its structures are read together",
)];

/// Words of unfinished work; in halves, so that this file passes its own check.
const LEFT_OVERS: [&str; 6] = [
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X:"),
    concat!("un", "implemented!"),
    concat!("to", "do!("),
    concat!("#[ig", "nore"),
];

/// Stands in the first line of every C file: BPF programs and their headers.
const C_LICENCE: &str = "SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)";

pub fn faults(files: &[PathBuf]) -> Result<Vec<String>> {
    let mut faults = Vec::new();
    for file in files.iter().filter(|file| is_source(file)) {
        let text = shell::read_file(&workspace::root().join(file))?;
        let lines = text.lines().count();
        if lines > LONG && lines <= TOO_LONG {
            eprintln!("tidy: note: {} is long: {lines} lines", file.display());
        }
        faults.extend(faults_of(file, &text));
    }
    Ok(faults)
}

fn is_source(file: &Path) -> bool {
    let extension = file.extension().and_then(|ext| ext.to_str());
    matches!(extension, Some("rs" | "c" | "h" | "sh"))
}

fn is_c(file: &Path) -> bool {
    file.extension().is_some_and(|ext| ext == "c" || ext == "h")
}

fn faults_of(file: &Path, text: &str) -> Vec<String> {
    let name = file.display();
    let mut faults = Vec::new();
    let lines = text.lines().count();
    let may_be_long = LONG_FILES.iter().any(|(long, _)| Path::new(long) == file);
    if lines > TOO_LONG && !may_be_long {
        faults.push(format!(
            "{name} has {lines} lines, more than {TOO_LONG}: one idea a file"
        ));
    }
    if file.file_name().is_some_and(|name| name == "mod.rs") {
        faults.push(format!(
            "{name}: a module foo is foo.rs and foo/, never mod.rs"
        ));
    }
    if is_c(file)
        && !text
            .lines()
            .next()
            .is_some_and(|line| line.contains(C_LICENCE))
    {
        faults.push(format!("{name}: the first line must say `{C_LICENCE}`"));
    }
    faults.extend(super::functions::faults(file, text));
    for (number, line) in text.lines().enumerate() {
        if let Some(word) = LEFT_OVERS.iter().find(|word| line.contains(*word)) {
            faults.push(format!("{name}:{}: `{word}` is left over", number + 1));
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rule_finds_its_fault_and_nothing_else() {
        let long = "x\n".repeat(TOO_LONG + 1);
        let long_c = format!("{C_LICENCE}\n{long}");
        let left_over = format!("fn a() {{}}\n// {} later\n", LEFT_OVERS[0]);
        let rows = [
            ("fine", "a/b.rs", "fn a() {}\n", None),
            ("too long", "a/b.rs", long.as_str(), Some("more than 500")),
            ("long by leave", LONG_FILES[0].0, long_c.as_str(), None),
            ("no licence", "a/b.h", "int a;\n", Some("first line")),
            ("mod.rs", "a/mod.rs", "", Some("never mod.rs")),
            ("left over", "a/b.rs", left_over.as_str(), Some("a/b.rs:2")),
        ];
        for (row, file, text, expected) in rows {
            let faults = faults_of(Path::new(file), text);
            match expected {
                None => assert!(faults.is_empty(), "{row}: {faults:?}"),
                Some(part) => assert!(
                    faults.len() == 1 && faults[0].contains(part),
                    "{row}: {faults:?}"
                ),
            }
        }
    }
}
