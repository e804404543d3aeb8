//! What a NIC has dropped in all, from counters that may begin anew at any time.

/// Packets and bytes.
pub type Count = (u64, u64);

/// Adds up a counter that goes back to nothing now and then.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Meter {
    last: Count,
    total: Count,
}

impl Meter {
    /// Takes in what the counter shows now.
    pub fn note(&mut self, now: Count) {
        let began_anew = now.0 < self.last.0 || now.1 < self.last.1;
        let (packets, bytes) = if began_anew { (0, 0) } else { self.last };
        self.total.0 += now.0 - packets;
        self.total.1 += now.1 - bytes;
        self.last = now;
    }

    /// The counter is another one from now on.
    pub fn restart(&mut self) {
        self.last = (0, 0);
    }

    pub fn total(&self) -> Count {
        self.total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_total_never_goes_back_whatever_its_counter_does() {
        type Row<'r> = (&'r str, &'r [Count], Count);
        let rows: [Row<'_>; 6] = [
            ("nothing", &[], (0, 0)),
            ("it grows", &[(1, 60), (3, 180)], (3, 180)),
            ("it stays", &[(3, 180), (3, 180)], (3, 180)),
            (
                "it goes to nothing",
                &[(3, 180), (0, 0), (2, 120)],
                (5, 300),
            ),
            ("it goes back", &[(9, 540), (4, 240)], (13, 780)),
            ("its bytes alone go back", &[(9, 540), (9, 100)], (18, 640)),
        ];
        for (name, shown, total) in rows {
            let mut meter = Meter::default();
            let mut before = (0, 0);
            for now in shown {
                meter.note(*now);
                assert!(meter.total() >= before, "{name}");
                before = meter.total();
            }
            assert_eq!(meter.total(), total, "{name}");
        }
    }

    #[test]
    fn another_counter_is_counted_from_its_beginning() {
        let mut meter = Meter::default();
        meter.note((5, 300));
        meter.restart();
        meter.note((7, 420));
        assert_eq!(meter.total(), (12, 720));
    }
}
