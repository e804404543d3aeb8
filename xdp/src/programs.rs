//! Loading the XDP programs, exchanging them, and dry runs.

use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd, RawFd};
use std::path::{Path, PathBuf};

use libbpf_rs::{MapCore as _, MapFlags, MapHandle};
use terrace_abi::{Constant, Loaded, Maps, OwnMap, PacketRun, Program, sys};

use crate::{Attachment, Error, Mode, attach};

const OBJECT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/xdp.bpf.o"));
const ROOT: &str = "terrace_xdp_root";
const INNER: &str = "terrace_xdp";
/// The entry of `xdp_programs` that the root program calls.
const ENTRY: [u8; 4] = 0u32.to_ne_bytes();

const SOCKETS: OwnMap = OwnMap {
    name: "uplink_sockets",
    entries: 0,
    value_size: 4,
};

/// The loaded programs, ready to be attached.
#[derive(Debug)]
pub struct XdpPrograms {
    root: OwnedFd,
    root_id: u32,
    inner: Program,
    sockets: MapHandle,
}

/// The inner program, changing nothing but the trace that it leaves.
#[derive(Debug)]
pub struct DryRun {
    inner: Program,
}

impl XdpPrograms {
    /// Loads the programs on the tables of `maps`; attaches nothing. The root
    /// program is the pinned one of an earlier daemon, if there is one.
    pub fn load(maps: &Maps) -> Result<Self, Error> {
        Self::load_object(maps, OBJECT)
    }

    pub(crate) fn load_object(maps: &Maps, object: &[u8]) -> Result<Self, Error> {
        let Loaded {
            mut programs,
            maps: mut own,
        } = load(maps, object, &[])?;
        let inner = take(&mut programs, INNER)?;
        let sockets = own.remove(SOCKETS.name);
        let path = root_pin(maps.root());
        let root = match sys::open_pin(&path) {
            Ok(root) => root,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                pin_root(&take(&mut programs, ROOT)?, &path)?
            }
            Err(source) => return Err(pin_error("open", &path, source)),
        };
        let root_id = sys::program_info(root.as_fd())
            .map_err(|source| Error::Ask {
                what: "the root program".to_owned(),
                source,
            })?
            .id;
        Ok(Self {
            root,
            root_id,
            inner,
            sockets: sockets.ok_or_else(|| missing("map", SOCKETS.name))?,
        })
    }

    /// What is for workers and comes by the queue of this entry
    /// (`iface.l7_first` + queue) goes to the socket from now on, if the
    /// interface says so; the kernel takes it out when the socket closes.
    pub fn give(&self, entry: u32, socket: RawFd) -> Result<(), Error> {
        let socket = (socket as u32).to_ne_bytes();
        self.sockets
            .update(&entry.to_ne_bytes(), &socket, MapFlags::ANY)
            .map_err(|source| Error::Install { source })
    }

    /// Makes the root programs call this program from the next packet on.
    pub fn install(&self, maps: &Maps) -> Result<(), Error> {
        let inner = (self.inner.as_fd().as_raw_fd() as u32).to_ne_bytes();
        xdp_programs(maps)?
            .update(&ENTRY, &inner, MapFlags::ANY)
            .map_err(|source| Error::Install { source })
    }

    /// Puts the root program on an interface. Install first, or packets pass to
    /// tc until then, which is harmless.
    pub fn attach(&self, iface: &str, ifindex: u32, mode: Mode) -> Result<Attachment, Error> {
        attach::attach(iface, ifindex, self.root.as_fd(), self.root_id, mode)
    }

    /// The inner program, for its size or to run it on packets.
    pub fn program(&self) -> &Program {
        &self.inner
    }

    /// Runs the live program on a packet: tables change as for a real one.
    pub fn run(&self, maps: &Maps, packet: &[u8], ifindex: u32) -> Result<PacketRun, Error> {
        run(maps, &self.inner, packet, ifindex)
    }
}

impl DryRun {
    /// Loads the program for dry runs.
    pub fn load(maps: &Maps) -> Result<Self, Error> {
        Self::load_object(maps, OBJECT)
    }

    pub(crate) fn load_object(maps: &Maps, object: &[u8]) -> Result<Self, Error> {
        let mut loaded = load(maps, object, &[("dry_run", 1)])?;
        Ok(Self {
            inner: take(&mut loaded.programs, INNER)?,
        })
    }

    /// What would become of a packet on this interface of the calling thread's
    /// network namespace.
    pub fn run(&self, maps: &Maps, packet: &[u8], ifindex: u32) -> Result<PacketRun, Error> {
        run(maps, &self.inner, packet, ifindex)
    }
}

/// Makes the root programs pass every packet to tc.
pub fn uninstall(maps: &Maps) -> Result<(), Error> {
    match xdp_programs(maps)?.delete(&ENTRY) {
        Err(source) if source.kind() != libbpf_rs::ErrorKind::NotFound => {
            Err(Error::Install { source })
        }
        _ => Ok(()),
    }
}

pub(crate) fn root_pin(root: &Path) -> PathBuf {
    root.join("progs").join("xdp_root")
}

fn xdp_programs(maps: &Maps) -> Result<&libbpf_rs::MapHandle, Error> {
    let missing = || missing("map", "xdp_programs");
    maps.handle("xdp_programs").ok_or_else(missing)
}

pub(crate) fn load(maps: &Maps, object: &[u8], constants: &[Constant]) -> Result<Loaded, Error> {
    Ok(terrace_abi::load_with(
        "xdp",
        object,
        maps,
        constants,
        &[SOCKETS],
    )?)
}

fn take(programs: &mut Vec<Program>, name: &str) -> Result<Program, Error> {
    let at = programs.iter().position(|program| program.name() == name);
    at.map(|at| programs.swap_remove(at))
        .ok_or_else(|| missing("program", name))
}

fn missing(kind: &'static str, name: &str) -> Error {
    terrace_abi::Error::Missing {
        object: "xdp",
        kind,
        name: name.to_owned(),
    }
    .into()
}

fn pin_root(program: &Program, path: &Path) -> Result<OwnedFd, Error> {
    sys::pin(program.as_fd(), path).map_err(|source| pin_error("pin", path, source))?;
    program
        .as_fd()
        .try_clone_to_owned()
        .map_err(|source| pin_error("pin", path, source))
}

fn pin_error(action: &'static str, path: &Path, source: io::Error) -> Error {
    terrace_abi::Error::Pin {
        action,
        path: path.into(),
        source,
    }
    .into()
}

fn run(maps: &Maps, program: &Program, packet: &[u8], ifindex: u32) -> Result<PacketRun, Error> {
    Ok(maps.run_packet(program, packet, &context(packet.len(), ifindex))?)
}

/// A `struct xdp_md`: the packet from `data` 0 to `data_end`, received on queue
/// 0 of `ifindex`.
fn context(len: usize, ifindex: u32) -> [u8; 24] {
    const DATA_END: usize = 4;
    const INGRESS_IFINDEX: usize = 12;
    let mut context = [0; 24];
    context[DATA_END..DATA_END + 4].copy_from_slice(&(len as u32).to_ne_bytes());
    context[INGRESS_IFINDEX..INGRESS_IFINDEX + 4].copy_from_slice(&ifindex.to_ne_bytes());
    context
}
