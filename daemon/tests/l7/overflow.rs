//! Rings and mailboxes that are full: what they lose is counted, and connections live
//! by what TCP sends again.

use std::sync::{Arc, Mutex};

use serde_json::Value;
use terrace::l7::tier::Tier;
use terrace_abi::{Limits, Maps};
use terrace_l7::tcp::{Endpoint, Segment, flags};
use terrace_testkit::{Agent, Netns, PinRoot, wait};

use crate::life::Talk;
use crate::panics::{Hand, OPEN, Plain, endpoint, two_workers};
use crate::stage::{Shape, Stage, VIP};
use crate::workers::freezer;

/// Small, and standing still does not count as dead.
const SMALL: &str = "[l7]\nframes = 256\nworkers = 1\nheartbeat_timeout = \"10s\"";
/// Connections that begin meanwhile: more than frames.
const BURST: usize = 600;
const CALL: &str = "
def call(to, n):
    out = []
    for _ in range(n):
        s = socket.socket(socket.AF_INET)
        s.setblocking(False)
        s.connect_ex((to, 80))
        out.append(s)
    return out
def ask(calls):
    head = b'GET /b HTTP/1.1\\r\\nHost: front\\r\\nConnection: close\\r\\n\\r\\n'
    good = 0
    for s in calls:
        s.settimeout(120)
        select.select([], [s], [], 120)
        s.sendall(head)
    for s in calls:
        got = b''
        while part := s.recv(4096): got += part
        good += got.startswith(b'HTTP/1.1 200 ') and got.endswith(b'b\\n')
        s.close()
    return good
";

fn sum(stage: &Stage, key: &str) -> u64 {
    let (_, text) = stage.terrace(&["status", "--json"]);
    let status: Value = serde_json::from_str(&text).expect("JSON");
    let workers = status["l7_workers"].as_array().expect("workers").clone();
    workers.iter().filter_map(|w| w[key].as_u64()).sum()
}

#[test]
fn root_what_finds_the_sockets_ring_full_is_counted_and_every_connection_is_answered() {
    let shape = Shape {
        config: SMALL,
        ..Shape::default()
    };
    let stage = Stage::start("l7-ring", &shape);
    let mut agent = Agent::start(stage.client(), None).unwrap();
    assert_eq!(agent.run(CALL), "null");
    let mut talk = Talk::open(&stage, VIP[0]);
    assert_eq!(talk.ask("/a").unwrap(), (200, "a\n".into()));
    let mut ice = freezer(&stage);
    let stopped = ice.run(&format!(
        "stopped = freeze({}); result = len(stopped)",
        stage.pid()
    ));
    assert_eq!(stopped, "1");
    let called = agent.run(&format!("calls = call('{}', {BURST})", VIP[0]));
    talk.send(b"GET /none-of-these HTTP/1.1\r\nHost: front\r\n\r\n");
    assert_eq!(ice.run("thaw(stopped)"), "null");
    assert_eq!(called, "null");
    let good = agent.run("result = ask(calls)");
    assert_eq!(good, BURST.to_string(), "{}", stage.report());
    assert_eq!(talk.answer().unwrap().0, 404, "it was sent again");
    let lost = wait::until("the count", wait::PATIENCE, || {
        (sum(&stage, "overruns") > 0).then_some(())
    });
    let status = stage.terrace(&["status", "--json"]).1;
    assert!(lost.is_ok(), "{status}\n{}", stage.report());
    let told = wait::until("the event", wait::PATIENCE, || {
        let (_, status) = stage.terrace(&["status", "--json"]);
        status.contains("l7-overrun").then_some(())
    });
    assert!(told.is_ok(), "{}", stage.report());
    stage.wait_counted(&["terrace_l7_socket_lost_total{", "terrace-l7x"], 1);
    println!(
        "{} packets were lost and sent again",
        sum(&stage, "overruns")
    );
    stage.wait_empty();
}

/// A worker stands still while another one hands packets over to it.
#[test]
fn root_what_finds_a_mailbox_full_is_counted_and_a_flow_lives_by_what_comes_again() {
    let ns = Netns::new("l7-mailbox").unwrap();
    let root = PinRoot::new().unwrap();
    let maps = Maps::open(root.path(), &Limits::small()).unwrap();
    let settings = two_workers();
    let gates = [(); 2].map(|()| Arc::new(Mutex::new(())));
    let maker = |queue: u32| Plain {
        gate: gates[queue as usize].clone(),
    };
    let tier = ns
        .enter(|| Tier::start(&maps, &settings, 1_500, maker))
        .unwrap()
        .unwrap();
    let mut hand = Hand(Agent::start(&ns, None).unwrap());
    assert_eq!(hand.0.run(OPEN), "null");
    hand.bind(1, 4_000);
    let still = gates[1].lock().unwrap();
    // By ports the kernel spreads them over both queues.
    let lost = wait::until("a full mailbox", wait::PATIENCE, || {
        for port in 5_000..5_300 {
            hand.send(1, 0, &stray(port));
        }
        (tier.workers[0].not_handed.get() > 0).then_some(())
    });
    drop(still);
    assert!(lost.is_ok(), "{}", tier.workers[0].handed_over.get());
    assert!(tier.workers[0].handed_over.get() > 0);
    // The client of the bound flow sends its request again: it goes on.
    let again = Segment {
        src: Endpoint {
            port: 4_000,
            ..endpoint("10.0.0.1:1")
        },
        ..stray(4_000)
    };
    let again = Segment {
        seq: 100 - 1,
        flags: flags::SYN,
        ..again
    };
    let challenged = wait::until("its answer", wait::PATIENCE, || {
        hand.send(1, 0, &again);
        // It may have been lost like those before.
        let heard = hand.hears();
        let (is, _, ack, _) = heard?;
        (is == flags::ACK && ack == 101).then_some(())
    });
    let [first, second] = [0, 1].map(|queue: usize| &tier.workers[queue]);
    assert!(
        challenged.is_ok(),
        "the flow is there: {first:?} {second:?}"
    );
    println!("{} packets were lost", tier.workers[0].not_handed.get());
}

/// A segment of no flow that nobody answers.
fn stray(port: u16) -> Segment<'static> {
    Segment {
        src: Endpoint {
            port,
            ..endpoint("10.0.0.2:1")
        },
        dst: endpoint("10.96.0.1:80"),
        seq: 1,
        flags: flags::RST,
        window: 100,
        ..Segment::default()
    }
}
