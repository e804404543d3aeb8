//! Big-endian fields inside a frame.

/// `N` bytes at `at`, if the frame has them.
pub(crate) fn at<const N: usize>(frame: &[u8], at: usize) -> Option<[u8; N]> {
    let bytes = frame.get(at..at.checked_add(N)?)?;
    bytes.try_into().ok()
}

pub(crate) fn get_u16(frame: &[u8], offset: usize) -> Option<u16> {
    at(frame, offset).map(u16::from_be_bytes)
}

/// Writes a field that was read before.
pub(crate) fn put(frame: &mut [u8], offset: usize, value: &[u8]) {
    frame[offset..offset + value.len()].copy_from_slice(value);
}

pub(crate) fn put_u16(frame: &mut [u8], offset: usize, value: u16) {
    put(frame, offset, &value.to_be_bytes());
}
