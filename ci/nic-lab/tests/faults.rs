//! The daemon and interfaces that come, go and change under it.

fn main() {}
