//! Where the programs run: a namespace with an uplink, routes and neighbours,
//! and tables large enough for every row.

use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use terrace_abi::{L7Tables, Limits, Maps, Program, Reason, consts, hash, sys, types};
use terrace_mesh::Tables;
use terrace_tc::{Direction, Options, Role, TcPrograms};
use terrace_testkit::{PinRoot, Topology, link};
use terrace_xdp::XdpPrograms;

use terrace::apply::apply;

use super::harness::Hook;

/// Slots of the default configuration (`Limits::default()`).
pub const DEFAULT_FLOWS: u32 = 262_144;
/// 1 million connections take 2 million slots: half of this table.
pub const LARGE_FLOWS: u32 = 4 << 20;
/// Numbers of the one worker.
pub const SPLICES: u32 = 65_536;
/// Both ends of the port.
const PORT: [&str; 2] = ["port0", "port1"];
/// Never too old: the worker of these rows needs no process.
const ALWAYS: u64 = 1 << 62;

/// The XDP program under test.
#[derive(Debug)]
enum Xdp {
    Shipped(XdpPrograms),
    Trial(Vec<Program>),
}

#[derive(Debug)]
pub struct Stage {
    xdp: Xdp,
    pub tc: TcPrograms,
    pub maps: Maps,
    pub tables: Tables,
    pub ifindex: u32,
    pub workload: u32,
    /// tc's end of a port like that of the workers.
    pub port: u32,
    slots: [u32; 3],
    pub net: Topology,
    _pins: PinRoot,
}

pub fn limits(flows: u32) -> Limits {
    Limits {
        flows,
        services: 256,
        backends: 4096,
        endpoints: 262_144,
        service_cells: 256,
        address_cells: 262_144,
        // At half load some of a million keys find no room within CELL_PROBES.
        deny_cells: 2 << 20,
        policy_cells: 1 << 20,
        l7_flows: SPLICES,
        l7_rules: 16_384,
        ..Limits::small()
    }
}

impl Xdp {
    fn load(maps: &Maps, object: Option<&Path>) -> Result<Self> {
        let Some(path) = object else {
            return Ok(Self::Shipped(XdpPrograms::load(maps)?));
        };
        let bytes = std::fs::read(path).with_context(|| format!("read {}", path.display()))?;
        let mut programs = terrace_abi::load("trial", &bytes, maps, &[])?;
        programs.retain(|program| program.name() == "terrace_xdp");
        ensure!(!programs.is_empty(), "no terrace_xdp in {}", path.display());
        Ok(Self::Trial(programs))
    }
}

impl Stage {
    /// `object` is another build of xdp.bpf.c, in place of the one that ships.
    pub fn new(limits: &Limits, object: Option<&Path>) -> Result<Self> {
        let net = Topology::new("bench").client("client").backend("backend");
        let net = net.workload("web").build()?;
        let uplink = &net.uplinks[0];
        let (iface, mac) = (&uplink.iface, link::mac_text(uplink.router_mac));
        let line = format!("neigh replace 10.10.0.1 lladdr {mac} dev {iface} nud permanent");
        let [port, far] = PORT;
        net.host
            .ip([line, format!("link add {port} type veth peer name {far}")])?;
        let interfaces = net.host.enter(sys::interfaces)??;
        let index = |name: &str| {
            let found = interfaces.iter().find(|(_, found)| found == name);
            found.map(|(index, _)| *index).context("no such interface")
        };
        let pins = PinRoot::new()?;
        let maps = Maps::open(pins.path(), limits)?;
        let ifindex = index(&uplink.iface)?;
        let uplink_slot = maps.set_iface(&types::iface {
            ifindex,
            role: consts::ROLE_UPLINK as u8,
            prefilter_hook: consts::HOOK_XDP as u8,
            mac: uplink.mac,
            mtu: net.mtu,
            addr4: hash::address_words(&hash::address_bytes(uplink.v4.into())),
            addr6: hash::address_words(&hash::address_bytes(uplink.v6.into())),
            ..Default::default()
        })?;
        let workload = index(&net.workload("web").host_iface)?;
        let workload_slot = maps.set_iface(&types::iface {
            ifindex: workload,
            role: consts::ROLE_WORKLOAD as u8,
            prefilter_hook: consts::HOOK_TC_INGRESS as u8,
            mac: net.workload("web").host_mac,
            mtu: net.mtu,
            ..Default::default()
        })?;
        let port = index(port)?;
        let port_slot = maps.set_iface(&types::iface {
            ifindex: port,
            role: consts::ROLE_L7_PORT as u8,
            mtu: net.mtu,
            ..Default::default()
        })?;
        Ok(Self {
            xdp: Xdp::load(&maps, object)?,
            tc: TcPrograms::load(&maps, &Options::default())?,
            tables: Tables::new(limits),
            maps,
            ifindex,
            workload,
            port,
            slots: [uplink_slot, workload_slot, port_slot],
            net,
            _pins: pins,
        })
    }

