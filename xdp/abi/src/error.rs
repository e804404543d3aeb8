//! What can go wrong with tables and objects, and what to do about it.

use std::io;
use std::path::PathBuf;

/// An error of the tables or of an object that joins them.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The BPF file system could not be mounted.
    #[error("mount a BPF file system at {}", path.display())]
    Mount {
        /// Where.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The pin root is somewhere else.
    #[error("{} is not on a BPF file system: choose a pin root under /sys/fs/bpf", path.display())]
    NotBpffs {
        /// The pin root.
        path: PathBuf,
    },
    /// A file operation on a pin failed.
    #[error("{action} {}", path.display())]
    Pin {
        /// "pin", "open", "remove" or "list".
        action: &'static str,
        /// The pin.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// No tables are pinned where they were expected.
    #[error("no tables of Terrace under {}: is `terrace run` started?", root.display())]
    NotFound {
        /// The pin root.
        root: PathBuf,
    },
    /// The pins were made by a Terrace that lays tables out otherwise.
    #[error(
        "the tables under {} have ABI version {found}, this program has {expected}: run \
         `terrace detach` with the version that made them, then start this one",
        root.display()
    )]
    AbiVersion {
        /// The pin root.
        root: PathBuf,
        /// In the pinned `config`.
        found: u32,
        /// Of this program.
        expected: u32,
    },
    /// A pinned map has another shape than this program's.
    #[error(
        "the pinned map {map} differs from this program's ({what}: {found}, not {expected}): run \
         `terrace detach`, then start again"
    )]
    Shape {
        /// The map.
        map: String,
        /// "type", "key size" or "value size".
        what: &'static str,
        /// Of the pinned map.
        found: u32,
        /// Of this program.
        expected: u32,
    },
    /// A limit was changed while the tables live on.
    #[error(
        "limit {limit} asks for {wanted} entries, but the pinned map {map} has {found}: set the \
         limit back, or run `terrace detach` (established connections are lost) and start again"
    )]
    Size {
        /// The field of [`crate::Limits`].
        limit: &'static str,
        /// The map.
        map: String,
        /// Entries of the pinned map.
        found: u32,
        /// Entries under the limits.
        wanted: u32,
    },
    /// The kernel refused an object.
    #[error("load {object}: {source:#}{log}")]
    Load {
        /// The object.
        object: &'static str,
        /// What libbpf returned.
        source: libbpf_rs::Error,
        /// The end of the verifier's log, on lines of its own; may be empty.
        log: String,
    },
    /// An object has no such map, program or constant.
    #[error("{object} has no {kind} `{name}`: the object and its loader don't fit")]
    Missing {
        /// The object.
        object: &'static str,
        /// "map", "program" or "constant".
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// A table could not be read.
    #[error("read table {table}")]
    Read {
        /// The map.
        table: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// A table could not be written.
    #[error("write table {table}")]
    Write {
        /// The map.
        table: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// An entry does not fit its table.
    #[error(
        "table {table} has {entries} entries of {size} bytes: entry {index} of {bytes} bytes does not fit"
    )]
    Entry {
        /// The map.
        table: &'static str,
        /// Entries of the table.
        entries: u32,
        /// Bytes of each.
        size: usize,
        /// Where it was to go.
        index: u32,
        /// Its length.
        bytes: usize,
    },
    /// The interface table is full around an interface.
    #[error("no free slot for interface {ifindex}: more than {max} interfaces are configured")]
    InterfacesFull {
        /// The interface.
        ifindex: u32,
        /// Size of the table.
        max: u32,
    },
    /// A program could not be run.
    #[error("run program {program}")]
    Run {
        /// Its name.
        program: String,
        /// Why not.
        source: io::Error,
    },
    /// The kernel could not be asked something.
    #[error("ask the kernel for {what}")]
    Ask {
        /// For what.
        what: &'static str,
        /// Why not.
        source: io::Error,
    },
}

pub(crate) fn io(error: libbpf_rs::Error) -> io::Error {
    io::Error::new(error.kind().into_io(), format!("{error:#}"))
}

trait IntoIo {
    fn into_io(self) -> io::ErrorKind;
}

impl IntoIo for libbpf_rs::ErrorKind {
    fn into_io(self) -> io::ErrorKind {
        match self {
            Self::PermissionDenied => io::ErrorKind::PermissionDenied,
            Self::NotFound => io::ErrorKind::NotFound,
            Self::AlreadyExists => io::ErrorKind::AlreadyExists,
            Self::InvalidInput => io::ErrorKind::InvalidInput,
            _ => io::ErrorKind::Other,
        }
    }
}
