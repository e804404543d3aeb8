//! Buffers for bytes that are held or in flight; flows that idle have none.

/// Room of a buffer: a head, and what of a body came with it.
pub const BUFFER_BYTES: usize = 16_384;
/// What of it a client may fill: a changed head may be so much longer.
pub const HOLD_BYTES: usize = BUFFER_BYTES - MAX_GROWTH;
pub const MAX_GROWTH: usize = 1_024;

#[derive(Debug)]
pub struct Buffers {
    bytes: Vec<u8>,
    free: Vec<u32>,
    n: usize,
}

impl Buffers {
    pub fn new(n: u32) -> Self {
        Self {
            bytes: vec![0; n as usize * BUFFER_BYTES],
            free: (0..n).rev().collect(),
            n: n as usize,
        }
    }

    pub fn n_used(&self) -> usize {
        self.n - self.free.len()
    }

    pub fn take(&mut self) -> Option<u32> {
        self.free.pop()
    }

    pub fn give_back(&mut self, id: u32) {
        self.free.push(id);
    }

    pub fn get(&self, id: u32) -> &[u8] {
        let start = id as usize * BUFFER_BYTES;
        &self.bytes[start..start + BUFFER_BYTES]
    }

    pub fn get_mut(&mut self, id: u32) -> &mut [u8] {
        let start = id as usize * BUFFER_BYTES;
        &mut self.bytes[start..start + BUFFER_BYTES]
    }

    /// One buffer to read and another one to write.
    pub fn pair(&mut self, from: u32, to: u32) -> (&[u8], &mut [u8]) {
        let (a, b) = (from as usize * BUFFER_BYTES, to as usize * BUFFER_BYTES);
        if a < b {
            let (low, high) = self.bytes.split_at_mut(b);
            (&low[a..a + BUFFER_BYTES], &mut high[..BUFFER_BYTES])
        } else {
            let (low, high) = self.bytes.split_at_mut(a);
            (&high[..BUFFER_BYTES], &mut low[b..b + BUFFER_BYTES])
        }
    }
}
