//! Sixteen bytes of a head at a time; the rest of a buffer that is shorter goes
//! byte by byte.

/// Bytes of a lane.
const LANE: usize = 16;

/// What ends a run of bytes.
trait Stops {
    fn stops(byte: u8) -> bool;

    /// The same of a lane, one bit a byte.
    fn mask(lane: &[u8; LANE]) -> u32;
}

/// Index of the first byte from `at` on that stops; the length when none does.
#[inline(always)]
fn first<S: Stops>(bytes: &[u8], mut at: usize) -> usize {
    while let Some(lane) = bytes.get(at..).and_then(|rest| rest.first_chunk::<LANE>()) {
        let found = S::mask(lane);
        if found != 0 {
            return at + found.trailing_zeros() as usize;
        }
        at += LANE;
    }
    let rest = bytes.get(at..).unwrap_or_default();
    let found = rest.iter().position(|byte| S::stops(*byte));
    found.map_or(bytes.len(), |found| at + found)
}

/// The first control character, but for tabs.
#[inline(always)]
pub fn first_control(bytes: &[u8], at: usize) -> usize {
    first::<Controls>(bytes, at)
}

/// The first space or control character.
#[inline(always)]
pub fn first_blank(bytes: &[u8], at: usize) -> usize {
    first::<Blanks>(bytes, at)
}

/// The first byte that is neither letter nor digit nor `A`, `B` or `C`.
#[inline(always)]
pub fn first_odd<const A: u8, const B: u8, const C: u8>(bytes: &[u8], at: usize) -> usize {
    first::<Odd<A, B, C>>(bytes, at)
}

struct Controls;
struct Blanks;
struct Odd<const A: u8, const B: u8, const C: u8>;

impl Stops for Controls {
    #[inline(always)]
    fn stops(byte: u8) -> bool {
        byte < 0x20 && byte != b'\t' || byte == 0x7f
    }

    #[inline(always)]
    fn mask(lane: &[u8; LANE]) -> u32 {
        imp::at_most_or(lane, 0x1f) & !imp::equal(lane, b'\t')
    }
}

impl Stops for Blanks {
    #[inline(always)]
    fn stops(byte: u8) -> bool {
        byte <= 0x20 || byte == 0x7f
    }

    #[inline(always)]
    fn mask(lane: &[u8; LANE]) -> u32 {
        imp::at_most_or(lane, 0x20)
    }
}

impl<const A: u8, const B: u8, const C: u8> Stops for Odd<A, B, C> {
    #[inline(always)]
    fn stops(byte: u8) -> bool {
        !byte.is_ascii_alphanumeric() && byte != A && byte != B && byte != C
    }

    #[inline(always)]
    fn mask(lane: &[u8; LANE]) -> u32 {
        imp::odd(lane, [A, B, C])
    }
}

/// SSE2 is part of x86-64: nothing has to be asked at run time.
#[cfg(target_arch = "x86_64")]
mod imp {
    use std::arch::x86_64::{
        __m128i, _mm_cmpeq_epi8, _mm_loadu_si128, _mm_min_epu8, _mm_movemask_epi8, _mm_or_si128,
        _mm_set1_epi8, _mm_sub_epi8,
    };

    use super::LANE;

    /// Bytes of at most `limit`, unsigned.
    #[inline]
    #[target_feature(enable = "sse2")]
    fn at_most(lane: __m128i, limit: u8) -> __m128i {
        _mm_cmpeq_epi8(_mm_min_epu8(lane, _mm_set1_epi8(limit as i8)), lane)
    }

    #[inline]
    #[target_feature(enable = "sse2")]
    fn is(lane: __m128i, byte: u8) -> __m128i {
        _mm_cmpeq_epi8(lane, _mm_set1_epi8(byte as i8))
    }

    #[inline(always)]
    fn load(lane: &[u8; LANE]) -> __m128i {
        // SAFETY: 16 bytes are there, and the load asks for no alignment.
        unsafe { _mm_loadu_si128(lane.as_ptr().cast()) }
    }

    /// Bytes of at most `limit`, and DEL.
    #[inline(always)]
    pub fn at_most_or(lane: &[u8; LANE], limit: u8) -> u32 {
        let lane = load(lane);
        // SAFETY: every x86-64 has SSE2.
        unsafe { _mm_movemask_epi8(_mm_or_si128(at_most(lane, limit), is(lane, 0x7f))) as u32 }
    }

    #[inline(always)]
    pub fn equal(lane: &[u8; LANE], byte: u8) -> u32 {
        // SAFETY: every x86-64 has SSE2.
        unsafe { _mm_movemask_epi8(is(load(lane), byte)) as u32 }
    }

    #[inline(always)]
    pub fn odd(lane: &[u8; LANE], [a, b, c]: [u8; 3]) -> u32 {
        let lane = load(lane);
        // SAFETY: every x86-64 has SSE2.
        unsafe {
            let lower = _mm_or_si128(lane, _mm_set1_epi8(0x20));
            let letters = at_most(_mm_sub_epi8(lower, _mm_set1_epi8(b'a' as i8)), 25);
            let digits = at_most(_mm_sub_epi8(lane, _mm_set1_epi8(b'0' as i8)), 9);
            let others = _mm_or_si128(_mm_or_si128(is(lane, a), is(lane, b)), is(lane, c));
            let good = _mm_or_si128(_mm_or_si128(letters, digits), others);
            !_mm_movemask_epi8(good) as u32 & 0xffff
        }
    }
}

#[cfg(not(target_arch = "x86_64"))]
mod imp {
    use super::LANE;

    fn bits(lane: &[u8; LANE], is: impl Fn(u8) -> bool) -> u32 {
        (0..)
            .zip(lane)
            .map(|(i, byte)| u32::from(is(*byte)) << i)
            .sum()
    }

    pub fn at_most_or(lane: &[u8; LANE], limit: u8) -> u32 {
        bits(lane, |byte| byte <= limit || byte == 0x7f)
    }

    pub fn equal(lane: &[u8; LANE], wanted: u8) -> u32 {
        bits(lane, |byte| byte == wanted)
    }

    pub fn odd(lane: &[u8; LANE], others: [u8; 3]) -> u32 {
        bits(lane, |byte| {
            !byte.is_ascii_alphanumeric() && !others.contains(&byte)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_at_every_place_is_told_as_one_by_one() {
        for byte in 0..=255u8 {
            for at in 0..40 {
                let mut bytes = [b'a'; 40];
                bytes[at] = byte;
                let one_by_one =
                    |stops: &dyn Fn(u8) -> bool| bytes.iter().position(|b| stops(*b)).unwrap_or(40);
                let control = |b: u8| b.is_ascii_control() && b != b'\t';
                assert_eq!(first_control(&bytes, 0), one_by_one(&control), "{byte}");
                let blank = |b: u8| b == b' ' || b.is_ascii_control();
                assert_eq!(first_blank(&bytes, 0), one_by_one(&blank), "{byte}");
                let odd = |b: u8| !b.is_ascii_alphanumeric() && b != b'-' && b != b'/';
                assert_eq!(
                    first_odd::<b'-', b'/', b'/'>(&bytes, 0),
                    one_by_one(&odd),
                    "{byte}"
                );
            }
        }
    }
}
