//! What the engine asks of the world of services, answered from the rules that
//! are in use.

use std::cell::RefCell;
use std::collections::HashSet;
use std::rc::Rc;
use std::sync::Arc;

use rustc_hash::FxBuildHasher;
use terrace_abi::consts::{ENDPOINT_HOST, ENDPOINT_WORKLOAD};
use terrace_l7::flow::{
    Backend, Copied, Copies, Decision, Event, FlowId, MirrorEnd, Offer, Parties, Reset, Services,
    Target, Token,
};
use terrace_l7::http::{Fault, Request};
use terrace_l7::rules::{HeadWriter, NoRoom, Scratch};
use terrace_l7::tcp::Endpoint;

use super::clock::now_us;
use super::host::{Choices, Chosen, Listener};
use super::requests::{RequestLog, Told};
use super::rules::{Asked, Mirrored, Note, Outcome, Published, Reader, Ruling, Server, Verdict};
use super::sources::{Ports, Sources};
use super::worker::{Judge, Maker};

/// Services that have a backend without timestamps, as far as is remembered.
const MAX_PLAIN: usize = 1_024;
/// What the engine's buffers hold: backends' first windows are larger.
const WINDOW: u16 = 15_360;
const SCALE: u8 = 7;
const V4_HEADERS: u16 = 40;
const V6_HEADERS: u16 = 60;

/// What all workers of a tier have in common.
#[derive(Debug, Clone)]
pub struct Common {
    pub published: Arc<Published>,
    /// Of the port.
    pub mtu: u16,
    /// Addresses of the host that remote backends answer to.
    pub sources: Arc<Sources>,
}

/// Makes a worker's view of the services.
#[derive(Debug)]
pub struct ServicesMaker {
    pub common: Common,
    pub ports: Ports,
    pub queue: u16,
    /// Where it tells of requests.
    pub told: Arc<Told>,
}

/// Requests under way that a worker can tell of.
const UNDER_WAY: u32 = 8_192;

type Log = Rc<RefCell<RequestLog>>;
type Plain = Rc<RefCell<HashSet<Endpoint, FxBuildHasher>>>;

pub struct LiveServices {
    common: Common,
    reader: Reader,
    choices: Choices,
    ports: Ports,
    plain: Plain,
    log: Log,
    random: u32,
}

/// Learns from what happened to flows, and tells of requests.
pub struct Ear {
    plain: Plain,
    log: Log,
}

impl Maker for ServicesMaker {
    type Judge = LiveServices;
    type Listener = Ear;

    fn make(&mut self, choices: &Choices) -> (LiveServices, Ear) {
        let plain = HashSet::with_capacity_and_hasher(2 * MAX_PLAIN, FxBuildHasher);
        let plain = Rc::new(RefCell::new(plain));
        let n_flows = choices.len() as u32;
        let log = RequestLog::new(self.queue, n_flows, UNDER_WAY, self.told.clone());
        let log = Rc::new(RefCell::new(log));
        let services = LiveServices {
            common: self.common.clone(),
            reader: Reader::new(self.common.published.clone()),
            choices: choices.clone(),
            ports: self.ports.clone(),
            plain: plain.clone(),
            log: log.clone(),
            random: 0x9e37_79b9,
        };
        (services, Ear { plain, log })
    }
}

impl Judge for LiveServices {
    fn refresh(&mut self) {
        self.reader.refresh();
    }
}

impl Listener for Ear {
    fn event(&mut self, parties: &Parties, event: Event) {
        match event {
            // On its way to a backend.
            Event::Request { status: 0 } => {}
            Event::Request { status } | Event::Answer { status, .. } => {
                self.log
                    .borrow_mut()
                    .answered(now_us(), parties.flow, status);
            }
            Event::Passed { requests } => {
                self.log.borrow_mut().passed(now_us(), parties, requests);
            }
            Event::Closed => self.log.borrow_mut().ended(now_us(), parties.flow),
            Event::NoPort | Event::Reset(_) => {}
        }
        if event == Event::Reset(Reset::BackendOptions) {
            let mut plain = self.plain.borrow_mut();
            if plain.len() < MAX_PLAIN {
                plain.insert(parties.service);
            }
        }
    }
}

