//! Rules on requests, compiled once per change: who may ask what
//! ([`Policy`], from CiliumNetworkPolicy), and where a request goes
//! ([`Router`], from Gateway API HTTPRoute).
//!
//! Matching allocates nothing once [`Scratch`] is warm. Its cost does not grow
//! with the number of rules on hosts, methods, exact and prefix paths: those
//! are looked up. All regular expressions of one kind are one automaton.

mod action;
mod heads;
mod language;
mod paths;
mod patterns;
mod policy;
mod rewrite;
mod router;
mod values;

pub use action::{Action, Redirect, RedirectPath, Share, Timeouts};
pub use paths::{PathIndex, PathKind};
pub use patterns::{MAX_PATTERN_BYTES, Scratch};
pub use policy::{HttpRule, Policy};
pub use rewrite::{FieldChanges, HeadWriter, NoRoom, PathChange, Rewrite};
pub use router::{Match, PathMatch, Route, RouteRule, Routed, Router};
pub use values::{Value, ValueRule};

/// Why rules can't be compiled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    #[error("{pattern:?} is not a regular expression: {why}")]
    Pattern { pattern: String, why: String },
    #[error("the regular expressions of one service are too large together: {why}")]
    Patterns { why: String },
}
