//! Rules and verdicts, row by row.

mod case;
mod plans;
mod rules;
mod tiers;
