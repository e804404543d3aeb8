//! Tests of the compiler through its public face.

#[path = "mesh/broken.rs"]
mod broken;
#[path = "mesh/cells.rs"]
mod cells;
#[path = "mesh/cilium.rs"]
mod cilium;
#[path = "mesh/good.rs"]
mod good;
#[path = "mesh/http.rs"]
mod http;
#[path = "mesh/kernel.rs"]
mod kernel;
#[path = "mesh/l7.rs"]
mod l7;
#[path = "mesh/naive.rs"]
mod naive;
#[path = "mesh/policy.rs"]
mod policy;
#[path = "mesh/random.rs"]
mod random;
#[path = "mesh/redirect.rs"]
mod redirect;
#[path = "mesh/refused.rs"]
mod refused;
#[path = "mesh/rings.rs"]
mod rings;
#[path = "mesh/services.rs"]
mod services;
#[path = "mesh/support.rs"]
mod support;
