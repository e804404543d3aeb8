//! Workers that stand still, and workers that are killed, in every state of
//! the connections that they have.

use std::net::TcpStream;
use std::time::Duration;

use rustix::process::Signal;
use terrace_testkit::{Agent, wait};

use crate::bodies::echo;
use crate::life::Talk;
use crate::stage::{Shape, Stage, VIP, routes};
use crate::uplinks::READS;

/// Stops threads of the daemon, as if they were stuck.
const FREEZER: &str = r#"
import ctypes, glob
libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
libc.ptrace.restype = ctypes.c_long
SEIZE, INTERRUPT, DETACH, WALL = 0x4206, 0x4207, 17, 0x40000000
def freeze(pid):
    stopped = []
    for path in glob.glob('/proc/%d/task/*/comm' % pid):
        if not open(path).read().startswith('terrace-l7-'):
            continue
        tid = int(path.split('/')[4])
        for what in (SEIZE, INTERRUPT):
            if libc.ptrace(what, tid, None, None):
                raise OSError(ctypes.get_errno(), 'ptrace')
        os.waitpid(tid, WALL)
        stopped.append(tid)
    return stopped
def thaw(stopped):
    for tid in stopped:
        libc.ptrace(DETACH, tid, None, None)
"#;

pub fn freezer(stage: &Stage) -> Agent {
    let mut agent = Agent::start(&stage.net.host, None).unwrap();
    assert_eq!(agent.run(FREEZER), "null");
    agent
}

/// How new connections fare while no worker lives.
const MODES: [(&str, &str); 4] = [
    ("[services]\nfail_mode = \"open\"", "l7_fail_open"),
    ("[services]\nfail_mode = \"closed\"", "l7_no_worker"),
    ("[services]\nfail_mode = \"last\"", "l7_no_worker"),
    (READS, "l7_no_worker"),
];

#[test]
fn root_a_stuck_worker_meets_the_fail_mode_and_spliced_flows_go_on() {
    for (config, reason) in MODES {
        let shape = Shape {
            config,
            ..Shape::default()
        };
        let stage = Stage::start("l7-stuck", &shape);
        stuck(&stage, reason);
        stage.wait_empty();
    }
}

fn stuck(stage: &Stage, reason: &str) {
    let big: Vec<u8> = (0..32 << 20).map(|i: u32| (i >> 3) as u8).collect();
    stage.servers[0].add_file("big", &big).unwrap();
    let to = [("/files", "a"), ("/a", "a"), ("/b", "b")];
    stage.change("routes.yaml", &routes(&to));
    let mut live = Talk::open(stage, VIP[0]);
    assert_eq!(live.ask("/a").unwrap(), (200, "a\n".into()));
    let mut download = Talk::open(stage, VIP[1]);
    download.send(b"GET /files/big HTTP/1.1\r\nHost: front\r\nConnection: close\r\n\r\n");
    assert!(download.some().starts_with("HTTP/1.1 200 "));
    let mut agent = freezer(stage);
    let stopped = agent.run(&format!("stopped = result = freeze({})", stage.pid()));
    assert_ne!(stopped, "[]");
    let counted = || stage.terrace(&["reasons"]).1.contains(reason);
    assert!(!counted(), "{reason}, before the heartbeat is too old");
    // New ones, until the programs take the worker for dead.
    let tried = wait::until(reason, wait::PATIENCE, || {
        let to = format!("{}:80", VIP[0]).parse().unwrap();
        let soon = Duration::from_millis(300);
        let connect = || TcpStream::connect_timeout(&to, soon).is_ok();
        assert!(!stage.client().enter(connect).unwrap(), "nobody answers");
        counted().then_some(())
    });
    assert!(tried.is_ok(), "{}", stage.report());
    // Nothing passes unseen, and what was held back arrives later.
    live.send(b"GET /b HTTP/1.1\r\nHost: front\r\n\r\n");
    assert!(download.rest().len() > big.len() / 2, "the splice goes on");
    assert_eq!(agent.run("thaw(stopped)"), "null");
    assert_eq!(
        live.answer().unwrap(),
        (200, "b\n".into()),
        "{}",
        stage.report()
    );
    let mut again = Talk::open(stage, VIP[0]);
    assert_eq!(again.ask("/b").unwrap(), (200, "b\n".into()));
}

