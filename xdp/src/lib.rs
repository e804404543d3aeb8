//! Terrace's XDP programs and their loader.
