//! From Kubernetes manifests to Terrace's tables, without IO.

mod compile;
pub mod directory;
mod error;
mod facts;
mod l7;
mod objects;
mod parse;
mod tables;
mod yaml;

pub mod maglev;

pub use compile::{Change, Compiler, compile};
pub use error::{Error, Errors, Origin};
pub use facts::{HostFacts, InterfaceFact};
pub use l7::{L7, PortRoutes, RuleSet, SetRule};
pub use objects::*;
pub use parse::{Manifests, SourceFile, parse, parse_file};
pub use tables::*;
