//! AF_XDP sockets on real drivers' queues: bound as asked, and packets pass.

use crate::pair::{LIMIT, Pair};
use std::process::Command;
use std::time::Instant;
use terrace_abi::{Limits, Maps};
use terrace_nic_lab::{by_driver, kernel, report, sh, trial, verdict};
use terrace_testkit::{Background, PinRoot, wait};
use terrace_xdp::port::PortProgram;
use terrace_xdp::xsk::{Bind, Memory, MemorySize, Xsk};

const SIZE: MemorySize = MemorySize {
    sockets: 1,
    frames_in: 1024,
    frames_out: 1024,
};

/// Whether a socket binds to queue 0, as the kernel itself says of it.
pub fn bind(iface: &str, bind: Bind) -> bool {
    let mut memory = Memory::new(SIZE).expect("packet memory");
    let Ok(xsk) = memory.bind(iface, 0, bind) else {
        return false;
    };
    let zero_copy = xsk.is_zero_copy().expect("XDP_OPTIONS");
    assert_eq!(zero_copy, bind == Bind::ZeroCopy, "{iface}");
    true
}

/// Sockets on queues of the near end, whose program gives them every packet.
struct Queues {
    pair: Pair,
    queues: Vec<Xsk>,
    _program: PortProgram,
    _memory: Vec<Memory>,
    _root: PinRoot,
}

impl Queues {
    fn new(driver: &str, bind: Bind, n: u32) -> Self {
        let pair = Pair::of(driver);
        // Nobody asks who we are: the program takes every packet.
        let mac = sh(&format!("cat /sys/class/net/{}/address", pair.near));
        sh(&format!(
            "ip -n far neigh replace 10.77.0.1 lladdr {} dev {} nud permanent",
            mac.trim(),
            pair.far
        ));
        let root = PinRoot::new().expect("a pin root");
        let maps = Maps::open(root.path(), &Limits::small()).expect("maps");
        let program = PortProgram::load(&maps).expect("the port's program");
        let index = sh(&format!("cat /sys/class/net/{}/ifindex", pair.near));
        let index = index.trim().parse().expect("a number");
        program.attach(&pair.near, index).expect("native XDP");
        let mut all = Vec::new();
        let mut queues = Vec::new();
        for queue in 0..n {
            let mut memory = Memory::new(SIZE).expect("packet memory");
            let xsk = memory.bind(&pair.near, queue, bind);
            let xsk = xsk.unwrap_or_else(|error| panic!("{driver}: {error:?}"));
            let zero_copy = xsk.is_zero_copy().expect("XDP_OPTIONS");
            assert_eq!(zero_copy, bind == Bind::ZeroCopy, "{driver}");
            program.give(queue, xsk.fd()).expect("a socket in the map");
            queues.push(xsk);
            all.push(memory);
        }
        // Attaching and binding reset the link of igb: nothing is sent before
        // the carrier is back.
        pair.await_carrier();
        Self {
            pair,
            queues,
            _program: program,
            _memory: all,
            _root: root,
        }
    }

    /// Answers so many pings of the far end from the sockets; how many of the
    /// answers the far end got, and which queues the pings came by.
    fn answer(&mut self, n: u32) -> (u32, Vec<u32>) {
        let mut command = Command::new("nsenter");
        let n = n.to_string();
        let words = ["-c", &n, "-i", "0.02", "-W", "10", "10.77.0.1"];
        command.args(["--net=/run/netns/far", "ping"]).args(words);
        let mut ping = Background::spawn(command).expect("ping");
        let mut by = vec![0; self.queues.len()];
        let end = Instant::now() + 2 * LIMIT;
        while ping.exited().is_none() && Instant::now() < end {
            for (xsk, count) in self.queues.iter_mut().zip(&mut by) {
                *count += echo(xsk);
            }
        }
        let said = ping.log();
        let received = said.lines().find_map(|line| {
            let (_, rest) = line.split_once(" transmitted, ")?;
            rest.split_once(" received")?.0.parse().ok()
        });
        (received.unwrap_or_else(|| panic!("{said}")), by)
    }
}

