//! Loading the tc programs, arming interfaces, and dry runs.

use std::path::PathBuf;

use terrace_abi::{Constant, Maps, PacketRun, Program};

use crate::{Attachment, Direction, Error, Role, clsact, tcx};

const L7_PORT: &str = "terrace_tc_l7_ingress";
const OBJECT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/tc.bpf.o"));

/// Which way to attach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Via {
    /// TCX where the kernel has it, else clsact.
    #[default]
    Auto,
    /// TCX, or an error.
    Tcx,
    /// clsact.
    Clsact,
}

/// How to load and attach.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    /// Which way to attach.
    pub via: Via,
}

/// The loaded programs, ready to be attached.
#[derive(Debug)]
pub struct TcPrograms {
    root: PathBuf,
    options: Options,
    set: Set,
}

/// The same programs, changing nothing but the trace that they leave.
#[derive(Debug)]
pub struct DryRun {
    set: Set,
}

impl TcPrograms {
    /// Loads the programs on the tables of `maps`; attaches nothing.
    pub fn load(maps: &Maps, options: &Options) -> Result<Self, Error> {
        Self::load_object(maps, options, OBJECT)
    }

    pub(crate) fn load_object(
        maps: &Maps,
        options: &Options,
        object: &[u8],
    ) -> Result<Self, Error> {
        let set = Set::load(maps, object, &[])?;
        Ok(Self {
            root: maps.root().into(),
            options: *options,
            set,
        })
    }

    /// Puts a program on one side of an interface, in place of an earlier
    /// daemon's without a gap.
    pub fn attach(
        &self,
        iface: &str,
        ifindex: u32,
        role: Role,
        direction: Direction,
    ) -> Result<Attachment, Error> {
        self.attach_program(self.set.of(role, direction), iface, ifindex, direction)
    }

    /// Serves what workers send: `iface` is tc's end of the l7 port.
    pub fn attach_l7_port(&self, iface: &str, ifindex: u32) -> Result<Attachment, Error> {
        self.attach_program(self.l7_port(), iface, ifindex, Direction::Ingress)
    }

    fn attach_program(
        &self,
        program: &Program,
        iface: &str,
        ifindex: u32,
        direction: Direction,
    ) -> Result<Attachment, Error> {
        let tcx = match self.options.via {
            Via::Clsact => false,
            Via::Tcx if !tcx::is_supported(ifindex) => {
                return Err(Error::NoTcx {
                    iface: iface.to_owned(),
                });
            }
            Via::Tcx => true,
            Via::Auto => tcx::is_supported(ifindex),
        };
        // The other kind goes after: for a moment both see a packet, and the
        // mark of the first tells the second to leave it alone.
        if tcx {
            let attachment = tcx::attach(&self.root, iface, ifindex, direction, program)?;
            clsact::detach(iface, ifindex, direction)?;
            clsact::remove_qdisc(&self.root, iface, ifindex)?;
            Ok(attachment)
        } else {
            let attachment = clsact::attach(&self.root, iface, ifindex, direction, program)?;
            tcx::detach(&self.root, iface, ifindex, direction)?;
            Ok(attachment)
        }
    }

    /// Puts both programs of a role on an interface.
    pub fn arm(&self, iface: &str, ifindex: u32, role: Role) -> Result<[Attachment; 2], Error> {
        Ok([
            self.attach(iface, ifindex, role, Direction::Ingress)?,
            self.attach(iface, ifindex, role, Direction::Egress)?,
        ])
    }

    /// Makes the clsact qdisc of an interface unless it is there: filters that a NIC
    /// holds need one, whatever holds the programs.
    pub fn make_qdisc(&self, iface: &str, ifindex: u32) -> Result<(), Error> {
        let program = self.set.of(Role::Uplink, Direction::Ingress);
        clsact::make_qdisc(&self.root, iface, ifindex, program)
    }

    /// A loaded program, for its size or to run it on packets.
    pub fn program(&self, role: Role, direction: Direction) -> &Program {
        self.set.of(role, direction)
    }

