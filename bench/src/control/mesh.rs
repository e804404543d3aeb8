//! The manifests of a large cluster, one file a service.

use std::fmt::Write as _;
use std::net::Ipv4Addr;

use terrace_abi::{Limits, cell_buckets};
use terrace_mesh::{HostFacts, SourceFile};
use terrace_testkit::Topology;

use super::Options;

const FIRST_SERVICE: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 10);
const FIRST_BACKEND: Ipv4Addr = Ipv4Addr::new(11, 0, 0, 0);
/// Addresses that endpoints move to.
const FIRST_SPARE: Ipv4Addr = Ipv4Addr::new(12, 0, 0, 1);
pub const PORT: u16 = 80;

pub fn limits(options: &Options) -> Limits {
    let services = options.services + 16;
    Limits {
        flows: 262_144,
        services,
        backends: services * options.backends + 1024,
        service_cells: 2 * cell_buckets(services),
        address_cells: 2 * cell_buckets(services),
        ..Limits::small()
    }
}

pub fn facts(net: &Topology, options: &Options, limits: &Limits) -> HostFacts {
    HostFacts {
        node_name: "node-1".to_owned(),
        addresses: vec![net.uplinks[0].v4.into()],
        limits: *limits,
        maglev_size: options.ring,
        ..HostFacts::default()
    }
}

pub fn address(service: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(FIRST_SERVICE.to_bits() + service)
}

/// A service and its endpoints; the first one has moved when `spare` says so.
pub fn file(options: &Options, service: u32, spare: Option<u32>) -> SourceFile {
    let mut text = format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{ name: s{service} }}\nspec:\n  clusterIP: {}\n  ports: [{{ port: {PORT} }}]\n---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata:\n  name: s{service}-1\n  labels: {{ kubernetes.io/service-name: s{service} }}\naddressType: IPv4\nports: [{{ port: 8080 }}]\nendpoints:\n",
        address(service)
    );
    for backend in 0..options.backends {
        let own = FIRST_BACKEND.to_bits() + service * options.backends + backend;
        let bits = match spare {
            Some(spare) if backend == 0 => FIRST_SPARE.to_bits() + spare,
            _ => own,
        };
        _ = writeln!(text, "- addresses: [{}]", Ipv4Addr::from_bits(bits));
    }
    SourceFile {
        path: format!("s{service}.yaml").into(),
        text,
    }
}
