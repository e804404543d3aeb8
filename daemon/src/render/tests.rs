//! Canned answers, and what people see of them.
