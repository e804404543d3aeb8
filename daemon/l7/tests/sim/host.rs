//! The host in the middle: the splice model in the place of BPF, and what the
//! engine asks of the world.

use std::collections::HashMap;

use terrace_l7::flow::{
    Backend, Copied, Copies, Decision, Event, FlowId, Forward, Host, MirrorEnd, Offer, Parties,
    Services, Splices, Target, Token,
};
use terrace_l7::http::Request;
use terrace_l7::rules::{HeadWriter, NoRoom, Scratch};
use terrace_l7::splice::{
    Direction, HeadNote, HeadRule, HeadRules, Heads, Progress, ROUTES, Splice, Verdict, scan,
    translate,
};
use terrace_l7::tcp::{Endpoint, Segment, wire};

/// Splices, and packets that go out.
#[derive(Debug, Default)]
pub struct Kernel {
    pub splices: Splices,
    pub out: Vec<(Direction, Vec<u8>)>,
    pub events: Vec<(Parties, Event)>,
    pub notes: HashMap<FlowId, HeadNote>,
    pub rules: HeadRules,
    /// Requests that passed without the engine.
    pub n_passed: usize,
}

/// The sets of the kernel's rules: that of the routes, and a policy's.
pub const ROUTE_SET: u32 = ROUTES | 1;
pub const POLICY_SET: u32 = 2;

/// What the kernel may decide of [`Rules`]: `/a` and `/b` for all methods.
pub fn head_rules() -> HeadRules {
    let mut rules = Vec::new();
    for (_, method) in scan::methods() {
        let rule = |path: &str, value| HeadRule {
            method,
            path: path.as_bytes().to_vec(),
            value,
        };
        rules.push((ROUTE_SET, rule("/a", 100)));
        rules.push((ROUTE_SET, rule("/b", 101)));
        rules.push((POLICY_SET, rule("/", 1)));
        rules.push((POLICY_SET, rule("/x", 0)));
    }
    HeadRules {
        generation: 7,
        secret: 0x1234_5678_9abc_def0,
        rules,
    }
}

impl Kernel {
    pub fn judge(&mut self, id: FlowId, direction: Direction, segment: &Segment<'_>) -> Verdict {
        let (splice, progress) = self.splices.get(id).unwrap();
        let note = self.notes.entry(id).or_default();
        let verdict = splice.judge_noting(direction, segment, progress, note, &self.rules);
        self.n_passed += usize::from(verdict == Verdict::Request);
        verdict
    }

    pub fn pass(&mut self, id: FlowId, direction: Direction, packet: &[u8]) {
        let (splice, progress) = self.splices.get_mut(id).unwrap();
        let segment = wire::parse(packet).unwrap();
        splice.note(direction, &segment, progress);
        let splice = *splice;
        self.translated(direction, &splice, packet);
    }

    fn translated(&mut self, direction: Direction, splice: &Splice, packet: &[u8]) {
        let mut packet = packet.to_vec();
        translate(splice, direction, &mut packet).unwrap();
        wire::parse(&packet).expect("a translated packet is whole");
        self.out.push((direction, packet));
    }
}

impl Host for Kernel {
    fn send(&mut self, direction: Direction, segment: &Segment<'_>) {
        let mut packet = vec![0; wire::MAX_HEADERS + segment.payload.len()];
        let len = wire::write(segment, &mut packet);
        packet.truncate(len);
        self.out.push((direction, packet));
    }

    fn forward(&mut self, direction: Direction, splice: &Splice, packet: &[u8]) {
        self.translated(direction, splice, packet);
    }

    fn splice(&mut self, flow: FlowId, splice: &Splice, progress: Option<&Progress>) {
        if progress.is_some() {
            self.notes.remove(&flow);
        }
        self.splices.put(flow, splice, progress);
    }

    fn unsplice(&mut self, flow: FlowId, _: &Splice) {
        self.splices.remove(flow);
    }

