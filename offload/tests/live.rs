//! What this kernel says of its software interfaces, asked and tried: nothing
//! is left behind.

#![allow(clippy::unwrap_used, reason = "tests")]

use std::time::{Duration, Instant};

use terrace_offload::ask::{Live, Recorder, Replay, Watch};
use terrace_offload::facts::{Confidence, InterfaceFacts, InterfaceRole, ProbeResult, Value};
use terrace_offload::flower::{self, Kind, Port, Rule};
use terrace_offload::probe::{Consent, Mode, Options, Survey, replay, survey};
use terrace_testkit::Netns;

const ALL: Consent = Consent {
    attach: true,
    xsk: true,
    flower: true,
    ntuple: true,
    default_route: false,
};

fn options(mode: Mode, names: &[&str]) -> Options {
    Options {
        interfaces: names.iter().map(|name| (*name).to_owned()).collect(),
        mode,
        consent: ALL,
        identify: false,
    }
}

fn asked(ns: &Netns, mode: Mode, names: &[&str]) -> Survey {
    let options = options(mode, names);
    ns.enter(|| survey(&mut Live::default(), &options).unwrap())
        .unwrap()
}

fn iface<'s>(survey: &'s Survey, name: &str) -> &'s InterfaceFacts {
    let found = survey.interfaces.iter().find(|iface| iface.name == name);
    found.unwrap_or_else(|| panic!("no {name}"))
}

fn refusal(iface: &InterfaceFacts, probe: &str) -> (ProbeResult, String, String) {
    let found = iface.probes.iter().find(|found| found.name == probe);
    let found = found.unwrap_or_else(|| panic!("{probe} was not asked"));
    let word = |word: &Option<String>| word.clone().unwrap_or_default();
    (found.result, word(&found.errno), word(&found.extack))
}

/// A namespace with one of each kind.
fn zoo() -> Netns {
    let ns = Netns::new("niczoo").unwrap();
    ns.ip([
        "link add v0 numrxqueues 4 numtxqueues 4 type veth peer name v1 numrxqueues 4 numtxqueues 4",
        "link add q0 numrxqueues 1 numtxqueues 1 type veth peer name q1 numrxqueues 4 numtxqueues 4",
        "link add j0 mtu 9000 type veth peer name j1 mtu 9000",
        "link add d0 type ifb",
        "tuntap add tap0 mode tap",
        "tuntap add tun0 mode tun",
        "link set lo up",
        "link set v0 up",
        "link set v1 up",
    ])
    .unwrap();
    has_carrier(&ns, "v0");
    has_carrier(&ns, "v1");
    ns
}

