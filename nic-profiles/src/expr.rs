//! The small language of rules: predicates, assignments and texts with facts.
//!
//! A predicate is `SUM OP SUM`, `SUM in ['a', 'b']`, `KEY has 'a'` or
//! `KEY lacks 'a'`, or `KEY is known` and `KEY is unknown`. A sum is terms joined by `+ - * /`, worked off from left to
//! right. A term is a whole number, a version (`6.4`), `true`, `false`, a
//! `'text'`, or the key of a fact. Words are separated by spaces.

mod words;

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _};

use crate::value::{Lookup, Value};
use words::{Words, term};

/// One condition of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Predicate {
    text: String,
    left: Sum,
    op: Op,
    right: Right,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Op {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    In,
    Has,
    Lacks,
    IsKnown,
    IsUnknown,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Right {
    Sum(Sum),
    List(Vec<Value>),
}

/// A first term, and what is done to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sum {
    first: Term,
    rest: Vec<(char, Term)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Term {
    Value(Value),
    Key(String),
}

impl Predicate {
    /// Whether it holds; `Err` = the keys that would have to be known.
    pub fn holds(&self, facts: Lookup<'_>) -> Result<bool, Vec<String>> {
        let mut missing = Vec::new();
        let left = self.left.value(facts, &mut missing);
        if matches!(self.op, Op::IsKnown | Op::IsUnknown) {
            return Ok(left.is_some() == (self.op == Op::IsKnown));
        }
        let right = match &self.right {
            Right::Sum(sum) => sum.value(facts, &mut missing).map(|value| vec![value]),
            Right::List(values) => Some(values.clone()),
        };
        let (Some(left), Some(right)) = (left, right) else {
            return Err(missing);
        };
        compare(&left, self.op, &right).ok_or_else(|| self.keys().map(str::to_owned).collect())
    }

    /// The facts that it names.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        let right = match &self.right {
            Right::Sum(sum) => Some(sum),
            Right::List(_) => None,
        };
        self.left
            .keys()
            .chain(right.into_iter().flat_map(Sum::keys))
    }

    fn parse(text: &str) -> Result<Self, String> {
        let mut words = Words::of(text)?;
        let left = Sum::parse(&mut words)?;
        let op = words.next().ok_or("a comparison is missing")?;
        let op = match op.as_str() {
            "is" => words.known()?,
            op => op_of(op).ok_or_else(|| format!("{op:?} is no comparison"))?,
        };
        let right = match op {
            Op::In => Right::List(words.list()?),
            Op::IsKnown | Op::IsUnknown => Right::List(Vec::new()),
            _ => Right::Sum(Sum::parse(&mut words)?),
        };
        words.end()?;
        let text = text.to_owned();
        Ok(Self {
            text,
            left,
            op,
            right,
        })
    }
}

impl fmt::Display for Predicate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

fn op_of(word: &str) -> Option<Op> {
    Some(match word {
        "==" => Op::Equal,
        "!=" => Op::NotEqual,
        "<" => Op::Less,
        "<=" => Op::LessOrEqual,
        ">" => Op::Greater,
        ">=" => Op::GreaterOrEqual,
        "in" => Op::In,
        "has" => Op::Has,
        "lacks" => Op::Lacks,
        _ => return None,
    })
}

/// `None` = values that don't compare.
fn compare(left: &Value, op: Op, right: &[Value]) -> Option<bool> {
    let one = right.first()?;
    Some(match (op, left, one) {
        (Op::In, ..) => right.contains(left),
        (Op::Has, Value::List(names), Value::Text(name)) => names.contains(name),
        (Op::Lacks, Value::List(names), Value::Text(name)) => !names.contains(name),
        (Op::Equal, ..) if same_kind(left, one) => left == one,
        (Op::NotEqual, ..) if same_kind(left, one) => left != one,
        (Op::Less, Value::Int(a), Value::Int(b)) => a < b,
        (Op::LessOrEqual, Value::Int(a), Value::Int(b)) => a <= b,
        (Op::Greater, Value::Int(a), Value::Int(b)) => a > b,
        (Op::GreaterOrEqual, Value::Int(a), Value::Int(b)) => a >= b,
        _ => return None,
    })
}

fn same_kind(a: &Value, b: &Value) -> bool {
    std::mem::discriminant(a) == std::mem::discriminant(b)
}

