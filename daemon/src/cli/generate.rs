//! Completion scripts and man pages, made from the grammar itself.

use std::fs;

use clap::CommandFactory;

use super::args::{Cli, CompletionArgs, ManArgs};
use super::exit::{Code, Failure};
use super::output::{Output, write_all};

pub(super) fn completions(args: &CompletionArgs) -> Result<Code, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "terrace", &mut script);
    write_all(String::from_utf8_lossy(&script).trim_end_matches('\n'))?;
    Ok(Code::Ok)
}

/// One page a command: terrace.1, terrace-run.1, ...
pub(super) fn man(args: &ManArgs, output: &Output) -> Result<Code, Failure> {
    let failed = |what: String| {
        move |error: std::io::Error| {
            let fix = "name a folder that you may write to";
            Failure::new(Code::Failure, format!("{what}: {error}"), fix)
        }
    };
    let folder = args.folder.display();
    fs::create_dir_all(&args.folder).map_err(failed(format!("can't make {folder}")))?;
    clap_mangen::generate_to(Cli::command(), &args.folder)
        .map_err(failed(format!("can't write to {folder}")))?;
    output.print(&args.folder, |folder, _| {
        format!("man pages written to {}", folder.display())
    })
}
