//! Which mirrors get a copy of a request: held against the same policy as a
//! request to that server would be.

use terrace_l7::flow::{MAX_MIRRORS, MirrorEnd};
use terrace_l7::http::Request;
use terrace_l7::rules::Scratch;

use super::{Asked, Mirrored, RouteAction, Rules, Server};

impl Rules {
    pub(super) fn mirrored(
        &self,
        asked: &Asked,
        request: &Request<'_, '_>,
        rule: &RouteAction,
        scratch: &mut Scratch,
    ) -> Mirrored {
        let mut mirrored = (rule.number, [None; MAX_MIRRORS]);
        let mut random = asked.random;
        for (mirror, to) in rule.mirrors.iter().zip(&mut mirrored.1) {
            // Mirrors choose independently of each other and of the backend.
            random = random.wrapping_mul(0x9e37_79b1).rotate_left(13);
            if mirror.takes(random) {
                let server = self.mirror_server(asked, request, mirror.pool, scratch);
                *to = Some(server);
            }
        }
        mirrored
    }

    fn mirror_server(
        &self,
        asked: &Asked,
        request: &Request<'_, '_>,
        pool: u32,
        scratch: &mut Scratch,
    ) -> Result<Server, MirrorEnd> {
        let asked = Asked {
            bound: None,
            ..*asked
        };
        let pool = self.pools.get(&pool).ok_or(MirrorEnd::NoBackend)?;
        let server = pool.choose(&asked).ok_or(MirrorEnd::NoBackend)?;
        let client = self.policy.party(&asked.client.ip);
        let party = self.policy.party(&server.endpoint.ip);
        for judgement in self.policy.judge(client, party, server.endpoint.port) {
            let Some(number) = judgement.map_err(|_| MirrorEnd::Denied)? else {
                continue;
            };
            let set = self.sets.get(&number).ok_or(MirrorEnd::Denied)?;
            set.allows(request, false, scratch)
                .ok_or(MirrorEnd::Denied)?;
        }
        Ok(server)
    }
}
