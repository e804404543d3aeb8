//! Structs that are their bytes.

/// A struct of abi.h: integers only, no padding, every bit pattern valid.
///
/// # Safety
/// The type has no padding, no reference and no invalid bit pattern.
pub unsafe trait Plain: Copy + Default + 'static {
    /// The bytes of the struct, as the kernel sees them.
    fn as_bytes(&self) -> &[u8] {
        // SAFETY: a Plain type has no padding, so each of its bytes is initialised.
        unsafe { std::slice::from_raw_parts(std::ptr::from_ref(self).cast(), size_of::<Self>()) }
    }

    /// Reads a struct from exactly its size in bytes; `None` for any other length.
    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        (bytes.len() == size_of::<Self>()).then(|| {
            // SAFETY: the length is right, any bits are valid, and the read is unaligned.
            unsafe { bytes.as_ptr().cast::<Self>().read_unaligned() }
        })
    }
}

// SAFETY: an integer is its bytes.
unsafe impl Plain for u32 {}
// SAFETY: an integer is its bytes.
unsafe impl Plain for u64 {}

macro_rules! plain {
    ($($name:ident),*) => {$(
        // SAFETY: integers only, and build.rs has checked that it has no padding.
        unsafe impl Plain for crate::types::$name {}
    )*};
}

include!(concat!(env!("OUT_DIR"), "/plain.rs"));

#[cfg(test)]
mod tests {
    use super::Plain;
    use crate::types;

    #[test]
    fn structs_have_the_sizes_that_the_programs_count_on() {
        let rows = [
            ("cell", size_of::<types::cell>(), 24),
            ("cell_bucket", size_of::<types::cell_bucket>(), 64),
            ("prefix_root", size_of::<types::prefix_root>(), 32),
            ("endpoint", size_of::<types::endpoint>(), 32),
            ("service", size_of::<types::service>(), 32),
            ("backend", size_of::<types::backend>(), 32),
            ("backend_stats", size_of::<types::backend_stats>(), 40),
            ("flow_key", size_of::<types::flow_key>(), 40),
            ("flow", size_of::<types::flow>(), 128),
            ("flow_bucket", size_of::<types::flow_bucket>(), 512),
            ("iface", size_of::<types::iface>(), 56),
            ("config", size_of::<types::config>(), 128),
            ("l7_frame", size_of::<types::l7_frame>(), 14),
            ("l7_worker", size_of::<types::l7_worker>(), 64),
            ("splice", size_of::<types::splice>(), 160),
            ("splice_progress", size_of::<types::splice_progress>(), 64),
            ("head_note", size_of::<types::head_note>(), 64),
            ("head_key", size_of::<types::head_key>(), 132),
            ("event", size_of::<types::event>(), 32),
        ];
        for (name, size, expected) in rows {
            assert_eq!(size, expected, "struct {name}");
        }
    }

    #[test]
    fn bytes_come_back_as_the_struct_and_only_whole() {
        let service = types::service {
            n_backends: 7,
            maglev: 3,
            ..Default::default()
        };
        let bytes = service.as_bytes().to_vec();
        let back = types::service::from_bytes(&bytes).unwrap();
        assert_eq!((back.n_backends, back.maglev), (7, 3));
        assert!(types::service::from_bytes(&bytes[1..]).is_none());
    }
}
