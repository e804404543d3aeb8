//! A task moves between tiers while packets flow.

use terrace_testkit::tcp::Pulse;
use terrace_testkit::wait;

use crate::probes::Probes;
use crate::stage::{SERVICE, Shape, Stage, vips};

const CONNECTIONS: usize = 6;
/// Answers that must come after a move before it is over.
const MORE: u64 = 50;

/// Every way between the tiers of an uplink.
const WAY: [&str; 6] = [
    "xdp-generic",
    "tc",
    "xdp-native",
    "tc",
    "xdp-generic",
    "xdp-native",
];

/// Modes of XDP on the uplinks of the host.
fn modes(stage: &Stage) -> Vec<String> {
    let list = || terrace_xdp::list().expect("XDP programs");
    let attached = stage.net.host.enter(list).expect("enter the host");
    attached.iter().map(|a| format!("xdp-{}", a.mode)).collect()
}

fn go(stage: &Stage, tier: &'static str) {
    stage.require(tier);
    let uplinks = stage.net.uplinks.len();
    let there = wait::until("the new tier", wait::PATIENCE, || {
        let modes = modes(stage);
        let right = match tier {
            "tc" => modes.is_empty(),
            tier => modes.len() == uplinks && modes.iter().all(|mode| mode == tier),
        };
        right.then_some(())
    });
    there.unwrap_or_else(|error| panic!("{tier}: {error}\n{}", stage.report()));
}

#[test]
fn root_moves_between_tiers_lose_nothing_in_tc_and_no_connection_anywhere() {
    let stage = Stage::start("moves", &Shape::default());
    let client = &stage.net.client("client").ns;
    let udp = vips(SERVICE + 1)[0];
    let pulses = vips(SERVICE).map(|to| Pulse::start(client, to, CONNECTIONS).expect("TCP"));
    // From a workload to another one: tc alone serves it, whatever the uplinks do.
    let web = &stage.net.workload("web-a").ns;
    let in_tc = Probes::start(web, udp, 16, |server| server == "web-b");
    // From outside to a remote backend: XDP serves it, where it is attached.
    let in_xdp = Probes::start(client, udp, 256, |server| server == "remote");
    for tier in WAY {
        let mut quiet = None;
        let moved = in_xdp.during(MORE, || {
            quiet = Some(in_tc.during(MORE, || go(&stage, tier)));
        });
        println!(
            "to {tier}: uplink {} of {} probes lost, silent for {:.1} ms at most; tc path {:?}",
            moved.lost,
            moved.sent,
            moved.silent.as_secs_f64() * 1000.0,
            quiet,
        );
        for pulse in &pulses {
            let went_on = pulse.wait_rounds(20);
            went_on.unwrap_or_else(|error| panic!("{tier}: {error}\n{}", stage.report()));
        }
    }
    let (sent, lost) = in_tc.finish();
    println!("tc path: {lost} of {sent} probes lost");
    assert_eq!(lost, 0, "{}", stage.report());
    let (sent, lost) = in_xdp.finish();
    println!(
        "uplink path, over {} moves: {lost} of {sent} probes lost",
        WAY.len()
    );
    for pulse in pulses {
        pulse.finish().expect("no connection failed");
    }
}

#[test]
fn root_a_program_that_somebody_takes_off_is_told_and_comes_back() {
    let stage = Stage::start("taken", &Shape::default());
    let uplink = stage.net.uplinks[0].iface.clone();
    let client = &stage.net.client("client").ns;
    let pulses = vips(SERVICE).map(|to| Pulse::start(client, to, 2).expect("TCP"));
    let off = format!("link set dev {uplink} xdpdrv off");
    stage.net.host.ip([off]).expect("take it off");
    let events = || stage.json(&["status"])["events"].to_string();
    let told = wait::until("the event", wait::PATIENCE, || {
        events()
            .contains("somebody took the XDP program off")
            .then_some(())
    });
    told.unwrap_or_else(|error| panic!("{error}\n{}", stage.report()));
    let back = wait::until("the program", wait::PATIENCE, || {
        (modes(&stage).len() == stage.net.uplinks.len()).then_some(())
    });
    back.unwrap_or_else(|error| panic!("{error}\n{}", stage.report()));
    for pulse in pulses {
        pulse.wait_rounds(20).expect("connections go on");
        pulse.finish().expect("no connection failed");
    }
}