/// The kernel tells a link's carrier some time after it was set up.
fn has_carrier(ns: &Netns, link: &str) {
    let until = Instant::now() + Duration::from_secs(10);
    while !ns
        .run("ip", &["link", "show", link])
        .unwrap()
        .contains("state UP")
    {
        assert!(Instant::now() < until, "{link} has no carrier");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn root_the_kernels_word_and_the_trials_agree_with_what_is_known_of_software_links() {
    let ns = zoo();
    let names = ["lo", "v0", "q0", "j0", "tap0", "tun0", "d0"];
    let survey = asked(&ns, Mode::Active, &names);
    let declared = Confidence::Declared;
    let verified = Confidence::Verified;
    let no = || Value::Bool(false);
    let yes = || Value::Bool(true);
    #[rustfmt::skip]
    let rows: Vec<(&str, &str, Value, Confidence)> = vec![
        ("lo", "xdp.features", Value::List(vec![]), declared),
        ("lo", "xdp.ndo_bpf", no(), verified),
        ("lo", "xdp.native", no(), verified),
        ("lo", "af_xdp.copy", yes(), verified),
        ("lo", "af_xdp.zero_copy", no(), verified),
        ("v0", "xdp.features.basic", yes(), declared),
        ("v0", "xdp.features.redirect", yes(), declared),
        ("v0", "xdp.features.rx_sg", yes(), declared),
        ("v0", "rx_meta.timestamp", yes(), declared),
        ("v0", "rx_meta.hash", yes(), declared),
        ("v0", "rx_meta.vlan", yes(), declared),
        ("v0", "veth.peer_here", yes(), declared),
        ("v0", "veth.peer_tx_queues", 4i64.into(), declared),
        ("v0", "xdp.ndo_bpf", yes(), verified),
        ("v0", "xdp.native", yes(), verified),
        ("v0", "xdp.frags", yes(), verified),
        ("v0", "xdp.hw_offload", no(), verified),
        ("v0", "af_xdp.copy", yes(), verified),
        ("v0", "af_xdp.zero_copy", no(), verified),
        ("v0", "ntuple", no(), verified),
        ("q0", "xdp.features", Value::List(vec![]), declared),
        ("q0", "xdp.native", no(), verified),
        ("j0", "xdp.single_buffer", no(), verified),
        ("j0", "xdp.frags", yes(), verified),
        ("j0", "xdp.native", yes(), verified),
        ("tap0", "xdp.features.ndo_xmit", yes(), declared),
        ("tap0", "xdp.native", yes(), verified),
        ("tap0", "af_xdp.zero_copy", no(), verified),
        ("tun0", "xdp.features", Value::List(vec![]), declared),
        ("tun0", "link.type", "none".into(), declared),
        ("d0", "id.kind", "ifb".into(), declared),
    ];
    for (name, key, value, confidence) in rows {
        let fact = iface(&survey, name)
            .facts
            .get(key)
            .cloned()
            .unwrap_or_default();
        assert_eq!(
            (&fact.value, fact.confidence),
            (&value, confidence),
            "{name} {key}: {fact:?}"
        );
    }
    assert_eq!(survey.host.tcx, Some(true));
}

#[test]
fn root_the_kernels_own_words_are_kept() {
    let ns = zoo();
    let survey = asked(&ns, Mode::Active, &["q0", "j0", "lo", "v0"]);
    let refused = ProbeResult::Refused;
    #[rustfmt::skip]
    let rows = [
        ("q0", "attach_drv", refused, "ENOSPC", "XDP expects number of rx queues not less than peer tx queues"),
        ("j0", "attach_drv", refused, "ERANGE", "Peer MTU is too large to set XDP"),
        ("lo", "attach_drv", refused, "EOPNOTSUPP", "driver does not support XDP in native mode"),
        ("v0", "prog_load_ifindex", refused, "EINVAL", ""),
        ("v0", "xsk_bind_zc", refused, "EOPNOTSUPP", ""),
    ];
    for (name, probe, result, errno, words) in rows {
        let told = refusal(iface(&survey, name), probe);
        assert_eq!((told.0, told.1.as_str()), (result, errno), "{name} {probe}");
        assert!(told.2.contains(words), "{name} {probe}: {:?}", told.2);
    }
}

#[test]
fn root_trials_leave_nothing_behind() {
    let ns = zoo();
    let before = ns.run("ip", &["-d", "link"]).unwrap() + &ns.run("tc", &["qdisc"]).unwrap();
    let survey = asked(&ns, Mode::Active, &["v0", "tap0"]);
    assert_eq!(
        refusal(iface(&survey, "v0"), "attach_drv").0,
        ProbeResult::Ok
    );
    let after = ns.run("ip", &["-d", "link"]).unwrap() + &ns.run("tc", &["qdisc"]).unwrap();
    assert_eq!(before, after);
    let again = asked(&ns, Mode::Passive, &["v0"]);
    assert_eq!(
        iface(&again, "v0").facts.text("xdp.attached_mode"),
        Some("none")
    );
}

/// No software link takes rules; the kernel may not even have flower.
#[test]
fn root_a_link_without_hardware_refuses_rules_in_the_kernels_words_and_keeps_nothing() {
    let ns = zoo();
    let qdiscs = || ns.run("tc", &["qdisc", "show", "dev", "v0"]).unwrap();
    let before = qdiscs();
    let line = ns.run("ip", &["-o", "link", "show", "dev", "v0"]).unwrap();
    let ifindex = line.split(':').next().unwrap().trim().parse().unwrap();
    let wanted = ["192.0.2.0/24", "2001:db8::/32"].map(|net| Rule::Deny(net.parse().unwrap()));
    let outcome = ns
        .enter(|| flower::sync(&mut Port { ifindex }, Kind::Deny, &wanted, 8).unwrap())
        .unwrap();
    assert_eq!((outcome.held, outcome.added, outcome.removed), (0, 0, 0));
    let refused = outcome.refused.unwrap();
    assert_eq!(refused.rule, wanted[0]);
    assert!(refused.why.starts_with("-E"), "{}", refused.why);
    println!("refused: {}", refused.why);
    assert_eq!(qdiscs(), before);
    let ends = [("192.0.2.1", 1), ("192.0.2.2", 2)].map(|(to, port)| (to.parse().unwrap(), port));
    let flow = Rule::Flow(Box::new(flower::Flow {
        protocol: 6,
        comes: ends,
        leaves: [ends[1], ends[0]],
        macs: [[2; 6], [4; 6]],
        out: ifindex,
        tags: [None, Some(5)],
    }));
    let outcome = ns
        .enter(|| flower::sync(&mut Port { ifindex }, Kind::Flow, &[flow], 8).unwrap())
        .unwrap();
    let refused = outcome.refused.unwrap();
    assert!(
        outcome.held == 0 && refused.why.starts_with("-E"),
        "{}",
        refused.why
    );
    println!("refused: {}", refused.why);
    assert_eq!(qdiscs(), before);
    let cleared = ns.enter(|| flower::sync(&mut Port { ifindex }, Kind::Deny, &[], 8).unwrap());
    assert_eq!(cleared.unwrap(), flower::Outcome::default());
}

#[test]
fn root_a_program_of_somebody_else_is_seen_and_never_displaced() {
    let ns = zoo();
    ns.act_as_wire("v0").unwrap();
    let survey = asked(&ns, Mode::Active, &["v0"]);
    let v0 = iface(&survey, "v0");
    assert_eq!(v0.facts.text("xdp.attached_mode"), Some("native"));
    assert!(v0.facts.text("xdp.foreign_prog").is_some());
    let attach = v0
        .probes
        .iter()
        .find(|probe| probe.name == "attach_drv")
        .unwrap();
    assert_eq!(attach.result, ProbeResult::NotRun);
    assert_eq!(
        attach.why_not.as_deref(),
        Some("a program is attached already")
    );
    let after = asked(&ns, Mode::Passive, &["v0"]);
    assert_eq!(
        iface(&after, "v0").facts.int("xdp.attached_id"),
        v0.facts.int("xdp.attached_id")
    );
}

#[test]
fn root_nothing_is_tried_where_the_default_route_leaves() {
    let ns = zoo();
    ns.ip([
        "addr add 10.9.0.1/24 dev v0",
        "route add default via 10.9.0.2",
    ])
    .unwrap();
    let survey = asked(&ns, Mode::Active, &["v0"]);
    let v0 = iface(&survey, "v0");
    assert_eq!(v0.facts.bool("link.default_route"), Some(true));
    for name in ["attach_drv", "xsk_bind_zc"] {
        let probe = v0.probes.iter().find(|probe| probe.name == name).unwrap();
        assert_eq!(probe.result, ProbeResult::NotRun, "{name}");
        assert!(
            probe.why_not.as_ref().unwrap().contains("default route"),
            "{name}"
        );
    }
}

/// Name, role, where programs go, what is below, what is above.
type Row<'r> = (
    &'r str,
    InterfaceRole,
    &'r [&'r str],
    &'r [&'r str],
    &'r [&'r str],
);

