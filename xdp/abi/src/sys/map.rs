//! Reading arrays in batches from any index on, and arrays of words as memory.

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

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

/// An array of 64-bit words (`BPF_F_MMAPABLE`) as memory: programs see each
/// store at once and whole.
pub struct Words {
    start: NonNull<AtomicU64>,
    len: usize,
}

// SAFETY: the mapping belongs to no thread, and is only touched by atomics.
unsafe impl Send for Words {}
// SAFETY: as above.
unsafe impl Sync for Words {}

impl Words {
    /// Maps an array of `len` words.
    pub fn map(array: BorrowedFd<'_>, len: usize) -> io::Result<Self> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let bytes = len * size_of::<u64>();
        // SAFETY: the kernel chooses an address that is free, and refuses a
        // length beyond the array's pages.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                bytes,
                protection,
                libc::MAP_SHARED,
                array.as_raw_fd(),
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or_else(|| io::Error::other("mapped at 0"))?;
        Ok(Self { start, len })
    }

    /// The words, each of which may change at any time.
    pub fn all(&self) -> &[AtomicU64] {
        // SAFETY: the mapping has `len` words, page-aligned, until this is
        // dropped; atomics may be shared with the kernel.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }

    /// Changes one word; `false` if there is none of this index.
    pub fn store(&self, index: u32, word: u64) -> bool {
        let place = self.all().get(index as usize);
        place
            .map(|place| place.store(word, Ordering::Release))
            .is_some()
    }
}

impl Drop for Words {
    fn drop(&mut self) {
        // SAFETY: mapped by `map` with this length, and not used afterwards.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.len * size_of::<u64>()) };
    }
}

/// Writes one entry of a hash or trie; the errno is the kernel's.
pub fn map_update(
    map: BorrowedFd<'_>,
    key: &[u8],
    value: &[u8],
    (key_size, value_size): (u32, u32),
) -> io::Result<()> {
    check_size(key, key_size)?;
    check_size(value, value_size)?;
    // SAFETY: `key` and `value` have the lengths that the map was made with.
    ret(unsafe {
        libbpf_sys::bpf_map_update_elem(
            map.as_raw_fd(),
            key.as_ptr().cast(),
            value.as_ptr().cast(),
            libbpf_sys::BPF_ANY.into(),
        )
    })
    .map(drop)
}

pub(super) fn check_size(bytes: &[u8], size: u32) -> io::Result<()> {
    match bytes.len() == size as usize {
        true => Ok(()),
        false => Err(io::ErrorKind::InvalidInput.into()),
    }
}
