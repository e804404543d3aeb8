//! Workers that read the queues of an uplink themselves.

use serde_json::Value;
use terrace_testkit::wait;
use terrace_xdp::xsk::{Bind, Memory, MemorySize};

use crate::bodies::{check, echo, talk_in_background};
use crate::life::Talk;
use crate::stage::{Shape, Stage, VIP, requests_of_a, urls};

/// A veth's queues are read only where somebody asks for it.
pub const READS: &str = "[l7]\nuplink_sockets = \"copy\"";

/// Requests that pod `a` takes.
const OF_A: &str = r#"{ method: GET, path: "/a/open" }, { method: POST, path: "/a" }"#;

fn reads(label: &str) -> Stage {
    let shape = Shape {
        config: READS,
        ..Shape::default()
    };
    let stage = Stage::start(label, &shape);
    wait_for_plan(&stage, |reading| reading["mode"] == "copy");
    stage
}

fn json(stage: &Stage, command: &str) -> Value {
    let (done, text) = stage.terrace(&[command, "--json"]);
    assert!(done, "{text}");
    serde_json::from_str(&text).expect("JSON")
}

/// How what is for workers comes from `up0`, once it is so.
fn wait_for_plan(stage: &Stage, is_right: impl Fn(&Value) -> bool) -> Value {
    let found = wait::until("the plan", wait::PATIENCE, || {
        let plan = json(stage, "plan");
        let reading = plan["readings"].get(0)?.clone();
        is_right(&reading).then_some(reading)
    });
    found.unwrap_or_else(|error| {
        panic!(
            "{error}: {}\n{}",
            json(stage, "plan")["readings"],
            stage.report()
        )
    })
}

/// Packets that each worker has read from the queues of `up0`.
fn read_of_uplink(stage: &Stage) -> Vec<u64> {
    let status = json(stage, "status");
    let workers = status["l7_workers"].as_array().expect("workers").clone();
    let of_uplink = |worker: &Value| {
        let sockets = worker["sockets"].as_array().expect("sockets").clone();
        let of_uplink = sockets.iter().filter(|socket| socket["iface"] == "up0");
        of_uplink
            .filter_map(|socket| socket["packets"].as_u64())
            .sum()
    };
    workers.iter().map(of_uplink).collect()
}

/// Packets that XDP on `up0` has given to workers, and tc there.
fn given(stage: &Stage) -> [u64; 2] {
    let reasons = json(stage, "reasons");
    let all = reasons.as_array().expect("reasons").clone();
    ["xdp", "tc-ingress"].map(|hook| {
        let given = all.iter().filter(|count| {
            count["iface"] == "up0" && count["hook"] == hook && count["reason"] == "to_worker"
        });
        given.filter_map(|count| count["packets"].as_u64()).sum()
    })
}

#[test]
fn root_what_is_for_workers_comes_straight_from_the_queue_of_an_uplink() {
    let stage = reads("l7-uplink");
    stage.change("policy.yaml", &requests_of_a(OF_A));
    for vip in VIP {
        let before = (given(&stage)[0], read_of_uplink(&stage)[0]);
        let mut talk = Talk::open(&stage, vip);
        let rows = [
            ("/b", (200, "b\n")),
            ("/far", (200, "far\n")),
            ("/a/open", (200, "a\n")),
            (
                "/b?from=the=same-connection-and-longer-than-the-headers",
                (200, "b\n"),
            ),
        ];
        for (path, (status, body)) in rows {
            let answer = talk.ask(path).unwrap();
            assert_eq!(
                answer,
                (status, body.to_owned()),
                "{vip}{path}\n{}",
                stage.report()
            );
        }
        for (path, status) in [("/a/closed", 403), ("/nowhere", 404)] {
            let mut refused = Talk::open(&stage, vip);
            let answer = refused.ask(path).unwrap();
            assert_eq!(answer.0, status, "{vip}{path}\n{}", stage.report());
        }
        let after = (given(&stage)[0], read_of_uplink(&stage)[0]);
        // Two handshakes with their heads at the least.
        assert!(
            after.0 >= before.0 + 6 && after.1 >= before.1 + 6,
            "{before:?} {after:?}"
        );
    }
    let [by_xdp, _] = given(&stage);
    assert_eq!(
        by_xdp,
        read_of_uplink(&stage)[0],
        "each arrived\n{}",
        stage.report()
    );
    let (_, plan) = stage.terrace(&["plan"]);
    assert!(plan.contains("its 1 queue, copy"), "{plan}");
    stage.wait_empty();
}

