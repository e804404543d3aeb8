//! Requests that the L7 tier has seen.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::Tier;
use super::flows::service_matches;
pub use crate::l7::rules::Verdict as RequestVerdict;

/// One request, when it was answered or given up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// Counts up; a follower asks for what comes after it.
    pub number: u64,
    /// When its head was whole.
    pub unix_ms: u64,
    pub client: SocketAddr,
    /// As the client sees it.
    pub destination: SocketAddr,
    /// `namespace/name`, with `:port-name` when it has one; empty = none.
    pub service: String,
    pub method: String,
    /// With the query; cut after 160 bytes.
    pub path: String,
    /// With the port; cut after 64 bytes.
    pub host: String,
    /// 0 = no answer came.
    pub status: u16,
    /// To the head of the answer.
    pub duration_us: u64,
    pub verdict: RequestVerdict,
    /// `namespace/name spec.rules[0]`; empty = no route took it.
    pub route: String,
    /// The policy rule that let it pass or refused it; empty = none was asked.
    pub rule: String,
    /// `address:port`; empty = none.
    pub backend: String,
    pub client_identity: String,
    pub server_identity: String,
    pub tier: Tier,
    /// 0 = one request that a worker saw. Else the line stands for so many of
    /// the same connection that passed in the kernel: their paths, statuses and
    /// durations are not known.
    #[serde(default)]
    pub in_kernel: u32,
    /// Number of the worker.
    pub worker: u16,
}

/// Filters of `requests`; all that are given must hold.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RequestQuery {
    /// Only requests behind this number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<u64>,
    /// `name`, `namespace/name` or `namespace/name:port`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// `404`, or `4xx`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verdict: Option<RequestVerdict>,
    /// The latest so many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Requests {
    /// Number of the latest request, whether it passes the filters or not.
    pub last: u64,
    /// Requests that were counted by their Services' metrics neither: too many
    /// waited for answers.
    pub unrecorded: u64,
    /// Copies of requests, by the rule that mirrors them.
    #[serde(default)]
    pub mirrors: Vec<Mirrors>,
    /// Oldest first.
    pub requests: Vec<Request>,
}

/// What became of the copies of a rule's requests.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Mirrors {
    /// `namespace/name spec.rules[0]`.
    pub route: String,
    /// The mirror has acknowledged the whole request.
    pub mirrored: u64,
    /// Why others were not sent, or not to their end.
    pub mirror_dropped: BTreeMap<String, u64>,
}

impl RequestQuery {
    /// # Errors
    /// A status that can't be one.
    pub fn check(&self) -> Result<(), String> {
        let Some(status) = &self.status else {
            return Ok(());
        };
        let digits = status.strip_suffix("xx").unwrap_or(status);
        let wanted = if digits.len() < status.len() { 1 } else { 3 };
        match digits.len() == wanted && digits.bytes().all(|byte| byte.is_ascii_digit()) {
            true => Ok(()),
            false => Err(format!(
                "status: {status:?} is neither like 404 nor like 4xx"
            )),
        }
    }

    pub fn matches(&self, request: &Request) -> bool {
        let service = self.service.as_deref();
        let status = self.status.as_deref().is_none_or(|wanted| {
            let shown = format!("{:03}", request.status);
            shown.starts_with(wanted.trim_end_matches('x'))
        });
        status
            && service.is_none_or(|wanted| service_matches(wanted, &request.service))
            && self
                .verdict
                .is_none_or(|verdict| verdict == request.verdict)
    }

    /// Those that pass, at most the latest `limit`.
    pub fn select(&self, mut requests: Vec<Request>) -> Vec<Request> {
        requests.retain(|request| self.matches(request));
        let surplus = requests
            .len()
            .saturating_sub(self.limit.unwrap_or(usize::MAX));
        requests.drain(..surplus);
        requests
    }
}
