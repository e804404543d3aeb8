//! Which sizes of messages are worth the shortcut: what was measured slower from
//! socket to socket than through the stack is left to the stack.

/// One size, measured by `terrace-bench run shortcut` (README, "What it is worth").
#[derive(Debug, Clone, Copy)]
pub struct Measured {
    /// Of a message and its answer.
    pub bytes: u32,
    /// Latency from socket to socket over that without Terrace: the low end of
    /// the 95 % interval.
    pub low: f64,
}

const fn row(bytes: u32, low: f64) -> Measured {
    Measured { bytes, low }
}

/// The column `on / plain`.
pub const MEASURED: [Measured; 6] = [
    row(64, 0.85),
    row(512, 0.86),
    row(4096, 0.85),
    row(16_384, 0.89),
    row(32_768, 0.88),
    row(65_536, 0.75),
];

/// Bytes in one direction from which on the stack is used, as in
/// [`Settings::bulk_bytes`](super::Settings::bulk_bytes): the first size from
/// which on all are surely slower by socket; 0 = there is none. `rows` are by size.
pub fn limit(rows: &[Measured]) -> u32 {
    let slower = rows.iter().rev().take_while(|row| row.low > 1.0);
    slower.last().map_or(0, |row| row.bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_that_are_slower_by_socket_take_the_stack() {
        let rows: [(&str, &[Measured], u32); 5] = [
            ("nothing measured", &[], 0),
            ("all faster", &[row(64, 0.8), row(4096, 0.9)], 0),
            ("not surely slower", &[row(64, 0.8), row(4096, 0.99)], 0),
            (
                "large ones slower",
                &[row(64, 0.8), row(4096, 1.1), row(65_536, 1.2)],
                4096,
            ),
            (
                "one in the middle",
                &[row(64, 0.8), row(4096, 1.1), row(65_536, 0.9)],
                0,
            ),
        ];
        for (name, measured, expected) in rows {
            assert_eq!(limit(measured), expected, "{name}");
        }
    }
}
