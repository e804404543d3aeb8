//! `docs`: man pages and shell completions, written by the programs themselves.

use crate::{setup, shell, workspace};
use anyhow::{Context, Result};
use std::fs::{File, create_dir_all};

const SHELLS: [(&str, &str); 3] = [
    ("bash", "terrace.bash"),
    ("zsh", "_terrace"),
    ("fish", "terrace.fish"),
];

pub fn run() -> Result<()> {
    setup::run()?;
    shell::run(&mut shell::cargo(&[
        "build",
        "--release",
        "--locked",
        "-p",
        "terrace",
        "-p",
        "terrace-bench",
    ]))?;
    let docs = workspace::target().join("docs");
    let terrace = workspace::target().join("release/terrace");
    let terrace = terrace.to_str().context("path of terrace")?;
    create_dir_all(docs.join("man")).context("make target/docs/man")?;
    let man = docs.join("man");
    let man = man.to_str().context("path of the man pages")?;
    let bench = workspace::target().join("release/terrace-bench");
    let bench = bench.to_str().context("path of terrace-bench")?;
    for program in [terrace, bench] {
        shell::run(&mut shell::command(program, &["man", man]))?;
    }
    for (name, file) in SHELLS {
        let out = File::create(docs.join(file)).with_context(|| format!("make {file}"))?;
        shell::run(shell::command(terrace, &["completions", name]).stdout(out))?;
    }
    println!("man pages and completions are in {}", docs.display());
    Ok(())
}
