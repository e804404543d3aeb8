//! Reads the tables of a TOML document key by key, keeps what is wrong.

use std::cell::RefCell;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::faults::{Fault, Faults};

/// The text being read, and what was found wrong so far.
pub(super) struct Source<'a> {
    path: &'a Path,
    text: &'a str,
    faults: RefCell<Vec<Fault>>,
}

/// What is wrong with one value.
pub(super) struct Wrong {
    pub what: String,
    pub fix: String,
}

pub(super) type Value<'a> = Spanned<DeValue<'a>>;

impl Wrong {
    pub(super) fn new(what: impl Into<String>, fix: impl Into<String>) -> Wrong {
        Wrong {
            what: what.into(),
            fix: fix.into(),
        }
    }
}

impl<'a> Source<'a> {
    pub(super) fn new(path: &'a Path, text: &'a str) -> Self {
        Self {
            path,
            text,
            faults: RefCell::default(),
        }
    }

    /// `at` is a byte offset into the text.
    pub(super) fn fault(&self, at: Option<usize>, key: &str, wrong: Wrong) {
        let line = at.map_or(0, |at| 1 + self.text[..at].matches('\n').count());
        self.faults.borrow_mut().push(Fault {
            file: self.path.to_owned(),
            line,
            key: key.to_owned(),
            what: wrong.what,
            fix: wrong.fix,
        });
    }

    /// The faults in the order of their lines, when there are any.
    pub(super) fn finish<T>(self, resolved: T) -> Result<T, Faults> {
        let mut faults = self.faults.into_inner();
        if faults.is_empty() {
            return Ok(resolved);
        }
        faults.sort_by_key(|fault| fault.line);
        // A fault of syntax (it has no key) often brings others on its line.
        faults.dedup_by(|next, first| next.key.is_empty() && next.line == first.line);
        Err(Faults(faults))
    }
}

/// One table; a table that is not in the file reads as an empty one.
pub(super) struct Section<'a> {
    source: &'a Source<'a>,
    /// `services`, `interfaces[1].tiers`; empty at the top.
    path: String,
    /// Offset of the header, for what is missing.
    at: Option<usize>,
    table: Option<&'a DeTable<'a>>,
    known: RefCell<Vec<String>>,
}

impl<'a> Section<'a> {
    pub(super) fn top(source: &'a Source<'a>, table: &'a DeTable<'a>) -> Self {
        Self {
            source,
            path: String::new(),
            at: None,
            table: Some(table),
            known: RefCell::default(),
        }
    }

    pub(super) fn fault(&self, key: &str, wrong: Wrong) {
        let at = self.find(key).map(|value| value.span().start).or(self.at);
        self.source.fault(at, &self.path_of(key), wrong);
    }

