//! The real programs on tables of their own.

use std::collections::BTreeMap;
use std::path::Path;

use libbpf_rs::{MapCore as _, MapFlags};
use terrace_abi::consts::*;
use terrace_abi::hash::{address_bytes, address_words};
use terrace_abi::{L7Tables, Maps, Plain as _, Reason, Table, types};
use terrace_l7::splice::{HeadNote, Progress};
use terrace_model::{Hook, Iface, L7, Outcome, Spliced, World};
use terrace_tc::{Direction, Options, Role, TcPrograms};
use terrace_xdp::XdpPrograms;

use crate::fabric::N_IFACES;
use crate::image::{Image, image, limits};
use crate::world::world;

/// Policy revisions of one world: what the programs remember of another world
/// must not count in this one. Even, so that generations stay.
const EPOCH: u32 = 256;

pub struct Lab {
    pub maps: Maps,
    pub xdp: XdpPrograms,
    pub tc: TcPrograms,
    pub ifaces: [u32; N_IFACES],
    /// What the tables hold, and of which world.
    installed: Image,
    of: Option<World>,
    /// How many worlds there were.
    epoch: u32,
    rings: BTreeMap<u32, Vec<u64>>,
    l7: L7Tables,
    spliced: BTreeMap<u32, Spliced>,
    /// Packets given to the programs, by interface slot and hook.
    given: BTreeMap<(u32, u32), u64>,
    /// Their counters.
    counted: BTreeMap<u32, BTreeMap<(u32, Reason), u64>>,
}

impl Lab {
    /// Call inside the namespace of these interfaces.
    pub fn new(root: &Path, ifaces: [u32; N_IFACES]) -> Self {
        let maps = Maps::open(root, &limits()).unwrap();
        let xdp = XdpPrograms::load(&maps).unwrap();
        let tc = TcPrograms::load(&maps, &Options::default()).unwrap();
        let l7 = maps.l7_tables().unwrap();
        Self {
            maps,
            xdp,
            tc,
            ifaces,
            installed: Image::new(),
            of: None,
            epoch: 0,
            rings: BTreeMap::new(),
            l7,
            spliced: BTreeMap::new(),
            given: BTreeMap::new(),
            counted: BTreeMap::new(),
        }
    }

    /// The world of the rows on this lab's interfaces.
    pub fn world(&self) -> World {
        world(&self.ifaces)
    }

    /// The index of an interface.
    pub fn ifindex(&self, name: &str) -> u32 {
        let mut names = crate::fabric::IFACES.iter().zip(self.ifaces);
        names.find(|(of, _)| **of == name).unwrap().1
    }

    /// Makes the tables say what `world` says.
    pub fn install(&mut self, world: &World) {
        if self.of.as_ref() != Some(world) {
            self.write(image(world));
            for (index, service) in (0u32..).zip(&world.services) {
                self.install_ring(index, &service.ring);
            }
            self.install_ifaces(world);
            self.install_l7(&world.l7);
            self.of = Some(world.clone());
            self.epoch += 1;
        }
        let config = types::config {
            policy_rev: world.policy_rev + self.epoch * EPOCH,
            ..config(world)
        };
        self.maps.set_config(&config).unwrap();
        let now = self.maps.beat().unwrap();
        if world.silent {
            let beat = types::heartbeat {
                last: now.wrapping_sub(1 << 30),
                pad: 0,
            };
            self.update("heartbeat", &[0; 4], beat.as_bytes());
        }
    }

    fn install_l7(&mut self, l7: &L7) {
        for queue in 0..l7.queues {
            // In the future: however long the test takes.
            let beat = if l7.dead.contains(&queue) { 0 } else { 1 << 62 };
            self.l7.beat(queue, 1, beat);
        }
        for number in self.spliced.keys() {
            if !l7.splices.contains_key(number) {
                self.l7.remove_splice(*number);
            }
        }
        for (number, spliced) in &l7.splices {
            if self.spliced.get(number) != Some(spliced) {
                self.bind(*number, spliced);
            }
        }
        self.spliced = l7.splices.clone();
        self.maps
            .remove_head_rules(&self.maps.head_rules())
            .unwrap();
        let rules = l7.rules.rules.iter();
        let keys: Vec<_> = rules
            .map(|(set, rule)| (crate::splices::head_key(*set, rule), rule.value))
            .collect();
        let entries = keys.iter().map(|(key, value)| (key, *value));
        self.maps.add_head_rules(entries).unwrap();
    }

