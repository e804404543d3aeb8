//! Which sizes of messages are worth the shortcut: what was measured slower from
//! socket to socket than through the stack is left to the stack.

/// One size, measured by `terrace-bench run shortcut-apart` (README, "What it is
/// worth"), where the shortcut gains least.
#[derive(Debug, Clone, Copy)]
pub struct Measured {
    /// Of a message and its answer.
    pub bytes: u32,
    /// Time from socket to socket over that of the same connection left to the
    /// stack: the low end of the 95 % interval.
    pub low: f64,
}

const fn row(bytes: u32, low: f64) -> Measured {
    Measured { bytes, low }
}

/// Shortcut on over off (2026-11-22T23:25:56Z); the last one is 128 MB one way,
/// over `bulk_bytes = 65536`, its throughput turned over.
pub const MEASURED: [Measured; 7] = [
    row(64, 0.85),
    row(512, 0.83),
    row(4096, 0.79),
    row(16_384, 0.84),
    row(32_768, 0.75),
    row(65_536, 0.80),
    row(134_217_728, 0.73),
];

/// Bytes in one direction beyond which the stack is used, as in
/// [`Settings::bulk_bytes`](super::Settings::bulk_bytes): the largest size below
/// those that are surely slower by socket, for what lies between was not
/// measured; 0 = none is slower, 1 = all are. `rows` are by size.
pub fn limit(rows: &[Measured]) -> u32 {
    let is_slower = |row: &Measured| row.low > 1.0;
    match rows.iter().rposition(|row| !is_slower(row)) {
        Some(last) if last + 1 < rows.len() => rows[last].bytes,
        None if !rows.is_empty() => 1,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_that_are_slower_by_socket_take_the_stack() {
        let rows: [(&str, &[Measured], u32); 6] = [
            ("nothing measured", &[], 0),
            ("all faster", &[row(64, 0.8), row(4096, 0.9)], 0),
            ("not surely slower", &[row(64, 0.8), row(4096, 0.99)], 0),
            (
                "large ones slower",
                &[row(64, 0.8), row(4096, 1.1), row(65_536, 1.2)],
                64,
            ),
            ("all slower", &[row(64, 1.1), row(4096, 1.2)], 1),
            (
                "one in the middle",
                &[row(64, 0.8), row(4096, 1.1), row(65_536, 0.9)],
                0,
            ),
        ];
        for (name, measured, expected) in rows {
            assert_eq!(limit(measured), expected, "{name}");
        }
        assert_eq!(limit(&MEASURED), 0, "no size takes the stack");
    }
}
