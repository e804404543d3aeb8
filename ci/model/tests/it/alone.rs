//! What no row can show: marked packets, and a full table.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use terrace_abi::{Class, Reason};
use terrace_model::{Family, Hook};

use crate::fabric::Fabric;
use crate::lab::{Lab, place};
use crate::order::*;
use crate::rows::{CLIENT, VIP};

const TC_NEXT: u32 = -1i32 as u32;
const TC_HOOKS: [(Hook, &str); 4] = [
    (Hook::UplinkIngress, "up0"),
    (Hook::UplinkEgress, "up0"),
    (Hook::WorkloadIngress, "w1"),
    (Hook::WorkloadEgress, "w1"),
];

/// A `struct __sk_buff` of a packet that a program of Terrace has handled.
fn marked(ifindex: u32) -> [u8; 44] {
    const MARK_HANDLED: u32 = 0x0800_0000;
    let mut context = [0; 44];
    context[8..12].copy_from_slice(&MARK_HANDLED.to_ne_bytes());
    context[36..40].copy_from_slice(&ifindex.to_ne_bytes());
    context[40..44].copy_from_slice(&ifindex.to_ne_bytes());
    context
}

#[test]
fn root_a_marked_packet_is_left_alone() {
    Fabric::new("marked").run(|lab| {
        lab.install(&lab.world());
        for family in Family::ALL {
            for (hook, iface) in TC_HOOKS {
                let packet = syn(family, CLIENT, VIP).bytes();
                let ifindex = lab.ifindex(iface);
                let (role, direction) = place(hook);
                let program = lab.tc.program(role, direction);
                let run = lab.maps.run_packet(program, &packet, &marked(ifindex));
                let run = run.unwrap();
                assert_eq!((run.action, run.packet), (TC_NEXT, packet), "{hook:?}");
                assert_eq!(lab.reason(hook, ifindex), Reason::AlreadyHandled);
            }
        }
        lab.assert_conserved();
    });
}

/// Opens a connection by XDP; its frame to the backend when it got in.
fn establish(lab: &mut Lab, family: Family, client: &str) -> Option<Vec<u8>> {
    let first = run(lab, &syn(family, client, VIP).bytes());
    if first.0 == Reason::FlowsFull {
        return None;
    }
    assert_eq!(first.0, Reason::Tx);
    let answer = run(lab, &answer_to(&first.1, SYN | ACK).bytes());
    assert_eq!(answer.0, Reason::Tx);
    let third = run(lab, &tcp(family, client, VIP, ACK).bytes());
    assert_eq!(third.0, Reason::Tx);
    Some(third.1)
}

fn run(lab: &mut Lab, packet: &[u8]) -> (Reason, Vec<u8>) {
    let out = lab.run(Hook::Xdp, "up0", packet).unwrap();
    (out.reason, out.bytes)
}

#[test]
fn root_a_full_table_refuses_new_flows_only() {
    const REFUSALS: usize = 50;
    Fabric::new("full").run(|lab| {
        lab.install(&lab.world());
        for family in Family::ALL {
            lab.forget();
            let (mut open, mut refused) = (BTreeMap::new(), 0);
            for n in 0.. {
                let client = format!("192.0.2.{}:{}", n % 200 + 1, 2000 + n);
                match establish(lab, family, &client) {
                    Some(frame) => drop(open.insert(client, frame)),
                    None => refused += 1,
                }
                if refused == REFUSALS {
                    break;
                }
            }
            // Half open connections take no place from established ones.
            for n in 0..1000 {
                let client = format!("198.51.100.7:{}", 3000 + n);
                let (reason, _) = run(lab, &syn(family, &client, VIP).bytes());
                let known = matches!(reason, Reason::Tx | Reason::FlowsFull);
                assert!(known, "{client}: {reason}");
            }
            for (client, frame) in &open {
                let again = run(lab, &tcp(family, client, VIP, ACK).bytes());
                assert_eq!(again, (Reason::Tx, frame.clone()), "{client}");
            }
            let slots = crate::image::limits().flows;
            let n = open.len();
            println!("{n} connections of {} established, none lost", slots / 2);
        }
        lab.assert_conserved();
    });
}

