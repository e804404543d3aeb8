//! What the plan says of NICs that take nothing. Where they do: `cargo xtask lab new-hardware`.

use terrace_testkit::wait;

use crate::stage::Stage;

/// Why the NIC of the first uplink has nothing of the deny list.
fn why(stage: &Stage) -> String {
    let plan = stage.json(&["plan"]);
    let rows = plan["placements"].as_array().expect("placements").clone();
    let iface = &stage.net.uplinks[0].iface;
    let is_it =
        |row: &&serde_json::Value| row["task"] == "prefilter" && row["iface"] == iface.as_str();
    let row = rows.iter().find(is_it).expect("a prefilter");
    let blockers = row["blockers"].as_array().expect("blockers").clone();
    let nic = blockers
        .into_iter()
        .find(|blocker| blocker["tier"] == "nic");
    nic.expect("a reason").to_string()
}

/// A configuration with more before its first table.
fn in_front(text: &str, more: &str) -> String {
    let at = text.find("[").unwrap_or(text.len());
    let (top, tables) = text.split_at(at);
    format!("{top}\n{more}\n{tables}")
}

#[test]
fn root_a_link_that_takes_no_deny_list_says_why_and_holds_nothing() {
    let rows = [
        ("nica", "", "cannot be switched on", "true"),
        (
            "nicb",
            "[offload]\ndeny_list = \"off\"\n",
            "puts no deny list into NICs",
            "true",
        ),
    ];
    for (label, config, words, by_design) in rows {
        let more = format!("deny_lists = [\"deny.txt\"]\n{config}");
        let stage = Stage::new(label, "");
        std::fs::write(stage.path("deny.txt"), "192.0.2.0/24\n").expect("a deny list");
        let text = std::fs::read_to_string(stage.config()).expect("a configuration");
        std::fs::write(stage.config(), in_front(&text, &more)).expect("a configuration");
        let mut stage = stage;
        stage.run();
        let why = why(&stage);
        assert!(why.contains(words), "{label}: {why}");
        assert!(why.contains(&format!("\"by_design\":{by_design}")), "{why}");
        let iface = stage.net.uplinks[0].iface.clone();
        let (code, said) = stage.terrace(&["move", "prefilter", &iface, "nic"]);
        assert!(code != 0 && said.contains(words), "{label}: {said}");
        let status = stage.status();
        assert_eq!(status["nics"], serde_json::json!([]), "{label}");
        let told = stage.events();
        assert!(
            !told.iter().any(|kind| kind.starts_with("nic-")),
            "{told:?}"
        );
    }
}

#[test]
fn root_a_deny_list_that_must_be_in_the_nic_and_cannot_is_a_start_that_fails() {
    let stage = Stage::new("nicr", "");
    let text = std::fs::read_to_string(stage.config()).expect("a configuration");
    let iface = &stage.net.uplinks[0].iface;
    let wish = format!(
        "[[interfaces]]\nmatch = \"{iface}\"\nrole = \"uplink\"\ntiers.prefilter.nic = \"require\"\n"
    );
    std::fs::write(stage.config(), in_front(&text, &wish)).expect("a configuration");
    let running = stage.net.host.spawn(stage.command());
    let mut running = running.expect("start terrace");
    let ended = running.wait(wait::PATIENCE).expect("a start that fails");
    let said = running.log();
    assert_eq!(ended.code(), Some(3), "{said}");
    let words = [
        format!("{iface}: prefilter can't run on nic: "),
        format!("hw-tc-offload is off at {iface} and cannot be switched on"),
        // What to do.
        "set tiers.prefilter.nic to \"auto\"".to_owned(),
    ];
    for words in words {
        assert!(said.contains(&words), "{words}: {said}");
    }
    assert_eq!(stage.attached(), [], "nothing was attached");
}