#[test]
fn root_bodies_arrive_whole_while_workers_read_an_uplink() {
    let mut stage = reads("l7-uplink-bodies");
    let _server = echo(&mut stage);
    for vip in VIP {
        for kind in ["get", "post"] {
            check(&stage, vip, kind, "0,1,1448,16384,1000000,20000000");
        }
        for kind in ["chunked-get", "chunked-post"] {
            check(&stage, vip, kind, "0,777,5000,300000");
        }
        check(&stage, vip, "bytes", "0,200");
    }
    assert!(read_of_uplink(&stage)[0] > 500, "{}", stage.report());
    stage.wait_empty();
}

fn go(stage: &Stage, tier: &str, mode: &str) {
    let (done, text) = stage.terrace(&["move", "steer", "up0", tier]);
    assert!(done, "{text}\n{}", stage.report());
    wait_for_plan(stage, |reading| reading["mode"] == mode);
}

#[test]
fn root_xdp_moves_and_comes_back_while_bodies_are_under_way() {
    let mut stage = reads("l7-uplink-moves");
    let _server = echo(&mut stage);
    let mut live: Vec<_> = VIP.map(|vip| Talk::open(&stage, vip)).into();
    let bodies = [("slow", VIP[0]), ("drip-post", VIP[1])];
    let mut under_way: Vec<_> = bodies
        .map(|(kind, vip)| talk_in_background(&stage, vip, kind, "30000000"))
        .into();
    let way = [
        ("xdp-generic", ""),
        ("xdp-native", "copy"),
        ("tc", ""),
        ("xdp-native", "copy"),
    ];
    for (tier, mode) in way {
        go(&stage, tier, mode);
        let before = given(&stage)[0];
        for talk in &mut live {
            let answer = talk.ask("/a/5").unwrap();
            assert_eq!(answer, (200, "01234".into()), "{tier}\n{}", stage.report());
            let mut fresh = Talk::open(&stage, VIP[0]);
            assert_eq!(
                fresh.ask("/b").unwrap().0,
                200,
                "{tier}\n{}",
                stage.report()
            );
        }
        let straight = given(&stage)[0] > before;
        assert_eq!(straight, mode == "copy", "{tier}\n{}", stage.report());
    }
    for body in &mut under_way {
        let ended = body.wait(wait::PATIENCE);
        assert!(
            ended.is_ok_and(|s| s.success()),
            "{}\n{}",
            body.log(),
            stage.report()
        );
    }
    drop((live, under_way));
    stage.wait_empty();
}

#[test]
fn root_sockets_come_back_with_the_program_that_somebody_took_off() {
    let stage = reads("l7-uplink-taken");
    let mut talk = Talk::open(&stage, VIP[1]);
    assert_eq!(talk.ask("/b").unwrap(), (200, "b\n".into()));
    let off = "link set dev up0 xdpdrv off".to_owned();
    stage.net.host.ip([off]).unwrap();
    let told = wait::until("the event", wait::PATIENCE, || {
        let (_, status) = stage.terrace(&["status", "--json"]);
        let told = "somebody took the XDP program off";
        status.contains(told).then_some(())
    });
    assert!(told.is_ok(), "{}", stage.report());
    assert_eq!(talk.ask("/b").unwrap(), (200, "b\n".into()));
    wait_for_plan(&stage, |reading| reading["mode"] == "copy");
    let back = wait::until("packets at the socket", wait::PATIENCE, || {
        let before = given(&stage)[0];
        let mut fresh = Talk::open(&stage, VIP[0]);
        assert_eq!(fresh.ask("/b").unwrap(), (200, "b\n".into()));
        (given(&stage)[0] > before).then_some(())
    });
    assert!(back.is_ok(), "{}", stage.report());
    assert_eq!(talk.ask("/far").unwrap(), (200, "far\n".into()));
}

/// Two workers and an uplink of two queues, and how the queues are read.
fn two_queues(label: &str, config: &'static str) -> (Stage, Value) {
    let shape = Shape {
        config,
        ..Shape::default()
    };
    let mut stage = Stage::quiet(label, &shape);
    // The router chooses by the flow's hash, as it knows of no other queue.
    let links = [(&stage.net.router, "host0"), (&stage.net.host, "up0")];
    for (ns, iface) in links {
        ns.run("ethtool", &["-L", iface, "rx", "2", "tx", "2"])
            .unwrap();
    }
    stage.run();
    let reading = wait_for_plan(&stage, |reading| reading["mode"] == "copy");
    (stage, reading)
}

