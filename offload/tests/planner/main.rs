//! Rules and verdicts, row by row.

mod case;
mod fixtures;
mod plans;
mod rules;
mod tiers;