/// What `terrace explain` says is what happens.
#[test]
fn root_a_dry_run_gives_the_reason_and_changes_nothing() {
    Fabric::new("dry").run(|lab| {
        let dry_xdp = terrace_xdp::DryRun::load(&lab.maps).unwrap();
        let dry_tc = terrace_tc::DryRun::load(&lab.maps).unwrap();
        lab.install(&lab.world());
        for family in Family::ALL {
            for (packet, hook, iface) in samples(family) {
                lab.forget();
                let ifindex = lab.ifindex(iface);
                let dry = match hook {
                    Hook::Xdp => dry_xdp.run(&lab.maps, &packet, ifindex).unwrap(),
                    _ => {
                        let (role, direction) = place(hook);
                        let run = dry_tc.run(&lab.maps, role, direction, &packet, ifindex);
                        run.unwrap()
                    }
                };
                assert_eq!(lab.maps.flows().count(), 0, "a dry run opens no flow");
                let live = lab.run(hook, iface, &packet).unwrap();
                let said = Reason::from_number(dry.trace.reason);
                assert_eq!(said, Some(live.reason), "{hook:?} {packet:02x?}");
                if live.reason.class() != Class::Answer {
                    assert_eq!((dry.action, dry.packet), (live.action, live.bytes));
                }
            }
        }
        lab.assert_conserved();
    });
}

fn samples(f: Family) -> Vec<(Vec<u8>, Hook, &'static str)> {
    let uplink = [
        syn(f, CLIENT, VIP),
        syn(f, CLIENT, "10.96.0.2:80"),
        syn(f, CLIENT, "10.96.0.4:80"),
        syn(f, CLIENT, "10.96.0.6:80"),
        udp(f, CLIENT, "10.96.0.7:53"),
        syn(f, CLIENT, "10.96.0.8:80"),
        syn(f, CLIENT, "10.96.0.9:80"),
        syn(f, CLIENT, "10.96.0.10:80"),
        syn(f, CLIENT, "10.96.0.12:80"),
        syn(f, CLIENT, "10.96.0.1:99"),
        tcp(f, CLIENT, VIP, ACK),
        udp(f, CLIENT, "10.96.0.11:53").len(1400),
        ping(f, CLIENT, "10.96.0.1"),
        syn(f, CLIENT, "10.40.2.2:9"),
        syn(f, CLIENT, "10.40.2.2:8080"),
    ];
    let workload = [
        syn(f, "10.40.2.2:1", "203.0.113.9:99"),
        syn(f, "10.40.2.2:1", "203.0.113.9:80"),
        syn(f, "10.40.2.2:1", VIP),
    ];
    let mut samples = Vec::new();
    for packet in uplink.map(|packet| packet.bytes()) {
        samples.push((packet.clone(), Hook::Xdp, "up0"));
        samples.push((packet, Hook::UplinkIngress, "up0"));
    }
    let from = |packet: terrace_model::Packet| (packet.bytes(), Hook::WorkloadIngress, "w2");
    samples.extend(workload.map(from));
    samples
}

#[test]
fn root_a_port_is_free_when_its_flow_has_timed_out_though_nobody_sweeps() {
    Fabric::new("unswept").run(|lab| {
        let mut world = lab.world();
        world.snat_ports = (40_000, 40_000);
        world.timeouts.fill(0);
        lab.install(&world);
        for family in Family::ALL {
            for n in 0..20 {
                let packet = syn(family, &format!("192.0.2.9:{}", 3000 + n), VIP).bytes();
                let until = Instant::now() + Duration::from_secs(10);
                while run(lab, &packet).0 != Reason::Tx {
                    assert!(Instant::now() < until, "connection {n} gets no port");
                }
            }
        }
        println!("20 connections of each family, one after the other, by one port");
    });
}
