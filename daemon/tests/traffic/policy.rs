//! Policy and the deny list on real connections.

use std::net::SocketAddr;
use std::time::Duration;

use rustix::process::Signal;
use terrace_testkit::tcp::{self, Echo, Pulse};
use terrace_testkit::{Netns, http, wait};

use crate::manifests;
use crate::stage::{SERVICE, Shape, Stage, TCP, vips};

const REFUSAL: Duration = Duration::from_millis(700);

fn is_refused(from: &Netns, to: SocketAddr) -> bool {
    http::Connection::open_within(from, to, REFUSAL).is_err()
}

fn prefixes(stage: &Stage, client: &str) -> Vec<String> {
    let node = stage.net.client(client);
    vec![format!("{}/32", node.v4), format!("{}/128", node.v6)]
}

#[test]
fn root_only_the_allowed_client_reaches_a_workload() {
    let stage = Stage::start("policy", &Shape::default());
    let allowed = prefixes(&stage, "client");
    let web = stage.net.workload("web-a");
    let slices = manifests::slices("echo", &[&web.node]);
    stage.write("echo-slices.yaml", &slices);
    stage.change("policy.yaml", &manifests::allow_only("web-a", &allowed));
    let direct = web.addresses().map(|ip| SocketAddr::new(ip, TCP));
    for to in vips(SERVICE).into_iter().chain(direct) {
        tcp::download(&stage.net.client("client").ns, to, 1000)
            .unwrap_or_else(|error| panic!("{to}: {error}\n{}", stage.report()));
        assert!(
            is_refused(&stage.net.client("stranger").ns, to),
            "{to}: the stranger got through"
        );
        assert!(
            is_refused(&stage.net.workload("web-b").ns, to),
            "{to}: another workload got through"
        );
        tcp::download(&stage.net.host, to, 1000)
            .unwrap_or_else(|error| panic!("the host itself, {to}: {error}"));
    }
    assert!(stage.count("ingress_default") > 0, "{}", stage.report());
}

#[test]
fn root_a_policy_change_ends_what_it_forbids_and_nothing_else() {
    let stage = Stage::start("rejudge", &Shape::default());
    let web = stage.net.workload("web-a");
    stage.change("echo-slices.yaml", &manifests::slices("echo", &[&web.node]));
    let to = vips(SERVICE);
    let kept: Vec<Pulse> = to
        .map(|to| Pulse::start(&stage.net.client("client").ns, to, 4).expect("connections"))
        .into();
    let mut lost = Echo::open(&stage.net.client("stranger").ns, to[0]).expect("still allowed");
    lost.round(100).expect("still allowed");
    let allowed = prefixes(&stage, "client");
    stage.change("policy.yaml", &manifests::allow_only("web-a", &allowed));
    let before = stage.count("ingress_default");
    let talking = std::thread::spawn(move || lost.round(100));
    wait::until("a refused packet", wait::PATIENCE, || {
        (stage.count("ingress_default") > before).then_some(())
    })
    .expect("the stranger's connection is judged again");
    for pulse in &kept {
        pulse
            .wait_rounds(40)
            .unwrap_or_else(|error| panic!("{error}\n{}", stage.report()));
    }
    stage.remove("policy.yaml");
    stage.reload();
    talking
        .join()
        .expect("a thread")
        .expect("allowed again, the same connection goes on");
    for pulse in kept {
        pulse.finish().expect("no connection failed");
    }
}

#[test]
fn root_the_deny_list_cuts_a_client_off() {
    let stage = Stage::start("deny", &Shape::default());
    let stranger = stage.net.client("stranger");
    for to in vips(SERVICE) {
        tcp::download(&stranger.ns, to, 100).expect("not yet denied");
    }
    let list = prefixes(&stage, "stranger").join("\n");
    std::fs::write(stage.folder().join("deny.txt"), list).expect("deny list");
    stage.reload();
    for to in vips(SERVICE) {
        assert!(is_refused(&stranger.ns, to), "{to}: got through");
        tcp::download(&stage.net.client("client").ns, to, 100).expect("others go on");
    }
    assert!(stage.count("deny_list") > 0, "{}", stage.report());
}

/// Somebody puts a program of theirs in the place of ours while the daemon does not look.
#[test]
fn root_a_denied_flow_that_began_while_the_program_was_gone_ends_with_the_news() {
    let mut stage = Stage::start("unlisted", &Shape::default());
    let list = prefixes(&stage, "stranger").join("\n");
    std::fs::write(stage.folder().join("deny.txt"), list).expect("deny list");
    stage.reload();
    let uplink = stage.net.uplinks[0].iface.clone();
    stage.signal(Signal::STOP);
    let off = format!("link set dev {uplink} xdpdrv off");
    stage.net.host.ip([off]).expect("take it off");
    stage.net.host.act_as_wire(&uplink).expect("their program");
    let stranger = &stage.net.client("stranger").ns;
    let mut flows = vips(SERVICE).map(|to| Echo::open(stranger, to).expect("no list is asked"));
    for flow in &mut flows {
        flow.round(100).expect("no list is asked");
    }
    stage.signal(Signal::CONT);
    let before = stage.count("deny_list");
    let talk = |mut flow: Echo| std::thread::spawn(move || while flow.round(100).is_ok() {});
    let _talking = flows.map(talk);
    let cut = wait::until("a refused packet", wait::PATIENCE, || {
        (stage.count("deny_list") > before).then_some(())
    });
    cut.unwrap_or_else(|error| panic!("{error}\n{}", stage.report()));
}
