//! `terrace requests`.

use std::time::Duration;

use super::args::{Global, RequestArgs};
use super::daemon;
use super::exit::{Code, Failure};
use super::output::{Output, write_while_read};
use crate::api::{RequestQuery, Requests};
use crate::client::query_of;
use crate::render;

/// Between two looks of a follower.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

pub(super) fn requests(
    global: &Global,
    args: &RequestArgs,
    output: &Output,
) -> Result<Code, Failure> {
    let query = RequestQuery {
        after: None,
        service: args.service.clone(),
        status: args.status.clone(),
        verdict: args.verdict.map(Into::into),
        limit: (args.limit > 0).then_some(args.limit),
    };
    query
        .check()
        .map_err(|what| Failure::usage(what, "see `terrace requests --help`"))?;
    match args.follow {
        true => follow(global, query, output),
        false => output.print(&ask(global, &query)?, render::requests),
    }
}

fn ask(global: &Global, query: &RequestQuery) -> Result<Requests, Failure> {
    daemon::get(global, &format!("/v1/requests?{}", query_of(query)))
}

/// From now on, until a signal or a reader that has gone ends it.
fn follow(global: &Global, mut query: RequestQuery, output: &Output) -> Result<Code, Failure> {
    let mut seen = ask(global, &query)?.last;
    query.limit = None;
    loop {
        query.after = Some(seen);
        let answer = ask(global, &query)?;
        // A new daemon counts from 1 again.
        seen = answer.last;
        for request in &answer.requests {
            let text = match output.is_json() {
                true => serde_json::to_string(request)
                    .map_err(|error| Failure::new(Code::Failure, error.to_string(), ""))?,
                false => render::request(request, &output.style),
            };
            if !write_while_read(&text)? {
                return Ok(Code::Ok);
            }
        }
        std::thread::sleep(LOOK_AGAIN);
    }
}
