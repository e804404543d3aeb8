//! The contract between Terrace's BPF programs and userspace.
