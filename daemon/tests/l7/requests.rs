use std::net::SocketAddr;
use std::sync::Arc;

use terrace::api::{Request, RequestQuery, RequestVerdict, Tier};
use terrace::l7::requests::{History, RequestLog, Told};
use terrace::l7::rules::{Note, Outcome, Ruling, Verdict};
use terrace::render::{self, Style};
use terrace_l7::flow::Parties;
use terrace_l7::http::{Limits, parse_request, storage};
use terrace_l7::tcp::Endpoint;

fn endpoint(text: &str) -> Endpoint {
    text.parse::<SocketAddr>().expect("an endpoint").into()
}

fn parties(flow: u32) -> Parties {
    Parties {
        flow,
        client: endpoint("10.0.0.1:4000"),
        service: endpoint("10.96.0.1:80"),
    }
}

fn denied(service: u32, route: u32) -> Ruling {
    Ruling {
        outcome: Outcome::Answer(403),
        note: Note {
            service,
            route,
            verdict: Verdict::Denied,
            ..Note::default()
        },
        mirrors: Default::default(),
    }
}

fn ask(log: &mut RequestLog, now_us: u64, flow: u32, path: &str, ruling: &Ruling) {
    let head = format!("GET {path} HTTP/1.1\r\nHost: shop\r\n\r\n");
    let mut storage = storage();
    let request = parse_request(head.as_bytes(), &mut storage, &Limits::default());
    let request = request.expect("a head").expect("a whole head");
    log.asked(now_us, &parties(flow), &request, ruling);
}

#[test]
fn a_request_is_told_once_when_it_is_answered_or_given_up() {
    let history = History::default();
    let mut log = RequestLog::new(3, 16, 16, history.join());
    ask(&mut log, 1_000, 1, "/waits", &denied(1, 1));
    ask(&mut log, 1_500, 1, "/a", &denied(1, 1));
    ask(&mut log, 2_000, 2, "/b", &denied(1, 1));
    assert!(history.since(0).0.is_empty(), "nothing is answered yet");
    log.answered(1_900, 1, 403);
    log.answered(1_950, 1, 200);
    log.ended(9_000, 2);
    log.ended(9_000, 2);
    assert_eq!(log.under_way(), 0);
    let (records, last) = history.since(0);
    let told: Vec<_> = records
        .iter()
        .map(|r| {
            (
                r.number,
                r.record.path.as_str(),
                r.record.status,
                r.record.duration_us,
            )
        })
        .collect();
    assert_eq!(told, [(1, "/a", 403, 400), (2, "/b", 0, 7_000)]);
    assert_eq!((records[0].record.worker, last), (3, 2));
    assert_eq!(history.since(1).0.len(), 1, "only what is new");
}

fn totals(told: &Told) -> u64 {
    told.meters
        .read()
        .map(|(_, reading)| reading.buckets.iter().sum::<u64>())
        .sum()
}

#[test]
fn records_and_meters_are_bounded_and_totals_are_whole() {
    let told = Arc::new(Told::default());
    let mut log = RequestLog::new(0, 8_192, 4, Arc::clone(&told));
    for n in 0..5_000 {
        ask(&mut log, 10, 7, "/", &denied(n, 1));
        log.answered(20, 7, 200);
    }
    assert_eq!(totals(&told), 5_000, "no request is lost in the totals");
    assert_eq!(told.meters.read().count(), 1_024, "meters");
    assert_eq!(told.queue.len(), 2_048, "records");
    for flow in 0..6 {
        ask(&mut log, 10, flow, "/", &denied(1, 1));
    }
    assert_eq!((log.under_way(), told.meters.unrecorded()), (4, 2));
    log.answered(20, 5, 200);
    assert_eq!(totals(&told), 5_000, "one without a place is not measured");
}

#[test]
fn an_index_that_was_given_to_another_owner_counts_from_nothing() {
    let told = Arc::new(Told::default());
    let mut log = RequestLog::new(0, 8, 8, Arc::clone(&told));
    let mut count = |owners| {
        let mut ruling = denied(1, 1);
        ruling.note.owners = owners;
        ask(&mut log, 0, 1, "/", &ruling);
        log.answered(10, 1, 200);
        let (_, reading) = told.meters.read().nth(1).expect("a meter");
        assert_eq!(reading.owners, owners);
        (reading.outcomes[2], reading.sum_us)
    };
    let rows = [([1, 2], 1), ([1, 2], 2), ([1, 3], 1), ([4, 3], 1)];
    for (owners, n) in rows {
        assert_eq!(count(owners), (n, 10 * n), "{owners:?}");
    }
    assert_eq!(told.meters.read().count(), 2, "they share a place");
}

