//! The fuzz targets' driver on random bytes: what a fuzzer runs for hours, for
//! a moment.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

#[path = "../../../ci/fuzz/src/driver.rs"]
mod driver;
#[path = "sim/random.rs"]
mod random;

use random::Random;

#[test]
fn segments_in_any_order_bring_no_denied_byte_to_a_server() {
    let mut n_requests = 0;
    for seed in 0..200_000 {
        let mut random = Random(seed);
        let n = 5 * (4 + random.below(40));
        let data: Vec<u8> = (0..n).map(|_| random.next() as u8).collect();
        n_requests += driver::segments(&data);
    }
    assert!(
        n_requests > 1_000,
        "only {n_requests} requests came through"
    );
}

#[test]
fn heads_and_chunks_are_read_alike_by_another_parser_and_in_pieces() {
    const WORDS: [&[u8]; 12] = [
        b"GET ",
        b"/a",
        b" HTTP/1.1\r\n",
        b"Host: h\r\n",
        b"\r\n",
        b"X: y\r\n",
        b"5\r\nhello\r\n",
        b"0\r\n\r\n",
        b"a;b\r\n",
        b"\n",
        b" ",
        b"Content-Length: 1\r\n",
    ];
    for seed in 0..100_000 {
        let mut random = Random(seed);
        let mut data = Vec::new();
        for _ in 0..random.below(8) {
            data.extend(random.pick(&WORDS));
        }
        if random.per_mille(300) && !data.is_empty() {
            let at = random.below(data.len() as u64) as usize;
            data[at] = random.next() as u8;
        }
        driver::heads(&data);
    }
}
