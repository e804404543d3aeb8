//! The checks.

mod closing;
mod reading;
mod writing;

use super::lab::{Lab, Outcome};

/// One check.
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) run: fn(&Lab) -> Outcome,
}

/// All of them, in their order.
pub(super) const ALL: [Case; 24] = [
    case("bytes-4", writing::bytes4),
    case("bytes-6", writing::bytes6),
    case("partial-writes", writing::partial_writes),
    case("slow-reader", writing::slow_reader),
    case("sendfile", writing::sendfile),
    case("splice-out", writing::splice_out),
    case("zerocopy", writing::zerocopy),
    case("out-of-band", writing::out_of_band),
    case("pending-bytes", reading::pending_bytes),
    case("pending-mixed", reading::pending_mixed),
    case("peek", reading::peek),
    case("poll", reading::poll),
    case("splice-first", reading::splice_first),
    case("splice-later", reading::splice_later),
    case("waitall-first", reading::waitall_first),
    case("waitall-later", reading::waitall_later),
    case("shutdown-client", closing::shutdown_client),
    case("shutdown-server", closing::shutdown_server),
    case("shutdown-read", closing::shutdown_read),
    case("reset", closing::reset),
    case("close-unread", closing::close_unread),
    case("mptcp", closing::mptcp),
    case("ktls", closing::ktls),
    case("short-connections", closing::short_connections),
];

const fn case(name: &'static str, run: fn(&Lab) -> Outcome) -> Case {
    Case { name, run }
}

/// Their names.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    ALL.iter().map(|case| case.name)
}
