//! HTTP routes and rules on real connections: each test builds its own network,
//! starts `terrace` in it, and real programs talk through it.

mod bulk;
mod life;
mod paths;
mod routes;
mod stage;
