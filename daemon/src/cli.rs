//! The command line: reads arguments, asks the daemon or the pins, prints.

pub mod args;
mod check;
mod daemon;
mod detach;
mod exit;
mod explain;
mod generate;
mod nic;
mod offline;
mod output;
mod plan;
mod requests;
mod run;
mod show;
mod tune;

use std::process::ExitCode;

use clap::Parser;

use args::{Cli, Command};
pub use exit::{Code, Failure};
use output::Output;

/// Parses the arguments of this process, runs them and prints what failed.
pub fn main() -> ExitCode {
    if let Some(code) = self_test() {
        return code;
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // A closed pipe is all that can go wrong here.
            let _ = error.print();
            return if error.use_stderr() {
                Code::Usage.into()
            } else {
                Code::Ok.into()
            };
        }
    };
    let output = Output::new(&cli.global);
    match dispatch(&cli, &output) {
        Ok(code) => code.into(),
        Err(failure) => {
            output.failure(&failure);
            failure.code.into()
        }
    }
}

/// The daemon starts this program again for the shortcut's self-test.
fn self_test() -> Option<ExitCode> {
    match terrace_sock::shortcut::check::child() {
        Ok(false) => None,
        Ok(true) => Some(ExitCode::SUCCESS),
        Err(error) => {
            eprintln!("terrace: the shortcut's self-test: {error}");
            Some(ExitCode::FAILURE)
        }
    }
}

fn dispatch(cli: &Cli, output: &Output) -> Result<Code, Failure> {
    let global = &cli.global;
    match &cli.command {
        Command::Check(args) => check::check(global, args, output),
        Command::Nic(args) => nic::nic(global, args, output),
        Command::Plan(args) => plan::plan(global, args, output),
        Command::Tune(args) => tune::tune(global, args, output),
        Command::Status => show::status(global, output),
        Command::Services(args) => show::services(global, args, output),
        Command::Policy(args) => show::policy(global, args, output),
        Command::Identities(args) => show::identities(global, args, output),
        Command::Flows(args) => show::flows(global, args, output),
        Command::Requests(args) => requests::requests(global, args, output),
        Command::Reasons(args) => show::reasons(global, args, output),
        Command::Shortcut(args) => show::shortcut(global, args, output),
        Command::Move(args) => show::move_task(global, args, output),
        Command::Sockets => show::sockets(global, output),
        Command::Explain(args) => explain::explain(global, args, output),
        Command::Reload => show::reload(global, output),
        Command::Version => show::version(global, output),
        Command::Completions(args) => generate::completions(args),
        Command::Detach(args) => detach::detach(global, args, output),
        Command::Run(args) => run::run(global, args),
        Command::Man(args) => generate::man(args, output),
    }
}
