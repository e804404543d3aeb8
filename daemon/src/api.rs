//! What the control socket says: HTTP and JSON on a unix socket, under `/v1`.
//!
//! | request | answer |
//! |---|---|
//! | `GET /v1/status` | [`Status`] |
//! | `GET /v1/plan` | [`Plan`] |
//! | `GET /v1/services` | `Vec<`[`Service`]`>` |
//! | `GET /v1/policy` | `Vec<`[`Policy`]`>` |
//! | `GET /v1/identities` | `Vec<`[`Identity`]`>` |
//! | `GET /v1/flows?`[`FlowQuery`] | [`Flows`] |
//! | `GET /v1/requests?`[`RequestQuery`] | [`Requests`] |
//! | `GET /v1/reasons` | `Vec<`[`ReasonCount`]`>` |
//! | `GET /v1/shortcut` | [`Shortcut`] |
//! | `GET /v1/sockets` | [`Sockets`] |
//! | `GET /v1/version` | [`Version`] |
//! | `POST /v1/explain` [`ExplainRequest`] | [`ExplainAnswer`] |
//! | `POST /v1/connect` [`ConnectRequest`] | [`ConnectAnswer`] |
//! | `POST /v1/reload` | [`Reload`] |
//! | `POST /v1/move` [`MoveRequest`] | [`Moved`] |
//! | `POST /v1/shortcut` [`ShortcutSwitch`] | [`Shortcut`] |
//!
//! Any other status code than 200 carries an [`Error`]. Counters are exact
//! totals since the tables were made; `_ms` are milliseconds, `unix_ms` since
//! the epoch; bytes are those of the IP packet with its link header.

mod explain;
mod flows;
mod mesh;
mod moves;
mod requests;
mod shortcut;
mod sockets;
mod status;

pub use explain::{
    ExplainAnswer, ExplainRequest, ExplainedPacket, HeaderChange, Hop, PacketSpec, PolicyHit,
    TupleSpec,
};
pub use flows::{Flow, FlowQuery, Flows, Tuple};
pub use mesh::{
    Backend, Direction, Frontend, Identity, L7Rung, Policy, PolicyRule, RuleVerdict, Service,
    Source, Traffic, short_labels,
};
pub use moves::{MoveRequest, Moved};
pub use requests::{Mirrors, Request, RequestQuery, RequestVerdict, Requests};
pub use shortcut::{Check, Shortcut, ShortcutReason, ShortcutSwitch, Verdict};
pub use sockets::{ConnectAnswer, ConnectRequest, Socket, Sockets};
pub use status::{
    Attachment, Error, Event, FlowTable, Interface, Manifests, NicFront, Phase, ReasonCount,
    Reload, Status, TableUse, Version, Worker, WorkerSocket,
};
pub use terrace_offload::plan::{Change, Reading, Step};
pub use terrace_offload::{Blocker, Placement, Plan, Refusal, Role, Task, Tier, Wish};
