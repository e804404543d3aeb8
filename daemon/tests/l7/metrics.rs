//! What Prometheus reads after events that really happened.

use rustix::process::Signal;
use terrace_testkit::Agent;

use crate::life::Talk;
use crate::stage::{Shape, Stage, VIP, routes, service, urls};

/// A worker with few places, and a socket on the uplink's queue.
const SMALL: &str = "[l7]\nworkers = 1\nhalf_open = 16\nbuffers = 64\nuplink_sockets = \"copy\"\n[limits]\nl7_flows = 128";

/// SYNs from an address that nobody has, so that nobody resets what they begin;
/// connections that stay, as many as can be had.
const CALLER: &str = r#"
def knock(source, to, n):
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP) as raw:
        raw.setsockopt(socket.IPPROTO_IP, 19, 1)
        raw.bind((source, 0))
        ends = socket.inet_aton(source) + socket.inet_aton(to)
        for port in range(20000, 20000 + n):
            def head(check): return struct.pack('!HHIIBBHHH', port, 80, 7, 0, 5 << 4, 2, 8192, check, 0)
            whole = ends + struct.pack('!BBH', 0, 6, 20) + head(0)
            total = sum(struct.unpack('!%dH' % (len(whole) // 2), whole))
            while total >> 16: total = (total & 0xffff) + (total >> 16)
            raw.sendto(head(~total & 0xffff), (to, 0))
def call(to, n):
    out = []
    for _ in range(n):
        s = socket.socket()
        s.setblocking(False)
        s.connect_ex((to, 80))
        out.append(s)
    return out
"#;

fn small() -> Stage {
    let shape = Shape {
        config: SMALL,
        ..Shape::default()
    };
    Stage::start("l7-metrics", &shape)
}

#[test]
fn root_errors_of_requests_are_counted_by_service_route_and_backend() {
    let mut stage = small();
    stage.write("none.yaml", &service("none", 7, &[]));
    let some = routes(&[("/none", "none"), ("/a", "a"), ("/b", "b")]);
    stage.change(
        "routes.yaml",
        &(some + "      timeouts: { request: 500ms }\n"),
    );
    stage.servers[1].process().signal(Signal::STOP).unwrap();
    let get = |path: &str| {
        for url in urls(path) {
            stage.curl(&[&url]);
        }
    };
    get("/none");
    get("/b");
    get("/a");
    get("/nowhere");
    let errors = "terrace_request_errors_total{";
    let front = r#"service="shop/front:http""#;
    for status in ["2xx", "4xx", "5xx"] {
        let label = format!("status=\"{status}\"");
        let n = if status == "5xx" { 4 } else { 2 };
        stage.wait_counted(&["terrace_requests_total{", front, &label], n);
    }
    stage.wait_counted(&[errors, front], 4);
    assert_eq!(stage.counted(&[errors]), 4, "{}", stage.metrics());
    let by_b = &stage.nodes()[1].v4.to_string();
    stage.wait_counted(&[errors, by_b], 1);
    let buckets = "terrace_request_duration_seconds_bucket{";
    stage.wait_counted(&[buckets, front, "le=\"+Inf\""], 8);
    // XDP gave them to the socket on the uplink.
    let of_uplink = ["terrace_l7_socket_packets_total{", "iface=\"up0\""];
    stage.wait_counted(&of_uplink, 16);
    assert_eq!(stage.counted(&["terrace_l7_socket_lost_total{"]), 0);
}

#[test]
fn root_limits_of_a_worker_that_were_met_are_counted_and_it_goes_on() {
    let stage = small();
    let mut talk = Talk::open(&stage, VIP[0]);
    assert_eq!(talk.ask("/a").unwrap(), (200, "a\n".into()));
    let mut caller = Agent::start(stage.client(), None).unwrap();
    assert_eq!(caller.run(CALLER), "null");
    let [from, _] = talk.ends();
    let std::net::IpAddr::V4(own) = from.ip() else {
        panic!("{from}");
    };
    // Somebody of the same network who is not there.
    let [a, b, c, d] = own.octets();
    let source = format!("{a}.{b}.{c}.{}", d.wrapping_add(100));
    let vip = VIP[0];
    let knocked = caller.run(&format!("knock('{source}', '{vip}', 60)"));
    assert_eq!(knocked, "null");
    stage.wait_counted(&["terrace_l7_bounded_total{", "limit=\"half_open\""], 44);
    stage.wait_counted(&["terrace_l7_half_open{"], 16);
    assert_eq!(talk.ask("/b").unwrap(), (200, "b\n".into()));
    // More than there are places: those beyond get no answer.
    assert_eq!(caller.run(&format!("calls = call('{vip}', 200)")), "null");
    stage.wait_counted(&["terrace_l7_bounded_total{", "limit=\"flows\""], 1);
    stage.wait_counted(&["terrace_l7_flows{"], 128);
    assert_eq!(talk.ask("/a").unwrap(), (200, "a\n".into()));
    assert_eq!(caller.run("[s.close() for s in calls]"), "null");
    drop(talk);
    stage.wait_empty();
    assert_eq!(stage.counted(&["terrace_l7_half_open{"]), 0);
}