/// 100 connections to each server, a request each; all are answered.
fn ask_each(stage: &Stage) {
    for url in urls("/b").iter().chain(&urls("/far")) {
        let many = format!("{url}?n=[1-100]");
        let (done, text) = stage.curl(&["-H", "Connection: close", &many]);
        let answers = text
            .lines()
            .filter(|line| ["b", "far"].contains(line))
            .count();
        assert!(
            done && answers == 100,
            "{answers}: {text}\n{}",
            stage.report()
        );
    }
}

#[test]
fn root_two_workers_read_two_queues_and_hand_over_what_is_the_others() {
    let config = "[l7]\nuplink_sockets = \"copy\"\nworkers = 2";
    let (stage, reading) = two_queues("l7-uplink-two", config);
    assert_eq!(reading["queues"], 2, "{reading}");
    ask_each(&stage);
    let read = read_of_uplink(&stage);
    assert!(
        read.iter().all(|n| *n > 100),
        "{read:?}\n{}",
        stage.report()
    );
    let status = json(&stage, "status");
    let workers = status["l7_workers"].as_array().unwrap();
    for worker in workers {
        assert!(worker["handed_over"].as_u64() > Some(100), "{worker}");
        assert_eq!(worker["not_handed"], 0, "{worker}");
    }
    stage.wait_empty();
}

#[test]
fn root_a_queue_that_workers_are_not_to_read_comes_by_the_port_and_all_is_answered() {
    let config = "[l7]\nuplink_sockets = \"copy\"\nuplink_queues = 1\nworkers = 2";
    let (stage, reading) = two_queues("l7-uplink-part", config);
    assert_eq!(reading["queues"], 1, "{reading}");
    ask_each(&stage);
    // 400 connections by the hash of their flow: each queue has a good part of them.
    let [by_socket, by_port] = given(&stage);
    println!("to workers: {by_socket} packets by socket, {by_port} by the port");
    let read = read_of_uplink(&stage);
    assert!(
        by_socket > 200 && by_port > 200,
        "{by_socket} by socket, {by_port} by port, {read:?}\n{}",
        stage.report()
    );
    assert_eq!(
        read.iter().sum::<u64>(),
        by_socket,
        "{read:?}: each arrived"
    );
    // Whose queue nobody reads is not the socket's: one worker alone has read.
    assert_eq!(read.iter().filter(|n| **n > 0).count(), 1, "{read:?}");
    let why = reading["why"].to_string();
    assert!(
        why.contains("1 of its 2 queues are read") && why.contains("goes by the l7 port"),
        "{reading}"
    );
    stage.wait_empty();
}

#[test]
fn root_what_workers_do_not_read_comes_by_the_port_and_the_plan_says_why() {
    let large = "its packets are served on";
    let rows = [
        (
            "",
            1_500,
            "a veth passes packets whose checksums nobody has computed",
        ),
        (
            "[l7]\nuplink_sockets = \"off\"",
            1_500,
            "uplink_sockets is off",
        ),
        (READS, 9_000, large),
    ];
    for (config, mtu, why) in rows {
        let stage = Stage::start("l7-uplink-port", &Shape { mtu, config });
        let reading = wait_for_plan(&stage, |reading| reading["queues"] == 0);
        assert!(
            reading["why"].as_str().unwrap().contains(why),
            "MTU {mtu}: {reading}"
        );
        for url in urls("/far").iter().chain(&urls("/a")) {
            let (done, text) = stage.curl(&[url]);
            assert!(done, "{url}: {text}\n{}", stage.report());
        }
        assert_eq!(given(&stage)[0], 0);
        assert!(given(&stage)[1] > 0);
    }
}

#[test]
fn root_a_queue_that_somebody_else_reads_is_left_to_the_port() {
    let shape = Shape {
        config: READS,
        ..Shape::default()
    };
    let mut stage = Stage::quiet("l7-uplink-other", &shape);
    let size = MemorySize {
        sockets: 1,
        frames_in: 64,
        frames_out: 64,
    };
    let bind = || Memory::new(size)?.bind("up0", 0, Bind::Copy);
    let socket = stage.net.host.enter(bind).unwrap().unwrap();
    stage.run();
    let reading = wait_for_plan(&stage, |reading| reading["queues"] == 0);
    let why = reading["why"].as_str().unwrap();
    assert!(why.contains("queue 0 of up0"), "{why}");
    drop(socket);
    wait_for_plan(&stage, |reading| reading["mode"] == "copy");
}
