//! Capabilities, demands and the planner of tiers.
