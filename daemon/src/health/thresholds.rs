//! When a backend counts as unhealthy, and when as healthy again.

/// How many equal answers in a row change the verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Thresholds {
    /// Successes until an unhealthy backend is healthy.
    pub rise: u32,
    /// Failures until a healthy one is not.
    pub fall: u32,
}

/// One backend's way between the two. A new backend starts as healthy: the
/// manifests say that it is ready, and a check has to prove the contrary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Judge {
    thresholds: Thresholds,
    healthy: bool,
    /// Answers in a row that contradict `healthy`.
    against: u32,
}

impl Judge {
    pub(super) fn new(thresholds: Thresholds, healthy: bool) -> Self {
        Self {
            thresholds,
            healthy,
            against: 0,
        }
    }

    /// The new verdict when this answer changes it.
    pub(super) fn hear(&mut self, success: bool) -> Option<bool> {
        if success == self.healthy {
            self.against = 0;
            return None;
        }
        self.against += 1;
        let needed = if success {
            self.thresholds.rise
        } else {
            self.thresholds.fall
        };
        if self.against < needed {
            return None;
        }
        self.healthy = success;
        self.against = 0;
        Some(success)
    }
}

#[cfg(test)]
mod tests {
    use super::{Judge, Thresholds};

    #[test]
    fn the_verdict_changes_only_after_enough_answers_in_a_row() {
        // + success, - failure; the expected string has the verdicts: . none.
        let rows = [
            ("one failure of three", "-", "."),
            ("three failures", "---", "..-"),
            ("a success between starts again", "--+--", "....."),
            ("down, then up after two", "---++", "..-.+"),
            ("down stays down on a single success", "---+-+", "..-..."),
            ("up again and down again", "---++---", "..-.+..-"),
        ];
        for (name, answers, expected) in rows {
            let mut judge = Judge::new(Thresholds { rise: 2, fall: 3 }, true);
            let heard: String = answers
                .chars()
                .map(|answer| match judge.hear(answer == '+') {
                    None => '.',
                    Some(true) => '+',
                    Some(false) => '-',
                })
                .collect();
            assert_eq!(heard, expected, "{name}");
        }
    }
}
