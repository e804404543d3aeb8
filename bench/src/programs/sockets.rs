//! The programs of the socket tier. The kernel runs none of them by
//! BPF_PROG_TEST_RUN but sk_lookup's (others have no `test_run` in their
//! `bpf_prog_ops`), so they are measured where they run: by the kernel's own
//! clock around each run (BPF_ENABLE_STATS), less what that clock shows of an
//! empty program at the same calls.

use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use libbpf_rs::Link;
use terrace::apply::apply;
use terrace_abi::{Limits, Maps, Program, sys};
use terrace_mesh::{HostFacts, SourceFile, Tables, compile, diff, parse};
use terrace_sock::connect::{ConnectPrograms, Options};
use terrace_sock::proxy::ProxyPrograms;
use terrace_sock::shortcut::{Settings, Shortcut};
use terrace_testkit::{Background, Cgroup, Netns, PinRoot};

use super::harness;
use crate::report::{Outcome, Row, Section};
use crate::{cpu, interrupt};

const NOTHING: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/nothing.bpf.o"));
const CALLS: u64 = 2000;
const ROUNDS: u32 = 5;
const PATIENCE: Duration = Duration::from_secs(60);
const MANIFEST: &str = include_str!("sockets.yaml");

/// Calls of one kind, and the programs that run at them.
struct Phase {
    shown: &'static str,
    what: &'static str,
    to: [&'static str; 2],
    at: [&'static str; 2],
    /// Names without `terrace_` and, where there is one a family, without 4 or 6.
    programs: &'static [&'static str],
}

const SERVICE: [&str; 2] = ["10.96.0.10:80", "[fd00:96::10]:80"];
const SERVER: [&str; 2] = ["10.40.0.2:8080", "[fd00:40::2]:8080"];
const DATAGRAMS: [&str; 2] = ["10.96.0.10:53", "[fd00:96::10]:53"];
const ANSWERS: [&str; 2] = ["10.40.0.2:5300", "[fd00:40::2]:5300"];
const PORTS: [&str; 2] = ["10.40.0.2:7000", "[fd00:40::2]:7000"];

const PHASES: [Phase; 7] = [
    Phase {
        shown: "connect() to a service",
        what: "connect",
        to: SERVICE,
        at: SERVER,
        programs: &["connect", "sockops", "shortcut_ops"],
    },
    Phase {
        shown: "connect() to no service",
        what: "connect",
        to: SERVER,
        at: SERVER,
        programs: &["connect"],
    },
    Phase {
        shown: "a datagram to a service, and its answer",
        what: "send",
        to: DATAGRAMS,
        at: ANSWERS,
        programs: &["sendmsg", "recvmsg"],
    },
    Phase {
        shown: "a datagram to no service, and its answer",
        what: "send",
        to: ANSWERS,
        at: ANSWERS,
        programs: &["sendmsg", "recvmsg"],
    },
    Phase {
        shown: "getpeername() of a service's connection",
        what: "peer",
        to: SERVICE,
        at: SERVER,
        programs: &["getpeername"],
    },
    Phase {
        shown: "bind()",
        what: "bind",
        to: PORTS,
        at: PORTS,
        programs: &["bind", "post_bind"],
    },
    Phase {
        shown: "64 bytes there and back by the shortcut",
        what: "exchange",
        to: SERVER,
        at: SERVER,
        programs: &["shortcut_message", "shortcut_watch", "shortcut_option"],
    },
];

/// Runs and nanoseconds, by program.
type Times = BTreeMap<String, (u64, u64)>;

/// Everything at work in a namespace and a cgroup of its own; fields in the
/// order of removal.
struct Sockets {
    _nothing: Link,
    nothing: libbpf_rs::Object,
    connect: ConnectPrograms,
    proxy: ProxyPrograms,
    shortcut: Shortcut,
    cgroup: Cgroup,
    _maps: Maps,
    _pins: PinRoot,
    net: Netns,
}

/// Adds a row for each program and kind of calls.
pub fn run(at: usize, only: &str, section: &mut Section) -> Result<()> {
    let wanted: Vec<&Phase> = PHASES
        .iter()
        .filter(|phase| row_name("", phase).contains(only))
        .collect();
    if wanted.is_empty() {
        return Ok(());
    }
    let unit = section
        .rows
        .first()
        .and_then(|row| row.figures.get("unit_ns").copied());
    let sockets = Sockets::new().context("set the stage for sockets")?;
    let _counting = sys::enable_run_stats().context("have the kernel time programs")?;
    for phase in wanted {
        for family in 0..2 {
            sockets.phase(phase, family, at, unit, section)?;
        }
    }
    section.notes.push(format!(
        "`socket:` rows: the kernel has no test run for these programs; its clock around each of {CALLS} runs, less that of an empty program at the same calls, best of {ROUNDS} rounds"
    ));
    Ok(())
}

/// Instructions that the verifier walks, of each program of the socket tier.
pub fn verified() -> Result<Vec<(String, u32)>> {
    let sockets = Sockets::new().context("set the stage for sockets")?;
    let programs = sockets.programs();
    let count = |program: &Program| {
        let count = program.info().verified_instructions;
        (program.name().to_owned(), count)
    };
    Ok(programs.map(count).collect())
}

fn row_name(program: &str, phase: &Phase) -> String {
    format!("socket: {program}, {}", phase.shown)
}

impl Sockets {
    fn new() -> Result<Self> {
        let net = Netns::new("bench.sockets")?;
        net.ip([
            "link set lo up",
            "address add 10.40.0.2/32 dev lo",
            "address add fd00:40::2/128 dev lo nodad",
        ])?;
        let pins = PinRoot::new()?;
        let limits = Limits::small();
        let maps = Maps::open(pins.path(), &limits)?;
        services(&maps, &limits)?;
        maps.beat()?;
        let options = Options {
            proxy: true,
            ..Options::default()
        };
        let connect = ConnectPrograms::load(&maps, &options)?;
        let proxy = ProxyPrograms::load(&maps, options.max_entries)?;
        let shortcut = Shortcut::load(&maps, 1024)?;
        shortcut.configure(&Settings::default())?;
        let cgroup = Cgroup::new()?;
        let place = terrace_sock::Cgroup::open(cgroup.path())?;
        connect.attach(&place)?;
        proxy.attach(&place)?;
        shortcut.attach(&[terrace_sock::Cgroup::open(cgroup.path())?])?;
        let nothing = harness::load(harness::open_plain("nothing", NOTHING)?)?;
        let link = attach(&nothing, &cgroup)?;
        Ok(Self {
            _nothing: link,
            nothing,
            connect,
            proxy,
            shortcut,
            cgroup,
            _maps: maps,
            _pins: pins,
            net,
        })
    }

