//! Tests of the crate through its public face.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

#[path = "l7/corpus.rs"]
mod corpus;
#[path = "l7/responses.rs"]
mod responses;
