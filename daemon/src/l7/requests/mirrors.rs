//! Copies of requests, by route: a fixed number of routes, so that memory does
//! not grow. What finds no place is counted as of no route.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use terrace_l7::flow::MirrorEnd;

/// Rules of routes with mirrors that a worker tells apart.
const MAX_ROUTES: usize = 256;
/// What becomes of a copy; the first is not dropped.
pub const ENDS: [(MirrorEnd, &str); 8] = [
    (MirrorEnd::Sent, "sent"),
    (MirrorEnd::NoBackend, "no-backend"),
    (MirrorEnd::Denied, "denied"),
    (MirrorEnd::Busy, "busy"),
    (MirrorEnd::Unreachable, "unreachable"),
    (MirrorEnd::Slow, "slow"),
    (MirrorEnd::Refused, "refused"),
    (MirrorEnd::Cut, "cut"),
];

#[derive(Debug, Default)]
struct Row {
    route: AtomicU32,
    counts: [AtomicU64; ENDS.len()],
}

/// One writer, any readers.
#[derive(Debug)]
pub struct MirrorCounts {
    rows: Box<[Row]>,
    used: AtomicU32,
}

impl Default for MirrorCounts {
    fn default() -> Self {
        Self {
            rows: (0..MAX_ROUTES).map(|_| Row::default()).collect(),
            used: AtomicU32::new(1),
        }
    }
}

impl MirrorCounts {
    /// The writer's.
    pub fn add(&self, route: u32, end: MirrorEnd) {
        let row = &self.rows[self.place(route)];
        let of = ENDS.iter().position(|(known, _)| *known == end);
        let count = &row.counts[of.unwrap_or(0)];
        count.store(count.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    fn place(&self, route: u32) -> usize {
        let used = self.used.load(Ordering::Relaxed) as usize;
        let mut known = self.rows[1..used].iter();
        let found = known.position(|row| row.route.load(Ordering::Relaxed) == route);
        match (found, self.rows.get(used)) {
            (Some(place), _) => place + 1,
            (None, None) => 0,
            (None, Some(row)) => {
                row.route.store(route, Ordering::Relaxed);
                self.used.store(used as u32 + 1, Ordering::Release);
                used
            }
        }
    }

    /// Route and counts, in the order of [`ENDS`].
    pub fn read(&self) -> impl Iterator<Item = (u32, [u64; ENDS.len()])> + '_ {
        let used = self.used.load(Ordering::Acquire) as usize;
        self.rows[..used].iter().map(|row| {
            let counts = row.counts.each_ref();
            let counts = counts.map(|count| count.load(Ordering::Relaxed));
            (row.route.load(Ordering::Relaxed), counts)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_are_counted_by_route_and_those_without_a_place_together() {
        let counts = MirrorCounts::default();
        for route in 1..=MAX_ROUTES as u32 + 4 {
            counts.add(route, MirrorEnd::Slow);
        }
        counts.add(1, MirrorEnd::Sent);
        let rows: Vec<_> = counts.read().collect();
        let of = |end| ENDS.iter().position(|(known, _)| *known == end).unwrap();
        let sum = |n: [u64; ENDS.len()]| n.iter().sum::<u64>();
        assert_eq!(rows.len(), MAX_ROUTES);
        assert_eq!((rows[0].0, sum(rows[0].1)), (0, 5));
        assert_eq!(rows[1].1[of(MirrorEnd::Sent)], 1);
        assert_eq!(rows[1].1[of(MirrorEnd::Slow)], 1);
    }
}