    fn programs(&self) -> impl Iterator<Item = &Program> {
        let all = self.connect.programs().iter().chain(self.proxy.programs());
        all.chain(self.shortcut.programs())
    }

    fn times(&self) -> Result<Times> {
        let time = |name: &str, program: &dyn AsFd| -> Result<(String, (u64, u64))> {
            let info = sys::program_info(program.as_fd())?;
            Ok((name.to_owned(), (info.runs, info.run_ns)))
        };
        let nothing = self
            .nothing
            .progs()
            .find(|program| program.name() == "nothing");
        let nothing = nothing.context("no program `nothing`")?;
        let mut times: Times = self
            .programs()
            .map(|program| time(program.name(), program))
            .collect::<Result<_>>()?;
        times.extend([time("nothing", &nothing)?]);
        Ok(times)
    }

    fn phase(
        &self,
        phase: &Phase,
        family: usize,
        at: usize,
        unit: Option<f64>,
        section: &mut Section,
    ) -> Result<()> {
        let empty = Phase {
            programs: &[],
            to: SERVER,
            at: SERVER,
            what: "connect",
            shown: "",
        };
        let (mut best, mut floor) = (BTreeMap::new(), f64::INFINITY);
        for _ in 0..ROUNDS {
            interrupt::check()?;
            floor =
                floor.min(mean(&self.timed(&empty, 0, at)?, "nothing").unwrap_or(f64::INFINITY));
            let times = self.timed(phase, family, at)?;
            for name in phase.programs {
                if family == 1 && serves_both(name) {
                    continue;
                }
                let full = full_name(name, family);
                let Some(time) = mean(&times, &full) else {
                    continue;
                };
                let least = best.entry(full).or_insert(time);
                *least = time.min(*least);
            }
        }
        for (name, time) in best {
            // An empty program of another hook may be a little cheaper.
            let net = (time - floor).max(0.0);
            section
                .rows
                .push(row(row_name(&name, phase), time, floor, net, unit));
        }
        Ok(())
    }

