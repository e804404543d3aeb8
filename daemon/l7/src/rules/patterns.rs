//! Many regular expressions as one automaton; each must match the whole text.

use regex_automata::meta::{BuildError, Config, Regex};
use regex_automata::{Anchored, Input, PatternSet};

use super::RuleError;

/// What one expression may be compiled to, and all of a table together.
pub const MAX_PATTERN_BYTES: usize = 1 << 20;
const MAX_TABLE_BYTES: usize = 16 << 20;

/// What matching needs besides the rules; one a thread. It grows to the
/// largest table that it was used with, then allocates no more.
#[derive(Debug)]
pub struct Scratch {
    pub(super) found: PatternSet,
}

impl Default for Scratch {
    fn default() -> Self {
        Self {
            found: PatternSet::new(0),
        }
    }
}

impl Scratch {
    fn with_room(&mut self, n_patterns: usize) -> &mut PatternSet {
        if self.found.capacity() < n_patterns {
            self.found = PatternSet::new(n_patterns);
        }
        self.found.clear();
        &mut self.found
    }
}

/// Expressions that are numbered as they were given.
#[derive(Debug, Clone)]
pub struct Patterns {
    regex: Option<Regex>,
}

impl Patterns {
    pub fn new<S: AsRef<str>>(patterns: &[S]) -> Result<Self, RuleError> {
        let mut whole = Vec::with_capacity(patterns.len());
        for pattern in patterns {
            whole.push(whole_text(pattern.as_ref())?);
        }
        if whole.is_empty() {
            return Ok(Self { regex: None });
        }
        let built = build(&whole, MAX_TABLE_BYTES);
        let regex = built.map_err(|error| RuleError::Patterns {
            why: reason(&error),
        })?;
        Ok(Self { regex: Some(regex) })
    }

    /// Numbers of the expressions that match the whole of `text`, ascending.
    pub fn matches<'s>(
        &self,
        text: &[u8],
        scratch: &'s mut Scratch,
    ) -> impl Iterator<Item = usize> + use<'s> {
        let found = match &self.regex {
            Some(regex) => {
                let found = scratch.with_room(regex.pattern_len());
                let input = Input::new(text).anchored(Anchored::Yes);
                regex.which_overlapping_matches(&input, found);
                found
            }
            None => scratch.with_room(0),
        };
        found.iter().map(|id| id.as_usize())
    }
}

/// One expression that must match a whole text.
#[derive(Debug, Clone)]
pub struct Pattern(Regex);

impl Pattern {
    pub fn new(pattern: &str) -> Result<Self, RuleError> {
        let whole = whole_text(pattern)?;
        let built = build(std::slice::from_ref(&whole), MAX_PATTERN_BYTES);
        built
            .map(Self)
            .map_err(|error| wrong(pattern, reason(&error)))
    }

    pub fn matches(&self, text: &[u8]) -> bool {
        self.0.is_match(Input::new(text).anchored(Anchored::Yes))
    }
}

/// The expression, so that it ends where the text ends. It is read alone
/// first: `a)|(b` would leave its brackets.
fn whole_text(pattern: &str) -> Result<String, RuleError> {
    match build(&[pattern], MAX_PATTERN_BYTES) {
        Ok(_) => Ok(format!(r"(?:{pattern})\z")),
        Err(error) => Err(wrong(pattern, reason(&error))),
    }
}

fn build<S: AsRef<str>>(patterns: &[S], limit: usize) -> Result<Regex, Box<BuildError>> {
    let config = Config::new()
        .nfa_size_limit(Some(limit))
        .onepass_size_limit(Some(1 << 20))
        .hybrid_cache_capacity(4 << 20)
        .utf8_empty(false);
    Regex::builder()
        .configure(config)
        .build_many(patterns)
        .map_err(Box::new)
}

fn wrong(pattern: &str, why: String) -> RuleError {
    RuleError::Pattern {
        pattern: pattern.to_owned(),
        why,
    }
}

fn reason(error: &BuildError) -> String {
    match error.size_limit() {
        Some(limit) => format!("compiled it is larger than {limit} bytes"),
        None => match error.syntax_error() {
            Some(error) => error.to_string(),
            None => error.to_string(),
        },
    }
}
