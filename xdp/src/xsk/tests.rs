//! Sockets on a veth pair of a namespace of their own.

use std::time::{Duration, Instant};

use terrace_abi::{Limits, Maps, sys};
use terrace_testkit::{Netns, PinRoot};

use super::{
    Bind, MAX_PACKET, Memory, MemorySize, Xsk, XskError, longest_packet, takes_several_frames,
};
use crate::port::PortProgram;

const SIZE: MemorySize = MemorySize {
    sockets: 2,
    frames_in: 256,
    frames_out: 256,
};

/// Two ends, each with a socket on its queue 0.
struct Lab {
    ns: Netns,
    _roots: [PinRoot; 2],
    ends: [Xsk; 2],
    memory: Memory,
}

impl Lab {
    fn new(label: &str, mtu: u32) -> Self {
        let ns = Netns::new(label).unwrap();
        ns.ip([
            format!("link add near0 mtu {mtu} type veth peer name far0 mtu {mtu}"),
            "link set near0 addrgenmode none up".to_owned(),
            "link set far0 addrgenmode none up".to_owned(),
        ])
        .unwrap();
        // Its first socket is made with the memory, so here too.
        let mut memory = ns.enter(|| Memory::new(SIZE)).unwrap().unwrap();
        let all = ns.enter(sys::interfaces).unwrap().unwrap();
        let mut roots = Vec::new();
        let ends = ["near0", "far0"].map(|iface| {
            let (ifindex, _) = all.iter().find(|(_, name)| name == iface).unwrap();
            let root = PinRoot::new().unwrap();
            let maps = Maps::open(root.path(), &Limits::small()).unwrap();
            let program = PortProgram::load(&maps).unwrap();
            let xsk = ns.enter(|| memory.bind(iface, 0, Bind::Copy)).unwrap();
            let xsk = xsk.unwrap();
            program.give(0, xsk.fd()).unwrap();
            ns.enter(|| program.attach(iface, *ifindex))
                .unwrap()
                .unwrap();
            roots.push(root);
            xsk
        });
        Self {
            ns,
            _roots: roots.try_into().unwrap(),
            ends,
            memory,
        }
    }

    /// Sends packets from the first end, and returns what the second one got.
    fn pass(&mut self, packets: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let [near, far] = &mut self.ends;
        let mut got = Vec::new();
        let until = Instant::now() + Duration::from_secs(20);
        let mut sent = packets.iter();
        while got.len() < packets.len() && Instant::now() < until {
            for packet in sent.by_ref().take(64) {
                near.sender.send(packet.len(), |frame| {
                    frame[..packet.len()].copy_from_slice(packet);
                    packet.len()
                });
            }
            near.sender.flush();
            far.receiver.receive(|packet| got.push(packet.to_vec()));
        }
        got
    }
}

fn packet(number: usize, len: usize) -> Vec<u8> {
    let mut packet: Vec<u8> = (0..len).map(|i| (i * 7 + number) as u8).collect();
    packet[..12].copy_from_slice(&[2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1]);
    packet[12..14].copy_from_slice(&[0x88, 0xb5]);
    packet
}

#[test]
fn root_packets_of_every_size_arrive_whole_and_in_order() {
    for mtu in [1_500, 9_000] {
        let mut lab = Lab::new("xsk-sizes", mtu);
        let largest = mtu as usize + 14;
        if largest > longest_packet() as usize {
            terrace_testkit::kernel::tell("AF_XDP packets of several frames");
            continue;
        }
        let lens = [
            60, 61, 1_000, 1_514, 3_839, 3_840, 3_841, 7_680, 7_681, largest,
        ];
        let lens = lens.into_iter().filter(|len| *len <= largest);
        let packets: Vec<_> = lens.enumerate().map(|(i, len)| packet(i, len)).collect();
        let got = lab.pass(&packets);
        let found: Vec<_> = got.iter().map(Vec::len).collect();
        let wanted: Vec<_> = packets.iter().map(Vec::len).collect();
        assert_eq!(found, wanted, "mtu {mtu}");
        assert!(got == packets, "mtu {mtu}: other bytes");
        assert!(largest <= MAX_PACKET);
    }
}

#[test]
fn root_frames_come_back_however_many_packets_pass() {
    let mut lab = Lab::new("xsk-many", 1_500);
    let many: Vec<_> = (0..5_000).map(|i| packet(i, 200)).collect();
    for part in many.chunks(100) {
        assert!(lab.pass(part) == part);
    }
    assert_eq!(lab.ends[0].sender.dropped, 0);
    assert_eq!(lab.ends[1].stats().unwrap().overruns, 0);
}

#[test]
fn root_a_receiver_that_panics_loses_no_frame() {
    let mut lab = Lab::new("xsk-panic", 1_500);
    for i in 0..600 {
        let [near, far] = &mut lab.ends;
        let sent = packet(i, 100);
        near.sender.send(100, |frame| {
            frame.copy_from_slice(&sent);
            100
        });
        near.sender.flush();
        let panics = std::panic::AssertUnwindSafe(|| {
            let until = Instant::now() + Duration::from_secs(20);
            let panic = |_: &[u8]| std::panic::resume_unwind(Box::new(0));
            while far.receiver.receive(panic) == 0 && Instant::now() < until {}
        });
        assert!(std::panic::catch_unwind(panics).is_err(), "{i}");
    }
    let after = [packet(1, 80)];
    assert!(lab.pass(&after) == after);
}

#[test]
fn root_a_queue_has_one_socket() {
    let lab = Lab::new("xsk-taken", 1_500);
    let Lab { ns, mut memory, .. } = lab;
    assert_eq!(memory.n_free(), 0);
    let second = ns.enter(|| memory.bind("near0", 0, Bind::Copy)).unwrap();
    assert!(matches!(second, Err(XskError::Taken { .. })), "{second:?}");
}

#[test]
fn packets_of_several_frames_come_with_linux_6_6() {
    for (release, expected) in [
        ("6.1.0-56-amd64", false),
        ("6.5.13", false),
        ("6.6.0", true),
        ("6.12.117+deb12-amd64", true),
        ("7.3.4", true),
        ("", false),
    ] {
        assert_eq!(takes_several_frames(release), expected, "{release}");
    }
}
