//! Segments in IPv4 and IPv6 packets, with checksums.

use super::{Endpoint, Options, Segment, Timestamps};

/// Where things stand in a packet.
#[derive(Debug, Clone, Copy)]
pub struct Layout {
    /// Of the TCP header.
    pub tcp: usize,
    /// Of the payload.
    pub payload: usize,
    /// Of the packet; what follows in the buffer is padding.
    pub end: usize,
}

/// Room that a header of a segment needs at most.
pub const MAX_HEADERS: usize = 40 + 60;

/// Why a packet is not a segment that the engine takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoSegment {
    #[error("not a whole IPv4 or IPv6 packet with TCP in it")]
    NotTcp,
    #[error("a fragment")]
    Fragment,
    #[error("a TCP header that is cut or whose options do not fit")]
    Header,
    #[error("a wrong checksum")]
    Checksum,
}

/// Finds header and payload. Extension headers of IPv6 are not taken: BPF
/// leaves such packets to the stack.
pub fn layout(packet: &[u8]) -> Result<Layout, NoSegment> {
    let (tcp, end) = match packet.first().map(|byte| byte >> 4) {
        Some(4) if packet.len() >= 20 => {
            let header = usize::from(packet[0] & 15) * 4;
            let end = usize::from(u16::from_be_bytes([packet[2], packet[3]]));
            if packet[9] != 6 || header < 20 {
                return Err(NoSegment::NotTcp);
            }
            if u16::from_be_bytes([packet[6], packet[7]]) & 0x3fff != 0 {
                return Err(NoSegment::Fragment);
            }
            (header, end)
        }
        Some(6) if packet.len() >= 40 && packet[6] == 6 => {
            let payload = u16::from_be_bytes([packet[4], packet[5]]);
            (40, 40 + usize::from(payload))
        }
        _ => return Err(NoSegment::NotTcp),
    };
    if end > packet.len() || tcp + 20 > end {
        return Err(NoSegment::NotTcp);
    }
    let payload = tcp + usize::from(packet[tcp + 12] >> 4) * 4;
    if payload < tcp + 20 || payload > end {
        return Err(NoSegment::Header);
    }
    Ok(Layout { tcp, payload, end })
}

/// The endpoints of a packet.
pub fn endpoints(packet: &[u8], layout: &Layout) -> (Endpoint, Endpoint) {
    let port = |at: usize| u16::from_be_bytes([packet[at], packet[at + 1]]);
    let ip = |v4: usize, v6: usize| {
        let mut ip = [0; 16];
        if packet[0] >> 4 == 4 {
            ip[10..12].fill(0xff);
            ip[12..].copy_from_slice(&packet[v4..v4 + 4]);
        } else {
            ip.copy_from_slice(&packet[v6..v6 + 16]);
        }
        ip
    };
    let tcp = layout.tcp;
    let source = Endpoint {
        ip: ip(12, 8),
        port: port(tcp),
    };
    let destination = Endpoint {
        ip: ip(16, 24),
        port: port(tcp + 2),
    };
    (source, destination)
}

/// Reads a packet; its checksum must be right.
pub fn parse(packet: &[u8]) -> Result<Segment<'_>, NoSegment> {
    let layout = layout(packet)?;
    if checksum(packet, &layout) != 0 {
        return Err(NoSegment::Checksum);
    }
    let (src, dst) = endpoints(packet, &layout);
    let word = |at: usize| {
        let at = layout.tcp + at;
        u32::from_be_bytes([packet[at], packet[at + 1], packet[at + 2], packet[at + 3]])
    };
    Ok(Segment {
        src,
        dst,
        seq: word(4),
        ack: word(8),
        flags: packet[layout.tcp + 13],
        window: (word(12) & 0xffff) as u16,
        options: options(&packet[layout.tcp + 20..layout.payload])?,
        payload: &packet[layout.payload..layout.end],
    })
}

fn options(bytes: &[u8]) -> Result<Options, NoSegment> {
    let mut options = Options::default();
    each_option(bytes, |kind, at, len| {
        let value = &bytes[at..at + len];
        let word = |at: usize| {
            u32::from_be_bytes([value[at], value[at + 1], value[at + 2], value[at + 3]])
        };
        match (kind, len) {
            (2, 2) => options.mss = Some(u16::from_be_bytes([value[0], value[1]])),
            (3, 1) => options.scale = Some(value[0].min(14)),
            (4, 0) => options.sack_permitted = true,
            (5, 8 | 16 | 24 | 32) => {
                options.n_sacks = (len / 8) as u8;
                for (i, sack) in options.sacks.iter_mut().take(len / 8).enumerate() {
                    *sack = (word(i * 8), word(i * 8 + 4));
                }
            }
            (8, 8) => {
                options.timestamps = Some(Timestamps {
                    value: word(0),
                    echo: word(4),
                });
            }
            _ => {}
        }
    })?;
    Ok(options)
}

/// Calls `seen` with kind, place and length of the value of each option.
pub fn each_option(bytes: &[u8], mut seen: impl FnMut(u8, usize, usize)) -> Result<(), NoSegment> {
    let mut at = 0;
    while let Some(kind) = bytes.get(at) {
        match kind {
            0 => break,
            1 => at += 1,
            _ => {
                let len = usize::from(*bytes.get(at + 1).ok_or(NoSegment::Header)?);
                if len < 2 || at + len > bytes.len() {
                    return Err(NoSegment::Header);
                }
                seen(*kind, at + 2, len - 2);
                at += len;
            }
        }
    }
    Ok(())
}

