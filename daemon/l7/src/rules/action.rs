//! What is done with a request that a route took.

use super::rewrite::Rewrite;

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Action {
    /// Answered by Terrace itself; nothing reaches a backend then.
    pub redirect: Option<Redirect>,
    /// Changes of the head that the backend gets.
    pub rewrite: Option<Rewrite>,
    pub shares: Vec<Share>,
    pub timeouts: Timeouts,
}

/// A part of a rule's requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share {
    /// What the caller calls these backends: a pool of one Service port.
    pub pool: u32,
    pub weight: u32,
}

/// 0 = none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timeouts {
    /// From the whole head to the first byte of the answer.
    pub request_ms: u32,
    /// From the hand-over to a backend to the first byte of the answer.
    pub backend_ms: u32,
}

/// RequestRedirect. What is `None` is taken from the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Redirect {
    pub status: u16,
    pub scheme: Option<String>,
    pub host: Option<String>,
    pub port: Option<u16>,
    pub path: Option<RedirectPath>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RedirectPath {
    Full(String),
    Prefix(String),
}

impl Action {
    /// The pool that a request goes to, for an evenly spread `random`. `None`
    /// when no pool has a weight.
    pub fn pool(&self, random: u32) -> Option<u32> {
        let total: u64 = self
            .shares
            .iter()
            .map(|share| u64::from(share.weight))
            .sum();
        let mut point = (u64::from(random) * total) >> 32;
        let mut shares = self.shares.iter();
        shares.find_map(|share| match point.checked_sub(u64::from(share.weight)) {
            Some(left) => {
                point = left;
                None
            }
            None => Some(share.pool),
        })
    }
}
