//! Namespaces, links and servers for Terrace's tests and demo.
