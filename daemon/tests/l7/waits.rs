//! Every way of waiting for packets, with several workers.

use std::process::Command;

use serde_json::Value;

use crate::stage::{Shape, Stage, urls};

const WAYS: [(&str, &str); 3] = [
    ("poll", "[l7]\nworkers = 2\nwait = \"poll\""),
    ("spin", "[l7]\nworkers = 2\nwait = \"spin\""),
    ("busy-poll", "[l7]\nworkers = 2\nwait = \"busy-poll\""),
];

#[test]
fn root_two_workers_share_connections_in_every_way_of_waiting() {
    for (way, config) in WAYS {
        let shape = Shape {
            config,
            ..Shape::default()
        };
        let stage = Stage::start("l7-waits", &shape);
        for url in urls("/a").iter().chain(&urls("/far")) {
            let mut command = Command::new("ab");
            command.args(["-q", "-n", "600", "-c", "20", "-s", "60", url]);
            let output = stage.client().output(&mut command).expect("run ab");
            let text = String::from_utf8_lossy(&output.stdout);
            let has = |line: &str| text.lines().any(|of| of.starts_with(line));
            let all = has("Complete requests:      600") && has("Failed requests:        0");
            assert!(
                all && !has("Non-2xx"),
                "{way} {url}: {text}\n{}",
                stage.report()
            );
        }
        let (_, text) = stage.terrace(&["status", "--json"]);
        let status: Value = serde_json::from_str(&text).expect("JSON");
        let workers = status["l7_workers"].as_array().expect("workers");
        let requests: Vec<_> = workers
            .iter()
            .filter_map(|w| w["requests"].as_u64())
            .collect();
        assert_eq!(requests.iter().sum::<u64>(), 2_400, "{way}: {requests:?}");
        assert!(requests.iter().all(|n| *n > 600), "{way}: {requests:?}");
        println!("{way}: {workers:?}");
        stage.wait_empty();
    }
}
