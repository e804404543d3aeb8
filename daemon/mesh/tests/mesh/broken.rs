//! Broken manifests: each file of `tests/broken` says on its lines, after
//! `# <--`, what is to be said about them. Nothing more may be said.

use std::fs;
use std::path::{Path, PathBuf};

use terrace_mesh::{Error, Errors, SourceFile, compile, parse};

use crate::support::facts;

fn fixtures() -> Vec<SourceFile> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/broken");
    let entries = fs::read_dir(folder).expect("the folder of fixtures");
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("a file").path()).collect();
    paths.sort();
    let read = |path: PathBuf| SourceFile {
        text: fs::read_to_string(&path).expect("a readable file"),
        path: path.file_name().expect("a name").into(),
    };
    paths.into_iter().map(read).collect()
}

fn errors(file: &SourceFile) -> Vec<Error> {
    let compiled =
        parse(std::slice::from_ref(file)).and_then(|manifests| compile(&manifests, &facts(), None));
    compiled.err().unwrap_or(Errors(Vec::new())).0
}

/// Line and text of each mark.
fn marks(text: &str) -> Vec<(u32, &str)> {
    let lines = (1..).zip(text.lines());
    lines
        .flat_map(|(number, line)| {
            line.split("# <-- ")
                .skip(1)
                .map(move |mark| (number, mark.trim()))
        })
        .collect()
}

#[test]
fn every_mistake_is_told_with_its_line() {
    let fixtures = fixtures();
    assert!(fixtures.len() >= 200, "only {} fixtures", fixtures.len());
    let mut wrong = Vec::new();
    for file in &fixtures {
        let mut found = errors(file);
        for (line, mark) in marks(&file.text) {
            match found
                .iter()
                .position(|error| error.line == line && error.message.contains(mark))
            {
                Some(at) => drop(found.remove(at)),
                None => wrong.push(format!(
                    "{}:{line}: nobody says {mark:?}",
                    file.path.display()
                )),
            }
        }
        wrong.extend(found.iter().map(|error| format!("not expected: {error}")));
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn one_broken_file_refuses_all_and_all_mistakes_are_told_at_once() {
    let fixtures = fixtures();
    let expected: usize = fixtures
        .iter()
        .filter(|file| parse(std::slice::from_ref(*file)).is_err())
        .count();
    let errors = parse(&fixtures).expect_err("broken files");
    let mut files: Vec<&PathBuf> = errors.0.iter().map(|error| &error.file).collect();
    files.dedup();
    assert_eq!(files.len(), expected);
}
