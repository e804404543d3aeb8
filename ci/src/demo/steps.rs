//! The steps, each with a check that fails the demo when it does not hold.

use super::load::{Wrk, curl, spread};
use super::proof::{self, Before};
use super::say;
use super::stage::{CART, DENIED, Stage, WEB};
use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use std::time::Duration;
use terrace_testkit::wait;

const PATIENCE: Duration = Duration::from_secs(10);
const CONNECTIONS: u32 = 32;
/// Seconds of a load that is stopped when its step is through.
const LONG: u32 = 60;
const FAR: &str = "10.30.0.2";

pub struct Step {
    pub title: &'static str,
    pub run: fn(&mut Stage) -> Result<()>,
}

pub const STEPS: [Step; 10] = [
    Step {
        title: "The plan, before anything is attached",
        run: plan,
    },
    Step {
        title: "Start: tc is armed, native XDP goes in front of it",
        run: start,
    },
    Step {
        title: "One service address, three backends, IPv4 and IPv6",
        run: requests,
    },
    Step {
        title: "Policy: a stranger is refused",
        run: policy,
    },
    Step {
        title: "Deny list: dropped by XDP before anything else",
        run: deny_list,
    },
    Step {
        title: "Load: services, flows and their tiers, wrk's figures",
        run: load,
    },
    Step {
        title: "A backend goes away under load",
        run: churn,
    },
    Step {
        title: "kill -9 under load, then a restart",
        run: restart,
    },
    Step {
        title: "Why packets went where they went",
        run: reasons,
    },
    Step {
        title: "terrace detach, and the proof that nothing is left",
        run: detach,
    },
];

fn plan(stage: &mut Stage) -> Result<()> {
    stage.before = Some(Before::look(stage.host())?);
    stage.terrace.show(stage.host(), &["check"])?;
    stage.terrace.show(stage.host(), &["plan", "--offline"])?;
    ensure!(!stage.pin_root().exists(), "`plan --offline` made pins");
    let plan = stage.terrace.json(stage.host(), &["plan", "--offline"])?;
    let placements = plan["placements"].as_array().context("placements")?;
    let steer = placements
        .iter()
        .find(|p| p["task"] == "steer" && p["iface"] == "up0");
    let tier = &steer.context("no placement of steer on up0")?["tier"];
    ensure!(tier == "xdp-native", "steer on up0 is placed on {tier}");
    say::holds("steering on the uplink runs in native XDP; nothing is attached yet");
    Ok(())
}

fn start(stage: &mut Stage) -> Result<()> {
    stage.terrace.start(&stage.net.host)?;
    stage.terrace.show(stage.host(), &["status"])?;
    let links = stage.host().run("ip", &["-d", "link", "show", "up0"])?;
    ensure!(
        links.contains("prog/xdp"),
        "ip shows no XDP program on up0:\n{links}"
    );
    ensure!(
        !links.contains("xdpgeneric"),
        "XDP on up0 is generic:\n{links}"
    );
    say::holds("`ip link` shows the program on up0, in native mode");
    Ok(())
}

fn requests(stage: &mut Stage) -> Result<()> {
    for url in WEB {
        say::command(&format!("curl {url}     # 30 times, each a new connection"));
        let answers = spread(stage.client(), url, 30)?;
        for name in ["web-a", "web-b", "web-far"] {
            ensure!(
                answers.contains_key(name),
                "{url}: {name} never answered: {answers:?}"
            );
        }
        say::holds(&format!(
            "30 of 30 answered, by all three backends: {answers:?}"
        ));
    }
    Ok(())
}

fn policy(stage: &mut Stage) -> Result<()> {
    let stranger = &stage.net.client("stranger").ns;
    stage.terrace.show(stage.host(), &["policy"])?;
    for url in CART {
        let name = curl(stage.client(), url, None).context("the customer")?;
        let before = drops(stage, "ingress_default")?;
        if let Ok(name) = curl(stranger, url, None) {
            bail!("{name} answered the stranger");
        }
        let after = drops(stage, "ingress_default")?;
        ensure!(after > before, "the stranger's packets were not counted");
        let dropped = after - before;
        say::holds(&format!(
            "{url}: {name} answers the client; the stranger gets nothing ({dropped} packets dropped)"
        ));
    }
    let packet = ["explain", "tcp", "10.20.1.2:40000", "10.96.0.20:80"];
    stage.terrace.show(stage.host(), &packet)?;
    Ok(())
}

