//! Tests of the crate through its public face.

#[path = "l7/corpus.rs"]
mod corpus;
#[path = "l7/responses.rs"]
mod responses;
