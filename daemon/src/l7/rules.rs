//! What the workers ask about services and policy: one immutable value, made
//! of the tables that a change leads to and swapped whole. Asking neither
//! locks nor allocates.

mod actions;
mod build;
pub mod heads;
mod mirrors;
mod owners;
mod policy;
mod pools;
mod published;
mod sets;

use std::collections::BTreeSet;
use std::sync::Arc;

use rustc_hash::FxHashMap;
use terrace_abi::consts::ENDPOINT_SERVICE;
use terrace_l7::flow::{Copies, Decision, MAX_MIRRORS, MirrorEnd, Token};
use terrace_l7::http::{Body, Request};
use terrace_l7::rules::{HeadWriter, NoRoom, Router, Scratch};
use terrace_l7::splice::Heads;
use terrace_l7::tcp::Endpoint;

pub use actions::RouteAction;
use heads::{HeadSet, Wanted};
use owners::Owners;
pub use policy::{Denied, Party, PolicyView};
pub use pools::{Pool, Server};
pub use published::{Published, Reader};
pub use sets::RequestSet;

/// A Service port may have so many rules of routes.
const MAX_ACTIONS: usize = 1 << 16;

#[derive(Debug, Default)]
pub struct Rules {
    /// Every TCP frontend.
    frontends: FxHashMap<Endpoint, Frontend>,
    pools: FxHashMap<u32, Pool>,
    ports: Vec<Arc<PortRules>>,
    policy: Arc<PolicyView>,
    sets: FxHashMap<u32, Arc<RequestSet>>,
    owners: Owners,
    /// Of the rules that the programs go by; goes up with every change.
    pub generation: u32,
}

/// An address and port of a Service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frontend {
    /// Index in `services`.
    pub index: u32,
    /// Whose the index is now.
    pub owner: u32,
    pub pool: u32,
    /// Place in `ports`; `None` = no routes.
    routes: Option<u16>,
}

/// The routes of one Service port in one address family.
#[derive(Debug)]
pub struct PortRules {
    source: terrace_mesh::PortRoutes,
    router: Router,
    actions: Vec<RouteAction>,
    heads: HeadSet,
}

/// One request, but for its bytes.
#[derive(Debug, Clone, Copy)]
pub struct Asked {
    pub client: Endpoint,
    /// As the client sees it.
    pub service: Endpoint,
    /// The server that the flow is bound to now.
    pub bound: Option<Endpoint>,
    /// Evenly spread, for weights.
    pub random: u32,
}

/// What becomes of a request. A `Forward` still lacks the source of its
/// connection, which is the worker's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ruling {
    pub outcome: Outcome,
    pub note: Note,
    /// Of a request that is forwarded.
    pub mirrors: Mirrored,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// 403, 404, 500 or 503.
    Answer(u16),
    Redirect(Token),
    Forward {
        server: Server,
        rewrite: Option<Token>,
        tunnel: bool,
        timeout_ms: u32,
        /// What further requests must find to pass without a worker.
        heads: Heads,
    },
}

/// Number of the route's rule, and the servers that get a copy of a request,
/// or why one gets none.
pub type Mirrored = (u32, [Option<Result<Server, MirrorEnd>>; MAX_MIRRORS]);

/// Who and what decided, for people.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Note {
    /// Index in `services`, 0 = none.
    pub service: u32,
    /// Number of the route's rule, 0 = none.
    pub route: u32,
    /// Number of the policy rule, and the place in its `rules.http` in the
    /// lowest 8 bits; 0 = no rule.
    pub rule: u32,
    /// Identities.
    pub client: u32,
    pub server: u32,
    /// Index in `backends`, 0 = none.
    pub backend: u32,
    /// Whose the indexes of service and backend are: an index is given to
    /// another one when its owner is gone.
    pub owners: [u32; 2],
    pub verdict: Verdict,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    #[default]
    Forwarded,
    Redirected,
    Denied,
    NoRoute,
    NoBackend,
    /// Its head is none, or two readers could read it in two ways.
    Malformed,
}

/// What a route, or none, makes of a request.
struct Way<'r> {
    rule: Option<&'r RouteAction>,
    pool: Option<u32>,
    direct: Option<Server>,
    token: Option<Token>,
    timeout_ms: u32,
    /// A tunnel was asked for by name.
    names_tunnels: bool,
    wanted: Wanted,
}