    /// Begins a binding anew.
    pub fn rebind(&self, number: u32) {
        self.bind(number, &self.spliced[&number]);
    }

    /// The requests that passed, as the model has them.
    pub fn heads(&self, number: u32, binding: u32) -> HeadNote {
        crate::splices::head_note(&self.l7.heads(number), binding)
    }

    fn bind(&self, number: u32, spliced: &Spliced) {
        let start = crate::splices::note(&spliced.start);
        self.l7.start(number, spliced.binding, &start);
        self.l7.set_splice(number, &crate::splices::entry(spliced));
    }

    /// What the programs have noted of a splice, as the model has it.
    pub fn progress(&self, number: u32, binding: u32) -> Progress {
        crate::splices::progress(&self.l7.progress(number).notes[(binding & 1) as usize])
    }

    fn install_ifaces(&mut self, world: &World) {
        for ifindex in self.ifaces {
            if world.iface(ifindex).is_none() {
                self.remove_iface(ifindex);
            }
        }
        for iface in &world.ifaces {
            self.maps.set_iface(&iface_entry(iface)).unwrap();
        }
    }

    /// Its counters start again when it comes back.
    fn remove_iface(&mut self, ifindex: u32) {
        let Some((gone, _)) = self.maps.iface(ifindex).unwrap() else {
            return;
        };
        self.maps.remove_iface(ifindex).unwrap();
        self.counted.remove(&gone);
        self.given.retain(|(slot, _), _| *slot != gone);
    }

    fn write(&mut self, new: Image) {
        let mut by_table: BTreeMap<Table, Vec<(u32, Vec<u8>)>> = BTreeMap::new();
        for (table, index) in self.installed.keys().filter(|key| !new.contains_key(key)) {
            let zeroes = vec![0; table.value_size()];
            by_table.entry(*table).or_default().push((*index, zeroes));
        }
        for ((table, index), value) in &new {
            if self.installed.get(&(*table, *index)) != Some(value) {
                by_table
                    .entry(*table)
                    .or_default()
                    .push((*index, value.clone()));
            }
        }
        for (table, entries) in by_table {
            self.maps.write_table(table, &entries).unwrap();
        }
        self.installed = new;
    }

    fn install_ring(&mut self, index: u32, ring: &[u32]) {
        let at = |slot: usize| u64::from(ring.get(slot).copied().unwrap_or(0));
        let entries: Vec<u64> = (0..ring.len())
            .step_by(2)
            .map(|slot| at(slot) | at(slot + 1) << 32)
            .collect();
        if entries.is_empty() || self.rings.get(&index) == Some(&entries) {
            return;
        }
        self.maps.set_ring(index, &entries).unwrap();
        self.rings.insert(index, entries);
    }

    fn update(&self, map: &str, key: &[u8], value: &[u8]) {
        let map = self.maps.handle(map).unwrap();
        map.update(key, value, MapFlags::ANY).unwrap();
    }

    /// Forgets flows, clients and fragments.
    pub fn forget(&self) {
        for (number, spliced) in &self.spliced {
            self.bind(*number, spliced);
        }
        let flows = self.maps.handle("flows").unwrap();
        let buckets = limits().flow_buckets();
        let keys: Vec<u8> = (0..buckets).flat_map(u32::to_ne_bytes).collect();
        let values = vec![0; buckets as usize * size_of::<types::flow_bucket>()];
        flows
            .update_batch(&keys, &values, buckets, MapFlags::ANY, MapFlags::ANY)
            .unwrap();
        for name in ["affinities", "fragments"] {
            let map = self.maps.handle(name).unwrap();
            for key in map.keys().collect::<Vec<_>>() {
                map.delete(&key).unwrap();
            }
        }
    }

    /// Runs a program on a packet; `None` = the kernel takes no such packet.
    pub fn run(&mut self, hook: Hook, iface: &str, packet: &[u8]) -> Option<Outcome> {
        let ifindex = self.ifindex(iface);
        let (maps, tc) = (&self.maps, &self.tc);
        let run = match hook {
            Hook::L7Port => tc
                .run_l7_port(maps, packet, ifindex)
                .map_err(|error| error.to_string()),
            Hook::Xdp => self
                .xdp
                .run(maps, packet, ifindex)
                .map_err(|error| error.to_string()),
            _ => {
                let (role, direction) = place(hook);
                let run = tc.run(maps, role, direction, packet, ifindex);
                run.map_err(|error| error.to_string())
            }
        };
        let run = match run {
            Ok(run) => run,
            // An skb has at least an IP header if its type says IP.
            Err(_) if hook != Hook::Xdp && packet.len() < 54 => return None,
            Err(error) => panic!("{hook:?} on {iface}: {error}: {packet:02x?}"),
        };
        Some(Outcome {
            reason: self.reason(hook, ifindex),
            action: run.action,
            bytes: run.packet,
        })
    }

