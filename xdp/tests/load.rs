//! The pipeline itself on this kernel.

#![allow(clippy::unwrap_used, reason = "a test panics where it fails")]

use terrace_abi::{Limits, Maps};
use terrace_testkit::PinRoot;
use terrace_xdp::{DryRun, XdpPrograms};

#[test]
fn root_the_verifier_accepts_the_xdp_program() {
    let root = PinRoot::new().unwrap();
    let maps = Maps::open(root.path(), &Limits::small()).unwrap();
    let programs = XdpPrograms::load(&maps).unwrap();
    println!("{:?}", programs.program().info());
    assert!(programs.program().info().verified_instructions > 0);
    programs.install(&maps).unwrap();
    DryRun::load(&maps).unwrap();
}
