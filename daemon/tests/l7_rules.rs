//! From manifests to decisions on requests, and what is told of these, without
//! a kernel.

#[path = "l7/requests.rs"]
mod requests;
#[path = "l7/rules.rs"]
mod rules;
