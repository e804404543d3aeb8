//! Medians with their uncertainty.

/// Resamples of the bootstrap.
const RESAMPLES: usize = 2000;

/// A median and its 95 % interval.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Estimate {
    pub median: f64,
    pub low: f64,
    pub high: f64,
}

pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let n = sorted.len();
    match n {
        0 => f64::NAN,
        _ if n % 2 == 1 => sorted[n / 2],
        _ => f64::midpoint(sorted[n / 2 - 1], sorted[n / 2]),
    }
}

/// The interquartile range over the median.
pub fn spread(values: &[f64]) -> f64 {
    (quantile(values, 0.75) - quantile(values, 0.25)) / median(values)
}

/// The value below which a share of the values lies, interpolated.
pub fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let Some(last) = sorted.len().checked_sub(1) else {
        return f64::NAN;
    };
    let at = share * last as f64;
    let below = sorted[at.floor() as usize];
    below + (sorted[at.ceil() as usize] - below) * at.fract()
}

/// xorshift64 (Marsaglia 2003) from a fixed seed: the same values always give
/// the same interval.
struct Random(u64);

impl Random {
    fn new() -> Self {
        Self(0x2545_F491_4F6C_DD1D)
    }

    /// As many of the values, with repetition.
    fn resample(&mut self, values: &[f64]) -> Vec<f64> {
        let mut next = || {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            (self.0 >> 33) as usize % values.len().max(1)
        };
        (0..values.len()).map(|_| values[next()]).collect()
    }
}

/// The median of `values` with its percentile bootstrap interval (Efron 1979).
pub fn estimate(values: &[f64]) -> Estimate {
    let mut random = Random::new();
    bootstrap(median(values), || median(&random.resample(values)))
}

/// The median of the ratios of each round: `ours` over `theirs`.
pub fn paired_ratio(ours: &[f64], theirs: &[f64]) -> Estimate {
    let ratios: Vec<f64> = ours.iter().zip(theirs).map(|(a, b)| a / b).collect();
    estimate(&ratios)
}

/// The ratio of the medians of values from different runs, which have no
/// rounds in common: each side is resampled by itself.
pub fn unpaired_ratio(after: &[f64], before: &[f64]) -> Estimate {
    let mut random = Random::new();
    let ratio = median(after) / median(before);
    bootstrap(ratio, || {
        median(&random.resample(after)) / median(&random.resample(before))
    })
}

fn bootstrap(median: f64, mut draw: impl FnMut() -> f64) -> Estimate {
    let mut drawn: Vec<f64> = (0..RESAMPLES).map(|_| draw()).collect();
    drawn.sort_by(f64::total_cmp);
    Estimate {
        median,
        low: drawn[RESAMPLES / 40],
        high: drawn[RESAMPLES - 1 - RESAMPLES / 40],
    }
}

/// How much of the way from the peer to the floor is gone: 1 = as good as the
/// floor, 0 = as the peer. All three are costs (times), a value a round.
pub fn gap_closure(ours: &[f64], peer: &[f64], floor: &[f64]) -> Estimate {
    let rounds = ours.iter().zip(peer).zip(floor);
    let closures: Vec<f64> = rounds
        .map(|((ours, peer), floor)| (peer - ours) / (peer - floor))
        .collect();
    estimate(&closures)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_or_between_the_two_middles() {
        let rows: [(&[f64], f64); 3] = [(&[3.0], 3.0), (&[9.0, 1.0, 2.0], 2.0), (&[4.0, 2.0], 3.0)];
        for (values, expected) in rows {
            assert_eq!(median(values), expected, "{values:?}");
        }
    }

    #[test]
    fn the_interval_holds_the_median_and_no_value_beyond_the_sample() {
        let values = [1.0, 1.1, 0.9, 1.05, 0.95, 1.2, 0.8, 1.0, 1.0];
        let estimate = estimate(&values);
        assert!(estimate.low <= estimate.median && estimate.median <= estimate.high);
        assert!(estimate.low >= 0.8 && estimate.high <= 1.2);
    }

    #[test]
    fn a_ratio_of_rounds_does_not_see_what_hits_both_alike() {
        let theirs = [10.0, 20.0, 40.0, 10.0, 30.0];
        let ours: Vec<f64> = theirs.iter().map(|value| value / 2.0).collect();
        let ratio = paired_ratio(&ours, &theirs);
        assert_eq!((ratio.low, ratio.median, ratio.high), (0.5, 0.5, 0.5));
        let unpaired = unpaired_ratio(&ours, &theirs);
        assert!(unpaired.low < 0.5 && unpaired.high > 0.5);
    }

    #[test]
    fn the_gap_is_closed_at_the_floor_and_open_at_the_peer() {
        let (peer, floor) = ([100.0; 3], [20.0; 3]);
        for (ours, expected) in [(20.0, 1.0), (100.0, 0.0), (40.0, 0.75), (120.0, -0.25)] {
            assert_eq!(gap_closure(&[ours; 3], &peer, &floor).median, expected);
        }
    }

    #[test]
    fn quantiles_lie_between_their_neighbours() {
        let values = [4.0, 1.0, 3.0, 2.0, 5.0];
        for (share, expected) in [(0.0, 1.0), (0.25, 2.0), (0.5, 3.0), (0.6, 3.4), (1.0, 5.0)] {
            assert!(
                (quantile(&values, share) - expected).abs() < 1e-9,
                "{share}"
            );
        }
        assert_eq!(spread(&values), 2.0 / 3.0);
    }

    #[test]
    fn equal_values_have_no_uncertainty() {
        let estimate = estimate(&[2.0; 9]);
        assert_eq!((estimate.low, estimate.high), (2.0, 2.0));
    }
}
