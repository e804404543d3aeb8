//! Policy on workloads. w2 has one in both directions: see `world::rules`.

use terrace_abi::Reason::*;
use terrace_abi::consts;
use terrace_model::{Family, Rule, World};

use super::CLIENT;
use crate::order::*;
use crate::row::{At, Row, Step, at, made};
use crate::world::{ID_W2, TCP};

const UP0: At = At::Uplink("up0");

pub fn rows(f: Family) -> Vec<Row> {
    let mut rows = ingress(f);
    rows.extend(egress(f));
    rows.extend(answers(f));
    rows.extend(changes(f));
    rows
}

fn ingress(f: Family) -> Vec<Row> {
    let row = |name: &str, step: Step, reason| Row::new(name, f, step, reason).after(ToTc);
    let from = |src: &str, dst: &str| at(UP0, syn(f, src, dst));
    vec![
        row(
            "an allowed port",
            from(CLIENT, "10.40.2.2:8080"),
            ToWorkload,
        ),
        row(
            "another port",
            from(CLIENT, "10.40.2.2:8081"),
            IngressDefault,
        ),
        row(
            "the allowed port of another protocol",
            at(UP0, udp(f, CLIENT, "10.40.2.2:8080")),
            IngressDefault,
        ),
        row(
            "allowed UDP",
            at(UP0, udp(f, CLIENT, "10.40.2.2:5353")),
            ToWorkload,
        ),
        row(
            "deny beats allow",
            from("198.51.100.7:1000", "10.40.2.2:8080"),
            IngressDenied,
        ),
        row(
            "deny of everything holds for other protocols",
            at(UP0, other(f, "198.51.100.7", "10.40.2.2", 47)),
            IngressDenied,
        ),
        row(
            "an allowed ICMP type",
            at(UP0, ping(f, CLIENT, "10.40.2.2")),
            ToWorkload,
        ),
        row(
            "another ICMP type",
            at(UP0, icmp(f, CLIENT, "10.40.2.2", 13, 0, [0; 4])),
            IngressDefault,
        ),
        row(
            "the backend's port counts",
            from(CLIENT, "10.96.0.5:80"),
            ToWorkload,
        ),
        row(
            "deny holds behind a service",
            from("198.51.100.7:1000", "10.96.0.5:80"),
            IngressDenied,
        ),
        row(
            "a workload without policy",
            from(CLIENT, "10.40.1.2:8081"),
            ToWorkload,
        ),
        Row::new(
            "another workload",
            f,
            at(At::From("w1"), syn(f, "10.40.1.2:1000", "10.40.2.2:8080")),
            IngressDefault,
        ),
        Row::new(
            "the host reaches its workloads",
            f,
            at(At::To("w2"), syn(f, "10.10.0.1:1000", "10.40.2.2:9")),
            HostAllowed,
        ),
        Row::new(
            "the host is under policy when it is not excepted",
            f,
            at(At::To("w2"), syn(f, "10.10.0.1:1000", "10.40.2.2:9")),
            IngressDefault,
        )
        .world(|world| world.flags &= !consts::CONFIG_HOST_INGRESS),
        Row::new(
            "what the stack forwards to a workload",
            f,
            at(At::To("w2"), syn(f, CLIENT, "10.40.2.2:9")),
            IngressDefault,
        ),
        Row::new(
            "what the stack may forward to a workload",
            f,
            at(At::To("w2"), syn(f, CLIENT, "10.40.2.2:8080")),
            HostAllowed,
        ),
    ]
}

fn egress(f: Family) -> Vec<Row> {
    let row = |name: &str, packet, reason| Row::new(name, f, at(At::From("w2"), packet), reason);
    let to = |dst: &str| syn(f, "10.40.2.2:1000", dst);
    vec![
        row("the first port of a range", to("203.0.113.9:80"), Redirect),
        row("the last port of a range", to("203.0.113.9:443"), Redirect),
        row("inside a range", to("203.0.113.9:200"), Redirect),
        row("before a range", to("203.0.113.9:79"), EgressDefault),
        row("behind a range", to("203.0.113.9:444"), EgressDefault),
        row(
            "a denied port inside a range",
            to("203.0.113.9:99"),
            EgressDenied,
        ),
        row(
            "an identity that may have everything",
            to("10.40.1.2:7"),
            ToWorkload,
        ),
        row(
            "a denied port of that identity",
            to("10.40.1.2:99"),
            EgressDenied,
        ),
        row(
            "the backend counts, not the service",
            to("10.96.0.1:80"),
            Redirect,
        ),
        row(
            "a denied backend behind a service",
            udp(f, "10.40.2.2:1000", "10.96.0.1:53"),
            EgressDenied,
        ),
        row("ICMP", ping(f, "10.40.2.2", "203.0.113.9"), EgressDefault),
        row(
            "another protocol",
            other(f, "10.40.2.2", "203.0.113.9", 47),
            EgressDefault,
        ),
        row("the host", to("10.10.0.1:22"), EgressDefault),
        row("the host's allowed port", to("10.10.0.1:80"), HostAllowed),
        Row::new(
            "a workload without policy to the host",
            f,
            at(At::From("w1"), syn(f, "10.40.1.2:1000", "10.10.0.1:22")),
            HostAllowed,
        ),
    ]
}