    /// The value of `key`, or `default` when it is missing or wrong.
    pub(super) fn read<T>(
        &self,
        key: &str,
        default: T,
        reader: impl Fn(&Value<'a>) -> Result<T, Wrong>,
    ) -> T {
        self.optional(key, reader).unwrap_or(default)
    }

    /// None when it is missing or wrong; only the second is a fault.
    pub(super) fn optional<T>(
        &self,
        key: &str,
        reader: impl Fn(&Value<'a>) -> Result<T, Wrong>,
    ) -> Option<T> {
        let value = self.get(key)?;
        reader(value).map_err(|wrong| self.fault(key, wrong)).ok()
    }

    /// None when it is missing or wrong; both are faults.
    pub(super) fn required<T>(
        &self,
        key: &str,
        fix: &str,
        reader: impl Fn(&Value<'a>) -> Result<T, Wrong>,
    ) -> Option<T> {
        if self.get(key).is_none() {
            let missing = Wrong::new("is missing", fix);
            self.source.fault(self.at, &self.path_of(key), missing);
            return None;
        }
        self.optional(key, reader)
    }

    /// The elements of an array that could be read.
    pub(super) fn list<T>(
        &self,
        key: &str,
        reader: impl Fn(&Value<'a>) -> Result<T, Wrong>,
    ) -> Vec<T> {
        let Some(value) = self.get(key) else {
            return Vec::new();
        };
        let Some(array) = value.get_ref().as_array() else {
            self.fault(
                key,
                not_a("an array", value, "write a list in brackets: [\"...\"]"),
            );
            return Vec::new();
        };
        let mut read = Vec::with_capacity(array.len());
        for (i, element) in array.iter().enumerate() {
            match reader(element) {
                Ok(element) => read.push(element),
                Err(wrong) => {
                    let path = format!("{}[{i}]", self.path_of(key));
                    self.source.fault(Some(element.span().start), &path, wrong);
                }
            }
        }
        read
    }

    pub(super) fn section(&self, key: &str) -> Section<'a> {
        let value = self.get(key);
        let table = value.and_then(|value| value.get_ref().as_table());
        if let (Some(value), None) = (value, table) {
            let fix = format!("write it as [{}]", self.path_of(key));
            self.fault(key, not_a("a table", value, &fix));
        }
        self.inner(self.path_of(key), value, table)
    }

    /// The tables of an array of tables; none at all is the fault `missing`.
    pub(super) fn sections(&self, key: &str, missing: Wrong) -> Vec<Section<'a>> {
        let Some(value) = self.get(key) else {
            self.fault(key, missing);
            return Vec::new();
        };
        let fix = format!("write each as [[{}]]", self.path_of(key));
        let Some(array) = value.get_ref().as_array() else {
            self.fault(key, not_a("an array of tables", value, &fix));
            return Vec::new();
        };
        let mut sections = Vec::with_capacity(array.len());
        for (i, element) in array.iter().enumerate() {
            let path = format!("{}[{i}]", self.path_of(key));
            match element.get_ref().as_table() {
                Some(table) => sections.push(self.inner(path, Some(element), Some(table))),
                None => {
                    let wrong = not_a("a table", element, &fix);
                    self.source.fault(Some(element.span().start), &path, wrong);
                }
            }
        }
        sections
    }

    /// Every key that nothing has asked for is a fault.
    pub(super) fn refuse_unknown(self) {
        let known = self.known.borrow();
        for key in self.table.into_iter().flat_map(|table| table.keys()) {
            if known.iter().any(|known| known == key.get_ref()) {
                continue;
            }
            let wrong = Wrong::new("is no key of Terrace", suggest(key.get_ref(), &known));
            let path = self.path_of(key.get_ref());
            self.source.fault(Some(key.span().start), &path, wrong);
        }
    }

    fn inner(
        &self,
        path: String,
        value: Option<&'a Value<'a>>,
        table: Option<&'a DeTable<'a>>,
    ) -> Section<'a> {
        let at = value.map(|value| value.span().start).or(self.at);
        Section {
            source: self.source,
            path,
            at,
            table,
            known: RefCell::default(),
        }
    }

    fn get(&self, key: &str) -> Option<&'a Value<'a>> {
        let mut known = self.known.borrow_mut();
        if !known.iter().any(|known| known == key) {
            known.push(key.to_owned());
        }
        self.find(key)
    }

    fn find(&self, key: &str) -> Option<&'a Value<'a>> {
        self.table?
            .iter()
            .find(|(name, _)| name.get_ref() == key)
            .map(|(_, value)| value)
    }

    fn path_of(&self, key: &str) -> String {
        match (self.path.as_str(), key) {
            ("", key) => key.to_owned(),
            (path, "") => path.to_owned(),
            (path, key) => format!("{path}.{key}"),
        }
    }
}

pub(super) fn not_a(wanted: &str, value: &Value<'_>, fix: &str) -> Wrong {
    let kind = value.get_ref().type_str();
    let article = if kind.starts_with(['a', 'i']) {
        "an"
    } else {
        "a"
    };
    Wrong::new(format!("is {article} {kind}, not {wanted}"), fix)
}

/// The nearest of `known`, or all of them.
pub(super) fn suggest(written: &str, known: &[impl AsRef<str>]) -> String {
    let near = known
        .iter()
        .map(|name| {
            (
                strsim::damerau_levenshtein(written, name.as_ref()),
                name.as_ref(),
            )
        })
        .filter(|(distance, name)| *distance <= 1 + name.len().min(written.len()) / 3)
        .min();
    if let Some((_, name)) = near {
        return format!("did you mean `{name}`?");
    }
    let mut names: Vec<&str> = known.iter().map(AsRef::as_ref).collect();
    names.sort_unstable();
    format!("it can be one of: {}", names.join(", "))
}
