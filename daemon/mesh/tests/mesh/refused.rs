//! After a refusal the compiler and the kernel hold the same.

use std::sync::Arc;

use terrace_mesh::{Compiler, Error, Errors, HostFacts, Tables, diff};

use crate::kernel::Kernel;
use crate::support::{compiler, facts, ip, pod, put, service, slice, workload};

fn kernel_of(compiler: &Compiler) -> Kernel {
    let mut kernel = Kernel::new(facts().limits);
    let ops = diff(&kernel.tables, compiler.tables());
    kernel.apply_all(&ops);
    kernel
}

fn no(_: &Tables) -> Result<(), Errors> {
    Err(Errors(vec![Error::of_host("limits", "not this one")]))
}

/// Under default deny, with `ports` let in from everybody.
fn policy(name: &str, app: &str, ports: &str) -> String {
    format!(
        "---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata:\n  name: {name}\nspec:\n  podSelector: {{matchLabels: {{app: {app}}}}}\n  policyTypes: [Ingress]\n  ingress: [{ports}]\n"
    )
}

/// What a refused change is made of.
type Refused = fn(&mut Compiler) -> Result<Vec<terrace_mesh::Op>, Errors>;

#[test]
fn a_refused_commit_leaves_the_kernel_and_the_compiler_alike() {
    let pods = workload("web", "10.0.1.1", "veth-web", "{app: web}")
        + &workload("api", "10.0.1.2", "veth-api", "{app: api}");
    let both = pods.clone()
        + &policy("p-web", "web", "{ports: [{port: 80}]}")
        + &policy("p-api", "api", "{ports: [{port: 90}]}");
    // Other port classes: the other generation, where web has a row that lets
    // all pass until the next change takes it out.
    let one = pods + &policy("p-api", "api", "{ports: [{port: 91}]}");
    let rows: [(&str, Refused); 3] = [
        ("another pod", |compiler| {
            let more = pod("far", "10.0.2.9", "{app: far}");
            compiler.update_if(&[put("more.yaml", &more)], no)
        }),
        ("an interface", |compiler| {
            let mut facts = compiler.facts().clone();
            facts.interfaces.get_mut("veth-web").unwrap().ifindex = 99;
            compiler.set_facts_if(facts, no)
        }),
        ("a full table", |compiler| {
            let name = |i| format!("s{i}");
            let address = |i| format!("10.97.{}.{}", i / 100, i % 100 + 1);
            let many: String = (0..300)
                .map(|i| service(&name(i), &address(i), ""))
                .collect();
            compiler.update(&[put("many.yaml", &many)])
        }),
    ];
    for (name, refused) in rows {
        let mut compiler = compiler(&both);
        let mut kernel = kernel_of(&compiler);
        let ops = compiler.update(&[put("test.yaml", &one)]).unwrap();
        kernel.apply_all(&ops);
        kernel.must_be(compiler.tables());
        let (facts, files) = (compiler.facts().clone(), compiler.manifests().clone());
        refused(&mut compiler).expect_err(name);
        assert_eq!(*compiler.facts(), facts, "{name}");
        assert_eq!(compiler.manifests().paths().count(), files.paths().count());
        // Either way: at once, or with what comes next.
        let mut later = (kernel.clone(), compiler);
        let owed = later.1.take_owed();
        assert_ne!(owed, [], "{name}: the row goes");
        later.0.apply_all(&owed);
        later.0.must_be(later.1.tables());
        let ops = later.1.update(&[put("test.yaml", &both)]).unwrap();
        later.0.apply_all(&ops);
        later.0.must_be(later.1.tables());
    }
}

#[test]
fn an_interface_that_was_refused_once_is_written_the_next_time() {
    let text = workload("web", "10.0.1.1", "veth-web", "{app: web}");
    let mut compiler = compiler(&text);
    let mut kernel = kernel_of(&compiler);
    let mut moved = facts();
    moved.interfaces.get_mut("veth-web").unwrap().ifindex = 99;
    compiler.set_facts_if(moved.clone(), no).unwrap_err();
    kernel.apply_all(&compiler.take_owed());
    assert_eq!(kernel.tables.endpoint_of(ip("10.0.1.1")).ifindex, 11);
    kernel.apply_all(&compiler.set_facts(moved).unwrap());
    assert_eq!(kernel.tables.endpoint_of(ip("10.0.1.1")).ifindex, 99);
}

#[test]
fn manifests_and_the_deny_list_change_together_or_not_at_all() {
    let text = service("web", "10.96.0.1", "") + &slice("web", &[("10.0.2.1", "")]);
    let net = |i: u32| format!("10.{}.{}.0/25", i / 256, i % 256).parse().unwrap();
    let rows = [
        ("it fits", 3, ""),
        ("it is full", 5000, "limits.deny_cells"),
    ];
    for (name, length, part) in rows {
        let mut compiler = compiler("");
        let mut kernel = kernel_of(&compiler);
        let deny: Arc<[_]> = (0..length).map(net).collect();
        let changes = [put("web.yaml", &text)];
        let done = compiler.update_with_deny_if(&changes, Arc::clone(&deny), |_| Ok(()));
        let applied = done.is_ok();
        match done {
            Ok(ops) => kernel.apply_all(&ops),
            Err(errors) => assert!(errors.to_string().contains(part), "{name}: {errors}"),
        }
        assert_eq!(applied, part.is_empty(), "{name}");
        kernel.must_be(compiler.tables());
        let service = kernel.tables.service_lookup(ip("10.96.0.1"), 80, 6);
        assert_eq!(service != 0, applied, "{name}");
        assert_eq!(kernel.tables.deny_lookup(ip("10.0.1.1")), applied, "{name}");
        let files = usize::from(applied);
        assert_eq!(compiler.manifests().paths().count(), 1 + files, "{name}");
        let facts = HostFacts { deny, ..facts() };
        assert_eq!(*compiler.facts() == facts, applied, "{name}");
    }
}