impl Sum {
    fn parse(words: &mut Words) -> Result<Self, String> {
        let first = term(&words.next().ok_or("a value is missing")?)?;
        let mut rest = Vec::new();
        while let Some(op) = words.next_if(|word| matches!(word, "+" | "-" | "*" | "/")) {
            let value = words
                .next()
                .ok_or_else(|| format!("nothing after {op:?}"))?;
            rest.push((op.chars().next().unwrap_or('+'), term(&value)?));
        }
        Ok(Self { first, rest })
    }

    fn value(&self, facts: Lookup<'_>, missing: &mut Vec<String>) -> Option<Value> {
        let mut value = self.first.value(facts, missing);
        for (op, term) in &self.rest {
            value = match (value, term.value(facts, missing)) {
                (Some(Value::Int(a)), Some(Value::Int(b))) => arithmetic(a, *op, b).map(Value::Int),
                _ => None,
            };
        }
        value
    }

    fn keys(&self) -> impl Iterator<Item = &str> {
        let rest = self.rest.iter().map(|(_, term)| term);
        std::iter::once(&self.first)
            .chain(rest)
            .filter_map(|term| match term {
                Term::Key(key) => Some(key.as_str()),
                Term::Value(_) => None,
            })
    }
}

fn arithmetic(a: i64, op: char, b: i64) -> Option<i64> {
    match op {
        '+' => a.checked_add(b),
        '-' => a.checked_sub(b),
        '*' => a.checked_mul(b),
        _ => a.checked_div(b),
    }
}

impl Term {
    fn value(&self, facts: Lookup<'_>, missing: &mut Vec<String>) -> Option<Value> {
        match self {
            Self::Value(value) => Some(value.clone()),
            Self::Key(key) => {
                let value = facts(key);
                if value.is_none() {
                    missing.push(key.clone());
                }
                value
            }
        }
    }
}

/// `KEY = SUM`: what a fact becomes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// The fact.
    pub key: String,
    sum: Sum,
}

impl Assignment {
    /// What the fact becomes; `None` = that depends on what is not known.
    pub fn value(&self, facts: Lookup<'_>) -> Option<Value> {
        self.sum.value(facts, &mut Vec::new())
    }

    /// The facts that it names.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.key.as_str()).chain(self.sum.keys())
    }

    fn parse(text: &str) -> Result<Self, String> {
        let mut words = Words::of(text)?;
        let key = words.next().ok_or("a fact is missing")?;
        if words.next().as_deref() != Some("=") {
            return Err(format!("{text:?}: write KEY = VALUE"));
        }
        let sum = Sum::parse(&mut words)?;
        words.end()?;
        Ok(Self { key, sum })
    }
}

/// A text with `{SUM}` in it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Template {
    /// A text, and the sum that follows it.
    parts: Vec<(String, Sum)>,
    tail: String,
}

impl Template {
    /// The text; what is not known is a question mark.
    pub fn fill(&self, facts: Lookup<'_>) -> String {
        let mut text = String::new();
        for (before, sum) in &self.parts {
            text.push_str(before);
            match sum.value(facts, &mut Vec::new()) {
                Some(value) => text.push_str(&value.to_string()),
                None => text.push('?'),
            }
        }
        text + &self.tail
    }

    /// Whether it is the empty text.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty() && self.tail.is_empty()
    }

    /// The facts that it names.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().flat_map(|(_, sum)| sum.keys())
    }

    fn parse(text: &str) -> Result<Self, String> {
        let mut parts = Vec::new();
        let mut tail = text;
        while let Some((before, rest)) = tail.split_once('{') {
            let (inside, after) = rest
                .split_once('}')
                .ok_or_else(|| format!("{text:?}: a `{{` without its `}}`"))?;
            let mut words = Words::of(inside)?;
            let sum = Sum::parse(&mut words)?;
            words.end()?;
            parts.push((before.to_owned(), sum));
            tail = after;
        }
        let tail = tail.to_owned();
        Ok(Self { parts, tail })
    }
}

macro_rules! from_text {
    ($($name:ident),*) => {$(
        impl std::str::FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                Self::parse(text)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                Self::parse(&text).map_err(D::Error::custom)
            }
        }
    )*};
}

from_text!(Predicate, Assignment, Template);

#[cfg(test)]
mod tests;
