//! How long a large cluster takes: `cargo run --release -p terrace-mesh
//! --example scale [services [backends of each [ring size]]]`.

use std::hint::black_box;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use terrace_abi::Limits;
use terrace_mesh::{Change, Compiler, HostFacts, SourceFile, compile, diff, parse};
use terrace_mesh::{Op, Tables, maglev};

const UPDATES: usize = 41;

fn main() {
    let mut arguments = std::env::args()
        .skip(1)
        .filter_map(|text| text.parse::<u32>().ok());
    let services = arguments.next().unwrap_or(10_000);
    let backends = arguments.next().unwrap_or(10);
    let size = arguments.next().unwrap_or(maglev::DEFAULT_SIZE);
    println!(
        "{services} services with {} backends, rings of {size} slots",
        services * backends
    );
    let files: Vec<SourceFile> = (0..services).map(|i| file(i, backends, backends)).collect();
    let bytes: usize = files.iter().map(|file| file.text.len()).sum();
    println!(
        "  manifests: {} files, {} MB",
        files.len(),
        bytes / 1_000_000
    );

    let manifests = step("parse", || parse(&files).expect("valid manifests"));
    let facts = HostFacts {
        maglev_size: size,
        ..facts(services, backends)
    };
    let tables = step("compile", || {
        compile(&manifests, &facts, None).expect("valid manifests")
    });
    let empty = Tables::new(&facts.limits);
    drop(step("diff from nothing", || diff(&empty, &tables)));
    let again = step("compile again, on the former tables", || {
        compile(&manifests, &facts, Some(&tables)).expect("valid manifests")
    });
    drop((again, tables));

    let mut compiler = Compiler::new(manifests, facts, None).expect("valid manifests");
    updates(&mut compiler, services, backends);
    drop(compiler);
    rings();
    policy();
    deny();
}

/// One backend of one Service goes and comes, each time of another Service.
fn updates(compiler: &mut Compiler, services: u32, backends: u32) {
    let mut times = Vec::new();
    let mut entries = 0;
    for i in 0..UPDATES {
        let which = u32::try_from(i).expect("few") * 97 % services;
        for n in [backends - 1, backends] {
            let changed = file(which, backends, n);
            let (ops, took) = timed(|| {
                compiler
                    .update(&[Change::Put(changed)])
                    .expect("a valid change")
            });
            times.push(took);
            entries = written(&ops);
        }
    }
    times.sort();
    let median = times[times.len() / 2];
    let worst = times[times.len() - 1];
    println!(
        "  one backend goes or comes (parse, compile, diff): median {median:.2?}, worst of {} {worst:.2?}; {entries} entries written",
        times.len()
    );
}

fn written(ops: &[Op]) -> usize {
    ops.iter()
        .map(|op| match op {
            Op::Write { entries, .. } => entries.len(),
            Op::NewRing { ring, .. } => ring.size().div_ceil(2) as usize,
            Op::PatchRing { entries, .. } => entries.len(),
            _ => 0,
        })
        .sum()
}

fn rings() {
    for (members, size) in [(10, 16_381), (100, 16_381), (100, 65_537), (1000, 65_537)] {
        let members: Vec<maglev::Member> = (1..=members)
            .map(|backend| maglev::Member {
                backend,
                weight: 1,
                seed: u64::from(backend) * 0x9e37,
            })
            .collect();
        let (ring, build) = best(|| maglev::build(&members, size));
        let (_, repair) = best(|| maglev::repair(&ring, &members[1..]));
        println!(
            "  ring of {size} slots, {} backends: build {build:.0?}, repair after one left {repair:.0?}",
            members.len()
        );
    }
}

/// A workload with a hundred thousand rules on prefixes, beside 10,000 pods.
fn policy() {
    println!("100000 rules on prefixes, 10000 pods with 500 sets of labels");
    let mut text = String::from(
        "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata:\n  name: many\nspec:\n  endpointSelector: {matchLabels: {group: g0}}\n  egress:\n",
    );
    for i in 0..100_000u32 {
        let (a, b, c) = (i >> 16, i >> 8 & 255, i & 255);
        text += &format!(
            "  - toCIDR: [{}.{b}.{c}.0/24]\n    toPorts: [{{ports: [{{port: \"{}\", protocol: TCP}}]}}]\n",
            100 + a,
            1000 + i % 50
        );
    }
    let rules = SourceFile {
        path: "rules.yaml".into(),
        text,
    };
    let pods: Vec<SourceFile> = (0..10_000).map(pod).collect();
    let files: Vec<SourceFile> = pods.iter().cloned().chain([rules]).collect();
    let manifests = step("parse", || parse(&files).expect("valid manifests"));
    let facts = HostFacts {
        node_name: "node-0".to_owned(),
        limits: Limits {
            policy_cells: 1 << 20,
            address_cells: 1 << 18,
            endpoints: 1 << 18,
            ..Limits::default()
        },
        ..HostFacts::default()
    };
    let mut compiler = step("compile", || {
        Compiler::new(manifests, facts, None).expect("valid manifests")
    });
    let mut moved = pod(77);
    moved.text = moved.text.replace("group: g77", "group: other");
    let ops = step("a pod of another host changes its labels", || {
        compiler.update(&[Change::Put(moved)]).expect("valid")
    });
    println!("  {} entries written", written(&ops));
}