fn answers(f: Family) -> Vec<Row> {
    let from_w2 = At::From("w2");
    vec![
        Row::new(
            "answers to what was allowed in",
            f,
            made(from_w2, |out| answer_to(&out[0], SYN | ACK)),
            Redirect,
        )
        .before([at(UP0, syn(f, CLIENT, "10.40.2.2:8080"))]),
        Row::new(
            "answers to what was allowed out",
            f,
            made(UP0, |out| answer_to(&out[0], SYN | ACK)),
            ToWorkload,
        )
        .after(ToTc)
        .before([at(from_w2, syn(f, "10.40.2.2:1000", "203.0.113.9:80"))]),
        Row::new(
            "the answer to an echo",
            f,
            at(from_w2, pong(f, "10.40.2.2", "192.0.2.7")),
            Redirect,
        )
        .before([at(UP0, ping(f, "192.0.2.7", "10.40.2.2"))]),
        Row::new(
            "an answer that nobody asked for",
            f,
            at(from_w2, tcp(f, "10.40.2.2:8080", CLIENT, SYN | ACK)),
            EgressDefault,
        ),
        Row::new(
            "an echo reply that nobody asked for",
            f,
            at(from_w2, pong(f, "10.40.2.2", "192.0.2.7")),
            EgressDefault,
        ),
    ]
}

fn deny_8080(world: &mut World) {
    world.policy_rev += 1;
    world.rules.push(Rule {
        subject: ID_W2,
        direction: consts::DIRECTION_INGRESS,
        remote: 0,
        ports: Some((TCP, 8080, 8080)),
        deny: true,
        l7: false,
    });
}

fn allow_again(world: &mut World) {
    world.policy_rev += 1;
    world.rules.pop();
}

fn allow_8081(world: &mut World) {
    world.policy_rev += 1;
    world.rules.push(Rule {
        subject: ID_W2,
        direction: consts::DIRECTION_INGRESS,
        remote: 0,
        ports: Some((TCP, 8081, 8081)),
        deny: false,
        l7: false,
    });
}

fn select_w1(world: &mut World) {
    world.policy_rev += 1;
    world.endpoints[crate::world::W1].flags |= consts::ENDPOINT_INGRESS;
}

fn changes(f: Family) -> Vec<Row> {
    let allowed = move || at(UP0, syn(f, CLIENT, "10.40.2.2:8080"));
    let answer = || made(At::From("w2"), |out| answer_to(&out[0], ACK));
    let segment = move || tcp(f, CLIENT, "10.40.2.2:8080", ACK);
    let row = |name: &str, step: Step, reason| Row::new(name, f, step, reason);
    vec![
        row("a change that still allows", segment().into(), ToWorkload)
            .after(ToTc)
            .before([allowed(), Step::Change(allow_8081)]),
        row(
            "a change denies a live flow",
            segment().into(),
            IngressDenied,
        )
        .after(ToTc)
        .before([allowed(), Step::Change(deny_8080)]),
        row(
            "a change denies a live flow's ICMP errors",
            made(UP0, |out| error_about("10.77.0.1", &out[1], 8, Some(1280))),
            IngressDenied,
        )
        .after(ToTc)
        .before([allowed(), answer(), Step::Change(deny_8080)]),
        row(
            "a change denies a live flow's answers",
            answer(),
            IngressDenied,
        )
        .before([allowed(), Step::Change(deny_8080)]),
        row(
            "a denied flow goes on when it is allowed again",
            segment().into(),
            ToWorkload,
        )
        .after(ToTc)
        .before([
            allowed(),
            Step::Change(deny_8080),
            segment().into(),
            Step::Change(allow_again),
        ]),
        row(
            "a denied flow stays denied",
            segment().into(),
            IngressDenied,
        )
        .after(ToTc)
        .before([allowed(), Step::Change(deny_8080), segment().into()]),
        row(
            "a change allows",
            at(UP0, syn(f, CLIENT, "10.40.2.2:8081")),
            ToWorkload,
        )
        .after(ToTc)
        .before([
            at(UP0, syn(f, CLIENT, "10.40.2.2:8081")),
            Step::Change(allow_8081),
        ]),
        row(
            "a policy selects a workload with a live flow",
            tcp(f, CLIENT, "10.40.1.2:80", ACK).into(),
            IngressDefault,
        )
        .after(ToTc)
        .before([
            at(UP0, syn(f, CLIENT, "10.40.1.2:80")),
            Step::Change(select_w1),
        ]),
        row(
            "the answers of an echo after a change",
            at(At::From("w2"), pong(f, "10.40.2.2", "192.0.2.7")),
            Redirect,
        )
        .before([
            at(UP0, ping(f, "192.0.2.7", "10.40.2.2")),
            Step::Change(allow_8081),
        ]),
    ]
}
