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

/// The median of `values` with its percentile bootstrap interval (Efron 1979),
/// from a fixed seed: the same values always give the same interval.
pub fn estimate(values: &[f64]) -> Estimate {
    let mut random = 0x2545_F491_4F6C_DD1D_u64;
    let mut next = || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random >> 33) as usize % values.len().max(1)
    };
    let mut medians: Vec<f64> = (0..RESAMPLES)
        .map(|_| {
            let sample: Vec<f64> = (0..values.len()).map(|_| values[next()]).collect();
            median(&sample)
        })
        .collect();
    medians.sort_by(f64::total_cmp);
    Estimate {
        median: median(values),
        low: medians[RESAMPLES / 40],
        high: medians[RESAMPLES - 1 - RESAMPLES / 40],
    }
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
    fn equal_values_have_no_uncertainty() {
        let estimate = estimate(&[2.0; 9]);
        assert_eq!((estimate.low, estimate.high), (2.0, 2.0));
    }
}
