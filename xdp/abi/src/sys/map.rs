//! Reading arrays in batches from any index on.

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd};

use super::ret;

/// CPUs that a per-CPU map has values for.
pub fn possible_cpus() -> io::Result<usize> {
    libbpf_rs::num_possible_cpus().map_err(io::Error::other)
}

/// Reads entries `first..` of an array into `values`, as many as fit; returns
/// how many bytes were filled (fewer at the end of the array).
pub fn lookup_batch(
    array: BorrowedFd<'_>,
    first: u32,
    value_size: usize,
    values: &mut [u8],
) -> io::Result<usize> {
    let mut count = u32::try_from(values.len() / value_size).map_err(io::Error::other)?;
    let mut keys = vec![0u32; count as usize];
    // The kernel starts after the key that it is given.
    let mut previous = first.wrapping_sub(1);
    let start = if first == 0 {
        std::ptr::null_mut()
    } else {
        std::ptr::from_mut(&mut previous)
    };
    let mut next = 0u32;
    let opts = libbpf_sys::bpf_map_batch_opts {
        sz: size_of::<libbpf_sys::bpf_map_batch_opts>() as _,
        ..Default::default()
    };
    // SAFETY: `keys` and `values` have room for `count` entries, and `start`
    // and `next` for one key of four bytes; all outlive the call.
    let result = ret(unsafe {
        libbpf_sys::bpf_map_lookup_batch(
            array.as_raw_fd(),
            start.cast(),
            std::ptr::from_mut(&mut next).cast(),
            keys.as_mut_ptr().cast(),
            values.as_mut_ptr().cast(),
            &mut count,
            &opts,
        )
    });
    match result {
        Ok(_) => {}
        // The end of the array; `count` is right.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    Ok(count as usize * value_size)
}

/// Reads entries of a per-CPU array; an entry is one value for each possible
/// CPU, each rounded up to eight bytes.
pub fn lookup_percpu_batch(
    array: BorrowedFd<'_>,
    first: u32,
    value_size: usize,
    n_entries: usize,
) -> io::Result<Vec<u8>> {
    let entry = value_size.next_multiple_of(8) * possible_cpus()?;
    let mut values = vec![0; entry * n_entries];
    let filled = lookup_batch(array, first, entry, &mut values)?;
    values.truncate(filled);
    Ok(values)
}
