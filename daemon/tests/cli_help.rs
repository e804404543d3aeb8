//! The grammar of the command line: help, examples, man pages, wrong arguments.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::process::{Command, Output};

use clap::CommandFactory;
use terrace::cli::args::Cli;

const OK: i32 = 0;
const USAGE: i32 = 2;

fn run(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_terrace"))
        .args(args)
        .output()
        .unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_owned()).unwrap()
}

#[test]
fn every_command_has_help_with_examples() {
    let mut cli = Cli::command();
    cli.build();
    for command in cli.get_subcommands() {
        let name = command.get_name();
        let examples = command
            .get_after_long_help()
            .map(ToString::to_string)
            .unwrap_or_default();
        assert!(command.get_about().is_some(), "{name} has no help");
        assert!(
            examples.contains(&format!("terrace {name}")),
            "{name} has no example"
        );
        for arg in command.get_arguments() {
            assert!(
                arg.get_help().is_some(),
                "{name} {} has no help",
                arg.get_id()
            );
        }
    }
}

#[test]
fn every_example_is_a_command_that_parses() {
    let mut cli = Cli::command();
    cli.build();
    let help = |command: &clap::Command| {
        command
            .get_after_long_help()
            .map(ToString::to_string)
            .unwrap_or_default()
    };
    let texts: Vec<String> = std::iter::once(&cli)
        .chain(cli.get_subcommands())
        .map(help)
        .collect();
    let lines = texts.iter().flat_map(|text| text.lines());
    let mut tried = 0;
    for line in lines.filter(|line| line.starts_with("  terrace ")) {
        let words: Vec<&str> = line
            .split_whitespace()
            .map(|word| word.trim_matches('\''))
            .take_while(|word| !["|", ">", "&&"].contains(word))
            .collect();
        // What follows two spaces is the example's own comment.
        let words = match line.trim_start().find("   ") {
            Some(at) => words[..line.trim_start()[..at].split_whitespace().count()].to_vec(),
            None => words,
        };
        let parsed = Cli::command().try_get_matches_from(&words);
        assert!(parsed.is_ok(), "{line}: {}", parsed.unwrap_err());
        tried += 1;
    }
    assert!(tried > 30, "{tried}");
}

#[test]
fn the_grammar_has_no_contradiction() {
    Cli::command().debug_assert();
}

#[test]
fn wrong_arguments_end_with_the_usage_code_and_a_hint() {
    let rows: &[(&[&str], &str)] = &[
        (&[], "Usage: terrace"),
        (&["servces"], "'services'"),
        (&["flows", "--state", "open"], "possible values"),
        (
            &["flows", "--from", "nowhere"],
            "is no address, prefix or address:port",
        ),
        (&["explain"], "required"),
        (&["explain", "tcp", "10.0.0.1:1"], "required"),
        (
            &["explain", "tcp", "10.0.0.1", "10.0.0.2"],
            "a tcp packet has ports",
        ),
        (
            &["explain", "tcp", "10.0.0.1:x", "10.0.0.2:2"],
            "write 192.0.2.1:80",
        ),
        (
            &["explain", "tcp", "10.0.0.1:1", "[::1]:2"],
            "two address families",
        ),
        (
            &["explain", "tcp", "10.0.0.1:1", "10.0.0.2:2", "--flags", "X"],
            "letters of F (FIN)",
        ),
        (
            &["explain", "tcp", "10.0.0.1:1", "10.0.0.2:2", "--pcap", "x"],
            "cannot be used with",
        ),
        (&["detach", "--yes", "--dry-run"], "cannot be used with"),
        (
            &["reasons", "--watch", "--interval", "0"],
            "0 is not in 1..=3600",
        ),
        (&["completions", "cmd"], "possible values"),
    ];
    for (args, part) in rows {
        let output = run(args);
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(USAGE), "{args:?}: {error}");
        assert!(error.contains(part), "{args:?}: {error}");
    }
}

#[test]
fn man_pages_and_completions_are_made_for_every_command() {
    let folder = tempfile::tempdir().unwrap();
    let pages = folder.path().join("man1");
    let output = run(&["man", pages.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(OK), "{}", text(&output.stderr));
    for command in Cli::command().get_subcommands() {
        let page = pages.join(format!("terrace-{}.1", command.get_name()));
        let text = std::fs::read_to_string(&page).unwrap();
        assert!(text.contains("Examples:"), "{}", page.display());
    }
    assert!(pages.join("terrace.1").exists());
    for shell in ["bash", "zsh", "fish"] {
        let output = run(&["completions", shell]);
        assert!(text(&output.stdout).contains("identities"), "{shell}");
    }
}