fn pod(i: u32) -> SourceFile {
    let local = if i < 20 {
        format!("  annotations:\n    terrace.io/interface: veth{i}\n")
    } else {
        String::new()
    };
    SourceFile {
        path: format!("pod-{i}.yaml").into(),
        text: format!(
            "apiVersion: v1\nkind: Pod\nmetadata:\n  name: pod-{i}\n  labels:\n    group: g{}\n{local}spec:\n  nodeName: node-{}\nstatus:\n  podIP: 10.{}.{}.1\n",
            i % 500,
            i / 20,
            i / 250,
            i % 250
        ),
    }
}

fn deny() {
    println!("a deny list of 1000000 addresses");
    let spread = |i: u32| {
        std::net::Ipv4Addr::from(
            u32::try_from(((u64::from(i) * 3_935_559_000_703_003_845) >> 32) & 0xdfff_ffff)
                .unwrap_or(i),
        )
    };
    let facts = HostFacts {
        deny: (0..1_000_000)
            .map(|i| std::net::IpAddr::from(spread(i)).into())
            .collect(),
        limits: Limits {
            deny_cells: 1 << 20,
            ..Limits::default()
        },
        ..HostFacts::default()
    };
    let manifests = parse(&[]).expect("no manifests");
    let tables = step("compile", || {
        compile(&manifests, &facts, None).expect("a valid list")
    });
    step("compile again, on the former tables", || {
        compile(&manifests, &facts, Some(&tables)).expect("a valid list")
    });
}

fn best<T>(work: impl Fn() -> T) -> (T, Duration) {
    let runs = (0..9).map(|_| timed(|| black_box(work())));
    runs.min_by_key(|(_, took)| *took).expect("nine runs")
}

fn timed<T>(work: impl FnOnce() -> T) -> (T, Duration) {
    let start = Instant::now();
    let result = work();
    (result, start.elapsed())
}

/// CPU time of all threads so far: what a busy machine cannot stretch.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat
        .rsplit(')')
        .next()
        .unwrap_or_default()
        .split_whitespace();
    let ticks: u64 = fields
        .skip(11)
        .take(2)
        .filter_map(|ticks| ticks.parse::<u64>().ok())
        .sum();
    Duration::from_millis(ticks * 10)
}

fn step<T>(what: &str, work: impl FnOnce() -> T) -> T {
    let before = cpu();
    let (result, took) = timed(work);
    println!("  {what}: {took:.2?} ({:.2?} of CPU)", cpu() - before);
    result
}

fn facts(services: u32, backends: u32) -> HostFacts {
    HostFacts {
        node_name: "node-0".to_owned(),
        limits: Limits {
            services: (services * 2).next_power_of_two(),
            backends: (services * backends * 2).next_power_of_two(),
            service_cells: (services * 2).next_power_of_two(),
            ..Limits::default()
        },
        ..HostFacts::default()
    }
}

/// A Service and its slice as `kubectl get -o yaml` prints them, with the
/// first `n` of its backends.
fn file(i: u32, backends: u32, n: u32) -> SourceFile {
    let (high, low) = (i / 250, i % 250 + 1);
    let mut text = format!(
        "apiVersion: v1
kind: Service
metadata:
  name: service-{i}
  namespace: default
  uid: 0b5f9c1e-7f0a-4b0e-9d0e-{i:012}
spec:
  clusterIP: 10.96.{high}.{low}
  clusterIPs:
  - 10.96.{high}.{low}
  ports:
  - name: http
    port: 80
    protocol: TCP
    targetPort: 8080
  selector:
    app: service-{i}
  type: ClusterIP
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata:
  name: service-{i}-abcde
  namespace: default
  labels:
    kubernetes.io/service-name: service-{i}
addressType: IPv4
ports:
- name: http
  port: 8080
  protocol: TCP
endpoints:
"
    );
    text.extend((0..n).map(|n| endpoint(i, n, i * backends + n)));
    SourceFile {
        path: PathBuf::from(format!("service-{i}.yaml")),
        text,
    }
}

/// The `n`th endpoint of service `i`, the `number`th of all.
fn endpoint(i: u32, n: u32, number: u32) -> String {
    let (a, b, c) = (number / 62_500, number / 250 % 250, number % 250 + 1);
    format!(
        "- addresses:
  - 10.{}.{b}.{c}
  conditions:
    ready: true
    serving: true
    terminating: false
  nodeName: node-{}
  targetRef:
    kind: Pod
    name: service-{i}-{n}
    namespace: default
",
        100 + a,
        n % 7
    )
}
