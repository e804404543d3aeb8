//! Loading a BPF object that joins the pinned tables.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;

use libbpf_rs::btf::types::{DataSec, Enum, Var};
use libbpf_rs::{Btf, MapCore as _, MapHandle, ObjectBuilder, OpenObject};

use crate::messages::capture;
use crate::patience::undisturbed;
use crate::{Error, Maps, pins, sys};

/// Lines of the verifier's log that go into an error.
const LOG_LINES: usize = 16;

/// A load-time constant (`const volatile` in the C source) and its value.
pub type Constant = (&'static str, u64);

/// A loaded program. The kernel keeps it for as long as this, a pin or an
/// interface refers to it.
#[derive(Debug)]
pub struct Program {
    name: String,
    fd: OwnedFd,
    info: sys::ProgramInfo,
}

impl Program {
    pub(crate) fn new(name: String, fd: OwnedFd) -> Result<Self, Error> {
        let info = sys::program_info(fd.as_fd()).map_err(|source| Error::Ask {
            what: "a program's description",
            source,
        })?;
        Ok(Self { name, fd, info })
    }

    /// Its name in the C source.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the kernel says about it.
    pub fn info(&self) -> &sys::ProgramInfo {
        &self.info
    }
}

impl AsFd for Program {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Loads the programs of `bytes` (a compiled `*.bpf.c`), all their maps being
/// those of `maps`. Constants that the object doesn't have are an error, except
/// the table masks, which are set wherever they exist.
pub fn load(
    object: &'static str,
    bytes: &[u8],
    maps: &Maps,
    constants: &[Constant],
) -> Result<Vec<Program>, Error> {
    undisturbed(|| load_once(object, bytes, maps, constants))
}

fn load_once(
    object: &'static str,
    bytes: &[u8],
    maps: &Maps,
    constants: &[Constant],
) -> Result<Vec<Program>, Error> {
    let mut open = open(object, bytes)?;
    for mut map in open.maps_mut() {
        let name = map.name().to_string_lossy().into_owned();
        if is_internal(&name) {
            continue;
        }
        let handle = maps.handle(&name).ok_or_else(|| Error::Missing {
            object: "tables",
            kind: "map",
            name: name.clone(),
        })?;
        map.reuse_fd(handle.as_fd())
            .map_err(|source| load_error(object, source))?;
    }
    set_constants(object, bytes, &mut open, &maps.masks(), Missing::Skipped)?;
    set_constants(object, bytes, &mut open, constants, Missing::Refused)?;
    finish(object, open)
}

/// A loaded object with maps that are not tables.
#[derive(Debug)]
pub struct Loaded {
    /// Its programs.
    pub programs: Vec<Program>,
    /// Its own maps, by name.
    pub maps: BTreeMap<String, MapHandle>,
}

/// A map of one tier: pinned beside the tables like them, made when its tier is
/// first used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OwnMap {
    /// Its name in the C source.
    pub name: &'static str,
    /// How large; 0 = as in the C source.
    pub entries: u32,
    /// Bytes of a value.
    pub value_size: usize,
}

/// Like [`load`], with maps of the object's own beside the tables. Those that
/// are pinned are joined, the others are made and pinned.
pub fn load_with(
    object: &'static str,
    bytes: &[u8],
    maps: &Maps,
    constants: &[Constant],
    own: &[OwnMap],
) -> Result<Loaded, Error> {
    undisturbed(|| load_with_once(object, bytes, maps, constants, own))
}

fn load_with_once(
    object: &'static str,
    bytes: &[u8],
    maps: &Maps,
    constants: &[Constant],
    own: &[OwnMap],
) -> Result<Loaded, Error> {
    let mut open = open(object, bytes)?;
    let mut made = Vec::new();
    for mut map in open.maps_mut() {
        let name = map.name().to_string_lossy().into_owned();
        if is_internal(&name) {
            continue;
        }
        let ours = own.iter().find(|own| own.name == name);
        let pin = maps.root().join("maps").join(&name);
        match ours {
            Some(own) if !pin.exists() => {
                if own.entries > 0 {
                    map.set_max_entries(own.entries)
                        .map_err(|source| load_error(object, source))?;
                }
                made.push(name);
            }
            Some(own) => {
                let handle = MapHandle::from_pinned_path(&pin)
                    .map_err(|error| pins::error("open", &pin, crate::error::io(error)))?;
                check_value(own, &handle)?;
                map.reuse_fd(handle.as_fd())
                    .map_err(|source| load_error(object, source))?;
            }
            None => {
                let handle = maps.handle(&name).ok_or_else(|| Error::Missing {
                    object: "tables",
                    kind: "map",
                    name: name.clone(),
                })?;
                map.reuse_fd(handle.as_fd())
                    .map_err(|source| load_error(object, source))?;
            }
        }
    }
    set_constants(object, bytes, &mut open, &maps.masks(), Missing::Skipped)?;
    set_constants(object, bytes, &mut open, constants, Missing::Refused)?;
    let loaded = finish_object(object, open)?;
    keep(object, maps, &loaded, own, &made)
}

fn keep(
    object: &'static str,
    maps: &Maps,
    loaded: &libbpf_rs::Object,
    own: &[OwnMap],
    made: &[String],
) -> Result<Loaded, Error> {
    let mut kept = BTreeMap::new();
    for map in loaded.maps() {
        let name = map.name().to_string_lossy().into_owned();
        if !own.iter().any(|own| own.name == name) {
            continue;
        }
        let handle = MapHandle::try_from(&map).map_err(|source| load_error(object, source))?;
        if made.contains(&name) {
            let path = maps.root().join("maps").join(&name);
            sys::pin(handle.as_fd(), &path).map_err(|source| pins::error("pin", &path, source))?;
        }
        kept.insert(name, handle);
    }
    Ok(Loaded {
        programs: programs(loaded)?,
        maps: kept,
    })
}

fn check_value(own: &OwnMap, found: &MapHandle) -> Result<(), Error> {
    let expected = own.value_size as u32;
    if found.value_size() == expected {
        return Ok(());
    }
    Err(Error::Shape {
        map: own.name.to_owned(),
        what: "value size",
        found: found.value_size(),
        expected,
    })
}

fn load_error(object: &'static str, source: libbpf_rs::Error) -> Error {
    Error::Load {
        object,
        source,
        log: String::new(),
    }
}

/// `.rodata`, `.bss`, `scratch` and what a program remembers: maps that belong
/// to one object.
pub(crate) fn is_internal(map: &str) -> bool {
    map.contains('.') || ["scratch", "destinations"].contains(&map)
}

pub(crate) fn open(object: &'static str, bytes: &[u8]) -> Result<OpenObject, Error> {
    let (open, log) = capture(|| ObjectBuilder::default().name(object)?.open_memory(bytes));
    open.map_err(|source| Error::Load {
        object,
        source,
        log: tail(&log),
    })
}

/// Loads an opened object and returns its programs; the maps that it has made
/// live on in the pins and descriptors that the caller took.
pub(crate) fn finish(object: &'static str, open: OpenObject) -> Result<Vec<Program>, Error> {
    let loaded = finish_object(object, open)?;
    programs(&loaded)
}

pub(crate) fn finish_object(
    object: &'static str,
    open: OpenObject,
) -> Result<libbpf_rs::Object, Error> {
    let (loaded, log) = capture(|| open.load());
    loaded.map_err(|source| Error::Load {
        object,
        source,
        log: tail(&log),
    })
}

pub(crate) fn programs(loaded: &libbpf_rs::Object) -> Result<Vec<Program>, Error> {
    loaded
        .progs()
        .map(|program| {
            let fd = program
                .as_fd()
                .try_clone_to_owned()
                .map_err(|source| Error::Ask {
                    what: "a program's descriptor",
                    source,
                })?;
            Program::new(program.name().to_string_lossy().into_owned(), fd)
        })
        .collect()
}

/// What to do about a constant that an object does not have.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missing {
    Skipped,
    Refused,
}

