//! The l7 port, when somebody else changes things on the host.

use std::os::fd::AsFd as _;

use terrace_testkit::wait;

use crate::stage::{Shape, Stage, urls};

fn all_answer(stage: &Stage) {
    for path in ["/a", "/far"] {
        for url in urls(path) {
            let (done, text) = stage.curl(&[&url]);
            assert!(
                done && text == format!("{}\n", &path[1..]),
                "{url}: {text}\n{}",
                stage.report()
            );
        }
    }
}

#[test]
fn root_the_ports_program_comes_back_when_somebody_takes_it_off() {
    let stage = Stage::start("l7-taken", &Shape::default());
    all_answer(&stage);
    let pins = std::fs::read_dir(stage.pins().join("links")).unwrap();
    let pins = pins.map(|entry| entry.unwrap().path());
    let links: Vec<_> = pins
        .filter(|pin| pin.to_string_lossy().contains("terrace-l7-tc"))
        .collect();
    for pin in &links {
        let link = terrace_abi::sys::open_pin(pin).unwrap();
        terrace_abi::sys::link_detach(link.as_fd()).unwrap();
    }
    if links.is_empty() {
        let host = &stage.net.host;
        host.run("tc", &["qdisc", "del", "dev", "terrace-l7", "clsact"])
            .unwrap();
    }
    let told = wait::until("the event", wait::PATIENCE, || {
        let (_, status) = stage.terrace(&["status", "--json"]);
        status
            .contains("terrace-l7: somebody took the tc program off; it is back")
            .then_some(())
    });
    assert!(told.is_ok(), "{}", stage.report());
    all_answer(&stage);
}

#[test]
fn root_a_host_that_does_not_forward_by_itself_serves_both_families() {
    let mut stage = Stage::quiet("l7-forwarding", &Shape::default());
    let host = &stage.net.host;
    host.sysctl("net.ipv4.ip_forward", "0").unwrap();
    host.sysctl("net.ipv6.conf.all.forwarding", "0").unwrap();
    stage.run();
    all_answer(&stage);
    // Somebody's script; writing `all` writes every interface.
    let host = &stage.net.host;
    for family in ["ipv4", "ipv6"] {
        let sysctl = format!("net.{family}.conf.terrace-l7.forwarding");
        host.sysctl(&sysctl, "0").unwrap();
        let back = wait::until("forwarding", wait::PATIENCE, || {
            let value = host.run("sysctl", &["-n", &sysctl]).ok()?;
            (value.trim() == "1").then_some(())
        });
        assert!(back.is_ok(), "{family}");
    }
    all_answer(&stage);
}
