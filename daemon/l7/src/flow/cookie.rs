//! Initial sequence numbers that are cookies: a flow can be made from the
//! client's ACK alone (RFC 4987 section 3.6).

use std::hash::{DefaultHasher, Hasher};

use super::buffers::HOLD_BYTES;
use super::state::{Agreed, Flow, Phase};
use super::{Config, Offer};
use crate::tcp::{Options, Segment, Timestamps};

/// What an MSS is rounded down to in a cookie.
const MSS: [u16; 8] = [536, 1_220, 1_300, 1_360, 1_400, 1_440, 1_460, 8_960];
/// A cookie is good for this one and the next of these.
const PERIOD_MS: u64 = 64_000;
/// When none was given for so long, none is good.
pub const LIFE_MS: u64 = 2 * PERIOD_MS;
/// Low bits of our first TSval: the client's scale, or 15, and SACK.
const TS_BITS: u32 = 0x1f;
const NO_SCALE: u32 = 15;
/// Bits of a cookie that nobody can guess.
const COOKIE: u32 = 0x00ff_ffff;

fn hash(config: &Config, segment: &Segment<'_>, client_isn: u32, rest: u32) -> u32 {
    let mut hasher = DefaultHasher::new();
    hasher.write(&config.secret);
    hasher.write(&segment.src.ip);
    hasher.write(&segment.dst.ip);
    hasher.write_u16(segment.src.port);
    hasher.write_u16(segment.dst.port);
    hasher.write_u32(client_isn);
    hasher.write_u32(rest);
    hasher.finish() as u32
}

/// A first number of our own for a connection that we open.
pub fn first_number(config: &Config, now: u64, flow: u32) -> u32 {
    let mut hasher = DefaultHasher::new();
    hasher.write(&config.secret);
    hasher.write_u64(now);
    hasher.write_u32(flow);
    hasher.finish() as u32
}

fn mss_index(mss: u16) -> u32 {
    let fitting = MSS.iter().rposition(|known| *known <= mss);
    fitting.unwrap_or(0) as u32
}

/// The flow that a SYN begins. What is not remembered must fit the cookie.
pub fn half_open(
    config: &Config,
    now: u64,
    syn: &Segment<'_>,
    offer: &Offer,
    remembered: bool,
) -> Flow {
    let options = &syn.options;
    let mss = options.mss.unwrap_or(536).min(offer.mss);
    let index = mss_index(mss);
    let rest = ((now / PERIOD_MS) as u32 & 0x1f) << 3 | index;
    let all = hash(config, syn, syn.seq, rest);
    // A number that is remembered need not say anything.
    let iss = match remembered {
        true => all,
        false => rest << 24 | all & COOKIE,
    };
    let mut agreed = agree(options, offer);
    agreed.mss = if remembered { mss } else { MSS[index as usize] };
    if !remembered && !agreed.timestamps {
        (agreed.client_scale, agreed.our_scale, agreed.sack) = (None, 0, false);
    }
    let scale = agreed.client_scale.map_or(NO_SCALE, u32::from);
    let bits = scale << 1 | u32::from(agreed.sack);
    Flow {
        ts_told: (now as u32 & !TS_BITS) | bits,
        ..flow(Phase::HalfOpen, syn, syn.seq.wrapping_add(1), iss, agreed)
    }
}

fn agree(options: &Options, offer: &Offer) -> Agreed {
    Agreed {
        mss: 0,
        client_scale: options.scale,
        window: offer.window.min(HOLD_BYTES as u16),
        our_scale: options.scale.map_or(0, |_| offer.scale),
        sack: options.sack_permitted && offer.sack,
        timestamps: options.timestamps.is_some() && offer.timestamps,
    }
}

fn flow(phase: Phase, segment: &Segment<'_>, first: u32, iss: u32, agreed: Agreed) -> Flow {
    let echo = segment.options.timestamps.unwrap_or_default();
    Flow {
        phase,
        client: segment.src,
        service: segment.dst,
        agreed,
        expect: first,
        acked: first,
        down_next: iss.wrapping_add(1),
        client_ack: iss.wrapping_add(1),
        client_window: u32::from(segment.window),
        ts_seen: echo.value,
        ..Flow::default()
    }
}

/// The flow of an ACK that carries a good cookie back.
pub fn open(config: &Config, now: u64, ack: &Segment<'_>, offer: &Offer) -> Option<Flow> {
    let iss = ack.ack.wrapping_sub(1);
    let rest = iss >> 24;
    // With data behind the ACK the client's number is that of its first byte
    // only in the segment that ends the handshake.
    let client_isn = ack.seq.wrapping_sub(1);
    let age = ((now / PERIOD_MS) as u32).wrapping_sub(rest >> 3) & 0x1f;
    if age > 1 || (iss ^ hash(config, ack, client_isn, rest)) & COOKIE != 0 {
        return None;
    }
    let Timestamps { echo, .. } = ack.options.timestamps.unwrap_or_default();
    let bits = echo & TS_BITS;
    let with_timestamps = ack.options.timestamps.is_some() && offer.timestamps;
    let options = Options {
        scale: Some(bits >> 1)
            .filter(|s| with_timestamps && *s != NO_SCALE)
            .map(|s| s as u8),
        sack_permitted: with_timestamps && bits & 1 != 0,
        timestamps: ack.options.timestamps,
        ..Options::default()
    };
    let mut agreed = agree(&options, offer);
    agreed.mss = MSS[(rest & 7) as usize].min(offer.mss);
    Some(Flow {
        ts_told: echo,
        ..flow(Phase::HalfOpen, ack, ack.seq, iss, agreed)
    })
}
