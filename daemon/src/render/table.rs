//! Aligned columns, two spaces apart; the last one wraps at the terminal's edge.

use super::{Style, Tone};

/// A narrower last column is not wrapped: it would be a tower of words.
const MIN_WRAP: usize = 16;

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
        let Some((last, row)) = row.split_last() else {
            return;
        };
        for (i, (cell, width)) in row.iter().zip(widths).enumerate() {
            line.push_str(&self.padded(i, cell, *width, style));
            line.push_str("  ");
        }
        let start = self.indent + widths[..row.len()].iter().sum::<usize>() + 2 * row.len();
        let room = style
            .width
            .map_or(usize::MAX, |width| width.saturating_sub(start));
        let right = self.right[row.len()];
        if right || room < MIN_WRAP || columns(&last.text) <= room {
            line.push_str(&self.padded(row.len(), last, widths[row.len()], style));
            text.push_str(line.trim_end());
            text.push('\n');
            return;
        }
        for part in wrapped(&last.text, room) {
            line.push_str(&style.paint(last.tone, &part));
            text.push_str(line.trim_end());
            text.push('\n');
            line = " ".repeat(start);
        }
    }

    fn padded(&self, column: usize, cell: &Cell, width: usize, style: &Style) -> String {
        let pad = " ".repeat(width - columns(&cell.text));
        let painted = style.paint(cell.tone, &cell.text);
        match self.right[column] {
            true => pad + &painted,
            false => painted + &pad,
        }
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

/// Lines of at most `room` columns; a longer word has its own line.
fn wrapped(text: &str, room: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if columns(line) + 1 + columns(word) <= room => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// Columns that a text takes; ours has no wide characters.
fn columns(text: &str) -> usize {
    text.chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_last_column_wraps_at_words() {
        let mut table = Table::new(&[">N", "TEXT"]);
        table.push(vec![cell("1"), cell("aaa bbb ccc ddd eee")]);
        let rows = [
            (None, "N  TEXT\n1  aaa bbb ccc ddd eee\n"),
            (Some(22), "N  TEXT\n1  aaa bbb ccc ddd eee\n"),
            (Some(20), "N  TEXT\n1  aaa bbb ccc ddd\n   eee\n"),
            (Some(10), "N  TEXT\n1  aaa bbb ccc ddd eee\n"),
        ];
        for (width, expected) in rows {
            assert_eq!(
                table.print(&Style {
                    color: false,
                    width
                }),
                expected,
                "{width:?}"
            );
        }
    }
}
