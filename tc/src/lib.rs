//! Terrace's tc programs and their loader.