    fn progress(&mut self, flow: FlowId) -> Progress {
        self.splices.progress(flow)
    }

    fn heads(&mut self, flow: FlowId) -> HeadNote {
        self.notes.get(&flow).copied().unwrap_or_default()
    }

    fn secret(&self) -> u64 {
        self.rules.secret
    }

    fn event(&mut self, parties: &Parties, event: Event) {
        self.events.push((*parties, event));
    }
}

/// The server that gets copies only.
pub const MIRROR: usize = 3;

/// Routes by the first letter of the path: `/a...` to pool 0, `/b...` to 1,
/// `/c...` to 2 with a changed head; `/x` is denied, `/e` has no backend,
/// anything else has no route.
#[derive(Debug)]
pub struct Rules {
    pub service: Endpoint,
    pub servers: Vec<Endpoint>,
    pub offer: Offer,
    /// The servers see an address of the host.
    pub snat: Option<Endpoint>,
    pub timeout_ms: u32,
    /// Requests may pass without the engine.
    pub in_kernel: bool,
    /// What the last server gets copies from; the port is the next one's.
    pub mirror: Option<Endpoint>,
    /// What became of the copies.
    pub ends: Vec<MirrorEnd>,
}

impl Services for Rules {
    fn offer(&self, service: Endpoint) -> Option<Offer> {
        (service == self.service).then_some(self.offer)
    }

    fn decide(
        &mut self,
        parties: &Parties,
        request: &Request<'_, '_>,
        _: Option<&Backend>,
        _: &mut Scratch,
    ) -> Decision {
        let copies = self.copies();
        let forward = |pool: usize, rewrite| match self.backend(pool, parties) {
            Some(backend) => Decision::Forward(Forward {
                backend,
                rewrite,
                tunnel: true,
                timeout_ms: self.timeout_ms,
                heads: match (self.in_kernel && self.mirror.is_none(), pool) {
                    (true, 0 | 1) => Heads {
                        generation: 7,
                        sets: [(ROUTE_SET, 100 + pool as u32), (POLICY_SET, 1), (0, 0)],
                    },
                    _ => Heads::default(),
                },
                copies,
            }),
            None => Decision::Answer(503),
        };
        match request.target.path.as_bytes().get(1) {
            Some(b'a') => forward(0, None),
            Some(b'b') => forward(1, None),
            Some(b'c') => {
                let token = Token {
                    action: 0,
                    prefix_len: 0,
                };
                forward(2, Some(token))
            }
            Some(b'e') => forward(9, None),
            Some(b'x') => Decision::Answer(403),
            _ => Decision::Answer(404),
        }
    }

    fn mirrored(&mut self, _: u32, end: MirrorEnd) {
        self.ends.push(end);
    }

    fn write(
        &self,
        _: Token,
        request: &Request<'_, '_>,
        out: &mut HeadWriter<'_>,
    ) -> Result<(), NoRoom> {
        let rewrite = terrace_l7::rules::Rewrite {
            host: Some("changed".to_owned()),
            ..Default::default()
        };
        rewrite.write(request, 0, out)
    }
}

impl Rules {
    /// To the server behind those that requests go to.
    fn copies(&mut self) -> Copies {
        let mut copies = Copies::default();
        if let Some(source) = &mut self.mirror {
            source.port += 1;
            let target = Target {
                backend: Backend {
                    server: self.servers[MIRROR],
                    source: *source,
                },
                index: 0,
            };
            copies[0] = Some(Copied {
                route: 0,
                to: Ok(target),
            });
        }
        copies
    }

    fn backend(&self, pool: usize, parties: &Parties) -> Option<Backend> {
        let server = *self.servers.get(pool)?;
        let source = match self.snat {
            Some(address) => Endpoint {
                port: parties.client.port ^ 0x4000,
                ..address
            },
            None => parties.client,
        };
        Some(Backend { server, source })
    }
}
