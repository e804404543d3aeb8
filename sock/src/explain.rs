//! What would become of a connect(), from the live tables.

use std::os::fd::AsFd as _;

use terrace_abi::{Maps, Plain as _, Program, sys, types};

use crate::Error;
use crate::connect::Options;
use crate::objects;

const OBJECT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/explain.bpf.o"));

/// The decisions of the connect programs, changing nothing.
#[derive(Debug)]
pub struct DryRun {
    program: Program,
}

impl DryRun {
    /// Loads the program; `options` as those that the live ones were loaded with.
    pub fn load(maps: &Maps, options: &Options) -> Result<Self, Error> {
        let constants = [
            ("dry_run", 1),
            ("host_netns", options.host_netns),
            ("with_services", options.services.into()),
            ("with_proxy", options.proxy.into()),
        ];
        let loaded = objects::load("explain", OBJECT, maps, &constants, options.max_entries)?;
        let program = loaded.programs.into_iter().next();
        Ok(Self {
            program: program.expect("explain.bpf.c has one program"),
        })
    }

    /// The loaded program, for its size.
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// The answer to one question.
    pub fn ask(&self, question: &types::connect_question) -> Result<types::connect_answer, Error> {
        let args = types::connect_explain {
            question: *question,
            ..Default::default()
        };
        let ask = |source| Error::Ask {
            what: "a connect()".to_owned(),
            source,
        };
        let run = sys::test_run(self.program.as_fd(), args.as_bytes(), None, 1).map_err(ask)?;
        let answer = types::connect_explain::from_bytes(&run.packet);
        Ok(answer.expect("the program keeps the length").answer)
    }
}