    /// What each program took while a process of the cgroup makes the calls.
    fn timed(&self, phase: &Phase, family: usize, at: usize) -> Result<Times> {
        let before = self.times()?;
        let program = std::env::current_exe()?;
        let mut command = self.cgroup.command(&program.to_string_lossy());
        command.args([
            "agent",
            "calls",
            "--what",
            phase.what,
            "--to",
            phase.to[family],
        ]);
        command.args(["--at", phase.at[family], "--count", &CALLS.to_string()]);
        let spawn = || -> Result<Background> {
            cpu::pin(at)?;
            Ok(Background::spawn(command)?)
        };
        let mut running = self.net.enter(spawn)??;
        let status = running.wait(PATIENCE)?;
        ensure!(status.success(), "{}: {}", phase.shown, running.log());
        let after = self.times()?;
        let gone = |(name, (runs, ns)): (String, (u64, u64))| {
            let (old_runs, old_ns) = before.get(&name).copied().unwrap_or_default();
            (name, (runs - old_runs, ns - old_ns))
        };
        let times: Times = after.into_iter().map(gone).collect();
        for name in phase.programs {
            let runs = times.get(&full_name(name, family)).map_or(0, |time| time.0);
            ensure!(
                runs >= CALLS / 2 || serves_both(name),
                "{name} ran {runs} times at {}",
                phase.shown
            );
        }
        Ok(times)
    }
}

/// The program of that name and family: some serve both.
fn full_name(name: &str, family: usize) -> String {
    let family = if serves_both(name) {
        ""
    } else {
        ["4", "6"][family]
    };
    format!("terrace_{name}{family}")
}

/// Programs of both families; they run when the kernel sees fit.
fn serves_both(name: &str) -> bool {
    name.starts_with("shortcut") || name == "sockops"
}

fn mean(times: &Times, name: &str) -> Option<f64> {
    let &(runs, ns) = times.get(name)?;
    (runs > 0).then(|| ns as f64 / runs as f64)
}

fn row(name: String, time: f64, floor: f64, net: f64, unit: Option<f64>) -> Row {
    let units = unit.map(|unit| net / unit);
    let shown = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.2}"));
    let mut figures: BTreeMap<String, f64> =
        [("net_ns".to_owned(), net), ("total_ns".to_owned(), time)].into();
    figures.extend(units.map(|units| ("units".to_owned(), units)));
    let cells = vec![
        name,
        format!("{net:.1}"),
        shown(units),
        "-".to_owned(),
        format!("{time:.1}"),
        format!("{floor:.1}"),
        shown(unit),
    ];
    eprintln!("{}", cells.join(" | "));
    Row {
        cells,
        outcome: Outcome::Info,
        target: None,
        figures,
    }
}

fn attach(nothing: &libbpf_rs::Object, cgroup: &Cgroup) -> Result<Link> {
    use std::os::fd::AsRawFd as _;
    let folder = std::fs::File::open(cgroup.path())?;
    let program = nothing
        .progs_mut()
        .find(|program| program.name() == "nothing");
    let program = program.context("no program `nothing`")?;
    program
        .attach_cgroup(folder.as_raw_fd())
        .context("attach the empty program")
}

fn services(maps: &Maps, limits: &Limits) -> Result<()> {
    let file = SourceFile {
        path: "sockets.yaml".into(),
        text: MANIFEST.to_owned(),
    };
    let manifests = parse(&[file]).map_err(|errors| anyhow!("{errors}"))?;
    let facts = HostFacts {
        node_name: "bench".to_owned(),
        limits: *limits,
        ..HostFacts::default()
    };
    let tables = compile(&manifests, &facts, None).map_err(|errors| anyhow!("{errors}"))?;
    apply(maps, &diff(&Tables::new(limits), &tables))?;
    Ok(())
}