/// Writes a packet into `buffer`, which has room for [`MAX_HEADERS`] and the
/// payload; returns its length.
pub fn write(segment: &Segment<'_>, buffer: &mut [u8]) -> usize {
    let is_v4 = segment.src.is_v4();
    let tcp = if is_v4 { 20 } else { 40 };
    let header = 20 + write_options(&segment.options, &mut buffer[tcp + 20..tcp + 60]);
    let payload = tcp + header;
    let end = payload + segment.payload.len();
    buffer[payload..end].copy_from_slice(segment.payload);
    let fields = &mut buffer[tcp..payload];
    fields[0..2].copy_from_slice(&segment.src.port.to_be_bytes());
    fields[2..4].copy_from_slice(&segment.dst.port.to_be_bytes());
    fields[4..8].copy_from_slice(&segment.seq.to_be_bytes());
    fields[8..12].copy_from_slice(&segment.ack.to_be_bytes());
    fields[12] = (header as u8 / 4) << 4;
    fields[13] = segment.flags;
    fields[14..16].copy_from_slice(&segment.window.to_be_bytes());
    fields[16..20].fill(0);
    if is_v4 {
        write_v4(segment, end, &mut buffer[..20]);
    } else {
        write_v6(segment, end - 40, &mut buffer[..40]);
    }
    let layout = Layout { tcp, payload, end };
    set_checksum(&mut buffer[..end], &layout);
    end
}

fn write_v4(segment: &Segment<'_>, len: usize, header: &mut [u8]) {
    header.copy_from_slice(&[
        0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, 6, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
    ]);
    header[2..4].copy_from_slice(&(len as u16).to_be_bytes());
    header[12..16].copy_from_slice(&segment.src.ip[12..]);
    header[16..20].copy_from_slice(&segment.dst.ip[12..]);
    set_v4_checksum(header);
}

pub fn set_v4_checksum(header: &mut [u8]) {
    header[10..12].fill(0);
    let sum = !fold(sum(0, header));
    header[10..12].copy_from_slice(&sum.to_be_bytes());
}

fn write_v6(segment: &Segment<'_>, payload: usize, header: &mut [u8]) {
    header[..8].copy_from_slice(&[0x60, 0, 0, 0, 0, 0, 6, 64]);
    header[4..6].copy_from_slice(&(payload as u16).to_be_bytes());
    header[8..24].copy_from_slice(&segment.src.ip);
    header[24..40].copy_from_slice(&segment.dst.ip);
}

/// Options in the order that Linux has; returns their length, padded.
fn write_options(options: &Options, out: &mut [u8]) -> usize {
    let mut len = 0;
    let mut put = |bytes: &[u8]| {
        out[len..len + bytes.len()].copy_from_slice(bytes);
        len += bytes.len();
    };
    if let Some(mss) = options.mss {
        let [high, low] = mss.to_be_bytes();
        put(&[2, 4, high, low]);
    }
    if options.sack_permitted {
        put(&[1, 1, 4, 2]);
    }
    if let Some(timestamps) = options.timestamps {
        put(&[1, 1, 8, 10]);
        put(&timestamps.value.to_be_bytes());
        put(&timestamps.echo.to_be_bytes());
    }
    if let Some(scale) = options.scale {
        put(&[1, 3, 3, scale]);
    }
    // Beside timestamps there is room for three.
    let room = if options.timestamps.is_some() { 3 } else { 4 };
    let sacks = &options.sacks[..usize::from(options.n_sacks).min(room)];
    if !sacks.is_empty() {
        put(&[1, 1, 5, 2 + 8 * sacks.len() as u8]);
        for (from, until) in sacks {
            put(&from.to_be_bytes());
            put(&until.to_be_bytes());
        }
    }
    len
}

/// Sets the TCP checksum of a packet.
pub fn set_checksum(packet: &mut [u8], layout: &Layout) {
    let at = layout.tcp + 16;
    packet[at..at + 2].fill(0);
    let sum = checksum(packet, layout);
    packet[at..at + 2].copy_from_slice(&sum.to_be_bytes());
}

/// The checksum with the field as it is: 0 when that is right.
fn checksum(packet: &[u8], layout: &Layout) -> u16 {
    let addresses = match packet[0] >> 4 {
        4 => &packet[12..20],
        _ => &packet[8..40],
    };
    let pseudo = 6 + (layout.end - layout.tcp) as u64;
    !fold(sum(sum(pseudo, addresses), &packet[layout.tcp..layout.end]))
}

fn sum(start: u64, bytes: &[u8]) -> u64 {
    let mut chunks = bytes.chunks_exact(4);
    let words = chunks
        .by_ref()
        .map(|c| u64::from(u32::from_be_bytes([c[0], c[1], c[2], c[3]])))
        .sum::<u64>();
    let mut rest = [0; 4];
    rest[..chunks.remainder().len()].copy_from_slice(chunks.remainder());
    start + words + u64::from(u32::from_be_bytes(rest))
}

fn fold(mut sum: u64) -> u16 {
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}
