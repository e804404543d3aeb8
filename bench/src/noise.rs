//! The noise guard: which rounds count, and what a reader must be warned of.

use crate::stats::{median, spread};

/// Shares above which a round does not count (perf.md, pitfall 16).
const STEAL: f64 = 0.02;
const FOREIGN: f64 = 0.05;
const FLOOR_MOVES: f64 = 0.10;
/// With fewer quiet rounds all of them count, with a warning.
const FEWEST: usize = 3;

/// What disturbed one round.
#[derive(Debug, Clone, Default)]
pub struct Round {
    /// The floor's value, forth and back.
    pub floor: Option<(f64, f64)>,
    /// CPU time that the hypervisor took, and that others used, of the time
    /// that passed.
    pub steal: f64,
    pub foreign: f64,
}

impl Round {
    /// Why it does not count.
    fn loud(&self) -> Option<&'static str> {
        let moved = self
            .floor
            .map_or(0.0, |(forth, back)| (forth - back).abs() / forth.max(back));
        match () {
            () if self.steal > STEAL => Some("the hypervisor took more than 2 % of the CPU time"),
            () if self.foreign > FOREIGN => Some("other programs used more than 5 % of a CPU"),
            () if moved > FLOOR_MOVES => Some("the floor moved by more than 10 % within the round"),
            () => None,
        }
    }
}

/// Which rounds count, and the warnings.
pub fn quiet(rounds: &[Round]) -> (Vec<bool>, Vec<String>) {
    let found: Vec<Option<&str>> = rounds.iter().map(Round::loud).collect();
    let n_quiet = found.iter().filter(|loud| loud.is_none()).count();
    let enough = n_quiet >= FEWEST && 2 * n_quiet >= rounds.len();
    let mut whys: Vec<&str> = found.iter().flatten().copied().collect();
    whys.sort_unstable();
    whys.dedup();
    let what = match enough {
        true => "rounds were left out",
        false => "rounds were noisy, and too few were not: all count",
    };
    let warnings = whys.iter().map(|why| {
        let n = found.iter().filter(|loud| **loud == Some(why)).count();
        format!("{n} of {} {what}: {why}", rounds.len())
    });
    let keep = found.iter().map(|loud| !enough || loud.is_none());
    (keep.collect(), warnings.collect())
}

/// A warning where the values of the rounds lie far apart.
pub fn flag(what: &str, values: &[f64], bound: f64) -> Option<String> {
    let spread = spread(values);
    (values.len() >= FEWEST && spread > bound).then(|| {
        format!(
            "{what}: spread {:.0} % of the median {:.3}, over the bound of {:.0} %",
            spread * 100.0,
            median(values),
            bound * 100.0
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(floor: (f64, f64), steal: f64, foreign: f64) -> Round {
        Round {
            floor: Some(floor),
            steal,
            foreign,
        }
    }

    #[test]
    fn loud_rounds_are_left_out_while_enough_are_quiet() {
        let good = round((100.0, 95.0), 0.0, 0.01);
        let rows = [
            ("the floor moved", round((100.0, 80.0), 0.0, 0.0)),
            ("stolen", round((100.0, 100.0), 0.05, 0.0)),
            ("others", round((100.0, 100.0), 0.0, 0.5)),
        ];
        for (row, bad) in rows {
            let rounds = [good.clone(), good.clone(), good.clone(), bad];
            let (keep, warnings) = quiet(&rounds);
            assert_eq!(keep, [true, true, true, false], "{row}");
            assert_eq!(warnings.len(), 1, "{row}");
        }
    }

    #[test]
    fn with_too_few_quiet_ones_all_count_and_it_is_said() {
        let bad = round((100.0, 50.0), 0.0, 0.0);
        let good = round((100.0, 100.0), 0.0, 0.0);
        let (keep, warnings) = quiet(&[good.clone(), bad.clone(), bad, good]);
        assert_eq!(keep, [true; 4]);
        assert!(warnings[0].contains("all count"), "{warnings:?}");
    }

    #[test]
    fn a_wide_spread_is_flagged() {
        assert!(flag("p50", &[1.0, 1.0, 1.05, 1.1], 0.25).is_none());
        assert!(flag("p50", &[1.0, 2.0, 3.0, 4.0], 0.25).is_some());
    }
}
