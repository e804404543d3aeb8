//! An apply that was cut off at any step is completed by the next start.

use std::net::IpAddr;
use std::path::Path;

use terrace::apply::{apply, recover};
use terrace_abi::{Limits, Maps, types};
use terrace_mesh::{Compiler, HostFacts, Manifests, SourceFile, Tables, diff, parse};
use terrace_testkit::PinRoot;

fn manifests(backends: &[&str], ports: &[u16]) -> Manifests {
    let list = |items: Vec<String>| items.join(", ");
    let service = list(
        ports
            .iter()
            .map(|port| format!("{{name: p{port}, port: {port}}}"))
            .collect(),
    );
    let endpoints: String = backends
        .iter()
        .map(|address| format!("  - {{addresses: [\"{address}\"], conditions: {{ready: true}}}}\n"))
        .collect();
    let text = format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: web, namespace: shop}}\n\
         spec:\n  clusterIP: 10.96.0.10\n  ports: [{service}]\n---\n\
         apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\n\
         metadata: {{name: web-1, namespace: shop, labels: {{kubernetes.io/service-name: web}}}}\n\
         addressType: IPv4\nports: [{service}]\nendpoints:\n{endpoints}"
    );
    let path = Path::new("web.yaml").to_owned();
    parse(&[SourceFile { path, text }]).expect("manifests")
}

fn compile(manifests: &Manifests, previous: &Tables) -> Compiler {
    let facts = HostFacts {
        limits: Limits::small(),
        maglev_size: 101,
        addresses: vec![[10, 0, 0, 1].into()],
        ..HostFacts::default()
    };
    Compiler::new(manifests.clone(), facts, Some(previous)).expect("tables")
}

/// Which backends a service sends new flows to; none when it is not there.
fn served(tables: &Tables, port: u16) -> Vec<IpAddr> {
    let vip = IpAddr::from([10, 96, 0, 10]);
    let service = tables.service_lookup(vip, port, 6);
    if service == 0 {
        return Vec::new();
    }
    let slots = (0..101).map(|hash| tables.ring_slot(service, hash));
    let mut found: Vec<IpAddr> = slots
        .map(|index| {
            let backend: types::backend = tables.backends.read(index);
            let mut bytes = [0; 16];
            for (bytes, word) in bytes.chunks_exact_mut(4).zip(backend.addr) {
                bytes.copy_from_slice(&word.to_ne_bytes());
            }
            terrace_abi::hash::address_from_bytes(&bytes)
        })
        .collect();
    found.sort();
    found.dedup();
    found
}

#[test]
fn root_an_apply_that_was_cut_off_is_completed_by_the_next_start() {
    let old = manifests(&["10.1.0.1", "10.1.0.2", "10.1.0.3"], &[80, 81]);
    let new = manifests(&["10.1.0.2", "10.1.0.4"], &[80, 82]);
    let wanted = |addresses: &[&str]| -> Vec<IpAddr> {
        addresses
            .iter()
            .map(|address| address.parse().unwrap())
            .collect()
    };
    let mut cut = 0;
    loop {
        let root = PinRoot::new().unwrap();
        let maps = Maps::open(root.path(), &Limits::small()).unwrap();
        let empty = recover(&maps).unwrap();
        let first = compile(&old, &empty);
        apply(&maps, &diff(&empty, first.tables())).unwrap();
        let held = recover(&maps).unwrap();
        assert_eq!(
            served(&held, 81),
            wanted(&["10.1.0.1", "10.1.0.2", "10.1.0.3"])
        );
        let second = compile(&new, &held);
        let ops = diff(&held, second.tables());
        apply(&maps, &ops[..cut]).unwrap();
        drop(maps);
        let maps = Maps::open(root.path(), &Limits::small()).unwrap();
        let torn = recover(&maps).unwrap();
        let third = compile(&new, &torn);
        apply(&maps, &diff(&torn, third.tables())).unwrap();
        let done = recover(&maps).unwrap();
        assert_eq!(
            served(&done, 80),
            wanted(&["10.1.0.2", "10.1.0.4"]),
            "cut at {cut}"
        );
        assert_eq!(
            served(&done, 82),
            wanted(&["10.1.0.2", "10.1.0.4"]),
            "cut at {cut}"
        );
        assert_eq!(served(&done, 81), [] as [IpAddr; 0], "cut at {cut}");
        let fourth = compile(&new, &done);
        let left = diff(&done, fourth.tables());
        assert!(left.is_empty(), "cut at {cut}: {left:?}");
        if cut == ops.len() {
            break;
        }
        cut += 1;
    }
    println!("{cut} steps, cut before each and after the last");
}
