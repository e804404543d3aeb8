//! From manifests to decisions on requests, without a kernel.

#[path = "l7/rules.rs"]
mod rules;
