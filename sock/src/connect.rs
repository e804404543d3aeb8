//! Service translation at connect(), and the redirect to a proxy.

/// The compiled programs.
pub const OBJECT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/connect.bpf.o"));
