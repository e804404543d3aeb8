//! What people see. The expected texts are in tests/cli/expected; with
//! TERRACE_BLESS=1 in the environment they are written anew, to be read.
#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "cli/answers.rs"]
mod answers;

use std::path::Path;

use terrace::api::{FlowQuery, Flows, Reload};
use terrace::render::{self, Style};

const PLAIN: Style = Style {
    color: false,
    width: None,
};
const NARROW: Style = Style {
    color: false,
    width: Some(100),
};

fn check(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/cli/expected")
        .join(name);
    if std::env::var_os("TERRACE_BLESS").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        text == expected,
        "{name}: expected\n{expected}\nfound\n{text}"
    );
}

fn texts(style: &Style) -> Vec<(&'static str, String)> {
    let flows = Flows::select(answers::all_flows(), &FlowQuery::default());
    let reload = Reload {
        revision: 4,
        changes: 1,
        took_ms: 12,
    };
    vec![
        ("status", render::status(&answers::status(), style)),
        ("plan", render::plan(&answers::plan(), style)),
        ("services", render::services(&answers::services(), style)),
        ("policy", render::policies(&answers::policies(), style)),
        (
            "identities",
            render::identities(&answers::identities(), style),
        ),
        ("flows", render::flows(&flows, style)),
        ("reasons", render::reasons(&answers::reasons(), style)),
        (
            "reasons-all",
            render::reasons_with_zero(&answers::reasons(), style),
        ),
        (
            "reasons-since",
            render::reasons_since(&answers::reasons(), 5, style),
        ),
        ("explain", render::explain(&answers::explanation(), style)),
        ("reload", render::reload(&reload, style)),
    ]
}

#[test]
fn every_answer_reads_as_expected() {
    for (name, text) in texts(&PLAIN) {
        check(&format!("{name}.txt"), &text);
    }
}

#[test]
fn no_line_is_wider_than_a_terminal_of_100_columns() {
    for (name, text) in texts(&NARROW) {
        for line in text.lines() {
            assert!(line.chars().count() <= 100, "{name}: {line}");
        }
    }
    check("flows-100.txt", &render::flows(&select(|_| {}), &NARROW));
}

#[test]
fn colour_changes_no_character() {
    let painted = Style {
        color: true,
        width: None,
    };
    for ((name, plain), (_, painted)) in texts(&PLAIN).into_iter().zip(texts(&painted)) {
        assert_eq!(without_colour(&painted), plain, "{name}");
        assert!(
            name == "reload" || painted.contains('\x1b'),
            "{name} has no colour"
        );
    }
}

fn without_colour(text: &str) -> String {
    let mut parts = text.split("\x1b[");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |all, part| {
        all + part.split_once('m').map_or("", |(_, rest)| rest)
    })
}

#[test]
fn an_empty_answer_says_so() {
    let rows = [
        (render::services(&[], &PLAIN), "no services\n"),
        (
            render::policies(&[], &PLAIN),
            "no policies: everything is allowed\n",
        ),
        (render::identities(&[], &PLAIN), "no identities\n"),
        (render::flows(&Flows::default(), &PLAIN), "no flows\n"),
        (render::reasons(&[], &PLAIN), "no packet was counted\n"),
        (render::explain(&Default::default(), &PLAIN), "no packets\n"),
        (
            render::plan(&Default::default(), &PLAIN),
            "nothing to place: no interface of this host is configured\n",
        ),
    ];
    for (text, expected) in rows {
        assert_eq!(text, expected);
    }
}

fn select(change: impl Fn(&mut FlowQuery)) -> Flows {
    let mut query = FlowQuery::default();
    change(&mut query);
    Flows::select(answers::all_flows(), &query)
}

#[test]
fn filters_of_flows_find_what_they_name() {
    let set = |field: fn(&mut FlowQuery) -> &mut Option<String>, value: &str| {
        let value = value.to_owned();
        move |query: &mut FlowQuery| *field(query) = Some(value.clone())
    };
    let service = |value| set(|q| &mut q.service, value);
    let backend = |value| set(|q| &mut q.backend, value);
    let from = |value| set(|q| &mut q.from, value);
    let to = |value| set(|q| &mut q.to, value);
    let rows = [
        ("service by name", service("web"), 2),
        ("service by namespace", service("default/web"), 2),
        ("service by port", service("default/web:http"), 2),
        ("other port", service("default/web:https"), 0),
        ("other namespace", service("shop/web"), 0),
        ("backend", backend("192.0.2.77"), 2),
        ("backend with port", backend("192.0.2.77:8080"), 2),
        ("backend with other port", backend("192.0.2.77:80"), 0),
        ("from client", from("203.0.113.9"), 1),
        ("from a prefix", from("203.0.113.0/24"), 1),
        ("from a prefix of v6", from("2001:db8::/32"), 1),
        ("from as translated", from("192.0.2.10:10007"), 1),
        ("to the service", to("10.96.0.10:80"), 1),
        ("to the backend", to("192.0.2.77"), 1),
        ("to nobody", to("198.51.100.1"), 0),
    ];
    for (name, change, matched) in rows {
        assert_eq!(select(change).matched, matched, "{name}");
    }
}

#[test]
fn a_limit_hides_flows_but_counts_them() {
    let flows = select(|query| query.limit = Some(1));
    assert_eq!((flows.total, flows.matched, flows.flows.len()), (3, 3, 1));
    let text = render::flows(&flows, &PLAIN);
    assert!(
        text.ends_with("1 of 3 shown, 3 flows in the table; --limit 0 shows all\n"),
        "{text}"
    );
}
