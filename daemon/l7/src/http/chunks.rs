//! Follows a chunked body (RFC 9112 section 7) through any cut of its bytes.

use super::{Fault, is_token};

/// Digits of a chunk size: 2^60 bytes are enough.
const MAX_DIGITS: u8 = 15;
/// Bytes of chunk extensions in one line.
const MAX_EXTENSION: u16 = 256;
/// Bytes of the trailers.
const MAX_TRAILERS: u16 = 4_096;

/// Where in a chunked body a flow is; a value of 24 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chunks {
    at: At,
    digits: u8,
    /// Bytes of extensions or trailers so far.
    line: u16,
    /// Size of the chunk, then what is left of it; in a trailer's name its hash.
    left: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    Size,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerLf,
    EndLf,
    End,
}

/// What a call of [`Chunks::follow`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Followed {
    /// Bytes that belong to the body.
    pub len: usize,
    /// The body ends with them.
    pub ended: bool,
}

impl Default for Chunks {
    fn default() -> Self {
        Self {
            at: At::Size,
            digits: 0,
            line: 0,
            left: 0,
        }
    }
}

impl Chunks {
    /// Goes on over `bytes`.
    pub fn follow(&mut self, bytes: &[u8]) -> Result<Followed, Fault> {
        let mut at = 0;
        while at < bytes.len() && self.at != At::End {
            if self.at == At::Data {
                at += self.skip(bytes.len() - at);
            } else {
                self.byte(bytes[at])?;
                at += 1;
            }
        }
        Ok(Followed {
            len: at,
            ended: self.at == At::End,
        })
    }

    /// Bytes of chunk data that may follow unseen.
    pub fn data_left(&self) -> u64 {
        match self.at {
            At::Data => self.left,
            _ => 0,
        }
    }

    /// Passes over bytes of chunk data; returns how many those were.
    pub fn skip(&mut self, n_bytes: usize) -> usize {
        let n = self.data_left().min(n_bytes as u64);
        self.left -= n;
        if self.left == 0 && self.at == At::Data {
            self.at = At::DataCr;
        }
        n as usize
    }

    fn byte(&mut self, byte: u8) -> Result<(), Fault> {
        self.at = match self.at {
            At::Size => self.size(byte)?,
            At::Extension => self.extension(byte)?,
            At::SizeLf => self.size_end(byte)?,
            At::DataCr if byte == b'\r' => At::DataLf,
            At::DataLf if byte == b'\n' => At::Size,
            At::DataCr | At::DataLf => return Err(Fault::ChunkEnd),
            At::TrailerStart | At::TrailerName | At::TrailerValue | At::TrailerLf => {
                self.trailer(byte)?
            }
            At::EndLf if byte == b'\n' => At::End,
            At::EndLf => return Err(Fault::Trailer),
            At::Data | At::End => self.at,
        };
        Ok(())
    }

    fn size(&mut self, byte: u8) -> Result<At, Fault> {
        let digit = char::from(byte).to_digit(16);
        match (byte, digit) {
            (_, Some(digit)) if self.digits < MAX_DIGITS => {
                self.digits += 1;
                self.left = self.left * 16 + u64::from(digit);
                Ok(At::Size)
            }
            (b'\r', _) if self.digits > 0 => Ok(At::SizeLf),
            (b';', _) if self.digits > 0 => Ok(At::Extension),
            _ => Err(Fault::ChunkSize),
        }
    }

    fn extension(&mut self, byte: u8) -> Result<At, Fault> {
        self.line += 1;
        match byte {
            b'\r' => Ok(At::SizeLf),
            b'\t' | b' '..=b'~' if self.line <= MAX_EXTENSION => Ok(At::Extension),
            _ => Err(Fault::ChunkExtension),
        }
    }

    fn size_end(&mut self, byte: u8) -> Result<At, Fault> {
        if byte != b'\n' {
            return Err(Fault::ChunkSize);
        }
        (self.digits, self.line) = (0, 0);
        Ok(if self.left == 0 {
            At::TrailerStart
        } else {
            At::Data
        })
    }

    fn trailer(&mut self, byte: u8) -> Result<At, Fault> {
        self.line += 1;
        if self.line > MAX_TRAILERS {
            return Err(Fault::Trailer);
        }
        match (self.at, byte) {
            (At::TrailerStart, b'\r') => Ok(At::EndLf),
            (At::TrailerStart, _) if is_token(byte) => {
                self.left = hash(FNV_START, byte);
                Ok(At::TrailerName)
            }
            (At::TrailerName, b':') if !FORBIDDEN.contains(&self.left) => {
                self.left = 0;
                Ok(At::TrailerValue)
            }
            (At::TrailerName, _) if is_token(byte) => {
                self.left = hash(self.left, byte);
                Ok(At::TrailerName)
            }
            (At::TrailerValue, b'\r') => Ok(At::TrailerLf),
            (At::TrailerValue, b'\t' | b' '..=b'~' | 0x80..) => Ok(At::TrailerValue),
            (At::TrailerLf, b'\n') => Ok(At::TrailerStart),
            _ => Err(Fault::Trailer),
        }
    }
}

const FNV_START: u64 = 0xcbf2_9ce4_8422_2325;

/// FNV-1a of the lower-case name.
const fn hash(sum: u64, byte: u8) -> u64 {
    (sum ^ byte.to_ascii_lowercase() as u64).wrapping_mul(0x0000_0100_0000_01b3)
}

const fn hash_of(name: &[u8]) -> u64 {
    let (mut sum, mut at) = (FNV_START, 0);
    while at < name.len() {
        sum = hash(sum, name[at]);
        at += 1;
    }
    sum
}

/// Fields that may not come in trailers: they frame or route the message.
const FORBIDDEN: [u64; 4] = [
    hash_of(b"content-length"),
    hash_of(b"transfer-encoding"),
    hash_of(b"host"),
    hash_of(b"connection"),
];
