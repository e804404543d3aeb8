//! Health checks: a TCP connection or an HTTP GET to each backend.
//!
//! `thresholds` decides from answers (pure), `probe` asks, `checker` keeps one
//! task per check, `known` what came of them (pure).

mod checker;
mod known;
mod probe;
mod thresholds;

pub use checker::{Checker, Target, Verdict};
pub use known::{Known, Unhealthy};
pub use probe::{Probe, ask};
pub use thresholds::Thresholds;
