//! Where answers go: text or JSON on stdout, failures on stderr.

use std::io::{self, IsTerminal, Write};

use serde::Serialize;

use super::args::{Color, Global};
use super::exit::{Code, Failure};
use crate::render::Style;

pub struct Output {
    json: bool,
    pub style: Style,
}

impl Output {
    pub fn new(global: &Global) -> Output {
        Output {
            json: global.json,
            style: style(global.color),
        }
    }

    /// Prints `data` as JSON when that is asked for, else what `render` makes of it.
    pub fn print<T: Serialize>(
        &self,
        data: &T,
        render: impl FnOnce(&T, &Style) -> String,
    ) -> Result<Code, Failure> {
        let text = match self.json {
            true => serde_json::to_string_pretty(data)
                .map_err(|error| Failure::new(Code::Failure, error.to_string(), ""))?,
            false => render(data, &self.style),
        };
        write_all(text.trim_end_matches('\n')).map(|()| Code::Ok)
    }

    /// A failure goes to stderr, in the form that was asked for.
    pub fn failure(&self, failure: &Failure) {
        if self.json
            && let Ok(text) = serde_json::to_string_pretty(&failure.to_api())
        {
            eprintln!("{text}");
        } else {
            eprintln!("terrace: {failure}");
        }
    }

    pub fn is_json(&self) -> bool {
        self.json
    }
}

/// Writes one text and a line end; a reader that has gone is no failure.
pub fn write_all(text: &str) -> Result<(), Failure> {
    write_while_read(text).map(|_| ())
}

/// False when nobody reads any longer.
pub fn write_while_read(text: &str) -> Result<bool, Failure> {
    let mut stdout = io::stdout().lock();
    match writeln!(stdout, "{text}").and_then(|()| stdout.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Failure::new(
            Code::Failure,
            format!("can't write to stdout: {error}"),
            "",
        )),
    }
}

/// Colour only on a terminal, and never against NO_COLOR (no-color.org).
fn style(color: Color) -> Style {
    let stdout = io::stdout();
    let tty = stdout.is_terminal();
    let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    let color = match color {
        Color::Always => true,
        Color::Never => false,
        Color::Auto => tty && !no_color && !dumb,
    };
    let size = tty
        .then(|| rustix::termios::tcgetwinsize(&stdout).ok())
        .flatten();
    let width = size
        .map(|size| usize::from(size.ws_col))
        .filter(|width| *width > 0);
    Style { color, width }
}
