//! What was measured, for people and for programs.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Whether a figure reaches its target.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    Pass,
    Short,
    /// Nothing of this may be quoted.
    Void,
    /// For comparison; there is no target.
    #[default]
    Info,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Pass => "pass",
            Self::Short => "SHORT",
            Self::Void => "VOID",
            Self::Info => "",
        })
    }
}

/// A table of figures.
#[derive(Debug, Clone, Serialize)]
pub struct Section {
    pub title: String,
    pub columns: Vec<String>,
    pub rows: Vec<Row>,
    /// What a reader must know to read the figures right.
    pub notes: Vec<String>,
}

#[derive(Debug, Clone, Serialize)]
pub struct Row {
    pub cells: Vec<String>,
    pub outcome: Outcome,
    /// What must be reached, where something must.
    #[serde(skip)]
    pub target: Option<String>,
    /// The figures behind the cells, under stable names.
    pub figures: std::collections::BTreeMap<String, f64>,
}

impl Section {
    pub fn new(title: &str, columns: &[&str]) -> Self {
        Self {
            title: title.to_owned(),
            columns: columns.iter().map(|&column| column.to_owned()).collect(),
            rows: Vec::new(),
            notes: Vec::new(),
        }
    }
}

impl Section {
    /// For a document.
    pub fn markdown(&self) -> String {
        let row = |cells: &[String], end: &str| format!("| {} | {end} |\n", cells.join(" | "));
        let rows = self.rows.iter();
        let rows = rows.map(|held| row(&held.cells, &held.outcome.to_string()));
        let rule = format!("|{}\n", "---|".repeat(self.columns.len() + 1));
        let notes = self.notes.iter().map(|note| format!("- {note}\n"));
        let table = row(&self.columns, "") + &rule + &rows.collect::<String>();
        format!(
            "### {}\n\n{table}\n{}",
            self.title,
            notes.collect::<String>()
        )
    }
}

impl fmt::Display for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = |column: usize| {
            let cells = self.rows.iter().map(|row| row.cells[column].len());
            cells
                .chain([self.columns[column].len()])
                .max()
                .unwrap_or_default()
        };
        let widths: Vec<usize> = (0..self.columns.len()).map(width).collect();
        writeln!(f, "{}", self.title)?;
        line(f, &self.columns, &widths, "")?;
        for row in &self.rows {
            line(f, &row.cells, &widths, &row.outcome.to_string())?;
        }
        self.notes
            .iter()
            .try_for_each(|note| writeln!(f, "  {note}"))
    }
}

fn line(f: &mut fmt::Formatter<'_>, cells: &[String], widths: &[usize], end: &str) -> fmt::Result {
    for (at, (cell, &width)) in cells.iter().zip(widths).enumerate() {
        if at == 0 {
            write!(f, "  {cell:<width$}")?;
        } else {
            write!(f, "  {cell:>width$}")?;
        }
    }
    writeln!(f, "  {end}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_is_a_table_with_its_outcomes_and_notes() {
        let mut section = Section::new("live: bulk", &["way", "of plain"]);
        section.rows.push(Row {
            cells: vec!["Terrace (tc)".into(), "1.20".into()],
            outcome: Outcome::Pass,
            target: None,
            figures: std::collections::BTreeMap::new(),
        });
        section.notes.push("one stream".into());
        let expected = "### live: bulk\n\n| way | of plain |  |\n|---|---|---|\n| Terrace (tc) | 1.20 | pass |\n\n- one stream\n";
        assert_eq!(section.markdown(), expected);
    }
}