pub(crate) fn set_constants(
    object: &'static str,
    bytes: &[u8],
    open: &mut OpenObject,
    constants: &[Constant],
    missing: Missing,
) -> Result<(), Error> {
    let places = constant_places(object, bytes)?;
    let mut rodata = open
        .maps_mut()
        .find(|map| map.name().to_string_lossy().ends_with(".rodata"));
    let mut values = rodata.as_mut().and_then(|map| map.initial_value_mut());
    for (name, value) in constants {
        let place = places.iter().find(|place| place.name == *name);
        match (place, values.as_mut()) {
            (Some(place), Some(values)) => {
                let bytes = &value.to_ne_bytes()[..place.size.min(8)];
                values[place.offset..place.offset + bytes.len()].copy_from_slice(bytes);
            }
            _ if missing == Missing::Skipped => {}
            _ => {
                return Err(Error::Missing {
                    object,
                    kind: "constant",
                    name: (*name).to_owned(),
                });
            }
        }
    }
    Ok(())
}

struct Place {
    name: String,
    offset: usize,
    size: usize,
}

fn constant_places(object: &'static str, bytes: &[u8]) -> Result<Vec<Place>, Error> {
    let btf = Btf::from_raw(object, bytes).map_err(|source| Error::Load {
        object,
        source,
        log: String::new(),
    })?;
    let Some(btf) = btf else {
        return Ok(Vec::new());
    };
    let Some(section) = btf.type_by_name::<DataSec<'_>>(".rodata") else {
        return Ok(Vec::new());
    };
    let places = section.iter().filter_map(|entry| {
        let name = btf
            .type_by_id::<Var<'_>>(entry.ty)?
            .name()?
            .to_string_lossy()
            .into_owned();
        Some(Place {
            name,
            offset: entry.offset as usize,
            size: entry.size,
        })
    });
    Ok(places.collect())
}

