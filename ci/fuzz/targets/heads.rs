//! Heads and chunked bodies from the bytes of the fuzzer.
#![no_main]

#[allow(dead_code, reason = "each target uses its part")]
#[path = "../src/driver.rs"]
mod driver;

libfuzzer_sys::fuzz_target!(|data: &[u8]| driver::heads(data));
