//! Segments of both sides in any order, from the bytes of the fuzzer.
#![no_main]

#[path = "../src/driver.rs"]
mod driver;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    driver::segments(data);
});