/// Constants that depend on the machine rather than on the tables.
pub(crate) fn machine_constants() -> [Constant; 2] {
    [
        (
            "weak_memory",
            u64::from(!cfg!(any(target_arch = "x86_64", target_arch = "s390x"))),
        ),
        (
            "csum_v6_flag",
            if kernel_knows_ipv6_csum() { 1 << 7 } else { 0 },
        ),
    ]
}

/// Whether `bpf_l4_csum_replace` knows BPF_F_IPV6 (Linux 6.16 and backports);
/// other kernels refuse the flag.
fn kernel_knows_ipv6_csum() -> bool {
    static KNOWN: OnceLock<bool> = OnceLock::new();
    *KNOWN.get_or_init(|| {
        let Ok(btf) = Btf::from_vmlinux() else {
            return false;
        };
        btf.type_by_kind::<Enum<'_>>().any(|ty| {
            ty.iter()
                .any(|value| value.name.is_some_and(|name| name == "BPF_F_IPV6"))
        })
    })
}

/// The last lines of what libbpf printed, each on a line of its own and without
/// the verifier's view of the registers.
fn tail(log: &str) -> String {
    let lines: Vec<&str> = log
        .lines()
        .map(|line| line.split("  ; ").next().unwrap_or(line).trim_end())
        .filter(|line| !line.is_empty())
        .collect();
    let first = lines.len().saturating_sub(LOG_LINES);
    lines[first..]
        .iter()
        .map(|line| format!("\n  {line:.160}"))
        .collect()
}

/// Runs a `SEC("syscall")` program.
pub(crate) fn run_syscall(program: &Program, args: &mut [u8]) -> Result<u32, Error> {
    sys::test_run_syscall(program.as_fd(), args).map_err(|source| run_error(program, source))
}

fn run_error(program: &Program, source: io::Error) -> Error {
    Error::Run {
        program: program.name().to_owned(),
        source,
    }
}
