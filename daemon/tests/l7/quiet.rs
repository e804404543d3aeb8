//! What a worker does a request, but for the engine's part (`terrace-l7`'s own
//! test): it decides, writes changed heads and tells, without the allocator.

use std::sync::Arc;

use stats_alloc::Region;
use terrace::l7::requests::{RequestLog, Told};
use terrace::l7::rules::{Outcome, Rules};
use terrace_l7::flow::Parties;
use terrace_l7::http::{Limits, parse_request, storage};
use terrace_l7::rules::{HeadWriter, Scratch};

use crate::ALLOCATOR;
use crate::rules::{CLIENT, MESH, PLAIN, SHOP, asked, get, rules};

const ASKED: [(&str, &str); 7] = [
    (SHOP, "/v2/x"),
    (SHOP, "/dead"),
    (SHOP, "/old"),
    (SHOP, "/changed/x"),
    (SHOP, "/nowhere"),
    (PLAIN, "/public/x"),
    (PLAIN, "/private"),
];

fn round(rules: &Rules, heads: &[(&str, String)], log: &mut RequestLog, scratch: &mut Scratch) {
    for (service, head) in heads {
        let asked = asked(CLIENT, service);
        let mut storage = storage();
        let request = parse_request(head.as_bytes(), &mut storage, &Limits::default());
        let request = request.expect("a head").expect("a whole head");
        let parties = Parties {
            flow: 1,
            client: asked.client,
            service: asked.service,
        };
        let ruling = rules.decide(&asked, &request, scratch);
        log.asked(10, &parties, &request, &ruling);
        if let Outcome::Redirect(token)
        | Outcome::Forward {
            rewrite: Some(token),
            ..
        } = ruling.outcome
        {
            let mut room = [0; 512];
            let written = rules.write(token, &request, &mut HeadWriter::new(&mut room));
            assert!(written.is_ok());
        }
        log.answered(20, 1, 200);
    }
}

#[test]
fn deciding_and_telling_take_no_memory() {
    let rules = rules(MESH);
    let heads = ASKED.map(|(service, path)| (service, get(path)));
    let mut log = RequestLog::new(0, 8, 8, Arc::new(Told::default()));
    let mut scratch = Scratch::default();
    for _ in 0..20 {
        round(&rules, &heads, &mut log, &mut scratch);
    }
    // Other tests of this binary take some meanwhile: one quiet moment shows
    // that these do not.
    let is_quiet = (0..2_000).any(|_| {
        let region = Region::new(ALLOCATOR);
        for _ in 0..50 {
            round(&rules, &heads, &mut log, &mut scratch);
        }
        let taken = region.change();
        (taken.allocations, taken.reallocations) == (0, 0)
    });
    assert!(is_quiet, "each round takes memory");
}