#[test]
fn root_stacked_interfaces_name_the_place_of_their_programs() {
    let ns = zoo();
    ns.ip([
        "link add br0 type bridge",
        "link set v0 master br0",
        "link set d0 master br0",
        "link add link v1 name m0 type macvlan",
    ])
    .unwrap();
    let survey = asked(&ns, Mode::Passive, &[]);
    #[rustfmt::skip]
    let rows: [Row<'_>; 5] = [
        ("br0", InterfaceRole::Stacked, &["v0", "d0"], &["v0", "d0"], &[]),
        ("v0", InterfaceRole::Virtual, &["v0"], &[], &["br0"]),
        ("m0", InterfaceRole::Stacked, &["v1"], &["v1"], &[]),
        ("v1", InterfaceRole::Virtual, &["v1"], &[], &["m0"]),
        ("lo", InterfaceRole::Loopback, &["lo"], &[], &[]),
    ];
    for (name, role, places, lower, upper) in rows {
        let found = iface(&survey, name);
        let sorted = |names: &[String]| {
            let mut names: Vec<String> = names.to_vec();
            names.sort();
            names
        };
        let wanted = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            sorted(&names)
        };
        assert_eq!(found.role, role, "{name}");
        assert_eq!(sorted(&found.attach_to), wanted(places), "{name}");
        assert_eq!(sorted(&found.lower), wanted(lower), "{name}");
        assert_eq!(sorted(&found.upper), wanted(upper), "{name}");
    }
    let above = asked(&ns, Mode::Passive, &["m0"]);
    let names: Vec<&str> = above
        .interfaces
        .iter()
        .map(|iface| iface.name.as_str())
        .collect();
    assert_eq!(names, ["v1", "m0"], "what it rests on is reported too");
    assert_eq!(iface(&above, "m0").facts.text("id.kind"), Some("macvlan"));
}