#[test]
fn root_a_worker_that_stays_stuck_ends_the_daemon_and_the_next_one_serves() {
    let shape = Shape {
        config: "[l7]\nheartbeat_timeout = \"200ms\"",
        ..Shape::default()
    };
    let mut stage = Stage::start("l7-stays-stuck", &shape);
    let mut talk = Talk::open(&stage, VIP[0]);
    assert_eq!(talk.ask("/a").unwrap(), (200, "a\n".into()));
    let mut agent = freezer(&stage);
    agent.run(&format!("freeze({})", stage.pid()));
    let daemon = stage.running();
    let said = "worker 0 is stuck; the daemon must be started anew";
    daemon.wait_for_log(said, wait::PATIENCE).unwrap();
    // A thread that is traced ends only with its tracer.
    drop(agent);
    let ended = daemon.wait(wait::PATIENCE);
    assert!(
        ended.is_ok_and(|status| !status.success()),
        "{}",
        daemon.log()
    );
    stage.run();
    assert!(talk.ask("/b").is_err(), "nobody knows what was inspected");
    let mut again = Talk::open(&stage, VIP[0]);
    assert_eq!(again.ask("/b").unwrap(), (200, "b\n".into()));
    drop(again);
    stage.wait_empty();
}

/// What the client has sent when the daemon is killed, and sends when the next
/// one runs; whether an answer comes, else the connection ends.
const STATES: [(&str, &[u8], &[u8], bool); 6] = [
    (
        "nothing sent",
        b"",
        b"GET /a/5 HTTP/1.1\r\nHost: x\r\n\r\n",
        false,
    ),
    (
        "in a head",
        b"GET /a/5 HTTP/1.1\r\nHo",
        b"st: x\r\n\r\n",
        false,
    ),
    (
        "before an answer",
        b"GET /b HTTP/1.1\r\nHost: x\r\n\r\n",
        b"",
        false,
    ),
    (
        "in a body",
        b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 6\r\n\r\nabc",
        b"def",
        true,
    ),
    (
        "in a chunk",
        b"POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nabc",
        b"def\r\n0\r\n\r\n",
        false,
    ),
    (
        "connecting",
        b"GET /far HTTP/1.1\r\nHost: x\r\n\r\n",
        b"",
        false,
    ),
];

#[test]
fn root_a_killed_worker_leaves_no_connection_that_hangs() {
    killed(&Shape::default());
}

#[test]
fn root_a_killed_worker_that_read_an_uplink_leaves_no_connection_that_hangs() {
    killed(&Shape {
        config: READS,
        ..Shape::default()
    });
}

fn killed(shape: &Shape) {
    let mut stage = Stage::start("l7-killed", shape);
    let _server = echo(&mut stage);
    stage
        .net
        .backend("far")
        .ns
        .ip(["addr flush dev net0"])
        .unwrap();
    stage.servers[1].process().signal(Signal::STOP).unwrap();
    let talks: Vec<_> = STATES
        .iter()
        .map(|(_, sent, ..)| {
            let mut talk = Talk::open(&stage, VIP[0]);
            talk.send(sent);
            talk
        })
        .collect();
    let all = wait::until("all flows", wait::PATIENCE, || {
        (stage.held().0 == STATES.len() as u64).then_some(())
    });
    assert!(all.is_ok(), "{}", stage.report());
    stage.kill();
    stage.run();
    for ((state, _, then, answered), mut talk) in STATES.iter().zip(talks) {
        if !then.is_empty() {
            talk.send(then);
        }
        if *state == "before an answer" {
            // Only its end tells a spliced client: the server's RST.
            stage.servers[1].process().kill();
        }
        let got = talk.answer();
        assert_eq!(
            got.is_ok(),
            *answered,
            "{state}: {got:?}\n{}",
            stage.report()
        );
    }
    let mut again = Talk::open(&stage, VIP[0]);
    assert_eq!(again.ask("/a/5").unwrap(), (200, "01234".into()));
    drop(again);
    stage.wait_empty();
}
