//! The L7 tier, without IO: HTTP/1 parsing, rules, and the flow engine that
//! binds late and splices. Nothing here knows a socket, a clock or BPF.

pub mod flow;
pub mod http;
pub mod rules;
pub mod splice;
pub mod tcp;