#[test]
fn root_a_recording_of_trials_replays_exactly() {
    let ns = zoo();
    let options = options(Mode::Active, &["q0", "v0"]);
    let (live, mut recording) = ns
        .enter(|| {
            let mut recorder = Recorder::new(Live::default());
            let live = survey(&mut recorder, &options).unwrap();
            (live, recorder.recording)
        })
        .unwrap();
    recording.interfaces = options.interfaces.clone();
    recording.mode = options.mode;
    recording.consent = options.consent;
    let text = serde_json::to_string(&recording).unwrap();
    let read = serde_json::from_str(&text).unwrap();
    assert_eq!(replay(&read).unwrap(), live);
    assert_eq!(survey(&mut Replay(read), &options).unwrap(), live);
}

#[test]
fn root_a_change_wakes_who_watches() {
    let ns = zoo();
    let watch = ns.enter(|| Watch::open().unwrap()).unwrap();
    let limit = Duration::from_secs(20);
    ns.ip(["link set d0 mtu 1400"]).unwrap();
    assert!(watch.wait(Duration::from_millis(20), Some(limit)).unwrap());
    let calm = Duration::from_millis(20);
    assert!(
        !watch.wait(calm, Some(calm)).unwrap(),
        "nothing else has changed"
    );
}

#[test]
fn root_a_passive_survey_of_a_thousand_interfaces_is_complete() {
    let ns = Netns::new("nicmany").unwrap();
    let lines: Vec<String> = (0..500)
        .map(|i| format!("link add d{i} type veth peer name e{i}"))
        .collect();
    ns.ip(lines).unwrap();
    let start = Instant::now();
    let survey = asked(&ns, Mode::Passive, &[]);
    println!(
        "passive survey of {} interfaces: {:?}",
        survey.interfaces.len(),
        start.elapsed()
    );
    assert!(survey.interfaces.len() > 1000);
    for iface in survey
        .interfaces
        .iter()
        .filter(|iface| iface.name.starts_with('d'))
    {
        assert_eq!(
            iface.facts.text("id.driver"),
            Some("veth"),
            "{}",
            iface.name
        );
        assert!(
            iface.facts.text("feat.tx-scatter-gather").is_some(),
            "{}",
            iface.name
        );
    }
}
