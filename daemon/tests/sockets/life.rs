//! Restarts, detaching and churn.

use terrace_sock::links;
use terrace_testkit::wait;

use crate::services::ON;
use crate::stage::Stage;

/// Connects without a pause until told to end; counts what failed.
const LOAD: &str = r#"
done, failed, go = [0], [], [True]
def load():
    while go[0]:
        try:
            s = dial('10.96.0.10', 80)
            greet(s)
            s.close()
            done[0] += 1
        except OSError as e:
            failed.append(repr(e))
loader = threading.Thread(target=load, daemon=True)
loader.start()
"#;

#[test]
fn root_a_killed_and_restarted_daemon_is_not_missed() {
    let mut stage = Stage::start("sklife", ON);
    let mut client = stage.on_host();
    client.run(LOAD);
    client.run("t = dial('10.96.0.10', 80)\ngreet(t)");
    stage.kill();
    let dead = client.run("n = done[0]\ntime.sleep(0.5)\nresult = done[0] > n and not failed");
    assert_eq!(dead, "true", "while no daemon runs");
    stage.run();
    assert!(
        stage
            .log()
            .contains("13 of them in place of an earlier daemon's"),
        "{}",
        stage.log()
    );
    let seen = client.run("go[0] = False\nloader.join()\nresult = [failed, ask(t, 'x')]");
    assert_eq!(seen, r#"[[], "x"]"#);
}

#[test]
fn root_detach_leaves_nothing_and_breaks_nothing_established() {
    let mut stage = Stage::start("skdetach", ON);
    let remote = stage.net.backend("remote").v4;
    stage.change("slices.yaml", &stage.slices(&["remote"]));
    let mut client = stage.on_host();
    client.run("t = dial('10.96.0.10', 80)\ngreet(t)");
    stage.stop();
    assert_eq!(links::list(stage.pins.path()).expect("links").len(), 13);
    assert_eq!(
        client.run("result = greet(dial('10.96.0.10', 80))"),
        r#""remote""#
    );
    let (done, text) = stage.terrace(&["detach", "--yes"]);
    assert!(done && text.contains("sock-connect4"), "{text}");
    let left = stage.net.host.run(
        "bpftool",
        &["cgroup", "show", &stage.cgroup.path().display().to_string()],
    );
    assert!(!left.expect("bpftool").contains("terrace_"));
    assert_eq!(client.run("result = ask(t, 'still')"), r#""still""#);
    assert_eq!(
        client.run(&format!("result = greet(dial('{remote}', 9000))")),
        r#""remote""#
    );
}

#[test]
fn root_turning_it_off_takes_the_programs_off() {
    let mut stage = Stage::start("skoff", ON);
    assert_eq!(links::list(stage.pins.path()).expect("links").len(), 13);
    stage.stop();
    stage.configure("");
    stage.run();
    assert_eq!(links::list(stage.pins.path()).expect("links"), []);
    let (done, text) = stage.terrace(&["sockets"]);
    assert!(done && text.contains("the socket tier is off"), "{text}");
    let answer = stage.json(&["explain", "--connect", "10.96.0.10:80"]);
    assert_eq!(answer["reason"], "connect_direct", "{answer}");
    assert_eq!(answer["goes_to"], "10.96.0.10:80");
    let text = answer["text"].to_string();
    assert!(text.contains("the socket tier is off"), "{text}");
    assert_eq!(answer["shortcut"], false, "{answer}");
    let why = answer["shortcut_reason"].to_string();
    assert!(why.contains("no cgroup is chosen"), "{why}");
}

#[test]
fn root_backends_change_while_a_thousand_sockets_are_open() {
    let stage = Stage::start("skchurn", ON);
    stage.change("web.yaml", &stage.service("terrace.io/terminate: \"true\""));
    let mut client = stage.on_host();
    let opened = client.run(
        "import resource
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
tcp = [dial('10.96.0.10', 80) for _ in range(500)]
names = [greet(s) for s in tcp]
udp = [dial('10.96.0.10', 81, socket.SOCK_DGRAM) for _ in range(500)]
unames = [ask(s, 'x')[:-2] for s in udp]
result = len(tcp) + len(udp)",
    );
    assert_eq!(opened, "1000", "{}", stage.log());
    for names in [&["web", "remote"], &["web", "remote"]] {
        stage.change("slices.yaml", &stage.slices(names));
    }
    assert_eq!(
        stage.json(&["sockets"])["sockets"].as_array().map(Vec::len),
        Some(1000)
    );
    let lost = client.run("result = names.count('remote') + unames.count('remote')");
    let lost: u64 = lost.parse().expect("a number");
    stage.change("slices.yaml", &stage.slices(&["web"]));
    let closed = || (stage.count("socket_closed") == lost).then_some(());
    wait::until(
        "the end of the sockets of a backend",
        wait::PATIENCE,
        closed,
    )
    .unwrap_or_else(|error| panic!("{error}: {lost}\n{}", stage.log()));
    let seen = client.run(
        "def alive(s):
    try:
        s.setblocking(False)
        s.recv(1)
    except BlockingIOError:
        return True
    except OSError as e:
        return e.errno != errno.ECONNABORTED
    return True
result = [[alive(s) for s in tcp] == [n == 'web' for n in names],
          [alive(s) for s in udp] == [n == 'web' for n in unames],
          0 < names.count('web') < 500]",
    );
    assert_eq!(seen, "[true, true, true]", "{}", stage.log());
}
