//! The host in the middle: the splice model in the place of BPF, and what the
//! engine asks of the world.

use terrace_l7::flow::{
    Backend, Decision, Event, FlowId, Forward, Host, Offer, Parties, Services, Splices, Token,
};
use terrace_l7::http::Request;
use terrace_l7::rules::{HeadWriter, NoRoom, Scratch};
use terrace_l7::splice::{Direction, Progress, Splice, translate};
use terrace_l7::tcp::{Endpoint, Segment, wire};

/// Splices, and packets that go out.
#[derive(Debug, Default)]
pub struct Kernel {
    pub splices: Splices,
    pub out: Vec<(Direction, Vec<u8>)>,
    pub events: Vec<(Parties, Event)>,
}

impl Kernel {
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
        self.splices.put(flow, splice, progress);
    }

    fn unsplice(&mut self, flow: FlowId, _: &Splice) {
        self.splices.remove(flow);
    }

    fn progress(&mut self, flow: FlowId) -> Progress {
        self.splices.progress(flow)
    }

    fn event(&mut self, parties: &Parties, event: Event) {
        self.events.push((*parties, event));
    }
}

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
        let forward = |pool: usize, rewrite| match self.backend(pool, parties) {
            Some(backend) => Decision::Forward(Forward {
                backend,
                rewrite,
                tunnel: true,
                timeout_ms: self.timeout_ms,
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
