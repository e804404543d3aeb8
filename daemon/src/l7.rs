//! The L7 tier of this host: what its workers enforce, and what they tell.

pub mod requests;
pub mod rules;