    /// The program of the l7 port.
    pub fn l7_port(&self) -> &Program {
        self.set.named(L7_PORT)
    }

    /// Runs the l7 port's program on a packet of a worker.
    pub fn run_l7_port(
        &self,
        maps: &Maps,
        packet: &[u8],
        ifindex: u32,
    ) -> Result<PacketRun, Error> {
        Ok(maps.run_packet(self.l7_port(), packet, &context(ifindex))?)
    }

    /// Runs a live program on a packet: tables change as for a real one.
    pub fn run(
        &self,
        maps: &Maps,
        role: Role,
        direction: Direction,
        packet: &[u8],
        ifindex: u32,
    ) -> Result<PacketRun, Error> {
        self.set.run(maps, role, direction, packet, ifindex)
    }
}

impl DryRun {
    /// Loads the programs for dry runs.
    pub fn load(maps: &Maps) -> Result<Self, Error> {
        Self::load_object(maps, OBJECT)
    }

    pub(crate) fn load_object(maps: &Maps, object: &[u8]) -> Result<Self, Error> {
        Ok(Self {
            set: Set::load(maps, object, &[("dry_run", 1)])?,
        })
    }

    /// What would become of a packet on this interface of the calling thread's
    /// network namespace.
    pub fn run(
        &self,
        maps: &Maps,
        role: Role,
        direction: Direction,
        packet: &[u8],
        ifindex: u32,
    ) -> Result<PacketRun, Error> {
        self.set.run(maps, role, direction, packet, ifindex)
    }
}

#[derive(Debug)]
struct Set(Vec<Program>);

impl Set {
    fn load(maps: &Maps, object: &[u8], constants: &[Constant]) -> Result<Self, Error> {
        let set = Self(terrace_abi::load("tc", object, maps, constants)?);
        let of_roles = Direction::ALL
            .iter()
            .flat_map(|&d| [Role::Uplink, Role::Workload].map(|r| name(r, d)));
        for name in of_roles.chain([L7_PORT]) {
            if !set.0.iter().any(|program| program.name() == name) {
                let name = name.to_owned();
                return Err(terrace_abi::Error::Missing {
                    object: "tc",
                    kind: "program",
                    name,
                }
                .into());
            }
        }
        Ok(set)
    }

    fn of(&self, role: Role, direction: Direction) -> &Program {
        self.named(name(role, direction))
    }

    fn named(&self, name: &str) -> &Program {
        let program = self.0.iter().find(|program| program.name() == name);
        program.expect("load() has looked for all of them")
    }

    fn run(
        &self,
        maps: &Maps,
        role: Role,
        direction: Direction,
        packet: &[u8],
        ifindex: u32,
    ) -> Result<PacketRun, Error> {
        Ok(maps.run_packet(self.of(role, direction), packet, &context(ifindex))?)
    }
}

fn name(role: Role, direction: Direction) -> &'static str {
    match (role, direction) {
        (Role::Uplink, Direction::Ingress) => "terrace_tc_uplink_ingress",
        (Role::Uplink, Direction::Egress) => "terrace_tc_uplink_egress",
        (Role::Workload, Direction::Ingress) => "terrace_tc_workload_ingress",
        (Role::Workload, Direction::Egress) => "terrace_tc_workload_egress",
    }
}

/// The start of a `struct __sk_buff` whose device is `ifindex`; the kernel
/// takes the rest as zero. Index 1 (lo) is what it takes without a context.
fn context(ifindex: u32) -> [u8; 44] {
    const INGRESS_IFINDEX: usize = 36;
    const IFINDEX: usize = 40;
    let mut context = [0; 44];
    if ifindex > 1 {
        context[INGRESS_IFINDEX..INGRESS_IFINDEX + 4].copy_from_slice(&ifindex.to_ne_bytes());
        context[IFINDEX..IFINDEX + 4].copy_from_slice(&ifindex.to_ne_bytes());
    }
    context
}
