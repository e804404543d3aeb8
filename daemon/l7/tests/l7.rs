//! Tests of the crate through its public face.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

#[path = "l7/corpus.rs"]
mod corpus;
#[path = "l7/policy.rs"]
mod policy;
#[path = "l7/responses.rs"]
mod responses;
#[path = "l7/rewrite.rs"]
mod rewrite;
#[path = "l7/router.rs"]
mod router;
