//! The pipeline itself on this kernel.

#![allow(clippy::unwrap_used, reason = "a test panics where it fails")]

use terrace_abi::{Limits, Maps};
use terrace_tc::{Direction, DryRun, Options, Role, TcPrograms};
use terrace_testkit::PinRoot;

#[test]
fn root_the_verifier_accepts_every_tc_program() {
    let root = PinRoot::new().unwrap();
    let maps = Maps::open(root.path(), &Limits::small()).unwrap();
    let programs = TcPrograms::load(&maps, &Options::default()).unwrap();
    for role in [Role::Uplink, Role::Workload] {
        for direction in Direction::ALL {
            let info = programs.program(role, direction).info();
            println!("{role:?} {direction}: {info:?}");
            assert!(info.verified_instructions > 0);
        }
    }
    DryRun::load(&maps).unwrap();
}