impl Rules {
    /// The frontend at an address and port.
    pub fn frontend(&self, service: Endpoint) -> Option<&Frontend> {
        self.frontends.get(&service)
    }

    /// Whether a SYN to this address and port is to be answered. An address
    /// that is no Service's is a server itself: the client went to it
    /// directly, and policy sent the flow here.
    pub fn is_known(&self, service: Endpoint) -> bool {
        self.frontends.contains_key(&service)
            || self.policy.party(&service.ip).flags & ENDPOINT_SERVICE == 0
    }

    /// No route and no HTTP rule: nothing for a worker to do.
    pub fn is_empty(&self) -> bool {
        self.ports.is_empty() && self.sets.is_empty()
    }

    /// Whether a service's and a backend's index still are who they were.
    pub fn still_own(&self, indexes: [u32; 2], owners: [u32; 2]) -> bool {
        [
            self.owners.service(indexes[0]),
            self.owners.backend(indexes[1]),
        ] == owners
    }

    /// All that the programs match themselves.
    fn head_sets(&self) -> impl Iterator<Item = &HeadSet> {
        let routes = self.ports.iter().map(|port| &port.heads);
        routes.chain(self.sets.values().map(|set| &set.heads))
    }

    /// Whether the programs' table had no room for what they could match of a
    /// pool's routes or of one of these sets of policies.
    pub fn is_out(&self, pool: u32, sets: &BTreeSet<u32>) -> bool {
        let frontends = self.frontends.values();
        let mut routes = frontends
            .filter(|frontend| frontend.pool == pool)
            .filter_map(|frontend| self.ports.get(usize::from(frontend.routes?)));
        let mut sets = sets.iter().filter_map(|number| self.sets.get(number));
        routes.any(|port| port.heads.is_out()) || sets.any(|set| set.heads.is_out())
    }

    pub fn policy(&self) -> &PolicyView {
        &self.policy
    }

    /// The servers that a client of a frontend may be led to.
    pub fn servers(&self, frontend: &Frontend) -> impl Iterator<Item = &Server> {
        let own = self.pools.get(&frontend.pool);
        let port = frontend.routes.map(|port| &self.ports[usize::from(port)]);
        let routed = port.into_iter().flat_map(|port| &port.actions);
        let shares = routed.flat_map(|rule| &rule.action.shares);
        let pools = shares.filter_map(|share| self.pools.get(&share.pool));
        own.into_iter().chain(pools).flat_map(Pool::servers)
    }

    /// Route, pool, server, then policy of both ends.
    pub fn decide(
        &self,
        asked: &Asked,
        request: &Request<'_, '_>,
        scratch: &mut Scratch,
    ) -> Ruling {
        let client = self.policy.party(&asked.client.ip);
        let mut note = Note {
            client: client.identity,
            ..Note::default()
        };
        let mut mirrors = Mirrored::default();
        let outcome = match self.way(asked, request, scratch, &mut note) {
            Ok(way) => {
                let told = (&mut note, &mut mirrors);
                self.judged(asked, request, way, (client, scratch), told)
            }
            Err(outcome) => outcome,
        };
        note.verdict = match outcome {
            Outcome::Answer(404) => Verdict::NoRoute,
            Outcome::Answer(403) => Verdict::Denied,
            Outcome::Answer(_) => Verdict::NoBackend,
            Outcome::Redirect(_) => Verdict::Redirected,
            Outcome::Forward { .. } => Verdict::Forwarded,
        };
        Ruling {
            outcome,
            note,
            mirrors,
        }
    }