    /// Others have run packets, too.
    pub fn recount(&mut self) {
        for (slot, counts) in &mut self.counted {
            *counts = counts_of(&self.maps, *slot);
        }
    }

    /// The one counter that the last run has raised.
    pub fn reason(&mut self, hook: Hook, ifindex: u32) -> Reason {
        let slot = self
            .maps
            .iface(ifindex)
            .unwrap()
            .map_or(0, |(slot, _)| slot);
        *self.given.entry((slot, hook.number())).or_default() += 1;
        let counts = counts_of(&self.maps, slot);
        let before = self.counted.entry(slot).or_default();
        let raised: Vec<Reason> = counts
            .iter()
            .filter(|(key, packets)| before.get(key).copied().unwrap_or(0) != **packets)
            .map(|((_, reason), _)| *reason)
            .collect();
        *before = counts;
        match raised[..] {
            [reason] => reason,
            _ => panic!("{hook:?} has counted {raised:?} for one packet"),
        }
    }

    /// Packets in = sum of reasons, by interface and hook (invariant 5).
    pub fn assert_conserved(&self) {
        let mut total = 0;
        for ((slot, hook), given) in &self.given {
            let counts = self.maps.reasons_of(*slot).unwrap();
            let of_hook = counts.iter().filter(|count| count.hook == *hook);
            let counted: u64 = of_hook.map(|count| count.packets).sum();
            assert_eq!(counted, *given, "interface slot {slot}, hook {hook}");
            total += given;
        }
        println!("{total} packets in, {total} reasons counted");
    }
}

fn counts_of(maps: &Maps, slot: u32) -> BTreeMap<(u32, Reason), u64> {
    let counts = maps.reasons_of(slot).unwrap().into_iter();
    counts
        .map(|count| ((count.hook, count.reason), count.packets))
        .collect()
}

/// Where a tc program sits.
pub fn place(hook: Hook) -> (Role, Direction) {
    match hook {
        Hook::UplinkEgress => (Role::Uplink, Direction::Egress),
        Hook::WorkloadIngress => (Role::Workload, Direction::Ingress),
        Hook::WorkloadEgress => (Role::Workload, Direction::Egress),
        Hook::Xdp | Hook::UplinkIngress | Hook::L7Port => (Role::Uplink, Direction::Ingress),
    }
}

fn iface_entry(iface: &Iface) -> types::iface {
    let words = |at: usize| {
        let address = iface.addresses[at];
        if address.is_unspecified() {
            return [0; 4];
        }
        address_words(&address_bytes(address))
    };
    types::iface {
        ifindex: iface.ifindex,
        role: ROLE_UPLINK as u8,
        prefilter_hook: if iface.xdp { HOOK_XDP } else { HOOK_TC_INGRESS } as u8,
        mtu: 1500,
        l7_sockets: iface.sockets.into(),
        flags: if iface.redirect_back {
            IFACE_REDIRECT_BACK
        } else {
            0
        },
        addr4: words(0),
        addr6: words(1),
        ..Default::default()
    }
}

fn config(world: &World) -> types::config {
    const HZ: u32 = 100;
    let mut timeouts = [0; FLOW_STATES as usize];
    for (jiffies, seconds) in timeouts.iter_mut().zip(&world.timeouts) {
        *jiffies = seconds * HZ;
    }
    let host = |at: usize| {
        let host = world
            .host
            .map(|host| address_words(&address_bytes(host[at])));
        host.unwrap_or_default()
    };
    types::config {
        hash_seed: world.seed,
        nexthop_rev: 1,
        hz: HZ,
        heartbeat_timeout: 1 << 20,
        flags: world.flags,
        snat_port_min: world.snat_ports.0,
        snat_port_max: world.snat_ports.1,
        timeouts,
        host_addr4: host(0),
        host_addr6: host(1),
        l7_ifindex: world.l7.port,
        l7_queues: world.l7.queues,
        l7_flows: world.l7.flows,
        l7_timeout_ms: 1000,
        l7_generation: world.l7.rules.generation,
        l7_secret: world.l7.rules.secret,
        ..Default::default()
    }
}
