//! Requests that method and path decide pass in the kernel, and all else does
//! not.

use std::time::Duration;

use serde_json::Value;
use terrace_testkit::wait;

use crate::life::Talk;
use crate::stage::{Shape, Stage, VIP, requests_of_a, routes};

const PATIENCE: Duration = Duration::from_secs(60);

/// Pod `a` takes GET of some paths.
fn policy(path: &str) -> String {
    requests_of_a(&format!(r#"{{ method: "GET", path: "{path}" }}"#))
}

/// Packets that were counted under a reason.
fn counted(stage: &Stage, reason: &str) -> u64 {
    let (done, text) = stage.terrace(&["reasons", "--json"]);
    assert!(done, "{text}");
    let all: Value = serde_json::from_str(&text).expect("JSON");
    packets_of(&all, reason)
}

fn packets_of(value: &Value, reason: &str) -> u64 {
    match value {
        Value::Array(all) => all.iter().map(|one| packets_of(one, reason)).sum(),
        Value::Object(fields) if fields.get("reason").is_some_and(|name| name == reason) => {
            fields.get("packets").and_then(Value::as_u64).unwrap_or(0)
        }
        Value::Object(fields) => fields.values().map(|one| packets_of(one, reason)).sum(),
        _ => 0,
    }
}

/// Asks until a request has passed in the kernel: the first of a connection, and
/// the first behind a change, go to the worker.
fn ask_until_it_passes(stage: &Stage, talk: &mut Talk, path: &str, body: &str) {
    let before = counted(stage, "request");
    wait::until("a request that passes in the kernel", PATIENCE, || {
        assert_eq!(
            talk.ask(path).unwrap(),
            (200, body.into()),
            "{}",
            stage.report()
        );
        (counted(stage, "request") > before).then_some(())
    })
    .unwrap_or_else(|error| panic!("{error}\n{}", stage.report()));
}

#[test]
fn root_requests_that_method_and_path_decide_pass_in_the_kernel() {
    let stage = Stage::start("l7-kernel", &Shape::default());
    for vip in VIP {
        let mut talk = Talk::open(&stage, vip);
        ask_until_it_passes(&stage, &mut talk, "/a", "a\n");
        let before = counted(&stage, "request");
        for n in 0..50 {
            let path = format!("/a/deep/er?n={n}");
            let answer = talk.ask(&path).unwrap();
            assert_eq!(answer.0, 200, "{n}\n{}", stage.report());
        }
        let passed = counted(&stage, "request") - before;
        assert_eq!(passed, 50, "{}", stage.report());
        // Another backend, and back: the worker binds anew, on the same connection.
        for (path, body) in [
            ("/b", "b\n"),
            ("/b", "b\n"),
            ("/a", "a\n"),
            ("/far", "far\n"),
        ] {
            assert_eq!(
                talk.ask(path).unwrap(),
                (200, body.into()),
                "{}",
                stage.report()
            );
        }
        assert_eq!(talk.ask("/none").unwrap().0, 404, "{}", stage.report());
    }
    told(&stage);
    for command in ["plan", "services"] {
        let (done, text) = stage.terrace(&[command, "--color", "never"]);
        assert!(done && text.contains("in-kernel"), "{command}: {text}");
        assert!(text.contains("3 route rules"), "{command}: {text}");
    }
    let hosts = routes(&[("/a", "a")]).replace("  rules:", "  hostnames: [front]\n  rules:");
    stage.change("routes.yaml", &hosts);
    let (_, text) = stage.terrace(&["plan", "--json"]);
    let plan: Value = serde_json::from_str(&text).expect("JSON");
    let service = &plan["services"][0];
    assert_eq!(service["rung"], "splice", "{text}");
    assert_eq!(service["not_in_kernel"], "hosts are matched", "{text}");
    stage.wait_empty();
}

/// They are counted by service, route and backend, and have a line each second.
fn told(stage: &Stage) {
    let all = counted(stage, "request");
    let told = wait::until("all of them are told", PATIENCE, || {
        let (done, text) = stage.terrace(&["requests", "--limit", "0", "--json"]);
        assert!(done, "{text}");
        let answer: Value = serde_json::from_str(&text).expect("JSON");
        let lines = answer["requests"].as_array().expect("a list").clone();
        let passed = lines
            .iter()
            .filter(|line| line["in_kernel"].as_u64() > Some(0));
        let passed: Vec<_> = passed.cloned().collect();
        let n: u64 = passed
            .iter()
            .filter_map(|line| line["in_kernel"].as_u64())
            .sum();
        (n == all).then_some(passed)
    });
    let told = told.unwrap_or_else(|error| panic!("{error}\n{}", stage.report()));
    assert!(told.iter().all(|line| line["tier"] == "tc"), "{told:?}");
    let line = &told[0];
    assert_eq!(line["route"], "shop/front spec.rules[0]", "{line}");
    assert_eq!(line["service"], "shop/front:http", "{line}");
}

#[test]
fn root_rules_that_find_no_room_in_the_table_stay_with_the_workers_whole() {
    let shape = Shape {
        config: "[limits]\nl7_rules = 64",
        ..Shape::default()
    };
    let stage = Stage::start("l7-kfull", &shape);
    let mut talk = Talk::open(&stage, VIP[0]);
    ask_until_it_passes(&stage, &mut talk, "/a", "a\n");
    // The longer paths would be written last.
    let deep: Vec<String> = (0..30).map(|n| format!("/a/{n}")).collect();
    let mut many: Vec<(&str, &str)> = deep.iter().map(|path| (path.as_str(), "b")).collect();
    many.push(("/a", "a"));
    stage.change("routes.yaml", &routes(&many));
    for (path, _) in &many[..30] {
        assert_eq!(talk.ask("/a").unwrap(), (200, "a\n".into()));
        assert_eq!(talk.ask(path).unwrap(), (200, "b\n".into()), "{path}");
    }
    let (_, text) = stage.terrace(&["plan", "--json"]);
    let plan: Value = serde_json::from_str(&text).expect("JSON");
    let why = &plan["services"][0]["not_in_kernel"];
    assert_eq!(why, "the kernel's table of rules has no room", "{text}");
    let before = counted(&stage, "request");
    for _ in 0..10 {
        assert_eq!(talk.ask("/a").unwrap().0, 200);
    }
    assert_eq!(counted(&stage, "request"), before, "{}", stage.report());
    // There is room again.
    stage.change("routes.yaml", &routes(&[("/a", "a")]));
    ask_until_it_passes(&stage, &mut talk, "/a", "a\n");
    drop(talk);
    stage.wait_empty();
}

#[test]
fn root_a_denied_request_behind_some_that_passed_gets_its_answer() {
    let stage = Stage::start("l7-kdeny", &Shape::default());
    stage.change("policy.yaml", &policy("/a/open.*"));
    for vip in VIP {
        let mut talk = Talk::open(&stage, vip);
        ask_until_it_passes(&stage, &mut talk, "/a/open/1", "a\n");
        assert_eq!(talk.ask("/a/open/2").unwrap().0, 200);
        assert_eq!(talk.ask("/a/closed").unwrap().0, 403, "{}", stage.report());
    }
    stage.wait_empty();
    // The worker has ended them itself, towards the backend with RST.
    let (_, text) = stage.terrace(&["flows", "--json", "--limit", "0"]);
    let flows: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    let flows = flows["flows"].as_array().expect("a list");
    let is_closed = |flow: &serde_json::Value| flow["state"] == "closed";
    assert!(!flows.is_empty() && flows.iter().all(is_closed), "{text}");
}

#[test]
fn root_a_changed_policy_reaches_the_next_request_of_a_connection_in_the_kernel() {
    let stage = Stage::start("l7-kchange", &Shape::default());
    stage.change("policy.yaml", &policy("/a.*"));
    let mut talk = Talk::open(&stage, VIP[0]);
    ask_until_it_passes(&stage, &mut talk, "/a/x", "a\n");
    stage.change("policy.yaml", &policy("/a/y.*"));
    assert_eq!(talk.ask("/a/x").unwrap().0, 403, "{}", stage.report());
    let mut talk = Talk::open(&stage, VIP[0]);
    ask_until_it_passes(&stage, &mut talk, "/a/y", "a\n");
    stage.change("routes.yaml", &routes(&[("/a", "far")]));
    assert_eq!(
        talk.ask("/a/y").unwrap(),
        (200, "far\n".into()),
        "{}",
        stage.report()
    );
}

#[test]
fn root_without_a_daemon_requests_go_on_that_need_none() {
    let mut stage = Stage::start("l7-kalone", &Shape::default());
    let mut talk = Talk::open(&stage, VIP[0]);
    ask_until_it_passes(&stage, &mut talk, "/a", "a\n");
    stage.kill();
    for n in 0..20 {
        assert_eq!(talk.ask("/a").unwrap(), (200, "a\n".into()), "request {n}");
    }
    talk.be_patient_for(Duration::from_secs(3));
    let other = talk.ask("/b");
    assert!(other.is_err(), "no worker has seen it: {other:?}");
    stage.run();
}

/// The numbers of rule sets begin anew with a daemon: what the last one's first
/// set led to `a` is asked for while the next one's first set leads to `b`.
#[test]
fn root_rules_of_a_killed_daemon_lead_nothing_of_the_next_ones_anywhere() {
    let mut stage = Stage::quiet("l7-kagain", &Shape::default());
    stage.write("routes.yaml", &routes(&[("/a", "a")]));
    stage.run();
    let mut talks: Vec<Talk> = (0..20).map(|_| Talk::open(&stage, VIP[0])).collect();
    for talk in &mut talks {
        ask_until_it_passes(&stage, talk, "/a", "a\n");
    }
    stage.kill();
    stage.write("routes.yaml", &routes(&[("/b", "b")]));
    // Each is sent again and again until the next daemon's worker knows it not.
    let asked: Vec<_> = talks
        .into_iter()
        .map(|mut talk| std::thread::spawn(move || talk.ask("/b")))
        .collect();
    stage.run();
    for asked in asked {
        let answer = asked.join().unwrap();
        assert!(answer.is_err(), "{answer:?}\n{}", stage.report());
    }
    let mut talk = Talk::open(&stage, VIP[0]);
    ask_until_it_passes(&stage, &mut talk, "/b", "b\n");
}

#[test]
fn root_the_operator_may_keep_all_requests_with_the_workers() {
    let shape = Shape {
        config: "[l7]\nin_kernel = false\n",
        ..Shape::default()
    };
    let stage = Stage::start("l7-knone", &shape);
    let mut talk = Talk::open(&stage, VIP[0]);
    for _ in 0..20 {
        assert_eq!(talk.ask("/a").unwrap(), (200, "a\n".into()));
    }
    assert_eq!(counted(&stage, "request"), 0, "{}", stage.report());
}
