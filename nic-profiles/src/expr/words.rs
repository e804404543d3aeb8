//! Words of an expression: separated by spaces, with quoted texts whole.

use super::{Op, Term};
use crate::keys;
use crate::value::Value;

pub struct Words {
    words: std::iter::Peekable<std::vec::IntoIter<String>>,
}

impl Words {
    pub fn of(text: &str) -> Result<Self, String> {
        let mut words = Vec::new();
        let mut rest = text.trim_start();
        while !rest.is_empty() {
            let end = if let Some(quoted) = rest.strip_prefix('\'') {
                let end = quoted.find('\'').ok_or("a quote that does not end")?;
                end + 2
            } else if rest.starts_with(['[', ']', ',']) {
                1
            } else {
                rest.find([' ', ',', ']']).unwrap_or(rest.len())
            };
            words.push(rest[..end].to_owned());
            rest = rest[end..].trim_start();
        }
        let words = words.into_iter().peekable();
        Ok(Self { words })
    }

    pub fn next_if(&mut self, wanted: impl FnOnce(&str) -> bool) -> Option<String> {
        self.words.next_if(|word| wanted(word))
    }

    /// `['a', 'b']`, at least one.
    pub fn list(&mut self) -> Result<Vec<Value>, String> {
        let bad = || "write a list as ['a', 'b']".to_owned();
        self.next_if(|word| word == "[").ok_or_else(bad)?;
        let mut values = Vec::new();
        loop {
            match term(&self.next().ok_or_else(bad)?)? {
                Term::Value(value) => values.push(value),
                Term::Key(_) => return Err(bad()),
            }
            match self.next().as_deref() {
                Some("]") => return Ok(values),
                Some(",") => {}
                _ => return Err(bad()),
            }
        }
    }

    /// What follows `is`.
    pub fn known(&mut self) -> Result<Op, String> {
        match self.next().as_deref() {
            Some("known") => Ok(Op::IsKnown),
            Some("unknown") => Ok(Op::IsUnknown),
            _ => Err("write `is known` or `is unknown`".into()),
        }
    }

    pub fn end(&mut self) -> Result<(), String> {
        match self.next() {
            None => Ok(()),
            Some(word) => Err(format!("{word:?} is too much")),
        }
    }
}

impl Iterator for Words {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        self.words.next()
    }
}

pub fn term(word: &str) -> Result<Term, String> {
    if let Some(text) = word.strip_prefix('\'') {
        return Ok(Term::Value(Value::text(text.trim_end_matches('\''))));
    }
    if word.starts_with(|c: char| c.is_ascii_digit()) {
        return number(word).map(Term::Value);
    }
    match word {
        "true" => Ok(Term::Value(Value::Bool(true))),
        "false" => Ok(Term::Value(Value::Bool(false))),
        key if keys::is_known(key) => Ok(Term::Key(key.to_owned())),
        _ => Err(format!(
            "{word:?} is no fact that Terrace knows; texts need quotes"
        )),
    }
}

/// `17`, or a version `6.4`.
fn number(word: &str) -> Result<Value, String> {
    let bad = || format!("{word:?} is neither a whole number nor a version");
    match word.split_once('.') {
        None => word.parse().map(Value::Int).map_err(|_| bad()),
        Some((major, minor)) => match (major.parse(), minor.parse()) {
            (Ok(major), Ok(minor)) => Ok(Value::version(major, minor)),
            _ => Err(bad()),
        },
    }
}