fn deny_list(stage: &mut Stage) -> Result<()> {
    for (url, source) in WEB.into_iter().zip(DENIED) {
        let before = drops(stage, "deny_list")?;
        if let Ok(name) = curl(stage.client(), url, Some(source)) {
            bail!("{name} answered {source}");
        }
        let dropped = drops(stage, "deny_list")? - before;
        ensure!(
            dropped > 0,
            "packets of {source} were not counted as denied"
        );
        say::holds(&format!(
            "{source} gets nothing from {url}: {dropped} packets dropped as `deny_list`"
        ));
    }
    Ok(())
}

fn load(stage: &mut Stage) -> Result<()> {
    for url in WEB {
        let mut wrk = Wrk::start(stage.client(), url, CONNECTIONS, 4)?;
        if url == WEB[0] {
            wait_for_live(stage, &mut wrk)?;
            show_flows(stage)?;
            check_tiers(stage)?;
        }
        ensure!(wrk.runs(), "wrk ended early");
        let figures = wrk.finish()?;
        say::text(&figures.text);
        ensure!(
            figures.errors.is_empty(),
            "requests failed: {:?}",
            figures.errors
        );
        say::holds(&format!("{} requests, none failed", figures.requests()));
    }
    stage.terrace.show(stage.host(), &["services"])?;
    let backends = web_backends(stage)?;
    for backend in &backends {
        let traffic = &backend["traffic"];
        let counts = |name: &str| traffic[name].as_u64().unwrap_or(0) > 0;
        let all = [
            "packets_to",
            "bytes_to",
            "packets_from",
            "bytes_from",
            "connections",
        ];
        ensure!(
            all.into_iter().all(counts),
            "{}: a counter is 0: {traffic}",
            backend["address"]
        );
    }
    say::holds(&format!(
        "all {} backends have packets, bytes and connections",
        backends.len()
    ));
    Ok(())
}

fn show_flows(stage: &Stage) -> Result<()> {
    for tier in ["xdp-native", "tc"] {
        let args = [
            "flows",
            "--service",
            "shop/web",
            "--tier",
            tier,
            "--limit",
            "4",
        ];
        stage.terrace.show(stage.host(), &args)?;
    }
    Ok(())
}

/// Remote backends are served by XDP alone, local ones are delivered by tc.
fn check_tiers(stage: &Stage) -> Result<()> {
    let flows = web_flows(stage)?;
    for flow in &flows {
        let far = flow["backend"]
            .as_str()
            .is_some_and(|backend| backend.contains(FAR));
        let wanted = if far { "xdp-native" } else { "tc" };
        ensure!(flow["tier"] == wanted, "tier should be {wanted}: {flow}");
    }
    say::holds("flows to the remote backend run in native XDP, flows to local workloads in tc");
    Ok(())
}

fn churn(stage: &mut Stage) -> Result<()> {
    let mut wrk = Wrk::start(stage.client(), WEB[0], CONNECTIONS, LONG)?;
    wait_for_live(stage, &mut wrk)?;
    say::command("mv later/web-endpoints.yaml manifests/     # web-far is no longer in it");
    stage.replace_manifest("web-endpoints.yaml")?;
    wait::until("a change of the tables", PATIENCE, || {
        let backends = web_backends(stage).ok()?;
        backends
            .iter()
            .all(|b| b["address"] != FAR || b["state"] != "ready")
            .then_some(())
    })?;
    let kept = far_flows(stage)?;
    ensure!(kept > 0, "the established connections to {FAR} are gone");
    let answers = spread(stage.client(), WEB[0], 30)?;
    ensure!(
        !answers.contains_key("web-far"),
        "web-far got a new connection: {answers:?}"
    );
    say::holds(&format!("no new connection goes to web-far: {answers:?}"));
    ensure!(
        far_flows(stage)? > 0,
        "the established connections to {FAR} were dropped"
    );
    ensure!(wrk.runs(), "wrk ended before the change was through");
    let figures = wrk.stop()?;
    ensure!(
        figures.errors.is_empty(),
        "requests failed: {:?}",
        figures.errors
    );
    say::holds(&format!(
        "{} requests on {CONNECTIONS} established connections, {kept} of them to web-far: none failed",
        figures.requests()
    ));
    Ok(())
}