    /// The program under test at a hook.
    pub fn program(&self, hook: Hook) -> BorrowedFd<'_> {
        let tc = |role, direction| self.tc.program(role, direction).as_fd();
        match (hook, &self.xdp) {
            (Hook::Tc, _) => tc(Role::Uplink, Direction::Ingress),
            (Hook::TcWorkload, _) => tc(Role::Workload, Direction::Ingress),
            (Hook::TcUplinkEgress, _) => tc(Role::Uplink, Direction::Egress),
            (Hook::TcWorkloadEgress, _) => tc(Role::Workload, Direction::Egress),
            (Hook::TcPort, _) => self.tc.l7_port().as_fd(),
            (Hook::Xdp, Xdp::Shipped(programs)) => programs.program().as_fd(),
            (Hook::Xdp, Xdp::Trial(programs)) => programs[0].as_fd(),
        }
    }

    /// The interface of a hook.
    pub fn ifindex(&self, hook: Hook) -> u32 {
        match hook {
            Hook::TcWorkload | Hook::TcWorkloadEgress => self.workload,
            Hook::TcPort => self.port,
            Hook::Xdp | Hook::Tc | Hook::TcUplinkEgress => self.ifindex,
        }
    }

    /// Brings the kernel's tables from those it has to `tables`.
    pub fn install(&mut self, tables: Tables) -> Result<()> {
        apply(&self.maps, &terrace_mesh::diff(&self.tables, &tables))?;
        self.tables = tables;
        Ok(())
    }

    /// Switches the deny list on or off.
    pub fn deny_list(&self, on: bool) -> Result<()> {
        let mut config = self.maps.config()?;
        config.flags &= !consts::CONFIG_DENY_LIST;
        config.flags |= if on { consts::CONFIG_DENY_LIST } else { 0 };
        Ok(self.maps.set_config(&config)?)
    }

    /// A worker that lives, as far as the programs can see.
    pub fn worker(&self) -> Result<L7Tables> {
        let mut config = self.maps.config()?;
        config.l7_ifindex = self.port;
        config.l7_queues = 1;
        config.l7_flows = SPLICES;
        config.l7_timeout_ms = 1000;
        self.maps.set_config(&config)?;
        let tables = self.maps.l7_tables()?;
        tables.beat(0, 1, ALWAYS);
        Ok(tables)
    }

    /// Name and verified instructions of each program.
    pub fn verified(&self) -> Vec<(String, u32)> {
        let mut programs: Vec<&Program> = self.maps.programs().iter().collect();
        match &self.xdp {
            Xdp::Shipped(shipped) => programs.push(shipped.program()),
            Xdp::Trial(trial) => programs.extend(trial),
        }
        for role in [Role::Uplink, Role::Workload] {
            programs.extend(Direction::ALL.map(|direction| self.tc.program(role, direction)));
        }
        programs.push(self.tc.l7_port());
        let counts = programs.iter().map(|program| {
            let info = program.info();
            (program.name().to_owned(), info.verified_instructions)
        });
        counts.collect()
    }

    /// All counters of the uplink and the workload's interface, by reason.
    pub fn reasons(&self) -> Result<Vec<(Reason, u64)>> {
        let mut counts = Vec::new();
        for slot in self.slots {
            let of = self.maps.reasons_of(slot)?;
            counts.extend(of.iter().map(|c| (c.reason, c.packets)));
        }
        Ok(counts)
    }
}