#[test]
fn a_head_that_is_none_leaves_a_line() {
    let history = History::default();
    let mut log = RequestLog::new(0, 16, 16, history.join());
    let note = Note {
        service: 1,
        verdict: Verdict::Malformed,
        ..Note::default()
    };
    log.malformed(1_000, &parties(1), &note);
    log.malformed(1_100, &parties(1), &note);
    log.answered(1_200, 1, 400);
    let (records, _) = history.since(0);
    let record = records[0].record;
    assert_eq!((records.len(), log.under_way()), (1, 0));
    assert_eq!((record.status, record.duration_us), (400, 100));
    assert_eq!(record.note.verdict, Verdict::Malformed);
    assert_eq!((record.method.as_str(), record.path.as_str()), ("", ""));
}

#[test]
fn the_histogram_puts_a_duration_under_its_edge() {
    let told = Arc::new(Told::default());
    let mut log = RequestLog::new(0, 8, 8, Arc::clone(&told));
    for duration in [0, 100, 101, 20_000_000] {
        ask(&mut log, 0, 1, "/", &denied(1, 1));
        log.answered(duration, 1, 500);
    }
    let (_, reading) = told.meters.read().nth(1).expect("a meter");
    assert_eq!(
        (reading.buckets[0], reading.buckets[1], reading.buckets[16]),
        (2, 1, 1)
    );
    assert_eq!((reading.outcomes[5], reading.sum_us), (4, 20_000_201));
}

fn shown() -> Request {
    Request {
        number: 7,
        unix_ms: 1_700_000_000_123,
        client: "10.0.0.1:4000".parse().expect("an address"),
        destination: "10.96.0.1:80".parse().expect("an address"),
        service: "default/shop:http".into(),
        method: "GET".into(),
        path: "/a?b=1".into(),
        host: "shop".into(),
        status: 404,
        duration_us: 1_250,
        verdict: RequestVerdict::Forwarded,
        route: "default/shop spec.rules[0]".into(),
        rule: "default/web spec.ingress[0].toPorts[0].rules.http[1]".into(),
        backend: "10.0.1.1:8080".into(),
        client_identity: "app=client".into(),
        server_identity: "app=web".into(),
        tier: Tier::Worker,
        in_kernel: 0,
        worker: 0,
    }
}

#[test]
fn a_line_says_who_asked_what_of_whom_and_who_decided() {
    let style = Style {
        color: false,
        width: None,
    };
    assert_eq!(
        render::request(&shown(), &style),
        "22:13:20.123 10.0.0.1:4000 > default/shop:http -> 10.0.1.1:8080 GET shop/a?b=1 404 1.2 ms forwarded \
         [default/shop spec.rules[0], default/web spec.ingress[0].toPorts[0].rules.http[1]]"
    );
}

#[test]
fn filters_of_requests_find_what_they_name() {
    let some = |text: &str| Some(text.to_owned());
    let query = |service, status, verdict| RequestQuery {
        service,
        status,
        verdict,
        ..RequestQuery::default()
    };
    let rows = [
        (query(None, None, None), true),
        (query(some("shop"), None, None), true),
        (query(some("default/shop:http"), None, None), true),
        (query(some("cart"), None, None), false),
        (query(None, some("404"), None), true),
        (query(None, some("4xx"), None), true),
        (query(None, some("5xx"), None), false),
        (query(None, None, Some(RequestVerdict::Denied)), false),
        (
            query(some("shop"), some("4xx"), Some(RequestVerdict::Forwarded)),
            true,
        ),
    ];
    for (query, expected) in rows {
        assert_eq!(query.matches(&shown()), expected, "{query:?}");
        assert_eq!(query.check(), Ok(()), "{query:?}");
    }
    for wrong in ["40", "4xxx", "abc", "44xx", ""] {
        assert!(query(None, some(wrong), None).check().is_err(), "{wrong}");
    }
    let latest = RequestQuery {
        limit: Some(2),
        ..RequestQuery::default()
    };
    let numbers = latest.select(
        (1..=5)
            .map(|number| Request { number, ..shown() })
            .collect(),
    );
    assert_eq!(numbers.iter().map(|r| r.number).collect::<Vec<_>>(), [4, 5]);
}
