//! From manifests to decisions on requests, and what is told of these, without
//! a kernel.

use std::alloc::System;

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

/// Counts what all threads take.
#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

#[path = "l7/quiet.rs"]
mod quiet;
#[path = "l7/requests.rs"]
mod requests;
#[path = "l7/rules.rs"]
mod rules;
