//! Bodies over a path that loses packets and changes their order.

use terrace_testkit::Faults;

use crate::bodies::{check, echo};
use crate::stage::{Shape, Stage, VIP, long_or};

const ROUNDS: usize = 10;

/// Both ways between the client and the router, who know each other's MAC: three
/// lost answers of ARP are "no route to host", whatever TCP does.
fn spoil(stage: &Stage, faults: Faults) {
    for vip in VIP {
        check(stage, vip, "get", "1");
    }
    let ends = [(stage.client(), "net0"), (&stage.net.router, "client0")];
    for (ns, iface) in ends {
        let keep = format!(
            "ip neigh show dev {iface} | while read -r address word mac _; do \
             [ \"$word\" != lladdr ] || ip neigh replace \"$address\" \
             lladdr \"$mac\" dev {iface} nud permanent; done"
        );
        ns.run("sh", &["-ec", &keep]).unwrap();
        ns.run("ethtool", &["-K", iface, "tx", "off"]).unwrap();
        ns.act_as_bad_wire(iface, faults).unwrap();
    }
}

/// What the client's and the server's stack had to do about it.
fn repaired(stage: &Stage) -> [u64; 2] {
    let count = |name: &str| {
        let ends = [stage.client(), &stage.nodes()[0].ns];
        let counts = ends.map(|ns| {
            let text = ns.run("nstat", &["-asz", name]).unwrap();
            let line = text.lines().find(|line| line.starts_with(name));
            let value = line.and_then(|line| line.split_whitespace().nth(1));
            value
                .and_then(|value| value.parse::<u64>().ok())
                .unwrap_or(0)
        });
        counts.iter().sum()
    };
    ["TcpRetransSegs", "TcpExtTCPOFOQueue"].map(count)
}

#[test]
fn root_bodies_arrive_whole_over_a_path_that_loses_and_reorders() {
    let mut stage = Stage::start("l7-losses", &Shape::default());
    let _server = echo(&mut stage);
    spoil(&stage, Faults { lost: 5, late: 10 });
    for kind in ["get", "post"] {
        check(
            &stage,
            VIP[0],
            kind,
            &format!("0,1,16384,{}", long_or(1 << 30, 256 << 20)),
        );
    }
    for kind in ["chunked-get", "chunked-post"] {
        check(&stage, VIP[1], kind, "0,777,300000");
    }
    check(&stage, VIP[1], "get", "0,1,1448,3000000");
    check(&stage, VIP[1], "post", "0,1,1448,3000000");
    let [again, out_of_order] = repaired(&stage);
    println!("{again} segments were sent again, {out_of_order} came out of order");
    assert!(again > 10 && out_of_order > 10, "{again} {out_of_order}");
    stage.wait_empty();
}

#[test]
fn root_requests_are_answered_over_a_path_that_loses_one_in_twenty() {
    let mut stage = Stage::start("l7-losses-many", &Shape::default());
    let _server = echo(&mut stage);
    spoil(&stage, Faults { lost: 50, late: 50 });
    // How much a path loses and reorders is chance: on until it was enough.
    for _ in 0..ROUNDS {
        for vip in VIP {
            for kind in ["get", "post", "chunked-post"] {
                check(&stage, vip, kind, "0,1,100,1460,5000,0,1,20000");
            }
        }
        if repaired(&stage).iter().all(|n| *n > 10) {
            break;
        }
    }
    let [again, out_of_order] = repaired(&stage);
    println!("{again} segments were sent again, {out_of_order} came out of order");
    assert!(again > 10 && out_of_order > 10, "{again} {out_of_order}");
    stage.wait_empty();
}
