//! Aligned columns, two spaces apart.

use super::{Style, Tone};

/// One cell; its width is that of the text without colour.
#[derive(Debug, Clone, Default)]
pub(super) struct Cell {
    text: String,
    tone: Tone,
}

/// Columns with their heads; a head that begins with `>` is for numbers and
/// aligns its column to the right.
#[derive(Debug, Clone)]
pub(super) struct Table {
    right: Vec<bool>,
    heads: Vec<String>,
    rows: Vec<Vec<Cell>>,
    indent: usize,
}

pub(super) fn cell(text: impl Into<String>) -> Cell {
    Cell {
        text: text.into(),
        tone: Tone::Plain,
    }
}

pub(super) fn toned(tone: Tone, text: impl Into<String>) -> Cell {
    Cell {
        text: text.into(),
        tone,
    }
}

impl Table {
    pub(super) fn new(heads: &[&str]) -> Table {
        Table {
            right: heads.iter().map(|head| head.starts_with('>')).collect(),
            heads: heads
                .iter()
                .map(|head| head.trim_start_matches('>').to_owned())
                .collect(),
            rows: Vec::new(),
            indent: 0,
        }
    }

    pub(super) fn indented(mut self, indent: usize) -> Table {
        self.indent = indent;
        self
    }

    pub(super) fn push(&mut self, row: Vec<Cell>) {
        debug_assert_eq!(row.len(), self.heads.len());
        self.rows.push(row);
    }

    /// Columns of the widest line.
    pub(super) fn width(&self) -> usize {
        let columns = self.widths();
        self.indent + columns.iter().sum::<usize>() + 2 * columns.len().saturating_sub(1)
    }

    /// Ends with a line end; empty without rows.
    pub(super) fn print(&self, style: &Style) -> String {
        if self.rows.is_empty() {
            return String::new();
        }
        let heads = self
            .heads
            .iter()
            .map(|head| toned(Tone::Head, head.as_str()))
            .collect();
        let widths = self.widths();
        let mut text = String::new();
        for row in std::iter::once(&heads).chain(&self.rows) {
            self.print_row(&mut text, row, &widths, style);
        }
        text
    }

    fn print_row(&self, text: &mut String, row: &[Cell], widths: &[usize], style: &Style) {
        let mut line = " ".repeat(self.indent);
        for (i, (cell, width)) in row.iter().zip(widths).enumerate() {
            let pad = " ".repeat(width - columns(&cell.text));
            let painted = style.paint(cell.tone, &cell.text);
            if i > 0 {
                line.push_str("  ");
            }
            match self.right[i] {
                true => line.extend([pad, painted]),
                false => line.extend([painted, pad]),
            }
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }

    fn widths(&self) -> Vec<usize> {
        let mut widths: Vec<usize> = self.heads.iter().map(|head| columns(head)).collect();
        for row in &self.rows {
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = (*width).max(columns(&cell.text));
            }
        }
        widths
    }
}

/// Columns that a text takes; ours has no wide characters.
fn columns(text: &str) -> usize {
    text.chars().count()
}
