//! What reading a request head and finding its rule costs, beside httparse
//! alone: `cargo run --release -p terrace-l7 --example head`. Rounds of the
//! three take turns; printed are the fastest round of each and the median of
//! the ratios inside a round.
#![allow(clippy::unwrap_used, reason = "a measurement")]

use std::hint::black_box;
use std::mem::MaybeUninit;
use std::time::Instant;

use terrace_l7::http::{Limits, Request, Storage, parse_request, storage};
use terrace_l7::rules::{HttpRule, Match, PathMatch, Policy, Route, RouteRule, Router, Scratch};

const HEAD: &str = "GET /api/v1/carts/8a1c66f0/items?limit=20&offset=40 HTTP/1.1\r\n\
    Host: cart.shop.svc.cluster.local\r\n\
    User-Agent: okhttp/4.12.0\r\n\
    Accept: application/json\r\n\
    Accept-Encoding: gzip, deflate\r\n\
    X-Request-Id: 6f1d2c9e-55c1-4e0e-9d3f-0a6f6f4d8b11\r\n\
    Authorization: Bearer abcdef0123456789abcdef0123456789\r\n\
    X-Forwarded-For: 10.0.0.17\r\n\
    Connection: keep-alive\r\n\r\n";

const ROUNDS: usize = 101;
const RUNS: u32 = 20_000;

fn policy(n: usize) -> Policy {
    let rules: Vec<HttpRule> = (0..n)
        .map(|i| HttpRule {
            method: Some("GET|POST".to_owned()),
            path: Some(match i {
                0 => "/api/v1/carts/.*".to_owned(),
                i => format!("/api/v1/other{i}/.*"),
            }),
            id: i as u32,
            ..HttpRule::default()
        })
        .collect();
    Policy::compile(&rules).unwrap()
}

fn router(n: usize) -> Router {
    let rules = (0..n).map(|i| RouteRule {
        matches: vec![Match {
            path: Some(match i {
                0 => PathMatch::Prefix("/api/v1/carts".to_owned()),
                i if i % 2 == 0 => PathMatch::Exact(format!("/api/v1/exact{i}")),
                i => PathMatch::Prefix(format!("/api/v1/prefix{i}")),
            }),
            ..Match::default()
        }],
        action: i as u32,
    });
    let route = Route {
        name: "shop/cart".to_owned(),
        hostnames: vec!["cart.shop.svc.cluster.local".to_owned()],
        rules: rules.collect(),
        ..Route::default()
    };
    Router::compile(&[route]).unwrap()
}

/// Nanoseconds a run.
fn timed(mut run: impl FnMut()) -> f64 {
    let start = Instant::now();
    for _ in 0..RUNS {
        run();
    }
    start.elapsed().as_nanos() as f64 / f64::from(RUNS)
}

fn httparse_alone(bytes: &[u8]) {
    let mut fields = [const { MaybeUninit::uninit() }; 64];
    let mut request = httparse::Request::new(&mut []);
    let parsed = request.parse_with_uninit_headers(black_box(bytes), &mut fields);
    black_box(parsed.unwrap().is_complete());
}

fn parsed(
    bytes: &[u8],
    storage: &mut Storage,
    limits: &Limits,
    mut then: impl FnMut(&Request<'_, '_>),
) {
    let request = parse_request(black_box(bytes), storage, limits);
    then(&request.unwrap().unwrap());
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn main() {
    let bytes = HEAD.as_bytes();
    let (limits, mut storage) = (Limits::default(), storage());
    println!(
        "head of {} bytes, 8 fields, fastest of {ROUNDS} rounds",
        bytes.len()
    );
    for n in [1, 10, 1_000, 100_000] {
        let (policy, router, mut scratch) = (policy(n), router(n), Scratch::default());
        let (mut alone, mut head, mut all) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            alone.push(timed(|| httparse_alone(bytes)));
            head.push(timed(|| {
                parsed(bytes, &mut storage, &limits, |request| {
                    black_box(request.len);
                })
            }));
            all.push(timed(|| {
                parsed(bytes, &mut storage, &limits, |request| {
                    black_box(policy.allows(request, &mut scratch).unwrap());
                    black_box(router.route(request, &mut scratch).unwrap());
                })
            }));
        }
        let least = |times: &[f64]| times.iter().copied().fold(f64::MAX, f64::min);
        let ratio = |times: &[f64]| median(times.iter().zip(&alone).map(|(t, a)| t / a).collect());
        println!(
            "{n:6} rules: httparse {:4.0} ns, checked head {:4.0} ns ({:.2}), with policy and route {:4.0} ns ({:.2})",
            least(&alone),
            least(&head),
            ratio(&head),
            least(&all),
            ratio(&all)
        );
    }
}