impl LiveServices {
    /// Evenly spread enough for weights (xorshift).
    fn random(&mut self) -> u32 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 17;
        self.random ^= self.random << 5;
        self.random
    }

    /// The connections of copies: each has a port of ours, whoever it comes from.
    fn copies(&self, client: &Endpoint, (route, servers): &Mirrored) -> Copies {
        let target = |server: Server| {
            let ip = match self.keeps_client(client, &server) && client.ip != server.endpoint.ip {
                true => client.ip,
                false => {
                    let own = self.common.sources.towards(&server.endpoint);
                    own.ok_or(MirrorEnd::NoBackend)?
                }
            };
            let port = self.ports.next();
            Ok(Target {
                backend: Backend {
                    server: server.endpoint,
                    source: Endpoint { ip, port },
                },
                index: server.backend,
            })
        };
        servers.map(|to| {
            let to = to?.and_then(target);
            Some(Copied { route: *route, to })
        })
    }

    /// The way back leads over this host anyway.
    fn keeps_client(&self, client: &Endpoint, server: &Server) -> bool {
        let flags = self.reader.rules().policy().party(&client.ip).flags;
        server.local || flags & (ENDPOINT_WORKLOAD | ENDPOINT_HOST) != 0
    }

    /// What a server sees as its client: the client itself where the way back
    /// leads over this host anyway, else an address and port of ours.
    fn source(
        &self,
        parties: &Parties,
        server: &Server,
        bound: Option<&Backend>,
    ) -> Option<Endpoint> {
        if let Some(bound) = bound.filter(|bound| bound.server == server.endpoint) {
            return Some(bound.source);
        }
        if self.keeps_client(&parties.client, server) {
            return Some(parties.client);
        }
        let ip = self.common.sources.towards(&server.endpoint)?;
        let port = self.ports.next();
        Some(Endpoint { ip, port })
    }
}

impl Services for LiveServices {
    fn offer(&self, service: Endpoint) -> Option<Offer> {
        if !self.reader.rules().is_known(service) {
            return None;
        }
        let headers = match service.is_v4() {
            true => V4_HEADERS,
            false => V6_HEADERS,
        };
        Some(Offer {
            mss: self.common.mtu.saturating_sub(headers),
            window: WINDOW,
            scale: SCALE,
            sack: true,
            timestamps: !self.plain.borrow().contains(&service),
        })
    }

    fn decide(
        &mut self,
        parties: &Parties,
        request: &Request<'_, '_>,
        bound: Option<&Backend>,
        scratch: &mut Scratch,
    ) -> Decision {
        let asked = Asked {
            client: parties.client,
            service: parties.service,
            bound: bound.map(|bound| bound.server),
            random: self.random(),
        };
        let ruling = self.reader.rules().decide(&asked, request, scratch);
        let log = &mut *self.log.borrow_mut();
        log.asked(now_us(), parties, request, &ruling);
        let Ruling {
            outcome,
            note,
            mirrors,
        } = ruling;
        if let Outcome::Forward { server, .. } = &outcome {
            self.choices[parties.flow as usize].set(Chosen {
                service: note.service,
                backend: server.backend,
            });
        }
        let copies = self.copies(&parties.client, &mirrors);
        outcome.decision(copies, |server| self.source(parties, server, bound))
    }

    /// The address stays; it is the client's, or one of ours.
    fn another_source(&mut self, taken: Endpoint) -> Option<Endpoint> {
        let port = self.ports.next();
        Some(Endpoint { port, ..taken })
    }

    fn mirror_opens(&mut self, flow: FlowId, target: &Target) {
        self.choices[flow as usize].set(Chosen {
            service: 0,
            backend: target.index,
        });
    }

    fn mirrored(&mut self, route: u32, end: MirrorEnd) {
        self.log.borrow_mut().mirrored(route, end);
    }

    fn malformed(&mut self, parties: &Parties, _: Fault) {
        let rules = self.reader.rules();
        let frontend = rules.frontend(parties.service);
        let note = Note {
            service: frontend.map_or(0, |frontend| frontend.index),
            owners: [frontend.map_or(0, |frontend| frontend.owner), 0],
            client: rules.policy().party(&parties.client.ip).identity,
            verdict: Verdict::Malformed,
            ..Note::default()
        };
        self.log.borrow_mut().malformed(now_us(), parties, &note);
    }

    fn write(
        &self,
        token: Token,
        request: &Request<'_, '_>,
        out: &mut HeadWriter<'_>,
    ) -> Result<(), NoRoom> {
        self.reader.rules().write(token, request, out)
    }
}