    fn way(
        &self,
        asked: &Asked,
        request: &Request<'_, '_>,
        scratch: &mut Scratch,
        note: &mut Note,
    ) -> Result<Way<'_>, Outcome> {
        let mut way = Way {
            rule: None,
            pool: None,
            direct: None,
            token: None,
            timeout_ms: 0,
            names_tunnels: false,
            wanted: Wanted::default(),
        };
        let Some(frontend) = self.frontends.get(&asked.service) else {
            way.direct = Some(Server::direct(asked.service));
            way.names_tunnels = true;
            return Ok(way);
        };
        (note.service, note.owners[0]) = (frontend.index, frontend.owner);
        let Some(port) = frontend.routes else {
            way.pool = Some(frontend.pool);
            way.names_tunnels = true;
            return Ok(way);
        };
        let rules = &self.ports[usize::from(port)];
        let Some(routed) = rules.router.route(request, scratch) else {
            return Err(Outcome::Answer(404));
        };
        let rule = &rules.actions[routed.action as usize];
        note.route = rule.number;
        let token = Token {
            action: u32::from(port) << 16 | routed.action,
            prefix_len: routed.prefix_len as u16,
        };
        if rule.action.redirect.is_some() {
            return Err(Outcome::Redirect(token));
        }
        way.rule = Some(rule);
        way.token = rule.action.rewrite.is_some().then_some(token);
        way.timeout_ms = rule.timeout_ms;
        way.names_tunnels = routed.names_tunnel;
        // Gateway API: 500 for a rule without backends.
        let pool = rule.action.pool(asked.random).ok_or(Outcome::Answer(500))?;
        way.pool = Some(pool);
        way.wanted.add(&rules.heads, pool);
        Ok(way)
    }

    fn judged(
        &self,
        asked: &Asked,
        request: &Request<'_, '_>,
        way: Way<'_>,
        (client, scratch): (Party, &mut Scratch),
        (note, mirrors): (&mut Note, &mut Mirrored),
    ) -> Outcome {
        let chosen = way.pool.and_then(|pool| self.pools.get(&pool));
        let Some(server) = way.direct.or_else(|| chosen?.choose(asked)) else {
            return Outcome::Answer(503);
        };
        let party = self.policy.party(&server.endpoint.ip);
        (note.server, note.backend) = (party.identity, server.backend);
        note.owners[1] = server.owner;
        let wants_tunnel = request.upgrade.is_some() || request.body == Body::Tunnel;
        let (mut tunnel, mut wanted) = (way.names_tunnels, way.wanted);
        for judgement in self.policy.judge(client, party, server.endpoint.port) {
            let number = match judgement {
                Ok(None) => continue,
                Ok(Some(number)) => number,
                Err(Denied { rule }) => {
                    note.rule = rule << 8;
                    return Outcome::Answer(403);
                }
            };
            let allowed = self.sets.get(&number).and_then(|set| {
                wanted.add(&set.heads, 1);
                set.allows(request, wants_tunnel, scratch)
            });
            let Some(rule) = allowed else {
                note.rule = number << 8;
                return Outcome::Answer(403);
            };
            (note.rule, tunnel) = (rule, true);
        }
        if let Some(rule) = way.rule.filter(|_| !wants_tunnel) {
            *mirrors = self.mirrored(asked, request, rule, scratch);
        }
        Outcome::Forward {
            server,
            rewrite: way.token,
            tunnel,
            timeout_ms: way.timeout_ms,
            heads: wanted.heads(self.generation),
        }
    }

    /// The head of a redirect, or the changed head for a server.
    ///
    /// # Errors
    /// It does not fit.
    pub fn write(
        &self,
        token: Token,
        request: &Request<'_, '_>,
        out: &mut HeadWriter<'_>,
    ) -> Result<(), NoRoom> {
        let port = self.ports.get(token.action as usize >> 16);
        let rule = port.and_then(|port| port.actions.get(token.action as usize % MAX_ACTIONS));
        let Some(rule) = rule else {
            return Err(NoRoom);
        };
        let prefix_len = usize::from(token.prefix_len);
        match (&rule.action.redirect, &rule.action.rewrite) {
            (Some(redirect), _) => redirect.write(request, prefix_len, out),
            (None, Some(rewrite)) => rewrite.write(request, prefix_len, out),
            (None, None) => Err(NoRoom),
        }
    }
}

impl Outcome {
    /// What the engine is told; `source` is what a server sees as its client.
    pub fn decision(
        &self,
        copies: Copies,
        source: impl FnOnce(&Server) -> Option<Endpoint>,
    ) -> Decision {
        match self {
            Self::Answer(status) => Decision::Answer(*status),
            Self::Redirect(token) => Decision::Redirect(*token),
            Self::Forward {
                server,
                rewrite,
                tunnel,
                timeout_ms,
                heads,
            } => match source(server) {
                Some(source) => Decision::Forward(terrace_l7::flow::Forward {
                    backend: terrace_l7::flow::Backend {
                        server: server.endpoint,
                        source,
                    },
                    rewrite: *rewrite,
                    tunnel: *tunnel,
                    timeout_ms: *timeout_ms,
                    heads: *heads,
                    copies,
                }),
                None => Decision::Answer(503),
            },
        }
    }
}
