//! Arithmetic of ring sizes.

/// Trial division: sizes are at most a million.
pub fn is_prime(n: u32) -> bool {
    n >= 2
        && (2..)
            .take_while(|d| d * d <= n)
            .all(|d| !n.is_multiple_of(d))
}

/// The first prime that is not below `n`.
pub fn next_prime(n: u32) -> u32 {
    (n..).find(|n| is_prime(*n)).unwrap_or(n)
}

/// The inverse of `n` modulo a prime, by Euclid's algorithm.
pub fn inverse(n: u32, prime: u32) -> u32 {
    let (mut r0, mut r1) = (i64::from(prime), i64::from(n));
    let (mut t0, mut t1) = (0i64, 1i64);
    while r1 != 0 {
        let q = r0 / r1;
        (r0, r1) = (r1, r0 - q * r1);
        (t0, t1) = (t1, t0 - q * t1);
    }
    u32::try_from(t0.rem_euclid(i64::from(prime))).expect("below a u32")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn primes_are_told_from_others() {
        for n in [2, 3, 7, 251, 1021, 16_381, 65_537, 655_373, 1_000_003] {
            assert!(is_prime(n), "{n}");
        }
        for n in [0, 1, 4, 9, 16_383, 65_535, 1_000_001] {
            assert!(!is_prime(n), "{n}");
        }
        assert_eq!(next_prime(1000), 1009);
    }

    #[test]
    fn a_number_times_its_inverse_is_one() {
        for n in [1, 2, 100, 16_380] {
            assert_eq!(
                u64::from(n) * u64::from(inverse(n, 16_381)) % 16_381,
                1,
                "{n}"
            );
        }
    }
}