/// Sends each echo request back as its answer.
fn echo(xsk: &mut Xsk) -> u32 {
    const ECHO: u8 = 8;
    let Xsk { receiver, sender } = xsk;
    let mut count = 0;
    receiver.receive(|packet| {
        let is_ping = packet.len() >= 42 && packet[12..14] == [8, 0] && packet[34] == ECHO;
        if !is_ping {
            return;
        }
        count += 1;
        sender.send(packet.len(), |frame| {
            frame[..packet.len()].copy_from_slice(packet);
            frame[..6].copy_from_slice(&packet[6..12]);
            frame[6..12].copy_from_slice(&packet[..6]);
            frame[26..30].copy_from_slice(&packet[30..34]);
            frame[30..34].copy_from_slice(&packet[26..30]);
            // The type is 8 less, so the checksum is 0x0800 more.
            let sum = u16::from_be_bytes([packet[36], packet[37]]);
            let (sum, carry) = sum.overflowing_add(0x0800);
            frame[34] = 0;
            frame[36..38].copy_from_slice(&(sum + u16::from(carry)).to_be_bytes());
            packet.len()
        });
    });
    let _ = receiver.wake_if_asked();
    sender.flush();
    count
}

/// igb since 6.14, virtio with iommu_platform=on since 6.11, where the newest
/// kernel has both; copy mode is everywhere.
fn has_zero_copy() -> bool {
    kernel() == "new"
}

fn carries(driver: &str, bind: Bind) {
    let mut queues = Queues::new(driver, bind, 1);
    if driver == "igb" {
        sh(&format!("ethtool -L {} combined 1", queues.pair.near));
        queues.pair.await_carrier();
    }
    let (answered, _) = queues.answer(100);
    assert_eq!(answered, 100, "{driver} {bind:?}");
}

#[test]
fn zero_copy_sockets_of_virtio_carry_packets() {
    match has_zero_copy() {
        true => carries("virtio_net", Bind::ZeroCopy),
        false => carries("virtio_net", Bind::Copy),
    }
}

#[test]
fn sockets_on_queues_of_igb_get_what_its_table_sends_there() {
    let bind = match has_zero_copy() {
        true => Bind::ZeroCopy,
        false => Bind::Copy,
    };
    let near = by_driver("igb").first().cloned().expect("two igb");
    sh(&format!("ethtool -L {near} combined 2"));
    let mut queues = Queues::new("igb", bind, 2);
    for (weights, expected) in [("0 1", 1), ("1 0", 0)] {
        sh(&format!("ethtool -X {near} weight {weights}"));
        queues.pair.await_carrier();
        let (answered, by) = queues.answer(50);
        assert_eq!(answered, 50, "{bind:?}, weights {weights}: {by:?}");
        assert_eq!(by[expected], 50, "{bind:?}, weights {weights}: {by:?}");
    }
    drop(queues);
    sh(&format!("ethtool -X {near} default"));
}

/// The bind is the proof; virtio lists zero-copy without it, too.
#[test]
fn zero_copy_is_bound_where_the_report_says_so() {
    let expected = match has_zero_copy() {
        true => ("ok", "yes"),
        false => ("refused", "no"),
    };
    for driver in ["igb", "virtio_net"] {
        let nics = by_driver(driver);
        let near = nics.first().expect("a pair of each");
        let said = report(near, "--mode active --allow attach,xsk");
        let found = (trial(&said, "xsk_bind_zc"), verdict(&said, "afxdp-zc"));
        assert_eq!(found, expected, "{driver} on {}: {said}", kernel());
    }
    let up = |name: &str| sh(&format!("cat /sys/class/net/{name}/carrier")).trim() == "1";
    for name in by_driver("igb") {
        let back = wait::until("the carrier", LIMIT, || up(&name).then_some(()));
        back.expect("a carrier");
    }
}
