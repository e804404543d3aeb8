//! Namespaces, links and servers for Terrace's tests and demo.
//!
//! Everything here is a guard: what a value made on the machine goes away when
//! it is dropped, also by a panic. What a killed process left behind is removed
//! by [`sweep`]. Nothing here needs libbpf, so that `xtask` builds on a machine
//! that has only Rust and a C compiler.
//!
//! A test usually starts from a [`Topology`]:
//!
//! ```no_run
//! # fn main() -> Result<(), terrace_testkit::Error> {
//! use terrace_testkit::{HttpServer, Topology, http};
//! let net = Topology::new("spread").client("client").workload("web-a").backend("remote").build()?;
//! let web = HttpServer::start(&net.workload("web-a").ns, "web-a", 8080)?;
//! let body = http::get(&net.client("client").ns, web.at(net.workload("web-a").v4.into()), "/")?;
//! assert_eq!(body, "web-a\n");
//! # Ok(())
//! # }
//! ```

mod agent;
mod background;
pub mod cgroup;
mod daemon;
mod dsr;
mod error;
pub mod http;
pub mod kernel;
pub mod link;
pub mod manifests;
mod netns;
mod nginx;
mod pins;
pub mod scripts;
pub mod tcp;
mod topology;
pub mod udp;
pub mod wait;
mod wire;

pub use agent::Agent;
pub use background::Background;
pub use cgroup::Cgroup;
pub use daemon::Daemon;
pub use dsr::DsrReceiver;
pub use error::Error;
pub use netns::{Netns, clear, left_overs_in, sweep};
pub use nginx::HttpServer;
pub use pins::{BPFFS, PinRoot, mount_bpffs};
pub use topology::{Builder, Node, Topology, Uplink, Workload};
pub use wire::Faults;

pub type Result<T> = std::result::Result<T, Error>;
