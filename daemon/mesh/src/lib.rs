//! From Kubernetes manifests to Terrace's tables, without IO.