fn restart(stage: &mut Stage) -> Result<()> {
    let mut wrk = Wrk::start(stage.client(), WEB[0], CONNECTIONS, LONG)?;
    wait_for_live(stage, &mut wrk)?;
    stage.terrace.kill();
    say::command("kill -9 $(pidof terrace)");
    let answers = spread(stage.client(), WEB[0], 20)?;
    say::holds(&format!(
        "20 new connections while no daemon runs, all answered: {answers:?}"
    ));
    stage.terrace.start(&stage.net.host)?;
    let status = stage.terrace.json(stage.host(), &["status"])?;
    ensure!(
        status["taken_over"] == true,
        "the new daemon did not take over the tables"
    );
    ensure!(wrk.runs(), "wrk ended before the restart was through");
    let figures = wrk.stop()?;
    ensure!(
        figures.errors.is_empty(),
        "requests failed: {:?}",
        figures.errors
    );
    say::holds(&format!(
        "{} requests across kill -9 and restart, none failed; tables taken over",
        figures.requests()
    ));
    Ok(())
}

fn reasons(stage: &mut Stage) -> Result<()> {
    stage.terrace.show(stage.host(), &["reasons"])?;
    let forwarded = reason_rows(stage)?;
    let xdp = forwarded
        .iter()
        .filter(|row| row["hook"] == "xdp" && row["class"] == "forward");
    let packets: u64 = xdp.filter_map(|row| row["packets"].as_u64()).sum();
    ensure!(packets > 0, "XDP forwarded no packet");
    say::holds(&format!(
        "{packets} packets left from XDP without ever becoming a socket buffer"
    ));
    Ok(())
}

fn detach(stage: &mut Stage) -> Result<()> {
    let programs = proof::attached_programs(stage)?;
    say::command("kill -TERM $(pidof terrace)");
    stage.terrace.stop()?;
    let name = curl(stage.client(), WEB[0], None).context("after the daemon's end")?;
    say::holds(&format!(
        "a stopped daemon leaves forwarding as it is: {name} answers"
    ));
    stage.terrace.show(stage.host(), &["detach", "--yes"])?;
    proof::nothing_is_left(stage, &programs)
}

/// Waits until the load's connections are established.
fn wait_for_live(stage: &Stage, wrk: &mut Wrk) -> Result<()> {
    let mut seen = 0;
    let all = wait::until("established connections", PATIENCE, || {
        seen = web_flows(stage).map_or(0, |flows| flows.len());
        // Two directions a connection.
        (seen >= 2 * CONNECTIONS as usize || !wrk.runs()).then_some(())
    });
    ensure!(wrk.runs(), "wrk ended early: {}", wrk.log());
    all.with_context(|| format!("{seen} flows of {} are established", 2 * CONNECTIONS))
}

fn web_flows(stage: &Stage) -> Result<Vec<Value>> {
    let args = [
        "flows",
        "--service",
        "shop/web",
        "--state",
        "established",
        "--limit",
        "0",
    ];
    let answer = stage.terrace.json(stage.host(), &args)?;
    answer["flows"].as_array().cloned().context("flows")
}

/// Connections to the remote backend, named or not: a removed one has no name.
fn far_flows(stage: &Stage) -> Result<usize> {
    let args = [
        "flows",
        "--to",
        FAR,
        "--state",
        "established",
        "--limit",
        "0",
    ];
    let answer = stage.terrace.json(stage.host(), &args)?;
    Ok(answer["flows"].as_array().context("flows")?.len())
}

fn web_backends(stage: &Stage) -> Result<Vec<Value>> {
    let services = stage
        .terrace
        .json(stage.host(), &["services", "shop/web"])?;
    let services = services.as_array().context("services")?.clone();
    let backends = services
        .iter()
        .filter_map(|service| service["backends"].as_array());
    Ok(backends.flatten().cloned().collect())
}

fn reason_rows(stage: &Stage) -> Result<Vec<Value>> {
    let rows = stage.terrace.json(stage.host(), &["reasons"])?;
    rows.as_array().cloned().context("reasons")
}

fn drops(stage: &Stage, reason: &str) -> Result<u64> {
    let rows = reason_rows(stage)?;
    let rows = rows.iter().filter(|row| row["reason"] == reason);
    Ok(rows.filter_map(|row| row["packets"].as_u64()).sum())
}
