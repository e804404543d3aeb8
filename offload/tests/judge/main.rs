//! Rules and verdicts, row by row.

mod case;
mod rules;
mod tiers;
